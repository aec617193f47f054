"""The experiments of the text's section 0.4: a file each, to be copied and changed."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

from tinygrad_cnn.efficiency.experiment import Experiment

__all__ = ["NAMES", "find"]

NAMES = (
    "activations",
    "batches",
    "rates",
    "losses",
    "architectures",
    "temperature",
    "convolutions",
    "overhead",
    "precision",
    "frameworks",
    "published",
)


def find(name: str) -> Experiment:
    """Return an experiment; its module is only now imported.

    Raises
    ------
    ValueError
        If there is none of that name.

    Examples
    --------
    >>> find("activations").question.endswith("?")
    True
    """
    if name not in NAMES:
        raise ValueError(f"experiment: name is {name!r}, expected one of {', '.join(NAMES)}")
    module: ModuleType = import_module(f"{__name__}.{name}")
    experiment: Experiment = module.experiment
    return experiment
