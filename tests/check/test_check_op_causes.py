"""`check_op` names causes: randomness, state, writes, missing derivatives, nonlinear rules."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import strategies as st

import tinygrad_cnn as tg
from tinygrad_cnn.check import OpCheckError, check_op, search
from tinygrad_cnn.check.search import COMPARED, DERIVATIVES
from tinygrad_cnn.check.strategies import arrays, operands

pytestmark = pytest.mark.usefixtures("ops_of_its_own", "no_shrinking")

FORWARD = "the forward depends only on its arguments"
RULE = "a rule depends only on its arguments"
NAN = "finite arguments give no NaN"
WRITES = "no rule writes to its arguments"
FORGOTTEN = "every float input of the result has a derivative"
LINEAR = "a rule is linear in the gradient flowing in"
TWICE = "the same Tensor may be given twice"
EMPTY = "zero-size arrays work"
LARGE = "a large call agrees with small ones"
LAYOUT = "the layout of a large call does not matter"

rng = np.random.default_rng(0)


@pytest.fixture
def no_shrinking(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "SHRINKING", 0.0)


def unary(forward: Any, rule: Any, **options: Any) -> tg.Op[..., Any]:
    """Declare an op ``wrong`` of one array."""

    @tg.op(**{"elementwise": True, **options})
    def wrong(x: Any) -> Any:
        return forward(x)

    wrong.derivative("x")(rule)
    return wrong


def error_of(op: tg.Op[..., Any], inputs: Any = None, **options: Any) -> OpCheckError:
    with pytest.raises(OpCheckError) as info:
        check_op(op, arrays() if inputs is None else inputs, **options)
    return info.value


def raw(x: Any) -> bool:
    return isinstance(x, np.ndarray)


def squared(x: Any) -> Any:
    return x * x


def square_rule(g: Any, *, x: Any) -> Any:
    return g * (2.0 * x)


class Remembers:
    """A forward that is a little off whenever the numbers differ from those of the call before."""

    last = 0.0

    def __call__(self, x: Any) -> Any:
        before, self.last = self.last, float(np.sum(np.real(x)))
        return x * x if before == self.last else x * x + 1e-3


def draws(x: Any) -> Any:
    return x * x + 1e-3 * rng.normal()


def draws_globally(x: Any) -> Any:
    return x * x + 1e-30 * np.random.rand()  # noqa: NPY002  # state that a check must notice


def random_rule(g: Any, *, x: Any) -> Any:
    return g * (2.0 * x) * (1.0 + 1e-3 * rng.random())


def writes_to_g(g: Any, *, x: Any) -> Any:
    if raw(g):
        g *= 2.0
        return g * x
    return g * (2.0 * x)


def writes_to_x(g: Any, *, x: Any) -> Any:
    y = g * (2.0 * x)
    if raw(x):
        x[...] = 0.0
    return y


def writes_to_y(g: Any, *, x: Any, y: Any) -> Any:
    if raw(y):
        y += 1.0
    return g * (2.0 * x)


CAUSES: dict[str, tuple[Any, Any, str, str]] = {
    "a random forward": (draws, square_rule, FORWARD, "draws random numbers, or keeps state"),
    "np.random": (draws_globally, square_rule, FORWARD, "draws random numbers from np.random"),
    "hidden state": (Remembers(), square_rule, FORWARD, "keeps state between"),
    "a random rule": (squared, random_rule, RULE, "the rule gives other values"),
    "a rule that writes to g": (squared, writes_to_g, WRITES, "writes to one of its input arrays"),
    "a rule that writes to x": (squared, writes_to_x, WRITES, "writes to one of its input arrays"),
    "a rule that writes to y": (squared, writes_to_y, WRITES, "writes to one of its input arrays"),
    "NaN in the forward": (
        lambda x: np.log(x - 100.0), lambda g, *, x: g / (x - 100.0), NAN, "the result is NaN"),
    "NaN in a rule": (
        squared, lambda g, *, x: g * (x / x) * (2.0 * x), NAN, "the gradient for x is NaN"),
    "g clipped": (
        squared, lambda g, *, x: (g.clip(-9, 9) if raw(g) else g) * (2.0 * x), LINEAR, "2e+60"),
    "g flushed to 0": (
        squared, lambda g, *, x: (np.where(abs(g) < 1e-9, 0.0, g) if raw(g) else g) * (2.0 * x),
        LINEAR, "6e-61"),
    "not 0 where g is": (
        squared, lambda g, *, x: g * (2.0 * x) + (not np.any(g) if raw(g) else 0.0), LINEAR,
        "is 1 at"),
    "no g at all is special": (
        squared,
        lambda g, *, x: g * (2.0 * x) * (2.0 if raw(g) and g.size > 1 and not np.all(g) else 1.0),
        LINEAR, "for two parts of the gradient"),
}  # fmt: skip


@pytest.mark.parametrize("cause", CAUSES)
def test_a_cause_is_named(cause: str) -> None:
    def forward(x: Any) -> Any:
        return given(x)

    given, rule, broken, says = CAUSES[cause]
    error = error_of(unary(forward, rule))
    assert error.property == broken, str(error)
    assert says in str(error)


@pytest.mark.parametrize("inputs", [operands(2), {"x": arrays((3,)), "w": arrays((3,))}])
def test_a_forgotten_derivative_is_named(inputs: Any) -> None:
    @tg.op(formula="x·w", elementwise=True)
    def wrong(x: Any, w: Any) -> Any:
        return x * w

    wrong.derivative("x", formula="g·w")(lambda g, *, w: g * w)
    error = error_of(wrong, inputs)
    assert (error.property, error.parameter) == (FORGOTTEN, "w")
    assert "@wrong.derivative('w', ...)" in str(error)
    assert check_op(wrong, {"x": arrays((3,)), "w": arrays((3,))}, of=["x"], examples=3)


def test_a_rule_that_takes_two_operands_for_one_is_found() -> None:
    @tg.op(formula="a·b", elementwise=True)
    def wrong(a: Any, b: Any) -> Any:
        return a * b

    wrong.derivative("a", formula="g·b")(lambda g, *, b: g * b)

    @wrong.derivative("b", formula=tg.Prose("g·a, 0 where the memory is that of b"))
    def _(g: Any, *, a: Any, b: Any) -> Any:
        return g * a * (0.0 if raw(a) and raw(b) and np.shares_memory(a, b) else 1.0)

    error = error_of(wrong, {"a": arrays((2,), low=1.0, high=2.0), "b": arrays((2,), low=3.0)})
    assert error.property == TWICE


def test_gradients_of_an_empty_batch_are_checked_in_any_op() -> None:
    @tg.op(formula="x·w")
    def wrong(x: Any, w: Any) -> Any:
        return x @ w

    wrong.derivative("x", formula="g·wᵀ")(lambda g, *, w: g @ w.T)

    @wrong.derivative("w", formula=tg.Prose("xᵀ·g, 1 without x"))
    def _(g: Any, *, x: Any) -> Any:
        return x.T @ g if len(x) else np.ones((x.shape[1], g.shape[1]))

    error = error_of(wrong, {"x": arrays((3, 2)), "w": arrays((2, 4))})
    assert (error.property, error.parameter) == (EMPTY, "w")


def test_ties_are_checked_along_the_line_that_keeps_them() -> None:
    @tg.op(formula="max(a, b)", elementwise=True)
    def wrong(a: Any, b: Any) -> Any:
        return np.maximum(a, b)

    def at_least(a: Any, b: Any) -> Any:
        return getattr(a, "_array", a) >= getattr(b, "_array", b)

    wrong.derivative("a", formula="g·[a ≥ b]")(lambda g, *, a, b: g * at_least(a, b))
    wrong.derivative("b", formula=tg.Prose("g·[b ≥ a], at ties too"))(
        lambda g, *, a, b: g * at_least(b, a)
    )
    error = error_of(wrong, operands(2, low=-0.25, high=0.25), order=1)
    assert error.property == DERIVATIVES
    assert "all inputs together, equal values by equal amounts" in str(error)
    wrong.derivative("b", formula="g·[b > a]")(lambda g, *, a, b: g * ~at_least(a, b))
    assert check_op(wrong, operands(2, low=-0.25, high=0.25), order=1)


def test_an_op_of_which_every_entry_is_on_a_kink_is_not_right() -> None:
    @tg.op(formula="x²", elementwise=True)
    def wrong(x: Any) -> Any:
        return x * x

    @wrong.residual
    def twice(x: Any) -> Any:
        return 2.0 * x

    wrong.derivative("x", formula="7·g")(lambda g, *, twice: g * 7.0)
    error = error_of(wrong, arrays(nonzero=True))
    assert error.property in (COMPARED, DERIVATIVES)
    wrong.derivative("x", formula="g·2x")(lambda g, *, twice: g * twice)
    error = error_of(wrong, arrays((2,), low=1.0), order=1)
    assert error.property == COMPARED
    assert "a residual has to be constant almost everywhere" in str(error)


# --- large calls ---------------------------------------------------------------------------------


@pytest.mark.parametrize("least", [256, 4096])
def test_a_rule_that_is_wrong_from_some_size_on_is_found(least: int) -> None:
    def rule(g: Any, *, x: Any) -> Any:
        return g * (2.0 * x) if x.size < least else g * (2.001 * x)

    error = error_of(unary(squared, rule))
    assert error.property == DERIVATIVES


def test_the_report_says_how_large_the_calls_were() -> None:
    report = check_op(unary(squared, square_rule), arrays())
    assert report.largest > 50_000
    assert report.rows()[0][6] == str(report.largest)


def test_forward_and_rule_that_change_together_with_the_size_are_found() -> None:
    def factor(x: Any) -> float:
        return 1.0 if x.size < 256 else 1.5

    def forward(x: Any) -> Any:
        return x * x * factor(x)

    def rule(g: Any, *, x: Any) -> Any:
        return g * (2.0 * x) * factor(x)

    error = error_of(unary(forward, rule))
    assert error.property == LARGE
    assert "with the same numbers" in str(error)


def test_a_forward_that_is_wrong_from_a_batch_of_16_on_is_found() -> None:
    @tg.op(formula="x·w")
    def wrong(x: Any, w: Any) -> Any:
        y = x @ w
        if len(x) >= 16:
            y[15:] *= 1.5
        return y

    wrong.derivative("x", formula="g·wᵀ")(lambda g, *, w: g @ w.T)
    wrong.derivative("w", formula="xᵀ·g")(lambda g, *, x: x.T @ g)
    error = error_of(wrong, {"x": arrays((3, 2)), "w": arrays((2, 4))})
    assert error.property == DERIVATIVES


def test_a_large_forward_that_is_only_wrong_in_float32_is_found() -> None:
    def forward(x: Any) -> Any:
        return x * x if x.size < 256 or x.dtype != np.float32 else x * x * np.float32(1.01)

    error = error_of(unary(forward, square_rule))
    assert error.property == "float32 agrees with float64"


def test_a_large_forward_that_reads_memory_in_its_order_is_found() -> None:
    def forward(x: Any) -> Any:
        order = "A" if x.size >= 256 and x.dtype == np.float32 else "C"
        return np.reshape(x, -1, order=order).reshape(x.shape) * 1.0

    error = error_of(unary(forward, lambda g: g), arrays((3, 4, 2)))
    assert error.property == LAYOUT


def test_large_calls_may_be_declared() -> None:
    op = unary(squared, square_rule)

    @op.calls(large=[{"shape": (40, 50)}, {"shape": (7, 500)}])
    def _(draw: Any, s: Any, shape: Any = (2,)) -> Any:
        return draw(s.arrays(shape))

    assert check_op(op, examples=4).largest == 3500


# --- how many ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("inputs", "points"),
    [
        (st.sampled_from([np.array(k / 4) for k in range(1, 10)]), 9),
        (st.permutations([0.5, 1.5, 2.5]).map(np.array), 6),
        (st.just(np.array([2.0])), 1),
    ],
)
def test_every_call_of_a_finite_strategy_is_tried(inputs: Any, points: int) -> None:
    seen = set()

    def forward(x: Any) -> Any:
        seen.add(np.asarray(x).tobytes() if raw(x) and x.dtype == np.float64 else b"")
        return x * x

    report = check_op(unary(forward, square_rule), inputs)
    assert points <= report.examples < 50
    assert report.asked == 50
    assert report.rows()[0][5] == f"{report.examples} of 50"
    assert len(seen) > points


def test_a_wrong_point_of_a_finite_strategy_is_found() -> None:
    def rule(g: Any, *, x: Any) -> Any:
        return g * (2.0 * x) if np.all(x != 2.0) else g * 5.0

    for k in range(9):
        points = [np.array(1.0 + ((j + k) % 9) / 8) for j in range(9)]
        assert error_of(unary(squared, rule), st.sampled_from(points), order=1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"examples": 0}, "examples is 0, expected 1 or more"),
        ({"examples": -5}, "examples is -5, expected 1 or more"),
        ({"examples": 2.5}, "examples is 2.5, expected 1 or more"),
        ({"seed": -1}, "seed is -1, expected 0 or more"),
        ({"order": 0}, "order is 0, expected 1 or more"),
        ({"method": "exact"}, "method is 'exact', expected one of"),
    ],
)
def test_options_out_of_range_are_not_blamed_on_the_op(
    options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=f"check_op: {message}"):
        check_op(unary(squared, square_rule), arrays(), **options)


def test_what_is_no_op_is_refused() -> None:
    with pytest.raises(TypeError, match="op is str, expected an Op"):
        check_op("relu")
    with pytest.raises(TypeError, match="of is 'a', expected a list"):
        check_op(tg.mul, of="a")
