"""Piecewise linear and shrinking activation functions, elementwise."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_cnn.core.composition import composition
from tinygrad_cnn.core.declaration import Draw, Strategies
from tinygrad_cnn.core.op import op
from tinygrad_cnn.core.variable import Array
from tinygrad_cnn.engine.chunks import chunked
from tinygrad_cnn.ops.activation import tanh
from tinygrad_cnn.ops.arithmetic import add, div, masked, maximum, mul, sub


@op(
    formula="min(max(x, l), h)",
    latex=r"\min(\max(x, l), h)",
    elementwise=True,
    role="activation",
    aliases={"min_val": "l", "max_val": "h"},
)
def hardtanh(x: Array, min_val: float = -1.0, max_val: float = 1.0) -> Array:
    """Return `x` limited to an interval, elementwise; the derivative at its ends is 0.

    The derivative of `clip` there is 1.

    Parameters
    ----------
    x : Tensor or array_like
    min_val, max_val : float
        The ends of the interval.

    Raises
    ------
    ValueError
        If `min_val` is not below `max_val`.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> tg.hardtanh(tg.Tensor([-2.0, 0.5, 9.0]))
    Tensor([-1. ,  0.5,  1. ])
    """
    if not min_val < max_val:
        raise ValueError(
            f"hardtanh: min_val is {min_val} and max_val is {max_val}, expected min_val < max_val"
        )
    limited = np.clip(np.real(x), min_val, max_val)
    return np.where(between(x, min_val, max_val), x, limited) if np.iscomplexobj(x) else limited


@hardtanh.residual
@chunked(work=8)
def between(x: Array, min_val: float, max_val: float) -> Array:
    return (np.real(x) > min_val) & (np.real(x) < max_val)


@hardtanh.derivative("x", formula="g·[l < x < h]", latex=r"g\,[l < x < h]")
def _(g: Array, *, between: Array) -> Array:
    return masked(g, between)


@hardtanh.calls
def _(draw: Draw, s: Strategies) -> Any:
    low, high = draw(s.sampled_from([(-1.0, 1.0), (0.0, 6.0), (-1.0, 0.5)]))
    return {"x": draw(s.arrays()), "min_val": low, "max_val": high}


@composition(formula="min(max(0, x), 6)")
def relu6(x: Array) -> Array:
    """Return `x` limited to the interval from 0 to 6; the derivatives at 0 and 6 are 0.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> tg.relu6(tg.Tensor([-2.0, 0.5, 9.0]))
    Tensor([0. , 0.5, 6. ])
    """
    return hardtanh(x, 0.0, 6.0)


@composition(formula="min(max(0, x + 3), 6) / 6")
def hardsigmoid(x: Array) -> Array:
    """Return a sigmoid made of lines: 0 up to −3, 1 from 3 on, and (x + 3) / 6 between.

    The derivatives at −3 and 3 are 0.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> tg.hardsigmoid(tg.Tensor([-4.0, 0.0, 4.0]))
    Tensor([0. , 0.5, 1. ])
    """
    return div(add(hardtanh(x, -3.0, 3.0), 3.0), 6.0)


@composition(formula="x·min(max(0, x + 3), 6) / 6")
def hardswish(x: Array) -> Array:
    """Return x·hardsigmoid(x), elementwise; the derivatives at −3 and 3 are 0 and 1.

    Notes
    -----
    Howard et al., "Searching for MobileNetV3", 2019.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> tg.hardswish(tg.Tensor([-4.0, -1.5, 4.0]))
    Tensor([-0.   , -0.375,  4.   ])
    """
    return mul(maximum(x, -3.0), hardsigmoid(x))  # −∞·0 would be NaN


@composition(formula="x − tanh x")
def tanhshrink(x: Array) -> Array:
    """Return x − tanh x, elementwise.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> tg.tanhshrink(tg.Tensor([0.0, 10.0]))
    Tensor([0., 9.])
    """
    return sub(x, tanh(x))
