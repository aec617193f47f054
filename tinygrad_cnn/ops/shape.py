"""Reshaping and broadcasting. Each op is linear, and its derivative moves the gradient back."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygrad_cnn.core.declaration import Draw, Prose, Strategies
from tinygrad_cnn.core.op import op
from tinygrad_cnn.core.variable import Array, array_of
from tinygrad_cnn.engine import reduction
from tinygrad_cnn.engine.arrays import Shape
from tinygrad_cnn.ops.entries import Index, Letters, LocalEntry, equal, place, shared_axes

Options = dict[str, Any]  # the static arguments of a call, by name


@op(
    formula=Prose("x reshaped"),
    latex=r"\operatorname{reshape} x",
    integers="kept",
    role="reshaping",
    kind="flatten",
    selecting=True,
)
def reshape(x: Array, shape: int | Sequence[int] = (-1,)) -> Array:
    """Return the values of `x` in another shape, in the same row-major order.

    Parameters
    ----------
    x : Tensor or array_like
    shape : int or sequence of int
        One entry may be −1: it is inferred.

    Raises
    ------
    ValueError
        If the number of values differs.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> tg.reshape(tg.Tensor([[1.0, 2.0], [3.0, 4.0]]), -1)
    Tensor([1., 2., 3., 4.])
    """
    try:
        return np.reshape(x, shape)
    except (ValueError, TypeError):
        raise ValueError(
            f"reshape: x has shape {np.shape(x)}, which does not fit {shape}"
        ) from None


@reshape.derivative("x", formula=Prose("g reshaped back"), latex=r"\operatorname{reshape}^{-1} g")
def _(g: Array, *, x_shape: Shape) -> Array:
    return reshape(g, x_shape)


@reshape.calls(always=[{"x": np.zeros((0, 3)), "shape": (3, 0)}])
def _(draw: Draw, s: Strategies) -> Any:
    shape = draw(s.shapes(max_dims=4, max_side=3))
    new = draw(s.sampled_from([shape[::-1], (*shape, 1), (1, *shape), (-1,), -1]))
    return {"x": draw(s.arrays(shape)), "shape": new}


@op(
    formula=Prose("x with its axes permuted"),
    latex=r"x^{\mathsf T}",
    integers="kept",
    letter="f",
    selecting=True,
)
def transpose(x: Array, axes: Sequence[int] | None = None) -> Array:
    """Return `x` with its axes permuted.

    Parameters
    ----------
    x : Tensor or array_like
    axes : sequence of int, optional
        The old axis for each new one. Defaults to reversed order.

    Raises
    ------
    ValueError
        If `axes` is not a permutation of the axes of `x`.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> tg.transpose(tg.Tensor([[1.0, 2.0], [3.0, 4.0]]))
    Tensor([[1., 3.],
            [2., 4.]])
    """
    try:
        return np.transpose(x, axes)
    except (ValueError, TypeError):
        raise ValueError(
            f"transpose: axes is {axes}, expected a permutation of the {np.ndim(x)} axes of x"
        ) from None


@transpose.derivative("x", formula=Prose("g permuted back"), latex=r"g^{\mathsf T}")
def _(g: Array, *, axes: Sequence[int] | None) -> Array:
    if axes is None:
        return transpose(g)
    order = [axis % len(axes) for axis in axes]
    return transpose(g, tuple(order.index(axis) for axis in range(len(order))))


@transpose.calls(always=[
    {"x": np.zeros((0, 3))},
    {"x": np.arange(24.0).reshape(2, 3, 4) / 16, "axes": (1, 2, 0)},
])  # fmt: skip
def _(draw: Draw, s: Strategies) -> Any:
    x = draw(s.arrays())
    order = draw(s.permutations(range(x.ndim)))
    if x.ndim and draw(s.booleans()):
        order[0] -= x.ndim
    return {"x": x, "axes": draw(s.sampled_from([tuple(order), tuple(order), None]))}


@op(
    formula=Prose("x repeated to a larger shape"),
    latex=r"\operatorname{broadcast} x",
    integers="kept",
    selecting=True,
)
def broadcast_to(x: Array, shape: int | Sequence[int]) -> Array:
    """Return `x` broadcast to `shape`, without a copy.

    Raises
    ------
    ValueError
        If `x` does not broadcast to `shape`.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> tg.broadcast_to(tg.Tensor([1.0, 2.0]), (2, 2))
    Tensor([[1., 2.],
            [1., 2.]])
    """
    try:
        return np.broadcast_to(x, tuple(shape) if isinstance(shape, Sequence) else shape)
    except (ValueError, TypeError):
        raise ValueError(
            f"broadcast_to: x has shape {np.shape(x)}, which does not broadcast to {shape}"
        ) from None


@broadcast_to.derivative(
    "x", formula=Prose("Σ of g over the repeats"), latex=r"\sum_{\text{repeats}} g"
)
def _(g: Array, *, x_shape: Shape) -> Array:
    return sum_to(g, x_shape)


@broadcast_to.calls(always=[{"x": np.zeros((0, 1)), "shape": (2, 0, 3)}])
def _(draw: Draw, s: Strategies) -> Any:
    shape, other = draw(s.broadcasting(2))
    return {"x": draw(s.arrays(shape)), "shape": np.broadcast_shapes(shape, other)}


@op(
    formula=Prose("Σ of x over broadcast axes"),
    latex=r"\sum_{\text{repeats}} x",
    integers="widened",
    selecting=True,
)
def sum_to(x: Array, shape: int | Sequence[int]) -> Array:
    """Return `x` summed to `shape`, the adjoint of `broadcast_to`.

    Raises
    ------
    ValueError
        If `shape` does not broadcast to the shape of `x`.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> tg.sum_to(tg.Tensor([[1.0, 2.0], [3.0, 4.0]]), (2,))
    Tensor([4., 6.])
    """
    x = np.asarray(x)
    target = (shape,) if isinstance(shape, int) else tuple(shape)
    lead = x.ndim - len(target)
    if lead > 0 and x.shape[lead:] == target:
        return np.asarray(reduction.total(x, 0 if lead == 1 else tuple(range(lead))))
    summed = [
        axis
        for axis in range(x.ndim)
        if axis < lead or (target[axis - lead] == 1 and x.shape[axis] != 1)
    ]
    kept = [1 if axis in summed else n for axis, n in enumerate(x.shape)]
    if lead < 0 or tuple(kept[lead:]) != target:
        raise ValueError(f"sum_to: shape is {target}, which does not broadcast to x: {x.shape}")
    return reduction.total(x, tuple(summed), keepdims=True).reshape(target)


@sum_to.derivative("x", formula="g repeated", latex=r"\operatorname{broadcast} g")
def _(g: Array, *, x_shape: Shape) -> Array:
    return broadcast_to(g, x_shape)


@sum_to.calls(always=[{"x": np.zeros((0, 3)), "shape": (1, 3)}])
def _(draw: Draw, s: Strategies) -> Any:
    shape, other = draw(s.broadcasting(2))
    return {"x": draw(s.arrays(np.broadcast_shapes(shape, other))), "shape": shape}


@op(formula=Prose("x reversed"), latex=r"\operatorname{flip} x", integers="kept", selecting=True)
def flip(x: Array, axis: int | Sequence[int] | None = None) -> Array:
    """Return `x` reversed along `axis` (default: every axis).

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> tg.flip(tg.Tensor([1.0, 2.0, 3.0]))
    Tensor([3., 2., 1.])
    """
    try:
        return np.flip(x, tuple(axis) if isinstance(axis, Sequence) else axis)
    except ValueError:
        raise ValueError(
            f"flip: axis is {axis}, expected one of the {np.ndim(x)} axes of x"
        ) from None


@flip.derivative("x", formula=Prose("g reversed"), latex=r"\operatorname{flip} g")
def _(g: Array, *, axis: int | Sequence[int] | None) -> Array:
    return flip(g, axis)


@flip.calls(always=[{"x": np.zeros((0, 3)), "axis": 0}])
def _(draw: Draw, s: Strategies) -> Any:
    x = draw(s.arrays())
    return {"x": x, "axis": draw(s.axes(x.ndim))}


def shape_of(x: Array) -> Shape:
    """Return the shape of an argument of a composition: a Tensor or array_like."""
    return np.shape(array_of(x))


def axes_of(name: str, shape: Shape, axis: int | tuple[int, ...] | None) -> tuple[int, ...]:
    """Return the axes that `axis` names, as nonnegative ints; None names all.

    Raises
    ------
    ValueError
        If an array of `shape` lacks one, or one is named twice; the message starts with `name`.
    """
    ndim = len(shape)
    axes = tuple(range(ndim)) if axis is None else axis if isinstance(axis, tuple) else (axis,)
    for a in axes:
        if not isinstance(a, int | np.integer) or not -ndim <= a < ndim:
            raise ValueError(f"{name}: axis is {axis}, but x has shape {shape}")
    places = tuple(int(a) % ndim for a in axes)
    if len({*places}) < len(places):
        raise ValueError(f"{name}: axis is {axis}, expected distinct axes of x: {shape}")
    return places


# --- entries of the derivatives ------------------------------------------------------------------


@reshape.entry("x")
def _(y: Index, letters: Letters, *, x_shape: Shape, y_shape: Shape) -> LocalEntry:
    old, new = x_shape, y_shape
    same = 0
    while same < min(len(old), len(new)) and old[same] == new[same]:
        same += 1
    flat = _flat(y[same:], new[same:])
    if math.prod(old[same:]) == max(old[same:], default=1):  # one axis: no new letter is needed
        return (*y[:same], *(flat if n > 1 else "" for n in old[same:])), "1"
    rest = letters.index(old) if not same else tuple(letters.fresh(n) for n in old[same:])
    return (*y[:same], *rest), equal(flat, _flat(rest, old[same:]))


def _flat(index: Index, shape: Shape) -> str:
    """Return the flat index of an entry in row-major order."""
    strides = [math.prod(shape[a + 1 :]) for a in range(len(shape))]
    return place(*zip(strides, index, strict=True))


@transpose.entry("x")
def _(y: Index, letters: Letters, *, axes: Sequence[int] | None) -> LocalEntry:
    order = [a % len(y) for a in (range(len(y))[::-1] if axes is None else axes)]
    return tuple(y[order.index(a)] for a in range(len(y))), "1"


@broadcast_to.entry("x")
def _(y: Index, letters: Letters, *, x_shape: Shape) -> LocalEntry:
    return shared_axes(y, x_shape), "1"


@sum_to.entry("x")
def _(y: Index, letters: Letters, *, x_shape: Shape, y_shape: Shape) -> LocalEntry:
    gone = len(x_shape) - len(y)
    axes = zip(("",) * gone + y, (1,) * gone + y_shape, x_shape, strict=True)
    return tuple(letters.fresh(n) if kept != n else letter for letter, kept, n in axes), "1"


@flip.entry("x")
def _(
    y: Index, letters: Letters, *, x_shape: Shape, axis: int | Sequence[int] | None
) -> LocalEntry:
    axes = range(len(y)) if axis is None else axis if isinstance(axis, Sequence) else (axis,)
    turned = {a % len(y) for a in axes}
    return tuple(
        f"{n - 1} − " + (f"({letter})" if " " in letter else letter)
        if a in turned and letter else letter
        for a, (letter, n) in enumerate(zip(y, x_shape, strict=True))
    ), "1"  # fmt: skip
