"""Image files as a model's input."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn.data import DataError, as_mnist, plain_picture
from tinygrad_cnn.data.errors import require
from tinygrad_cnn.train import DataSettings

__all__ = ["read_picture"]


def read_picture(path: Path, settings: DataSettings) -> NDArray[np.uint8]:
    """Read a PNG or JPEG file, of any size and colours, for the model that `settings` are of.

    It is turned upright as its EXIF says; what is transparent becomes the opposite of what is
    drawn. For a model of MNIST's digits see `as_mnist`; for another the picture is made grey if
    the model takes one channel, and stretched to its size.

    Parameters
    ----------
    path : Path
        The file.
    settings : DataSettings
        Of the model.

    Returns
    -------
    ndarray of uint8, shape (C, H, W)
        Of the shape that the model takes.

    Raises
    ------
    DataError
        If the file is missing or no image, or the model takes neither grey nor colour.
    ModuleNotFoundError
        If Pillow is not installed.
    """
    C, H, W = settings.input_shape
    if C not in (1, 3):
        raise DataError(f"{path}: the model takes {C} channels; an image has 1 or 3")
    image = _open(path)
    if settings.input_shape == (1, 28, 28) and settings.classes == tuple("0123456789"):
        grey = np.asarray(image.convert("L"), np.float64) / 255
        return as_mnist(grey, str(path))[np.newaxis]
    pillow: Any = require("PIL.Image", "reading image files")
    image = image.convert("L" if C == 1 else "RGB").resize((W, H), pillow.Resampling.BICUBIC)
    pixels: NDArray[np.uint8] = np.asarray(image, np.uint8)
    return pixels[np.newaxis] if C == 1 else np.ascontiguousarray(pixels.transpose(2, 0, 1))


def _open(path: Path) -> Any:
    pillow: Any = require("PIL.Image", "reading image files")
    if not path.is_file():
        raise DataError(f"{path}: there is no such file")
    try:
        with pillow.open(path) as opened:
            return plain_picture(opened)
    except Exception as error:  # decoders of damaged files raise errors of any kind
        raise DataError(f"{path}: cannot be read as an image: {error}") from error
