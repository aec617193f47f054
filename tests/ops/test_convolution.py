"""Convolution against SciPy and plain loops; its gradients as its adjoints."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.signal import convolve2d, correlate2d
from support.compare import assert_close

import tinygrad_cnn as tg
from tinygrad_cnn import nn
from tinygrad_cnn.check import check_gradients
from tinygrad_cnn.check.strategies import (
    Convolution,
    arrays,
    convolutions,
    transposed_convolutions,
)
from tinygrad_cnn.engine.convolution import reference

EXACT = 1e-12


def inner(a: Any, b: Any) -> float:
    return float(np.sum(np.asarray(a) * np.asarray(b)))


@pytest.mark.parametrize("kernel", [(1, 1), (3, 3), (2, 5), (4, 1)])
@pytest.mark.parametrize("mode", ["valid", "same"])
def test_conv2d_is_scipys_correlation(kernel: tuple[int, int], mode: str) -> None:
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((2, 3, 9, 8)), rng.standard_normal((4, 3, *kernel))
    y = tg.conv2d(x, w, padding=mode)
    for n, o in np.ndindex(2, 4):
        if mode == "valid":
            expected = sum(correlate2d(x[n, c], w[o, c], "valid") for c in range(3))
        else:  # where the kernel is even, SciPy centers it one cell earlier: cut it out of "full"
            full = sum(correlate2d(x[n, c], w[o, c], "full") for c in range(3))
            top, left = kernel[0] // 2, kernel[1] // 2
            expected = full[top : top + 9, left : left + 8]
        assert_close(y[n, o], expected, "y", EXACT)


@given(at=convolutions(batches=(0, 1, 2)), data=st.data())
def test_conv2d_gradients_are_its_adjoints(at: Convolution, data: st.DataObject) -> None:
    """⟨u, C(x, w)⟩ = ⟨X(u, w), x⟩ = ⟨W(u, x), w⟩."""
    x, w = data.draw(arrays(at.x)), data.draw(arrays(at.w))
    y = tg.conv2d(x, w, **at.options)
    u = data.draw(arrays(y.shape))
    value = inner(u, reference.conv2d(x, w, **at.options))
    scale = 1e-12 * max(1.0, inner(np.abs(u), np.abs(y)) + np.abs(x).sum() * np.abs(w).sum())
    dx = tg.conv2d_input_gradient(u, w, at.x, **at.options)
    dw = tg.conv2d_weight_gradient(u, x, at.w, **at.options)
    assert dx.shape == at.x
    assert dw.shape == at.w
    assert abs(inner(dx, x) - value) <= scale
    assert abs(inner(dw, w) - value) <= scale


@given(at=convolutions(batches=(0, 1, 2)), data=st.data())
def test_conv2d_and_its_gradients_are_the_sums_of_the_reference(
    at: Convolution, data: st.DataObject
) -> None:
    x, w = data.draw(arrays(at.x)), data.draw(arrays(at.w))
    y = reference.conv2d(x, w, **at.options)
    u = data.draw(arrays(y.shape))
    assert_close(tg.conv2d(x, w, **at.options), y, "y", EXACT)
    dx = reference.conv2d_input_gradient(u, w, at.x, **at.options)
    assert_close(tg.conv2d_input_gradient(u, w, at.x, **at.options), dx, "dx", EXACT)
    dw = reference.conv2d_weight_gradient(u, x, at.w, **at.options)
    assert_close(tg.conv2d_weight_gradient(u, x, at.w, **at.options), dw, "dw", EXACT)


@given(at=convolutions(batches=(0, 1, 2)), data=st.data())
def test_grad_of_conv2d_is_those_adjoints(at: Convolution, data: st.DataObject) -> None:
    x = tg.Tensor(data.draw(arrays(at.x)), requires_grad=True)
    w = tg.Tensor(data.draw(arrays(at.w)), requires_grad=True)
    bias = tg.Tensor(np.zeros(at.w[0]), requires_grad=True)
    y = tg.conv2d(x, w, bias, **at.options)
    u = data.draw(arrays(y.shape))
    dx, dw, db = tg.grad(y, [x, w, bias], gradient=u)
    assert_close(dx, tg.conv2d_input_gradient(u, w.numpy(), at.x, **at.options), "dx", EXACT)
    assert_close(dw, tg.conv2d_weight_gradient(u, x.numpy(), at.w, **at.options), "dw", EXACT)
    assert_close(db, u.sum(axis=(0, 2, 3)), "db", EXACT)


@given(at=transposed_convolutions(batches=(0, 1, 2)), data=st.data())
def test_conv_transpose2d_is_the_transposed_matrix_of_conv2d(
    at: Convolution, data: st.DataObject
) -> None:
    """Built from columns: the convolution of every unit image."""
    x, w = data.draw(arrays(at.x)), data.draw(arrays(at.w))
    y = tg.conv_transpose2d(x, w, **at.options)
    options = {k: v for k, v in at.options.items() if k != "output_padding"}
    image, result = y.shape[1:], at.x[1:]
    units = np.eye(int(np.prod(image))).reshape(-1, *image)
    matrix = reference.conv2d(units, w, **options)  # row i: the convolution of unit image i
    assert matrix.shape[1:] == result
    expected = x.reshape(len(x), np.prod(result)) @ matrix.reshape(len(units), -1).T
    assert_close(y, expected.reshape(y.shape), "y", EXACT)


@given(at=transposed_convolutions(batches=(0, 1, 2)))
def test_conv_transpose2d_gives_a_size_that_conv2d_takes_back(at: Convolution) -> None:
    y = tg.conv_transpose2d(np.zeros(at.x), np.zeros(at.w), **at.options)
    options = {k: v for k, v in at.options.items() if k != "output_padding"}
    assert tg.conv2d(y, np.zeros(at.w), **options).shape == at.x


def test_conv_transpose2d_is_scipys_full_convolution() -> None:
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((2, 3, 5, 4)), rng.standard_normal((3, 2, 3, 2))
    y = tg.conv_transpose2d(x, w, np.array([1.0, -1.0]))
    for n, o in np.ndindex(2, 2):
        expected = sum(convolve2d(x[n, c], w[c, o], "full") for c in range(3)) + (1.0, -1.0)[o]
        assert_close(y[n, o], expected, "y", EXACT)


def test_depthwise_convolution_keeps_channels_apart() -> None:
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((1, 3, 6, 6)), rng.standard_normal((3, 1, 3, 3))
    y = tg.conv2d(x, w, groups=3)
    for c in range(3):
        assert_close(y[0, c], correlate2d(x[0, c], w[c, 0], "valid"), "y", EXACT)


@pytest.mark.parametrize("kernel", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("dilation", [1, 2, 3])
def test_padding_same_keeps_the_size(kernel: int, dilation: int) -> None:
    x, w = np.ones((1, 1, 7, 6)), np.ones((1, 1, kernel, kernel))
    assert tg.conv2d(x, w, padding="same", dilation=dilation).shape == x.shape


def test_an_empty_batch_has_an_empty_result_and_zero_weight_gradient() -> None:
    x = tg.Tensor(np.zeros((0, 2, 5, 5)), requires_grad=True)
    w = tg.Tensor(np.ones((3, 2, 3, 3)), requires_grad=True)
    bias = tg.Tensor(np.ones(3), requires_grad=True)
    y = tg.conv2d(x, w, bias)
    assert y.shape == (0, 3, 3, 3)
    dx, dw, db = tg.grad(y.sum(), [x, w, bias])
    assert dx.shape == x.shape
    np.testing.assert_array_equal(dw, np.zeros(w.shape))
    np.testing.assert_array_equal(db, np.zeros(3))


def test_options_may_be_lists_and_numpy_integers() -> None:
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((1, 1, 6, 6)), rng.standard_normal((1, 1, 2, 2))
    expected = tg.conv2d(x, w, stride=(2, 1), padding=(1, 1), dilation=(2, 2))
    y = tg.conv2d(x, w, stride=[np.int64(2), 1], padding=[1, 1], dilation=np.int64(2))
    np.testing.assert_array_equal(y, expected)


def test_multiply_adds_of_a_convolution_are_counted() -> None:
    x, w = np.zeros((2, 4, 5, 5)), np.zeros((6, 2, 3, 3))
    y = tg.conv2d(x, w, groups=2)
    arguments = {"x": x, "w": w, "bias": None, "stride": 1, "padding": 0, "dilation": 1}
    cost = tg.conv2d.cost({**arguments, "groups": 2}, y)
    assert cost == 2 * 6 * 3 * 3 * (2 * 3 * 3)


FAR = {"stride": (1, 2), "padding": (1, 0), "output_padding": (2, 2), "dilation": 3}


def test_an_output_padding_below_the_dilation_is_pytorchs() -> None:
    x = tg.Tensor(np.arange(6.0).reshape(1, 1, 2, 3) * 5 % 7 - 2, requires_grad=True)
    w = tg.Tensor(np.arange(4.0).reshape(1, 1, 2, 2) - 1.5, requires_grad=True)
    y = tg.conv_transpose2d(x, w, np.array([0.25]), **FAR)
    expected = np.full((5, 10), 0.25)
    expected[0, :8] = [1.75, 0.25, -5.75, 0.75, -2.75, -1.75, 0.25, -0.75]
    expected[2, :8] = [-0.75, 0.25, 1.75, -2.75, 0.75, 4.75, 0.25, 1.75]
    expected[3, :8] = [-0.25, 0.25, 2.25, -1.25, 1.25, 6.25, 0.25, 3.25]
    np.testing.assert_array_equal(y.numpy()[0, 0], expected)
    u = np.arange(50.0).reshape(y.shape) * 3 % 5
    dx, dw = tg.grad(y, [x, w], gradient=u)
    assert dx.tolist() == [[[[6.0, 0.5, 2.5], [4.0, -1.0, -1.0]]]]
    assert dw.tolist() == [[[[8.0, -2.0], [13.0, -9.0]]]]


@given(
    n=st.integers(1, 3),
    kernel=st.integers(1, 3),
    stride=st.integers(1, 3),
    dilation=st.integers(1, 4),
    padding=st.integers(0, 3),
    data=st.data(),
)
def test_an_output_padding_of_any_size_adds_rows_where_no_cell_of_x_may_reach(
    n: int, kernel: int, stride: int, dilation: int, padding: int, data: st.DataObject
) -> None:
    """Every cell of `x` adds its kernel, wherever that falls on the output."""
    extra = data.draw(st.integers(0, max(stride, dilation) - 1))
    size = (n - 1) * stride - 2 * padding + dilation * (kernel - 1) + extra + 1
    assume(size > 0)
    x, w = data.draw(arrays((1, 1, n, 1))), data.draw(arrays((1, 1, kernel, 1)))
    options = {"stride": (stride, 1), "padding": (padding, 0), "dilation": (dilation, 1)}
    expected = np.zeros(size)
    for i, k in np.ndindex(n, kernel):
        place = i * stride + k * dilation - padding
        if 0 <= place < size:
            expected[place] += x[0, 0, i, 0] * w[0, 0, k, 0]

    def transposed(x: Any, w: Any) -> Any:
        return tg.conv_transpose2d(x, w, output_padding=(extra, 0), **options)

    assert_close(transposed(x, w)[0, 0, :, 0], expected, "y", EXACT)
    check_gradients(transposed, x, w, order=2)


@pytest.mark.parametrize("name", ["stride", "padding", "dilation", "output_padding"])
@pytest.mark.parametrize("value", [(1,), [1], np.array([1]), (1, 1, 1), (1.0, 1), True, 1.0])
def test_an_option_is_a_whole_number_or_a_pair(name: str, value: Any) -> None:
    x, w = np.ones((1, 1, 3, 3)), np.ones((1, 1, 1, 1))
    calls: list[Any] = [
        lambda **options: tg.conv_transpose2d(x, w, **options),
        lambda **options: nn.ConvTranspose2d(1, 1, 1, rng=np.random.default_rng(0), **options),
    ]
    if name != "output_padding":
        calls.append(lambda **options: tg.conv2d(x, w, **options))
        calls.append(lambda **options: nn.Conv2d(1, 1, 1, rng=np.random.default_rng(0), **options))
    for call in calls:
        with pytest.raises(ValueError, match=f"{name} is .*expected an integer .* or a pair"):
            call(**{name: value})


def test_an_option_may_be_an_array_of_two() -> None:
    x, w = np.ones((1, 1, 5, 5)), np.ones((1, 1, 1, 1))
    for pair in (np.array([2, 1]), [2, 1]):
        assert tg.conv2d(x, w, stride=pair).shape == (1, 1, 3, 5)
        assert tg.maxpool(x, 1, stride=pair).shape == (1, 1, 3, 5)
        assert tg.conv2d(x, w, stride=np.array(2)).shape == (1, 1, 3, 3)
        assert nn.Conv2d(1, 1, pair, rng=np.random.default_rng(0)).weight.shape == (1, 1, 2, 1)


@pytest.mark.parametrize("bad", [1.0, True, np.float32(1), (1, True), (1.0, 1)])
@pytest.mark.parametrize("option", ["stride", "padding", "dilation"])
def test_what_was_computed_before_decides_no_check(bad: Any, option: str) -> None:
    x, w = np.ones((1, 1, 5, 5)), np.ones((1, 1, 2, 2))
    tg.conv2d(x, w, **{option: 1})
    tg.conv2d(x, w, **{option: (1, 1)})
    with pytest.raises(ValueError, match=f"{option} is"):
        tg.conv2d(x, w, **{option: bad})
