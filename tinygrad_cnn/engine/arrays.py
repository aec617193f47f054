"""Types of arrays and shapes, and read-only views."""

from __future__ import annotations

from typing import Any, TypeAlias, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[Any]  # that of ops, `core.variable.Array`, may also be a Tensor
Shape: TypeAlias = tuple[int, ...]
T = TypeVar("T")


def read_only(value: T) -> T:
    """Return a read-only view of an array, or of each array in a list; other values unchanged."""
    view: Any = value
    if type(view) is list:
        view = [read_only(part) for part in view]
    elif isinstance(view, np.ndarray):
        view = view.view()
        view.flags.writeable = False
    return cast(T, view)
