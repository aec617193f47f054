"""Types of arrays and shapes, the order of axes in memory, and read-only views."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, TypeAlias, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[Any]  # that of ops, `core.variable.Array`, may also be a Tensor
Shape: TypeAlias = tuple[int, ...]
T = TypeVar("T")


@lru_cache(maxsize=1024)
def memory_order(shape: Shape, strides: Shape) -> Shape:
    """Return the axes of an array, slowest in memory first."""
    return tuple(sorted(range(len(shape)), key=lambda axis: (-abs(strides[axis]), -shape[axis])))


@lru_cache(maxsize=1024)
def inverse(order: Shape) -> Shape:
    """Return the permutation that undoes `order`, a permutation of axes."""
    return tuple([order.index(axis) for axis in range(len(order))])


def read_only(value: T) -> T:
    """Return a read-only view of an array, or of each array in a list; other values unchanged."""
    view: Any = value
    if type(view) is list:
        view = [read_only(part) for part in view]
    elif isinstance(view, np.ndarray):
        view = view.view()
        view.flags.writeable = False
    return cast(T, view)
