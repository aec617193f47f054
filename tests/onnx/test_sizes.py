"""Sizes of results, estimated before they are computed, and the inputs that decide them."""

from __future__ import annotations

import math
import tracemalloc
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper
from support.onnx_cases import Case, cases, given_value, importers, not_supported
from support.onnx_models import model, node, ran, value

import tinygrad_cnn as tg
from tinygrad_cnn.core.variable import array_of
from tinygrad_cnn.onnx import OnnxError, folding
from tinygrad_cnn.onnx.calls import NodeCall
from tinygrad_cnn.onnx.folding import computed
from tinygrad_cnn.onnx.operator import IMPORTERS, SIZES
from tinygrad_cnn.onnx.sizes import cost, decides

MEGABYTE = 1 << 20
UNSTATED = {"Constant", "TensorScatter"}
"""Operators of which nothing is stated: their limit is the product of all sizes."""


def single_nodes() -> Iterator[tuple[Case, NodeCall, list[Any]]]:
    """Yield the node tests of the standard, each with its call and arguments."""
    for case in cases():
        is_single = case.kind == "node" and len(case.model.graph.node) == 1
        if not is_single or not_supported().reasons(case):
            continue
        loaded = tg.onnx.load(case.model)
        if len(loaded._steps) == 1:
            (step,) = loaded._steps
            given = loaded._bound([given_value(x) for x in case.data[0][0]], {})
            arguments = [array_of(given[name]) if name else None for name in step.inputs]
            yield case, NodeCall(step.operators[0], step.inputs, step.outputs), arguments


def results(call: NodeCall, arguments: list[Any]) -> list[Any]:
    with np.errstate(all="ignore"):
        return [np.asarray(array_of(y)) for y in computed(call, arguments)]


def test_no_result_of_the_standard_is_larger_than_estimated() -> None:
    wrong, count = {}, 0
    for case, call, arguments in single_nodes():
        elements, _, is_known = cost(call.operator, arguments)
        shapes = [y.shape for y in results(call, arguments)]
        is_covered = max(map(math.prod, shapes)) <= elements and is_known
        if not is_covered and call.operator.op_type not in UNSTATED:
            wrong[case.name] = elements, is_known, shapes
        count += 1
    assert wrong == {}
    assert count >= 400


def test_inputs_that_decide_no_shape_can_have_any_values() -> None:
    wrong, count = {}, 0
    for case, call, arguments in single_nodes():
        op_type = call.operator.op_type
        zeros = [
            x if x is None or decides(op_type, i, x.dtype) else np.zeros(x.shape, x.dtype)
            for i, x in enumerate(arguments)
        ]
        try:
            found = [y.shape for y in results(call, zeros)]
        except OnnxError:  # no shapes, then
            continue
        shapes = [y.shape for y in results(call, arguments)]
        if found != shapes:
            wrong[case.name] = found, shapes
        count += 1
    assert wrong == {}
    assert count >= 400


def test_every_importer_states_its_sizes() -> None:
    assert importers() - SIZES.keys() == UNSTATED


FLOAT, BYTE, LONG = TensorProto.FLOAT, TensorProto.UINT8, TensorProto.INT64


def bomb(made: dict[str, Any], op_type: str, opset: int = 18, **options: Any) -> Any:
    """Return a small model whose node makes a large array of constants; with their sizes."""
    outputs = options.pop("outputs", "large")
    nodes, arrays = [], {}
    for name, (shape, kind) in made.items():
        if kind is None:
            arrays[name] = shape
            continue
        arrays[f"{name}_shape"] = np.array(shape)
        filler = helper.make_tensor("", kind, [1], [0])
        nodes.append(node("ConstantOfShape", f"{name}_shape", name, value=filler))
    nodes += [
        node(op_type, " ".join(made), outputs, **options),
        node("Shape", "large", "s"),
        node("Cast", "s", "f", to=FLOAT),
        node("Add", "x f", "y"),
    ]
    return model(nodes, {"x": [1]}, ["y"], arrays, opset)


def array(*values: Any) -> Any:
    return np.array(values), None


