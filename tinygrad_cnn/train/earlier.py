"""Checkpoints of earlier versions: their optimizers and schedules, in this version's names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tinygrad_cnn.optim import LRScheduler, Optimizer

__all__ = ["current"]

OPTIONS = {"epsilon": "eps"}
SCHEDULES = {
    "StepLR": {"every": "step_size", "factor": "gamma"},
    "CosineAnnealingLR": {"steps": "T_max", "lr_min": "eta_min"},
    "OneCycleLR": {"steps": "total_steps", "lr_max": "max_lr", "warmup": "pct_start"},
    "ReduceLROnPlateau": {"bad_steps": "num_bad_epochs"},
}
"""By class, names of this version by those of formats 1 and 2."""


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
