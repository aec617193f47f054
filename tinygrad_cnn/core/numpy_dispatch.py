"""NumPy's functions on Tensors: each calls the op that computes it, or is refused by name."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn import ops
from tinygrad_cnn.core.hidden import OF_SHAPES, plain
from tinygrad_cnn.core.leaf_array import WRITERS
from tinygrad_cnn.core.recording import recording
from tinygrad_cnn.core.variable import Variable, array_of, holds_gradient
from tinygrad_cnn.engine.arrays import read_only

SAME_NAME = (
    np.exp, np.expm1, np.log, np.log1p, np.log2, np.log10, np.sqrt, np.square, np.sign, np.floor,
    np.ceil, np.sin, np.cos, np.tan, np.arctan, np.arctan2, np.sinh, np.cosh, np.tanh, np.hypot,
    np.maximum, np.minimum, np.matmul,
)  # fmt: skip


def floor_divide(a: Any, b: Any) -> Any:
    """Return ``a // b``; of integers, integers."""
    return _of_integers(np.floor_divide, ops.floor_divide, a, b)


def mod(a: Any, b: Any) -> Any:
    """Return ``a % b``; of integers, integers."""
    return _of_integers(np.remainder, ops.mod, a, b)


def _of_integers(ufunc: np.ufunc, op: Callable[..., Any], a: Any, b: Any) -> Any:
    kinds = {np.asarray(array_of(value)).dtype.kind for value in (a, b)}
    return discrete(ufunc, a, b) if kinds <= set("iub") else op(a, b)


UFUNCS: dict[np.ufunc, Callable[..., Any]] = {
    np.add: ops.add,
    np.subtract: ops.sub,
    np.multiply: ops.mul,
    np.divide: ops.div,
    np.negative: ops.neg,
    np.positive: lambda x: x,
    np.power: ops.pow,
    np.floor_divide: floor_divide,
    np.remainder: mod,
    np.rint: ops.round,
    np.reciprocal: lambda x: ops.div(1.0, x),
    np.absolute: ops.abs,
    np.fabs: ops.abs,
    np.exp2: lambda x: ops.pow(2.0, x),
    **{ufunc: getattr(ops, ufunc.__name__) for ufunc in SAME_NAME},
}
"""The op that computes a ufunc."""

REDUCED: dict[np.ufunc, Callable[..., Any]] = {
    np.add: ops.sum,
    np.multiply: ops.prod,
    np.maximum: ops.max,
    np.minimum: ops.min,
}
"""The op that computes ``ufunc.reduce``."""

DISCRETE = {
    np.equal, np.not_equal, np.less, np.less_equal, np.greater, np.greater_equal, np.isfinite,
    np.isinf, np.isnan, np.signbit, np.logical_and, np.logical_not, np.logical_or, np.logical_xor,
    np.bitwise_and, np.bitwise_or, np.bitwise_xor, np.invert,
}  # fmt: skip
"""The ufuncs whose result is a Tensor of bools or integers, without a derivative."""

COMPARISONS = {np.less, np.less_equal, np.greater, np.greater_equal}
"""Compare complex values by their real parts, so that a complex step takes the same branch."""

WITHOUT_GRADIENT = {
    np.argmax, np.argmin, np.argsort, np.any, np.all, np.count_nonzero, np.nonzero,
    np.array_equal, np.allclose, np.isclose, np.shares_memory, np.may_share_memory, np.array_repr,
    np.array_str, np.array2string,
}  # fmt: skip
"""The functions whose results have no derivative: they get the values."""


# --- calls ---------------------------------------------------------------------------------------


def call_ufunc(
    ufunc: np.ufunc, method: str, inputs: tuple[Any, ...], options: dict[str, Any]
) -> Any:
    """Return a ufunc of Tensors and arrays, recorded by the op that computes it.

    Raises
    ------
    TypeError
        If no op computes it and a gradient would be lost.
    """
    if method == "__call__" and not options:
        if ufunc in DISCRETE:
            return discrete(ufunc, *inputs)
        if ufunc in UFUNCS:
            return UFUNCS[ufunc](*inputs)
    if method == "outer" and ufunc in UFUNCS and not options:
        a, b = inputs
        shape = np.shape(array_of(a)) + (1,) * np.ndim(array_of(b))
        return UFUNCS[ufunc](ops.reshape(a, shape), b)
    if method == "reduce" and ufunc in REDUCED and not {*options} - {"axis", "keepdims"}:
        return REDUCED[ufunc](*inputs, **{"axis": 0, **options})
    shown = f"np.{ufunc.__name__}" + ("" if method == "__call__" else f".{method}")
    if any(isinstance(target, Variable) for target in options.get("out", ())):
        raise TypeError(f"{shown}: out is a Tensor, which is read-only here; write to its data")
    if options:
        shown += f" with {', '.join(f'{name}=' for name in options)}"
    return getattr(ufunc, method)(*(_values(shown, value) for value in inputs), **options)


