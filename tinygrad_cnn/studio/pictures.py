"""Uploaded pictures as model input, with bounds on work and memory."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from io import BytesIO
from typing import IO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tinygrad_cnn.data import DataError, as_mnist, plain_picture
from tinygrad_cnn.studio.picture_files import FORMATS, Essential, essential
from tinygrad_cnn.studio.problems import Problem
from tinygrad_cnn.studio.services import Gate
from tinygrad_cnn.studio.settings import SMALL_BYTES

__all__ = ["MEDIA_TYPES", "SIDE", "decode", "digit", "png"]

MEDIA_TYPES = tuple(f"image/{name.lower()}" for name in FORMATS)
SIDE = 28
ROOMY = 1120
"""The longer side to which a picture is scaled before its ink is located."""
SMALL = 512 * 512
"""A picture with at most this many pixels is quick to decode."""
BLOCK = 4096
"""Bytes decoded in one call: they inflate to 4 MiB at most. Other threads wait for its end."""


def decode(file: IO[bytes], heavy: Gate) -> Image.Image:
    """Decode a picture of any allowed format; of an animation, the first frame.

    The size is checked before decoding, so a small file cannot claim much memory, and nothing but
    the pixels is decoded. Large files are read, and large pictures decoded, one at a time. Call it
    in a thread: other requests are answered meanwhile.

    Parameters
    ----------
    file : binary file
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
    contents = file.read(SMALL_BYTES + 1)
    if len(contents) <= SMALL_BYTES:
        return _decoded(essential(contents), heavy)
    with heavy:
        return _decoded(essential(contents + file.read()), nullcontext())


def _decoded(file: Essential, heavy: AbstractContextManager[None]) -> Image.Image:
    width, height = file.size
    try:
        with (
            Image.open(BytesIO(file.contents), formats=[file.format]) as opened,
            heavy if width * height > SMALL else nullcontext(),
        ):
            if opened.size != file.size:
                raise ValueError
            opened.decodermaxblock = BLOCK
            return plain_picture(opened, ROOMY).convert("L")
    except Problem:
        raise
    except Exception as error:  # decoders raise errors of any kind on damaged files
        raise Problem(
            "not-a-picture", f"the {file.format} is damaged; expected {', '.join(FORMATS)}"
        ) from error


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
