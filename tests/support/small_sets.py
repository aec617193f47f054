"""A small set of examples, and models for it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

import tinygrad_cnn as tg

Arrays = tuple[NDArray[Any], NDArray[Any]]


def made(count: int = 20, classes: int = 3, seed: int = 0) -> Arrays:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(count, 4)).astype("f4"), rng.integers(classes, size=count)


def linear(classes: int = 3) -> tg.nn.Linear:
    return tg.nn.Linear(4, classes, rng=np.random.default_rng(1))


class Broken(tg.nn.Linear):
    def forward(self, x: Any) -> Any:
        raise RuntimeError("broken")
