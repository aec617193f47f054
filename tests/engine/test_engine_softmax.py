"""The softmax in blocks: any axis, layout and size, against the formula in float64."""

from __future__ import annotations

import numpy as np
import pytest

import tinygrad_cnn as tg
from tinygrad_cnn.engine import softmax

CASES = [((64, 10), 1), ((700, 10), 1), ((300, 1000), -1), ((3, 21, 40, 50), 1),
         ((5, 3, 400), 1), ((40, 2, 9, 11), 1), ((40, 7, 9, 11), 0), ((2, 70, 8, 70), -1),
         ((90000, 1), 1), ((3, 700, 200), 1)]  # fmt: skip


def _orders(x):
    yield x
    if x.ndim == 4:
        yield np.ascontiguousarray(x.transpose(2, 3, 1, 0)).transpose(3, 2, 0, 1)
        yield np.repeat(x, 2, axis=1)[:, ::2]


def _softmax(x, axis):
    powers = np.exp(x - x.max(axis, keepdims=True))
    return powers / powers.sum(axis, keepdims=True)


@pytest.mark.parametrize(("shape", "axis"), CASES)
@pytest.mark.parametrize("dtype", ["f4", "f8", "c16"])
def test_softmax_and_its_gradients_are_right_along_any_axis(shape, axis, dtype):
    rng = np.random.default_rng(0)
    exact, g = rng.standard_normal((2, *shape)) * 3.0
    exact, g = exact.astype(dtype).real, g.astype(dtype).real
    y = _softmax(exact.astype("f8"), axis)
    digits = 1e-6 if dtype == "f4" else 1e-14
    with tg.engine.options(poison=True):
        for x in _orders(exact.astype(dtype)):
            s = softmax.softmax(x, axis)
            assert np.abs(s - y).max() < digits
            assert np.abs(softmax.log_softmax(x, axis) - np.log(y)).max() < 10 * digits
            powers = softmax.powers(x, axis)
            assert np.abs(powers - y / y.max(axis, keepdims=True)).max() < digits
            expected = y * (g - (g * y).sum(axis, keepdims=True))
            assert np.abs(softmax.softmax_gradient(g, s, axis) - expected).max() < 10 * digits
            expected = g - y * g.sum(axis, keepdims=True)
            found = softmax.log_softmax_gradient(g, np.log(y).astype(dtype), axis)
            assert np.abs(found - expected).max() < 200 * digits
            if x.flags.c_contiguous or x.transpose(2, 3, 1, 0).flags.c_contiguous:
                assert s.strides == x.strides


@pytest.mark.parametrize("temperature", [0.5, 3.0])
def test_a_temperature_divides_the_logits_of_a_large_array(temperature):
    x = np.random.default_rng(0).standard_normal((300, 100), "f4")
    y = _softmax(x.astype("f8") / temperature, 1)
    np.testing.assert_allclose(softmax.softmax(x, 1, temperature), y, rtol=2e-5)
    np.testing.assert_allclose(softmax.log_softmax(x, 1, temperature), np.log(y), rtol=1e-5)


@pytest.mark.parametrize(("shape", "axis"), CASES)
@pytest.mark.parametrize("reduction", ["mean", "none"])
def test_cross_entropy_of_labels_and_its_gradient(shape, axis, reduction):
    rng = np.random.default_rng(0)
    values = rng.standard_normal(shape, "f4")
    axis %= values.ndim
    examples = shape[:axis] + shape[axis + 1 :]
    labels = rng.integers(0, shape[axis], examples)
    labels.flat[::5] = -100
    y = _softmax(values.astype("f8"), axis)
    g = np.ones(()) if reduction == "mean" else rng.standard_normal(examples)
    one_hot = np.moveaxis(np.eye(shape[axis])[np.maximum(labels, 0)], -1, axis)
    weights = (labels >= 0) / ((labels >= 0).sum() if reduction == "mean" else 1)
    losses = -np.log((y * one_hot).sum(axis)) * weights
    expected = (y - one_hot) * np.expand_dims(weights * g, axis)
    for x in _orders(values):
        logits = tg.Tensor._of(x)
        logits.requires_grad = True
        loss = tg.cross_entropy(logits, labels, reduction, axis=axis)
        np.testing.assert_allclose(
            loss.numpy(), losses.sum() if reduction == "mean" else losses, rtol=1e-5, atol=1e-6
        )
        loss.backward(g)
        assert np.abs(logits.grad - expected).max() <= 1e-6 * np.abs(expected).max()


def test_an_unlikely_class_has_its_whole_loss():
    x = np.array([[0.0, -1e3, -np.inf], [0.0, -80.0, -90.0], [5.0, -95.0, 1.0]] * 800, "f4")
    for axis, logits in ((1, x), (0, x.T.copy())):
        for label, expected in ((0, [0.0, 0.0]), (1, [1e3, 80.0]), (2, [np.inf, 90.0])):
            found = tg.cross_entropy(logits, np.full(len(x), label), "none", axis=axis)
            np.testing.assert_allclose(found[:2], expected, rtol=1e-6)


def test_images_keep_their_layout():
    x = np.random.default_rng(0).standard_normal((8, 8, 40, 40, 3), "f4")[..., 0]
    images_last = np.ascontiguousarray(x.transpose(2, 3, 1, 0)).transpose(3, 2, 0, 1)
    for images in (images_last, np.ascontiguousarray(x)):
        logits = tg.Tensor._of(images)
        logits.requires_grad = True
        tg.cross_entropy(logits, np.zeros((8, 40, 40), int)).backward()
        assert logits.grad.strides == images.strides
