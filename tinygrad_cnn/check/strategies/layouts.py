"""Memory layouts: the same values, stored differently; results must not depend on them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

Rearrangement: TypeAlias = Callable[[NDArray[Any]], NDArray[Any]]


def c_order(x: NDArray[Any]) -> NDArray[Any]:
    """Return `x` in C order, row by row."""
    return np.array(x, order="C")


def fortran_order(x: NDArray[Any]) -> NDArray[Any]:
    """Return `x` in Fortran order, column by column."""
    return np.array(x, order="F")


def strided(x: NDArray[Any]) -> NDArray[Any]:
    """Return `x` as every other element of an array of ones."""
    around = np.ones([2 * n for n in x.shape], x.dtype)
    view = around[(slice(None, None, 2),) * x.ndim] if x.ndim else around
    view[...] = x
    return view


def negative_strides(x: NDArray[Any]) -> NDArray[Any]:
    """Return `x` as a view that is reversed along every axis."""
    return np.flip(np.flip(x).copy())


def read_only(x: NDArray[Any]) -> NDArray[Any]:
    """Return `x` as a read-only array."""
    copy = np.array(x)
    copy.setflags(write=False)
    return copy


def channels_last(x: NDArray[Any]) -> NDArray[Any]:
    """Return `x` with its second axis last in memory: (N, C, H, W) stored as (N, H, W, C)."""
    if x.ndim < 2:
        return strided(x)
    return np.moveaxis(np.moveaxis(x, 1, -1).copy(), -1, 1)


def batch_last(x: NDArray[Any]) -> NDArray[Any]:
    """Return `x` with its first axis last in memory: (N, C, H, W) stored as (C, H, W, N)."""
    if x.ndim < 2:
        return strided(x)
    return np.moveaxis(np.moveaxis(x, 0, -1).copy(), -1, 0)


def unaligned(x: NDArray[Any]) -> NDArray[Any]:
    """Return `x` with elements that are not aligned to words of memory."""
    memory = np.zeros(x.nbytes + 1, np.uint8)[1:]
    copy = memory.view(x.dtype).reshape(x.shape)
    copy[...] = x
    return copy


LAYOUTS: tuple[Rearrangement, ...] = (
    c_order,
    fortran_order,
    strided,
    negative_strides,
    read_only,
    channels_last,
    batch_last,
    unaligned,
)


def layouts() -> st.SearchStrategy[Rearrangement]:
    """Draw one of `LAYOUTS`: a function that returns an array in another memory layout.

    Examples
    --------
    >>> import numpy as np
    >>> from hypothesis import find
    >>> from tinygrad_cnn.check.strategies import layouts
    >>> x = np.arange(6.0).reshape(2, 3)
    >>> moved = find(layouts(), lambda layout: layout(x).strides[0] < 0)(x)
    >>> moved.strides, bool((moved == x).all())
    ((-24, -8), True)
    """
    return st.sampled_from(LAYOUTS)
