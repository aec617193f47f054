"""Image files as model input."""

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
    """Read an image file for a model, prepared like its training images.

    Parameters
    ----------
    path : Path
        The image file; see `read_image` for the formats.
    settings : DataSettings
        The model's data settings.
    preparation : str, optional
        Overrides the preparation in the settings.

    Returns
    -------
    ndarray of uint8, shape (C, H, W)
        In the model's input shape.

    Raises
    ------
    DataError
        If the file is missing or no image, or the model's input is neither gray nor color.
    ValueError
        If the prepared image does not have the model's input shape.
    ModuleNotFoundError
        If Pillow is not installed.
    """
    C, H, W = settings.input_shape
    if C not in (1, 3):
        raise DataError(f"{path}: the model takes {C} channels; an image has 1 or 3")
    return read_image(path, C, (H, W), preparation or settings.preparation)
