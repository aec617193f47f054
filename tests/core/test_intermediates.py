"""Intermediates: differentiable values that the forward and the rules of an op share."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import numpy as np
import pytest

import tinygrad_cnn as tg
from tinygrad_cnn.check import check_gradients, check_op

pytestmark = pytest.mark.usefixtures("ops_of_its_own")


def gravity(computed: list[str] | None = None) -> Any:
    """Declare m / |x|², whose `square` is computed from another intermediate, `size`."""
    seen = [] if computed is None else computed

    @tg.op(formula="scale·m / |x|²", elementwise=True)
    def gravity(x: Any, m: Any, scale: float = 1.0, *, square: Any = ...) -> Any:
        seen.append("forward")
        return scale * m / square

    @gravity.intermediate
    def size(x: Any) -> Any:
        seen.append("size")
        return tg.sqrt(x * x)

    @gravity.intermediate
    def square(size: Any) -> Any:
        seen.append("square")
        return size * size

    @gravity.derivative("x", formula="−2·g·scale·m·x / |x|⁴")
    def _(g: Any, *, x: Any, m: Any, square: Any, scale: float) -> Any:
        return g * (-2.0 * scale) * m * x / (square * square)

    @gravity.derivative("m", formula="g·scale / |x|²")
    def _(g: Any, *, square: Any, scale: float) -> Any:
        return g * scale / square

    return gravity


X, M = np.array([1.5, -2.0, 3.0]), np.array([2.0, 0.5, -1.0])


def leaves() -> tuple[tg.Tensor, tg.Tensor]:
    return tg.Tensor(X, requires_grad=True), tg.Tensor(M, requires_grad=True)


@pytest.mark.parametrize("order", [1, 2])
def test_derivatives_pass_through_an_intermediate(order: int) -> None:
    op = gravity()
    check_gradients(op, X, M, order=order)
    check_gradients(lambda x: op(x, M, scale=3.0), X, order=order)
    check_gradients(lambda m: op(X, m), M, order=order)


def test_an_op_with_intermediates_passes_every_check() -> None:
    check_op(gravity(), {"x": X, "m": M, "scale": 2.0})


def test_values_are_those_of_an_op_without_intermediates() -> None:
    x, m = leaves()
    y = gravity()(x, m, scale=2.0)
    np.testing.assert_allclose(y.numpy(), 2.0 * M / X**2)
    y.backward(np.ones(3))
    assert x.grad is not None
    np.testing.assert_allclose(x.grad, -4.0 * M / X**3)
    first = tg.grad(gravity()(x, m).sum(), x, create_graph=True)[0]
    np.testing.assert_allclose(tg.grad(first.sum(), x)[0], 6.0 * M / X**4)
    np.testing.assert_allclose(gravity()(X, M), M / X**2)  # arrays


def test_each_is_computed_once_and_again_only_for_a_graph_of_the_sweep() -> None:
    computed: list[str] = []
    op = gravity(computed)
    x, m = leaves()
    y = op(x, m)
    assert computed == ["size", "square", "forward"]
    tg.grad(y.sum(), [x, m], retain_graph=True)
    assert computed == ["size", "square", "forward"]
    tg.grad(y.sum(), [x, m], create_graph=True)
    assert computed == ["size", "square", "forward", "size", "square"]


def test_only_what_a_wanted_rule_asks_for_is_saved() -> None:
    op = gravity()
    x, m = leaves()
    assert op.derivatives["x"].needs == ("x", "m", "square", "scale")
    assert op.reads("m") == {"square", "size", "x", "scale"}
    node = op(X, m).node
    # square for the rule; x to compute it again, through size, which no rule asks for
    assert node.plan.names == ("square", "scale", "x")
    np.testing.assert_array_equal(node.saved[0], X * X)
    assert op(x, M).node.plan.names == ("x", "m", "square", "scale")


def test_an_intermediate_that_only_another_needs_is_dropped_before_the_forward() -> None:
    found: list[Any] = []

    @tg.op(formula="|x|")
    def length(x: Any, *, root: Any = ...) -> Any:
        found.append(found[0]())
        return root

    @length.intermediate
    def square(x: Any) -> Any:
        result = x * x
        found.append(weakref.ref(result))
        return result

    @length.intermediate
    def root(square: Any) -> Any:
        return tg.sqrt(square)

    np.testing.assert_array_equal(length(X), np.abs(X))
    assert found[1] is None


def test_a_saved_intermediate_is_freed_with_the_graph() -> None:
    x, m = leaves()
    y = gravity()(x, m)
    saved = weakref.ref(y.node.saved[y.node.plan.names.index("square")])
    gc.disable()
    try:
        y.sum().backward()
        assert saved() is None
    finally:
        gc.enable()
    with pytest.raises(tg.GraphFreedError):
        y.sum().backward()
    with tg.no_grad():
        assert gravity()(x, m).node is None


def test_a_changed_argument_of_an_intermediate_raises() -> None:
    x, m = leaves()
    y = gravity()(x, m)
    x.data[0] = 9.0
    with pytest.raises(tg.ChangedInPlaceError, match="gravity had saved it"):
        y.sum().backward()


def test_an_intermediate_that_is_part_of_an_array_is_copied() -> None:
    @tg.op(formula="w·x₀")
    def by_first(x: Any, w: Any, *, first: Any = ...) -> Any:
        return w * first

    @by_first.intermediate
    def first(x: Any) -> Any:
        return x[:1]

    by_first.derivative("w", formula="g·x₀")(lambda g, *, first: g * first)
    by_first.derivative("x", formula="…")(lambda g, *, x, w: NotImplemented)
    x, w = X.copy(), tg.Tensor(M, requires_grad=True)
    y = by_first(x, w)
    x[0] = 100.0
    np.testing.assert_array_equal(tg.grad(y.sum(), w)[0], np.full(3, X[0]))


def test_the_forward_of_a_user_may_not_write_to_an_intermediate() -> None:
    @tg.op(formula="2·x²")
    def spoiled(x: Any, *, square: Any) -> Any:
        square *= 2.0
        return square

    @spoiled.intermediate
    def square(x: Any) -> Any:
        return x * x

    with pytest.raises(ValueError, match="spoiled: the forward writes to one of its input arrays"):
        spoiled(np.ones(2))


def test_what_is_shared_is_no_argument_of_the_call() -> None:
    op = gravity()
    assert op.parameters == ("x", "m", "scale")
    assert str(op.signature) == "(x: 'Any', m: 'Any', scale: 'float' = 1.0) -> 'Any'"
    with pytest.raises(TypeError, match=r"gravity\(\) got an unexpected keyword argument 'square'"):
        op(X, M, square=X)


def test_an_intermediate_that_is_missing_or_no_array_is_refused() -> None:
    @tg.op(formula="x·r")
    def lacking(x: Any, *, root: Any = ...) -> Any:
        return x * root

    with pytest.raises(TypeError, match=r"asks for root, but @lacking\.intermediate declares no"):
        lacking(X)
    lacking.intermediate(root := named("root", lambda x: [x]))
    with pytest.raises(TypeError, match="lacking: the intermediate root is list, expected an arr"):
        lacking(X)
    assert root(1) == [1]


def named(name: str, function: Any) -> Any:
    function.__name__ = name
    return function


@pytest.mark.parametrize(
    ("function", "says"),
    [
        (lambda z: z, "'z' is none of y, static, x, m, scale, size, square"),
        (lambda y: y, "an intermediate cannot read 'y'"),
        (lambda late: late, "'late' is none of"),
    ],
)
def test_an_intermediate_of_an_unknown_name_is_refused(function: Any, says: str) -> None:
    op = gravity()
    with pytest.raises(TypeError, match=f"op gravity: {says}"):
        op.intermediate(named("late", function))
    assert "late" not in op.intermediates


@pytest.mark.parametrize("name", ["x", "y", "<lambda>"])
def test_an_intermediate_has_a_name_of_its_own(name: str) -> None:
    with pytest.raises(TypeError, match=f"op gravity: an intermediate cannot be named '{name}'"):
        gravity().intermediate(named(name, lambda x: x))


def test_an_intermediate_of_the_gradient_is_computed_once_a_sweep_and_only_there() -> None:
    computed: list[str] = []

    @tg.op(formula="a·b", elementwise=True)
    def product(a: Any, b: Any) -> Any:
        return a * b

    @product.intermediate
    def flow(g: Any, a: Any, b: Any) -> Any:
        computed.append(type(g).__name__)
        return g * a * b

    product.derivative("a", formula="g·b")(lambda g, *, flow, a: flow / a)
    product.derivative("b", formula="g·a")(lambda g, *, flow, b: flow / b)
    try:
        x, m = leaves()
        y = product(x, m)
        assert (computed, y.node.plan.names) == ([], ("a", "b"))
        dx, dm = tg.grad(y.sum(), [x, m], retain_graph=True)
        np.testing.assert_allclose([dx, dm], [M, X])
        (dx,) = tg.grad(y.sum(), x, create_graph=True)
        np.testing.assert_allclose(tg.grad(dx.sum(), m)[0], 1.0)
        assert computed == ["ndarray", "Tensor"]
        with pytest.raises(TypeError, match="an intermediate cannot read 'flow'"):
            product.intermediate(named("late", lambda flow: flow))
    finally:
        del tg.OPS["product"]


@pytest.mark.parametrize(
    ("shared", "says"),
    [
        (lambda g: np.multiply(g, 2.0, out=g), "the intermediate shared of product writes to"),
        (lambda g: None, "the intermediate shared of product is NoneType, expected an array"),
        (lambda g: g * 1.0, "the derivative of product with respect to a writes to"),
    ],
)
def test_a_mistake_in_an_intermediate_of_the_gradient_is_named(shared: Any, says: str) -> None:
    @tg.op(formula="a·b", elementwise=True)
    def product(a: Any, b: Any) -> Any:
        return a * b

    def first(g: Any, *, shared: Any, b: Any) -> Any:
        shared *= b
        return shared

    product.intermediate(named("shared", shared))
    product.derivative("a", formula="g·b")(first)
    product.derivative("b", formula="g·a")(lambda g, *, shared, a: shared * a)
    pair = leaves()
    try:
        with pytest.raises((TypeError, ValueError), match=says):
            tg.grad(product(*pair).sum(), pair[0])
    finally:
        del tg.OPS["product"]


def test_the_gradient_of_an_intermediate_comes_first_and_no_forward_asks_for_it() -> None:
    with pytest.raises(TypeError, match="op gravity: the intermediate late takes g, but not first"):
        gravity().intermediate(named("late", lambda x, g: g))

    @tg.op(formula="a", elementwise=True)
    def same(a: Any, *, late: Any = ...) -> Any:
        return a

    try:
        same.intermediate(named("late", lambda g: g))
        with pytest.raises(TypeError, match="asks for late, which depends on the gradient"):
            same(np.ones(2))
    finally:
        del tg.OPS["same"]


def test_a_residual_may_not_depend_on_an_intermediate() -> None:
    with pytest.raises(TypeError, match="a residual cannot read 'square'"):
        gravity().residual(lambda square: square)


def test_an_op_of_a_sequence_may_have_one() -> None:
    @tg.op(formula="(Σ x)²", sequence=True)
    def squared_sum(parts: Any, *, total: Any = ...) -> Any:
        return total * total

    @squared_sum.intermediate
    def total(parts: Any) -> Any:
        result = parts[0]
        for part in parts[1:]:
            result = result + part
        return result

    @squared_sum.derivative("parts", formula="2·g·Σ x")
    def _(g: Any, *, parts_shape: Any, total: Any) -> Any:
        return [g * 2.0 * total for _ in parts_shape]

    check_gradients(lambda a, b, c: squared_sum([a, b, c]), X, M, M * X, order=2)
