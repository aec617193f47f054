"""Linear units: activation functions near x on the right, bent towards a constant or line left."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinygrad_cnn.core.composition import composition
from tinygrad_cnn.core.declaration import Draw, Strategies
from tinygrad_cnn.core.op import op
from tinygrad_cnn.core.variable import Array
from tinygrad_cnn.engine.chunks import chunked
from tinygrad_cnn.ops.activation import logistic, sigmoid, softplus, tanh
from tinygrad_cnn.ops.arithmetic import chosen, clip, div, masked, minimum, mul, where
from tinygrad_cnn.ops.elementary import erfc, exp
from tinygrad_cnn.ops.shape import reshape
from tinygrad_cnn.support.arguments import choice, positive


@op(formula="x·Φ(x)", latex=r"x\,\Phi(x)", elementwise=True, role="activation")
@chunked(work=16)
def gelu(x: Array, approximate: str = "none", *, distribution: Array = ...) -> Array:
    """Return the Gaussian error linear unit, x·Φ(x), elementwise.

    Φ is the distribution function of a standard normal variable, φ its density.

    Parameters
    ----------
    x : Tensor or array_like
    approximate : {"none", "tanh"}
        With ``"tanh"``, Φ(x) is ½·(1 + tanh(√(2/π)·(x + 0.044715·x³))), and the result is off
        by up to 5e-4.

    Returns
    -------
    Tensor
        Of the shape of `x`, at least −0.17.

    Raises
    ------
    ValueError
        If `approximate` is neither.

    Notes
    -----
    Hendrycks and Gimpel, "Gaussian error linear units", 2016.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> tg.gelu(tg.Tensor([-1.0, 0.0, 1.0]))
    Tensor([-0.15865527,  0.        ,  0.8413447 ])
    """
    return np.maximum(x, -_FLAT) * distribution  # −∞·0 would be NaN


_FLAT = 40.0  # beyond ±40, Φ is 0 or 1 in float64, and φ is 0
_CUBIC = 0.044715
_RATE = math.sqrt(8.0 / math.pi)


@gelu.intermediate
@chunked(work=96)
def distribution(x: Array, approximate: str) -> Array:
    """Return Φ(x), or its approximation, without cancellation on the left."""
    choice("gelu", "approximate", approximate, ("none", "tanh"))
    if approximate == "none":
        return 0.5 * erfc(x * -math.sqrt(0.5))
    x = clip(x, -_FLAT, _FLAT)
    return sigmoid(_RATE * (x + _CUBIC * (x * x * x)))  # σ(2z) = ½·(1 + tanh z)


@gelu.derivative("x", formula="g·(Φ(x) + x·φ(x))", latex=r"g\,(\Phi(x) + x\,\varphi(x))")
@chunked(work=56)
def _(g: Array, *, x: Array, distribution: Array, approximate: str) -> Array:
    x = clip(x, -_FLAT, _FLAT)
    if approximate == "none":
        density = math.sqrt(0.5 / math.pi) * exp(-0.5 * (x * x))
    else:
        slope = _RATE * (1.0 + 3.0 * _CUBIC * (x * x))
        density = distribution * (1.0 - distribution) * slope
    return g * (distribution + x * density)


@gelu.calls
def _(draw: Draw, s: Strategies) -> Any:
    return {"x": draw(s.arrays()), "approximate": draw(s.sampled_from(["none", "tanh"]))}


def _swish(y: Array, x: Array) -> None:
    logistic(y, x)
    np.multiply(y, np.maximum(x, -_SATURATED), out=y)


def _swish_gradient(out: Array, g: Array, x: Array) -> None:
    s = np.empty_like(x)
    logistic(s, x)
    np.subtract(1.0, s, out=out)
    np.multiply(out, np.clip(x, -_SATURATED, _SATURATED), out=out)
    np.add(out, 1.0, out=out)
    np.multiply(out, s, out=out)
    np.multiply(out, g, out=out)


@op(formula="x·σ(x)", latex=r"x\,\sigma(x)", elementwise=True, role="activation")
@chunked(work=56, by=_swish)
def silu(x: Array) -> Array:
    """Return the sigmoid linear unit (swish), x·σ(x), elementwise; at least −0.28.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> tg.silu(tg.Tensor([-1.0, 0.0, 1.0]))
    Tensor([-0.2689414,  0.       ,  0.7310586])
    """
    return np.maximum(x, -_SATURATED) * sigmoid(x)  # −∞·0 would be NaN


@silu.derivative("x", formula="g·(σ(x) + y·(1 − σ(x)))", latex=r"g\,(\sigma(x) + y\,(1-\sigma(x)))")
@chunked(work=72, by=_swish_gradient)
def _(g: Array, *, x: Array) -> Array:
    s = sigmoid(x)
    return g * (s + clip(x, -_SATURATED, _SATURATED) * (s * (1.0 - s)))


_SATURATED = 1000.0  # beyond ±1000, the sigmoid is 0 or 1


@op(
    formula="x·tanh(ln(1 + eˣ))",
    latex=r"x\tanh(\ln(1+e^x))",
    elementwise=True,
    role="activation",
)
@chunked(work=96)
def mish(x: Array) -> Array:
    """Return x·tanh(softplus(x)), elementwise; at least −0.31.

    Notes
    -----
    Misra, "Mish: a self regularized non-monotonic activation function", 2019.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> tg.mish(tg.Tensor([-1.0, 0.0, 1.0]))
    Tensor([-0.3034014,  0.       ,  0.8650984])
    """
    return np.maximum(x, -_SATURATED) * np.tanh(softplus(x))


@mish.derivative(
    "x",
    formula="g·(tanh(ln(1 + eˣ)) + x·σ(x)·(1 − (tanh(ln(1 + eˣ)))²))",
    latex=r"g\,(\tanh(\ln(1+e^x)) + x\,\sigma(x)\,(1 - (\tanh(\ln(1+e^x)))^2))",
)
@chunked(work=160)
def _(g: Array, *, x: Array) -> Array:
    t = tanh(softplus(x))
    return g * (t + clip(x, -_SATURATED, _SATURATED) * (sigmoid(x) * (1.0 - t * t)))


@op(
    formula="x where x > 0, else a·(eˣ − 1)",
    latex=r"\max(0, x) + a\,(e^{\min(0, x)} - 1)",
    elementwise=True,
    role="activation",
    aliases={"alpha": "a"},
)
def elu(x: Array, alpha: float = 1.0) -> Array:
    """Return `x` where it is positive and α·(eˣ − 1) elsewhere; the derivative at 0 is α.

    Parameters
    ----------
    x : Tensor or array_like
    alpha : float
        α; the result approaches −α as `x` decreases.

    Notes
    -----
    Clevert, Unterthiner and Hochreiter, "Fast and accurate deep network learning by exponential
    linear units", 2016.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> tg.elu(tg.Tensor([-1000.0, 2.0]), 0.5)
    Tensor([-0.5,  2. ])
    """
    if np.iscomplexobj(x):
        is_positive = np.real(x) > 0
        return np.where(is_positive, x, alpha * np.expm1(np.where(is_positive, 0.0, x)))
    return _elu(x, alpha)


@chunked(work=40)
def _elu(x: Array, alpha: float) -> Array:
    y = np.expm1(np.minimum(x, 0.0))
    y *= alpha
    y += np.maximum(x, 0.0)
    return y


@elu.residual
def is_positive(x: Array) -> Array:
    return np.real(x) > 0


@elu.derivative("x", formula="g·(1 where x > 0, else a·eˣ)", latex=r"g\,(a\,e^x)^{[x \le 0]}")
@chunked(work=56)
def _(g: Array, *, x: Array, is_positive: Array, alpha: float) -> Array:
    if alpha == 0:
        return masked(g, is_positive)
    slope = alpha * exp(minimum(x, 0.0))
    return g * (slope if alpha == 1 else chosen(is_positive, 1.0, slope))


@elu.calls
def _(draw: Draw, s: Strategies) -> Any:
    return {"x": draw(s.arrays()), "alpha": draw(s.sampled_from([1.0, 0.5, 0.0, 2.0]))}


@composition(formula="x where x > 0, else α·(e^(x/α) − 1)")
def celu(x: Array, alpha: float = 1.0) -> Array:
    """Return `x` where it is positive and α·(e^(x/α) − 1) elsewhere; the derivative at 0 is 1.

    Parameters
    ----------
    x : Tensor or array_like
    alpha : float
        α, above 0; the result is −α at least.

    Raises
    ------
    ValueError
        If `alpha` is not positive.

    Notes
    -----
    Barron, "Continuously differentiable exponential linear units", 2017.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> tg.celu(tg.Tensor([-1000.0, 2.0]), 0.5)
    Tensor([-0.5,  2. ])
    """
    return mul(elu(div(x, positive("celu", "alpha", alpha))), alpha)


@composition(formula="1.0507·(x where x > 0, else 1.6733·(eˣ − 1))")
def selu(x: Array) -> Array:
    """Return the scaled exponential linear unit of `x`, elementwise.

    Layers of it keep mean 0 and variance 1. The derivative at 0 is 1.0507 · 1.6733.

    Notes
    -----
    Klambauer et al., "Self-normalizing neural networks", 2017.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> tg.selu(tg.Tensor([-1000.0, 2.0]))
    Tensor([-1.7580993,  2.101402 ])
    """
    return mul(elu(x, 1.6732632423543772), 1.0507009873554805)


@composition(formula="x where x > 0, else w·x")
def prelu(x: Array, weight: Array) -> Array:
    """Return `x` where it is positive and ``weight * x`` elsewhere; its slope at 0 is `weight`.

    Parameters
    ----------
    x : Tensor or array_like
    weight : Tensor or ndarray
        One value, or one for each entry of axis 1, such as the channels of (N, C, H, W).

    Raises
    ------
    ValueError
        If `weight` has another shape.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> tg.prelu(tg.Tensor([[-1.0, -1.0, 3.0]]), tg.Tensor([0.1, 0.2, 0.3]))
    Tensor([[-0.1, -0.2,  3. ]])
    """
    shape, count = np.shape(x), math.prod(weight.shape)
    if count != 1 and (len(shape) < 2 or weight.shape != shape[1:2]):
        raise ValueError(
            f"prelu: weight has shape {weight.shape}, expected one value, or one for each entry of "
            f"axis 1 of x, which has shape {shape}"
        )
    weight = reshape(weight, () if count == 1 else (count,) + (1,) * (len(shape) - 2))
    return where(x > 0, x, mul(weight, x))
