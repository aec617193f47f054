"""What the source of a step calls beside forwards, rules and effects."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn.core import graph
from tinygrad_cnn.core.pullback import WRITES
from tinygrad_cnn.core.variable import Variable, array_of
from tinygrad_cnn.engine.arrays import read_only

__all__ = [
    "array",
    "arrays",
    "detached_as",
    "graph",
    "guarded",
    "in_c_order",
    "store",
    "store_copy",
]


def store(leaf: Variable, gradient: Any) -> None:
    """Add a gradient to ``.grad`` of a leaf, which may keep the array."""
    earlier: Any = leaf._grad
    if earlier is not None:
        leaf._grad = np.asarray(array_of(earlier) + gradient)
    elif type(gradient) is not np.ndarray or gradient.base is not None:
        leaf._grad = np.array(gradient)
    else:
        leaf._grad = gradient


def store_copy(leaf: Variable, gradient: Any) -> None:
    """Add a gradient that another has too to ``.grad`` of a leaf."""
    earlier: Any = leaf._grad
    leaf._grad = np.array(gradient) if earlier is None else np.asarray(array_of(earlier) + gradient)


def guarded(rule: Callable[..., Any], name: str, g: Any, **values: Any) -> Any:
    """Call a user's rule with read-only arrays."""
    kept = {key: read_only(value) for key, value in values.items()}
    try:
        return rule(read_only(g), **kept)
    except ValueError as error:
        if "read-only" not in str(error):
            raise
        raise ValueError(f"the rule {name} {WRITES}") from error


def in_c_order(x: NDArray[Any], dtype: Any) -> NDArray[Any]:
    """Return a copy in C order, as a Tensor makes it of its data."""
    return np.array(x, dtype, order="C")


def array(value: Any) -> NDArray[Any]:
    """Return what an effect returned as an array."""
    return np.asarray(array_of(value))


def arrays(values: Any) -> tuple[NDArray[Any], ...]:
    """Return what an effect returned as arrays."""
    return tuple([np.asarray(array_of(value)) for value in values])


@cache
def detached_as(kind: Any) -> Callable[[NDArray[Any]], Any]:
    """Return the function that makes a Tensor of this class, without a graph."""

    def detached(array: NDArray[Any]) -> Any:
        made = kind._of(array)
        made._unrecorded = True
        return made

    return detached
