"""The export of models: names, axes that vary, constants, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from support.exported_files import assert_same, operators, outputs

import tinygrad_cnn as tg
import tinygrad_cnn.compat.torch as torch
from tinygrad_cnn import nn
from tinygrad_cnn.onnx import OnnxError
from tinygrad_cnn.onnx.graph import EXPORTERS, Graph

pytestmark = pytest.mark.usefixtures("seeded")


class Of(nn.Module):
    """A model that computes a function, with modules and parameters by name."""

    def __init__(self, function: Any, **members: Any) -> None:
        self.function = function
        for name, member in members.items():
            setattr(self, name, member)

    def forward(self, x: Any) -> Any:
        return self.function(self, x)


def random(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).normal(size=shape).astype(np.float32)


def parameter(*shape: int) -> nn.Parameter:
    return nn.Parameter(random(*shape))


def shapes(values: Any) -> dict[str, list[Any]]:
    """Return names and axes of inputs or outputs."""
    return {
        value.name: [d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim]
        for value in values
    }


# --- names and metadata --------------------------------------------------------------------------


def test_names_are_those_of_modules_parameters_and_arguments() -> None:
    inner = nn.Sequential(nn.Linear(4, 3), nn.ReLU())
    model = Of(lambda self, x: {"logits": self.body(x) + self.shift, "twice": x * 2.0},
               body=inner, shift=parameter(3), unused=parameter(7))  # fmt: skip
    file = tg.onnx.export(model, random(2, 4), metadata={"classes": "a b c"})
    assert [node.name for node in file.graph.node] == [
        "/body/0/linear", "/body/1/relu", "/add", "/mul",
    ]  # fmt: skip
    named = {entry.name for entry in file.graph.initializer}
    assert {"body.0.weight", "body.0.bias", "shift"} <= named
    assert "unused" not in named
    assert shapes(file.graph.input) == {"x": ["batch", 4]}
    assert shapes(file.graph.output) == {"logits": ["batch", 3], "twice": ["batch", 4]}
    assert {entry.key: entry.value for entry in file.metadata_props} == {"classes": "a b c"}
    assert (file.producer_name, file.producer_version) == ("tinygrad_cnn", tg.__version__)


def test_names_can_be_given() -> None:
    file = tg.onnx.export(nn.Linear(4, 3), random(2, 4), input_names=["pixels"],
                          output_names=["logits"])  # fmt: skip
    assert (*shapes(file.graph.input), *shapes(file.graph.output)) == ("pixels", "logits")


def test_shared_and_frozen_parameters_have_one_name_each() -> None:
    layer = nn.Linear(4, 4)
    tied = nn.Linear(4, 4, bias=False)
    tied.weight = layer.weight
    model = nn.Sequential(layer, tied, layer).requires_grad_(False)
    file = tg.onnx.export(model, random(2, 4))
    assert [entry.name for entry in file.graph.initializer] == ["0.weight", "0.bias"]
    assert_same(file, model, random(3, 4))


def test_results_that_are_inputs_constants_or_twice_the_same() -> None:
    model = Of(lambda self, x: (x, x * self.w, x, self.w), w=parameter(3))
    file = tg.onnx.export(model, random(2, 3))
    assert list(shapes(file.graph.output)) == [f"output_{i}" for i in range(4)]
    assert_same(file, model, random(5, 3))


def test_several_inputs_by_position_by_name_and_options() -> None:
    class Sum(nn.Module):
        def forward(self, a: Any, b: Any, scale: float = 1.0) -> Any:
            return a * scale + b

    a, b = random(2, 3), random(2, 1)
    for example in ((a, b, 3.0), {"b": b, "a": a, "scale": 3.0}):
        file = tg.onnx.export(Sum(), example)
        names = list(shapes(file.graph.input))
        assert sorted(names) == ["a", "b"]
        given = {"a": random(4, 3), "b": random(4, 1)}
        (found,) = outputs(file, *(given[name] for name in names))
        np.testing.assert_allclose(found, given["a"] * 3 + given["b"], rtol=1e-6)


def test_methods_of_a_module_keep_its_names() -> None:
    class Coder(nn.Module):
        def __init__(self) -> None:
            self.inner = nn.Linear(3, 2)

        def encode(self, x: Any) -> Any:
            return self.inner(x)

    file = tg.onnx.export(Coder().encode, random(2, 3))
    assert [node.name for node in file.graph.node] == ["/inner/linear"]
    assert [entry.name for entry in file.graph.initializer] == ["inner.weight", "inner.bias"]


def test_file_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    made = tg.onnx.export(nn.Linear(4, 3), random(2, 4), path)
    assert onnx.load(str(path)) == made
    before = path.read_bytes()
    with pytest.raises(OnnxError):
        tg.onnx.export(Of(lambda self, x: tg.Tensor(2 * x._array)), random(2, 4), path)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["model.onnx"]


def test_model_is_not_changed() -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Dropout(0.5))
    model[1].eval()
    before, modes = model.state_dict(), [module.training for module in model.modules()]
    tg.onnx.export(model, random(2, 1, 5, 5))
    with pytest.raises(OnnxError):
        tg.onnx.export(Of(lambda self, x: bool(self.model(x).sum()), model=model),
                       random(2, 1, 5, 5))  # fmt: skip
    assert [module.training for module in model.modules()] == modes
    after = model.state_dict()
    assert before.keys() == after.keys()
    assert all(np.array_equal(before[name], after[name]) for name in before)


def test_layers_sized_by_their_first_input_keep_their_names() -> None:
    model = nn.Sequential(nn.Linear(None, 3), nn.ReLU())
    file = tg.onnx.export(model, random(2, 4))
    assert [entry.name for entry in file.graph.initializer] == ["0.weight", "0.bias"]


def test_float64_stays_float64() -> None:
    model = nn.Sequential(nn.Linear(4, 3), nn.Tanh()).double()
    file = tg.onnx.export(model, random(2, 4).astype(np.float64))
    assert_same(file, model, random(3, 4).astype(np.float64), tolerance=1e-12)


def test_loaded_files_have_the_same_parameters_and_can_be_exported_again() -> None:
    model = nn.build("resnet20", input_shape=(3, 16, 16), classes=4).eval()
    file = tg.onnx.export(model, random(1, 3, 16, 16))
    loaded = tg.onnx.load(file)
    ours = {name: tensor._array for name, tensor in model.named_parameters()}
    theirs = {name: tensor._array for name, tensor in loaded.named_parameters()}
    assert theirs.keys() == ours.keys()
    assert all(np.array_equal(theirs[name], ours[name]) for name in ours)
    again = tg.onnx.export(loaded, random(1, 3, 16, 16))
    assert operators(again) == operators(file)
    assert {w.name for w in again.graph.initializer} == {w.name for w in file.graph.initializer}
    assert_same(again, model, random(3, 3, 16, 16))


# --- constants -----------------------------------------------------------------------------------


def test_constants_are_folded_and_parameters_used_as_they_are_keep_their_names() -> None:
    def forward(self: Any, x: Any) -> Any:
        weight = self.weight / tg.norm(self.weight, axis=1, keepdims=True)  # folded
        return tg.linear(x, weight * self.gain, self.bias)

    model = Of(forward, weight=parameter(3, 4), gain=parameter(3, 1), bias=parameter(3))
    file = tg.onnx.export(model, random(2, 4))
    assert operators(file) == {"Gemm": 1}
    names = [entry.name for entry in file.graph.initializer]
    assert len(names) == 2
    assert "bias" in names
    assert_same(file, model, random(3, 4))


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("shape", [(2, 3), (2, 3, 5), (2, 3, 5, 4)])
def test_batch_normalization_is_one_node(shape: tuple[int, ...], affine: bool) -> None:
    layer = (nn.BatchNorm2d if len(shape) == 4 else nn.BatchNorm1d)(3, affine=affine)
    for _ in range(3):
        layer(tg.Tensor(random(*shape) * 2 + 1))
    file = tg.onnx.export(nn.Sequential(layer), random(*shape))
    (node,) = file.graph.node
    assert (node.op_type, node.name) == ("BatchNormalization", "/0/batch_norm_inference")
    assert list(node.input[3:]) == ["0.running_mean", "0.running_var"]
    assert (list(node.input[1:3]) == ["0.weight", "0.bias"]) == affine
    layer.eval()
    assert_same(file, layer, random(4, *shape[1:]))


# --- axes that vary ------------------------------------------------------------------------------

TIMES = {"x": {0: "batch", 1: "time"}}


def attention(self: Any, x: Any) -> Any:
    n, t, d = x.shape
    q, k = (layer(x).reshape(n, t, 2, d // 2).transpose(0, 2, 1, 3) for layer in (self.q, self.k))
    weights = tg.softmax(q @ k.transpose(0, 1, 3, 2) * (d // 2) ** -0.5, -1)
    return (weights @ k).transpose(0, 2, 1, 3).reshape(n, t, d)


VARYING = {
    "attention": (Of(attention, q=nn.Linear(8, 8), k=nn.Linear(8, 8)), (2, 6, 8), (3, 11, 8)),
    "flattened": (lambda x: x.reshape(x.shape[0], -1) if x.shape[0] else x, (2, 6, 8), (3, 11, 8)),
    "all joined": (lambda x: x.reshape(x.shape[0] * x.shape[1], 2, 4), (2, 6, 8), (3, 11, 8)),
    "zeros": (lambda x: x + np.zeros((x.shape[0], x.shape[1], 1), "f4"), (2, 6, 8), (3, 11, 8)),
    "half": (lambda x: x[:, : x.shape[1] // 2] * 2.0, (2, 6, 8), (3, 11, 8)),
    "but one": (lambda x: x[:, 1:] - x[:, : x.shape[1] - 1], (2, 6, 8), (3, 11, 8)),
    "mean": (
        lambda x: tg.sum(x, 1) / x.shape[1] - x[:, 0] * (1 / x.shape[1]),
        (2, 6, 8),
        (3, 11, 8),
    ),
    "broadcast": (lambda x: tg.broadcast_to(tg.sum(x, 1, True), x.shape), (2, 6, 8), (3, 11, 8)),
    "arg": (lambda x: tg.argmax(x, 1), (2, 6, 8), (3, 11, 8)),
    "best": (lambda x: tg.topk(x, 3, 1), (2, 6, 8), (3, 11, 8)),
    "sorted": (lambda x: tg.sort(x, 1), (2, 6, 8), (3, 11, 8)),
    "mask": (lambda x: (x > 0) * x + tg.where(x <= 0.5, x, 1.0), (2, 6, 8), (3, 11, 8)),
}


@pytest.mark.parametrize("name", VARYING)
def test_sizes_in_the_program_vary_with_the_input(name: str) -> None:
    model, shape, other = VARYING[name]
    file = tg.onnx.export(model, random(*shape), dynamic=TIMES)
    assert_same(file, lambda x: model(tg.Tensor(x)), random(*shape))
    assert_same(file, lambda x: model(tg.Tensor(x)), random(*other))


def test_unrolled_recurrence_with_an_initial_state() -> None:
    def forward(self: Any, x: Any) -> Any:
        state = tg.Tensor(np.zeros((x.shape[0], 5), np.float32))
        for step in range(x.shape[1]):
            state = tg.tanh(self.cell(tg.concatenate([x[:, step], state], 1)))
            if step == 2:  # a branch that no value decides
                state = state * 0.5
        return self.head(state)

    model = Of(forward, cell=nn.Linear(8, 5), head=nn.Linear(5, 2))
    file = tg.onnx.export(model, random(2, 6, 3))
    assert operators(file)["Tanh"] == 6
    for batch in (1, 3, 64):
        assert_same(file, lambda x: model(tg.Tensor(x)), random(batch, 6, 3))
    with pytest.raises(OnnxError, match=r"the call depends on the size.*leave that axis out"):
        tg.onnx.export(model, random(2, 6, 3), dynamic=TIMES)


def test_words_are_looked_up() -> None:
    model = nn.Sequential(nn.Embedding(9, 4, padding_idx=0), nn.Linear(4, 2))
    file = tg.onnx.export(model, np.array([[1, 2, 0, 8]]), dynamic=TIMES)
    assert_same(file, model, np.array([[3, 1], [0, 8], [7, 7]]))


def test_in_place_changes_of_pytorchs_tensors() -> None:
    class Model(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.w = torch.nn.Parameter(torch.tensor(random(4)))

        def forward(self, x: Any) -> Any:
            y = torch.zeros(x.size(0), 4)
            y[:, 1:] = x
            y += self.w
            y.mul_(2.0).clamp_(max=1.5)
            best, place = y.max(dim=1)
            return y, best, place

    model = Model()
    file = tg.onnx.export(model, random(2, 3), dynamic={})
    assert_same(file, model, torch.tensor(random(2, 3)))


def test_an_axis_that_cannot_vary_is_named() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 2))
    images = {"x": {0: "batch", 2: "height"}}
    with pytest.raises(OnnxError, match="refuses an input with height = 5: linear"):
        tg.onnx.export(model, random(2, 1, 4, 3), dynamic=images)
    positions = Of(lambda self, x: x + np.arange(x.shape[1], dtype="f4") ** 2)
    with pytest.raises(OnnxError, match=r"add: b, a constant, depends on .*test_export.py, line"):
        tg.onnx.export(positions, random(2, 6), dynamic=TIMES)


def test_axes_that_vary_by_default_have_one_length() -> None:
    def both(a: Any, b: Any) -> Any:
        return a @ b

    with pytest.raises(ValueError, match="named 'batch' have lengths 2 and 3"):
        tg.onnx.export(both, (random(2, 3), random(3, 4)))
    file = tg.onnx.export(both, (random(2, 3), random(3, 4)), dynamic={"a": {0: "rows"}})
    assert shapes(file.graph.input) == {"a": ["rows", 3], "b": [3, 4]}
    assert shapes(file.graph.output) == {"output": ["rows", 4]}


# --- what is refused -----------------------------------------------------------------------------


def test_values_that_leave_the_graph_are_named_with_line_and_module() -> None:
    def forward(self: Any, x: Any) -> Any:
        return x if x.sum() > 0 else -x

    model = nn.Sequential(Of(forward))
    with pytest.raises(OnnxError, match=r"bool\(\) reads a value .* \(in module 0, .*test_export"):
        tg.onnx.export(model, random(2, 3))
    for read in (float, np.asarray, lambda x: x.data, lambda x: x.item(), lambda x: x.numpy()):
        with pytest.raises(OnnxError, match="reads a value that depends on the input"):
            tg.onnx.export(lambda x, read=read: x * read(x.sum()), random(2, 3))


def test_values_that_integers_select_cannot_be_read() -> None:
    def forward(self: Any, x: Any) -> Any:
        return self.table(x) if self.table(x).sum() > 0 else x

    def compared(self: Any, x: Any) -> Any:
        return x if tg.argmax(x) == 3 else x * 2

    for read, x in ((forward, np.array([1, 2])), (compared, random(2, 3))):
        with pytest.raises(OnnxError, match=r"bool\(\) reads a value"):
            tg.onnx.export(Of(read, table=nn.Embedding(9, 2)), x)
    for value in (1.0, 2.0):  # those of parameters can be
        file = tg.onnx.export(Of(lambda self, x: x * self.p.sum().item(), p=nn.Parameter([value])),
                              random(2, 3))  # fmt: skip
        assert operators(file) == {"Mul": 1}


def test_half_precision_is_refused() -> None:
    with pytest.raises(TypeError, match="the example of x holds float16, expected float32"):
        tg.onnx.export(lambda x: x * 2.0, random(2, 3).astype(np.float16))


def test_constants_that_depend_on_values_are_refused() -> None:
    def secretly(x: Any) -> Any:
        return x - x._array.max()

    message = r"sub: b, a constant, differs between two inputs .*test_export.py, line \d+\)"
    for example in (random(2, 3), np.zeros((2, 3), "f4")):
        with pytest.raises(OnnxError, match=message):
            tg.onnx.export(secretly, example)
    with pytest.raises(OnnxError, match=r"mul: b, a constant, differs .* random numbers"):
        tg.onnx.export(lambda x: x * np.random.default_rng().random(3), random(2, 3))
    with pytest.raises(OnnxError, match="getitem: index differs"):
        tg.onnx.export(lambda x: x[:, : int(x._array.argmax()) % 7 + 1], random(2, 9))


def test_ops_for_training_only_are_refused_by_name() -> None:
    mask = np.random.default_rng(0).random(3) > 0.5
    dropping = nn.Sequential(Of(lambda self, x: tg.dropout(x, mask, 0.5)))
    with pytest.raises(OnnxError, match="dropout in 0: it is for training"):
        tg.onnx.export(dropping, random(2, 3))
    tracking_nothing = nn.Sequential(nn.BatchNorm1d(3, track_running_stats=False))
    with pytest.raises(OnnxError, match="batch_norm in 0: it takes the statistics of a batch"):
        tg.onnx.export(tracking_nothing, random(2, 3))


def test_ops_without_exporter_are_named_all_at_once_and_can_get_one() -> None:
    @tg.op(formula="x³")
    def cubed(x: Any) -> Any:
        return x**3

    @cubed.derivative("x", formula="g·3x²")
    def _(g: Any, *, x: Any) -> Any:
        return g * 3 * x**2

    @tg.op(formula="x⁴")
    def fourth(x: Any) -> Any:
        return x**4

    @fourth.derivative("x", formula="g·4x³")
    def _(g: Any, *, x: Any) -> Any:
        return g * 4 * x**3

    model = nn.Sequential(Of(lambda self, x: cubed(x)), Of(lambda self, x: fourth(x)))
    try:
        with pytest.raises(OnnxError, match="no exporter for cubed in 0; fourth in 1; declare one"):
            tg.onnx.export(model, random(2, 3))

        @tg.onnx.exporter(cubed)
        def _(graph: Any, x: Any) -> Any:
            return graph.node("Pow", x, 3)

        @tg.onnx.exporter("fourth")
        def _(graph: Any, x: Any) -> Any:
            return graph.node("Mul", graph.node("Mul", x, x), graph.node("Mul", x, x))

        file = tg.onnx.export(model, random(2, 3))
        assert_same(file, lambda x: model(tg.Tensor(x)), random(4, 3))
    finally:
        for name in ("cubed", "fourth"):
            EXPORTERS.pop(name, None)
            del tg.OPS[name]


@pytest.mark.parametrize("opset", [20, 21, 22])
def test_opset_is_stated(opset: int) -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.MaxPool2d(2)).eval()
    file = tg.onnx.export(model, random(2, 1, 8, 8), opset=opset)
    assert [entry.version for entry in file.opset_import] == [opset]
    assert_same(file, model, random(3, 1, 8, 8))


def test_naming_a_node_does_not_look_at_all_names_before() -> None:
    class Counting(dict[str, int]):
        looked_up = 0

        def __contains__(self, name: object) -> bool:
            self.looked_up += 1
            return super().__contains__(name)

    graph = Graph()
    graph._names = Counting()
    names = [graph.node("Relu", "x") for _ in range(500)]
    assert len({*names}) == 500
    assert names[0] == "/Relu"
    assert graph._names.looked_up < 5 * 500
