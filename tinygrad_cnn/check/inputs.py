"""Validation of the inputs of gradient checks: options, arrays and functions."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygrad_cnn.check.functional import Functional
from tinygrad_cnn.core.calculus import Function
from tinygrad_cnn.core.nan import NaNError, detect_nan
from tinygrad_cnn.core.tensor import Tensor
from tinygrad_cnn.engine.arrays import Array
from tinygrad_cnn.nn.module import Module
from tinygrad_cnn.support.arguments import first_index

METHODS = ("auto", "complex", "central")


def check_options(
    f: Any, order: Any, method: Any, rtol: Any, atol: Any, seed: Any, entries: Any
) -> None:
    """Raise if an option of `check_gradients` is out of range."""
    if not callable(f):
        raise TypeError(f"check_gradients: f is {type(f).__name__}, expected a function of Tensors")
    check_method("check_gradients", method)
    check_count("check_gradients", "order", order, 1)
    check_count("check_gradients", "seed", seed, 0)
    check_count("check_gradients", "entries", entries, 0)
    for name, value in (("rtol", rtol), ("atol", atol)):
        if value is not None and not value >= 0:
            raise ValueError(f"check_gradients: {name} is {value!r}, expected 0 or more")


def check_method(function: str, method: Any) -> None:
    """Raise if `method`, an option of `function`, is not one of `METHODS`."""
    if method not in METHODS:
        expected = ", ".join(map(repr, METHODS))
        raise ValueError(f"{function}: method is {method!r}, expected one of {expected}")


def check_count(function: str, name: str, value: Any, least: int) -> None:
    """Raise if `value`, the option `name` of `function`, is not an integer ≥ `least`."""
    if not isinstance(value, int | np.integer) or isinstance(value, bool) or value < least:
        raise ValueError(f"{function}: {name} is {value!r}, expected {least} or more")


def labels_of(f: Function, count: int, names: Sequence[str] | None) -> list[str]:
    """Return the name of each input: from `names`, or else from the parameters of `f`."""
    if names is not None:
        if isinstance(names, str) or len(names) != count:
            raise ValueError(f"check_gradients: names is {names!r}, expected {count} names")
        return list(names)
    called = f.forward if isinstance(f, Module) else f
    try:
        parameters = list(inspect.signature(called).parameters.values())[:count]
    except (TypeError, ValueError):
        parameters = []
    plain = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    if len(plain) < count:
        return [f"input {i}" for i in range(count)]
    return [f"input {i} ({name})" for i, name in enumerate(plain)]


def in_float64(f: Function) -> Function:
    """Return `f`; for a Module, a copy with parameters and buffers in float64."""
    if not isinstance(f, Module):
        return f
    model = copy.deepcopy(f)
    for tensor in (*model.parameters(), *model.buffers()):
        if tensor.dtype.kind == "f":
            tensor._array = tensor._array.astype(np.float64)
    return model


def checked_inputs(arrays: Sequence[Any], labels: Sequence[str]) -> list[Array]:
    """Return float64 copies of `arrays`; raise if they cannot be differentiated by."""
    if not arrays:
        raise ValueError("check_gradients: no inputs: pass the arrays to call f with, after f")
    return [_checked(array, label) for array, label in zip(arrays, labels, strict=True)]


def _checked(array: Any, label: str) -> Array:
    if not isinstance(array, np.ndarray | np.generic | float):
        held = "a Tensor; pass its data" if isinstance(array, Tensor) else type(array).__name__
        raise TypeError(f"check_gradients: {label} is {held}, expected an array of floats")
    given = np.asarray(array)
    if given.dtype.kind != "f":
        hint = "; pass it as astype(float)" if given.dtype.kind in "iu" else ""
        raise TypeError(f"check_gradients: {label} holds {given.dtype}, expected floats{hint}")
    if not np.isfinite(given).all():
        index = first_index(~np.isfinite(given))
        raise ValueError(f"check_gradients: {label} holds {given[index]} at {index}")
    return np.array(given, np.float64)


def checked_value(f: Function, inputs: Sequence[Array], labels: Sequence[str]) -> Array:
    """Return f's value; raise if `f` is not a function of Tensors with finite values.

    Raises
    ------
    TypeError
        If `f` does not return one Tensor of floats.
    ValueError
        If `f` changes its inputs, its value is not finite, or a second call gives another value.
    """
    leaves = [Tensor(x, requires_grad=True) for x in inputs]
    try:
        y: Any = f(*leaves)
    except TypeError as error:
        if "float32" in str(error) and "float64" in str(error):
            error.add_note(
                "check_gradients calls f with float64: make what f holds under "
                'default_dtype("float64"), or pass the module itself, which is then converted'
            )
        raise
    if not isinstance(y, Tensor):
        hint = "; check one of its results at a time" if isinstance(y, tuple | list | dict) else ""
        held = type(y).__name__
        raise TypeError(f"check_gradients: f returned {held}, expected one Tensor{hint}")
    if y.dtype.kind != "f":
        raise TypeError(f"check_gradients: f returned a Tensor of {y.dtype}, expected floats")
    for leaf, x, label in zip(leaves, inputs, labels, strict=True):
        if not np.array_equal(leaf._array, x) or not leaf.requires_grad:
            raise ValueError(f"check_gradients: f changed {label} in place; give it a copy")
    value = np.array(y._array)
    if not np.isfinite(value).all():
        raise ValueError(f"check_gradients: {_not_finite(f, inputs, value)}")
    again = f(*[Tensor(x, requires_grad=True) for x in inputs])._array
    scale = float(np.max(np.abs(value), initial=0.0))
    if again.shape != value.shape or not np.allclose(again, value, rtol=1e-9, atol=1e-9 * scale):
        came = "other shapes" if again.shape != value.shape else _first_difference(value, again)
        raise ValueError(
            f"check_gradients: two calls of f with the same inputs gave {came}; draw random "
            "numbers outside of f, and keep no state in it"
        )
    return value


def refuse_unbounded(
    whole: Functional, points: Sequence[Array], labels: Sequence[str], order: int
) -> None:
    """Raise if a gradient that `order` differentiates is not finite: nothing could be compared."""
    if order == 1:
        return
    for label, terms in zip([*labels, "g"], whole.terms(order, points), strict=False):
        if not np.isfinite(terms).all():
            index = first_index(~np.isfinite(terms))
            raise ValueError(
                f"check_gradients: the derivative of order {order - 1} for {label} is not finite "
                f"at {index}, so that none of order {order} can be checked; try another point"
            )


def _not_finite(f: Function, inputs: Sequence[Array], value: Array) -> str:
    """Return the message for a value that is not finite, with the op that made it, if any."""
    index = first_index(~np.isfinite(value))
    try:
        with detect_nan(infinite=True):
            f(*[Tensor(x, requires_grad=True) for x in inputs])
    except NaNError as error:
        return f"f is {value[index]} at {index}: {error}"
    return f"f is {value[index]} at {index}"


def _first_difference(a: Array, b: Array) -> str:
    index = first_index(a != b)
    return f"{a[index]} and {b[index]} at {index}"
