"""Ready models: their shapes and counts, and that each is built to fit the data."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_cnn as tg
from tinygrad_cnn import nn
from tinygrad_cnn.nn import models


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_the_perceptron_is_that_of_the_text() -> None:
    """Y = S(z²), z² = Σ (σ(z¹) w² + b²), z¹ = Σ (x w¹ + b¹): eq 15, 16 and 25, written out."""
    draw = nn.init.standard_normal
    with tg.default_dtype("float64"):
        model = nn.MLP((4, 3, 2), "sigmoid", "softmax", "per_connection", draw, draw, rng=rng())
    x = rng(1).normal(size=(5, 1, 2, 2))
    hidden, out = model.fc
    z1 = x.reshape(5, 4) @ hidden.weight.data.T + hidden.bias.data.sum(1)
    z2 = 1 / (1 + np.exp(-z1)) @ out.weight.data.T + out.bias.data.sum(1)
    expected = np.exp(z2) / np.exp(z2).sum(1, keepdims=True)
    np.testing.assert_allclose(model(x).numpy(), expected)
    assert hidden.bias.shape == (3, 4)
    assert hidden.bias.data.std() > 0.3


@given(st.lists(st.integers(1, 6), min_size=2, max_size=5))
def test_a_perceptron_has_a_layer_between_each_two_sizes(sizes: list[int]) -> None:
    model = nn.MLP(sizes, rng=rng())
    assert [layer.weight.shape for layer in model.fc] == list(
        zip(sizes[1:], sizes[:-1], strict=True)
    )
    assert len(model.activations) == len(sizes) - 2
    y = model(np.ones((2, sizes[0]), "f4"))
    assert y.shape == (2, sizes[-1])
    assert y.node.scope == f"fc.{len(sizes) - 2}"


@pytest.mark.parametrize("activation", nn.ACTIVATIONS)
def test_a_perceptron_starts_with_what_suits_its_activation(activation: str) -> None:
    model = nn.MLP((50, 40, 10), activation, rng=rng())
    saturates = activation in ("sigmoid", "tanh")
    initializer = nn.init.xavier_uniform if saturates else nn.init.kaiming_uniform
    expected = initializer((40, 50), rng(), "f4")
    np.testing.assert_array_equal(model.fc[0].weight.data, expected)
    assert type(model.activations[0]) is nn.ACTIVATIONS[activation].factory
    z = rng(1).normal(size=7)
    np.testing.assert_array_equal(model.activations[0](z), getattr(tg, activation)(z))


@pytest.mark.parametrize("pooling", nn.POOLINGS)
@pytest.mark.parametrize("activation", nn.ACTIVATIONS)
def test_lenet_gives_a_logit_a_class(activation: str, pooling: str) -> None:
    model = nn.LeNet5(7, activation, pooling, rng=rng())
    y = model(rng(1).normal(size=(3, 1, 28, 28)).astype("f4"))
    assert (y.shape, y.dtype) == ((3, 7), np.float32)
    assert (np.abs(y.numpy().sum(1)) > 1e-3).any()  # no probabilities


@pytest.mark.parametrize(("pooling", "pool"), [("max", tg.maxpool), ("average", tg.avgpool)])
def test_lenet_is_its_ops_in_a_row(pooling: str, pool: Any) -> None:
    model = nn.LeNet5(activation="tanh", pooling=pooling, rng=rng())
    w = {name: p.data for name, p in model.named_parameters()}
    x = rng(1).normal(size=(2, 1, 28, 28)).astype("f4")
    y = pool(np.tanh(tg.conv2d(x, w["conv1.weight"], w["conv1.bias"], padding=2)), 2)
    y = pool(np.tanh(tg.conv2d(y, w["conv2.weight"], w["conv2.bias"])), 2).reshape(2, -1)
    y = np.tanh(y @ w["fc1.weight"].T + w["fc1.bias"])
    y = np.tanh(y @ w["fc2.weight"].T + w["fc2.bias"])
    y = y @ w["fc3.weight"].T + w["fc3.bias"]
    np.testing.assert_allclose(model(x).numpy(), y, rtol=1e-4, atol=1e-5)


@given(st.integers(1, 3), st.integers(12, 33), st.integers(12, 33))
def test_convolutional_models_fit_any_image(channels: int, height: int, width: int) -> None:
    size = (height, width)
    x = np.zeros((1, channels, *size), "f4")
    options: dict[str, Any] = {"in_channels": channels, "image_size": size, "rng": rng()}
    assert nn.LeNet5(4, **options)(x).shape == (1, 4)
    assert nn.VGG(4, widths=(2, 3), hidden=5, **options)(x).shape == (1, 4)


def test_vgg_has_the_parameters_worked_out_by_hand() -> None:
    convolutions = 3 * 9 * 32 + 32 + 32 * 9 * 32 + 32 + 32 * 9 * 64 + 64 + 64 * 9 * 64 + 64
    full = 64 * 8 * 8 * 256 + 256 + 256 * 10 + 10
    assert nn.VGG(rng=rng()).summary().parameters == convolutions + full
    names = {module for module, _ in nn.VGG(rng=rng()).named_modules()}
    assert {"features.0", "classifier.3"} <= names


def test_vgg_with_batch_norm_and_dropout() -> None:
    model = nn.VGG(3, 1, 8, (2,), 5, True, 0.5, rng=rng())
    kinds = [type(layer).__name__ for layer in model.features]
    assert kinds == ["Conv2d", "BatchNorm2d", "ReLU"] * 2 + ["MaxPool2d"]
    assert model.features[0].bias is None
    assert any(isinstance(layer, nn.Dropout) for layer in model.classifier)


@pytest.mark.parametrize("name", sorted(nn.MODELS.keys() - {"resnet18", "resnet34", "resnet50"}))
def test_the_same_seed_gives_the_same_bits_in_every_model(name: str) -> None:
    states = [
        nn.build(name, input_shape=(1, 12, 14), classes=3, rng=rng(5)).state_dict()
        for _ in range(2)
    ]
    assert all(states[0][key].tobytes() == states[1][key].tobytes() for key in states[0])
    kinds = {array.dtype for key, array in states[0].items() if not key.endswith("tracked")}
    assert kinds == {np.dtype("f4")}


@pytest.mark.parametrize("name", nn.MODELS)
def test_build_fits_the_model_to_the_data(name: str) -> None:
    model = nn.build(name, input_shape=[2, 12, 14], classes=3, rng=rng())
    assert model(np.zeros((4, 2, 12, 14), "f4")).shape == (4, 3)
    assert model.summary().multiply_adds


def test_build_passes_options_on() -> None:
    options: dict[str, Any] = {"input_shape": (1, 28, 28), "classes": 10, "rng": rng()}
    assert nn.build("mlp", hidden=(8, 9), activation="relu", **options).sizes == (784, 8, 9, 10)
    assert nn.build("lenet5", pooling="average", **options).pooling == "average"
    assert nn.build("vgg", widths=(2,), **options).widths == (2,)
    expected = "build: lenet5 has no option 'depth'; it has activation=relu, pooling=max"
    with pytest.raises(ValueError, match=expected):
        nn.build("lenet5", depth=3, **options)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: nn.build("resnet", input_shape=(1, 9, 9), classes=2, rng=rng()),
         "there is no model 'resnet'; expected one of mlp, lenet5, vgg, resnet20"),
        (lambda: nn.build("vgg", input_shape=(9, 9), classes=2, rng=rng()),
         r"input_shape is \(9, 9\), but vgg takes images: \(C, H, W\)"),
        (lambda: nn.build("mlp", input_shape=(0, 9), classes=2, rng=rng()),
         r"input_shape\[0\] is 0"),
        (lambda: nn.build("mlp", input_shape=9, classes=2, rng=rng()), "input_shape is 9"),
        (lambda: nn.MLP((4,), rng=rng()), r"MLP: sizes is \(4,\), expected at least"),
        (lambda: nn.MLP(784, rng=rng()), "MLP: sizes is 784"),
        (lambda: nn.MLP((4, 0), rng=rng()), r"MLP: sizes\[1\] is 0"),
        (lambda: nn.MLP((4, 2), "swish", rng=rng()), "MLP: activation is 'swish', expected one of"),
        (lambda: nn.MLP((4, 2), output="max", rng=rng()), "MLP: output is 'max'"),
        (lambda: nn.LeNet5(0, rng=rng()), "LeNet5: classes is 0"),
        (lambda: nn.LeNet5(pooling="min", rng=rng()), "LeNet5: pooling is 'min', expected one of"),
        (lambda: nn.LeNet5(image_size=11, rng=rng()), "image_size is 11, .*>= 12"),
        (lambda: nn.VGG(image_size=3, rng=rng()), "image_size is 3, .*>= 4"),
        (lambda: nn.VGG(dropout=1.0, rng=rng()), "VGG: dropout is 1.0"),
        (lambda: nn.VGG(batch_norm=1, rng=rng()), "VGG: batch_norm is 1"),
        (lambda: models.ResNet(depths=(1,)), "ResNet: got 1 depths and 3 widths"),
        (lambda: models.ResNet(groups=2), "ResNet: groups is 2 .*expected block=\"bottleneck\""),
        (lambda: models.VGG(depths=(1,)), "VGG: got 1 depths and 2 widths"),
        (lambda: models.VGG(head="no"), "VGG: head is 'no'"),
        (lambda: models.ResNet(block="wide"), "ResNet: block is 'wide', expected one of"),
        (lambda: models.ResNet(stem="tiny"), "ResNet: stem is 'tiny'"),
        (lambda: models.MobileNetV2(width=0), "MobileNetV2: width is 0"),
        (lambda: models.DenseNet(growth=0), "DenseNet: growth is 0"),
        (lambda: models.UNet(up="nearest"), "UNet: up is 'nearest', expected one of"),
        (lambda: models.UNet(1, 1, 2)(np.zeros((1, 1, 24, 16), "f4")), "H and W multiples of 16"),
        (lambda: models.DCGANGenerator(image_size=48), "image_size is 48, expected 8, 16, 32"),
        (lambda: models.ConvAutoencoder()(np.zeros((1, 1, 30, 28), "f4")), "multiples of 4"),
        (lambda: nn.build("resnet20", input_shape=(3, 32, 32), classes=2, stem="no"), "stem is"),
    ],
)  # fmt: skip
def test_a_bad_argument_is_refused(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


# --- the networks of the papers ------------------------------------------------------------------

COUNTS = {  # of the papers' tables, or of their definitions where those are rounded
    "resnet20": (lambda: models.resnet20(), 269_722),
    "resnet32": (lambda: models.resnet32(), 464_154),
    "resnet56": (lambda: models.resnet56(), 853_018),
    "resnet18": (lambda: models.resnet18(), 11_689_512),
    "resnet50": (lambda: models.resnet50(), 25_557_032),
    "ResNeXt-50": (lambda: models.resnext50_32x4d(), 25_028_904),
    "MobileNetV2": (lambda: models.MobileNetV2(), 3_504_872),
    "DenseNet-BC (k=12, 100 layers)": (lambda: models.DenseNet(), 769_162),
    "U-Net": (lambda: models.UNet(2, 1, batch_norm=False), 31_030_658),
    "DCGAN generator": (lambda: models.DCGANGenerator(), 3_576_704),
    "DCGAN discriminator": (lambda: models.DCGANDiscriminator(), 2_765_568),
}


@pytest.mark.parametrize("name", COUNTS)
def test_a_network_has_the_papers_number_of_parameters(name: str) -> None:
    make, count = COUNTS[name]
    assert sum(parameter.size for parameter in make().parameters()) == count


@pytest.mark.parametrize(
    ("make", "shape"),
    [
        (lambda: models.ResNet(3, 2, (1, 1), (4, 8), rng=rng()), (4, 2, 9, 8)),
        (lambda: models.ResNet(3, 2, (1,), (4,), "bottleneck", "large", rng=rng()), (4, 2, 32, 32)),
        (lambda: models.MobileNetV2(3, 2, 0.25, 0.0, "small", rng=rng()), (4, 2, 16, 16)),
        (lambda: models.DenseNet(3, 2, (2, 2), 4, 8, rng=rng()), (4, 2, 10, 10)),
        (lambda: models.UNet(3, 2, 4, 2, rng=rng()), (2, 2, 8, 12)),
        (lambda: models.UNet(3, 2, 4, 2, "bilinear", False, rng=rng()), (2, 2, 8, 12)),
        (lambda: models.DCGANGenerator(5, 2, 4, 16, rng=rng()), (3, 5)),
        (lambda: models.DCGANDiscriminator(2, 4, 16, rng=rng()), (3, 2, 16, 16)),
        (lambda: models.ConvAutoencoder(2, (4, 3), rng=rng()), (3, 2, 8, 8)),
    ],
)  # fmt: skip
def test_a_network_of_any_size_learns(make: Any, shape: tuple[int, ...]) -> None:
    """Every parameter has a gradient that is not 0, and a step lowers the loss."""
    model, again = make(), make()
    same = again.state_dict()
    for key, array in model.state_dict().items():
        np.testing.assert_array_equal(array, same[key])
    x = rng(1).normal(size=shape).astype("f4")
    target = 0.1 * rng(2).normal(size=model(x).shape).astype("f4")
    optimizer = tg.optim.Adam(model.parameters(), 1e-3)
    losses = []
    for _ in range(3):
        optimizer.zero_grad()
        loss = tg.mse(model(x), target)
        loss.backward()
        losses.append(loss.item())
        optimizer.step()
    assert all(np.abs(p.grad).max() > 0 for p in model.parameters())
    assert losses[2] < losses[0]
    assert model.summary().multiply_adds


def test_the_shortcut_without_parameters_is_every_second_pixel_and_zeros() -> None:
    x = rng().normal(size=(2, 3, 5, 4))
    y = models.resnet.PaddedShortcut(3, 2)(tg.Tensor(x)).numpy()
    np.testing.assert_array_equal(y[:, 1:4], x[:, :, ::2, ::2])
    assert not y[:, [0, 4, 5]].any()


def test_a_stem_fits_the_images() -> None:
    make = lambda size: nn.build("resnet18", input_shape=(3, size, size), classes=2)  # noqa: E731
    assert (make(32).stem, make(224).stem) == ("small", "large")
