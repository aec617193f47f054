"""Files of pictures, read as far as to bound the work of decoding them.

A decoder reads much besides pixels: compressed texts and color profiles, thumbnails, tables of a
camera, thousands of frames. A few kilobytes of them can cost seconds. `essential` walks over the
parts of a file without decoding any, checks the size and keeps only what the pixels of the first
frame need.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple

from tinygrad_cnn.studio.problems import Problem
from tinygrad_cnn.studio.settings import LONGEST_SIDE, PIXELS

__all__ = ["FORMATS", "Essential", "essential"]

MOST_PARTS, MOST_BLOCKS = 10_000, 50_000
"""Maximum number of chunks or segments, and of a GIF's blocks: 8 MiB are 33,000 of 255 bytes."""

MOST_SCANNED = 16 * PIXELS
"""Maximum number of pixels of all scans of a progressive JPEG together; ten scans are usual."""

PNG_START, EXIF_START, WEBP_EXIF = b"\x89PNG\r\n\x1a\n", b"Exif\0\0", b"EXIF"
PNG_KEPT = {b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"}
WEBP_KEPT = {b"VP8 ", b"VP8L", b"ALPH", b"ANIM"}
JPEG_MARKER = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")  # not a stuffed byte, a restart or a filler
JPEG_KEPT = {0xC4, 0xDB, 0xDD, 0xE0, 0xEE}  # tables, restart interval, JFIF, Adobe's colors
JPEG_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
ORIENTATION = 0x0112


class Essential(NamedTuple):
    """What remains of a file.

    Attributes
    ----------
    format : str
        Pillow's name.
    size : tuple of int
        Width and height.
    contents : bytes
    """

    format: str
    size: tuple[int, int]
    contents: bytes


def essential(contents: bytes) -> Essential:
    """Return a smaller file with the same first frame, upright in the same way.

    Parameters
    ----------
    contents : bytes
        A file of any format in ``FORMATS``.

    Raises
    ------
    Problem
        "not-a-picture" if the file has another format or is cut off, "too-large" if it has too many
        pixels, scans or parts.
    """
    if not contents:
        raise _damaged("is empty")
    for name, (start, read) in FORMATS.items():
        if start.match(contents):
            try:
                return Essential(name, *read(contents))
            except (struct.error, IndexError):
                raise _damaged("is cut off") from None
    raise _damaged("has none of these formats")


def _png(contents: bytes) -> tuple[tuple[int, int], bytes]:
    size = _checked(*struct.unpack_from(">II", contents, 16))
    kept, place = [PNG_START], len(PNG_START)
    for _ in range(MOST_PARTS):
        length, kind = struct.unpack_from(">I4s", contents, place)
        end = place + 12 + length
        if end > len(contents):
            raise _damaged("is cut off")
        if kind in PNG_KEPT:
            kept.append(contents[place:end])
        elif kind == b"eXIf":
            exif = _upright(contents[place + 8 : end - 4])
            check = zlib.crc32(kind + exif)
            kept.append(struct.pack(">I4s", len(exif), kind) + exif + struct.pack(">I", check))
        if kind == b"IEND":
            return size, b"".join(kept)
        place = end
    raise _parts()


def _jpeg(contents: bytes) -> tuple[tuple[int, int], bytes]:
    size, scanned, kept, place = None, 0, [b"\xff\xd8"], 2
    for _ in range(MOST_PARTS):
        found = JPEG_MARKER.search(contents, place)
        if found is None or contents[found.end() - 1] == 0xD9:
            if size is None:
                raise _damaged("is cut off")
            return size, b"".join((*kept, b"\xff\xd9" if found else b""))
        begin, place = found.span()
        marker = contents[place - 1]
        if marker in {0x01, 0xD8}:  # these have no length
            continue
        end = place + struct.unpack_from(">H", contents, place)[0]
        if marker in JPEG_FRAMES:
            height, width = struct.unpack_from(">HH", contents, place + 3)
            size = _checked(width, height)
        if marker == 0xDA and size is not None:
            following = JPEG_MARKER.search(contents, end)
            end = following.start() if following else len(contents)
            scanned += size[0] * size[1]
            if scanned > MOST_SCANNED:
                raise Problem("too-large", "the picture has too many scans: save it again")
        if marker in JPEG_KEPT or marker in JPEG_FRAMES or marker == 0xDA:
            kept.append(contents[begin:end])
        elif marker == 0xE1 and contents.startswith(EXIF_START, place + 2):
            exif = EXIF_START + _upright(contents[place + 2 : end])
            kept.append(b"\xff\xe1" + struct.pack(">H", 2 + len(exif)) + exif)
        place = end
    raise _parts()


def _gif(contents: bytes) -> tuple[tuple[int, int], bytes]:
    width, height, flags = struct.unpack_from("<HHB", contents, 6)
    place = 13 + _colors(flags)
    kept, control = contents[:place], b""
    left = MOST_BLOCKS
    while left:
        begin, kind = place, contents[place]
        if kind == 0x2C:
            x, y, wide, high, flags = struct.unpack_from("<HHHHB", contents, place + 1)
            size = _checked(max(width, x + wide), max(height, y + high))
            place, left = _blocks(contents, place + 11 + _colors(flags), left)
            return size, kept + control + contents[begin:place] + b";"
        if kind != 0x21:
            raise _damaged("has no frame")
        place, left = _blocks(contents, place + 2, left)
        if contents[begin + 1] == 0xF9:  # what is transparent
            control = contents[begin:place]
    raise _parts()


def _blocks(contents: bytes, place: int, left: int) -> tuple[int, int]:
    """Return the place behind a GIF's blocks, and the number of blocks that may follow."""
    while left:
        left -= 1
        length = contents[place]
        place += 1 + length
        if not length:
            return place, left
    raise _parts()


def _colors(flags: int) -> int:
    """Return the number of bytes of a GIF's color table."""
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


def _webp(contents: bytes) -> tuple[tuple[int, int], bytes]:
    size, kept, place, frames = None, [], 12, 0
    for _ in range(MOST_PARTS):
        if place + 8 > len(contents):
            if size is None:
                raise _damaged("is cut off")
            body = b"WEBP" + b"".join(kept)
            return size, b"RIFF" + struct.pack("<I", len(body)) + body
        kind, length = struct.unpack_from("<4sI", contents, place)
        begin, end = place + 8, place + 8 + length + length % 2
        chunk = contents[place:end]
        if kind == b"VP8X":
            flags, width, height = struct.unpack("<B3x3s3s", contents[begin : begin + 10])
            sides = (1 + int.from_bytes(side, "little") for side in (width, height))
            size = _checked(*sides)
            chunk = chunk[:8] + bytes([flags & 0x1A]) + chunk[9:]  # alpha, Exif, animation
        elif kind == b"VP8 ":
            size = _checked(
                *(side & 0x3FFF for side in struct.unpack_from("<HH", contents, begin + 6))
            )
        elif kind == b"VP8L":
            (bits,) = struct.unpack_from("<I", contents, begin + 1)
            size = _checked(1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF))
        frames += kind == b"ANMF"
        if kind in {b"VP8X", *WEBP_KEPT} or (kind == b"ANMF" and frames == 1):
            kept.append(chunk)
        elif kind == WEBP_EXIF:
            exif = _upright(contents[begin : begin + length])
            kept.append(struct.pack("<4sI", WEBP_EXIF, len(exif)) + exif)
        place = end
    raise _parts()


