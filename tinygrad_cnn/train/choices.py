"""Optimizers, schedules and augmentations that settings refer to by name."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from tinygrad_cnn.core.variable import Variable
from tinygrad_cnn.data import Elastic, Rotate, Shift, Transform
from tinygrad_cnn.optim import (
    SGD,
    Adam,
    AdamW,
    CosineAnnealingLR,
    LRScheduler,
    OneCycleLR,
    Optimizer,
    ReduceLROnPlateau,
    RMSprop,
    StepLR,
)

__all__ = ["AUGMENTATIONS", "LEARNING_RATES", "OPTIMIZERS", "SCHEDULES"]

MakeOptimizer = Callable[[Iterable[Variable], float, float], Optimizer]
MakeSchedule = Callable[[Optimizer, float, int, int], LRScheduler | None]

OPTIMIZERS: dict[str, MakeOptimizer] = {
    "sgd": lambda p, lr, decay: SGD(p, lr, weight_decay=decay),
    "momentum": lambda p, lr, decay: SGD(p, lr, momentum=0.9, weight_decay=decay),
    "nesterov": lambda p, lr, decay: SGD(p, lr, momentum=0.9, nesterov=True, weight_decay=decay),
    "adam": lambda p, lr, decay: Adam(p, lr, weight_decay=decay),
    "adamw": lambda p, lr, decay: AdamW(p, lr, weight_decay=decay),
    "rmsprop": lambda p, lr, decay: RMSprop(p, lr, weight_decay=decay),
}
"""By name, functions ``(parameters, lr, weight_decay)``."""

LEARNING_RATES = {
    "sgd": 0.1,
    "momentum": 0.02,
    "nesterov": 0.02,
    "adam": 0.003,
    "adamw": 0.003,
    "rmsprop": 0.001,
}
"""Initial learning rates, by optimizer."""

SCHEDULES: dict[str, MakeSchedule] = {
    "constant": lambda optimizer, lr, updates, epochs: None,
    "step": lambda optimizer, lr, updates, epochs: StepLR(
        optimizer, step_size=max(1, updates // 3), gamma=0.2
    ),
    "cosine": lambda optimizer, lr, updates, epochs: CosineAnnealingLR(optimizer, updates),
    "onecycle": lambda optimizer, lr, updates, epochs: OneCycleLR(
        optimizer, lr, updates, cycle_momentum=False, final_div_factor=400.0
    ),
    "plateau": lambda optimizer, lr, updates, epochs: ReduceLROnPlateau(
        optimizer, factor=0.3, patience=max(1, epochs // 10)
    ),
}
"""By name, functions ``(optimizer, lr, updates, epochs)``."""

AUGMENTATIONS: dict[str, tuple[Transform, ...]] = {
    "none": (),
    "shift": (Shift(2),),
    "affine": (Shift(2), Rotate(10)),
    "elastic": (Shift(2), Elastic(alpha=20, sigma=4)),
}
"""By name, the transforms of the images, in order."""