def discrete(ufunc: np.ufunc, *inputs: Any) -> Any:
    """Return a comparison or a logical operation, elementwise: a Tensor without gradient."""
    arrays = [array_of(plain(value)) for value in inputs]
    kind: type[Any] = Variable._tensor
    for value in inputs:
        if isinstance(value, Variable) and issubclass(value._tensor, kind):
            kind = value._tensor
    try:
        result = kind._of(discrete_values(ufunc, *arrays))
        for observer in recording.get().observers:
            observer.discrete(ufunc, inputs, result)
            kind = observer.result_class(kind, result._array)
        return result if kind is type(result) else kind._of(result._array)
    except ValueError:
        raise ValueError(_refused(ufunc, arrays, "shapes that broadcast")) from None
    except TypeError:
        if ufunc in (np.equal, np.not_equal):  # of a number and a text, which are never equal
            shape = np.broadcast_shapes(*(np.shape(array) for array in arrays))
            return kind._of(np.full(shape, ufunc is np.not_equal))
        expected = "bools or integers, such as the result of a comparison"
        if ufunc in COMPARISONS:
            expected = "numbers"
        raise TypeError(_refused(ufunc, arrays, expected)) from None


def discrete_values(ufunc: np.ufunc, *arrays: Any) -> NDArray[Any]:
    """Return a comparison or a logical operation of arrays."""
    values = [np.real(array) for array in arrays] if ufunc in COMPARISONS else arrays
    return np.asarray(ufunc(*values))


def _refused(ufunc: np.ufunc, arrays: list[Any], expected: str) -> str:
    came = " and ".join(f"{np.asarray(a).dtype} of shape {np.shape(a)}" for a in arrays)
    return f"{ufunc.__name__}: got {came}, expected {expected}"


def call_function(function: Any, args: tuple[Any, ...], options: Mapping[str, Any]) -> Any:
    """Return a function of Tensors and arrays, recorded by the op that computes it.

    Raises
    ------
    TypeError
        If no op computes it and a gradient would be lost, or if it would write to a Tensor.
    """
    if function in _functions():
        return _functions()[function](*args, **options)
    name = _shown(function)
    if function in WRITERS and isinstance(next(iter(args), options.get("dst")), Variable):
        raise TypeError(
            f"{name}: a Tensor is read-only here; write to its data, as in {name}(p.data, ...)"
        )
    if function in OF_SHAPES:
        return function(*map(array_of, args), **{k: array_of(v) for k, v in options.items()})
    return _of_values(function, name, function not in WITHOUT_GRADIENT, args, options)


def _of_values(
    function: Any, shown: str, drops: bool, args: tuple[Any, ...], options: Mapping[str, Any]
) -> Any:
    """Return a function of the values of Tensors; raise if it would drop a gradient."""
    return function(
        *(_values(shown, value, drops) for value in args),
        **{key: _values(shown, value, drops) for key, value in options.items()},
    )


def _shown(function: Any) -> str:
    """Return the name of NumPy's `function` as programs write it, such as ``np.linalg.inv``."""
    return f"{function.__module__}.{function.__name__}".replace("numpy.", "np.", 1)


def _values(shown: str, value: Any, drops: bool = True) -> Any:
    """Return `value` with Tensors unwrapped; raise if `shown` would drop a gradient."""
    if drops and holds_gradient(value):
        raise TypeError(
            f"{shown} would drop the graph of a Tensor that requires a gradient: no op of "
            "tinygrad_cnn computes it; call other functions, or pass numpy() for the values"
        )
    if isinstance(value, list | tuple):
        return type(value)([_values(shown, part, drops) for part in value])
    return read_only(value._read(shown)) if isinstance(value, Variable) else value


# --- the table of functions ----------------------------------------------------------------------


_IN_C: dict[Any, Callable[..., Any]] = {  # have no signature in NumPy < 2.4
    np.concatenate: lambda arrays, /, axis=0, out=None, *, dtype=None, casting="same_kind": None,
    np.dot: lambda a, b, out=None: None,
}


@functools.cache
def _functions() -> dict[Any, Callable[..., Any]]:
    """Return the functions that ops compute; made at the first call, to keep the import short."""
    return dict(_pairs())


