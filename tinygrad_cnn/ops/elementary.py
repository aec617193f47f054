"""Elementary functions, elementwise: powers, exponentials, logarithms, error functions."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinygrad_cnn.core.declaration import Draw, Strategies
from tinygrad_cnn.core.op import op
from tinygrad_cnn.core.variable import Array
from tinygrad_cnn.engine import error_function
from tinygrad_cnn.engine.chunks import applied, chunked
from tinygrad_cnn.ops.arithmetic import clip, masked, where


@op(formula="aᵇ", latex="a^b", elementwise=True)
def pow(a: Array, b: Array) -> Array:
    """Return `a` to the power `b`, elementwise, for shapes that broadcast.

    A negative base with a non-integer exponent gives NaN, as in NumPy. Where ``a == 0``, the
    derivative with respect to `b` is defined as 0, its limit for positive exponents.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> tg.pow(tg.Tensor([1.0, 3.0]), 2)
    Tensor([1., 9.])
    """
    return a ** (b.item() if np.ndim(b) == 0 else b)  # NumPy is fast for a scalar 2, −1 or ½


@pow.residual
def zero_to_zero(a: Array, b: Array) -> Array:
    return (a == 0) & (b == 0) if np.any(b == 0) else np.False_


@pow.derivative("a", formula="g·b·aᵇ⁻¹", latex=r"g\,b\,a^{b-1}")
def _(g: Array, *, a: Array, b: Array, zero_to_zero: Array) -> Array:
    power = a ** where(zero_to_zero, 1.0, b - 1.0)  # 0⁰ has the derivative 0, not 0·∞
    return masked(g, ~zero_to_zero) * (b * power)


@pow.derivative("b", formula="g·aᵇ·ln a", latex=r"g\,a^b \ln a")
def _(g: Array, *, a: Array, y: Array) -> Array:
    nonzero = a != 0
    return masked(g, nonzero) * (masked(y, nonzero) * log(where(nonzero, a, 1.0)))


@pow.calls
def _(draw: Draw, s: Strategies) -> Any:
    a, b = draw(s.broadcasting(2))
    return draw(s.arrays(a, low=1 / 16)), draw(s.arrays(b))


@pow.calls(note="whole b", of=["a"])
def _(draw: Draw, s: Strategies) -> Any:
    return draw(s.arrays()), draw(s.sampled_from([0, 1, 2, 3.0]))


@pow.calls(note="negative b", of=["a"])
def _(draw: Draw, s: Strategies) -> Any:
    return draw(s.arrays(nonzero=True)), draw(s.sampled_from([-1, -2.0, np.array([-3.0])]))


@pow.calls(note="fractional b", of=["a"])
def _(draw: Draw, s: Strategies) -> Any:
    return draw(s.arrays(low=1 / 16)), draw(s.sampled_from([0.5, -0.5, 2.5]))


@pow.calls(note="constant a", of=["b"])
def _(draw: Draw, s: Strategies) -> Any:
    return draw(s.sampled_from([2.0, 0.5, np.array([3.0])])), draw(s.arrays())


@op(formula="eˣ", latex="e^x", elementwise=True)
def exp(x: Array) -> Array:
    """Return e to the power `x`, elementwise.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> tg.exp(tg.Tensor([0.0, 1.0]))
    Tensor([1.      , 2.718282])
    """
    return applied(np.exp, x, work=24)


@exp.derivative("x", formula="g·y", latex=r"g\,y")
def _(g: Array, *, y: Array) -> Array:
    return g * y


@op(formula="ln x", latex=r"\ln x", elementwise=True)
def log(x: Array) -> Array:
    """Return the natural logarithm of `x`, elementwise: −inf at 0 and NaN below, as NumPy warns.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> tg.log(tg.Tensor([1.0, 2.0]))
    Tensor([0.       , 0.6931472])
    """
    return applied(np.log, x, work=24)


@log.derivative("x", formula="g / x", latex=r"\frac{g}{x}")
def _(g: Array, *, x: Array) -> Array:
    return g / x


log.calls(lambda draw, s: draw(s.arrays(low=1 / 16)))


@op(formula="ln(1 + x)", latex=r"\ln(1+x)", elementwise=True)
def log1p(x: Array) -> Array:
    """Return ln(1 + x), elementwise, with all digits also where `x` is small.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> tg.log1p(tg.Tensor([0.0, 1e-8]))
    Tensor([0.e+00, 1.e-08])
    """
    if not np.iscomplexobj(x):
        return applied(np.log1p, x, work=32)
    a, b = np.real(x), np.imag(x)  # NumPy's of small complex numbers has few digits
    return 0.5 * np.log1p(a * (2.0 + a) + b * b) + 1j * np.arctan2(b, 1.0 + a)


@log1p.derivative("x", formula="g / (1 + x)", latex=r"\frac{g}{1+x}")
@chunked(work=16)
def _(g: Array, *, x: Array) -> Array:
    return g / (1.0 + x)


log1p.calls(lambda draw, s: draw(s.arrays(low=-7 / 8)))


@op(formula="eˣ − 1", latex="e^x - 1", elementwise=True)
def expm1(x: Array) -> Array:
    """Return eˣ − 1, elementwise, with all digits also where `x` is small.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> tg.expm1(tg.Tensor([0.0, 1e-8]))
    Tensor([0.e+00, 1.e-08])
    """
    return applied(np.expm1, x, work=24)


@expm1.derivative("x", formula="g·eˣ", latex=r"g\,e^x")
@chunked(work=32)
def _(g: Array, *, x: Array) -> Array:
    return g * exp(x)  # y + 1 has no digits far left


@op(formula="ln x / ln 2", latex=r"\frac{\ln x}{\ln 2}", elementwise=True)
def log2(x: Array) -> Array:
    """Return the logarithm of `x` to the base 2, elementwise.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> tg.log2(tg.Tensor([1.0, 8.0]))
    Tensor([0., 3.])
    """
    return np.log2(x)


@log2.derivative("x", formula="g / (x·ln 2)", latex=r"\frac{g}{x\,\ln 2}")
def _(g: Array, *, x: Array) -> Array:
    return g * (1.0 / math.log(2.0)) / x


@op(formula="ln x / ln 10", latex=r"\frac{\ln x}{\ln 10}", elementwise=True)
def log10(x: Array) -> Array:
    """Return the logarithm of `x` to the base 10, elementwise.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> tg.log10(tg.Tensor([1.0, 10.0]))
    Tensor([0., 1.])
    """
    return np.log10(x)


@log10.derivative("x", formula="g / (x·ln 10)", latex=r"\frac{g}{x\,\ln 10}")
def _(g: Array, *, x: Array) -> Array:
    return g * (1.0 / math.log(10.0)) / x


@log2.calls
@log10.calls
def _(draw: Draw, s: Strategies) -> Any:
    return draw(s.arrays(low=1 / 16))


@op(formula="√x", latex=r"\sqrt{x}", elementwise=True)
def sqrt(x: Array) -> Array:
    """Return the square root of `x`, elementwise; its derivative at 0 is infinite.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> tg.sqrt(tg.Tensor([4.0, 9.0]))
    Tensor([2., 3.])
    """
    return np.sqrt(x)


@sqrt.derivative("x", formula="g / (2·y)", latex=r"\frac{g}{2y}")
@chunked(work=16)
def _(g: Array, *, y: Array) -> Array:
    return g / (2.0 * y)


sqrt.calls(lambda draw, s: draw(s.arrays(low=1 / 16)))


@op(formula="x²", latex="x^2", elementwise=True, integers="widened")
def square(x: Array) -> Array:
    """Return `x` squared, elementwise.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> tg.square(tg.Tensor([-3.0, 0.5]))
    Tensor([9.  , 0.25])
    """
    return np.square(x)


@square.derivative("x", formula="g·2x", latex=r"g\,2x")
@chunked(work=16)
def _(g: Array, *, x: Array) -> Array:
    return g * (2.0 * x)


@op(formula="erf x", latex=r"\operatorname{erf} x", elementwise=True)
def erf(x: Array) -> Array:
    """Return the error function of `x`, 2/√π · ∫₀ˣ e^(−t²) dt, elementwise.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> tg.erf(tg.Tensor([0.0, 1.0]))
    Tensor([0.       , 0.8427008])
    """
    return error_function.erf(x)


@erf.derivative("x", formula="√8·g·φ(√2·x)", latex=r"\sqrt{8}\,g\,\varphi(\sqrt{2}\,x)")
def _(g: Array, *, x: Array) -> Array:
    return g * _slope_of_erf(x)


@op(formula="erfc x", latex=r"\operatorname{erfc} x", elementwise=True)
def erfc(x: Array) -> Array:
    """Return 1 − erf(x), elementwise, with all digits also where erf(x) is nearly 1.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> tg.erfc(tg.Tensor([0.0, 8.0]))
    Tensor([1.00000000e+00, 1.12243024e-29])
    """
    return error_function.erfc(x)


@erfc.derivative("x", formula="−√8·g·φ(√2·x)", latex=r"-\sqrt{8}\,g\,\varphi(\sqrt{2}\,x)")
def _(g: Array, *, x: Array) -> Array:
    return -g * _slope_of_erf(x)


@chunked(work=40)
def _slope_of_erf(x: Array) -> Array:
    """Return 2/√π · e^(−x²); it is 0 long before |x| is 30, and x² cannot overflow."""
    x = clip(x, -30.0, 30.0)
    return (2.0 / math.sqrt(math.pi)) * exp(-(x * x))
