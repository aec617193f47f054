"""Gradient clipping: the norm it makes, the direction it keeps, and what it does not touch."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tinygrad_cnn import nn, optim
from tinygrad_cnn.optim import clip_grad_norm_, clip_grad_value_

VALUES = st.floats(-1e3, 1e3)
GRADIENTS = st.lists(
    arrays(np.float64, st.sampled_from([(), (3,), (2, 2), (0,)]), elements=VALUES), min_size=1
)
LIMITS = st.floats(1e-3, 1e3)


def with_gradients(gradients: list[Any], dtype: str = "f8") -> list[nn.Parameter]:
    parameters = [nn.Parameter(np.zeros(np.shape(g), dtype)) for g in gradients]
    for p, g in zip(parameters, gradients, strict=True):
        p.grad = np.array(g, dtype)
    return parameters


def joined(parameters: list[nn.Parameter]) -> Any:
    return np.concatenate([p.grad.ravel() for p in parameters])


@given(GRADIENTS, LIMITS)
def test_the_norm_is_returned_and_limited_and_the_direction_kept(
    gradients: list[Any], limit: float
) -> None:
    parameters = with_gradients(gradients)
    before = joined(parameters)
    norm = clip_grad_norm_(parameters, limit)
    after = joined(parameters)
    assert norm == pytest.approx(np.linalg.norm(before))
    assert np.linalg.norm(after) <= limit * (1 + 1e-9) or norm <= limit
    if norm <= limit:
        np.testing.assert_array_equal(after, before)
    else:
        assert np.linalg.norm(after) == pytest.approx(limit)
        np.testing.assert_allclose(after * norm, before * limit, rtol=1e-9, atol=1e-300)


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_the_norm_of_a_large_gradient_is_exact_in_any_memory_order(dtype: str) -> None:
    g = np.random.default_rng(0).standard_normal((50, 1000)).astype(dtype)
    for same in (g, np.asfortranarray(g), np.repeat(g, 2, axis=1)[:, ::2]):
        (p,) = with_gradients([g], dtype)
        p.grad = same
        assert clip_grad_norm_([p], 1e9) == pytest.approx(
            math.sqrt(math.fsum(g.ravel() ** 2.0)), rel=1e-7
        )


@pytest.mark.parametrize("limit", [5.0, 6.0])
def test_gradients_within_the_limit_are_left(limit: float) -> None:
    parameters = with_gradients([[3.0], 4.0])
    assert clip_grad_norm_(parameters, limit) == 5.0
    assert joined(parameters).tolist() == [3.0, 4.0]


@given(GRADIENTS, LIMITS)
def test_values_are_clipped_one_by_one(gradients: list[Any], limit: float) -> None:
    parameters = with_gradients(gradients)
    expected = [min(max(value, -limit), limit) for value in joined(parameters)]
    clip_grad_value_(parameters, limit)
    np.testing.assert_array_equal(joined(parameters), expected)


def test_float32_stays_float32_and_is_changed_in_place() -> None:
    for clip in (clip_grad_norm_, clip_grad_value_):
        parameters = with_gradients([[3.0, 4.0], 12.0], "f4")
        arrays_before = [p.grad for p in parameters]
        clip(parameters, 1.0)
        assert all(p.grad is g for p, g in zip(parameters, arrays_before, strict=True))
        assert {p.grad.dtype for p in parameters} == {np.dtype("f4")}


def test_parameters_without_a_gradient_are_passed_over() -> None:
    parameters = [nn.Parameter([1.0]), *with_gradients([[3.0, 4.0]], "f4")]
    assert clip_grad_norm_(iter(parameters), 1.0) == pytest.approx(5.0)
    clip_grad_value_(iter(parameters), 0.1)
    assert parameters[0].grad is None
    assert clip_grad_norm_([nn.Parameter([1.0])], 1.0) == 0.0


@pytest.mark.parametrize(("size", "dtype"), [(3e38, "f4"), (1e300, "f8"), (1e-300, "f8")])
def test_the_norm_neither_overflows_nor_vanishes(size: float, dtype: str) -> None:
    parameters = with_gradients([[3 * size / 5, 4 * size / 5]], dtype)
    assert clip_grad_norm_(parameters, size / 2) == pytest.approx(size)
    assert np.hypot(*parameters[0].grad / size) == pytest.approx(0.5)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_gradient_that_is_not_finite_is_named_and_all_are_left(bad: float) -> None:
    parameters = with_gradients([[3.0, 4.0], [1.0, bad]])
    parameters[1].name = "weight"
    message = rf"parameters\[1\] \(weight, shape \(2,\)\) holds {'nan' if bad != bad else 'inf'}"
    with pytest.raises(FloatingPointError, match=message):
        clip_grad_norm_(parameters, 1.0)
    assert parameters[0].grad.tolist() == [3.0, 4.0]


@pytest.mark.parametrize("clip", [clip_grad_norm_, clip_grad_value_])
@pytest.mark.parametrize("limit", [0.0, -1.0, math.nan, math.inf, "1"])
def test_a_bad_limit_is_refused(clip: Any, limit: Any) -> None:
    with pytest.raises(
        ValueError, match=r"(max_norm|clip_value) is .*, expected a finite number > 0"
    ):
        clip(with_gradients([[3.0]]), limit)


def test_a_repeated_parameter_is_refused_for_it_would_be_clipped_twice() -> None:
    (p,) = with_gradients([[3.0]])
    with pytest.raises(ValueError, match=r"parameters\[1\] is parameters\[0\] again"):
        optim.clip_grad_norm_([p, p], 1.0)
