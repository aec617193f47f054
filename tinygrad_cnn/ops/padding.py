"""Padding. It is linear, and its derivative adds the gradient of each copy to its original."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_cnn.core.declaration import Draw, Prose, Strategies
from tinygrad_cnn.core.dtypes import float_dtype
from tinygrad_cnn.core.op import op
from tinygrad_cnn.core.variable import Array
from tinygrad_cnn.engine.arrays import Shape, inverse, memory_order
from tinygrad_cnn.ops.indexing import getitem, put
from tinygrad_cnn.ops.shape import shape_of
from tinygrad_cnn.support.arguments import choice

MODES = ("constant", "reflect", "edge", "wrap", "symmetric")


@op(
    formula=Prose("x with a border"), latex=r"\operatorname{pad} x", integers="kept", selecting=True
)
def pad(x: Array, pad_width: Any = 0, mode: str = "constant", value: float = 0.0) -> Array:
    """Return `x` with a border.

    Parameters
    ----------
    x : Tensor or array_like
    pad_width : int, (int, int), or a pair for each axis
        The widths before and after each axis; one number or pair applies to every axis.
    mode : str
        The values of the border, with NumPy's names: "constant"; "reflect" mirrors the entries,
        without repeating those at the edge; "symmetric" repeats them; "edge" has the nearest entry
        (PyTorch's "replicate"); "wrap" has those of the opposite side (PyTorch's "circular").
    value : float
        The constant. If an integer `x` cannot hold it, `x` becomes the default dtype.

    Raises
    ------
    ValueError
        If a width is negative, `pad_width` does not fit the axes of `x`, or there is no such mode.
    TypeError
        If `value` is not a number.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> x = tg.Tensor([1.0, 2.0, 3.0])
    >>> tg.pad(x, (1, 2)), tg.pad(x, 1, "reflect")
    (Tensor([0., 1., 2., 3., 0., 0.]), Tensor([2., 1., 2., 3., 2.]))
    """
    choice("pad", "mode", mode, MODES)
    if np.ndim(value) or np.asarray(value).dtype.kind not in "biuf":
        raise TypeError(f"pad: value is {value!r}, expected a number")
    if np.shape(pad_width) == (1,):
        raise ValueError(
            f"pad: pad_width is {pad_width}, expected an int, a pair or a pair for each axis"
        )
    options: dict[str, Any] = {}
    if mode == "constant":
        options = {"constant_values": value}
        if x.dtype.kind in "biu" and not _holds(x.dtype, value):
            x = x.astype(float_dtype.get())
    try:
        if not x.flags.c_contiguous:
            return _in_memory_order(x, pad_width, mode, options)
        return np.pad(x, pad_width, mode, **options)  # type: ignore[call-overload]
    except (ValueError, TypeError):
        raise ValueError(
            f"pad: pad_width is {pad_width}, expected counts for the {np.ndim(x)} axes of x, and "
            f"values to copy (x: {np.shape(x)}, mode={mode!r})"
        ) from None


@pad.derivative(
    "x",
    formula=Prose("g without the border, whose copies are added to their originals"),
    latex=r"\operatorname{crop} g",
)
def _(g: Array, *, pad_width: Any, mode: str, x_shape: Shape) -> Array:
    pairs = np.broadcast_to(pad_width, (len(x_shape), 2)).tolist()
    if mode == "constant":
        return getitem(g, tuple(slice(a, a + n) for (a, _), n in zip(pairs, x_shape, strict=True)))
    for axis, (border, n) in enumerate(zip(pairs, x_shape, strict=True)):
        if any(border):
            originals = np.pad(np.arange(n), border, mode)  # type: ignore[call-overload]
            shape = shape_of(g)
            g = put(g, (*(slice(None),) * axis, originals), (*shape[:axis], n, *shape[axis + 1 :]))
    return g


@pad.calls(always=[
    {"x": np.zeros((0, 3)), "pad_width": 1},
    {"x": np.arange(6.0).reshape(2, 3) / 16, "pad_width": ((5, 0), (1, 7)), "mode": "reflect"},
])  # fmt: skip
def _(draw: Draw, s: Strategies) -> Any:
    x = draw(s.arrays())
    width = s.integers(0, 2)
    pair = s.tuples(width, width)
    each = s.tuples(*[pair] * x.ndim) if x.ndim else width
    widths = draw(s.one_of(width, pair, each))
    value = draw(s.sampled_from([0.0, -1.5]))
    return {"x": x, "pad_width": widths, "mode": draw(s.sampled_from(MODES)), "value": value}


def _in_memory_order(x: Array, pad_width: Any, mode: Any, options: dict[str, Any]) -> Array:
    """Return `x` with a border, in the memory order of `x`."""
    order = memory_order(x.shape, x.strides)
    pairs = np.broadcast_to(pad_width, (x.ndim, 2))[list(order)]
    return np.pad(x.transpose(order), pairs, mode, **options).transpose(inverse(order))


def _holds(dtype: np.dtype[Any], value: float) -> bool:
    """Return whether the integer or bool `dtype` can hold `value`."""
    low, high = (0, 1) if dtype.kind == "b" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
    return low <= value <= high and value == int(value)
