"""Every ready-made model as a file: onnxruntime computes the same, for other sizes as well."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from support.exported_files import assert_same, operators, outputs
from support.machine import lengthy

import tinygrad_cnn as tg
from tinygrad_cnn import nn
from tinygrad_cnn.data import digits
from tinygrad_cnn.nn import models
from tinygrad_cnn.onnx.graph import OPSET
from tinygrad_cnn.optim import SGD

pytestmark = pytest.mark.usefixtures("seeded")

IMAGES = {"x": {0: "batch", 2: "height", 3: "width"}}
SMALL = [*nn.MODELS]
OF_ANY_SIZE = ["resnet20", "mobilenet_v2", "densenet"]
LARGE = [
    "densenet121", "densenet161", "densenet169", "densenet201", "resnet101", "resnet152",
    "resnext50_32x4d", "resnext101_32x8d", "resnext101_64x4d", "vgg11", "vgg13", "vgg16", "vgg19",
    "wide_resnet50_2", "wide_resnet101_2",
]  # fmt: skip


def random(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).normal(size=shape).astype(np.float32)


def lively(model: nn.Module) -> nn.Module:
    """Give the running statistics values as training does, which differ by channel."""
    rng = np.random.default_rng(1)
    for name, buffer in model.named_buffers():
        if name.endswith("running_mean"):
            buffer.data[...] = rng.normal(size=buffer.shape) * 0.1
        if name.endswith("running_var"):
            buffer.data[...] = rng.uniform(0.5, 1.5, size=buffer.shape)
    return model


def assert_clean(file: Any, model: nn.Module) -> None:
    """Check the structure: every weight by its name, and no node that computes a constant."""
    onnx.checker.check_model(file, full_check=True)
    assert [entry.version for entry in file.opset_import] == [OPSET]
    state = model.state_dict()
    weights = {entry.name for entry in file.graph.initializer}
    assert {name for name in state if not name.endswith("num_batches_tracked")} <= weights
    for entry in file.graph.initializer:
        if entry.name in state:
            np.testing.assert_array_equal(onnx.numpy_helper.to_array(entry), state[entry.name])
    names = [node.name for node in file.graph.node]
    assert len({*names}) == len(names)
    modules = dict(model.named_modules())
    for node in file.graph.node:
        assert node.op_type != "Identity"
        assert not {*node.input} <= weights, f"{node.name} computes a constant"
        scope = node.name.rpartition("/")[0].strip("/").replace("/", ".")
        if scope not in modules:  # one of several nodes of a call
            scope = scope.rpartition(".")[0]
        assert scope in modules
        owners = {name.rpartition(".")[0] for name in node.input if name in state}
        assert owners <= {scope}


@pytest.mark.parametrize("name", SMALL)
def test_ready_models_give_the_same_for_any_batch(name: str) -> None:
    side = 32 if name in ("mlp", "lenet5", "vgg", "resnet20") else 16
    model = lively(nn.build(name, input_shape=(3, side, side), classes=10))
    file = tg.onnx.export(model, random(1, 3, side, side), check=name in OF_ANY_SIZE)
    assert_clean(file, model)
    assert model.training
    model.eval()
    for batch in (1, 3, 64) if name in ("mlp", "lenet5", "resnet20") else (3,):
        assert_same(file, model, random(batch, 3, side, side))


@pytest.mark.parametrize("name", OF_ANY_SIZE)
def test_ready_models_give_the_same_for_any_image_size(name: str) -> None:
    options = {"depths": (2, 2), "growth": 4} if name == "densenet" else {}
    model = lively(nn.build(name, input_shape=(3, 32, 32), classes=10, **options)).eval()
    file = tg.onnx.export(model, random(1, 3, 32, 32), dynamic=IMAGES)
    for shape in ((1, 3, 32, 32), (2, 3, 48, 40)):
        assert_same(file, model, random(*shape))


@lengthy
@pytest.mark.parametrize("name", LARGE)
def test_large_models_give_the_same(name: str) -> None:
    model = lively(getattr(models, name)()).eval()
    file = tg.onnx.export(model, random(1, 3, 64, 64), check=False)
    assert_clean(file, model)
    assert_same(file, model, random(2, 3, 64, 64))


@pytest.mark.parametrize("up", ["transposed", "bilinear"])
def test_unet_gives_the_same_for_any_image_size(up: str) -> None:
    model = lively(models.UNet(2, 3, width=4, depth=2, up=up)).eval()
    file = tg.onnx.export(model, random(1, 3, 16, 16), dynamic=IMAGES)
    assert_same(file, model, random(3, 3, 24, 32))


def test_autoencoder_gives_the_same_for_any_image_size() -> None:
    model = models.ConvAutoencoder(1, (4, 2)).eval()
    file = tg.onnx.export(model, random(1, 1, 16, 16), dynamic=IMAGES)
    assert_clean(file, model)
    assert_same(file, model, random(3, 1, 24, 32))


def test_dcgan_gives_the_same() -> None:
    generator = lively(models.DCGANGenerator(8, 3, 4, 32)).eval()
    discriminator = lively(models.DCGANDiscriminator(3, 4, 32)).eval()
    file = tg.onnx.export(generator, random(2, 8))
    assert_clean(file, generator)
    assert_same(file, generator, random(5, 8))
    file = tg.onnx.export(discriminator, random(2, 3, 32, 32))
    assert_clean(file, discriminator)
    assert_same(file, discriminator, random(5, 3, 32, 32))


def test_batch_normalization_and_convolution_are_one_node_each() -> None:
    file = tg.onnx.export(nn.build("resnet20", input_shape=(3, 32, 32), classes=10),
                          random(1, 3, 32, 32))  # fmt: skip
    found = operators(file)
    assert (found["Conv"], found["BatchNormalization"], found["Add"], found["Gemm"]) == (
        19,
        19,
        9,
        1,
    )


def test_trained_digits_are_classified_the_same_to_the_image() -> None:
    split = digits()
    train, test = split.train, split.test
    tg.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 8, 5, stride=2), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(0.2),
        nn.MaxPool2d(2), nn.Flatten(), nn.Linear(8 * 6 * 6, 10),
    )  # fmt: skip
    optimizer = SGD(model.parameters(), 0.2)
    images = (train.images[:1500] / np.float32(255)).astype(np.float32)
    for _ in range(3):
        for start in range(0, len(images), 50):
            logits = model(tg.Tensor(images[start : start + 50]))
            optimizer.zero_grad()
            tg.cross_entropy(logits, train.labels[start : start + 50]).backward()
            optimizer.step()
    file = tg.onnx.export(model, images[:1])
    model.eval()
    shown = (test.images / np.float32(255)).astype(np.float32)
    with tg.no_grad():
        ours = model(tg.Tensor(shown)).numpy().argmax(1)
    theirs = outputs(file, shown)[0].argmax(1)
    np.testing.assert_array_equal(theirs, ours)
    assert (ours == test.labels).mean() > 0.8
