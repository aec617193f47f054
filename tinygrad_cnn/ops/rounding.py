"""Functions that are constant between their steps: sign and rounding. Their derivatives are 0."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_cnn.core.declaration import Draw, Strategies
from tinygrad_cnn.core.op import op
from tinygrad_cnn.core.variable import Array
from tinygrad_cnn.ops.arithmetic import masked


@op(formula="sign x", latex=r"\operatorname{sign} x", elementwise=True, integers="kept")
def sign(x: Array) -> Array:
    """Return −1, 0 or 1 by the sign of `x`, elementwise; the derivative is 0.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> tg.sign(tg.Tensor([-1.5, 0.0, 2.0]))
    Tensor([-1.,  0.,  1.])
    """
    return np.array(x) if x.dtype.kind == "b" else np.sign(x.real).astype(x.dtype, copy=False)


@op(formula="⌊x⌋", latex=r"\lfloor x\rfloor", elementwise=True, integers="kept")
def floor(x: Array) -> Array:
    """Return the largest integer that is not above `x`, elementwise; the derivative is 0.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> tg.floor(tg.Tensor([-1.5, 1.5]))
    Tensor([-2.,  1.])
    """
    return np.floor(x.real).astype(x.dtype, copy=False)


@op(formula="⌈x⌉", latex=r"\lceil x\rceil", elementwise=True, integers="kept")
def ceil(x: Array) -> Array:
    """Return the smallest integer that is not below `x`, elementwise; the derivative is 0.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> tg.ceil(tg.Tensor([-1.5, 1.5]))
    Tensor([-1.,  2.])
    """
    return np.ceil(x.real).astype(x.dtype, copy=False)


@op(
    formula="round(10^d·x) / 10^d",
    latex=r"\operatorname{round}(10^d\,x) / 10^d",
    elementwise=True,
    integers="widened",
    aliases={"decimals": "d"},
)
def round(x: Array, decimals: int = 0) -> Array:
    """Return `x` rounded to a number of decimals, ties to even; the derivative is 0.

    Parameters
    ----------
    x : Tensor or array_like
    decimals : int
        The number of digits behind the point; negative to round to tens, hundreds, ...

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> tg.round(tg.Tensor([0.5, 1.5, 2.345]))
    Tensor([0., 2., 2.])
    >>> tg.round(tg.Tensor([2.345]), 1)
    Tensor([2.3])
    """
    with np.errstate(over="ignore", invalid="ignore"):
        y = np.round(x.real, decimals)
    return np.where(np.isfinite(y), y, x)  # x·10ᵈ overflows where x has no more decimals


@op(formula="⌊a / b⌋", latex=r"\lfloor a / b\rfloor", elementwise=True)
def floor_divide(a: Array, b: Array) -> Array:
    """Return the largest integer that is not above `a` / `b`, elementwise; the derivative is 0.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> tg.floor_divide(tg.Tensor([-1.0, 7.0]), 2)
    Tensor([-1.,  3.])
    """
    return np.floor_divide(a.real, b.real)


@op(formula="a − b·⌊a / b⌋", latex=r"a - b\,\lfloor a / b\rfloor", elementwise=True)
def mod(a: Array, b: Array) -> Array:
    """Return the remainder of `a` / `b`, elementwise, with the sign of `b`.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> tg.mod(tg.Tensor([-1.0, 7.5]), 2)
    Tensor([1. , 1.5])
    """
    if np.iscomplexobj(a) or np.iscomplexobj(b):
        return a - b * np.floor_divide(a.real, b.real)
    return np.mod(a, b)


@mod.residual
def quotient(a: Array, b: Array) -> Array:
    return np.floor_divide(a.real, b.real)


@mod.derivative("a", formula="g", latex="g")
def _(g: Array, *, quotient: Array) -> Array:
    return masked(g, np.isfinite(quotient))


@mod.derivative("b", formula="−g·⌊a / b⌋", latex=r"-g\,\lfloor a / b\rfloor")
def _(g: Array, *, quotient: Array) -> Array:
    return -masked(g, quotient != 0) * quotient


@floor_divide.calls
@mod.calls
def _(draw: Draw, s: Strategies) -> Any:
    a, b = draw(s.broadcasting(2))
    return draw(s.arrays(a, off_kinks=True)), np.full(b, draw(s.sampled_from([2.0, -1.0, 0.5])))


@floor_divide.derivative("a", formula="0", latex="0")
@floor_divide.derivative("b", formula="0", latex="0")
@sign.derivative("x", formula="0", latex="0")
@floor.derivative("x", formula="0", latex="0")
@ceil.derivative("x", formula="0", latex="0")
@round.derivative("x", formula="0", latex="0")
def _(g: Array) -> Array:
    return masked(g, np.False_)  # also where g is infinite


@sign.calls
@floor.calls
@ceil.calls
def _(draw: Draw, s: Strategies) -> Any:
    return draw(s.arrays(off_kinks=True))


@round.calls
def _(draw: Draw, s: Strategies) -> Any:
    return {"x": draw(s.arrays(off_kinks=True)), "decimals": draw(s.sampled_from([0, 1, 2, -1]))}
