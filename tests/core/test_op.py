"""Declaring an op: what is read from it, and what is refused."""

from __future__ import annotations

import copy
import pickle
import traceback
from typing import Any

import numpy as np
import pytest

import tinygrad_cnn as tg
from tinygrad_cnn.check import check_gradients

pytestmark = pytest.mark.usefixtures("ops_of_its_own")


def cube() -> Any:
    @tg.op(formula="x³", latex="x^3", equation="99", elementwise=True)
    def cube(x: Any) -> Any:
        """Return x³."""
        return x * x * x

    @cube.derivative("x", formula="g·3x²", latex="3x^2 g", equation="100")
    def _(g: Any, *, x: Any) -> Any:
        return g * (3.0 * x * x)

    return cube


def test_an_op_keeps_its_declaration() -> None:
    op = cube()
    assert tg.OPS["cube"] is op
    assert (op.name, op.formula, op.latex, op.equation) == ("cube", "x³", "x^3", "99")
    assert op.__doc__ == "Return x³."
    assert op.__name__ == "cube"
    assert "cube" in repr(op)
    assert "x³" in repr(op)
    derivative = op.derivatives["x"]
    assert (derivative.of, derivative.needs) == ("x", ("x",))
    assert (derivative.formula, derivative.equation) == ("g·3x²", "100")


def test_a_new_op_has_derivatives_of_any_order() -> None:
    op = cube()
    check_gradients(op, np.array([1.5, -2.0]), order=3)
    x = tg.Tensor(2.0, requires_grad=True)
    y = op(x)
    for expected in (12, 12, 6):
        (y,) = tg.grad(y, x, create_graph=True)
        assert y.item() == expected


def test_arrays_in_arrays_out_and_nothing_recorded() -> None:
    assert type(cube()(np.ones(2))) is np.ndarray


def test_a_rule_is_given_what_it_names() -> None:
    given: dict[str, Any] = {}

    @tg.op(formula="k·a·b")
    def scaled(a: Any, b: Any, k: float = 2.0) -> Any:
        return k * a * b

    @scaled.residual
    def branch(a: Any, y: Any, k: float) -> Any:
        return (a > k) & (y > 0)

    @scaled.derivative("a", formula="…")
    def _(
        g: Any, *, a: Any, b: Any, k: float, y: Any,
        a_shape: Any, b_shape: Any, y_shape: Any, branch: Any,
    ) -> Any:  # fmt: skip
        given.update(locals())
        return g * b * k

    a = tg.Tensor([1.0, 3.0], requires_grad=True)
    y = scaled(a, np.array([4.0, 5.0]))
    assert tg.grad(y.sum(), a)[0].tolist() == [8, 10]
    arrays = {name: given[name].tolist() for name in ("g", "a", "b", "y", "branch")}
    assert arrays == {
        "g": [1, 1], "a": [1, 3], "b": [4, 5], "y": [8, 30], "branch": [False, True],
    }  # fmt: skip
    assert (given["k"], given["a_shape"], given["b_shape"], given["y_shape"]) == (
        2,
        (2,),
        (2,),
        (2,),
    )


def test_an_operand_without_a_rule_must_not_want_a_gradient() -> None:
    @tg.op(formula="a·c")
    def half_done(a: Any, c: Any) -> Any:
        return a * c

    half_done.derivative("a", formula="g·c")(lambda g, *, c: g * c)
    a, c = tg.Tensor(2.0, requires_grad=True), tg.Tensor(3.0, requires_grad=True)
    with pytest.raises(TypeError, match=r"half_done has no derivative .* c, .*detach\(\)"):
        half_done(a, c)
    y = half_done(a, c.detach())
    assert tg.grad(y, a) == [3]
    with tg.no_grad():
        assert half_done(a, c).item() == 6


def test_operands_keep_the_order_of_the_parameters() -> None:
    @tg.op(formula="a·b + c")
    def fused(a: Any, n: Any, b: Any, c: float = 0.0) -> Any:
        return a * b + c

    assert fused.operands == ()
    for of in ("c", "b", "a"):
        fused.derivative(of, formula="…")(lambda g: g)
    assert (fused.operands, fused.static) == (("a", "b", "c"), ())
    assert product().operands == ("factors",)


