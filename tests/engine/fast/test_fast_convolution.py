"""The compiled kernels of convolution, against a sum over kernel cells in float64."""

from __future__ import annotations

from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from support.convolving import Case, general

import tinygrad_cnn as tg
from tinygrad_cnn.engine import threads
from tinygrad_cnn.engine.convolution import reference

fast = pytest.importorskip("tinygrad_cnn.engine.fast.convolution_rows")
from tinygrad_cnn.engine.fast.row_writer import ArrayRows  # noqa: E402

ROUNDING = {"f4": 1e-5, "f8": 1e-13}
Array = np.ndarray[Any, Any]


def images_last(array: Array, dtype: str) -> Array:
    return np.ascontiguousarray(array.transpose(2, 3, 1, 0), dtype).transpose(3, 2, 0, 1)


def unwritten(shape: tuple[int, ...], dtype: str) -> Array:
    return images_last(np.full(shape, np.nan), dtype)


def computed(case: Case, dtype: str, seed: int, biased: bool, weights_last: bool) -> Any:
    """Return what went in and what came out: y, dx, dw and the sums of channels."""
    rng = np.random.default_rng(seed)
    x, u, w = (rng.standard_normal(shape).astype(dtype) for shape in (case.x, case.y, case.w))
    x, u = images_last(x, dtype), images_last(u, dtype)
    w = images_last(w, dtype) if weights_last else w
    bias, bias_x = (rng.standard_normal(n).astype(dtype) for n in (case.y[1], case.x[1]))
    y, dx = unwritten(case.y, dtype), unwritten(case.x, dtype)
    dw = unwritten(case.w, dtype) if weights_last else np.full(case.w, np.nan, dtype)
    db = np.full(case.y[1], np.nan, dtype)
    strides = tuple([step // w.itemsize for step in w.strides])
    size = fast.FastConvolution(
        case.x[0], case.x[1], case.w[0], case.at, case.groups, np.dtype(dtype)
    )
    rows = ArrayRows()
    places = [rows.at(a) for a in (x, u, w, bias, bias_x, y, dx, dw, db)]
    at_x, at_u, at_w, at_bias, at_bias_x, at_y, at_dx, at_dw, at_db = places
    size.forward(rows, at_x, at_w, strides, at_bias if biased else None, at_y)
    size.input_gradient(rows, at_u, at_w, strides, at_bias_x if biased else None, at_dx)
    size.weight_gradient(rows, at_u, at_x, at_dw, strides)
    fast.sum_channels(rows, at_u, at_db, case.y[2] * case.y[3], case.y[1], case.y[0], dtype)
    rows.tape().run()
    return (x, u, w, bias, bias_x), (y, dx, dw, db)


def close(result: Array, expected: Array, scale: Array, rounding: float) -> None:
    assert result.shape == expected.shape
    assert (np.abs(result - expected) <= rounding * (scale + 1)).all()


def check(case: Case, dtype: str, seed: int, biased: bool, weights_last: bool) -> None:
    (x, u, w, bias, bias_x), (y, dx, dw, db) = computed(case, dtype, seed, biased, weights_last)
    options = (case.stride, case.padding, case.dilation, case.groups)
    ways = [
        (y, lambda x, u, w: reference.conv2d(x, w, *options), bias if biased else None),
        (dx, lambda x, u, w: reference.conv2d_input_gradient(u, w, case.x, *options),
         bias_x if biased else None),
        (dw, lambda x, u, w: reference.conv2d_weight_gradient(u, x, case.w, *options), None),
        (db, lambda x, u, w: u.sum((0, 2, 3), dtype="f8"), None),
    ]  # fmt: skip
    for result, way, added in ways:
        expected, scale = way(x, u, w), way(*map(np.abs, (x, u, w)))
        if added is not None:
            expected, scale = expected + added[:, None, None], scale + np.abs(added)[:, None, None]
        close(result, expected, scale, ROUNDING[dtype])


@st.composite
def _cases(draw: st.DrawFn) -> Case:
    """Draw a convolution that the kernels' loops go through in any way."""
    if draw(st.booleans()):
        return draw(general)
    n = draw(st.sampled_from([0, 1, 3, 17, 64]))
    channels, filters = (draw(st.sampled_from([1, 3, 16, 33])) for _ in range(2))
    kernel = [draw(st.integers(1, 7)) for _ in range(2)]
    size = tuple([draw(st.integers(1, 9)) + k // 2 for k in kernel])
    before, after = ([draw(st.integers(0, 3)) for _ in kernel] for _ in range(2))
    padding = tuple(zip(before, after, strict=True))
    fits = [n + a + b >= k for n, k, (a, b) in zip(size, kernel, padding, strict=True)]
    padding = padding if all(fits) else "same"
    stride = (draw(st.integers(1, 3)), draw(st.integers(1, 3)))
    return Case((n, channels, *size), (filters, channels, *kernel), stride, padding, (1, 1), 1)


@given(
    _cases(), st.sampled_from(["f4", "f8"]), st.integers(0, 999), st.booleans(), st.booleans(),
    st.sampled_from([1, 1 << 12, 1 << 20]), st.sampled_from([0, 20, 999]),
    st.sampled_from([1, 4, 16]),
)  # fmt: skip
@example(Case((2, 1, 5, 6), (2, 1, 3, 3), (1, 1), ((0, 3), (4, 0)), (1, 1), 1), "f8", 0, True,
         False, 1, 999, 4)  # fmt: skip
@example(Case((2, 1, 2, 1), (1, 1, 2, 1), (1, 1), (0, 0), (1, 1), 1), "f8", 0, True, False, 1,
         20, 4)  # fmt: skip
def test_kernels_match_the_definition(
    case: Case, dtype: str, seed: int, biased: bool, weights_last: bool, piece: int, short: int,
    columns: int,
) -> None:  # fmt: skip
    with (
        patch.object(fast, "PIECE", piece),
        patch.object(fast, "SHORT", short),
        patch.object(fast, "COLUMNS", columns),
        tg.engine.options(poison=True),
    ):
        check(case, dtype, seed, biased, weights_last)


LAYERS = [
    Case((64, 1, 28, 28), (6, 1, 5, 5), (1, 1), (2, 2), (1, 1), 1),
    Case((32, 80, 6, 6), (70, 80, 3, 3), (2, 2), (1, 1), (1, 1), 1),
    Case((17, 24, 5, 40), (12, 12, 3, 5), (1, 2), (1, 1), (2, 1), 2),
    Case((1, 16, 12, 12), (32, 16, 3, 3), (1, 1), (1, 1), (1, 1), 1),
    Case((8, 32, 9, 1), (64, 32, 1, 1), (2, 2), (0, 0), (1, 1), 1),
]


@pytest.mark.parametrize("case", LAYERS, ids=str)
def test_bits_are_the_same_on_any_number_of_threads(case: Case) -> None:
    results = []
    for count in (1, 2, 2, 2):
        with tg.num_threads(count), patch.object(threads, "WORTH", 0):
            results.append(computed(case, "f4", 0, True, False)[1])
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            np.testing.assert_array_equal(a, b)
    check(case, "f4", 0, True, False)


@pytest.mark.parametrize("short", [0, 999])
def test_values_that_are_not_finite_reach_only_their_windows(short: int) -> None:
    case = Case((2, 2, 6, 6), (3, 2, 3, 3), (1, 1), (1, 1), (1, 1), 1)
    x, w = images_last(np.ones(case.x), "f4"), np.ones(case.w, "f4")
    x[0, 0, 0, 0], x[1, 1, 5, 2] = np.nan, np.inf
    y, rows = unwritten(case.y, "f4"), ArrayRows()
    at_x, at_w, at_y = (rows.at(a) for a in (x, w, y))
    with patch.object(fast, "SHORT", short):
        size = fast.FastConvolution(2, 2, 3, case.at, 1, np.dtype("f4"))
        size.forward(rows, at_x, at_w, (18, 9, 3, 1), None, at_y)
    rows.tape().run()
    touched = np.ones(case.y, bool)
    touched[0, :, 2:, :] = touched[0, :, :2, 2:] = False
    touched[1, :, :4, :] = touched[1, :, 4:, :1] = touched[1, :, 4:, 4:] = False
    np.testing.assert_array_equal(np.isfinite(y), ~touched)
