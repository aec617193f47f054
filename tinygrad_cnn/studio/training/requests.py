"""What a run is asked to do, as its row keeps it: everything chosen, nothing left to defaults."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, cast

from sqlalchemy.orm import Session

from tinygrad_cnn.data import Split
from tinygrad_cnn.studio.store import Refused, drawings, models
from tinygrad_cnn.train import DataSettings, ModelSettings, Settings, TrainingSettings, recipe

__all__ = ["DATA", "MODEL_OPTIONS", "fine_tune_request", "settings_of", "train_request"]

DATA = ("digits", "mnist")
"""What can be learned: ten digits, 28×28. Whatever a request or a file says, no path is one."""

MODEL_OPTIONS: dict[str, dict[str, Any]] = {
    "lenet5": {"activation": "relu", "pooling": "max"},
    "mlp": {"activation": "sigmoid", "hidden": [30]},
    "vgg": {},
}
"""By model, the options that can be chosen, and what they are otherwise."""

TRAINING = (
    "optimizer", "lr", "batch_size", "schedule", "augment", "weight_decay", "epochs", "seed",
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
        Options of the model and fields of `TrainingSettings`; None leaves one to the model, or to
        the data's recipe.

    Returns
    -------
    dict
        Plain JSON.

    Raises
    ------
    ValueError
        If there is no such thing, the model has no such option, or a value is out of range.

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
    for name in ("activation", "pooling", "hidden"):
        value = chosen.pop(name, None)
        if value is not None and name not in known:
            raise ValueError(
                f"run: {model} has no {name}, but came with {value!r}; it has "
                f"{', '.join(known) or 'no options'}"
            )
        options[name] = known.get(name) if value is None else value
    training = asdict(recipe(data, **chosen))
    return {"model": model, "data": data, **options, **{name: training[name] for name in TRAINING}}


def fine_tune_request(
    session: Session, *, model_id: int, epochs: int, lr: float, replay: int, seed: int = 0
) -> dict[str, Any]:
    """Return the request to teach a model the labelled drawings that there are now.

    Parameters
    ----------
    session : Session
    model_id : int
    epochs : int
    lr : float
    replay : int
        How many of its training images to show it again.
    seed : int

    Returns
    -------
    dict
        Plain JSON, with the ids of the drawings to learn and of those to measure with.

    Raises
    ------
    Refused
        If there is nothing to learn, or the model has learned other images.
    ValueError
        If a value is out of range.
    """
    taught = [drawing.id for drawing in drawings.to_teach(session)]
    if not taught:
        raise Refused("there is no labelled drawing to learn: draw some, and say what they are")
    data = models.get(session, model_id).settings["data"]["source"]
    if data not in DATA:
        raise Refused(f"model {model_id} has learned {data!r}, expected one of {', '.join(DATA)}")
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


def settings_of(request: dict[str, Any], split: Split, base: Settings | None = None) -> Settings:
    """Return the settings of the training that a request asks for.

    Parameters
    ----------
    request : dict
    split : Split
        The images to learn, and those to test with.
    base : Settings, optional
        Of the model that learns on: what it is, and how it sees its images, stay as they are.
    """
    training = TrainingSettings(**{name: request[name] for name in TRAINING})
    if base is not None:
        return Settings(data=base.data.of_split(split), model=base.model, training=training)
    names = MODEL_OPTIONS[request["model"]]
    model = ModelSettings(name=request["model"], options={name: request[name] for name in names})
    return Settings(data=DataSettings.of(split, request["data"]), model=model, training=training)
