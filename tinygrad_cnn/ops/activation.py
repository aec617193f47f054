"""Activation functions."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_cnn.core.composition import composition
from tinygrad_cnn.core.declaration import Draw, Strategies
from tinygrad_cnn.core.op import op
from tinygrad_cnn.core.variable import Array
from tinygrad_cnn.engine import selection
from tinygrad_cnn.engine import softmax as classes
from tinygrad_cnn.engine.arrays import Shape
from tinygrad_cnn.engine.chunks import applied, chunked
from tinygrad_cnn.ops.arithmetic import abs, add, div, masked, neg
from tinygrad_cnn.ops.elementary import exp, expm1, log1p
from tinygrad_cnn.ops.entries import Index, Letters, LocalEntry, at, equal
from tinygrad_cnn.ops.reduction import sum as sum_over
from tinygrad_cnn.support.arguments import share


def logistic(y: Array, x: Array) -> None:
    """Write the sigmoid of `x` to `y`."""
    np.negative(x, out=y)
    with np.errstate(over="ignore"):
        np.exp(y, out=y)
    np.add(y, 1.0, out=y)
    np.reciprocal(y, out=y)


def _logistic_gradient(out: Array, g: Array, y: Array) -> None:
    np.subtract(1.0, y, out=out)
    np.multiply(out, y, out=out)
    np.multiply(out, g, out=out)


def _tanh_gradient(out: Array, g: Array, y: Array) -> None:
    np.multiply(y, y, out=out)
    np.subtract(1.0, out, out=out)
    np.multiply(out, g, out=out)


@op(
    formula="1 / (1 + e⁻ˣ)",
    latex=r"\frac{1}{1+e^{-x}}",
    equation="15",
    elementwise=True,
    role="activation",
    saturates_at=(0.0, 1.0),
)
@chunked(work=48, by=logistic)
def sigmoid(x: Array) -> Array:
    """Return σ(x) = 1 / (1 + e⁻ˣ), elementwise, without overflow at any `x` (eq 15).

    Parameters
    ----------
    x : Tensor or array_like

    Returns
    -------
    Tensor
        Of the shape of `x`, in (0, 1).

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> tg.sigmoid(tg.Tensor([-1e4, 0.0, 1e4]))
    Tensor([0. , 0.5, 1. ])
    """
    if np.iscomplexobj(x):  # e⁻ˣ with an infinite real part would lose its imaginary part
        x = np.where(x.real < -700, -700, x)
    with np.errstate(over="ignore"):  # e⁻ˣ = ∞ gives the right limit, 0
        return np.reciprocal(1.0 + np.exp(-x))


@sigmoid.derivative("x", formula="g·y·(1 − y)", latex=r"g\,y\,(1-y)", equation="45")
@chunked(work=16, by=_logistic_gradient)
def _(g: Array, *, y: Array) -> Array:
    return g * (y * (1.0 - y))


@op(
    formula="tanh x",
    latex=r"\tanh x",
    elementwise=True,
    role="activation",
    saturates_at=(-1.0, 1.0),
)
def tanh(x: Array) -> Array:
    """Return the hyperbolic tangent of `x`, elementwise.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> tg.tanh(tg.Tensor([0.0, 1.0]))
    Tensor([0.       , 0.7615942])
    """
    return applied(np.tanh, x, work=24)


@tanh.derivative("x", formula="g·(1 − y²)", latex=r"g\,(1-y^2)")
@chunked(work=16, by=_tanh_gradient)
def _(g: Array, *, y: Array) -> Array:
    return g * (1.0 - y * y)


@op(
    formula="max(0, x)",
    latex=r"\max(0, x)",
    equation="R, after eq 15",
    elementwise=True,
    integers="kept",
    role="activation",
    dead_at_zero=True,
)
def relu(x: Array, at_zero: float = 1.0) -> Array:
    """Return max(0, x), elementwise.

    Parameters
    ----------
    x : Tensor or array_like
    at_zero : float
        The derivative at 0, from 0 to 1. By default 1, as the text defines it after eq 45; PyTorch
        has 0.

    Returns
    -------
    Tensor
        Of the shape of `x`.

    Raises
    ------
    ValueError
        If `at_zero` is out of range.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> tg.relu(tg.Tensor([-1.0, 2.0]))
    Tensor([0., 2.])
    >>> x = tg.Tensor([-1.0, 0.0, 2.0], requires_grad=True)
    >>> tg.grad(tg.relu(x, at_zero=0.5).sum(), x)[0]
    array([0. , 0.5, 1. ], dtype=float32)
    """
    if at_zero != 1.0:
        share("relu", "at_zero", at_zero)
    if x.dtype.kind != "c":
        return applied(np.maximum, x, 0)
    slopes = _slopes(x, 0.0, at_zero)
    return np.where(slopes != 0, slopes * x, 0.0)


@relu.residual
def slope(x: Array, at_zero: float) -> Array:
    return x.real >= 0 if at_zero == 1.0 else _slopes(x, 0.0, at_zero)


@relu.derivative("x", formula="g·[x ≥ 0]", latex=r"g\,[x \ge 0]", equation="R′, after eq 45")
def _(g: Array, *, slope: Array) -> Array:
    return masked(g, slope) if slope.dtype.char == "?" else _sloped(g, slope)


@relu.calls
def _(draw: Draw, s: Strategies) -> Any:
    return {"x": draw(s.arrays()), "at_zero": draw(s.sampled_from([1.0, 1.0, 0.0, 0.5]))}


@op(
    formula="x where x ≥ 0, else s·x",
    latex=r"\max(0, x) + s\min(0, x)",
    elementwise=True,
    role="activation",
    aliases={"negative_slope": "s"},
)
def leaky_relu(x: Array, negative_slope: float = 0.01, at_zero: float = 1.0) -> Array:
    """Return `x` where it is not negative and ``negative_slope * x`` elsewhere.

    Parameters
    ----------
    x : Tensor or array_like
    negative_slope : float
    at_zero : float
        The derivative at 0, from 0 to 1 or `negative_slope`, which PyTorch has. By default 1, as
        for `relu`.

    Raises
    ------
    ValueError
        If `at_zero` is out of range.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> tg.leaky_relu(tg.Tensor([-1.0, 2.0]), 0.1)
    Tensor([-0.1,  2. ])
    """
    if at_zero not in (1.0, negative_slope):
        share("leaky_relu", "at_zero", at_zero)
    if x.dtype.kind != "c":
        return _bent(x, negative_slope)
    return x * _slopes(x, negative_slope, at_zero, False)


def _bend(y: Array, x: Array, left: float) -> None:
    np.multiply(x, left, out=y)
    if 0.0 < left <= 1.0:
        np.maximum(x, y, out=y)
    else:
        y[...] = selection.where(np.asarray(x >= 0), x, y)


@chunked(work=16, by=_bend)
def _bent(x: Array, left: float) -> Array:
    """Return `x` where it is not negative and ``left * x`` elsewhere."""
    y = x * left
    if 0.0 < left <= 1.0:
        return np.maximum(x, y)
    return selection.where(np.asarray(x >= 0), x, y)


@leaky_relu.residual
def slopes(x: Array, negative_slope: float, at_zero: float) -> Array:
    return _slopes(x, negative_slope, at_zero)


@leaky_relu.derivative("x", formula="g·(1 where x ≥ 0, else s)", latex=r"g\,s^{[x<0]}")
def _(g: Array, *, slopes: Array, negative_slope: float) -> Array:
    return _sloped(g, slopes, negative_slope)


@leaky_relu.calls
def _(draw: Draw, s: Strategies) -> Any:
    left = draw(s.sampled_from([0.01, 0.5, 0.0, -1.0]))
    at_zero = draw(s.sampled_from([1.0, 1.0, left, 0.25]))
    return {"x": draw(s.arrays()), "negative_slope": left, "at_zero": at_zero}


def _slopes(x: Array, left: float, at_zero: float, mask: bool = True) -> Array:
    """Return the slopes of a function with 1 right of 0 and `left` left of it.

    If the slope at 0 is one of the two, return the mask of those that are 1.
    """
    x = x.real
    if mask and at_zero == 1.0:
        return x >= 0
    if mask and at_zero == left:
        return x > 0
    return np.where(x > 0, 1.0, np.where(x == 0, at_zero, left)).astype(x.dtype)


def _sloped(g: Array, slopes: Array, left: float = 0.0) -> Array:
    """Return g times the slopes that `_slopes` returns; 0·∞ is 0."""
    if slopes.dtype.char != "?":
        return masked(g, slopes != 0) * slopes
    return masked(g, slopes) if left == 0 else _steep(g, slopes, left)


def _steepen(out: Array, g: Array, slopes: Array, left: float) -> None:
    selection.fill(out, slopes, 1.0, left)
    np.multiply(out, g, out=out)


@chunked(work=24, by=_steepen)
def _steep(g: Array, slopes: Array, left: float) -> Array:
    """Return g where the mask `slopes` holds and ``left * g`` elsewhere; `left` is not 0."""
    dtype = g.dtype if g.dtype.kind == "f" else np.dtype(float)  # of a complex step
    return g * selection.where(slopes, np.ones((), dtype), np.array(left, dtype))


@op(formula="ln(1 + eˣ)", latex=r"\ln(1+e^x)", elementwise=True, role="activation")
def softplus(x: Array) -> Array:
    """Return ln(1 + eˣ) of `x`, elementwise, without overflow; its derivative is the sigmoid.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> tg.softplus(tg.Tensor([0.0, 1000.0]))
    Tensor([6.931472e-01, 1.000000e+03])
    """
    # ln(1 + eˣ) = max(x, 0) + ln(1 + e^−|x|)
    if np.iscomplexobj(x):
        positive = np.real(x) >= 0
        return np.where(positive, x, 0.0) + log1p.forward(np.exp(np.where(positive, -x, x)))
    return _softplus(x)


def _soften(y: Array, x: Array) -> None:
    np.absolute(x, out=y)
    np.negative(y, out=y)
    np.exp(y, out=y)
    np.log1p(y, out=y)
    np.add(y, np.maximum(x, 0.0), out=y)


@chunked(work=64, by=_soften)
def _softplus(x: Array) -> Array:
    return np.maximum(x, 0.0) + np.log1p(np.exp(-np.absolute(x)))


@softplus.derivative("x", formula="g·(1 − e⁻ʸ)", latex=r"g\,(1-e^{-y})")
@chunked(work=40)
def _(g: Array, *, y: Array) -> Array:
    return g * -expm1(-y)  # the sigmoid of x


@composition(formula="ln σ(x)")
def logsigmoid(x: Array) -> Array:
    """Return the logarithm of the sigmoid of `x`, elementwise, exact where the sigmoid underflows.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> tg.logsigmoid(tg.Tensor([-1000.0, 0.0]))
    Tensor([-1.000000e+03, -6.931472e-01])
    """
    return neg(softplus(neg(x)))


@composition(formula="x / (1 + |x|)")
def softsign(x: Array) -> Array:
    """Return x / (1 + |x|), elementwise.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> tg.softsign(tg.Tensor([-1.0, 3.0]))
    Tensor([-0.5 ,  0.75])
    """
    return div(x, add(abs(x), 1.0))


@op(
    formula="e^(x/T) / Σ e^(x/T)",
    latex=r"\frac{e^{x/T}}{\sum e^{x/T}}",
    equation="16, 36",
    role="activation",
    letter="S",
    aliases={"temperature": "T"},
)
def softmax(x: Array, axis: int = -1, temperature: float = 1.0) -> Array:
    """Return the softmax of `x` along an axis: e^(x_i/T) / Σ_j e^(x_j/T) (eq 16; with T, eq 36).

    Parameters
    ----------
    x : Tensor or array_like
    axis : int
        The axis along which the results sum to 1.
    temperature : float
        T. Below 1 it sharpens the distribution, above 1 it flattens it.

    Returns
    -------
    Tensor
        Of the shape of `x`, in (0, 1).

    Raises
    ------
    ValueError
        If `temperature` is not positive, or `x` has no such axis.

    Notes
    -----
    The derivative uses the full Jacobian, ∂y_i/∂x_j = y_i (δ_ij − y_j) / T; the text derives its
    diagonal (eq 35).

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> tg.softmax(tg.Tensor([1.0, 1.0, 1.0, 1.0]))
    Tensor([0.25, 0.25, 0.25, 0.25])
    """
    _check_softmax("softmax", x, axis, temperature)
    return classes.softmax(x, axis, temperature)


@softmax.derivative(
    "x", formula="y·(g − Σ g·y) / T", latex=r"\tfrac1T\,y\,(g - \sum g\,y)", equation="35"
)
def _(g: Array, *, y: Array, axis: int, temperature: float) -> Array:
    if classes.are_large(g, y):
        gradient = classes.softmax_gradient(g, y, axis)
    else:
        g = masked(g, y != 0)  # where the logit is −∞
        gradient = y * (g - sum_over(g * y, axis, True))
    return _cooled(gradient, temperature)


@op(
    formula="x/T − ln Σ e^(x/T)",
    latex=r"\tfrac{x}{T} - \ln\sum e^{x/T}",
    equation="30 to 33",
    role="activation",
    letter="h",
    aliases={"temperature": "T"},
)
def log_softmax(x: Array, axis: int = -1, temperature: float = 1.0) -> Array:
    """Return the logarithm of the `softmax` of `x`, exact where the softmax underflows.

    Parameters
    ----------
    x, axis, temperature
        As for `softmax`.

    Raises
    ------
    ValueError
        If `temperature` is not positive, or `x` has no such axis.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> tg.log_softmax(tg.Tensor([0.0, 1000.0]))
    Tensor([-1000.,     0.])
    """
    _check_softmax("log_softmax", x, axis, temperature)
    return classes.log_softmax(x, axis, temperature)


@log_softmax.derivative(
    "x", formula="(g − eʸ·Σ g) / T", latex=r"\tfrac1T\,(g - e^y \sum g)", equation="33"
)
def _(g: Array, *, y: Array, axis: int, temperature: float) -> Array:
    if classes.are_large(g, y):
        gradient = classes.log_softmax_gradient(g, y, axis)
    else:
        gradient = g - exp(y) * sum_over(g, axis, True)
    return _cooled(gradient, temperature)


_EMPTY: list[dict[str, Any]] = [{"x": np.zeros((0, 3))}, {"x": np.zeros((3, 0)), "axis": 0}]


@softmax.calls(always=_EMPTY)
@log_softmax.calls(always=_EMPTY)
def _(draw: Draw, s: Strategies) -> Any:
    x = draw(s.arrays(s.shapes(min_dims=1)))
    return {
        "x": x,
        "axis": draw(s.integers(-x.ndim, x.ndim - 1)),
        "temperature": draw(s.sampled_from([1.0, 0.5, 3.0])),
    }


def _check_softmax(name: str, x: Array, axis: int, temperature: float) -> None:
    """Raise if the temperature or the axis is invalid."""
    if not temperature > 0:
        raise ValueError(f"{name}: temperature is {temperature}, expected more than 0")
    if not isinstance(axis, int | np.integer) or not -x.ndim <= axis < x.ndim:
        raise ValueError(f"{name}: axis is {axis}, but x has shape {np.shape(x)}")
    if x.shape[axis] == 0:
        raise ValueError(f"{name}: x has shape {x.shape}: no values along axis {axis}")


def _cooled(x: Array, temperature: float) -> Array:
    """Return x/T, with factors that the dtype of `x` can hold: 0·∞ and 0/0 are NaN."""
    if temperature == 1.0:
        return x
    if temperature > 1.0:
        return x * (1.0 / temperature)
    return x / max(temperature, float(np.finfo(x.dtype).smallest_subnormal))


# --- entries of the derivatives ------------------------------------------------------------------


@relu.entry("x")
def _(y: Index, letters: Letters, *, at_zero: float) -> LocalEntry:
    x = at("x", y)
    half = f"([{x} > 0] + {at_zero:g}·[{x} = 0])"
    return y, {1.0: f"[{x} ≥ 0]", 0.0: f"[{x} > 0]"}.get(at_zero, half)


@leaky_relu.entry("x")
def _(y: Index, letters: Letters, *, negative_slope: float, at_zero: float) -> LocalEntry:
    x = at("x", y)
    zero = f"({at_zero:g} where {x} = 0, else s)"
    return y, {
        1.0: f"(1 where {x} ≥ 0, else s)",
        negative_slope: f"(1 where {x} > 0, else s)",
    }.get(at_zero, f"(1 where {x} > 0, else {zero})")


@softmax.entry("x")
def _(y: Index, letters: Letters, *, x_shape: Shape, axis: int, temperature: float) -> LocalEntry:
    x, same = _along(y, letters, x_shape, axis)
    return x, _over(f"{at('y', y)}·({same} − {at('y', x)})", temperature)


@log_softmax.entry("x")
def _(y: Index, letters: Letters, *, x_shape: Shape, axis: int, temperature: float) -> LocalEntry:
    x, same = _along(y, letters, x_shape, axis)
    return x, _over(f"({same} − exp({at('y', x)}))", temperature)


def _along(y: Index, letters: Letters, shape: Shape, axis: int) -> tuple[Index, str]:
    """Return the argument's index, with a new letter along the axis, and the bracket [i = k]."""
    axis %= len(y)
    fresh = letters.fresh(shape[axis])
    return (*y[:axis], fresh, *y[axis + 1 :]), equal(y[axis], fresh)


def _over(formula: str, temperature: float) -> str:
    return formula if temperature == 1.0 else f"{formula} / {temperature:g}"
