"""Elementwise arithmetic with broadcasting; gradients are summed over broadcast axes."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from tinygrad_cnn.core.declaration import Draw, Strategies
from tinygrad_cnn.core.op import op
from tinygrad_cnn.core.variable import Array, Variable
from tinygrad_cnn.engine import normalization, selection
from tinygrad_cnn.engine.chunks import applied, chunked
from tinygrad_cnn.support.arguments import native


@op(formula="a + b", latex="a + b", elementwise=True, integers="widened", role="addition")
def add(a: Array, b: Array) -> Array:
    """Return the sum of `a` and `b`, elementwise.

    Parameters
    ----------
    a, b : Tensor or array_like
        Of shapes that broadcast.

    Returns
    -------
    Tensor
        Of the broadcast shape.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> tg.add(tg.Tensor([1.0, 2.0]), 0.5)
    Tensor([1.5, 2.5])
    """
    if a.shape == b.shape:
        return applied(np.add, a, b, work=12)
    return np.add(a, b)


@add.derivative("a", formula="g", latex="g")
def _(g: Array) -> Array:
    return g


@add.derivative("b", formula="g", latex="g")
def _(g: Array) -> Array:
    return g


@op(formula="a − b", latex="a - b", elementwise=True, integers="widened", letter="s")
def sub(a: Array, b: Array) -> Array:
    """Return `a` minus `b`, elementwise, for shapes that broadcast.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> tg.sub(tg.Tensor([1.0, 2.0]), 0.5)
    Tensor([0.5, 1.5])
    """
    return np.subtract(a, b)


@sub.derivative("a", formula="g", latex="g")
def _(g: Array) -> Array:
    return g


@sub.derivative("b", formula="−g", latex="-g")
def _(g: Array) -> Array:
    return -g


@op(formula="a·b", latex=r"a\,b", elementwise=True, integers="widened", role="product")
def mul(a: Array, b: Array) -> Array:
    """Return the product of `a` and `b`, elementwise, for shapes that broadcast.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> tg.mul(tg.Tensor([1.0, 2.0]), tg.Tensor([3.0, 4.0]))
    Tensor([3., 8.])
    """
    return a * b


@mul.derivative("a", formula="g·b", latex=r"g\,b")
def _(g: Array, *, b: Array) -> Array:
    return g * b


@mul.derivative("b", formula="g·a", latex=r"g\,a")
def _(g: Array, *, a: Array) -> Array:
    return g * a


@op(formula="a·b + c", latex="a\\,b + c", elementwise=True, integers="widened")
def multiply_add(a: Array, b: Array, c: Array) -> Array:
    """Return `a` times `b` plus `c`, elementwise, for shapes that broadcast.

    One value for each channel of images, in `b` and `c` of shape (1, C, 1, 1), takes one pass.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> tg.multiply_add(tg.Tensor([1.0, 3.0]), 2, tg.Tensor([0.5, 1.0]))
    Tensor([2.5, 7. ])
    """
    if normalization.is_repeated(a, b) and normalization.is_repeated(a, c):
        return normalization.affine(a, [b], c)
    return np.asarray(np.add(np.multiply(a, b), c))


@multiply_add.derivative("a", formula="g·b", latex=r"g\,b")
def _(g: Array, *, b: Array) -> Array:
    return g * b


@multiply_add.derivative("b", formula="g·a", latex=r"g\,a")
def _(g: Array, *, a: Array) -> Array:
    return g * a


@multiply_add.derivative("c", formula="g", latex="g")
def _(g: Array) -> Array:
    return g


@op(formula="a / b", latex=r"\frac{a}{b}", elementwise=True)
def div(a: Array, b: Array) -> Array:
    """Return `a` divided by `b`, elementwise, for shapes that broadcast.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> tg.div(tg.Tensor([1.0, 3.0]), 2)
    Tensor([0.5, 1.5])
    """
    return np.divide(a, b)


@div.derivative("a", formula="g / b", latex=r"\frac{g}{b}")
def _(g: Array, *, b: Array) -> Array:
    return g / b


@div.derivative("b", formula="−g·a / b²", latex=r"-\frac{g\,a}{b^2}")
@chunked(work=32)
def _(g: Array, *, a: Array, b: Array) -> Array:
    return -(g * (a / b / b))  # b² overflows and underflows long before a / b² does


@div.calls
def _(draw: Draw, s: Strategies) -> Any:
    a, b = draw(s.broadcasting(2))
    return draw(s.arrays(a)), draw(s.arrays(b, nonzero=True))


@op(formula="−x", latex="-x", elementwise=True, integers="widened")
def neg(x: Array) -> Array:
    """Return `x` negated, elementwise.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> tg.neg(tg.Tensor([1.0, -2.0]))
    Tensor([-1.,  2.])
    """
    return np.negative(x)


@neg.derivative("x", formula="−g", latex="-g")
def _(g: Array) -> Array:
    return -g


@op(formula="|x|", latex=r"\lvert x\rvert", elementwise=True, integers="widened")
def abs(x: Array) -> Array:
    """Return the absolute value of `x`, elementwise; the derivative at 0 is defined as 0.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> tg.abs(tg.Tensor([-1.5, 2.0]))
    Tensor([1.5, 2. ])
    """
    return x * np.sign(x.real) if np.iscomplexobj(x) else np.absolute(x)


@abs.residual
def sign(x: Array) -> Array:
    return np.sign(np.real(x))


@abs.derivative("x", formula="g·sign x", latex=r"g\,\operatorname{sign} x")
@chunked(work=16)
def _(g: Array, *, sign: Array) -> Array:
    nonzero = sign != 0
    return (g if nonzero.all() else masked(g, nonzero)) * sign


abs.calls(lambda draw, s: draw(s.arrays(nonzero=True)))


@op(formula="max(a, b)", latex=r"\max(a, b)", elementwise=True, integers="kept")
def maximum(a: Array, b: Array) -> Array:
    """Return the larger of `a` and `b`, elementwise; at a tie the gradient goes to `a`.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> tg.maximum(tg.Tensor([1.0, 5.0]), 3)
    Tensor([3., 5.])
    """
    return _choose(np.maximum, np.greater_equal, a, b)


@maximum.residual
def a_is_larger(a: Array, b: Array) -> Array:
    return np.real(a) >= np.real(b)


@maximum.derivative("a", formula="g·[a ≥ b]", latex=r"g\,[a \ge b]")
def _(g: Array, *, a_is_larger: Array) -> Array:
    return masked(g, a_is_larger)


@maximum.derivative("b", formula="g·[a < b]", latex=r"g\,[a < b]")
def _(g: Array, *, a_is_larger: Array) -> Array:
    return masked(g, ~a_is_larger)


maximum.calls(lambda draw, s: draw(s.operands(2, low=-1.0, high=1.0)))  # with ties


@op(formula="min(a, b)", latex=r"\min(a, b)", elementwise=True, integers="kept")
def minimum(a: Array, b: Array) -> Array:
    """Return the smaller of `a` and `b`, elementwise; at a tie the gradient goes to `a`.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> tg.minimum(tg.Tensor([1.0, 5.0]), 3)
    Tensor([1., 3.])
    """
    return _choose(np.minimum, np.less_equal, a, b)


@minimum.residual
def a_is_smaller(a: Array, b: Array) -> Array:
    return np.real(a) <= np.real(b)


@minimum.derivative("a", formula="g·[a ≤ b]", latex=r"g\,[a \le b]")
def _(g: Array, *, a_is_smaller: Array) -> Array:
    return masked(g, a_is_smaller)


@minimum.derivative("b", formula="g·[a > b]", latex=r"g\,[a > b]")
def _(g: Array, *, a_is_smaller: Array) -> Array:
    return masked(g, ~a_is_smaller)


minimum.calls(lambda draw, s: draw(s.operands(2, low=-1.0, high=1.0)))  # with ties


@op(
    formula="a where c, else b",
    latex=r"c\,a + (1-c)\,b",
    elementwise=True,
    integers="kept",
    aliases={"condition": "c"},
)
def where(condition: Array, a: Array, b: Array) -> Array:
    """Return `a` where `condition` holds and `b` elsewhere.

    Parameters
    ----------
    condition : Tensor or array_like of bool
        Broadcasts with `a` and `b`; no gradient flows to it.
    a, b : Tensor or array_like

    Returns
    -------
    Tensor

    Notes
    -----
    The derivative of the branch not taken is 0, even where the gradient flowing in is infinite or
    NaN. In the rules of your own ops, select likewise with ``where(mask, g, 0.0)``: a product
    ``g * mask`` is NaN there. An op inside a branch receives the gradient 0 where the branch is not
    taken. Keep its slope finite there, as in ``where(x > 0, sqrt(where(x > 0, x, 1.0)), 0.0)``.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> x = tg.Tensor([-1.0, 2.0])
    >>> tg.where(x > 0, x, 0.0)
    Tensor([0., 2.])
    """
    condition = np.asarray(condition)
    if condition.dtype != bool:
        raise TypeError(f"where: condition holds {condition.dtype}, expected bool")
    return selection.where(condition, a, b)


@where.derivative("a", formula="g where c, else 0", latex=r"c\,g")
def _(g: Array, *, condition: Array) -> Array:
    return where(condition, g, 0.0)


@where.derivative("b", formula="0 where c, else g", latex=r"(1-c)\,g")
def _(g: Array, *, condition: Array) -> Array:
    return where(condition, 0.0, g)


@where.calls
def _(draw: Draw, s: Strategies) -> Any:
    condition, a, b = draw(s.broadcasting(3))
    return {
        "condition": draw(s.masks(condition)),
        "a": draw(s.arrays(a)),
        "b": draw(s.arrays(b)),
    }


@op(
    formula="min(max(x, low), high)",
    latex=r"\min(\max(x, l), h)",
    elementwise=True,
    integers="kept",
)
def clip(x: Array, low: float | None = None, high: float | None = None) -> Array:
    """Return `x` limited to the interval from `low` to `high`, elementwise.

    The derivative is 1 on the closed interval and 0 outside.

    Parameters
    ----------
    x : Tensor or array_like
    low, high : float, optional
        The bounds; None means no bound.

    Raises
    ------
    ValueError
        If both bounds are left out, or `low` is above `high`.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> tg.clip(tg.Tensor([-2.0, 0.5, 9.0]), 0.0, 1.0)
    Tensor([0. , 0.5, 1. ])
    """
    if low is None and high is None:
        raise ValueError("clip: low and high are None, expected at least one of them")
    if not (-np.inf if low is None else low) <= (np.inf if high is None else high):
        raise ValueError(f"clip: low is {low} and high is {high}, expected low ≤ high")
    if np.iscomplexobj(x):
        return np.where(inside(x, low, high), x, np.clip(x.real, low, high))
    return np.clip(x, low, high)


@clip.residual
@chunked(work=8)
def inside(x: Array, low: float | None, high: float | None) -> Array:
    real = np.real(x)
    below = True if high is None else real <= high
    return below if low is None else below & (real >= low)


@clip.derivative("x", formula="g·[low ≤ x ≤ high]", latex=r"g\,[l \le x \le h]")
def _(g: Array, *, inside: Array) -> Array:
    return masked(g, inside)


@clip.calls
def _(draw: Draw, s: Strategies) -> Any:
    low, high = draw(s.sampled_from([(-1.0, 0.5), (-1.0, 1.0), (-1.0, None), (None, 0.5)]))
    return {"x": draw(s.arrays()), "low": low, "high": high}


@op(formula="x", latex="x", elementwise=True, complex_step=False, integers="kept")
def astype(x: Array, dtype: DTypeLike) -> Array:
    """Return `x` in another dtype; the gradient is converted back to the dtype of `x`.

    A cast to integers is constant almost everywhere: its gradient is 0.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> tg.astype(tg.Tensor([1.5]), "float64").dtype
    dtype('float64')
    """
    return native(np.asarray(x).astype(dtype))


@astype.derivative("x", formula="g", latex="g")
def _(g: Array, *, dtype: DTypeLike) -> Array:
    return g if np.dtype(dtype).kind in "fc" else g * 0


astype.calls(lambda draw, s: {"x": draw(s.arrays()), "dtype": "f8"})


def chosen(mask: Array, number: float, b: Array) -> Array:
    """Return a number where `mask` holds and `b` elsewhere, for rules of ops with branches."""
    if type(mask) is np.ndarray and type(b) is np.ndarray:
        return selection.where(mask, np.array(number, b.dtype), b)
    return where(mask, number, b)


def masked(g: Array, mask: Array) -> Array:
    """Return `g` where `mask` holds and 0 elsewhere, for rules of ops with branches.

    A branch not taken has the derivative 0. The mask must select: a product with it is NaN where
    `g` is infinite, as for the square root of a ReLU.
    """
    if type(g) is np.ndarray and type(mask) is np.ndarray:
        return selection.select(g, mask)
    if mask is np.True_:
        return g
    if isinstance(g, Variable) or isinstance(mask, Variable):
        return where(mask, g, 0.0)
    return selection.select(np.asarray(g), np.asarray(mask))


def _choose(choice: np.ufunc, comparison: np.ufunc, a: Array, b: Array) -> Array:
    """Return ``choice(a, b)``; complex arguments are compared by their real parts."""
    if np.iscomplexobj(a) or np.iscomplexobj(b):
        return np.where(comparison(np.real(a), np.real(b)), a, b)
    return choice(a, b)
