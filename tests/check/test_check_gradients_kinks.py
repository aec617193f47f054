"""A kink is reported as a kink, and never as a wrong gradient."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinygrad_cnn as tg
from tinygrad_cnn.check import GradientMismatch, check_gradients

x = np.array([[0.0, 1.0], [-2.0, 0.0]])

KINKS: dict[str, tuple[Any, list[Any], list[str]]] = {
    "relu": (tg.relu, [x], ["input 0 (x) entry (0, 0)", "input 0 (x) entry (1, 1)"]),
    "abs": (tg.abs, [np.array([0.0, 3.0])], ["input 0 (x) entry (0,)"]),
    "clip": (lambda v: tg.clip(v, -1.0, 1.0), [np.array([0.5, 1.0])], ["input 0 (v) entry (1,)"]),
    "maximum": (
        tg.maximum,
        [np.array([1.0, 2.0]), np.array([1.0, 3.0])],
        ["input 0 (a) entry (0,)", "input 1 (b) entry (0,)"],
    ),
    "max": (
        lambda v: tg.max(v, axis=1),
        [np.array([[4.0, 4.0, 1.0]])],
        ["input 0 (v) entry (0, 0)", "input 0 (v) entry (0, 1)"],
    ),
    "maxpool": (
        lambda v: tg.maxpool(v, 2),
        [np.array([[[[1.0, 5.0], [5.0, 2.0]]]])],
        ["input 0 (v) entry (0, 0, 0, 1)", "input 0 (v) entry (0, 0, 1, 0)"],
    ),
    "where": (
        lambda v: tg.where(v > 1.0, v, 2.0 * v),
        [np.array([1.0, 3.0])],
        ["input 0 (v) entry (0,)"],
    ),
}


@pytest.mark.parametrize("op", KINKS)
def test_kink_is_reported_with_entry_and_op(op: str) -> None:
    f, arrays, entries = KINKS[op]
    report = check_gradients(f, *arrays, method="central")
    assert report.kinks == tuple(f"kink at {entry}: {op}" for entry in entries)
    assert sum(row.size - row.compared for row in report.rows) == len(entries)


def test_module_is_named() -> None:
    def f(x: tg.Tensor) -> tg.Tensor:
        with tg.scope("head"):
            return tg.relu(x)

    report = check_gradients(f, np.array([0.0]), method="central")
    assert report.kinks == ("kink at input 0 (x) entry (0,): relu in head",)


def test_complex_step_keeps_to_the_branch_of_the_forward() -> None:
    for f, arrays, _ in KINKS.values():
        report = check_gradients(f, *arrays, order=2)
        assert report.kinks == ()
        assert all(row.compared == row.size for row in report.rows)


@pytest.mark.parametrize("distance", [1e-3, 1e-6, 1e-8])
def test_step_shrinks_beside_a_kink(distance: float) -> None:
    report = check_gradients(tg.relu, np.array([distance, -distance, 1.0]), method="central")
    assert report.kinks == ()
    assert report.rows[0].absolute < 1e-6


def test_kinks_of_a_large_input_do_not_stop_the_check() -> None:
    values = np.random.default_rng(0).normal(size=(20, 20))
    values[::3] = 0.0
    report = check_gradients(tg.relu, values, method="central")
    assert report.kinks
    assert report.rows[0].compared > 50


def test_control_flow_is_a_branch() -> None:
    def f(x: tg.Tensor) -> tg.Tensor:
        return x * x if x.data[0] >= 1.0 else tg.exp(x)

    report = check_gradients(f, np.array([1.0, 2.0]), method="central")
    assert report.kinks == ("kink at input 0 (x) entry (0,): mul or exp",)


def test_order_two_at_a_kink() -> None:
    def f(x: tg.Tensor) -> tg.Tensor:
        return tg.relu(x) * x

    report = check_gradients(f, np.array([0.0, 1.0]), order=2, method="central")
    assert [row.compared for row in report.rows] == [1, 1, 2]


# --- kinks that an op does not tell of -----------------------------------------------------------


@pytest.fixture
def _hinge(ops_of_its_own: None) -> None:
    @tg.op(formula="max(0, x)", elementwise=True)
    def hinge(x: Any) -> Any:
        return np.maximum(x, 0)

    @hinge.derivative("x", formula="g·[x > 0]")
    def _(g: Any, *, x: Any) -> Any:
        return g * (getattr(x, "_array", x) > 0)


@pytest.mark.usefixtures("_hinge")
def test_corner_is_seen_in_the_values() -> None:
    report = check_gradients(tg.OPS["hinge"], np.array([0.0, 1.0, -1.0]))
    assert report.kinks == ("kink at input 0 (x) entry (0,): a corner in the values",)


@pytest.mark.usefixtures("_hinge")
def test_value_that_is_no_slope_of_the_corner_is_wrong() -> None:
    hinge = tg.OPS["hinge"]

    @hinge.derivative("x", formula="g·[x > 0], 2g at 0")
    def _(g: Any, *, x: Any) -> Any:
        return g * (np.sign(x) == 1) + 2.0 * g * (x == 0)

    with pytest.raises(GradientMismatch) as caught:
        check_gradients(hinge, np.array([0.0, 1.0, -1.0]))
    assert caught.value.entry == (0,)


@pytest.mark.usefixtures("_hinge")
@pytest.mark.parametrize("distance", [1e-4, 1e-6])
def test_corner_beside_an_entry_does_not_hide_a_mistake(distance: float) -> None:
    hinge = tg.OPS["hinge"]

    @hinge.derivative("x", formula="g·1.01·[x > 0]")
    def _(g: Any, *, x: Any) -> Any:
        return g * (x > 0) * 1.01

    with pytest.raises(GradientMismatch, match="`hinge`"):
        check_gradients(hinge, np.array([distance]))


@pytest.mark.usefixtures("ops_of_its_own")
@pytest.mark.parametrize("entries", [4, 0])  # entry by entry, and along lines
@pytest.mark.parametrize("method", ["complex", "central"])
def test_a_rule_that_is_wrong_on_arrays_only_is_no_kink(method: Any, entries: int) -> None:
    @tg.op(formula="x²", elementwise=True, complex_step=True)
    def own_square(x: Any) -> Any:
        return x * x

    @own_square.derivative("x", formula="2·g·x")
    def _(g: Any, *, x: Any) -> Any:
        return (2.0 if isinstance(g, tg.Tensor) else 3.0) * g * x

    with pytest.raises(GradientMismatch):
        check_gradients(own_square, x + 3.0, method=method, entries=entries)


@pytest.mark.usefixtures("_hinge")
def test_jump_of_the_first_derivative_has_no_second() -> None:
    report = check_gradients(tg.OPS["hinge"], np.array([0.0, 1.0]), order=2)
    assert report.kinks[1] == "kink at input 0 (x) entry (0,): values do not settle"
    assert [row.compared for row in report.rows] == [1, 1, 2]


@pytest.mark.usefixtures("ops_of_its_own")
def test_singular_point_with_a_rule_that_stays_finite_is_not_compared() -> None:
    @tg.op(formula="√x", complex_step=True)
    def root(x: Any) -> Any:
        return np.sqrt(x)

    @root.derivative("x", formula="g / 2y, 0 at 0")
    def _(g: Any, *, y: Any) -> Any:
        return g * (y != 0) / (2.0 * (y + (y == 0)))

    report = check_gradients(root, np.array([0.0, 4.0]))
    assert report.kinks == ("kink at input 0 (x) entry (0,): values do not settle",)
    assert report.rows[0].method == "complex"


@pytest.mark.usefixtures("ops_of_its_own")
def test_nan_at_a_singular_point_is_not_compared() -> None:
    @tg.op(formula="√|x|")
    def root(x: Any) -> Any:
        return np.sqrt(np.abs(x))

    @root.residual
    def positive(x: Any) -> Any:
        return np.asarray(x) > 0

    root.derivative("x", formula="g·x / 2|x|³ᐟ²")(lambda g, *, x, y: g * x / (2.0 * y * y * y))
    report = check_gradients(root, np.array([0.0, 4.0]))
    assert [kink.partition(": ")[0] for kink in report.kinks] == ["kink at input 0 (x) entry (0,)"]
    assert report.rows[0].compared == 1


def test_singular_point_is_not_compared() -> None:
    for method in ("complex", "central"):
        report = check_gradients(tg.sqrt, np.array([0.0, 4.0]), method=method)
        assert len(report.kinks) == 1
        assert report.rows[0].compared == 1
