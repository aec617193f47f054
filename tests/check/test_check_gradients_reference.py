"""The reference is right, and knows how wrong it may be."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_cnn as tg
from tinygrad_cnn.check.branches import other_branch, traced
from tinygrad_cnn.check.numerical import Sample, bend, central_difference, complex_step
from tinygrad_cnn.check.rounding import Shaking

EPSILON = 2.0**-52

SMOOTH: list[tuple[Callable[[float], float], float]] = [
    (lambda t: math.exp(3 * t), 3.0),
    (lambda t: math.sin(50 * t), 50.0),
    (lambda t: 1 / (0.1 + t) if t > -0.1 else math.nan, -100.0),
    (lambda t: math.log(0.01 + t) if t > -0.01 else math.nan, 100.0),
    (lambda t: t**5 + t, 1.0),
    (lambda t: 7.0, 0.0),
    (lambda t: 1e6 + t, 1.0),
]


def point(value: float, parted: str = "") -> Sample:
    return Sample(value, abs(value), parted or ("" if np.isfinite(value) else "not finite"))


@pytest.mark.parametrize("case", range(len(SMOOTH)))
@given(h=st.floats(2.0**-14, 0.1))
def test_the_estimated_error_covers_the_error(case: int, h: float) -> None:
    f, slope = SMOOTH[case]
    found = central_difference(lambda t: point(f(t)), h, EPSILON)
    assert not found.kink
    assert abs(found.value - slope) <= 8 * found.error
    assert found.error <= 1e-6 * max(abs(slope), abs(f(0.0)))


@given(at=st.floats(1e-9, 1e-2))
def test_the_step_shrinks_until_no_branch_changes(at: float) -> None:
    def hinge(t: float) -> Sample:
        return point(max(t + at, 0.0), "hinge" if t + at < 0 else "")

    found = central_difference(hinge, 2.0**-8, EPSILON)
    assert abs(found.value - 1.0) <= 8 * found.error < 1e-3


def test_a_corner_is_told_from_a_curve() -> None:
    for f, _ in SMOOTH:
        assert bend(lambda t, f=f: point(f(t)), 2.0**-12, EPSILON) is None
    assert bend(lambda t: point(1.0 + abs(t)), 2.0**-10, EPSILON) == pytest.approx((-1.0, 1.0))


def test_the_complex_step_gives_all_digits() -> None:
    assert complex_step(lambda t: np.exp(3 * t)) == 3.0
    assert complex_step(lambda t: np.sqrt(2.0 + t)) == pytest.approx(0.5 / math.sqrt(2), rel=1e-15)


# --- shaking -------------------------------------------------------------------------------------


def test_shaking_changes_results_by_a_last_digit_and_ties_not_at_all() -> None:
    x = np.random.default_rng(0).normal(size=100)
    x[50:] = x[:50]
    x[0] = x[50] = -40.0
    calm = tg.relu(tg.Tensor(x)).numpy()
    with tg.observe(Shaking(seed=3)):
        shaken = tg.relu(tg.Tensor(x)).numpy()
    change = np.abs(shaken - calm)[calm > 0] / calm[calm > 0]
    assert np.all(change > 0)
    assert np.max(change) < 3 * EPSILON
    np.testing.assert_array_equal(shaken[:50], shaken[50:])
    np.testing.assert_array_equal(shaken == 0, calm == 0)


def test_shaking_leaves_the_memory_of_others_alone() -> None:
    x = tg.Tensor(np.random.default_rng(0).normal(size=(2, 3)), requires_grad=True)
    before = x.numpy().copy()
    with tg.observe(Shaking(seed=3)):
        x.reshape(-1)
        tg.transpose(x)
        tg.getitem(x, 0)
        tg.concatenate([x.reshape(-1)])
        tg.broadcast_to(x, (4, 2, 3))
    np.testing.assert_array_equal(x.numpy(), before)


# --- branches ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("f", "op"),
    [
        (tg.relu, "relu"),
        (lambda x: tg.max(x, axis=0), "max"),
        (lambda x: tg.where(x > 0.5, x, 0.0), "where"),
        (lambda x: x[int(x.data[0] > 0.5)], "getitem"),
        (lambda x: tg.exp(x) if x.data[0] > 0.5 else tg.tanh(x), "exp or tanh"),
        (lambda x: tg.exp(tg.tanh(x)) if x.data[0] > 0.5 else tg.exp(x), "tanh or exp"),
        (lambda x: tg.exp(x) + 1.0 if x.data[0] > 0.5 else tg.exp(x), "add"),
    ],
)
def test_the_op_that_takes_another_branch_is_named(f: Callable[..., tg.Tensor], op: str) -> None:
    def branches(first: float) -> list:
        x = tg.Tensor(np.array([first, 0.25]), requires_grad=True)
        return traced(lambda: f(x))[1].branches

    here = branches(0.75)
    assert other_branch(here, branches(-0.75)) == op
    assert other_branch(here, branches(0.75)) == ""
