"""Loaded models are trained: gradients, running statistics and dropout are those of layers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, numpy_helper
from support.onnx_models import model, node

import tinygrad_cnn as tg
from tinygrad_cnn import nn

pytestmark = pytest.mark.usefixtures("seeded")

RNG = np.random.default_rng(3)


class Net(nn.Module):
    """A convolution, a batch normalization and a head."""

    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        self.conv = nn.Conv2d(1, 4, 3, padding=1, rng=rng)
        self.bn = nn.BatchNorm2d(4)
        self.pool = nn.MaxPool2d(2)
        self.fc = nn.Linear(4 * 4 * 4, 3, rng=rng)

    def forward(self, x: Any) -> Any:
        h = self.pool(tg.relu(self.bn(self.conv(x))))
        return self.fc(h.reshape(len(x), -1))


def written(net: Net) -> Any:
    """Return the ONNX model of a Net, made by hand."""
    nodes = [
        node("Conv", "x conv.weight conv.bias", "h0", pads=[1, 1, 1, 1]),
        node("BatchNormalization", "h0 bn.weight bn.bias bn.running_mean bn.running_var", "h1"),
        node("Relu", "h1", "h2"),
        node("MaxPool", "h2", "h3", kernel_shape=[2, 2], strides=[2, 2]),
        node("Flatten", "h3", "h4"),
        node("Gemm", "h4 fc.weight fc.bias", "y", transB=1),
    ]
    arrays = {name: a for name, a in net.state_dict().items() if "tracked" not in name}
    return model(nodes, {"x": ["N", 1, 8, 8]}, ["y"], arrays)


def compare(net: Net, loaded: Any, x: Any, labels: Any) -> None:
    """Assert that outputs, gradients and the state after a pass are the same."""
    losses = []
    for each in (net, loaded):
        y = each(x)
        loss = tg.cross_entropy(y, labels)
        loss.backward()
        losses.append(y.numpy())
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-5, atol=1e-6)
    gradients = {name: p.grad for name, p in net.named_parameters()}
    for name, parameter in loaded.named_parameters():
        np.testing.assert_allclose(parameter.grad, gradients[name], rtol=1e-4, atol=1e-6)
    state = net.state_dict()
    for name, array in loaded.state_dict().items():
        np.testing.assert_allclose(array, state[name], rtol=1e-5, atol=1e-7)


def test_outputs_gradients_and_statistics_are_those_of_layers_in_both_modes() -> None:
    net = Net()
    net.bn.running_mean.data[...] = RNG.normal(size=4)
    net.bn.running_var.data[...] = RNG.random(4) + 0.5
    x, labels = RNG.normal(size=(6, 1, 8, 8)).astype("f4"), np.arange(6) % 3
    loaded = tg.onnx.load(written(net))
    before = loaded.state_dict()
    compare(net.eval(), loaded, x, labels)
    assert np.array_equal(loaded.state_dict()["bn.running_mean"], before["bn.running_mean"])
    for each in (net, loaded):
        each.zero_grad()
        each.train()
    compare(net, loaded, x, labels)
    assert not np.array_equal(loaded.state_dict()["bn.running_mean"], before["bn.running_mean"])


def test_a_part_in_eval_mode_keeps_its_statistics() -> None:
    loaded = tg.onnx.load(written(Net())).train()
    loaded.bn.eval()
    before = loaded.state_dict()
    loaded(RNG.normal(size=(6, 1, 8, 8)).astype("f4"))
    np.testing.assert_array_equal(loaded.state_dict()["bn.running_var"], before["bn.running_var"])


def test_a_head_is_fine_tuned_and_the_rest_stays() -> None:
    loaded = tg.onnx.load(written(Net())).requires_grad_(False)
    loaded.fc.weight = nn.Parameter(RNG.normal(size=(2, 64)).astype("f4") * 0.1)
    loaded.fc.bias = nn.Parameter(np.zeros(2, "f4"))
    learned = [p for p in loaded.parameters() if p.requires_grad]
    assert len(learned) == 2
    before = loaded.conv.weight.numpy().copy()
    optimizer = tg.optim.Adam(learned, lr=0.01)
    x = RNG.normal(size=(16, 1, 8, 8)).astype("f4")
    labels = (x.mean((1, 2, 3)) > 0).astype(int)
    losses = []
    for _ in range(30):
        loss = tg.cross_entropy(loaded(x), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.3 * losses[0]
    np.testing.assert_array_equal(loaded.conv.weight.numpy(), before)


# --- statistics that a file stores once ----------------------------------------------------------


def normalizations(*inputs: str) -> Any:
    """Return a loaded model of batch normalizations, one after another."""
    names = sorted({name for each in inputs for name in each.split()})
    arrays = {name: np.full(3, 0 if name in ("zero", "b1", "b2") else 1, "f4") for name in names}
    ends = ["x", *(f"h{k}" for k in range(1, len(inputs))), "y"]
    nodes = [
        node("BatchNormalization", f"{ends[k]} {each}", ends[k + 1], name=f"/bn{k + 1}/Bn")
        for k, each in enumerate(inputs)
    ]
    return tg.onnx.load(model(nodes, {"x": ["N", 3]}, ["y"], arrays))


def test_layers_whose_equal_arrays_are_stored_once_have_statistics_of_their_own() -> None:
    loaded = normalizations("one zero zero one", "one zero zero one")
    assert [name for name, _ in loaded.named_parameters()] == ["one", "zero"]
    statistics = ["bn1.running_mean", "bn1.running_var", "bn2.running_mean", "bn2.running_var"]
    assert [name for name, _ in loaded.named_buffers()] == statistics
    layers = [nn.BatchNorm1d(3), nn.BatchNorm1d(3)]
    x = RNG.normal(3, 2, size=(8, 3)).astype("f4")
    y = loaded.train()(x)
    np.testing.assert_allclose(y.numpy(), layers[1](layers[0](x)), atol=1e-5)
    for name, layer in zip(("bn1", "bn2"), layers, strict=True):
        part = loaded.get_submodule(name)
        np.testing.assert_allclose(part.running_mean.numpy(), layer.running_mean.numpy(), rtol=1e-4,
                                   atol=1e-6)  # fmt: skip
        np.testing.assert_allclose(part.running_var.numpy(), layer.running_var.numpy(), rtol=1e-5)
    np.testing.assert_array_equal(loaded.one.numpy(), np.ones(3))


@pytest.mark.parametrize(
    ("inputs", "buffers"),
    [
        (["w1 b1 m v", "w2 b2 m v"], ["m", "v", "bn2.running_mean", "bn2.running_var"]),
        (["l.w b1 m v", "k.w k.b m v"], ["m", "v", "k.running_mean", "k.running_var"]),
        (["w1 b1 m v", "w1 b1 m v"], ["m", "v"]),  # one layer, called twice
        (["w1 b1 m one", "one b2 n v"], ["m", "n", "v", "bn1.running_var"]),
        (["w1 b1 one one"], ["one", "bn1.running_var"]),
    ],
)
def test_a_statistic_is_copied_where_it_has_another_use(
    inputs: list[str], buffers: list[str]
) -> None:
    loaded = normalizations(*inputs)
    assert {name for name, _ in loaded.named_buffers()} == set(buffers)
    before = {name: array.copy() for name, array in loaded.state_dict().items()}
    loaded.train()(RNG.normal(3, 2, size=(8, 3)).astype("f4"))
    for name, array in loaded.state_dict().items():
        assert np.array_equal(array, before[name]) == (name not in buffers)


def test_copies_of_statistics_have_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tinygrad_cnn.onnx.folding.LIMIT", 47)
    with pytest.raises(tg.onnx.OnnxError, match=r"Bn.*copies of running statistics exceed"):
        normalizations("one zero zero one", "one zero zero one")


# --- precision -----------------------------------------------------------------------------------


@pytest.mark.parametrize("kinds", [[TensorProto.FLOAT], [TensorProto.FLOAT16, TensorProto.FLOAT]])
def test_casts_follow_the_precision_of_the_model(kinds: list[int]) -> None:
    names = ["x", *(f"h{k}" for k in range(len(kinds)))]
    casts = [node("Cast", names[k], names[k + 1], to=kind) for k, kind in enumerate(kinds)]
    nodes = [
        *casts,
        node("MatMul", f"{names[-1]} w", "z"),
        node("Shape", "z", "size"),
        node("Cast", "size", "sizes", to=TensorProto.FLOAT),
        node("Mul", "z sizes", "y"),
    ]
    w = RNG.normal(size=(3, 2)).astype("f4")
    loaded = tg.onnx.load(model(nodes, {"x": ["N", 3]}, ["y"], {"w": w})).double()
    x = tg.Tensor(RNG.normal(size=(4, 3)), requires_grad=True)
    y = loaded(x)
    np.testing.assert_allclose(y.numpy(), x.numpy() @ w.astype("f8") * [4, 2], rtol=1e-14)
    assert y.dtype == np.float64
    y.sum().backward()
    np.testing.assert_allclose(x.grad, np.tile(w.astype("f8") @ [4, 2], (4, 1)), rtol=1e-14)
    assert loaded.float()(x.numpy().astype("f4")).dtype == np.float32


def test_constants_of_a_node_follow_the_precision_of_the_model() -> None:
    one = numpy_helper.from_array(np.array([0.5], "f4"))
    nodes = [node("Shape", "x", "size"), node("ConstantOfShape", "size", "half", value=one),
             node("EyeLike", "x", "eye", dtype=TensorProto.FLOAT), node("Add", "half eye", "h"),
             node("MatMul", "x h", "y")]  # fmt: skip
    loaded = tg.onnx.load(model(nodes, {"x": ["N", "N"]}, ["y"]))
    x = RNG.normal(size=(3, 3))
    y = loaded.double()(x)
    np.testing.assert_allclose(y.numpy(), x @ (np.eye(3) + 0.5), rtol=1e-14)
    assert loaded.float()(x.astype("f4")).dtype == np.float32