BOMBS = {
    "ConstantOfShape": lambda: bomb({"a": ([1 << 25], LONG)}, "Identity"),
    "MatMulInteger": lambda: bomb(
        {"a": ([8000, 2], BYTE), "b": ([2, 8000], BYTE)}, "MatMulInteger"
    ),
    "ConvInteger": lambda: bomb(
        {"a": ([1, 1, 500, 500], BYTE), "w": ([250, 1, 1, 1], BYTE)}, "ConvInteger"
    ),
    "GridSample": lambda: bomb(
        {"a": ([1, 10_000, 1, 1], FLOAT), "g": ([1, 80, 80, 2], FLOAT)}, "GridSample"
    ),
    "GatherND": lambda: bomb({"a": ([2, 100_000], FLOAT), "g": ([600, 1], LONG)}, "GatherND"),
    "RNN": lambda: bomb(
        {"a": ([10_000, 1, 1], FLOAT), "w": ([1, 1000, 1], FLOAT), "r": ([1, 1000, 1000], FLOAT)},
        "RNN", hidden_size=1000,
    ),
    "LpPool": lambda: bomb(
        {"a": ([1, 1, 100_000], FLOAT)}, "LpPool", kernel_shape=[600], pads=[300, 300]
    ),
    "MaxPool": lambda: bomb(
        {"a": ([1, 1, 100_000], FLOAT)}, "MaxPool", outputs="large places", kernel_shape=[600],
        pads=[300, 300],
    ),
    "AveragePool": lambda: bomb(
        {"a": ([1, 1, 100_000], FLOAT)}, "AveragePool", 19, kernel_shape=[600], dilations=[2],
    ),
    "Attention": lambda: bomb({"q": ([1, 1, 8000, 1], FLOAT), "k": ([1, 1, 8000, 1], FLOAT),
                               "v": ([1, 1, 8000, 1], FLOAT)}, "Attention", 23),
    "HannWindow": lambda: bomb({"n": (np.array(1 << 25), None)}, "HannWindow"),
    "MelWeightMatrix": lambda: bomb(
        {"a": (np.array(8000), None), "b": (np.array(16_000), None), "c": (np.array(16_000), None),
         "d": (np.float32(0), None), "e": (np.float32(8000), None)}, "MelWeightMatrix",
    ),
    "Upsample": lambda: bomb(
        {"a": ([1, 1, 100, 100], FLOAT)}, "Upsample", 1, height_scale=80.0, width_scale=80.0
    ),
    "scales": lambda: bomb({"a": ([1, 5], BYTE), "scale": ([1 << 24], FLOAT)}, "DequantizeLinear",
                           axis=0),
    "ReduceSum": lambda: bomb({"a": ([8000, 0, 8000], FLOAT)}, "ReduceSum"),
    "ScatterND": lambda: bomb({"a": ([2, 100_000], FLOAT), "i": ([600, 1], LONG),
                               "u": ([1], FLOAT)}, "ScatterND", reduction="max"),
}  # fmt: skip


@pytest.mark.parametrize("name", BOMBS)
def test_a_small_file_takes_little_memory(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folding, "LIMIT", 32 * MEGABYTE)
    proto = BOMBS[name]()
    tracemalloc.start()
    try:
        with pytest.raises(OnnxError, match=r"its constant result .* exceeds the limit"):
            tg.onnx.load(proto)
        assert tracemalloc.get_traced_memory()[1] < 40 * MEGABYTE
    finally:
        tracemalloc.stop()


def after_shape(*nodes: Any, shape: Any, opset: int = 23) -> Any:
    """Return a model that asks for the shape of h."""
    nodes = *nodes, node("Shape", "h", "s"), node("Reshape", "h s", "y")
    return model(nodes, {"x": shape}, ["y"], opset=opset)


@pytest.mark.parametrize(
    ("made", "shape"),
    [
        (node("Attention", "x x x", "h"), [1, 1, 4000, 1]),
        (node("MaxPool", "x", "h places", kernel_shape=[1000], pads=[999, 0]), [1, 1, 20_000]),
    ],
)
def test_no_large_array_is_made_to_find_shapes(
    made: Any, shape: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folding, "LARGEST_SAMPLE", MEGABYTE)
    tracemalloc.start()
    try:
        loaded = tg.onnx.load(after_shape(made, shape=shape))
        assert tracemalloc.get_traced_memory()[1] < 10 * MEGABYTE
    finally:
        tracemalloc.stop()
    assert [step.operators[0].op_type for step in loaded._steps][1:] == ["Shape", "Reshape"]


