"""Trigonometric and hyperbolic functions, elementwise; angles are in radians."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_cnn.core.declaration import Draw, Strategies
from tinygrad_cnn.core.op import op
from tinygrad_cnn.core.variable import Array
from tinygrad_cnn.ops.arithmetic import masked, where


@op(formula="sin x", latex=r"\sin x", elementwise=True)
def sin(x: Array) -> Array:
    """Return the sine of `x`, elementwise.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> tg.sin(tg.Tensor([0.0, 1.0]))
    Tensor([0.      , 0.841471])
    """
    return np.sin(x)


@sin.derivative("x", formula="g·cos x", latex=r"g\,\cos x")
def _(g: Array, *, x: Array) -> Array:
    return g * cos(x)


@op(formula="cos x", latex=r"\cos x", elementwise=True)
def cos(x: Array) -> Array:
    """Return the cosine of `x`, elementwise.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> tg.cos(tg.Tensor([0.0, 1.0]))
    Tensor([1.       , 0.5403023])
    """
    return np.cos(x)


@cos.derivative("x", formula="−g·sin x", latex=r"-g\,\sin x")
def _(g: Array, *, x: Array) -> Array:
    return -g * sin(x)


@op(formula="tan x", latex=r"\tan x", elementwise=True)
def tan(x: Array) -> Array:
    """Return the tangent of `x`, elementwise.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> tg.tan(tg.Tensor([0.0, 1.0]))
    Tensor([0.       , 1.5574077])
    """
    return np.tan(x)


@tan.derivative("x", formula="g·(1 + y²)", latex=r"g\,(1+y^2)")
def _(g: Array, *, y: Array) -> Array:
    return g * (1.0 + y * y)


@op(formula="arctan x", latex=r"\arctan x", elementwise=True)
def arctan(x: Array) -> Array:
    """Return the angle from −π/2 to π/2 with the tangent `x`, elementwise.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> tg.arctan(tg.Tensor([0.0, 1.0]))
    Tensor([0.       , 0.7853982])
    """
    return np.arctan(x)


@arctan.derivative("x", formula="g / (1 + x²)", latex=r"\frac{g}{1+x^2}")
def _(g: Array, *, x: Array) -> Array:
    root = hypot(x, 1.0)  # x² may overflow
    return g / root / root


@op(formula="arctan2(a, b)", latex=r"\operatorname{arctan2}(a, b)", elementwise=True)
def arctan2(a: Array, b: Array) -> Array:
    """Return the angle of the point with ordinate `a` and abscissa `b`, from −π to π, elementwise.

    The derivatives at the origin are defined as 0.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> tg.arctan2(tg.Tensor([1.0, -1.0]), tg.Tensor([1.0, -1.0]))
    Tensor([ 0.7853981, -2.3561945])
    """
    if np.iscomplexobj(a) or np.iscomplexobj(b):  # next to the real axis, for a complex step
        size = np.hypot(np.real(a), np.real(b))
        return np.arctan2(np.real(a), np.real(b)) + 1j * np.imag(a * np.conj(b)) / size / size
    return np.arctan2(a, b)


@arctan2.derivative("a", formula="g·b / (a² + b²)", latex=r"\frac{g\,b}{a^2+b^2}")
def _(g: Array, *, a: Array, b: Array) -> Array:
    return _turn(g, a, b, b)


@arctan2.derivative("b", formula="−g·a / (a² + b²)", latex=r"-\frac{g\,a}{a^2+b^2}")
def _(g: Array, *, a: Array, b: Array) -> Array:
    return -_turn(g, a, b, a)


def _turn(g: Array, a: Array, b: Array, part: Array) -> Array:
    """Return g·part / (a² + b²) without overflow, and 0 at the origin."""
    size = hypot(a, b)
    apart = size != 0
    size = where(apart, size, 1.0)
    return masked(g, apart) * (part / size / size)


@op(formula="√(a² + b²)", latex=r"\sqrt{a^2+b^2}", elementwise=True)
def hypot(a: Array, b: Array) -> Array:
    """Return √(a² + b²), elementwise, without overflow; the derivatives at the origin are 0.

    Parameters
    ----------
    a, b : Tensor or array_like
        Of shapes that broadcast.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> tg.hypot(tg.Tensor([3.0, 3e30]), tg.Tensor([4.0, 4e30]))
    Tensor([5.e+00, 5.e+30])
    """
    if np.iscomplexobj(a) or np.iscomplexobj(b):
        size = np.maximum(np.abs(np.real(a)), np.abs(np.real(b)))
        size = np.where(size == 0, 1.0, size)
        return np.sqrt((a / size) ** 2 + (b / size) ** 2) * size
    return np.hypot(a, b)


@hypot.derivative("a", formula="g·a / y", latex=r"\frac{g\,a}{y}")
def _(g: Array, *, a: Array, y: Array) -> Array:
    return masked(g, y != 0) * (a / where(y != 0, y, 1.0))


@hypot.derivative("b", formula="g·b / y", latex=r"\frac{g\,b}{y}")
def _(g: Array, *, b: Array, y: Array) -> Array:
    return masked(g, y != 0) * (b / where(y != 0, y, 1.0))


@arctan2.calls
@hypot.calls
def _(draw: Draw, s: Strategies) -> Any:
    a, b = draw(s.broadcasting(2))
    return draw(s.arrays(a)), draw(s.arrays(b, nonzero=True))


@op(formula="sinh x", latex=r"\sinh x", elementwise=True)
def sinh(x: Array) -> Array:
    """Return the hyperbolic sine of `x`, elementwise.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> tg.sinh(tg.Tensor([0.0, 1.0]))
    Tensor([0.       , 1.1752012])
    """
    return np.sinh(x)


@sinh.derivative("x", formula="g·cosh x", latex=r"g\,\cosh x")
def _(g: Array, *, x: Array) -> Array:
    return g * cosh(x)


@op(formula="cosh x", latex=r"\cosh x", elementwise=True)
def cosh(x: Array) -> Array:
    """Return the hyperbolic cosine of `x`, elementwise.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> tg.cosh(tg.Tensor([0.0, 1.0]))
    Tensor([1.       , 1.5430807])
    """
    return np.cosh(x)


@cosh.derivative("x", formula="g·sinh x", latex=r"g\,\sinh x")
def _(g: Array, *, x: Array) -> Array:
    return g * sinh(x)
