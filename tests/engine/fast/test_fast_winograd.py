"""The compiled kernels of Winograd's convolution, against the definition in float64."""

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
from tinygrad_cnn.engine.convolution import algorithm, reference, winograd_compiled

winograd_rows = pytest.importorskip("tinygrad_cnn.engine.fast.winograd_rows")
from tinygrad_cnn.engine.fast import machine  # noqa: E402
from tinygrad_cnn.engine.fast import winograd_transforms as transforms  # noqa: E402
from tinygrad_cnn.engine.fast.convolution_choice import fast_convolution  # noqa: E402
from tinygrad_cnn.engine.fast.eager import running  # noqa: E402
from tinygrad_cnn.engine.fast.row_writer import ArrayRows  # noqa: E402

Array = np.ndarray[Any, Any]
ONE = (1, 1)
WORST = 2e-5  # largest error, of the deviation of the result
SPREAD = 2e-6  # its root mean square


def images_last(array: Array) -> Array:
    return np.ascontiguousarray(array.transpose(2, 3, 1, 0), "f4").transpose(3, 2, 0, 1)


def unwritten(shape: tuple[int, ...]) -> Array:
    return images_last(np.full(shape, np.nan))


def operands(case: Case, seed: int = 0) -> list[Array]:
    """Return x, u, w and the biases of y and of dx."""
    rng = np.random.default_rng(seed)
    shapes = (case.x, case.y, case.w, case.y[1:2], case.x[1:2])
    x, u, *rest = (rng.standard_normal(shape, dtype="f4") for shape in shapes)
    return [images_last(x), images_last(u), *rest]