def _pairs() -> Iterator[tuple[Any, Callable[..., Any]]]:
    same_name = (
        np.sum, np.mean, np.max, np.min, np.prod, np.cumsum, np.var, np.std, np.concatenate,
        np.stack, np.reshape, np.transpose, np.swapaxes, np.moveaxis, np.ravel, np.squeeze,
        np.expand_dims, np.broadcast_to, np.flip, np.roll, np.tile, np.repeat, np.split,
        np.array_split, np.take, np.take_along_axis, np.diagonal, np.triu, np.tril, np.tensordot,
        np.outer, np.dot, np.sort, np.round,
    )  # fmt: skip
    for function in same_name:
        yield function, _translated(function, getattr(ops, function.__name__))
    yield np.around, _translated(np.around, ops.round)
    yield np.astype, lambda x, dtype, /: ops.astype(x, dtype)
    yield np.amax, _translated(np.amax, ops.max)
    yield np.amin, _translated(np.amin, ops.min)
    yield np.linalg.norm, _translated(np.linalg.norm, ops.norm)
    yield np.where, ops.where
    yield np.clip, _translated(np.clip, ops.clip, a_min="low", a_max="high", min="low", max="high")
    yield np.einsum, lambda *operands, optimize=False: ops.einsum(*operands)
    yield np.pad, _padded
    yield np.full_like, lambda a, *fill, **options: np.full_like(array_of(a), *fill, **options)
    yield np.copy, lambda a: ops.mul(a, 1) if a.dtype.kind in "fc" else a.detach()
    yield np.vstack, lambda tup: ops.concatenate([_with_axes(a, 2) for a in tup], 0)
    yield np.hstack, lambda tup: ops.concatenate([_with_axes(a, 1) for a in tup], _hstack_axis(tup))
    yield np.column_stack, lambda tup: ops.concatenate([_column(a) for a in tup], 1)
    yield np.flipud, lambda m: ops.flip(m, 0)
    yield np.fliplr, lambda m: ops.flip(m, 1)
    yield np.matrix_transpose, lambda x, /: ops.swapaxes(x, -1, -2)
    yield np.inner, lambda a, b, /: ops.tensordot(a, b, (-1, -1))
    yield np.vdot, lambda a, b, /: ops.dot(ops.ravel(a), ops.ravel(b))
    yield np.ptp, lambda a, axis=None: ops.max(a, axis) - ops.min(a, axis)
    yield np.diff, _differences
    yield np.atleast_1d, lambda a: _with_axes(a, 1)
    yield np.atleast_2d, lambda a: _with_axes(a, 2)
    yield np.trace, lambda a, offset=0: ops.sum(ops.diagonal(a, offset), -1)


def _padded(array: Any, pad_width: Any, mode: str = "constant", constant_values: Any = 0) -> Any:
    return ops.pad(array, pad_width, mode, constant_values)


def _differences(a: Any, n: int = 1, axis: int = -1) -> Any:
    length = np.shape(array_of(a))[axis]
    for places in range(length - 1, length - 1 - n, -1):
        after, before = np.arange(1, places + 1), np.arange(places)
        a = ops.take(a, after, axis) - ops.take(a, before, axis)
    return a


def _column(a: Any) -> Any:
    return ops.reshape(a, (-1, 1)) if np.ndim(array_of(a)) < 2 else a


def _with_axes(a: Any, ndim: int) -> Any:
    """Return `a` with axes of length 1 put before the others, to have at least `ndim`."""
    shape = np.shape(array_of(a))
    return ops.reshape(a, (1,) * (ndim - len(shape)) + shape)


def _hstack_axis(parts: Any) -> int:
    return 0 if np.ndim(array_of(parts[0])) <= 1 else 1


def _translated(function: Any, op: Callable[..., Any], **renamed: str) -> Callable[..., Any]:
    """Return `op` with the signature of NumPy's `function`.

    Arguments without a default correspond by position, the others by name or as `renamed`. An
    option that `op` lacks may only have its default if there is a gradient to compute.
    """
    theirs = inspect.signature(_IN_C.get(function, function))
    parameters = theirs.parameters
    ours = [*inspect.signature(op).parameters]
    required = [name for name, p in parameters.items() if p.default is p.empty]
    names = {name: name for name in ours} | renamed | dict(zip(required, ours, strict=False))

    def call(*args: Any, **options: Any) -> Any:
        given: dict[str, Any] = {}
        for name, value in theirs.bind(*args, **options).arguments.items():
            if name in names:
                given[names[name]] = value
            elif isinstance(value, np.ndarray | Variable) or value not in (
                None, parameters[name].default,
            ):  # fmt: skip
                if not holds_gradient([*args, *options.values()]):
                    return _of_values(function, _shown(function), False, args, options)
                shown = "..." if isinstance(value, np.ndarray | Variable) else repr(value)
                raise TypeError(f"{_shown(function)}: {name}={shown} is not supported for a Tensor")
        return op(**given)

    return call
