"""Uploaded pictures as model input, with bounds on work and memory."""

from __future__ import annotations

from contextlib import nullcontext
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tinygrad_cnn.data import DataError, as_mnist, plain_picture
from tinygrad_cnn.studio.problems import Problem
from tinygrad_cnn.studio.services import Gate
from tinygrad_cnn.studio.settings import PIXELS

__all__ = ["FORMATS", "MEDIA_TYPES", "SIDE", "decode", "digit", "png"]

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF")
MEDIA_TYPES = ("image/png", "image/jpeg", "image/webp", "image/bmp", "image/gif")
SIDE = 28
ROOMY = 1120
"""The longer side to which a picture is scaled before its ink is located."""
SMALL, SMALL_BYTES = 512 * 512, 1 << 16
"""A picture with at most this many pixels and bytes is quick to decode."""


def decode(contents: bytes, heavy: Gate) -> Image.Image:
    """Decode a picture of any allowed format; of an animation, the first frame.

    The size is checked before decoding, so a small file cannot claim much memory. Large pictures
    are decoded one at a time.

    Parameters
    ----------
    contents : bytes
        The file's bytes.
    heavy : Gate
        The gate for large pictures.

    Returns
    -------
    Image
        Gray (mode "L"), upright, with sides of at most 1120.

    Raises
    ------
    Problem
        "not-a-picture" if the file is damaged or no picture, "too-large" if it has too many pixels,
        "busy" if too many large pictures are waiting.
    """
    if not contents:
        raise Problem("not-a-picture", f"the body is empty, expected {', '.join(FORMATS)}")
    try:
        with Image.open(BytesIO(contents), formats=FORMATS) as opened:
            pixels = opened.width * opened.height
            if pixels > PIXELS:
                raise _too_large(f"{opened.width} × {opened.height}")
            with heavy if pixels > SMALL else nullcontext():
                return plain_picture(opened, ROOMY).convert("L")
    except Problem:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise _too_large("far too many") from None
    except Exception as error:  # decoders raise errors of any kind on damaged files
        raise Problem(
            "not-a-picture",
            f"the body of {len(contents)} bytes cannot be decoded, expected "
            f"{', '.join(FORMATS)}: {error}",
        ) from error


def is_small(contents: bytes) -> bool:
    """Return whether a picture is quick to decode, so that no thread is needed."""
    if len(contents) > SMALL_BYTES:
        return False
    try:
        with Image.open(BytesIO(contents), formats=FORMATS) as opened:
            return opened.width * opened.height <= SMALL
    except Exception:
        return True  # decoding will reject it


def digit(image: Image.Image) -> NDArray[np.uint8]:
    """Return the digit of a gray picture in MNIST's format; Problem "blank" if there is no ink."""
    try:
        return as_mnist(np.asarray(image, np.float32) / np.float32(255), "the picture")
    except DataError as error:
        raise Problem("blank", str(error)) from error


def png(image: Image.Image) -> bytes:
    """Return a picture as a PNG file, without metadata."""
    file = BytesIO()
    Image.fromarray(np.asarray(image)).save(file, "PNG")
    return file.getvalue()


def _too_large(pixels: str) -> Problem:
    return Problem("too-large", f"the picture has {pixels} pixels, expected {PIXELS} at most")