def computed(case: Case, given: list[Array], biased: bool = True) -> tuple[Array, Array, Array]:
    """Return y, dx and dw, in memory that held NaN."""
    x, u, w, bias, bias_x = given
    y, dx, dw = unwritten(case.y), unwritten(case.x), np.full_like(w, np.nan)
    size = winograd_rows.TiledConvolution(
        case.x[0], case.x[1], case.w[0], case.at, 1, np.dtype("f4")
    )
    rows = ArrayRows()
    places = [rows.at(a) for a in (x, u, w, bias, bias_x, y, dx, dw)]
    at_x, at_u, at_w, at_bias, at_bias_x, at_y, at_dx, at_dw = places
    strides = tuple([step // w.itemsize for step in w.strides])
    size.forward(rows, at_x, at_w, strides, at_bias if biased else None, at_y)
    size.input_gradient(rows, at_u, at_w, strides, at_bias_x if biased else None, at_dx)
    size.weight_gradient(rows, at_u, at_x, at_dw, strides)
    with tg.engine.options(poison=True):
        rows.tape().run()
    return y, dx, dw


def expected(case: Case, given: list[Array], biased: bool) -> list[Array]:
    x, u, w, bias, bias_x = (a.astype("f8") for a in given)
    options = (case.stride, case.padding, case.dilation, case.groups)
    y = reference.conv2d(x, w, *options)
    dx = reference.conv2d_input_gradient(u, w, case.x, *options)
    dw = reference.conv2d_weight_gradient(u, x, case.w, *options)
    if biased:
        y, dx = y + bias[:, None, None], dx + bias_x[:, None, None]
    return [y, dx, dw]


def errors(case: Case, given: list[Array], biased: bool = True) -> list[Array]:
    """Return the errors of y, dx and dw, of the deviation of a sum of as many products."""
    n, oc, oh, ow = case.y
    counts = (9 * case.x[1], 9 * oc, n * oh * ow)
    results = zip(computed(case, given, biased), expected(case, given, biased), counts, strict=True)
    return [(result - value) / np.sqrt(count) for result, value, count in results]


def layer(n: int, c: int, oc: int, h: int, w: int, padding: Any = (1, 1)) -> Case:
    return Case((n, c, h, w), (oc, c, 3, 3), ONE, padding, ONE, 1)


@st.composite
def _cases(draw: st.DrawFn) -> Case:
    n = draw(st.integers(1, 7) | st.integers(8, 70))
    sizes = [8, 15, 16, 17, 33, 70] if n < 8 else [1, 3, 7, 8, 15, 16, 17, 33, 70]
    c, oc = (draw(st.sampled_from(sizes)) for _ in range(2))
    before, after = ([draw(st.integers(0, 2)) for _ in range(2)] for _ in range(2))
    h, w = (draw(st.integers(max(1, 3 - p), 11)) for p in before)
    return layer(n, c, oc, h, w, tuple(zip(before, after, strict=True)))


@given(
    _cases(), st.integers(0, 999), st.booleans(), st.sampled_from([1, 40, 128]),
    st.sampled_from([1 << 14, 3 << 18]), st.sampled_from([1, 1 << 22]), st.sampled_from([16, 128]),
)  # fmt: skip
@example(layer(33, 17, 8, 9, 13, ((2, 0), (0, 2))), 0, True, 1, 1 << 14, 1, 16)
@example(layer(1, 17, 8, 9, 13, ((2, 0), (0, 2))), 0, True, 1, 1 << 14, 1, 16)
@example(layer(7, 8, 33, 5, 10, ((1, 0), (2, 1))), 0, True, 40, 1 << 14, 1, 16)
@example(layer(8, 1, 9, 1, 1), 0, True, 128, 3 << 18, 1 << 22, 128)
@example(layer(70, 70, 3, 5, 10, ((0, 1), (1, 0))), 0, False, 128, 1 << 14, 1 << 22, 128)
def test_tiles_match_the_definition(
    case: Case, seed: int, biased: bool, columns: int, group: int, parts: int, step: int
) -> None:
    with (
        patch.object(winograd_rows, "COLUMNS", columns),
        patch.object(winograd_rows, "BLOCK_BYTES", group),
        patch.object(winograd_rows, "GROUP_BYTES", group),
        patch.object(winograd_rows, "PARTS_BYTES", parts),
        patch.object(winograd_rows, "STEP", step),
    ):
        for error in errors(case, operands(case, seed), biased):
            assert np.abs(error).max() <= WORST


@pytest.mark.parametrize(
    "size", [(16, 64, 64, 16, 16), (64, 16, 16, 8, 8), (8, 8, 200, 9, 9), (2, 200, 64, 20, 20)]
)
def test_errors_are_within_their_bounds(size: tuple[int, int, int, int, int]) -> None:
    case = layer(*size)
    for error in errors(case, operands(case)):
        assert np.abs(error).max() < WORST
        assert np.sqrt(np.mean(error**2)) < SPREAD


def test_weights_may_have_any_strides() -> None:
    case = layer(8, 5, 20, 6, 7)
    given = operands(case)
    results = computed(case, given)
    x, u, w, *biases = given
    again = computed(case, [x, u, images_last(w), *biases])
    for result, other in zip(results, again, strict=True):
        np.testing.assert_array_equal(result, other)


@pytest.mark.parametrize(
    "case", [layer(64, 16, 24, 12, 9), layer(70, 64, 64, 5, 8), layer(5, 64, 64, 30, 23)], ids=str
)
def test_bits_are_the_same_on_any_number_of_threads(case: Case) -> None:
    results = []
    for count in (1, 2, 3):
        with tg.num_threads(count), patch.object(threads, "WORTH", 0):
            results.append(computed(case, operands(case)))
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_not_finite_stays_in_its_tiles_and_channels(value: float) -> None:
    case = layer(9, 8, 8, 12, 12)
    given = operands(case)
    given[0][2, 3, 6, 6] = given[1][4, 5, 6, 6] = value  # seen by the middle tile only
    y, dx, dw = computed(case, given)
    touched = np.zeros(case.y, bool)
    touched[2, :, 4:8, 4:8] = True
    assert not np.isfinite(y[2, :, 5:8, 5:8]).any()
    assert np.isfinite(y[~touched]).all()
    touched = np.zeros(case.x, bool)
    touched[4, :, 4:8, 4:8] = True
    assert not np.isfinite(dx[4, :, 5:8, 5:8]).any()
    assert np.isfinite(dx[~touched]).all()
    touched = np.zeros(case.w, bool)
    touched[:, 3] = touched[5] = True
    assert not np.isfinite(dw[touched]).any()
    assert np.isfinite(dw[~touched]).all()


@pytest.mark.parametrize("outputs", [3, 4])
def test_transforms_multiply_polynomials(outputs: int) -> None:
    """Outputs of a correlation with exact inputs, one axis."""
    rng = np.random.default_rng(0)
    d, w = rng.standard_normal(6), rng.standard_normal(7 - outputs)
    values = zip(transforms.of_inputs(list(d)), transforms.of_kernel(list(w)), strict=True)
    y = transforms.of_products([a * b for a, b in values], outputs)
    np.testing.assert_allclose(y, np.correlate(d, w, "valid"), rtol=1e-12)


PLAIN = layer(64, 16, 16, 8, 8)


@pytest.mark.parametrize(
    ("case", "dtype", "tiled"),
    [
        (PLAIN, "f4", True),
        (layer(8, 6, 6, 8, 8), "f4", True),
        (PLAIN, "f8", False),
        (layer(3, 16, 16, 8, 8), "f4", False),
        (layer(1, 16, 16, 16, 16), "f4", True),
        (layer(1, 16, 16, 16, 12), "f4", False),
        (layer(1, 7, 16, 16, 16), "f4", False),
        (layer(64, 5, 16, 8, 8), "f4", False),
        (layer(64, 16, 5, 8, 8), "f4", False),
        (layer(64, 16, 16, 3, 3, (0, 0)), "f4", False),
        (Case((64, 16, 8, 8), (16, 16, 3, 3), (2, 2), ONE, ONE, 1), "f4", False),
        (Case((64, 16, 8, 8), (16, 16, 5, 5), ONE, ONE, ONE, 1), "f4", False),
        (Case((64, 16, 8, 8), (16, 8, 3, 3), ONE, ONE, ONE, 2), "f4", False),
    ],
)
def test_tiles_are_chosen_where_they_pay(case: Case, dtype: str, tiled: bool) -> None:
    sizes = (case.x[0], case.x[1], case.w[0], case.at, case.groups, np.dtype(dtype))
    assert isinstance(fast_convolution(*sizes), winograd_rows.TiledConvolution) is tiled
    assert (algorithm.choose(*sizes) is winograd_compiled) is tiled
    assert (algorithm.choose_weight_gradient(*sizes) is winograd_compiled) is tiled
    with tg.engine.options(winograd=False):
        assert not isinstance(fast_convolution(*sizes), winograd_rows.TiledConvolution)
    for off in ({"winograd": False}, {"fast": False}):
        with tg.engine.options(**off):
            assert algorithm.choose(*sizes) is not winograd_compiled


def test_kept_programs_hold_no_memory() -> None:
    x, _, w, *_ = operands(PLAIN)
    tg.conv2d(x, w, padding=1)
    tapes = [tape for tape, _ in running._kept.row_tapes.values()]
    assert tapes
    assert not any(tape._scratch for tape in tapes)


def test_a_signal_handler_may_compute_the_same_convolution(monkeypatch: Any) -> None:
    """What it leaves in a kept tape does not reach the convolution that it interrupted."""
    x, _, w, *_ = operands(PLAIN)
    other = tg.conv2d(2 * x, w, padding=1)
    real, results = machine.Tape.run, []

    def interrupted(tape: machine.Tape) -> None:
        monkeypatch.setattr(machine.Tape, "run", real)
        results.append(tg.conv2d(2 * x, w, padding=1))
        real(tape)

    expected = tg.conv2d(x, w, padding=1)
    monkeypatch.setattr(machine.Tape, "run", interrupted)
    np.testing.assert_array_equal(tg.conv2d(x, w, padding=1), expected)
    np.testing.assert_array_equal(results[0], other)


@pytest.mark.parametrize("channels", [5, 6, 7, 8])
def test_input_gradients_of_few_channels_in_eager_mode(channels: int) -> None:
    """Fewer than 8 channels are convolved along rows, except by tiles."""
    rng = np.random.default_rng(0)
    x, w, g = (
        rng.normal(size=shape).astype("f4")
        for shape in ((9, channels, 7, 6), (6, channels, 3, 3), (9, 6, 7, 6))
    )
    found = []
    for fast in (False, True):
        with tg.engine.options(fast=fast, poison=True):
            given = tg.Tensor(x, requires_grad=True)
            y = tg.conv2d(given, w, padding=1)
            found.append(tg.grad(y, given, gradient=g)[0])
    np.testing.assert_allclose(found[1], found[0], atol=1e-4)


@pytest.mark.parametrize(
    ("images", "channels", "stride", "groups", "by_numpy"),
    [(7, 64, 2, 1, True), (8, 64, 2, 1, False), (7, 16, 2, 1, False),
     (15, 16, 1, 2, True), (16, 16, 1, 2, False)],
)  # fmt: skip
def test_small_products_are_left_to_numpy(
    images: int, channels: int, stride: int, groups: int, by_numpy: bool
) -> None:
    shapes = (images, channels, 8, 8), (channels, channels // groups, 3, 3)
    at = Case(*shapes, (stride, stride), ONE, ONE, groups).at
    found = fast_convolution(images, channels, channels, at, groups, "f4")
    assert (found is None) is by_numpy
