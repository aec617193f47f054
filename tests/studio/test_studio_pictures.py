"""Uploaded pictures: every kind gives the same input, and no file costs more than it may."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from PIL.ImageFile import ImageFile

from tinygrad_cnn.data import as_mnist, digits
from tinygrad_cnn.studio import pictures
from tinygrad_cnn.studio.problems import Problem
from tinygrad_cnn.studio.services import Gate
from tinygrad_cnn.studio.settings import PIXELS

DIGIT = digits().test.images[7, 0]
LARGE = Image.fromarray(DIGIT).resize((280, 280), Image.Resampling.BICUBIC)


def gate() -> Gate:
    return Gate(running=1, waiting=0, seconds=1.0)


def decode(contents: bytes) -> Image.Image:
    return pictures.decode(contents, gate())


def saved(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def png_of(width: int, height: int) -> bytes:
    """Return a sound PNG file of one bit a pixel, all black: a thousandth of its size."""

    def chunk(kind: bytes, contents: bytes) -> bytes:
        check = zlib.crc32(kind + contents)
        return struct.pack(">I", len(contents)) + kind + contents + struct.pack(">I", check)

    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    packer = zlib.compressobj(9)
    row = bytes(1 + (width + 7) // 8)
    packed = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()
    parts = chunk(b"IHDR", header) + chunk(b"IDAT", packed) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


@pytest.mark.parametrize("kind", pictures.FORMATS)
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
    with pytest.raises(Problem, match="is decoded"):
        decode(saved(LARGE))
    with pytest.raises(Problem, match="8000 × 8000 pixels, expected 16777216 at most") as refused:
        decode(bomb)
    assert refused.value.status == 413


@pytest.mark.parametrize("size", [(1, PIXELS + 1), (4097, 4096), (9000, 9000), (60_000, 60_000)])
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
    assert not pictures.is_small(contents)
    assert decode(contents).size == (pictures.ROOMY, pictures.ROOMY)
    closed = gate()
    with closed, pytest.raises(Problem) as refused:
        pictures.decode(contents, closed)
    assert refused.value.name == "busy"
    with closed:
        assert pictures.decode(saved(LARGE), closed).size == LARGE.size


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


@given(st.sampled_from(pictures.FORMATS), st.data())
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
