"""The receptive field of a cell is where the gradient of its value is not zero."""

from __future__ import annotations

import dataclasses

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from support.studio_networks import network, normalized, picture, run_of

import tinygrad_cnn as tg
from tinygrad_cnn import nn
from tinygrad_cnn.studio.explain.field import receptive_field
from tinygrad_cnn.studio.explain.forward import forward


def positive(model, low=0.05, high=0.2):
    """Return a model whose weights are all positive, so that no gradient cancels."""
    rng = np.random.default_rng(5)
    for parameter in model.parameters():
        parameter._array = rng.uniform(low, high, parameter.shape)
    return model


def support(run, image, layer, index):
    """Return where in the picture the gradient of a cell is not 0, as the module gives it."""
    model = run.model
    found = {}
    module = dict(model.named_modules())[layer]
    own = module.forward
    try:
        module.forward = lambda x: found.setdefault("y", own(x))
        x = tg.Tensor(normalized(run, image, "f8"), requires_grad=True)
        model(x)
    finally:
        del module.forward
    (gradient,) = tg.grad(found["y"][(0, *index)], x)
    return gradient[0, 0] != 0


def fills(rectangle, where):
    expected = np.zeros_like(where)
    expected[rectangle.top : rectangle.bottom, rectangle.left : rectangle.right] = True
    np.testing.assert_array_equal(where, expected)


@st.composite
def windowed(draw):
    """Draw a network of convolutions and average poolings whose windows leave no gap."""
    rng = np.random.default_rng(0)
    size = draw(st.tuples(st.integers(8, 14), st.integers(8, 14)))
    left = list(size)
    modules: list[nn.Module] = []
    channels = 1
    for _ in range(draw(st.integers(1, 4))):
        kernel = tuple(draw(st.integers(1, min(4, n))) for n in left)
        stride = tuple(draw(st.integers(1, k)) for k in kernel)
        most = min(kernel) // 2
        padding = tuple(draw(st.integers(0, most)) for _ in kernel)
        if draw(st.booleans()):
            modules.append(nn.Conv2d(channels, 2, kernel, stride, padding, rng=rng))
            channels = 2
        else:
            modules.append(nn.AvgPool2d(kernel, stride, padding))
        modules.append(nn.ReLU())
        left = [
            (n + 2 * p - k) // s + 1
            for n, p, k, s in zip(left, padding, kernel, stride, strict=True)
        ]
    units = channels * left[0] * left[1]
    tail = [nn.Flatten(), nn.Linear(units, 10, rng=rng)]
    run = run_of(positive(nn.Sequential(*modules, *tail)), shape=size)
    at = len(modules) - 1
    return run, str(at), (draw(st.integers(0, channels - 1)),
                          *(draw(st.integers(0, n - 1)) for n in left))  # fmt: skip


@given(windowed())
def test_the_field_is_where_the_gradient_is_not_zero(drawn):
    run, name, index = drawn
    image = np.full(run.settings.data.input_shape[1:], 255, np.uint8)
    layer = next(layer for layer in forward(run, image).layers if layer.name == name)
    fills(receptive_field(layer, index), support(run, image, name, index))


@given(st.data())
def test_the_field_in_a_ready_network_is_where_the_gradient_is_not_zero(data):
    options = {"activation": "sigmoid", "pooling": "average"}
    model = nn.build(
        "lenet5", input_shape=(1, 28, 28), classes=10, rng=np.random.default_rng(0), **options
    )
    run = run_of(positive(model, 1e-3, 2e-3))
    image = picture(0)
    layer = data.draw(st.sampled_from(forward(run, image).layers))
    index = tuple(data.draw(st.integers(0, size - 1)) for size in layer.output.shape)
    fills(receptive_field(layer, index), support(run, image, layer.name, index))


def test_fields_of_lenet_are_those_of_the_books():
    seen = {layer.name: layer for layer in forward(network("lenet5"), picture(0)).layers}
    sizes = {
        name: dataclasses.astuple(receptive_field(seen[name], (0, row, row)))
        for name, row in (("conv1", 10), ("pool1", 5), ("conv2", 4), ("pool2", 2))
    }
    assert sizes == {
        "conv1": (8, 8, 13, 13),
        "pool1": (8, 8, 14, 14),
        "conv2": (6, 6, 20, 20),
        "pool2": (6, 6, 22, 22),
    }
