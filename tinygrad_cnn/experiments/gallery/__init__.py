"""The experiments on the text's section 0.4: one file each, to be copied and changed."""

from __future__ import annotations

from importlib import import_module

from tinygrad_cnn.experiments.experiment import Experiment
from tinygrad_cnn.support.modules import load_file

__all__ = ["NAMES", "find"]

NAMES = (
    "activations",
    "batches",
    "rates",
    "warmup",
    "losses",
    "architectures",
    "temperature",
    "convolutions",
    "overhead",
    "precision",
    "frameworks",
    "mnist",
    "published",
)


def find(name: str) -> Experiment:
    """Return an experiment; its module is imported on demand.

    Parameters
    ----------
    name : str
        One of `NAMES`, or the path of a Python file that defines ``experiment``, an `Experiment`.

    Raises
    ------
    ValueError
        If the name is unknown, or the file defines no experiment.
    FileNotFoundError
        If the file does not exist.

    Examples
    --------
    >>> find("activations").question.endswith("?")
    True
    """
    if not name.endswith(".py"):
        if name not in NAMES:
            known = ", ".join(NAMES)
            raise ValueError(f"experiment: name is {name!r}, expected one of {known}, or a file.py")
        module = import_module(f"{__name__}.{name}")
    else:
        module = load_file(name)
    experiment = getattr(module, "experiment", None)
    if not isinstance(experiment, Experiment):
        raise ValueError(f"{name}: has no Experiment called 'experiment'")
    return experiment
