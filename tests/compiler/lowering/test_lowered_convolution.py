"""Lowerings of convolutions, against NumPy."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.lowered import LoweredCall

import tinygrad_cnn as tg

pytest.importorskip("numba")

import tinygrad_cnn.compiler.lowering.convolution  # declares the lowerings
from tinygrad_cnn.check.cases import cases_of
from tinygrad_cnn.core.op import OPS

NAMES = ["conv2d", "conv2d_input_gradient", "conv2d_weight_gradient", "conv_transpose2d"]
ROUNDING = {"f": 3e-5, "d": 1e-12}


def compare(lowered: LoweredCall, rounding: float, done: Counter[str]) -> None:
    for name, ours, right in lowered.compared(np.random.default_rng(0)):
        done[name] += 1
        scale = 1 + np.abs(right).max(initial=0)
        np.testing.assert_allclose(ours, right, rounding, rounding * scale, err_msg=name)


@pytest.mark.parametrize("name", NAMES)
def test_lowered_convolutions_match_numpy(name: str) -> None:
    done: Counter[str] = Counter()
    (case,) = cases_of(OPS[name])

    @settings(max_examples=40)
    @given(case.arguments, st.sampled_from("fd"))
    def check(drawn: Any, dtype: str) -> None:
        arguments = {
            key: value.astype(dtype) if isinstance(value, np.ndarray) else value
            for key, value in case.call(drawn).arguments.items()
        }
        compare(LoweredCall(OPS[name], arguments), ROUNDING[dtype], done)

    check()
    assert done["y"], done


def numbers(*shape: int) -> Any:
    return np.random.default_rng(sum(shape)).standard_normal(shape, dtype="f")


LARGE: list[tuple[str, Any, Any, Any, dict[str, Any]]] = [
    ("conv2d", numbers(64, 1, 28, 28), numbers(6, 1, 5, 5), numbers(6), {"padding": 2}),
    ("conv2d", numbers(32, 16, 16, 16), numbers(32, 16, 3, 3), None, {"stride": 2, "padding": 1}),
    ("conv2d", numbers(17, 24, 9, 20), numbers(40, 24, 1, 1), numbers(40), {}),
    ("conv2d", numbers(9, 8, 9, 9), numbers(24, 8, 3, 3), None, {"padding": ((0, 1), (2, 0))}),
    ("conv2d", numbers(1, 6, 14, 14), numbers(16, 6, 5, 5), numbers(16), {}),
    ("conv_transpose2d", numbers(8, 32, 8, 8), numbers(32, 16, 2, 2), numbers(16), {"stride": 2}),
    ("conv_transpose2d", numbers(16, 12, 4, 5), numbers(12, 8, 4, 4), None,
     {"stride": 2, "padding": 1}),
]  # fmt: skip


@pytest.mark.parametrize("call", LARGE, ids=lambda call: f"{call[0]}-{call[1].shape}")
def test_lowered_layers_have_the_same_bits_on_any_number_of_threads(call: Any) -> None:
    name, x, w, bias, options = call
    made = []
    for count in (1, 2):
        with tg.num_threads(count):
            lowered = LoweredCall(OPS[name], {"x": x, "w": w, "bias": bias, **options})
            made.append(list(lowered.compared(np.random.default_rng(0))))
    assert {of for of, _, _ in made[0]} >= {"y"}
    assert len(made[0]) == (3 if bias is None else 4)
    for (_, ours, right), (_, other, _) in zip(*made, strict=True):
        np.testing.assert_array_equal(ours, other)
        np.testing.assert_allclose(ours, right, 1e-4, 3e-5 * np.abs(right).max())
