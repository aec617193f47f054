"""Requests for runs, as stored in their rows, with all defaults filled in."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from typing import Any, cast

from sqlalchemy.orm import Session

from tinygrad_cnn.data import Split
from tinygrad_cnn.nn import ACTIVATIONS, MODELS, POOLINGS
from tinygrad_cnn.studio.store import ConflictError, drawings, models
from tinygrad_cnn.support.arguments import choice
from tinygrad_cnn.train import DataSettings, ModelSettings, RunSettings, TrainingSettings, recipe

__all__ = ["DATA", "MODEL_OPTIONS", "fine_tune_request", "settings_of", "train_request"]

DATA = ("digits", "mnist")
"""Data sets for training: ten digits, 28×28. A path is never accepted from a request or a file."""

OFFERED = {"activation": str, "pooling": str, "hidden": tuple, "batch_norm": bool, "dropout": float}
"""The options of models that a request or a file may set, by type: small values, checked."""

TAUGHT = ("lenet5", "mlp", "vgg")
"""The models to train: the studio explains every cell of them, and the digits suit them."""

MODEL_OPTIONS: dict[str, dict[str, Any]] = {
    model: {
        name: list(default) if isinstance(default, tuple) else default
        for name, default in MODELS[model].options.items()
        if isinstance(default, OFFERED.get(name, ()))
    }
    for model in TAUGHT
}
"""The options of each model, with their defaults."""

CHOICES: dict[str, Iterable[str]] = {"activation": ACTIVATIONS, "pooling": POOLINGS}
TRAINING = (
    "optimizer", "lr", "batch_size", "schedule", "augment", "weight_decay", "epochs", "seed",
    "optimizer_options", "schedule_options",
)  # fmt: skip
FINE_TUNING = {"optimizer": "adam", "batch_size": 64, "schedule": "cosine", "augment": "affine"}


def train_request(model: str, data: str, **chosen: Any) -> dict[str, Any]:
    """Return the request to train a model from the beginning.

    Parameters
    ----------
    model : str
        A key of ``MODEL_OPTIONS``.
    data : str
        One of ``DATA``.
    **chosen
        Options of the model and fields of `TrainingSettings`; None selects the default of the model
        or of the data's recipe.

    Returns
    -------
    dict
        Plain JSON.

    Raises
    ------
    ValueError
        If a name is unknown, the model lacks an option, or a value is out of range.

    Examples
    --------
    >>> request = train_request("lenet5", "digits", epochs=4, optimizer="sgd")
    >>> request["pooling"], request["lr"], request["hidden"]
    ('max', 0.1, None)
    >>> train_request("lenet5", "digits", hidden=[30])
    Traceback (most recent call last):
        ...
    ValueError: run: lenet5 has no hidden, but came with [30]; it has activation, pooling
    """
    known = MODEL_OPTIONS.get(model)
    if known is None or data not in DATA:
        raise ValueError(
            f"run: got model {model!r} and data {data!r}, expected one of "
            f"{', '.join(MODEL_OPTIONS)} and one of {', '.join(DATA)}"
        )
    options = {}
    for name in OFFERED:
        value = chosen.pop(name, None)
        if value is not None and name not in known:
            raise ValueError(
                f"run: {model} has no {name}, but came with {value!r}; it has "
                f"{', '.join(known) or 'no options'}"
            )
        options[name] = known.get(name) if value is None else value
        if value is not None and name in CHOICES:
            choice("run", name, value, CHOICES[name])
    training = asdict(recipe(data, **chosen))
    return {"model": model, "data": data, **options, **{name: training[name] for name in TRAINING}}


def fine_tune_request(
    session: Session, *, model_id: int, epochs: int, lr: float, replay: int, seed: int = 0
) -> dict[str, Any]:
    """Return the request to fine-tune a model on the current labeled drawings.

    Parameters
    ----------
    session : Session
    model_id : int
    epochs : int
    lr : float
    replay : int
        Number of its training images to replay.
    seed : int

    Returns
    -------
    dict
        Plain JSON, with the ids of the drawings to train with and of those held back.

    Raises
    ------
    ConflictError
        If there are no drawings to train with, or the model was trained on other images.
    ValueError
        If a value is out of range.
    """
    taught = [drawing.id for drawing in drawings.to_teach(session)]
    if not taught:
        raise ConflictError("there is no labeled drawing to fine-tune on: draw and label some")
    data = models.get(session, model_id).settings["data"]["source"]
    if data not in DATA:
        raise ConflictError(
            f"model {model_id} was trained on {data!r}, expected one of {', '.join(DATA)}"
        )
    chosen = TrainingSettings(epochs=epochs, lr=lr, seed=seed, **cast(Any, FINE_TUNING))
    training = asdict(chosen)
    return {
        "model_id": model_id,
        "data": data,
        "drawings": taught,
        "held_back": [drawing.id for drawing in drawings.held_back(session)],
        "replay": replay,
        **{name: training[name] for name in TRAINING},
    }


def settings_of(
    request: dict[str, Any], split: Split, base: RunSettings | None = None
) -> RunSettings:
    """Return the training settings of a request.

    Parameters
    ----------
    request : dict
    split : Split
        The training and test images.
    base : RunSettings, optional
        Settings of the model to fine-tune: its architecture and preprocessing are kept.
    """
    stored = {name: request[name] for name in TRAINING if name in request}  # an earlier has fewer
    training = TrainingSettings(**stored)
    if base is not None:
        return RunSettings(data=base.data.of_split(split), model=base.model, training=training)
    options = {name: request[name] for name in MODEL_OPTIONS[request["model"]] if name in request}
    model = ModelSettings(name=request["model"], options=options)
    return RunSettings(data=DataSettings.of(split, request["data"]), model=model, training=training)
