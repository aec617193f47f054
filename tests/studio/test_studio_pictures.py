"""Uploaded pictures: every kind gives the same input, and no file costs more than it may."""

from __future__ import annotations

import io
import struct
import sys
import tracemalloc
import zlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from PIL.ImageFile import ImageFile

from tinygrad_cnn.data import as_mnist, digits, plain_picture
from tinygrad_cnn.studio import pictures
from tinygrad_cnn.studio.picture_files import FORMATS, MOST_BLOCKS, MOST_SCANNED, essential
from tinygrad_cnn.studio.problems import Problem
from tinygrad_cnn.studio.services import Gate
from tinygrad_cnn.studio.settings import LONGEST_SIDE, PIXELS

DIGIT = digits().test.images[7, 0]
LARGE = Image.fromarray(DIGIT).resize((280, 280), Image.Resampling.BICUBIC)


def gate() -> Gate:
    return Gate(running=1, waiting=0, seconds=1.0)


def decode(contents: bytes) -> Image.Image:
    return pictures.decode(io.BytesIO(contents), gate())


def saved(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def chunk(kind: bytes, contents: bytes) -> bytes:
    """Return a chunk of a PNG file."""
    check = zlib.crc32(kind + contents)
    return struct.pack(">I", len(contents)) + kind + contents + struct.pack(">I", check)


def png_of(width: int, height: int) -> bytes:
    """Return a sound PNG file of one bit a pixel, all black: a thousandth of its size."""

    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    packer = zlib.compressobj(9)
    row = bytes(1 + (width + 7) // 8)
    packed = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()
    parts = chunk(b"IHDR", header) + chunk(b"IDAT", packed) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


@pytest.mark.parametrize("kind", FORMATS)
def test_every_format_gives_the_same_input(kind: str) -> None:
    result = pictures.digit(decode(saved(LARGE.convert("RGB"), kind)))
    direct = as_mnist(np.asarray(LARGE) / 255, "x")
    assert np.abs(result.astype(int) - direct).mean() < 4.0


def test_what_a_page_sends_gives_exactly_what_the_command_line_gives() -> None:
    expected = as_mnist(np.asarray(LARGE) / 255, "x")
    result = pictures.digit(decode(saved(LARGE)))
    assert np.abs(result.astype(int) - expected).max() <= 1


def test_the_first_frame_counts() -> None:
    frames = [LARGE, Image.new("L", LARGE.size, 128)]
    moving = saved(frames[0], "GIF", save_all=True, append_images=frames[1:])
    still = saved(frames[0], "GIF")
    assert np.array_equal(pictures.digit(decode(moving)), pictures.digit(decode(still)))


def test_a_large_picture_is_scaled_down_and_a_small_one_is_not() -> None:
    for kind in ("PNG", "JPEG"):
        side = pictures.ROOMY
        assert decode(saved(LARGE.resize((3000, 1500)), kind)).size == (side, side // 2)
        assert decode(saved(LARGE, kind)).size == LARGE.size


def test_a_small_file_of_many_pixels_is_refused_before_it_is_decoded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bomb = png_of(8000, 8000)
    assert len(bomb) < 20_000

    def load(self: ImageFile) -> None:
        raise AssertionError("is decoded")

    monkeypatch.setattr(ImageFile, "load", load)
    with pytest.raises(Problem) as decoded:
        decode(saved(LARGE))
    assert isinstance(decoded.value.__cause__, AssertionError)
    with pytest.raises(Problem, match="8000 × 8000 pixels, expected at most 16777216") as refused:
        decode(bomb)
    assert refused.value.status == 413


@pytest.mark.parametrize(
    "size", [(1, LONGEST_SIDE + 1), (PIXELS, 1), (4097, 4096), (60_000, 60_000)]
)
def test_the_number_of_pixels_is_bounded_whatever_the_shape(size: tuple[int, int]) -> None:
    header = png_of(1, 1)
    width, height = (struct.pack(">I", side) for side in size)
    kind = b"IHDR" + width + height + header[24:29]
    claimed = header[:12] + kind + struct.pack(">I", zlib.crc32(kind)) + header[33:]
    with pytest.raises(Problem) as refused:
        decode(claimed)
    assert refused.value.name == "too-large"


def test_the_largest_that_is_taken_is_decoded_behind_the_gate() -> None:
    contents = png_of(4096, 4096)
    assert decode(contents).size == (pictures.ROOMY, pictures.ROOMY)
    closed = gate()
    with closed, pytest.raises(Problem) as refused:
        pictures.decode(io.BytesIO(contents), closed)
    assert refused.value.name == "busy"
    with closed:
        assert pictures.decode(io.BytesIO(saved(LARGE)), closed).size == LARGE.size


@pytest.mark.parametrize(
    "contents",
    [
        b"",
        b"no picture",
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"%PDF-1.4",
        b"\x89PNG\r\n\x1a\n",
        saved(LARGE)[:-200],
        saved(LARGE, "JPEG")[:300],
        saved(LARGE, "TIFF"),
        saved(LARGE, "ICO"),
        saved(LARGE, "PPM"),
    ],
)
def test_what_is_no_picture_of_an_allowed_kind_is_told_so(contents: bytes) -> None:
    with pytest.raises(Problem, match=r"expected PNG, JPEG, WEBP, BMP, GIF") as refused:
        decode(contents)
    assert refused.value.status == 422


# --- files that cost much ------------------------------------------------------------------------

MIB = 1 << 20
SOUND = LARGE.convert("RGB")


def with_chunks(*chunks: bytes) -> bytes:
    """Return a sound PNG file with more chunks before its pixels."""
    sound = saved(LARGE)
    return sound[:33] + b"".join(chunks) + sound[33:]


def exif_of(entries: int) -> bytes:
    """Return Exif data whose entries all claim the same 60 KB."""
    entry = struct.pack(">HHII", 0x9C9B, 1, 60_000, 8)
    return b"Exif\0\0MM\0*\0\0\0\x08" + struct.pack(">H", entries) + entries * entry


def with_segments(*segments: tuple[int, bytes]) -> bytes:
    """Return a sound JPEG file with more segments at its start."""
    sound = saved(SOUND, "JPEG")
    more = (
        bytes([0xFF, kind]) + struct.pack(">H", 2 + len(data)) + data for kind, data in segments
    )
    return sound[:2] + b"".join(more) + sound[2:]


def of_scans(count: int, side: int) -> bytes:
    """Return a progressive JPEG file whose last scan comes often."""
    sound = saved(SOUND.resize((side, side)), "JPEG", progressive=True)
    last = sound.rindex(b"\xff\xda")
    return sound[:-2] + count * sound[last:-2] + sound[-2:]


def with_extension(blocks: bytes) -> bytes:
    """Return a sound GIF file with a comment at its start."""
    sound = saved(LARGE, "GIF")
    return sound[:781] + b"\x21\xfe" + blocks + b"\0" + sound[781:]


def compressed_bmp(side: int) -> bytes:
    """Return a BMP file of runs of one pixel."""
    header = struct.pack("<IiiHHIIiiII", 40, side, side, 1, 8, 1, 0, 0, 0, 0, 0)
    return b"BM" + struct.pack("<I4xI", 0, 1078) + header + bytes(1024) + b"\1\x7f" * side * side


TEXTS = [chunk(b"zTXt", b"%d\0\0" % i + zlib.compress(bytes(MIB), 9)) for i in range(56)]
HOSTILE = {
    "58 KB of texts that inflate to 56 MiB": with_chunks(*TEXTS),
    "texts behind the pixels": saved(LARGE)[:-12] + b"".join(TEXTS) + bytes(12),
    "a color profile": with_chunks(chunk(b"iCCP", b"p\0\0" + zlib.compress(bytes(64 * MIB), 9))),
    "twenty thousand chunks": with_chunks(chunk(b"tEXt", b"a\0b") * 20_000),
    "Exif in PNG": with_chunks(chunk(b"eXIf", exif_of(30_000)[6:])),
    "Exif in JPEG": with_segments((0xE1, exif_of(5000))),
    "profiles in JPEG": with_segments(*[(0xE2, b"ICC_PROFILE\0\1\1" + bytes(65_000))] * 100),
    "twenty thousand segments": with_segments(*[(0xFE, b"")] * 20_000),
    "three thousand scans": of_scans(3000, 1000),
    "a comment of small blocks": with_extension(b"\1a" * 60_000),
    "a comment of eight million bytes": with_extension((b"\xff" + b"a" * 255) * 31_000),
    "a canvas of 16383 × 16383": b"RIFF" + struct.pack("<I", 500) + b"WEBPVP8X\n\0\0\0\2\0\0\0"
    + b"\xfe\x3f\0" * 2 + saved(SOUND, "WEBP")[12:],
    "runs of one pixel": compressed_bmp(1000),
    "one row": png_of(PIXELS, 1),
    "one column": png_of(1, PIXELS // 2),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_is_refused_or_decoded_with_little_work(name: str) -> None:
    contents = HOSTILE[name]
    calls, problem = 0, None

    def count(*_: object) -> None:
        nonlocal calls
        calls += 1

    tracemalloc.start()
    sys.setprofile(count)
    try:
        assert pictures.digit(decode(contents)).any()
    except Problem as refused:
        problem = refused.name
    finally:
        sys.setprofile(None)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert problem in {None, "too-large", "not-a-picture"}
    assert calls < 4 * MOST_BLOCKS
    assert peak < 3 * len(contents) + 4 * MIB


def test_the_work_of_a_scan_is_counted_whatever_the_size() -> None:
    for side, scans in ((16, 3000), (1000, 200)):
        assert decode(of_scans(scans, side)).size == (side, side)
    with pytest.raises(Problem, match="has too many scans"):
        decode(of_scans(MOST_SCANNED // 10**6, 1000))


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_what_is_left_out_of_a_file_changes_no_pixel(kind: str, orientation: int) -> None:
    """A picture with all that a camera and a browser add is read as Pillow reads all of it."""
    exif = Image.Exif()
    exif[0x010E], exif[0x0112], exif[0x9C9B] = "taken at home", orientation, b"x" * 100
    picture = SOUND.crop((20, 0, 220, 280))
    options = {"exif": exif, "icc_profile": b"profile", "xmp": b"<x/>", "quality": 90}
    more = {"progressive": True} if kind == "JPEG" else {"save_all": True}
    if kind != "JPEG":
        more["append_images"] = [picture.rotate(90)]
    contents = saved(picture, kind, **options, **more)
    with Image.open(io.BytesIO(contents)) as opened:
        expected = plain_picture(opened, pictures.ROOMY).convert("L")
    left = essential(contents)
    assert np.array_equal(np.asarray(decode(contents)), np.asarray(expected))
    assert not any(word in left.contents for word in (b"taken at home", b"profile", b"<x/>"))
    assert essential(left.contents) == left


@given(st.sampled_from([*FORMATS]), st.data())
def test_a_damaged_file_is_decoded_or_refused(kind: str, data: st.DataObject) -> None:
    contents = bytearray(saved(LARGE.resize((40, 40)).convert("RGB"), kind))
    for _ in range(data.draw(st.integers(1, 6))):
        place = data.draw(st.integers(0, len(contents) - 1))
        contents[place] = data.draw(st.integers(0, 255))
    contents = contents[: data.draw(st.just(len(contents)) | st.integers(0, len(contents)))]
    try:
        result = pictures.digit(decode(bytes(contents)))
    except Problem:  # whatever else is raised fails the test
        return
    assert (result.shape, result.dtype) == ((28, 28), np.uint8)


@pytest.mark.parametrize("color", [0, 255, 128])
def test_an_empty_sheet_is_blank(color: int) -> None:
    with pytest.raises(Problem, match="the picture: is blank") as refused:
        pictures.digit(decode(saved(Image.new("L", (280, 280), color))))
    assert refused.value.name == "blank"


def test_a_kept_picture_holds_its_pixels_and_nothing_else() -> None:
    sent = LARGE.convert("RGB")
    exif = Image.Exif()
    exif[0x010E] = "taken at home"
    kept = pictures.png(decode(saved(sent, "JPEG", exif=exif, quality=95)))
    assert b"taken at home" not in kept
    again = Image.open(io.BytesIO(kept))
    assert (again.mode, again.size, again.info) == ("L", LARGE.size, {})
