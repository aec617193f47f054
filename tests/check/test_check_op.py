"""`check_op` accepts what is right, and says what is wrong of ops that break one promise each."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from check.test_check_op_causes import (
    CAUSES,
    FORGOTTEN,
    LARGE,
    LAYOUT,
    TWICE,
    square_rule,
    squared,
    unary,
)
from check.test_formula import AGREES
from hypothesis import strategies as st

import tinygrad_cnn as tg
from tinygrad_cnn.check import GradientMismatch, OpCheckError, check_op, search
from tinygrad_cnn.check.cases import cases_of, missing_calls
from tinygrad_cnn.check.search import DERIVATIVES, PROPERTIES, RUNS
from tinygrad_cnn.check.strategies import arrays, operands

pytestmark = pytest.mark.usefixtures("ops_of_its_own", "time_to_shrink")

Op = tg.Op[..., Any]


@pytest.fixture
def time_to_shrink(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "SHRINKING", 60.0)


def broken(op: Op, inputs: Any = None, **options: Any) -> OpCheckError:
    """Return how `op` is refused."""
    with pytest.raises(OpCheckError) as info:
        check_op(op, arrays() if inputs is None else inputs, **options)
    assert str(info.value).startswith("wrong breaks “")
    assert "example: wrong(" in str(info.value)
    return info.value


# --- what is right -------------------------------------------------------------------------------


def test_a_right_op_is_reported_with_its_worst_error() -> None:
    op = unary(squared, square_rule, complex_step=True)
    report = check_op(op, arrays(), examples=10, order=3)
    assert report.op == "wrong"
    assert [row.input for row in report.operands] == ["x"]
    assert report.operands[0].order == 3
    assert report.worst < 1e-12
    assert report.examples >= 10
    assert 0 < report.seconds < 60
    header, row = str(report).splitlines()
    assert header.split() == ["op", "input", "orders", "method", "worst", "error", "examples",
                              "largest", "time"]  # fmt: skip
    assert row.split()[:2] == ["wrong", "x"]


def test_inputs_are_a_strategy_a_tuple_a_mapping_or_a_dict_that_is_drawn() -> None:
    @tg.op(formula="a·b·k", elementwise=True)
    def scaled(a: Any, b: Any, k: float = 1.0) -> Any:
        return a * b * k

    @scaled.derivative("a", formula="g·b·k")
    def _(g: Any, *, b: Any, k: float) -> Any:
        return g * b * k

    @scaled.derivative("b", formula="g·a·k")
    def _(g: Any, *, a: Any, k: float) -> Any:
        return g * a * k

    numbers = st.floats(-2, 2)
    for inputs in (
        operands(2),
        {"a": arrays((2, 3)), "b": arrays((3,)), "k": numbers},
        {"a": arrays(), "b": numbers, "k": 2.0},
        st.fixed_dictionaries({"a": arrays((2,)), "b": arrays(()), "k": numbers}),
    ):
        assert [row.input for row in check_op(scaled, inputs, examples=5).operands] == ["a", "b"]
    only = check_op(scaled, operands(2), of=["b"], examples=5)
    assert [row.input for row in only.operands] == ["b"]


def test_an_op_of_a_list_takes_a_strategy_for_the_list() -> None:
    report = check_op(tg.concatenate, st.lists(arrays((2, 3)), min_size=1, max_size=3), examples=5)
    assert [row.input for row in report.operands] == ["arrays"]


def test_the_same_seed_tries_the_same_calls() -> None:
    def tried(seed: int) -> list[Any]:
        seen = []

        def forward(x: Any) -> Any:
            seen.append(np.real(x).tolist())
            return x * x

        check_op(unary(forward, square_rule), arrays(), examples=5, seed=seed)
        return seen

    assert tried(1) == tried(1)
    assert tried(1) != tried(2)


# --- what is wrong -------------------------------------------------------------------------------


def test_a_wrong_derivative_is_a_gradient_mismatch_with_the_smallest_example() -> None:
    error = broken(unary(squared, lambda g, *, x: g * x))
    assert isinstance(error, GradientMismatch)
    assert (error.op, error.property, error.parameter) == ("wrong", DERIVATIVES, "x")
    assert error.example == "wrong(x=np.array(0.0625))"
    assert error.order == 1
    assert "backward" in str(error)


def test_a_wrong_second_derivative_is_found() -> None:
    def constant(x: Any) -> Any:
        return x.detach() if isinstance(x, tg.Tensor) else x

    error = broken(unary(squared, lambda g, *, x: g * (2.0 * constant(x))))
    assert (error.property, error.order) == (DERIVATIVES, 2)
    check_op(tg.OPS["wrong"], arrays(), order=1)


class Memory:
    """A rule that allocates once, and hands the same array out every time."""

    array: Any = None

    def __call__(self, g: Any, *, x: Any) -> Any:
        if isinstance(g, tg.Tensor):
            return g * (2.0 * x)
        if self.array is None or (self.array.shape, self.array.dtype) != (x.shape, x.dtype):
            self.array = np.empty_like(x)
        self.array[...] = g * (2.0 * x)
        return self.array


def overwriting(x: Any) -> Any:
    y = np.asarray(x)
    if y.dtype == np.float64:
        y += 1.0
        return y - 1.0
    return y + 0.0


def greedy(g: Any, *, x: Any) -> Any:
    """Work in what flows in, to save memory."""
    if isinstance(g, np.ndarray) and g.shape == x.shape:
        np.multiply(g, 2.0 * x, out=g)
        return g
    return g * (2.0 * x)


def by_strides(x: Any) -> Any:
    """Read a Fortran array as if it were a C one."""
    memory = np.asarray(x)
    return np.array(memory.reshape(-1, order="A").reshape(memory.shape))


def summed(x: Any) -> Any:
    """Lose digits in float32: add a large number and take it away."""
    y = np.asarray(x)
    big = y.dtype.type(1e7)
    return (y + big) - big


ALWAYS_WRONG: dict[str, tuple[Op | Any, ...]] = {
    "arrays and Tensors give the same": (
        lambda x: x if np.ndim(x) else float(np.real(x)),
        lambda g: g,
    ),
    "the complex forward continues the real one": (
        lambda x: x * x + (1.0 if np.iscomplexobj(x) else 0.0),
        square_rule,
    ),
    "the forward does not write to its arguments": (overwriting, lambda g: g),
    "memory layout does not matter": (by_strides, lambda g: g),
    "float32 stays float32": (squared, lambda g, *, x: g * (x * np.float64(2.0))),
    "float32 agrees with float64": (summed, lambda g: g),
    "no rule writes to its arguments": (squared, greedy),
}


@pytest.mark.parametrize("text", ALWAYS_WRONG)
def test_an_op_that_breaks_one_property_is_told_which(text: str) -> None:
    forward, rule = ALWAYS_WRONG[text]
    error = broken(unary(forward, rule, complex_step="complex" in text))
    assert error.property == text


def test_a_forward_that_computes_in_float64_is_found() -> None:
    error = broken(unary(lambda x: x * np.ones(np.shape(x)), lambda g: g))
    assert error.property == "float32 stays float32"


def test_gradients_that_share_memory_are_found() -> None:
    memory = Memory()

    def rule(g: Any, *, x: Any) -> Any:
        return memory(g, x=x)

    error = broken(unary(squared, rule))
    assert error.property == "results and gradients share no memory"
    assert "shares memory with that of another call for x" in str(error)


def test_results_that_share_memory_are_found() -> None:
    kept: dict[tuple[Any, ...], Any] = {}

    def forward(x: Any) -> Any:
        buffer = kept.setdefault((np.shape(x), x.dtype), np.empty_like(x))
        buffer[...] = x * x
        return buffer

    error = broken(unary(forward, square_rule))
    assert error.property == "results and gradients share no memory"


def test_a_gradient_of_the_wrong_shape_is_found() -> None:
    @tg.op(formula=tg.Prose("a·b, b a row"))
    def wrong(x: Any, b: Any) -> Any:
        return x * b

    wrong.derivative("x", formula="g·b")(lambda g, *, b: g * b)
    wrong.derivative("b", formula=tg.Prose("g·x, not summed"))(lambda g, *, x: g * x)
    error = broken(wrong, {"x": arrays((2, 3)), "b": arrays((3,))})
    assert "has shape (2, 3), expected (3,)" in str(error)


def test_broadcasting_undone_over_the_wrong_axis_is_found_whatever_the_complex_forward_says() -> (
    None
):
    @tg.op(formula="x·b", elementwise=True, complex_step=True)
    def wrong(x: Any, b: Any) -> Any:
        return (
            np.real(x) * np.real(b)
            + 1j * (np.imag(x) * np.real(b) + np.real(x) * np.imag(b)[..., np.newaxis])
            if np.iscomplexobj(x) or np.iscomplexobj(b)
            else x * b
        )

    wrong.derivative("x", formula="g·b")(lambda g, *, b: g * b)

    @wrong.derivative("b", formula="g·x")
    def _(g: Any, *, x: Any, b_shape: Any, y_shape: Any) -> Any:
        return (g * x).sum(axis=1) if b_shape != y_shape else g * x

    inputs = {"x": arrays((2, 2)), "b": arrays((2,))}
    error = broken(wrong, inputs, order=1, method="complex")
    assert error.property == "broadcasting is undone"
    assert error.parameter == "b"


def test_a_slope_that_only_the_complex_forward_has_is_no_adjoint() -> None:
    def forward(x: Any) -> Any:
        return np.real(x) + 2j * np.imag(x) if np.iscomplexobj(x) else x + 0.0

    error = broken(unary(forward, lambda g: g * 2.0, complex_step=True), method="complex")
    assert error.property == "the gradient of a linear op is its adjoint"
    assert "should be linear in x" in str(error)


def test_a_gradient_that_depends_on_what_else_wants_one_is_found() -> None:
    wants: list[str] = []

    @tg.op(formula="x·b", elementwise=True)
    def wrong(x: Any, b: Any) -> Any:
        wants.clear()
        return x * b

    @wrong.derivative("x", formula=tg.Prose("g·b, if that for b was computed before"))
    def _(g: Any, *, b: Any) -> Any:
        return g * b if wants or isinstance(g, tg.Tensor) else g * b * 2.0

    @wrong.derivative("b", formula="g·x")
    def _(g: Any, *, x: Any) -> Any:
        wants.append("b")
        return g * x

    error = broken(wrong, operands(2, nonzero=True))
    assert error.property == "a gradient does not depend on which others are computed"


def test_a_rule_that_needs_a_c_ordered_gradient_is_found() -> None:
    def rule(g: Any, *, x: Any) -> Any:
        if isinstance(g, np.ndarray) and not g.flags.c_contiguous:
            g = np.reshape(g, -1, order="A").reshape(g.shape)
        return g * (2.0 * x)

    error = broken(unary(squared, rule), arrays((2, 3)))
    assert error.property == "the layout of the gradient flowing in does not matter"


def test_an_op_that_fails_for_nothing_is_found() -> None:
    def forward(x: Any) -> Any:
        assert np.size(x), "nothing to do"
        return x + np.max(x.real) * 0.0

    error = broken(unary(forward, lambda g, *, x: g + x * 0.0))
    assert error.property == "zero-size arrays work"


def test_a_forward_other_than_its_reference_is_found() -> None:
    error = broken(unary(squared, square_rule), reference=lambda x: x**3)
    assert error.property == "the forward agrees with its reference"
    error = broken(unary(squared, square_rule), reference=lambda x: np.sum(x**2))
    assert "has shape" in str(error)


def test_an_op_that_cannot_take_what_is_drawn_is_told_with_the_cause() -> None:
    def forward(x: Any) -> Any:
        raise ZeroDivisionError("no")

    error = broken(unary(forward, lambda g: g))
    assert error.property == RUNS
    assert "ZeroDivisionError: no" in str(error)
    assert isinstance(error.__cause__, ZeroDivisionError)


def test_an_op_that_gives_different_answers_is_found() -> None:
    calls: list[Any] = []

    def forward(x: Any) -> Any:
        calls.append(x)
        return x * len(calls)

    error = broken(unary(forward, lambda g: g))
    assert error.property == "the forward depends only on its arguments"


def test_an_op_that_fails_now_and_then_is_found() -> None:
    calls: list[Any] = []

    def forward(x: Any) -> Any:
        calls.append(x)
        if len(calls) == 30:
            raise ZeroDivisionError("once")
        return x + 0.0

    error = broken(unary(forward, lambda g: g))
    assert "ZeroDivisionError: once" in str(error)
    assert "not so every time" in "".join(error.__notes__)


def test_every_property_is_broken_here_once() -> None:
    """One that no test breaks might as well not be checked."""
    elsewhere = {
        "the forward agrees with its reference",
        "the layout of the gradient flowing in does not matter",
        "a gradient does not depend on which others are computed",
        "results and gradients share no memory",
        AGREES,
        "fan-out accumulates",  # see the planted mistakes: a sweep breaks it, no op
        "broadcasting is undone",
        "the gradient of a linear op is its adjoint",
        "zero-size arrays work",
    }
    causes = {broken for *_, broken, _ in CAUSES.values()} | {FORGOTTEN, LARGE, LAYOUT, TWICE}
    assert set(PROPERTIES) == set(ALWAYS_WRONG) | causes | elsewhere


def test_no_longer_than_it_may_a_smaller_example_is_looked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(search, "SHRINKING", 0.0)
    error = broken(unary(squared, lambda g, *, x: g * x), arrays((4, 4), low=1.0))
    assert isinstance(error, GradientMismatch)
    assert not getattr(error, "__notes__", [])


# --- what is refused -----------------------------------------------------------------------------


def test_an_op_without_calls_is_refused_and_the_message_says_what_to_add() -> None:
    @tg.op(formula="x w")
    def wrong(x: Any, w: Any, index: Any, scale: float = 1.0) -> Any:
        return scale * (x @ w)[index]

    wrong.derivative("x", formula="g wᵀ")(lambda g, *, w: g @ w.T)
    wrong.derivative("w", formula="xᵀ g")(lambda g, *, x: x.T @ g)
    with pytest.raises(ValueError, match="wrong was not checked: it declares no calls") as raised:
        check_op(wrong)
    assert str(raised.value).endswith(
        "@wrong.calls\n"
        "def _(draw, s):  # s is tinygrad_cnn.check.strategies\n"
        '    return {"x": draw(s.arrays((2, 3))), "w": draw(s.arrays((2, 3))), "index": draw(...)}'
    )
    assert missing_calls(tg.concatenate) == ""


def test_an_elementwise_op_needs_no_calls() -> None:
    report = check_op(unary(squared, square_rule), examples=5)
    assert [row.input for row in report.operands] == ["x"]

    @tg.op(formula="a·b", elementwise=True)
    def product(a: Any, b: Any, scale: float = 1.0) -> Any:
        return a * b * scale

    product.derivative("a", formula="g·b")(lambda g, *, b, scale: g * b * scale)
    assert missing_calls(product)  # b may be anything
    product.derivative("b", formula="g·a")(lambda g, *, a, scale: g * a * scale)
    assert [row.input for row in check_op(product, examples=5).operands] == ["a", "b"]


def test_calls_are_drawn_and_replaced_by_their_note() -> None:
    op = unary(squared, square_rule)
    seen = set()

    def drawn(shape: tuple[int, ...]) -> Any:
        def arguments(draw: Any, s: Any) -> Any:
            seen.add(shape)
            return draw(s.arrays(shape))

        return arguments

    op.calls(drawn((2,)))
    op.calls(note="three", always=[{"x": np.zeros((0, 2))}])(drawn((3,)))
    op.calls(drawn((4,)))
    assert len(cases_of(op)) == 2
    assert check_op(op, examples=6).examples >= 7
    assert seen == {(3,), (4,)}


def test_calls_without_the_operand_that_is_asked_for_are_skipped() -> None:
    @tg.op(formula="x + b", aliases={"bias": "b"})
    def wrong(x: Any, bias: Any = None) -> Any:
        return x * 1.0 if bias is None else x + bias

    wrong.derivative("x", formula="g")(lambda g: g)
    wrong.derivative("bias", formula="g")(lambda g: g * 1.001)

    @wrong.calls(always=[{"x": np.ones(2)}])
    def _(draw: Any, s: Any) -> Any:
        shape = draw(s.shapes())
        return draw(s.arrays(shape)), draw(s.one_of(s.none(), s.arrays(shape)))

    assert check_op(wrong, of=["x"], examples=10).worst < 1e-6
    with pytest.raises(OpCheckError) as raised:
        check_op(wrong, of=["bias"], examples=3)
    assert "bias=np.array(" in raised.value.example


def test_inputs_that_do_not_fit_the_op_are_refused() -> None:
    op = unary(squared, square_rule)
    with pytest.raises(TypeError, match="inputs is ndarray, expected a strategy"):
        check_op(op, np.ones(3))
    with pytest.raises(TypeError, match="inputs drew 'z', which is none of x"):
        check_op(op, {"z": arrays()})
    with pytest.raises(TypeError, match="inputs drew 2"):
        check_op(op, operands(2))
    with pytest.raises(ValueError, match="no case for of="):
        check_op(op, arrays(), of=["w"])
