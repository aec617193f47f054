"""Images and signals at the sizes people use: borders, resizing, and the functions on one axis."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from support import images

import tinygrad_cnn as tg

RNG = np.random.default_rng(0)
BATCH = RNG.standard_normal((64, 8, 14, 13)).astype("f4")


@pytest.mark.parametrize(
    ("function", "other", "options"),
    [
        (tg.interpolate, images.interpolate, {"size": (28, 20), "mode": "bilinear"}),
        (tg.interpolate, images.interpolate, {"size": (7, 20), "mode": "bicubic"}),
        (tg.interpolate, images.interpolate, {"scale_factor": (2, 3)}),
        (tg.interpolate, images.interpolate, {"size": (9, 26)}),
        (tg.adaptive_avgpool, None, {"output_size": (7, 3)}),
        (tg.adaptive_maxpool, None, {"output_size": (4, 13)}),
    ],
)
def test_float32_and_images_last_give_the_values_of_float64(
    function: Any, other: Any, options: dict[str, Any]
) -> None:
    few = BATCH[:2, :2].astype("f8")
    pooled = np.max if function is tg.adaptive_maxpool else np.mean
    expected = (other or (lambda x, output_size: images.adaptive(x, output_size, 2, pooled)))(
        few, **options
    )
    for x in (BATCH, BATCH.transpose(2, 3, 1, 0).copy().transpose(3, 2, 0, 1)):
        y = function(tg.Tensor(x), **options)
        assert y.dtype == np.float32
        np.testing.assert_allclose(y.numpy()[:2, :2], expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("bad", [np.inf, np.nan])
@pytest.mark.parametrize("size", [(14, 13), (28, 13), (14, 20), (9, 30)])
@pytest.mark.parametrize("mode", ["bilinear", "bicubic", "area"])
def test_interpolate_confines_an_infinity_or_a_nan_to_its_weights(
    mode: str, size: tuple[int, int], bad: float, last: bool
) -> None:
    one = np.zeros((1, 1, 14, 13))
    one[0, 0, 5, 6] = 1
    x = BATCH.copy()
    x[3, 2, 5, 6] = 0
    expected = tg.interpolate(x, size, mode=mode)
    x[3, 2, 5, 6] = bad
    if last:
        x = x.transpose(2, 3, 1, 0).copy().transpose(3, 2, 0, 1)
    with np.errstate(all="raise"):
        found = tg.interpolate(x, size, mode=mode)
    changed = np.zeros(found.shape, bool)
    changed[3, 2] = abs(images.interpolate(one, size, mode=mode)[0, 0]) > 1e-12
    np.testing.assert_array_equal(np.isnan(found) if np.isnan(bad) else np.isinf(found), changed)
    np.testing.assert_allclose(found[~changed], expected[~changed], rtol=1e-4, atol=1e-5)


def test_interpolate_confines_a_nan_in_a_signal_and_in_a_gradient() -> None:
    signal = np.ones((2, 3, 50))
    signal[0, 1, 20] = np.nan
    x = tg.Tensor(signal, requires_grad=True)
    np.testing.assert_array_equal(tg.interpolate(x, 50, mode="linear"), signal)
    y = tg.interpolate(x, 100, mode="linear")
    bad = np.argwhere(np.isnan(y.numpy()))
    np.testing.assert_array_equal(bad, [[0, 1, i] for i in range(39, 43)])
    (gradient,) = tg.grad(y, x, gradient=np.where(np.arange(600) == 40, np.inf, 1).reshape(y.shape))
    np.testing.assert_array_equal(np.argwhere(np.isinf(gradient)), [[0, 0, 19], [0, 0, 20]])
    assert not np.isnan(gradient).any()


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize(("stride", "border"), [(1, ((2, 0), (0, 1))), (2, ((0, 1), (3, 2)))])
def test_an_uneven_border_is_that_of_pad(stride: int, border: Any, last: bool) -> None:
    x = BATCH.transpose(2, 3, 1, 0).copy().transpose(3, 2, 0, 1) if last else BATCH
    w = RNG.standard_normal((16, 8, 3, 3)).astype("f4")

    def gradients(function: Any) -> Any:
        a, b = tg.Tensor(x, requires_grad=True), tg.Tensor(w, requires_grad=True)
        y = function(a, b)
        return y, *tg.grad(
            y, [a, b], gradient=np.cos(np.arange(y.size, dtype="f4")).reshape(y.shape)
        )

    padded = gradients(
        lambda a, b: tg.conv2d(tg.pad(a, ((0, 0), (0, 0), *border)), b, None, stride)
    )
    found = gradients(lambda a, b: tg.conv2d(a, b, None, stride, border))
    for ours, theirs in zip(found, padded, strict=True):
        np.testing.assert_allclose(np.asarray(ours), np.asarray(theirs), rtol=1e-3, atol=1e-3)
    even = tg.avgpool(x, 4, stride, border, wide_padding=True)
    by_hand = tg.avgpool(np.pad(x, [(0, 0), (0, 0), *border]), 4, stride)
    np.testing.assert_allclose(even, by_hand, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "dilation", "border"),
    [  # TensorFlow's pages: rows of the result ⌈size / stride⌉, the odd zero at the end
        (13, 6, 5, 1, (1, 2)), (5, 3, 2, 1, (1, 1)), (6, 3, 2, 1, (0, 1)), (4, 1, 2, 1, (0, 0)),
        (7, 2, 1, 3, (1, 2)), (3, 1, 5, 1, (0, 0)),
    ],
)  # fmt: skip
def test_same_with_a_stride_is_tensorflows(
    size: int, kernel: int, stride: int, dilation: int, border: tuple[int, int]
) -> None:
    x, w = RNG.standard_normal((2, 3, size)), RNG.standard_normal((4, 3, kernel))
    y = tg.conv1d(x, w, None, stride, "same", dilation)
    assert y.shape == (2, 4, -(-size // stride))
    padded = np.pad(x, [(0, 0), (0, 0), border])
    np.testing.assert_allclose(y, tg.conv1d(padded, w, None, stride, 0, dilation))
    largest = tg.maxpool1d(-np.abs(x), kernel, stride, "same", dilation)
    lowest = np.pad(-np.abs(x), [(0, 0), (0, 0), border], constant_values=-np.inf)
    np.testing.assert_array_equal(largest, tg.maxpool1d(lowest, kernel, stride, 0, dilation))


@pytest.mark.parametrize("dtype", ["u1", "i8", "?"])
def test_nearest_and_moved_pixels_keep_integers(dtype: str) -> None:
    mask = RNG.integers(0, 2, (2, 4, 6, 6)).astype(dtype)
    sampled = tg.grid_sample(mask, tg.affine_grid(np.eye(2, 3)[None].repeat(2, 0), mask.shape),
                             "nearest", "border")  # fmt: skip
    found = [
        tg.interpolate(mask, (12, 12)), tg.interpolate(mask, (7, 3)), tg.adaptive_maxpool(mask, 4),
        tg.pixel_shuffle(mask, 2), tg.unfold(mask, 2), sampled,
    ]  # fmt: skip
    assert {array.dtype for array in found} == {np.dtype(dtype)}
    np.testing.assert_array_equal(found[0], mask.repeat(2, 2).repeat(2, 3))
    np.testing.assert_array_equal(sampled, mask)
    assert tg.interpolate(mask, (12, 12), mode="bilinear").dtype == np.float32


def test_a_grid_far_outside_or_not_a_number_reads_zeros() -> None:
    x = np.full((1, 1, 2, 2), np.inf)
    grid = np.array([[[[1e30, 0.0], [-1e30, 1e30], [np.nan, 0.0], [3.5, 0.0]]]])
    for mode in ("bilinear", "nearest"):
        y = tg.grid_sample(x, grid[:, :, [0, 1, 3]], mode)
        np.testing.assert_array_equal(np.nan_to_num(y), np.zeros((1, 1, 1, 3)))
    assert tg.grid_sample(np.ones((1, 1, 2, 2)), grid, "nearest").tolist() == [[[[0, 0, 0, 0]]]]


def test_unfold_and_a_product_are_a_convolution() -> None:
    w = RNG.standard_normal((5, 8, 3, 2)).astype("f4")
    columns = tg.unfold(BATCH, (3, 2), 2, (2, 1), (1, 2))
    y = tg.conv2d(BATCH, w, None, (1, 2), (2, 1), 2)
    np.testing.assert_allclose((w.reshape(5, -1) @ columns).reshape(y.shape), y, atol=1e-4)
    u = RNG.standard_normal(columns.shape).astype("f4")
    folded = tg.fold(u, (14, 13), (3, 2), 2, (2, 1), (1, 2))
    np.testing.assert_allclose(np.vdot(folded, BATCH), np.vdot(u, columns), rtol=1e-3)
