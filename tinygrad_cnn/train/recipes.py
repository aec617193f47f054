"""What is chosen where nothing is said: one table, by the name of the data."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tinygrad_cnn.train.choices import LEARNING_RATES
from tinygrad_cnn.train.settings import TrainingSettings

__all__ = ["RECIPES", "recipe"]

RECIPES = {
    "digits": TrainingSettings(
        epochs=15, batch_size=64, optimizer="adamw", lr=0.005, weight_decay=0.01, augment="affine"
    ),
    "mnist": TrainingSettings(
        epochs=20, batch_size=64, optimizer="adamw", lr=0.003, weight_decay=0.01, augment="affine"
    ),
    "fashion-mnist": TrainingSettings(
        epochs=20, batch_size=64, optimizer="adamw", lr=0.003, weight_decay=0.01, augment="shift"
    ),
}
"""By what `tinygrad_cnn.data.load` is given; other data are trained as `TrainingSettings` says."""


def recipe(source: str, **chosen: Any) -> TrainingSettings:
    """Return the settings to train `source` with.

    Parameters
    ----------
    source : str
        What `tinygrad_cnn.data.load` is given.
    **chosen
        Fields of `TrainingSettings`; None leaves one to the recipe. With another optimiser than
        the recipe's come that optimiser's learning rate and no weight decay.

    Returns
    -------
    TrainingSettings
        The recipe, with what was chosen in place of its own.

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
    if chosen.get("optimizer", known.optimizer) != known.optimizer:
        known = replace(
            known, lr=LEARNING_RATES.get(chosen["optimizer"], known.lr), weight_decay=0.0
        )
    return replace(known, **chosen)
