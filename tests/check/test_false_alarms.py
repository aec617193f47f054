"""No correct rule is ever reported: all ops are checked with further seeds.

One seed and few calls by default; ``CHECK_SEEDS=200 pytest tests/check/test_false_alarms.py`` takes
its time, and ``CHECK_SEEDS=100:200`` goes on from the hundredth.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import pytest

import tinygrad_cnn as tg
from tinygrad_cnn.check import check_gradients, check_op
from tinygrad_cnn.check.ops import EXAMPLES

FIRST, _, LAST = os.environ.get("CHECK_SEEDS", "1").rpartition(":")
CALLS = EXAMPLES if "CHECK_SEEDS" in os.environ else 8
SEEDS = range(int(FIRST or 0) + 1, int(LAST) + 1)  # 0 is the default, that all other tests use


@pytest.mark.parametrize("name", sorted(tg.OPS))
@pytest.mark.parametrize("seed", SEEDS)
def test_a_correct_rule_is_never_reported(name: str, seed: int) -> None:
    check_op(tg.OPS[name], examples=CALLS, seed=seed)


@pytest.mark.parametrize(
    ("axis", "x"),
    [(0, [[21.0, 0.0], [-23.0, 0.0]]), (0, [[0.0, 0.0, -45.0], [0.0, 0.0, 0.0]])],
)
def test_a_derivative_below_the_rounding_of_its_terms_is_right(
    axis: int, x: list[list[float]]
) -> None:
    """y·(g − Σ g·y) is 0 in float64 where y is 1 − 1e-19."""
    check_gradients(lambda x: tg.softmax(x, axis=axis), np.array(x), order=2)


@pytest.mark.usefixtures("ops_of_its_own")
@pytest.mark.parametrize("place", [-29.0, -34.0])
def test_a_formula_that_cancels_is_right(place: float) -> None:
    """In float64, ln(1 + eˣ) has four digits at −29, and log1p has all."""

    @tg.op(formula="ln(1 + eˣ)", elementwise=True)
    def soft(x: Any) -> Any:
        return np.log1p(np.exp(x))

    @soft.derivative("x", formula="g·(1 − e⁻ʸ)")
    def _(g: Any, *, y: Any) -> Any:
        return -g * tg.expm1(-y)

    @soft.calls
    def _(draw: Any, s: Any) -> Any:
        return {"x": np.array(place)}

    check_op(soft, examples=3)


@pytest.mark.usefixtures("ops_of_its_own")
def test_a_formula_that_cancels_times_its_input_is_right() -> None:
    @tg.op(formula="x·tanh(ln(1 + eˣ))", elementwise=True)
    def mish_like(x: Any) -> Any:
        return x * np.tanh(np.log1p(np.exp(x)))

    @mish_like.derivative("x", formula=tg.Prose("g times the slope"))
    def _(g: Any, *, x: Any) -> Any:
        share = tg.tanh(tg.softplus(x))
        return g * (share + x * (1 - share * share) * tg.sigmoid(x))

    @mish_like.calls
    def _(draw: Any, s: Any) -> Any:
        return {"x": np.array(-34.0)}

    check_op(mish_like, examples=3)
