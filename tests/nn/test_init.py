"""Initializers: the distributions their formulas promise, the same for every run and dtype."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

import tinygrad_cnn as tg
from tinygrad_cnn.nn import init

SHAPES = [(200, 300), (60, 30, 5, 5), (40, 70, 2, 9)]
VARIANCE = {
    "lecun": lambda fan_in, fan_out: 1 / fan_in,
    "xavier": lambda fan_in, fan_out: 2 / (fan_in + fan_out),
    "kaiming": lambda fan_in, fan_out: 2 / fan_in,
}
DRAWN = [f"{name}_{kind}" for name in VARIANCE for kind in ("normal", "uniform")]


def fans_by_counting(shape: tuple[int, ...]) -> tuple[int, int]:
    """Count what one output reads and, by linearity, what one input is written to."""
    ones = np.ones(shape)
    return int(ones[0].sum()), int(ones[:, 0].sum())


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", DRAWN)
def test_the_distribution_is_that_of_the_formula(name: str, shape: tuple[int, ...]) -> None:
    family, kind = name.split("_")
    variance = VARIANCE[family](*fans_by_counting(shape))
    drawn = getattr(init, name)(shape, np.random.default_rng(0), np.float64)
    assert drawn.shape == shape
    assert drawn.var() == pytest.approx(variance, rel=0.03)  # its own spread is 0.7 % at most
    if kind == "normal":
        expected = stats.norm(scale=math.sqrt(variance))
    else:
        limit = math.sqrt(3 * variance)
        expected = stats.uniform(-limit, 2 * limit)
        assert np.abs(drawn).max() <= limit
    assert stats.kstest(drawn.ravel(), expected.cdf).pvalue > 0.01


def test_standard_normal_is_that_for_any_shape() -> None:
    drawn = init.standard_normal((3000,), np.random.default_rng(0))
    assert stats.kstest(drawn, "norm").pvalue > 0.01


@given(st.sampled_from([*DRAWN, "standard_normal"]), st.integers(0, 2**64))
def test_a_seed_gives_the_same_bits_and_float32_is_float64_rounded(name: str, seed: int) -> None:
    draw = getattr(init, name)
    single, again, double = (
        draw((4, 3, 2, 2), np.random.default_rng(seed), dtype) for dtype in ("f4", "f4", "f8")
    )
    assert (single.dtype, double.dtype) == (np.float32, np.float64)
    assert single.tobytes() == again.tobytes()
    np.testing.assert_array_equal(single, double.astype("f4"))


def test_the_dtype_is_the_default_one_if_none_is_given() -> None:
    rng = np.random.default_rng(0)
    for make in (init.kaiming_normal, init.zeros, init.constant(1), init.standard_normal):
        assert make((2, 2), rng).dtype == np.float32
        with tg.default_dtype("float64"):
            assert make((2, 2), rng).dtype == np.float64


def test_zeros_and_constants() -> None:
    rng = np.random.default_rng(0)
    assert init.zeros((2, 3), rng, "f4").tolist() == [[0.0] * 3] * 2
    assert init.constant(0.5)((2,), rng, "f4").tolist() == [0.5, 0.5]
    with pytest.raises(ValueError, match="broadcast"):
        init.constant([1, 2, 3])((2,), rng, "f4")


@pytest.mark.parametrize("shape", [(), (3,), (3, 0), (0, 3, 2, 2)])
def test_a_shape_without_fans_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"fans: shape is .*expected \(out, in"):
        init.kaiming_uniform(shape, np.random.default_rng(0))


@pytest.mark.parametrize("rng", [0, np.random])
def test_only_a_generator_is_taken(rng: Any) -> None:
    with pytest.raises(TypeError, match=r"expected a numpy\.random\.Generator"):
        init.kaiming_uniform((2, 2), rng)
