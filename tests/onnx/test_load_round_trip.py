"""Models of this package as ONNX files, loaded and exported again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.onnx_models import ran

import tinygrad_cnn as tg
from tinygrad_cnn import nn

pytestmark = pytest.mark.usefixtures("seeded")

RNG = np.random.default_rng(4)


def inner(**options: Any) -> nn.Module:
    """Return a module of layers whose ONNX nodes need importers of several families."""
    return nn.Sequential(
        nn.Conv2d(2, 8, 3, padding=1, stride=2, rng=RNG), nn.GroupNorm(2, 8), nn.SiLU(),
        nn.ConvTranspose2d(8, 4, 2, stride=2, rng=RNG), nn.BatchNorm2d(4), nn.LeakyReLU(0.1),
        nn.Upsample(scale_factor=2), nn.AvgPool2d(2, stride=2), nn.PReLU(4), nn.Dropout(0.3),
        nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.LayerNorm(16), nn.Linear(16, 5, rng=RNG),
    )  # fmt: skip


MODELS: dict[str, tuple[Any, tuple[int, ...]]] = {
    "lenet": (lambda: nn.LeNet5(rng=RNG), (3, 1, 28, 28)),
    "resnet20": (lambda: nn.models.resnet20(rng=RNG), (2, 3, 32, 32)),
    "layers": (inner, (3, 2, 8, 8)),
}


@pytest.mark.parametrize("name", MODELS)
def test_a_model_goes_out_and_in_and_out_again(name: str, tmp_path: Path) -> None:
    make, shape = MODELS[name]
    model = make().eval()
    for buffer in model.buffers():
        if buffer.dtype.kind == "f":
            buffer.data[...] = RNG.random(buffer.shape) + 0.5
    x = RNG.normal(size=shape).astype("f4")
    path, again = tmp_path / "a.onnx", tmp_path / "b.onnx"
    tg.onnx.export(model, x[:1], path)
    loaded = tg.onnx.load(path)
    state = {name: a for name, a in model.state_dict().items() if "tracked" not in name}
    assert loaded.state_dict().keys() == state.keys()
    for key, array in loaded.state_dict().items():
        np.testing.assert_array_equal(array, state[key])
    weights = None
    for each in (model, loaded):
        y = each(x)
        weights = RNG.normal(size=y.shape).astype("f4") if weights is None else weights
        (y * weights).sum().backward()
    expected = model(x).numpy()
    np.testing.assert_allclose(loaded(x).numpy(), expected, rtol=1e-4, atol=1e-5)
    gradients = {name: p.grad for name, p in model.named_parameters()}
    assert {name for name, _ in loaded.named_parameters()} == gradients.keys()
    for key, parameter in loaded.named_parameters():
        scale = np.abs(gradients[key]).max()
        np.testing.assert_allclose(parameter.grad, gradients[key], rtol=1e-3, atol=1e-5 * scale)
    written = tg.onnx.export(loaded, x[:1], again)
    (y,) = ran(written, {written.graph.input[0].name: x})
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-5)
    assert tg.onnx.load(again).state_dict().keys() == state.keys()


@pytest.mark.parametrize(
    ("axes", "expected"),
    [
        ({}, [2, 1, 8, 8]),
        ({"x": {0: "n"}}, ["n", 1, 8, 8]),
        ({"x": {0: "n", 2: "height", 3: "width"}}, ["n", 1, "height", "width"]),
    ],
    ids=["fixed", "batch", "images"],
)
def test_the_axes_that_a_file_leaves_open_stay_open(axes: Any, expected: list[Any]) -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1, rng=RNG), nn.MaxPool2d(2))
    x = RNG.normal(size=(2, 1, 8, 8)).astype("f4")
    loaded = tg.onnx.load(tg.onnx.export(model, x, dynamic=axes, input_names=["x"]))
    for options in ({}, {"input_names": ["image"]}):
        again = tg.onnx.load(tg.onnx.export(loaded, x, **options))
        (found,) = again.inputs
        assert list(found.shape or ()) == expected
        assert found.name == options.get("input_names", ["x"])[0]
    if axes:
        opened = tg.onnx.export(loaded, {"x": x}, dynamic={"x": {0: "rows"}})
        assert opened.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "rows"


class Scaled(nn.Module):
    """Multiplies by a reshaped weight, and then by a value that is computed from the weight."""

    def __init__(self) -> None:
        self.weight = nn.Parameter(RNG.normal(size=(2, 3)).astype("f4"))

    def forward(self, x: Any) -> Any:
        turned = self.weight.transpose(1, 0).reshape(6)
        return x * turned + tg.exp(turned)


def test_a_parameter_in_another_shape_keeps_its_name_and_what_is_computed_of_it_is_stored() -> None:
    model, x = Scaled(), RNG.normal(size=(4, 6)).astype("f4")
    written = tg.onnx.export(model, x)
    assert [node.op_type for node in written.graph.node] == ["Transpose", "Reshape", "Mul", "Add"]
    loaded = tg.onnx.load(written)
    assert "weight" in loaded.state_dict()
    np.testing.assert_allclose(loaded(x).numpy(), model(x).numpy(), rtol=1e-6)
    loaded(x).sum().backward()
    expected = x.sum(0).reshape(3, 2).T
    np.testing.assert_allclose(loaded.weight.grad, expected, rtol=1e-4, atol=1e-5)
