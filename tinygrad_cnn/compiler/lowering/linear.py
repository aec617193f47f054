"""The affine map and the matrix product as rows.

With the images last, x is a matrix (in, N) in memory, and y = w·x + b one of (out, N). A weight is
(out, in) in memory or turned, (in, out).
"""

from __future__ import annotations

import math

from tinygrad_cnn.compiler.lowering.tape import Writer, lowers
from tinygrad_cnn.compiler.program import ForwardCall, RuleCall, StepValue
from tinygrad_cnn.engine import threads
from tinygrad_cnn.engine.fast.kernel import Kernel
from tinygrad_cnn.engine.fast.linear import outer_product, product, row_sums, turned_product

SMALL = 1_000_000  # multiply-adds of a product up to which OpenBLAS copies no matrix
ROWS = 16  # of a piece, at least


@lowers("linear")
def linear(writer: Writer, call: ForwardCall) -> bool:
    """Write x wᵀ + b."""
    x, w, bias = (call.arguments[name] for name in ("x", "w", "bias"))
    is_turned = writer.order(w) == (1, 0)
    return _affine(writer, x, w, bias, call.result, is_turned)


@lowers("linear", "x")
def linear_x(writer: Writer, rule: RuleCall) -> bool:
    """Write g w."""
    w = rule.call.arguments["w"]
    return _affine(writer, rule.gradient, w, None, rule.parts[0], writer.order(w) != (1, 0))


@lowers("linear", "w")
def linear_w(writer: Writer, rule: RuleCall) -> bool:
    """Write gᵀ x."""
    return _outer(writer, rule.gradient, rule.call.arguments["x"], rule.parts[0])


@lowers("linear", "bias")
def linear_bias(writer: Writer, rule: RuleCall) -> bool:
    """Write Σ g."""
    (part,), g = rule.parts, rule.gradient
    if part is None or part.dtype != g.dtype or not _is_matrix(writer, g):
        return False
    m, n = g.shape[-1], math.prod(g.shape[:-1])
    step = max(ROWS, (1 << 15) // max(1, n))
    work = m * n * g.dtype.itemsize * threads.BYTE
    places = writer.at(g), writer.at(part)
    writer.row(row_sums, g.dtype, *places, m, n, step, pieces=-(-m // step), work=work)
    return True


@lowers("matmul")
def matmul(writer: Writer, call: ForwardCall) -> bool:
    """Write a b, of matrices."""
    a, b = call.arguments["a"], call.arguments["b"]
    if not _are_matrices(a, b):
        return False
    return _affine(writer, a, b, None, call.result, writer.order(b) == (0, 1))


@lowers("matmul", "a")
def matmul_a(writer: Writer, rule: RuleCall) -> bool:
    """Write g bᵀ."""
    b = rule.call.arguments["b"]
    if not _are_matrices(rule.call.arguments["a"], b):
        return False
    return _affine(writer, rule.gradient, b, None, rule.parts[0], writer.order(b) == (1, 0))


@lowers("matmul", "b")
def matmul_b(writer: Writer, rule: RuleCall) -> bool:
    """Write aᵀ g."""
    a, b = rule.call.arguments["a"], rule.call.arguments["b"]
    return _are_matrices(a, b) and _outer(writer, a, rule.gradient, rule.parts[0])


def _affine(
    writer: Writer,
    x: StepValue,
    w: StepValue,
    bias: StepValue | None,
    y: StepValue | None,
    is_turned: bool,
) -> bool:
    """Write y = w·x + b of matrices in memory; with `is_turned`, wᵀ·x + b."""
    if y is None or not (_is_matrix(writer, x) and _is_matrix(writer, y)):
        return False
    if any(value.dtype != y.dtype for value in (x, w, *([bias] if bias is not None else []))):
        return False
    m, k, n = y.shape[-1], x.shape[-1], math.prod(x.shape[:-1])
    places = writer.at(w), writer.at(x), writer.at(x if bias is None else bias), writer.at(y)
    kernel = turned_product if is_turned else product
    _product_row(writer, kernel, y, places, (m, k, n), k * n, int(bias is not None))
    return True


def _outer(writer: Writer, g: StepValue, x: StepValue, c: StepValue | None) -> bool:
    """Write gᵀ x of matrices (N, m) and (N, k), in the order that the result has in memory."""
    if c is None or not (_is_matrix(writer, g) and _is_matrix(writer, x)):
        return False
    if not g.dtype == x.dtype == c.dtype:
        return False
    if writer.order(c) == (1, 0):
        g, x = x, g
    m, k, n = g.shape[-1], x.shape[-1], math.prod(g.shape[:-1])
    places = writer.at(g), writer.at(x), writer.at(c)
    _product_row(writer, outer_product, c, places, (m, k, n), k * n)
    return True


def _product_row(
    writer: Writer,
    kernel: Kernel,
    result: StepValue,
    places: tuple[int, ...],
    sizes: tuple[int, int, int],
    each: int,
    *flags: int,
) -> None:
    """Write a row of a product, `each` multiply-adds for a row of the result, in pieces of rows."""
    step = max(ROWS, SMALL // max(1, each) // ROWS * ROWS)
    m = sizes[0]
    pieces, most = -(-m // step), min(m, step) * each
    operands = (*places, *sizes, step, *flags)
    writer.row(kernel, result.dtype, *operands, pieces=pieces, work=m * each, product=most)


def _is_matrix(writer: Writer, value: StepValue) -> bool:
    """Return whether the last axis is the slowest in memory, and the others follow as in all."""
    order = [axis for axis in writer.order(value) if value.shape[axis] > 1]
    features = len(value.shape) - 1
    wanted = [axis for axis in (features, *range(features - 1, -1, -1)) if value.shape[axis] > 1]
    return order == wanted


def _are_matrices(a: object, b: object) -> bool:
    values = (a, b)
    return all(isinstance(v, StepValue) and len(v.shape) == 2 for v in values)
