"""Requests for runs, as stored in their rows, with all defaults filled in."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, TypeVar, cast

from sqlalchemy.orm import Session

from tinygrad_cnn.data import Split
from tinygrad_cnn.nn import ACTIVATIONS, MODELS, POOLINGS
from tinygrad_cnn.studio.image_sets import DRAWN_SETS, IMAGE_SETS
from tinygrad_cnn.studio.store import ConflictError, StoredRun, drawings, models, runs
from tinygrad_cnn.studio.store.tables import RunKind
from tinygrad_cnn.support.arguments import choice
from tinygrad_cnn.train import (
    AUGMENTATIONS,
    OPTIMIZERS,
    SCHEDULES,
    DataSettings,
    ModelSettings,
    RunSettings,
    TrainingSettings,
    recipe,
)

__all__ = [
    "AUGMENTED",
    "FIRST",
    "FIRST_FINE_TUNING",
    "MODEL_OPTIONS",
    "MOST_HIDDEN",
    "NUMBERS",
    "Number",
    "SettingError",
    "defaults",
    "fine_tune_request",
    "queue",
    "settings_of",
    "train_request",
]

T = TypeVar("T")

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

AUGMENTED = {
    "none": "None",
    "shift": "Shift",
    "rotate": "Rotate",
    "scale": "Scale",
    "affine": "Shift, rotate",
    "tilt": "Shift, rotate, shear",
    "elastic": "Shift, distort",
    "shift-flip": "Shift, mirror",
}
"""The names of augmentations on screens."""

CHOICES: dict[str, Iterable[str]] = {
    "model": MODEL_OPTIONS,
    "data": IMAGE_SETS,
    "activation": ACTIVATIONS,
    "pooling": POOLINGS,
    "optimizer": OPTIMIZERS,
    "schedule": SCHEDULES,
    "augment": AUGMENTATIONS,
}


@dataclass(frozen=True)
class Number:
    """A number of a request, for the form and for the checks of the server.

    Attributes
    ----------
    label : str
        Its name on screens.
    bounds : mapping of str to number
        Any of ``ge``, ``gt``, ``le`` and ``lt``, as Pydantic names them.
    whole : bool
        Whether it is an integer.
    """

    label: str
    bounds: Mapping[str, int]
    whole: bool = False


NUMBERS: dict[str, Number] = {
    "hidden": Number("Hidden layers", {"ge": 1, "le": 1024}, whole=True),
    "dropout": Number("Dropout", {"ge": 0, "lt": 1}),
    "lr": Number("Learning rate", {"gt": 0, "le": 100}),
    "weight_decay": Number("Weight decay", {"ge": 0, "le": 10}),
    "batch_size": Number("Batch size", {"ge": 1, "le": 10_000}, whole=True),
    "epochs": Number("Epochs", {"ge": 1, "le": 200}, whole=True),
    "seed": Number("Seed", {"ge": 0, "le": 2**31 - 1}, whole=True),
    "replay": Number("Replayed digits", {"ge": 0, "le": 60_000}, whole=True),
}
"""The numbers of requests; `hidden` is the size of each hidden layer."""

MOST_HIDDEN = 4
"""Maximum number of hidden layers."""

TRAINING = (
    "optimizer", "lr", "batch_size", "schedule", "augment", "weight_decay", "epochs", "seed",
    "optimizer_options", "schedule_options",
)  # fmt: skip
FIRST: dict[str, Any] = {"model": "lenet5", "data": "european-digits", "epochs": 8, "seed": 0}
"""Settings of a training run that leaves them out; `defaults` has others."""

FIRST_FINE_TUNING: dict[str, Any] = {"epochs": 3, "lr": 0.0005, "replay": 2000, "seed": 0}
"""Settings of a fine-tuning that leaves them out."""

DECIDED = ("lr", "weight_decay", "augment", "batch_size", "schedule")
FINE_TUNING = {"optimizer": "adam", "batch_size": 64, "schedule": "cosine", "augment": "tilt"}


class SettingError(ValueError):
    """A setting cannot be trained with.

    Attributes
    ----------
    setting : str
        Its name in the request.
    value : object
    """

    def __init__(self, setting: str, value: Any, reason: str) -> None:
        super().__init__(reason)
        self.setting = setting
        self.value = value


def defaults(data: str) -> dict[str, dict[str, Any]]:
    """Return the settings that each optimizer implies for a data set, its recipe's first.

    Examples
    --------
    >>> found = defaults("digits")
    >>> list(found)[0], found["adamw"]["weight_decay"], found["sgd"]["lr"]
    ('adamw', 0.01, 0.1)
    """
    names = sorted(OPTIMIZERS, key=lambda name: name != recipe(data).optimizer)
    settings = {name: asdict(recipe(data, optimizer=name)) for name in names}
    return {name: {key: row[key] for key in DECIDED} for name, row in settings.items()}


def train_request(model: str, data: str, **chosen: Any) -> dict[str, Any]:
    """Return the request to train a model from the beginning.

    Parameters
    ----------
    model : str
        A key of ``MODEL_OPTIONS``.
    data : str
        One of ``IMAGE_SETS``.
    **chosen
        Options of the model and fields of `TrainingSettings`; None selects the default of the model
        or of the data's recipe.

    Returns
    -------
    dict
        Plain JSON.

    Raises
    ------
    SettingError
        If a name is unknown, the model lacks an option, or a value is out of range.

    Examples
    --------
    >>> request = train_request("lenet5", "digits", epochs=4, optimizer="sgd")
    >>> request["pooling"], request["lr"], request["hidden"]
    ('max', 0.1, None)
    >>> train_request("lenet5", "digits", hidden=[30])
    Traceback (most recent call last):
        ...
    tinygrad_cnn.studio.training.requests.SettingError: run: lenet5 has no hidden, but ...
    """
    for name, value in {"model": model, "data": data, **chosen}.items():
        if value is not None and name in CHOICES:
            _checked(name, value, partial(choice, "run", name, value, CHOICES[name]))
    known = MODEL_OPTIONS[model]
    options = {}
    for name in OFFERED:
        value = chosen.pop(name, None)
        if value is not None and name not in known:
            has = ", ".join(known) or "no options"
            reason = f"run: {model} has no {name}, but came with {value!r}; it has {has}"
            raise SettingError(name, value, reason)
        options[name] = known.get(name) if value is None else value
    unscheduled = {**chosen, "schedule": "constant", "schedule_options": None}
    for name, all_chosen in (("optimizer_options", unscheduled), ("schedule_options", chosen)):
        settings = _checked(name, chosen.get(name), partial(recipe, data, **all_chosen))
    training = asdict(settings)
    return {"model": model, "data": data, **options, **{name: training[name] for name in TRAINING}}


def _checked(setting: str, value: Any, make: Callable[[], T]) -> T:
    """Return what `make` returns; its ValueError becomes a SettingError."""
    try:
        return make()
    except ValueError as error:
        raise SettingError(setting, value, str(error)) from None


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
        Plain JSON: among others, the number of drawings to train with and of those held back, and
        the id of the last one.

    Raises
    ------
    ConflictError
        If there are no drawings to train with, or the model was trained on other images.
    ValueError
        If a value is out of range.
    """
    taught, held_back = drawings.to_teach(session), drawings.held_back(session)
    if not taught:
        raise ConflictError("there is no labeled drawing to fine-tune on: draw and label some")
    model = models.get(session, model_id)
    data = model.settings["data"]["source"]
    if data not in DRAWN_SETS:
        raise ConflictError(
            f"the model {model.name!r} was trained on pictures that are not digits, so it cannot "
            "learn from drawings: choose a model of digits"
        )
    chosen = TrainingSettings(epochs=epochs, lr=lr, seed=seed, **cast(Any, FINE_TUNING))
    training = asdict(chosen)
    return {
        "model_id": model_id,
        "data": data,
        "drawings": len(taught),
        "held_back": len(held_back),
        "last_drawing": max(drawing.id for drawing in (*taught, *held_back)),
        "replay": replay,
        **{name: training[name] for name in TRAINING},
    }


def queue(session: Session, request: dict[str, Any], name: str) -> StoredRun:
    """Add a run for a request to the end of the queue."""
    kind: RunKind = "fine-tune" if "model_id" in request else "train"
    return runs.create(session, name=name, kind=kind, request=request, epochs=request["epochs"])


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
