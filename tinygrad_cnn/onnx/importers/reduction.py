"""Reductions: floats by ops; integers and bools by NumPy in their own dtype."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn import ops
from tinygrad_cnn.core.variable import Array
from tinygrad_cnn.onnx.importers.values import axis_of, integers, is_floating, plain
from tinygrad_cnn.onnx.operator import Operator, importer

__all__: list[str] = []

Reduced: TypeAlias = Callable[[Array, tuple[int, ...], bool], Array]


def _reduction(
    op: Reduced, function: Reduced, node: Operator, x: Array, axes: Array | None = None
) -> Array:
    given = node.get("axes") if axes is None else axes
    along = [] if given is None else integers(given)
    if not along and not node.get("noop_with_empty_axes"):
        along = list(range(len(x.shape)))
    a = tuple(axis_of(node, axis, len(x.shape)) for axis in along)
    keepdims = bool(node.get("keepdims", 1))
    if is_floating(x):
        return op(x, a, keepdims)
    with np.errstate(all="ignore"):
        return np.asarray(function(plain(x), a, keepdims)).astype(x.dtype, copy=False)


def _or_empty(op: Callable[..., Any], value: float) -> Reduced:
    """Return a reduction that gives a value where there is nothing to reduce."""

    def reduction(x: Array, axes: tuple[int, ...], keepdims: bool) -> Array:
        if all(x.shape[a] for a in axes):
            return op(x, axes, keepdims)
        return ops.add(ops.sum(x, axes, keepdims), value)

    return reduction


def _extreme(choose: Callable[..., Any], first: Callable[[np.dtype[Any]], Any]) -> Reduced:
    """Return the maximum or minimum of integers or bools; `first` is that of no values."""

    def reduction(x: NDArray[Any], axes: tuple[int, ...], keepdims: bool) -> NDArray[Any]:
        return np.asarray(choose(x, axes, keepdims=keepdims, initial=first(x.dtype)))

    return reduction


def _total(x: NDArray[Any], axes: tuple[int, ...], keepdims: bool) -> NDArray[Any]:
    return np.asarray(np.sum(x, axes, keepdims=keepdims, dtype=x.dtype))


def _product(x: NDArray[Any], axes: tuple[int, ...], keepdims: bool) -> NDArray[Any]:
    return np.asarray(np.prod(x, axes, keepdims=keepdims, dtype=x.dtype))


def _in_float64(op: Reduced) -> Reduced:
    return lambda x, axes, keepdims: plain(op(x.astype(np.float64), axes, keepdims))


def _l1(x: Array, axes: tuple[int, ...], keepdims: bool) -> Array:
    return ops.sum(ops.abs(x), axes, keepdims)


def _l2(x: Array, axes: tuple[int, ...], keepdims: bool) -> Array:
    return ops.norm(x, 2, axes, keepdims)


def _log_sum(x: Array, axes: tuple[int, ...], keepdims: bool) -> Array:
    return ops.log(ops.sum(x, axes, keepdims))


def _sum_square(x: Array, axes: tuple[int, ...], keepdims: bool) -> Array:
    return ops.sum(ops.mul(x, x), axes, keepdims)


def _lowest(dtype: np.dtype[Any]) -> Any:
    return False if dtype.kind == "b" else np.iinfo(dtype).min


def _highest(dtype: np.dtype[Any]) -> Any:
    return True if dtype.kind == "b" else np.iinfo(dtype).max


_log_sum_exp = _or_empty(ops.logsumexp, -np.inf)

_TABLE: dict[str, tuple[Reduced, Reduced]] = {
    "ReduceSum": (ops.sum, _total),
    "ReduceMean": (
        _or_empty(ops.mean, np.nan),
        lambda x, axes, keepdims: np.mean(x, axes, keepdims=keepdims),
    ),
    "ReduceProd": (ops.prod, _product),
    "ReduceMax": (_or_empty(ops.max, -np.inf), _extreme(np.max, _lowest)),
    "ReduceMin": (_or_empty(ops.min, np.inf), _extreme(np.min, _highest)),
    "ReduceL1": (_l1, lambda x, axes, keepdims: _total(np.abs(x), axes, keepdims)),
    "ReduceL2": (_l2, _in_float64(_l2)),
    "ReduceSumSquare": (_sum_square, lambda x, axes, keepdims: _total(x * x, axes, keepdims)),
    "ReduceLogSum": (_log_sum, _in_float64(_log_sum)),
    "ReduceLogSumExp": (_log_sum_exp, _in_float64(_log_sum_exp)),
}

for _name, (_op, _function) in _TABLE.items():
    importer(_name)(partial(_reduction, _op, _function))
