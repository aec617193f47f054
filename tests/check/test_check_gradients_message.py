"""A wrong gradient is told so that it can be mended: pattern, op, rule, and how to see it again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

import tinygrad_cnn as tg
from tinygrad_cnn.check import GradientMismatch, check_gradients

Array = np.ndarray[Any, Any]


def normal(*shape: int) -> Array:
    return np.random.default_rng(0).normal(size=shape)


@contextmanager
def planted(name: str, of: str, rule: Callable[..., Any]) -> Iterator[None]:
    """Give an op another rule, of the same formula."""
    op = tg.OPS[name]
    right = op.derivatives[of]
    stated = {"formula": right.formula, "latex": right.latex, "equation": right.equation}
    op.derivative(of, **stated)(rule)
    try:
        yield
    finally:
        op.derivative(of, **stated)(right.rule)


def message(f: Any, *arrays: Array, **options: Any) -> GradientMismatch:
    with pytest.raises(GradientMismatch) as caught:
        check_gradients(f, *arrays, **options)
    return caught.value


# --- a whole message -----------------------------------------------------------------------------

MESSAGE = """\
the gradient for input 1 (w) does not match the values of f
  entry      (0, 2)
  backward   8.27965
  values     2.75988  (complex step, tolerance 3.3e-12)
  wrong      6 of 6 entries: factor 3