def product(complete: bool = True) -> Any:
    @tg.op(formula="Π x", sequence=True)
    def product_of(factors: Any, scale: float = 1.0) -> Any:
        result = scale
        for factor in factors:
            result = result * factor
        return result

    @product_of.derivative("factors", formula="g·Π others")
    def _(g: Any, *, factors: Any, scale: float) -> Any:
        gradients = []
        for i in range(len(factors)):
            gradient = g * scale
            for j, other in enumerate(factors):
                gradient = gradient if i == j else gradient * other
            gradients.append(gradient)
        return gradients

    return product_of


def test_an_op_of_a_sequence_has_derivatives_of_any_order() -> None:
    op = product()

    def of_three(*factors: Any) -> Any:
        return op(list(factors), scale=2.0)

    xs = [np.array([1.5, -2.0]), np.array([0.5, 3.0]), np.array([2.0, 1.0])]
    check_gradients(of_three, *xs, order=2)


def test_a_member_of_a_sequence_that_is_changed_in_place_raises() -> None:
    op = product()
    a, b = (tg.Tensor([2.0], requires_grad=True, name=name) for name in ("a", "b"))
    y = op([a, b])
    b.data[0] = 5
    with pytest.raises(tg.ChangedInPlaceError, match="b of shape"):
        y.backward()


def test_an_array_in_a_sequence_may_be_changed_after_the_call() -> None:
    op = product()
    a, constant = tg.Tensor([2.0], requires_grad=True, dtype="f8"), np.array([3.0])
    y = op([a, constant])
    constant[0] = 100
    assert tg.grad(y, a) == [3]


# --- refusals ------------------------------------------------------------------------------------


def test_a_name_that_another_module_has_registered_is_refused() -> None:
    with pytest.raises(ValueError, match=r"tanh exists already, in tinygrad_cnn\.ops\.activation"):

        @tg.op(formula="…")
        def tanh(x: Any) -> Any:
            return x

    assert tg.OPS["tanh"] is tg.tanh


def test_the_same_module_may_declare_an_op_anew() -> None:
    """As a notebook does whose cell is run twice."""
    first, second = cube(), cube()
    assert tg.OPS["cube"] is second is not first


def test_a_rule_may_ask_for_all_static_arguments_at_once() -> None:
    @tg.op(formula="x·k + c")
    def affine(x: Any, k: float = 2.0, c: float = 0.0) -> Any:
        return x * k + c

    @affine.derivative("x", formula="g·k")
    def _(g: Any, *, static: dict[str, Any]) -> Any:
        assert static == {"k": 5.0, "c": 0.0}
        return g * static["k"]

    x = tg.Tensor(1.0, requires_grad=True)
    assert tg.grad(affine(x, k=5.0), x)[0] == 5.0


def test_a_derivative_of_an_unknown_parameter_is_refused() -> None:
    with pytest.raises(TypeError, match="cube: no parameter 'z'"):
        cube().derivative("z", formula="…")


@pytest.mark.parametrize("unknown", ["z", "z_shape", "x_size", "shape", "g"])
def test_a_rule_that_needs_an_unknown_name_is_refused(unknown: str) -> None:
    namespace: dict[str, Any] = {}
    exec(f"def rule(g, *, {unknown if unknown != 'g' else 'gg'}): return g", namespace)
    op = cube()
    before = op.derivatives["x"]
    with pytest.raises(TypeError, match=r"op cube: '.*' is none of y, static, x"):
        op.derivative("x", formula="…")(namespace["rule"])
    assert op.derivatives["x"] is before


@pytest.mark.parametrize(
    "rule",
    [
        lambda: None,
        lambda x: x,
        lambda g, x: g,
        lambda g, *x: g,
        lambda g, **x: g,
        lambda g, x=1, *, y: g,
    ],
)
def test_a_rule_of_another_form_is_refused(rule: Any) -> None:
    with pytest.raises((TypeError, ValueError), match=r"cube.*\(g, \*, names\)"):
        cube().derivative("x", formula="…")(rule)


def test_a_residual_or_a_cost_that_needs_an_unknown_name_is_refused() -> None:
    with pytest.raises(TypeError, match="'z'"):
        cube().residual(lambda z: z)
    with pytest.raises(TypeError, match="'z'"):
        cube().multiply_adds(lambda z: z)


