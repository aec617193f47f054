"""Pooling against plain loops and PyTorch's definitions of its options."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from support import naive
from support.compare import assert_close

import tinygrad_cnn as tg
from tinygrad_cnn.check.strategies import Pooling, arrays, distinct, poolings

EXACT = 1e-13
CEIL = {"stride": 2, "padding": 0, "ceil_mode": True}


@given(at=poolings(), data=st.data(), ties=st.booleans())
def test_maxpool_gradient_goes_to_the_first_largest_of_each_window(
    at: Pooling, data: st.DataObject, ties: bool
) -> None:
    x = data.draw(arrays(at.x, -0.125, 0.125) if ties else distinct(at.x))
    _, expected = naive.maxpool(x, **at.options)
    leaf = tg.Tensor(x, requires_grad=True)
    (gradient,) = tg.grad(tg.maxpool(leaf, **at.options).sum(), leaf)
    np.testing.assert_array_equal(gradient, expected)


@given(at=poolings(average=True), data=st.data())
def test_avgpool_gradient_is_the_adjoint(at: Pooling, data: st.DataObject) -> None:
    x = data.draw(arrays(at.x))
    y = naive.avgpool(x, **at.options)
    u = data.draw(arrays(y.shape))
    dx = tg.avgpool_gradient(u, at.x, **at.options)
    assert_close(np.sum(dx * x), np.sum(u * y), "⟨dx, x⟩", 1e-12)


@given(at=poolings(), data=st.data(), seed=st.integers(0, 2**32 - 1))
def test_scatter_windows_is_the_adjoint_of_gather_windows(
    at: Pooling, data: st.DataObject, seed: int
) -> None:
    x = data.draw(arrays(at.x))
    windows = tg.maxpool(x, **at.options).shape
    cells = int(np.prod(np.broadcast_to(at.options["kernel_size"], 2)))
    winner = np.random.default_rng(seed).integers(cells, size=windows)
    u = data.draw(arrays(windows))
    y = tg.gather_windows(x, winner, **at.options)
    dx = tg.scatter_windows(u, winner, at.x, **at.options)
    assert_close(np.sum(dx * x), np.sum(u * y), "⟨dx, x⟩", 1e-12)


@example(height=1, kernel=2, stride=2, padding=0)  # a window may be larger than the image
@example(height=4, kernel=2, stride=3, padding=1)  # the last one would start on the border
@example(height=5, kernel=3, stride=3, padding=1)
@given(
    height=st.integers(1, 9),
    kernel=st.integers(1, 4),
    stride=st.integers(1, 4),
    padding=st.integers(0, 2),
)
def test_ceil_mode_rounds_the_number_of_windows_up_if_the_last_starts_on_the_image(
    height: int, kernel: int, stride: int, padding: int
) -> None:
    padding = min(padding, kernel // 2)
    assume(height + 2 * padding - kernel > -stride)  # else there is none to round up to
    starts = [-padding]
    while starts[-1] + kernel < height + padding:  # until one covers the end
        starts.append(starts[-1] + stride)
    expected = [start for start in starts if start < height]
    options = {"stride": (stride, 1), "padding": (padding, 0), "ceil_mode": True}
    x = np.zeros((1, 1, height, 1))
    assert tg.maxpool(x, (kernel, 1), **options).shape == (1, 1, len(expected), 1)
    assert tg.avgpool(x, (kernel, 1), **options).shape == (1, 1, len(expected), 1)


@pytest.mark.parametrize(
    ("options", "expected"),
    [  # of 1, 2, 3, 4, 5 in windows of 2 with a border of 1: 0 1 | 2 3 | 4 5 | (0)
        ({"padding": (0, 1)}, [0.5, 2.5, 4.5]),
        ({"padding": (0, 1), "count_include_pad": False}, [1.0, 2.5, 4.5]),
        ({"padding": 0}, [1.5, 3.5]),
        ({"padding": 0, "ceil_mode": True}, [1.5, 3.5, 5.0]),  # beyond the border: never counts
        ({"padding": 0, "ceil_mode": True, "count_include_pad": False}, [1.5, 3.5, 5.0]),
    ],
)
def test_avgpool_divides_by_what_pytorch_divides_by(options: dict, expected: list[float]) -> None:
    x = np.arange(1.0, 6.0).reshape(1, 1, 1, 5)
    np.testing.assert_allclose(tg.avgpool(x, (1, 2), **options)[0, 0, 0], expected)


def test_avgpool_of_a_window_over_padding_and_beyond_counts_only_the_padding() -> None:
    x = np.arange(1.0, 5.0).reshape(
        1, 1, 1, 4
    )  # windows 0 1 2 | 3 4 0; with stride 2: 2 3 4 | 4 0 .
    y = tg.avgpool(x, (1, 3), stride=2, padding=(0, 1), ceil_mode=True)
    np.testing.assert_allclose(y[0, 0, 0], [3 / 3, 9 / 3, 4 / 2])


def test_the_first_maximum_wins() -> None:
    x = tg.Tensor(np.ones((1, 1, 2, 2)), requires_grad=True)
    (gradient,) = tg.grad(tg.maxpool(x, 2), x, gradient=np.ones((1, 1, 1, 1)))
    np.testing.assert_array_equal(gradient[0, 0], [[1, 0], [0, 0]])


def test_padding_never_wins() -> None:
    x = tg.Tensor(np.full((1, 1, 2, 2), -5.0), requires_grad=True)
    y = tg.maxpool(x, 2, stride=1, padding=1)
    np.testing.assert_array_equal(y.numpy(), np.full((1, 1, 3, 3), -5.0))
    np.testing.assert_array_equal(tg.grad(y.sum(), x)[0][0, 0], [[4, 2], [2, 1]])


def test_minus_infinity_everywhere_still_sends_the_gradient_to_the_first_cell_of_the_image() -> (
    None
):
    x = tg.Tensor(np.full((1, 1, 2, 2), -np.inf), requires_grad=True)
    y = tg.maxpool(x, 2, stride=2, padding=1)
    assert y.shape == (1, 1, 2, 2)
    np.testing.assert_array_equal(tg.grad(y.sum(), x)[0], np.ones((1, 1, 2, 2)))


def test_overlapping_windows_add_their_gradients() -> None:
    x = tg.Tensor(np.array([[[[1.0, 3.0, 2.0]]]]), requires_grad=True)
    (gradient,) = tg.grad(tg.maxpool(x, (1, 2), stride=1).sum(), x)
    np.testing.assert_array_equal(gradient[0, 0], [[0, 2, 0]])


def test_maxpool_of_integers_is_theirs() -> None:
    x = np.array([[[[-4, -3], [-2, -9]]]])
    y = tg.maxpool(x, 2)
    assert y.dtype == x.dtype
    assert y.item() == -2


@given(data=st.data())
def test_global_avgpool_is_the_mean_of_each_channel(data: st.DataObject) -> None:
    shape = data.draw(st.tuples(*[st.integers(1, 3)] * 4))
    x = data.draw(arrays(shape))
    leaf = tg.Tensor(x, requires_grad=True)
    y = tg.global_avgpool(leaf)
    assert_close(y.numpy(), x.mean(axis=(2, 3)), "y", EXACT)
    (gradient,) = tg.grad(y.sum(), leaf)
    assert_close(gradient, np.full(shape, 1 / (shape[2] * shape[3])), "dx", EXACT)


@pytest.mark.parametrize("padding", [2, (1, 2)])
def test_a_border_may_be_wider_than_half_a_window_if_asked(padding: Any) -> None:
    """Each window still reaches the image, so that there is a maximum and a mean."""
    x = -np.arange(1.0, 5.0).reshape(1, 1, 2, 2)
    for op, layer in ((tg.maxpool, tg.nn.MaxPool2d), (tg.avgpool, tg.nn.AvgPool2d)):
        with pytest.raises(ValueError, match=r"half of a window of .*wide_padding=True"):
            op(x, 3, 1, padding)
        with pytest.raises(ValueError, match=r"half of a window of .*wide_padding=True"):
            layer(3, 1, padding)
        y = op(x, 3, 1, padding, wide_padding=True)
        np.testing.assert_array_equal(layer(3, 1, padding, wide_padding=True)(x), y)
        assert y[0, 0, 0, 0] == -1.0 / (9 if op is tg.avgpool else 1) or padding != 2
        with pytest.raises(ValueError, match="padding is 3, expected less than a window"):
            op(x, 3, 1, 3, wide_padding=True)
        with pytest.raises(ValueError, match="padding is 3, expected less than a window"):
            layer(3, 1, 3, wide_padding=True)
    counted = tg.avgpool(x, 3, 1, padding, count_include_pad=False, wide_padding=True)
    assert np.isfinite(counted).all()
