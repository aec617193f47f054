"""Default settings per data set."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tinygrad_cnn.train.choices import OPTIMIZERS
from tinygrad_cnn.train.settings import TrainingSettings

__all__ = ["RECIPES", "recipe"]

RECIPES = {
    "digits": TrainingSettings(
        epochs=15, batch_size=64, optimizer="adamw", lr=0.005, weight_decay=0.01, augment="affine"
    ),
    "european-digits": TrainingSettings(
        epochs=15, batch_size=64, optimizer="adamw", lr=0.005, weight_decay=0.01, augment="tilt"
    ),
    "mnist": TrainingSettings(
        epochs=20, batch_size=64, optimizer="adamw", lr=0.003, weight_decay=0.01, augment="affine"
    ),
    "shapes": TrainingSettings(
        epochs=15, batch_size=64, optimizer="adamw", lr=0.003, weight_decay=0.01
    ),
    "fashion-mnist": TrainingSettings(
        epochs=20, batch_size=64, optimizer="adamw", lr=0.003, weight_decay=0.01, augment="shift"
    ),
}
"""Settings by source (see `data.load`); other data use the defaults of `TrainingSettings`."""


def recipe(source: str, **chosen: Any) -> TrainingSettings:
    """Return the settings to train `source` with.

    Parameters
    ----------
    source : str
        The argument of `tinygrad_cnn.data.load`.
    **chosen
        Fields of `TrainingSettings`; None keeps the recipe's value. An optimizer other than the
        recipe's implies its own learning rate and no weight decay.

    Returns
    -------
    TrainingSettings
        The recipe, updated with `chosen`.

    Raises
    ------
    ValueError
        If a value is out of range.

    Examples
    --------
    >>> recipe("digits", epochs=3).epochs, recipe("digits").epochs
    (3, 15)
    >>> recipe("digits", optimizer="sgd").lr
    0.1
    """
    chosen = {name: value for name, value in chosen.items() if value is not None}
    known = RECIPES.get(source, TrainingSettings())
    other = OPTIMIZERS.get(chosen.get("optimizer", known.optimizer))
    if other is not None and other is not OPTIMIZERS[known.optimizer]:
        chosen = {"lr": other.defaults["lr"], "weight_decay": 0.0, **chosen}
    return replace(known, **chosen)
