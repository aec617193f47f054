"""Image files as a model's input."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn.data import DataError, read_image
from tinygrad_cnn.train import DataSettings

__all__ = ["read_picture"]


def read_picture(
    path: Path, settings: DataSettings, preparation: str | None = None
) -> NDArray[np.uint8]:
    """Read an image file for the model that `settings` are of, as its training images were read.

    Parameters
    ----------
    path : Path
        The file; see `read_image` for what it may hold.
    settings : DataSettings
        Of the model.
    preparation : str, optional
        In place of the one in the settings.

    Returns
    -------
    ndarray of uint8, shape (C, H, W)
        Of the shape that the model takes.

    Raises
    ------
    DataError
        If the file is missing or no image, or the model takes neither gray nor color.
    ValueError
        If what `preparation` gives is not of the model's shape.
    ModuleNotFoundError
        If Pillow is not installed.
    """
    C, H, W = settings.input_shape
    if C not in (1, 3):
        raise DataError(f"{path}: the model takes {C} channels; an image has 1 or 3")
    return read_image(path, C, (H, W), preparation or settings.preparation)
