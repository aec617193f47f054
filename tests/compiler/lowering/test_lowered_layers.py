"""Lowerings of calls and rules, against NumPy, for the example calls of each op."""

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

from tinygrad_cnn.check.cases import cases_of
from tinygrad_cnn.compiler.lowering import elementwise, normalization, pooling, shape
from tinygrad_cnn.compiler.lowering.tape import FORWARD
from tinygrad_cnn.core.op import OPS

OURS = [
    name for name, function in FORWARD.items()
    if function.__module__ in {m.__name__ for m in (elementwise, normalization, pooling, shape)}
    and name != "astype"  # a name for the same memory
]  # fmt: skip
TOLERANCE = {"f": 3e-5, "d": 1e-12}


def converted(argument: Any, dtype: str) -> Any:
    if isinstance(argument, list):
        return [converted(part, dtype) for part in argument]
    is_real = isinstance(argument, np.ndarray) and argument.dtype.kind == "f"
    return argument.astype(dtype) if is_real else argument


def check_equal(what: str, ours: Any, right: Any, tolerance: float) -> None:
    if what == "statistics":  # the flag may differ
        ours, right = ours[:3], right[:3]
    np.testing.assert_allclose(ours, right, rtol=tolerance, atol=tolerance, err_msg=what)


@pytest.mark.parametrize("name", OURS)
def test_lowerings_match_numpy(name: str) -> None:
    done: Counter[str] = Counter()
    (case,) = cases_of(OPS[name])

    @settings(max_examples=40, deadline=None)
    @given(case.arguments, st.sampled_from("fd"), st.integers(0, 99))
    def check(drawn: Any, dtype: str, seed: int) -> None:
        arguments = {k: converted(v, dtype) for k, v in case.call(drawn).arguments.items()}
        if name not in OPS or "dtype" in arguments:
            return
        lowered = LoweredCall(OPS[name], arguments)
        for what, ours, right in lowered.compared(np.random.default_rng(seed)):
            done[what] += 1
            check_equal(what, ours, right, TOLERANCE[dtype])

    check()
    for extra in case.always:
        lowered = LoweredCall(OPS[name], {k: converted(v, "f") for k, v in extra.items()})
        for what, ours, right in lowered.compared(np.random.default_rng(0)):
            check_equal(what, ours, right, 1e-5)
    assert done["y"], done


N, C, H, W = SHAPE = 17, 5, 33, 31  # more values than one piece has


def numbers(*shape: int) -> Any:
    return np.random.default_rng(len(shape) + sum(shape)).standard_normal(shape, dtype="f")


LARGE: list[tuple[str, dict[str, Any]]] = [
    ("add", {"a": numbers(*SHAPE), "b": -numbers(*SHAPE)}),
    ("add", {"a": numbers(*SHAPE), "b": numbers(1, C, 1, 1)}),
    ("add", {"a": numbers(4000, 30), "b": numbers(30)}),
    ("mul", {"a": numbers(N, C, 1, 1), "b": numbers(*SHAPE)}),
    ("mul", {"a": numbers(N, 1, H, W), "b": numbers(*SHAPE)}),
    ("div", {"a": numbers(*SHAPE), "b": np.float32([3.0])}),
    ("sub", {"a": np.float32(2.0), "b": numbers(*SHAPE)}),
    ("multiply_add", {"a": numbers(*SHAPE), "b": numbers(1, C, 1, 1), "c": numbers(1, C, 1, 1)}),
    ("multiply_add", {"a": numbers(1, C, H, W), "b": numbers(C, 1, 1), "c": numbers(1, C, 1, 1)}),
    ("relu", {"x": numbers(*SHAPE)}),
    ("relu", {"x": numbers(*SHAPE), "at_zero": 0.0}),
    ("hardtanh", {"x": numbers(*SHAPE), "min_val": 0.0, "max_val": 6.0}),
    ("leaky_relu", {"x": numbers(*SHAPE), "negative_slope": 0.2}),
    ("sigmoid", {"x": numbers(*SHAPE)}),
    ("dropout", {"x": numbers(*SHAPE), "mask": numbers(*SHAPE) > 0, "p": 0.25}),
    ("dropout", {"x": numbers(*SHAPE), "mask": numbers(N, C, 1, 1) > 0}),
    ("reshape", {"x": numbers(*SHAPE), "shape": (N, -1)}),
    ("transpose", {"x": numbers(*SHAPE), "axes": (2, 0, 3, 1)}),
    ("getitem", {"x": numbers(*SHAPE), "index": (..., slice(None, None, 2), slice(1, None, 3))}),
    ("getitem", {"x": numbers(*SHAPE), "index": (slice(None), slice(None), np.arange(66) // 2)}),
    ("concatenate", {"arrays": [numbers(*SHAPE), numbers(N, 3, H, W)], "axis": 1}),
    ("pad", {"x": numbers(*SHAPE), "pad_width": ((0, 0), (0, 4), (1, 0), (0, 2)), "value": 2.0}),
    ("mean", {"x": numbers(*SHAPE), "axis": (-2, -1)}),
    ("sum", {"x": numbers(*SHAPE), "axis": (0, 2, 3)}),
    ("sum", {"x": numbers(*SHAPE)}),
    ("sum_to", {"x": numbers(*SHAPE), "shape": (1, C, 1, 1)}),
    ("sum_to", {"x": numbers(4000, 30), "shape": (30,)}),
    ("batch_norm", {"x": numbers(*SHAPE), "w": numbers(C), "bias": numbers(C)}),
    ("maxpool", {"x": numbers(*SHAPE)}),
    ("avgpool", {"x": numbers(*SHAPE), "kernel_size": 3, "stride": 2, "padding": 1}),
]  # fmt: skip


@pytest.mark.parametrize(("name", "arguments"), LARGE, ids=[f"{n}-{k}" for k, (n, _) in
                         enumerate(LARGE)])  # fmt: skip
def test_lowerings_of_large_calls_match_numpy_on_any_number_of_threads(
    name: str, arguments: dict[str, Any]
) -> None:
    made = []
    for threads in (1, 2):
        with tg.num_threads(threads):
            lowered = LoweredCall(OPS[name], arguments)
            made.append(list(lowered.compared(np.random.default_rng(0))))
    for (what, ours, right), (_, other, _) in zip(*made, strict=True):
        assert not what.startswith("left")
        check_equal(what, ours, right, 1e-4 if name in ("sum", "sum_to", "batch_norm") else 3e-6)
        assert np.array_equal(ours, other), what