def test_parameters_named_as_the_result_or_its_gradient_are_refused() -> None:
    with pytest.raises(TypeError, match="parameter y"):

        @tg.op(formula="…")
        def takes_y(y: Any) -> Any:
            return y

    with pytest.raises(TypeError, match=r"parameter \*xs"):

        @tg.op(formula="…")
        def takes_any(*xs: Any) -> Any:
            return xs

    assert not {"takes_y", "takes_any"} & set(tg.OPS)


def test_an_op_that_writes_to_what_it_is_given_is_refused() -> None:
    @tg.op(formula="x + 1", elementwise=True)
    def writes(x: np.ndarray) -> np.ndarray:
        x += 1
        return x

    @writes.derivative("x", formula="g")
    def _(g: np.ndarray) -> np.ndarray:
        return g

    array = np.ones(2)
    for given in (array, tg.Tensor(array), tg.Tensor(array, requires_grad=True) * 2):
        with pytest.raises(
            ValueError, match="writes: the forward writes to one of its input arrays"
        ):
            writes(given)
    assert array.tolist() == [1, 1]


@pytest.mark.parametrize("create_graph", [False, True])
def test_a_rule_that_writes_to_what_it_is_given_is_refused(create_graph: bool) -> None:
    @tg.op(formula="3x", elementwise=True)
    def triple(x: np.ndarray) -> np.ndarray:
        return 3 * x

    @triple.derivative("x", formula="3g")
    def _(g: Any) -> Any:
        g *= 3
        return g

    p = tg.Tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    y = (triple(p) + p).sum()
    if create_graph:  # on Tensors, `g *= 3` makes a new one
        assert tg.grad(y, p, create_graph=True)[0].tolist() == [[4, 4], [4, 4]]
        return
    with pytest.raises(ValueError, match="derivative of triple with respect to x writes to one"):
        y.backward()
    assert p.grad is None


def test_every_op_has_a_formula_and_a_docstring_and_so_has_every_derivative() -> None:
    for name, op in tg.OPS.items():
        assert op.formula, name
        assert op.latex, name
        assert op.__doc__, name
        for derivative in op.derivatives.values():
            assert derivative.formula, name
            assert derivative.latex, name


@pytest.mark.parametrize("create_graph", [False, True])
def test_a_rule_may_hand_back_what_the_call_has_kept(create_graph: bool) -> None:
    @tg.op(formula="x²/2, for a gradient of 1", elementwise=True)
    def half_square(x: Any) -> Any:
        return x * x / 2.0

    half_square.derivative("x", formula="x")(lambda g, *, x: x)
    x = tg.Tensor([3.0, 4.0], requires_grad=True)
    (slope,) = tg.grad(half_square(x).sum(), x, create_graph=create_graph)
    if create_graph:
        (second,) = tg.grad(slope.sum(), x)
        np.testing.assert_array_equal(second, [1.0, 1.0])
        slope = slope.numpy()
    np.testing.assert_array_equal(slope, [3.0, 4.0])
    if not create_graph:
        assert not np.shares_memory(slope, x.numpy())


@pytest.mark.parametrize("name", sorted(tg.OPS))
def test_an_op_is_pickled_and_copied_as_a_function_is(name: str) -> None:
    op = tg.OPS[name]
    assert pickle.loads(pickle.dumps(op)) is op
    assert copy.deepcopy({"loss": op})["loss"] is op


def test_source_shows_what_a_call_runs() -> None:
    op = cube()
    x = tg.Tensor(2.0, requires_grad=True)
    op(x)
    assert op.source() == (
        "def bind(x):\n    return [x], [x]\n\n"
        "def read_for_x(arguments, arrays, y, shared):\n    return [kept(arguments[0], arrays[0])]"
        "\n\ndef derivative_x(g, kept):\n    return rule(g, x=kept[0])"
    )


def test_a_traceback_shows_the_compiled_line() -> None:
    op = cube()
    op.derivative("x", formula="…")(lambda g, *, x: g / None)
    y = op(tg.Tensor(2.0, requires_grad=True))
    with pytest.raises(TypeError) as raised:
        y.backward()
    frames = traceback.extract_tb(raised.value.__traceback__)
    shown = [frame.line for frame in frames if frame.filename == "<op cube>"]
    assert shown == ["return rule(g, x=kept[0])"]
