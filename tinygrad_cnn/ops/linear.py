"""Matrix products."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinygrad_cnn.core.declaration import Draw, Strategies
from tinygrad_cnn.core.op import op
from tinygrad_cnn.core.variable import Array
from tinygrad_cnn.engine import threads as engine
from tinygrad_cnn.engine.arrays import Shape
from tinygrad_cnn.ops.entries import Index, Letters, LocalEntry, at, shared_axes
from tinygrad_cnn.ops.shape import reshape, sum_to, transpose


@op(formula="a b", latex=r"a\,b", integers="widened", role="product")
def matmul(a: Array, b: Array) -> Array:
    """Return the matrix product of `a` and `b`, with NumPy's rules.

    Parameters
    ----------
    a : Tensor or array_like
        Of shape (..., n, k), or (k,), treated as one row.
    b : Tensor or array_like
        Of shape (..., k, m), or (k,), treated as one column.

    Returns
    -------
    Tensor
        Of shape (..., n, m), with leading axes broadcast; a vector argument drops its n or m.

    Raises
    ------
    ValueError
        If an argument is 0-D, or k or the leading axes do not match.

    Notes
    -----
    With ``g`` of the shape of the result, the gradients are ``g bᵀ`` and ``aᵀ g``.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> tg.matmul(tg.Tensor([[1.0, 2.0], [3.0, 4.0]]), tg.Tensor([1.0, 10.0]))
    Tensor([21., 43.])
    """
    try:
        return engine.matmul(a, b)
    except ValueError:
        raise ValueError(
            f"matmul: a has shape {np.shape(a)} and b {np.shape(b)}; expected (..., n, k) and "
            "(..., k, m) with leading axes that broadcast"
        ) from None


@matmul.derivative("a", formula="g bᵀ", latex=r"g\,b^{\mathsf T}", equation="26")
def _(g: Array, *, a_shape: Shape, b: Array) -> Array:
    a_matrix, b_matrix, g_matrix = _as_matrices(a_shape, b.shape)
    product = matmul(reshape(g, g_matrix), _turned(reshape(b, b_matrix)))
    return reshape(sum_to(product, a_matrix), a_shape)


@matmul.derivative("b", formula="aᵀ g", latex=r"a^{\mathsf T} g", equation="26")
def _(g: Array, *, a: Array, b_shape: Shape) -> Array:
    a_matrix, b_matrix, g_matrix = _as_matrices(a.shape, b_shape)
    product = matmul(_turned(reshape(a, a_matrix)), reshape(g, g_matrix))
    return reshape(sum_to(product, b_matrix), b_shape)


@matmul.calls(always=[
    {"a": np.zeros((0, 3)), "b": np.zeros((3, 0))},
    {"a": np.zeros((3, 0)), "b": np.zeros((0, 3))},
])  # fmt: skip
def _(draw: Draw, s: Strategies) -> Any:
    a, b = draw(s.matmul_shapes())
    return draw(s.arrays(a)), draw(s.arrays(b))


@matmul.multiply_adds
def _(a_shape: Shape, y_shape: Shape) -> int:
    return math.prod(y_shape) * a_shape[-1]


@op(
    formula="x wᵀ + b",
    latex=r"x\,w^{\mathsf T} + b",
    equation="14",
    role="affine",
    kind="dense",
    aliases={"bias": "b"},
)
def linear(x: Array, w: Array, bias: Array | None = None) -> Array:
    """Return the pre-activations of a layer: z_i = Σ_p x_p w_ip + b_i.

    Parameters
    ----------
    x : Tensor or array_like
        Of shape (..., in).
    w : Tensor or array_like
        Of shape (out, in): ``w[i, p]`` is the weight from input p to output i.
    bias : Tensor or array_like, optional
        Of shape (out,). Eq 14 omits it, eq 25 includes it.

    Returns
    -------
    Tensor
        Of shape (..., out).

    Raises
    ------
    ValueError
        If the shapes do not match.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> tg.linear(tg.Tensor([1.0, 2.0]), tg.Tensor([[3.0, 4.0]]), tg.Tensor([0.5]))
    Tensor([11.5])
    """
    if w.ndim != 2 or x.ndim == 0 or x.shape[-1] != w.shape[1]:
        raise ValueError(
            f"linear: x has shape {np.shape(x)} and w {np.shape(w)}; expected (..., in) and "
            "(out, in)"
        )
    y = engine.matmul(x, w.T)
    if bias is None:
        return y
    if bias.shape != w.shape[:1]:
        raise ValueError(f"linear: bias has shape {bias.shape}, expected ({w.shape[0]},)")
    return y + bias


@linear.derivative("x", formula="g w", latex=r"g\,w", equation="47")
def _(g: Array, *, w: Array) -> Array:
    return matmul(g, w)


@linear.derivative("w", formula="gᵀ x", latex=r"g^{\mathsf T} x", equation="26")
def _(g: Array, *, x: Array, w_shape: Shape) -> Array:
    if len(x.shape) != 2:
        rows = math.prod(x.shape[:-1])
        g, x = reshape(g, (rows, w_shape[0])), reshape(x, (rows, w_shape[1]))
    return matmul(g.T, x)


@linear.derivative("bias", formula="Σ g", latex=r"\sum g", equation="28")
def _(g: Array, *, bias_shape: Shape) -> Array:
    return sum_to(g, bias_shape)


@linear.calls(always=[
    {"x": np.zeros((0, 3)), "w": np.ones((2, 3))},
    {"x": np.zeros((0, 3)), "w": np.ones((2, 3)), "bias": np.ones(2)},
])  # fmt: skip
def _(draw: Draw, s: Strategies) -> Any:
    inputs, outputs = draw(s.integers(1, 3)), draw(s.integers(1, 3))
    lead = draw(s.shapes(max_dims=2, min_side=0, max_side=3))
    return {
        "x": draw(s.arrays((*lead, inputs))),
        "w": draw(s.arrays((outputs, inputs))),
        "bias": draw(s.one_of(s.none(), s.arrays((outputs,)))),
    }


@linear.multiply_adds
def _(w_shape: Shape, y_shape: Shape) -> int:
    return math.prod(y_shape) * w_shape[1]


def _as_matrices(a: Shape, b: Shape) -> tuple[Shape, Shape, Shape]:
    """Return the shapes of a, b and a b, with a vector a as a row and a vector b as a column."""
    a_matrix = (1, *a) if len(a) == 1 else a
    b_matrix = (*b, 1) if len(b) == 1 else b
    lead = np.broadcast_shapes(a_matrix[:-2], b_matrix[:-2])
    return a_matrix, b_matrix, (*lead, a_matrix[-2], b_matrix[-1])


def _turned(x: Array) -> Array:
    """Return `x` with its last two axes swapped."""
    *lead, row, column = range(len(x.shape))
    return transpose(x, (*lead, column, row))


# --- entries of the derivatives ------------------------------------------------------------------


@linear.entry("x")
def _(y: Index, letters: Letters, *, x_shape: Shape) -> LocalEntry:
    p = letters.fresh(x_shape[-1])
    return (*y[:-1], p), at("w", (y[-1], p))


@linear.entry("w")
def _(y: Index, letters: Letters, *, w_shape: Shape) -> LocalEntry:
    p = letters.fresh(w_shape[-1])
    return (y[-1], p), at("x", (*y[:-1], p))


@linear.entry("bias")
def _(y: Index, letters: Letters) -> LocalEntry:
    return y[-1:], "1"


@matmul.entry("a")
def _(y: Index, letters: Letters, *, a_shape: Shape, b_shape: Shape) -> LocalEntry:
    a, b = _factors(y, letters, a_shape, b_shape)
    return a, at("b", b)


@matmul.entry("b")
def _(y: Index, letters: Letters, *, a_shape: Shape, b_shape: Shape) -> LocalEntry:
    a, b = _factors(y, letters, a_shape, b_shape)
    return b, at("a", a)


def _factors(y: Index, letters: Letters, a: Shape, b: Shape) -> tuple[Index, Index]:
    """Return the entries of a and b that are multiplied for an entry of a b."""
    lead = y[: len(y) - (len(a) > 1) - (len(b) > 1)]
    k = letters.fresh(a[-1])
    left = (y[len(lead)], k) if len(a) > 1 else (k,)
    right = (k, y[-1]) if len(b) > 1 else (k,)
    return (*shared_axes(lead, a[:-2]), *left), (*shared_axes(lead, b[:-2]), *right)