def _bmp(contents: bytes) -> tuple[tuple[int, int], bytes]:
    (header,) = struct.unpack_from("<I", contents, 14)
    if header == 12:
        return _checked(*struct.unpack_from("<HH", contents, 18)), contents
    width, height, compression = struct.unpack_from("<ii4xI", contents, 18)
    if compression not in {0, 3}:
        raise _damaged("is a compressed BMP")
    return _checked(abs(width), abs(height)), contents


FORMATS: dict[str, tuple[re.Pattern[bytes], Callable[[bytes], tuple[tuple[int, int], bytes]]]] = {
    "PNG": (re.compile(re.escape(PNG_START)), _png),
    "JPEG": (re.compile(rb"\xff\xd8\xff"), _jpeg),
    "WEBP": (re.compile(rb"RIFF....WEBP", re.DOTALL), _webp),
    "BMP": (re.compile(rb"BM"), _bmp),
    "GIF": (re.compile(rb"GIF8[79]a"), _gif),
}
"""By Pillow's names: how a file starts, and the function that reads it."""


def _upright(exif: bytes) -> bytes:
    """Return Exif data with nothing but the orientation."""
    exif = exif.removeprefix(EXIF_START)
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(exif[:4], "")
    orientation = 1
    with suppress(struct.error):  # the pixels may be sound
        (place,) = struct.unpack_from(f"{order}I", exif, 4)
        (count,) = struct.unpack_from(f"{order}H", exif, place)
        for entry in range(place + 2, place + 2 + 12 * count, 12):
            tag, _, _, value = struct.unpack_from(f"{order}HHIH", exif, entry)
            if tag == ORIENTATION:
                orientation = value
                break
    return struct.pack(">4sIHHHIHxxI", b"MM\0*", 8, 1, ORIENTATION, 3, 1, orientation, 0)


def _checked(width: int, height: int) -> tuple[int, int]:
    if max(width, height) > LONGEST_SIDE or width * height > PIXELS:
        raise Problem(
            "too-large",
            f"the picture has {width} × {height} pixels, expected at most {PIXELS} and at most "
            f"{LONGEST_SIDE} on a side",
        )
    if not width or not height:
        raise _damaged("has no pixels")
    return width, height


def _parts() -> Problem:
    return Problem("too-large", "the picture's file has too many parts: save it again")


def _damaged(reason: str) -> Problem:
    return Problem("not-a-picture", f"the file {reason}; expected {', '.join(FORMATS)}")