def test_the_shape_of_a_huge_input_is_no_huge_constant() -> None:
    nodes = [node("Shape", "x", "s"), node("Size", "x", "n"), node("Concat", "s m", "y", axis=0),
             node("Unsqueeze", "n zero", "m")]  # fmt: skip
    loaded = tg.onnx.load(model(nodes, {"x": [1 << 20, 1 << 20]}, ["y"], {"zero": np.array([0])}))
    assert loaded._steps == []


def test_work_at_loading_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    made = [node("MatMul", f"v{i} v{i}", f"v{i + 1}") for i in range(20)]
    arrays = {"v0": np.zeros((100, 100), np.int64)}
    nodes = [*made, node("Cast", "v20", "f", to=FLOAT), node("Add", "x f", "y")]
    proto = model(nodes, {"x": [1]}, ["y"], arrays)
    monkeypatch.setattr(folding, "MOST_WORK", 10 * 100**3 + 10 * 32 * 100**2)
    loaded = tg.onnx.load(proto)
    assert [step.operators[0].op_type for step in loaded._steps] == [
        *["MatMul"] * 10, "Cast", "Add"
    ]  # fmt: skip
    assert loaded(np.ones(1, "f4")).numpy().max() == 1


@pytest.mark.parametrize(
    ("op_type", "inputs"),
    [
        ("HannWindow", [np.array(10)]),
        ("MelWeightMatrix", [np.array(8), np.array(16), np.array(8000), np.float32(0),
                             np.float32(4000)]),
        ("NonMaxSuppression", [np.array([[[0, 0, 1, 1], [5, 5, 6, 6]]], "f4"),
                               np.array([[[0.9, 0.8]]], "f4"), np.array([5])]),
    ],
)  # fmt: skip
def test_shapes_that_an_input_decides_are_not_frozen(op_type: str, inputs: Any) -> None:
    arrays = {f"i{k}": np.asarray(x) for k, x in enumerate(inputs)}
    for name, x in arrays.items():
        if x.dtype.kind != "i":
            continue
        constants = {key: other for key, other in arrays.items() if key != name}
        nodes = [node(op_type, " ".join(arrays), "h"), node("Shape", "h", "y")]
        declared = {name: value(name, x.shape, LONG)}
        proto = model(nodes, declared, ["y"], constants)
        np.testing.assert_array_equal(tg.onnx.load(proto)(x), ran(proto, {name: x})[0])


@pytest.mark.parametrize("sized_by", [None, ()])
def test_shapes_behind_ones_own_operator_are_found_if_it_states_what_decides_them(
    sized_by: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(IMPORTERS, "own::Positive", None)
    monkeypatch.setitem(SIZES, "own::Positive", SIZES["Relu"])
    del SIZES["own::Positive"]

    @tg.onnx.importer("own::Positive", sized_by=sized_by)
    def positive(node: Any, x: Any) -> Any:
        return x[np.asarray(array_of(x)) > 0] if sized_by is None else x

    nodes = [node("Positive", "x", "h", domain="own"), node("Shape", "h", "y")]
    loaded = tg.onnx.load(model(nodes, {"x": [3]}, ["y"], domains={"own": 1}))
    assert len(loaded._steps) == (2 if sized_by is None else 0)
    assert loaded(np.array([1, -1, 2], "f4")).tolist() == [2 if sized_by is None else 3]


def test_a_step_of_a_run_that_needs_too_much_is_refused() -> None:
    pads = np.array([0, 0, 9000, 9000, 0, 0, 9000, 9000])
    proto = model([node("Pad", "x pads", "y", name="p")], {"x": ["n", 3, 6, 6]}, ["y"],
                  {"pads": pads})  # fmt: skip
    loaded = tg.onnx.load(proto)
    loaded.largest = MEGABYTE
    with pytest.raises(OnnxError, match=r"Pad 'p': needs about 972,648,108 elements, the limit is"):
        loaded(np.zeros((1, 3, 6, 6), "f4"))
