"""Models and images from the arguments of a command."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn.data import DataError, DataLoader, read_image
from tinygrad_cnn.nn import Module
from tinygrad_cnn.train import DataSettings, TrainingRun, load_run, recipe
from tinygrad_cnn.train.onnx_file import is_onnx

__all__ = ["model_and_images", "read_picture"]


def model_and_images(
    model: str, source: str | None, images: int, seed: int
) -> tuple[Module, NDArray[Any], NDArray[Any]]:
    """Return a model and a training batch: images, ready for the model, and their labels.

    Parameters
    ----------
    model : str
        Name of a built-in model or ``"path/to/file.py:Class"``, newly initialized; an ONNX file, or
        a run folder, with its trained weights.
    source : str or None
        See `tinygrad_cnn.data.load`; by default the embedded digits, or the run's own data.
    images : int
        Number of images.
    seed : int
        Seed of a new model's initial weights.

    Raises
    ------
    ValueError
        If the model does not exist or does not fit the data.
    """
    path = Path(model)
    is_file = ":" in model or is_onnx(path)
    if path.is_dir() or (len(path.parts) > 1 and not is_file):  # a missing folder is named
        run = load_run(path)
        dataset = run.settings.data.load(source).train
        run.settings.data.check(dataset)
        loader = DataLoader(dataset, batch_size=images, transform=run.settings.data.normalize())
        return run.model.train(), *next(iter(loader))
    data = source or "digits"
    new = TrainingRun.new(data, model, recipe(data, seed=seed, batch_size=images, augment="none"))
    return new.model, *next(iter(new.loader))


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
