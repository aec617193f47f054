"""The compiled kernels of depthwise convolution, against a sum over kernel cells in float64."""

from __future__ import annotations

from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from support.convolving import Case

import tinygrad_cnn as tg
from tinygrad_cnn.engine import threads
from tinygrad_cnn.engine.convolution import reference

fast = pytest.importorskip("tinygrad_cnn.engine.fast.depthwise_rows")
from tinygrad_cnn.engine.fast import depthwise  # noqa: E402
from tinygrad_cnn.engine.fast.row_writer import ArrayRows  # noqa: E402

ROUNDING = {"f4": 1e-5, "f8": 1e-13}
Array = np.ndarray[Any, Any]


def last(array: Array, dtype: str) -> Array:
    return np.ascontiguousarray(array.transpose(2, 3, 1, 0), dtype).transpose(3, 2, 0, 1)


def computed(case: Case, dtype: str, biased: bool = True, weights_last: bool = False) -> Any:
    """Return what went in and what came out: y, dx and dw."""
    rng = np.random.default_rng(0)
    x, u, w = (rng.standard_normal(shape).astype(dtype) for shape in (case.x, case.y, case.w))
    x, u = last(x, dtype), last(u, dtype)
    bias = rng.standard_normal(case.groups).astype(dtype)
    y, dx, dw = (last(np.full(shape, np.nan), dtype) for shape in (case.y, case.x, case.w))
    w, dw = (last(w, dtype), dw) if weights_last else (w, np.full(case.w, np.nan, dtype))
    strides = tuple([step // w.itemsize for step in w.strides])
    rows = ArrayRows()
    at_x, at_u, at_w, at_bias, at_y, at_dx, at_dw = map(rows.at, (x, u, w, bias, y, dx, dw))
    added = at_bias if biased else None
    n, channels = case.x[:2]
    size = fast.DepthwiseConvolution(n, channels, channels, case.at, channels, np.dtype(dtype))
    size.forward(rows, at_x, at_w, strides, added, at_y)
    size.input_gradient(rows, at_u, at_w, strides, added, at_dx)
    size.weight_gradient(rows, at_u, at_x, at_dw, strides)
    rows.tape().run()
    return (x, u, w, bias if biased else 0 * bias), (y, dx, dw)


def check(case: Case, dtype: str, biased: bool = True, weights_last: bool = False) -> None:
    (x, u, w, bias), found = computed(case, dtype, biased, weights_last)
    options = (case.stride, case.padding, case.dilation, case.groups)

    def exact(x: Array, u: Array, w: Array, bias: Array) -> list[Array]:
        added = bias[:, np.newaxis, np.newaxis]
        return [
            reference.conv2d(x, w, *options) + added,
            reference.conv2d_input_gradient(u, w, case.x, *options) + added,
            reference.conv2d_weight_gradient(u, x, case.w, *options),
        ]

    expected, scales = exact(x, u, w, bias), exact(*map(np.abs, (x, u, w, bias)))
    for result, wanted, scale in zip(found, expected, scales, strict=True):
        assert result.shape == wanted.shape
        assert (np.abs(result - wanted) <= ROUNDING[dtype] * (scale + 1)).all()


@st.composite
def _cases(draw: st.DrawFn) -> Case:
    n, channels = draw(st.sampled_from([0, 1, 3, 17, 64])), draw(st.sampled_from([2, 3, 16, 33]))
    kernel = (3, 3) if draw(st.booleans()) else tuple(draw(st.integers(1, 5)) for _ in range(2))
    dilation = (1, 1) if draw(st.booleans()) else tuple(draw(st.integers(1, 3)) for _ in range(2))
    stride = tuple(draw(st.integers(1, 3)) for _ in range(2))
    padding = tuple((draw(st.integers(0, 3)), draw(st.integers(0, 3))) for _ in range(2))
    reach = [d * (k - 1) + 1 for d, k in zip(dilation, kernel, strict=True)]
    size = [max(draw(st.integers(1, 11)), r - sum(p)) for r, p in zip(reach, padding, strict=True)]
    return Case((n, channels, *size), (channels, 1, *kernel), stride, padding, dilation, channels)


@given(
    _cases(), st.sampled_from(["f4", "f8"]), st.booleans(), st.booleans(),
    st.sampled_from([(1, 1), (128, 512)]),
)  # fmt: skip
@example(Case((2, 3, 5, 6), (3, 1, 3, 3), (1, 1), ((0, 3), (3, 0)), (1, 1), 3), "f8", True, False,
         (1, 1))  # fmt: skip
@example(Case((1, 2, 2, 2), (2, 1, 3, 3), (2, 2), ((1, 1), (1, 1)), (1, 1), 2), "f4", True, False,
         (128, 512))  # fmt: skip
def test_kernels_match_the_definition_in_each_channel(
    case: Case, dtype: str, biased: bool, weights_last: bool, lengths: tuple[int, int]
) -> None:
    with (
        patch.object(depthwise, "SHORT", lengths[0]),
        patch.object(depthwise, "LONG", lengths[1]),
        tg.engine.options(poison=True),
    ):
        check(case, dtype, biased, weights_last)


@pytest.mark.parametrize("kernel", [3, 5])
@pytest.mark.parametrize("stride", [1, 2])
def test_bits_of_depthwise_are_the_same_on_any_number_of_threads(kernel: int, stride: int) -> None:
    border = kernel // 2
    case = Case((32, 40, 9, 9), (40, 1, kernel, kernel), (stride, stride), border, (1, 1), 40)
    results = []
    for count in (1, 2, 2):
        with tg.num_threads(count), patch.object(threads, "WORTH", 0):
            results.append(computed(case, "f4")[1])
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            np.testing.assert_array_equal(a, b)
    check(case, "f4")


@pytest.mark.parametrize("kernel", [3, 5])
def test_bad_values_reach_only_the_windows_on_them(kernel: int) -> None:
    border = kernel // 2
    case = Case((2, 2, 7, 7), (2, 1, kernel, kernel), (1, 1), border, (1, 1), 2)
    x, w = last(np.ones(case.x), "f4"), np.ones(case.w, "f4")
    x[0, 0, 0, 0], x[1, 1, 6, 2] = np.nan, np.inf
    y, rows = last(np.full(case.y, np.nan), "f4"), ArrayRows()
    at_x, at_w, at_y = map(rows.at, (x, w, y))
    size = fast.DepthwiseConvolution(2, 2, 2, case.at, 2, np.dtype("f4"))
    size.forward(rows, at_x, at_w, (kernel * kernel, 0, kernel, 1), None, at_y)
    rows.tape().run()
    expected = reference.conv2d(x, w, 1, border, 1, 2)
    np.testing.assert_array_equal(np.isfinite(y), np.isfinite(expected))
    assert 0 < (~np.isfinite(y)).sum() < y.size / 4
