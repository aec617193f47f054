"""Tables of the optimizers, schedules and augmentations that settings refer to by name.

The command line, the studio, the tests and the docs read them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from tinygrad_cnn.data import (
    Elastic,
    RandomAffine,
    RandomHorizontalFlip,
    Rotate,
    Shift,
    Transform,
)
from tinygrad_cnn.optim import (
    SGD,
    Adadelta,
    Adagrad,
    Adam,
    AdamW,
    CosineAnnealingLR,
    OneCycleLR,
    Optimizer,
    ReduceLROnPlateau,
    RMSprop,
    StepLR,
)
from tinygrad_cnn.support.choices import Choice

__all__ = ["AUGMENTATIONS", "OPTIMIZERS", "SCHEDULES", "ScheduleChoice"]

_optimizer = partial(Choice, arguments=("params", "lr", "weight_decay"))

OPTIMIZERS: dict[str, Choice] = {
    "sgd": _optimizer("SGD", SGD, {"lr": 0.1}),
    "momentum": _optimizer("Momentum", SGD, {"lr": 0.02, "momentum": 0.9}),
    "nesterov": _optimizer("Nesterov", SGD, {"lr": 0.02, "momentum": 0.9, "nesterov": True}),
    "adam": _optimizer("Adam", Adam, {"lr": 0.003}),
    "adamw": _optimizer("AdamW", AdamW, {"lr": 0.003}),
    "adagrad": _optimizer("Adagrad", Adagrad, {"lr": 0.01}),
    "adadelta": _optimizer("Adadelta", Adadelta, {"lr": 1.0}),
    "rmsprop": _optimizer("RMSprop", RMSprop, {"lr": 0.001}),
}
"""Optimizers by name. Learning rate and weight decay are settings of their own, not options."""


@dataclass(frozen=True)
class ScheduleChoice(Choice):
    """A schedule, and the arguments that depend on the run.

    Attributes
    ----------
    of_run : callable
        ``of_run(lr, updates, epochs)``; options override what it returns.
    """

    of_run: Callable[[float, int, int], dict[str, Any]] = lambda lr, updates, epochs: {}


def _constant(optimizer: Optimizer) -> None:
    return None


_schedule = partial(ScheduleChoice, arguments=("optimizer", "max_lr", "epochs", "steps_per_epoch"))

SCHEDULES: dict[str, ScheduleChoice] = {
    "constant": _schedule("Constant", _constant),
    "step": _schedule(
        "Step",
        StepLR,
        {"gamma": 0.2},
        of_run=lambda lr, updates, epochs: {"step_size": max(1, updates // 3)},
    ),
    "cosine": _schedule(
        "Cosine", CosineAnnealingLR, of_run=lambda lr, updates, epochs: {"T_max": updates}
    ),
    "onecycle": _schedule(
        "One cycle",
        OneCycleLR,
        {"cycle_momentum": False, "final_div_factor": 400.0},
        of_run=lambda lr, updates, epochs: {"max_lr": lr, "total_steps": updates},
    ),
    "plateau": _schedule(
        "Plateau",
        ReduceLROnPlateau,
        {"factor": 0.3, "patience": None},
        of_run=lambda lr, updates, epochs: {"patience": max(1, epochs // 10)},
    ),
}
"""Schedules by name. Steps are updates, except for "plateau", where they are epochs."""

AUGMENTATIONS: dict[str, tuple[Transform, ...]] = {
    "none": (),
    "shift": (Shift(2),),
    "rotate": (Rotate(10),),
    "scale": (RandomAffine(0, scale=(0.8, 1.2)),),
    "affine": (Shift(2), Rotate(10)),
    "tilt": (Shift(1), RandomAffine(28, scale=(0.85, 1.1), shear=20)),
    "elastic": (Shift(2), Elastic(alpha=20, sigma=4)),
    "shift-flip": (Shift(4), RandomHorizontalFlip()),
}
"""Augmentations by name: the transforms of the images, in order."""