the rule of `linear` for w is at fault, called in `fc1`
  forward    x wᵀ + b  (eq 14)
  ∂/∂w       gᵀ x  (eq 26)
  by itself  6 of 6 entries wrong: factor 3
  see again  tg.check.check_gradients(lambda x, w: tg.OPS['linear'](x=x, w=w), \
np.array([[1.0, 2.0, -1.0], [0.5, 0.0, 3.0]]), np.array([[0.5, -1.0, 0.0], [2.0, 1.0, -0.5]]))"""


def test_message_names_everything() -> None:
    def rule(g: Any, *, x: Any) -> Any:
        return (g.T @ x) * 3.0

    def f(x: tg.Tensor, w: tg.Tensor) -> tg.Tensor:
        with tg.scope("fc1"):
            return tg.linear(x, w)

    x = np.array([[1.0, 2.0, -1.0], [0.5, 0.0, 3.0]])
    w = np.array([[0.5, -1.0, 0.0], [2.0, 1.0, -0.5]])
    with planted("linear", "w", rule):
        error = message(f, x, w)
    assert str(error) == MESSAGE
    assert (error.order, error.input, error.entry) == (1, "input 1 (w)", (0, 2))
    assert (error.op, error.parameter) == ("linear", "w")
    assert error.pattern == "factor 3"


# --- patterns ------------------------------------------------------------------------------------

image, kernels = normal(2, 2, 6, 6), normal(4, 2, 3, 3)


def conv_weights(change: Callable[[Any], Any]) -> Callable[..., Any]:
    def rule(
        g: Any, *, x: Any, w_shape: Any, stride: Any, padding: Any, dilation: Any, groups: Any
    ) -> Any:
        right = tg.conv2d_weight_gradient(g, x, w_shape, stride, padding, dilation, groups)
        return change(right)

    return rule


def conv_image(change: Callable[[Any], Any]) -> Callable[..., Any]:
    def rule(
        g: Any, *, w: Any, x_shape: Any, stride: Any, padding: Any, dilation: Any, groups: Any
    ) -> Any:
        right = tg.conv2d_input_gradient(g, w, x_shape, stride, padding, dilation, groups)
        return change(right)

    return rule


def scaled(factor: float, *index: Any) -> Callable[[Any], Any]:
    """Return a function that scales a part of an array."""

    def change(array: Any) -> Any:
        factors = np.ones(array.shape)
        factors[index] = factor
        return array * factors

    return change


def on_border(array: Any) -> Any:
    factors = np.full(array.shape, 2.0)
    factors[..., 1:-1, 1:-1] = 1.0
    return array * factors


def conv(x: Any, w: Any) -> Any:
    return tg.conv2d(x, w, stride=2)


def padded(x: Any, w: Any) -> Any:
    return tg.conv2d(x, w, padding=1)


every = slice(None)

PATTERNS: list[tuple[str, str, str, Callable[..., Any], Any, list[Array]]] = [
    ("the sign", "tanh", "x", lambda g, *, y: g * (y * y - 1.0), tg.tanh, [normal(3)]),
    ("factor 2", "exp", "x", lambda g, *, y: g * y * 2.0, tg.exp, [normal(3)]),
    ("factor 2.71828", "exp", "x", lambda g, *, y: g * y * np.e, tg.exp, [normal(3)]),
    ("zero", "exp", "x", lambda g, *, y: g * y * 0.0, tg.exp, [normal(3)]),
    (
        "not finite", "exp", "x", lambda g, *, y: g * y * np.nan, tg.exp, [normal(3)],
    ),
    ("off by a constant, 0.5", "exp", "x", lambda g, *, y: g * y + 0.5, tg.exp, [normal(3)]),
    (
        "factor 1/2: temperature", "softmax", "x",
        lambda g, *, y, axis: y * (g - tg.sum(g * y, axis, True)),
        lambda x: tg.softmax(x, temperature=0.5), [normal(2, 3)],
    ),
    (
        "factor 12: the number of elements of x (a sum for a mean?)", "mean", "x",
        lambda g, *, x_shape: tg.broadcast_to(g, x_shape), lambda x: tg.mean(x), [normal(3, 4)],
    ),
    (
        "factor 1/12: 1 / the number of elements of x (a mean for a sum?)", "sum", "x",
        lambda g, *, x_shape: tg.broadcast_to(g * (1 / 12), x_shape), lambda x: tg.sum(x),
        [normal(3, 4)],
    ),
    (
        "only the diagonal of the Jacobian: the dependence on other inputs is missing",
        "softmax", "x", lambda g, *, y: g * y * (1.0 - y), tg.softmax, [normal(2, 3)],
    ),
    (
        "transposed", "matmul", "a", lambda g, *, b: tg.transpose(g @ b.T), tg.matmul,
        [normal(3, 3), normal(3, 3)],
    ),
    (
        "swapped along axes 2, 3 (kernel row, kernel column)", "conv2d", "w",
        conv_weights(lambda right: tg.transpose(right, (0, 1, 3, 2))), conv, [image, kernels],
    ),
    (
        "flipped along axes 2, 3 (kernel row, kernel column)", "conv2d", "w",
        conv_weights(lambda right: tg.flip(right, (2, 3))), conv, [image, kernels],
    ),
    (
        "shifted by 1 along axis 2 (row)", "conv2d", "x",
        conv_image(lambda right: tg.concatenate([right[:, :, :1] * 0.0, right[:, :, :-1]], 2)),
        conv, [normal(1, 2, 7, 7), kernels],
    ),
    (
        "all entries at kernel row 1 (axis 2 = 1): factor 4", "conv2d", "w",
        conv_weights(scaled(4.0, every, every, 1)), conv, [image, kernels],
    ),
    (
        "all entries at output channels 0, 2 (axis 0 in {0, 2}): zero", "conv2d", "w",
        conv_weights(scaled(0.0, slice(None, None, 2))), conv, [image, kernels],
    ),
    (
        "zero where the stride leaves a remainder: the last row (axis 2 = 6)", "conv2d", "x",
        conv_image(scaled(0.0, every, every, 6)), conv, [normal(1, 2, 7, 7), kernels],
    ),
    (
        "all entries on the border (axes 2, 3): factor 2", "conv2d", "x",
        conv_image(on_border), padded, [normal(1, 2, 5, 5), kernels],
    ),
    (
        "all entries off the diagonal: zero", "mul", "a",
        lambda g, *, b: g * b * np.eye(3), tg.mul, [normal(3, 3), normal(3, 3)],
    ),
]  # fmt: skip


@pytest.mark.parametrize(
    ("pattern", "op", "of", "rule", "f", "arrays"), PATTERNS, ids=[row[0] for row in PATTERNS]
)
def test_pattern(pattern: str, op: str, of: str, rule: Any, f: Any, arrays: list[Array]) -> None:
    with planted(op, of, rule):
        error = message(f, *arrays)
    assert error.pattern == pattern
    assert (error.op, error.parameter) == (op, of)
    assert check_gradients(f, *arrays)  # the mistake is out again


def test_as_many_digits_are_shown_as_differ() -> None:
    error = message(lambda x: x + x.detach() * 1e-9, np.array([1.0, 2.0, -1.0]))
    assert "backward   -1.13696168732\n" in str(error)
    assert "values     -1.13696168846  " in str(error)
    assert error.pattern == "by 1.0e-09 of the largest"


def test_wrong_entries_of_a_large_input_are_found() -> None:
    def only_one(array: Any) -> Any:
        factors = np.ones(array.shape)
        factors[1, 0, 17, 3] = 1.5
        return array * factors

    with planted("conv2d", "x", conv_image(only_one)):
        error = message(lambda x, w: tg.conv2d(x, w), normal(2, 3, 24, 24), normal(2, 3, 3, 3))
    assert error.entry == (1, 0, 17, 3)
    assert "1 of " in str(error)


# --- whose mistake -------------------------------------------------------------------------------


def network(x: Any, w: Any, v: Any) -> Any:
    with tg.scope("features"):
        x = tg.maxpool(tg.relu(tg.conv2d(x, w, padding=1)), 2)
    with tg.scope("head"):
        return tg.mse(tg.sigmoid(tg.linear(x.reshape(len(x), -1), v)), np.full((2, 3), 0.5))


NETWORK = [normal(2, 1, 4, 4), normal(2, 1, 3, 3), normal(3, 8)]

CULPRITS: list[tuple[str, str, str, Callable[..., Any]]] = [
    ("features", "conv2d", "w", conv_weights(lambda right: -right)),
    ("features", "relu", "x", lambda g, *, x: g * 1.0),
    ("head", "linear", "x", lambda g, *, w: (g @ w) * 0.5),
    ("head", "sigmoid", "x", lambda g, *, y: g * y),
    ("head", "mse", "prediction", lambda g, *, prediction, target: g * (prediction - target)),
]


@pytest.mark.parametrize(("scope", "op", "of", "rule"), CULPRITS, ids=[c[1] for c in CULPRITS])
@pytest.mark.parametrize("method", ["auto", "central"])
def test_rule_at_fault_is_named(scope: str, op: str, of: str, rule: Any, method: str) -> None:
    with planted(op, of, rule):
        error = message(network, *NETWORK, method=method)
    assert (error.op, error.parameter) == (op, of)
    assert f"the rule of `{op}` for {of} is at fault, called in `{scope}`" in str(error)
    assert tg.OPS[op].derivatives[of].formula in str(error)


def constant(x: Any) -> Any:
    """Return `x` cut off from the graph."""
    return getattr(x, "_array", x)


def test_rule_that_is_wrong_when_differentiated_is_named() -> None:
    with planted("exp", "x", lambda g, *, y: g * constant(y)):
        assert check_gradients(lambda x: tg.exp(2.0 * x), normal(3))
        error = message(lambda x: tg.exp(2.0 * x), normal(3), order=2)
    assert (error.order, error.input, error.op) == (2, "input 0 (x)", "exp")
    assert "the second derivative for input 0 (x)" in str(error)
    assert "is at fault when it is differentiated again (order 2)" in str(error)


def test_rule_that_drops_what_flows_in_is_caught_at_order_two() -> None:
    with planted("exp", "x", lambda g, *, y: constant(g) * y):
        error = message(tg.exp, normal(3), order=2)
    assert error.input == "g"
    assert "the gradient that flows in" in str(error)


def test_of_two_rules_the_one_that_is_wrong_when_differentiated_is_named() -> None:
    with planted("matmul", "a", lambda g, *, b: constant(g) @ b.T):
        error = message(tg.matmul, normal(2, 3), normal(3, 2), order=2)
    assert (error.op, error.parameter) == ("matmul", "a")


def test_op_within_a_rule_is_named() -> None:
    def wrong(
        g: Any, *, u: Any, x_shape: Any, stride: Any, padding: Any, dilation: Any, groups: Any
    ) -> Any:
        return tg.conv2d_input_gradient(u, g, x_shape, stride, padding, dilation, groups) * 2.0

    with planted("conv2d_weight_gradient", "x", wrong):
        error = message(tg.conv2d, normal(1, 1, 4, 4), normal(1, 1, 2, 2), order=2)
    assert (error.op, error.parameter) == ("conv2d_weight_gradient", "x")


def test_mistake_between_the_ops_blames_none() -> None:
    error = message(lambda x: x * x.detach(), normal(3))
    assert (error.op, error.parameter) == ("", "")
    assert "each op on the way is correct by itself" in str(error)


# --- seen again ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pattern", "op", "of", "rule", "f", "arrays"), PATTERNS, ids=[row[0] for row in PATTERNS]
)
def test_the_line_shows_it_again(
    pattern: str, op: str, of: str, rule: Any, f: Any, arrays: list[Array]
) -> None:
    with planted(op, of, rule):
        error = message(f, *arrays, seed=3)
        line = str(error).splitlines()[-1].removeprefix("  see again  ")
        with pytest.raises(GradientMismatch) as again:
            eval(line, {"tg": tg, "np": np, "error": error})
    assert (again.value.op, again.value.parameter) == (op, of)


def test_numbers_are_rounded_only_if_that_shows_it_too() -> None:
    def rule(g: Any, *, y: Any) -> Any:
        return g * y * (1.0 + ((y > 1.02) & (y < 1.03)))

    with planted("exp", "x", rule):
        error = message(tg.exp, np.array([0.0251234, 1.0]))
    assert str(error).endswith("np.array([0.025, 1.0]))")


def test_large_arrays_are_drawn_again_from_a_seed() -> None:
    with planted("tanh", "x", lambda g, *, y: g * y):
        error = message(tg.tanh, normal(20, 20))
        assert str(error).endswith("(x=x), np.random.default_rng(0).normal(size=(20, 20)))")
        assert error.arrays[0].shape == (20, 20)
