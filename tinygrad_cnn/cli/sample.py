"""A model and a few sample images, from the arguments of a command."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from tinygrad_cnn.data import DataLoader, load
from tinygrad_cnn.nn import Module
from tinygrad_cnn.train import TrainingRun, load_run, recipe

__all__ = ["model_and_images"]


def model_and_images(
    model: str, source: str | None, images: int, seed: int
) -> tuple[Module, NDArray[Any], NDArray[Any]]:
    """Return a model and a training batch: images, ready for the model, and their labels.

    Parameters
    ----------
    model : str
        Name of a built-in model or ``"path/to/file.py:Class"``, newly initialized; or a run folder,
        with its trained weights.
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
    if Path(model).is_dir():
        run = load_run(Path(model))
        dataset = load(source or run.settings.data.source, run.settings.data.preparation).train
        run.settings.data.check(dataset)
        loader = DataLoader(dataset, batch_size=images, transform=run.settings.data.normalize())
        return run.model.train(), *next(iter(loader))
    data = source or "digits"
    new = TrainingRun.new(data, model, recipe(data, seed=seed, batch_size=images, augment="none"))
    return new.model, *next(iter(new.loader))
