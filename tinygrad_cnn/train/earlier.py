"""Checkpoints of earlier versions, in this version's form and names.

Format 1 has a list of the modules' random generators in place of the model's own state; formats 1
to 3 have other names in optimizers and schedules; formats 1 to 4 are of whole epochs, and have the
history beside the other parts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from tinygrad_cnn.core.recording import qualified
from tinygrad_cnn.nn import Module
from tinygrad_cnn.optim import LRScheduler, Optimizer

__all__ = ["FORMATS", "converted", "current"]

FORMATS = (1, 2, 3, 4)

OPTIONS = {"epsilon": "eps"}
SCHEDULES = {
    "StepLR": {"every": "step_size", "factor": "gamma"},
    "CosineAnnealingLR": {"steps": "T_max", "lr_min": "eta_min"},
    "OneCycleLR": {"steps": "total_steps", "lr_max": "max_lr", "warmup": "pct_start"},
    "ReduceLROnPlateau": {"bad_steps": "num_bad_epochs"},
}
"""By class, names of this version by those of formats 1 and 2."""


def converted(
    state: Mapping[str, Any], model: Module, optimizer: Optimizer, schedule: LRScheduler | None
) -> dict[str, Any]:
    """Return a checkpoint of format 1 to 4 in the form of `Checkpoint`.

    Parameters
    ----------
    state : mapping
        The checkpoint.
    model, optimizer, schedule : Module, Optimizer, LRScheduler or None
        Those that it will be loaded into.

    Raises
    ------
    ValueError
        If it is of a format that does not exist, or has an unknown field.
    KeyError
        If a field is missing.
    """
    unread = dict(state)
    if (format := unread.pop("format")) not in FORMATS:
        raise ValueError(f"its format is {format}, perhaps of a later version")
    if format < 4:
        unread |= current(state, optimizer, schedule)
    if format == 1:
        names = _generators(model)
        saved = unread.pop("generators")
        own = {name: {"generator": its} for name, its in zip(names, saved, strict=True)}
    else:
        own = unread.pop("own")
    parts = {"optimizer": unread.pop("optimizer"), "history": {"epochs": unread.pop("history")}}
    if (saved := unread.pop("schedule")) is not None:
        parts["schedule"] = saved
    found = {
        "steps": max(_steps(parts["optimizer"]), default=0),
        "model": unread.pop("model"),
        "own": own,
        "random": unread.pop("random", {}),  # the first ones lack it, others the default generator
        "parts": parts,
    }
    if unread:
        raise ValueError(f"unknown field {', '.join(unread)}, perhaps from a later version")
    return found


def _steps(optimizer: Mapping[str, Any]) -> Iterator[int]:
    """Yield the number of updates of each parameter, from the state of an optimizer."""
    return (int(value) for name, value in optimizer.items() if name.endswith(".steps"))


def _generators(model: Module) -> list[str]:
    """Return the names of the modules' random generators, each once, in the order of format 1."""
    found: dict[int, str] = {}
    for prefix, module in model.named_modules():
        for name, value in vars(module).items():
            if isinstance(value, np.random.Generator):
                found.setdefault(id(value), qualified(prefix, name))
    return list(found.values())


def current(
    state: Mapping[str, Any], optimizer: Optimizer, schedule: LRScheduler | None
) -> dict[str, Any]:
    """Return the optimizer's and the schedule's part of a checkpoint of format 1 to 3.

    Parameters
    ----------
    state : mapping
        The checkpoint.
    optimizer : Optimizer
    schedule : LRScheduler or None
        Those of the run's settings: their options are used where the checkpoint has none.

    Examples
    --------
    >>> from tinygrad_cnn import nn, optim
    >>> optimizer = optim.RMSprop([nn.Parameter([0.0])])
    >>> current({"optimizer": {"lr": 0.1, "epsilon": 1e-6}}, optimizer, None)["optimizer"]["eps"]
    1e-06
    """
    options = _renamed(state["optimizer"], OPTIONS)
    if "beta1" in options:
        options["betas"] = options.pop("beta1"), options.pop("beta2")
    parts = {"optimizer": _completed(options, optimizer)}
    if schedule is not None and isinstance(state["schedule"], dict):
        names = {
            **SCHEDULES[type(schedule).__name__],
            "lr_start": "base_lr",
            "steps_taken": "last_epoch",
        }
        saved = _renamed(state["schedule"], names)
        if "start" in saved:  # both were fractions of the highest rate
            start, end = saved.pop("start"), saved.pop("end")
            saved |= {"div_factor": 1.0 / start, "final_div_factor": start / end}
        saved.setdefault("last_epoch", len(state["history"]))  # of a plateau: the epochs
        parts["schedule"] = _completed(saved, schedule)
    return parts


def _renamed(state: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    return {names.get(name, name): value for name, value in state.items()}


def _completed(state: dict[str, Any], new: Optimizer | LRScheduler) -> dict[str, Any]:
    return {**new.state_dict(), **state}
