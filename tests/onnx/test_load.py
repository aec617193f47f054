"""Loaded ONNX files: the results of onnxruntime, names, inputs, copies, pictures, errors."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from support.onnx_models import FLOAT, block, model, node, ran, save_with_data, value

import tinygrad_cnn as tg
from tinygrad_cnn.onnx import OnnxError, OnnxModule
from tinygrad_cnn.onnx.operator import IMPORTERS

pytestmark = pytest.mark.usefixtures("seeded")

RNG = np.random.default_rng(1)
X = RNG.normal(size=(3, 2, 4, 4)).astype("f4")


def affine(**names: str) -> Any:
    """Return y = x·w + b."""
    w, b = names.get("w", "w"), names.get("b", "b")
    arrays = {w: np.ones((2, 3), "f4"), b: np.zeros(3, "f4")}
    nodes = [node("MatMul", "x w", "h"), node("Add", "h b", "y")]
    nodes[0].input[1], nodes[1].input[1] = w, b
    return model(nodes, {"x": ["N", 2]}, ["y"], arrays)


@pytest.mark.parametrize("sizes", [None, {"x": (3, 2, 4, 4)}], ids=["open", "fixed"])
def test_a_model_of_many_operators_computes_what_onnxruntime_does(sizes: Any) -> None:
    proto = block()
    loaded = tg.onnx.load(proto, sizes)
    assert isinstance(loaded, OnnxModule)
    assert not loaded.training
    np.testing.assert_allclose(loaded(X).numpy(), ran(proto, {"x": X})[0], atol=1e-6)


def test_a_file_its_bytes_and_a_file_with_weights_beside_it_are_the_same_model(
    tmp_path: Path,
) -> None:
    proto = block()
    y = tg.onnx.load(proto)(X).numpy()
    path = tmp_path / "a.onnx"
    path.write_bytes(proto.SerializeToString())
    np.testing.assert_array_equal(tg.onnx.load(str(path))(X).numpy(), y)
    np.testing.assert_array_equal(tg.onnx.load(path.read_bytes())(X).numpy(), y)
    save_with_data(proto, tmp_path / "b.onnx")
    assert (tmp_path / "weights.bin").stat().st_size > 0
    np.testing.assert_array_equal(tg.onnx.load(tmp_path / "b.onnx")(X).numpy(), y)


def test_weights_are_parameters_statistics_are_buffers_and_settings_are_neither() -> None:
    loaded = tg.onnx.load(block())
    names = ["bias", "bn.bias", "bn.weight", "conv.bias", "conv.weight", "fc.bias", "fc.weight"]
    assert sorted(name for name, _ in loaded.named_parameters()) == names
    assert [name for name, _ in loaded.named_buffers()] == ["bn.mean", "bn.var"]
    assert set(loaded.state_dict()) == {*names, "bn.mean", "bn.var"}


def test_the_gradients_are_those_of_finite_differences() -> None:
    loaded = tg.onnx.load(block()).double()
    x = tg.Tensor(X.astype("f8"), requires_grad=True)
    weights = RNG.normal(size=loaded(x).shape)
    loss = (tg.log(loaded(x)) * weights).sum()
    loss.backward()
    for tensor in [x, *loaded.parameters()]:
        direction = RNG.normal(size=tensor.shape)
        values = []
        for sign in (1, -1):
            tensor.data += sign * 1e-6 * direction
            values.append((np.log(loaded(x).numpy()) * weights).sum())
            tensor.data -= sign * 1e-6 * direction
        slope = (values[0] - values[1]) / 2e-6
        assert np.sum(tensor.grad * direction) == pytest.approx(slope, rel=1e-4, abs=1e-7)


@pytest.mark.parametrize(
    "names",
    [
        ["layer1.0.conv1.weight", "layer1.0.conv1.bias"],
        ["onnx::Conv_123", "onnx::Conv_124"],
        ["conv2d_0.w_0", "conv2d_0.w_1"],
        ["/a/b", "/a/b.c"],
        ["a", "a.b"],
        ["a.b", "a"],
        ["a.b.c", "a.b"],
        ["0", "1"],
        ["a..b", ".a"],
        [".", "..."],
        ["training", "forward"],
        ["_contents", "_steps"],
        ["state_dict", "inputs.outputs"],
        ["inputs", "opset"],
        ["_constants", "_results"],
        ["__deepcopy__", "__array__"],
        ["input_shape", "_repr_html_"],
        ["a.__getstate__", "a._training"],
        ["h.weight", "MatMul_0.x"],
        ["MatMul_0", "Add_1.b"],
        ["ä ö", "-"],
        [".".join("a" * 1000), "b" * 10_000],
    ],
    ids=lambda names: names[0][:20],
)
def test_state_dict_has_the_names_of_the_file_whatever_they_are(names: list[str]) -> None:
    loaded = tg.onnx.load(affine(w=names[0], b=names[1]))
    assert set(loaded.state_dict()) == set(names)
    assert {name for name, _ in loaded.named_parameters()} == set(names)
    assert loaded.get_parameter(names[0]).shape == (2, 3)
    np.testing.assert_array_equal(loaded([[1.0, 2.0]]).numpy(), [[3, 3, 3]])
    loaded.load_state_dict({names[0]: np.zeros((2, 3), "f4"), names[1]: np.ones(3, "f4")})
    np.testing.assert_array_equal(loaded([[1.0, 2.0]]).numpy(), [[1, 1, 1]])
    loaded.train()
    assert loaded.training
    assert str(loaded)
    assert str(loaded.summary())
    for again in (pickle.loads(pickle.dumps(loaded)), copy.deepcopy(loaded)):
        assert set(again.state_dict()) == set(names)


def test_dotted_names_are_attributes_of_parts() -> None:
    loaded = tg.onnx.load(affine(w="layer1.0.fc.weight", b="layer1.0.fc.bias"))
    fc = loaded.layer1.get_submodule("0").fc
    assert fc.weight is loaded.get_parameter("layer1.0.fc.weight")
    assert "layer1" in dir(loaded)
    with pytest.raises(AttributeError, match="no attribute 'layer2'"):
        _ = loaded.layer2


def test_a_name_with_an_underscore_is_an_attribute_unless_python_may_ask_for_it() -> None:
    loaded = tg.onnx.load(affine(w="_fc.weight", b="__array__"))
    assert loaded._fc.weight is loaded.get_parameter("_fc.weight")
    assert not hasattr(loaded, "__array__")
    assert loaded.input_shape == (2,)
    part = tg.onnx.load(affine(w="fc.input_shape")).fc
    assert part.input_shape is None
    assert part.summary().parameters == 6


def test_a_new_parameter_of_another_shape_is_used() -> None:
    loaded = tg.onnx.load(affine(w="fc.weight", b="fc.bias"))
    loaded.fc.weight = tg.nn.Parameter(np.full((2, 5), 2, "f4"))
    loaded.fc.bias = tg.nn.Parameter(np.ones(5, "f4"))
    y = loaded([[1.0, 2.0]])
    np.testing.assert_array_equal(y.numpy(), np.full((1, 5), 7))
    y.sum().backward()
    np.testing.assert_array_equal(loaded.fc.bias.grad, np.ones(5))
    with pytest.raises(TypeError, match="weight is ndarray, expected a Parameter"):
        loaded.fc.weight = np.ones((2, 5))


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_a_copy_computes_the_same_with_parameters_of_its_own(copied: Callable[..., Any]) -> None:
    loaded = tg.onnx.load(block())
    y = loaded(X).numpy()
    other = copied(loaded)
    np.testing.assert_array_equal(other(X).numpy(), y)
    for parameter in other.parameters():
        parameter.data[...] = 0
    np.testing.assert_array_equal(loaded(X).numpy(), y)
    assert str(other) == str(loaded)


def test_the_state_is_saved_and_loaded(tmp_path: Path) -> None:
    loaded = tg.onnx.load(block())
    path = tmp_path / "m.safetensors"
    tg.save(path, model=loaded)
    other = tg.onnx.load(block())
    for parameter in other.parameters():
        parameter.data[...] = 0
    other.load_state_dict(tg.load(path)["model"])
    np.testing.assert_array_equal(other(X).numpy(), loaded(X).numpy())


# --- calls ---------------------------------------------------------------------------------------


def pair() -> Any:
    """Return (a − b, whether a > b, the index of the largest a)."""
    nodes = [node("Sub", "a b", "d"), node("Greater", "a b", "g"),
             node("ArgMax", "a", "i", axis=1, keepdims=0)]  # fmt: skip
    return model(nodes, {"a": ["N", "C"], "b": ["N", "C"]}, ["d", "g", "i"])


def test_inputs_come_in_order_or_by_name_and_outputs_in_order() -> None:
    loaded = tg.onnx.load(pair())
    a, b = RNG.normal(size=(2, 2, 3)).astype("f4")
    for d, g, i in (loaded(a, b), loaded(a, b=b), loaded(b=tg.Tensor(b), a=a)):
        assert isinstance(d, tg.Tensor)
        np.testing.assert_array_equal(d.numpy(), a - b)
        np.testing.assert_array_equal(g, a > b)
        assert isinstance(i, np.ndarray)
        assert i.dtype == np.int64
        np.testing.assert_array_equal(i, a.argmax(1))
    assert [each.name for each in loaded.inputs] == ["a", "b"]
    assert loaded.outputs == ("d", "g", "i")


A = np.zeros((2, 3), "f4")


@pytest.mark.parametrize(
    ("arguments", "named", "message"),
    [
        ((A,), {}, r"forward: 'b' missing, expected a: float32 \(N, C\), b: float32 \(N, C\)"),
        ((A, A, A), {}, "got 3 inputs"),
        ((A, A), {"b": A}, "input 'b' is given twice"),
        ((A, A), {"c": A}, "input 'c' is not one of the model's"),
        ((A, np.zeros((4, 3), "f4")), {},
         r"input 'b' is float32 \(4, 3\), expected float32 \(N, C\), with N = 2, C = 3"),
        ((A, np.zeros(3, "f4")), {}, r"input 'b' is float32 \(3,\), expected float32 \(N, C\)"),
        ((A, np.zeros((2, 3), int)), {}, r"input 'b' is int64 \(2, 3\), expected float32"),
        ((np.zeros((2, 3), "c8"), A), {}, r"input 'a' is complex64"),
    ],
)  # fmt: skip
def test_a_wrong_input_is_refused_by_name(arguments: Any, named: Any, message: str) -> None:
    with pytest.raises(OnnxError, match=message):
        tg.onnx.load(pair())(*arguments, **named)


def test_integers_of_another_width_are_converted_and_floats_are_refused() -> None:
    ids = value("ids", ["N"], TensorProto.INT64)
    proto = model([node("Gather", "table ids", "y")], {"ids": ids}, ["y"],
                  {"table": np.arange(8, dtype="f4").reshape(4, 2)})  # fmt: skip
    loaded = tg.onnx.load(proto)
    y = loaded(np.array([1, 3], np.int32))
    np.testing.assert_array_equal(y.numpy(), [[2, 3], [6, 7]])
    y.sum().backward()
    np.testing.assert_array_equal(loaded.table.grad.sum(1), [0, 2, 0, 2])
    with pytest.raises(OnnxError, match=r"input 'ids' is float64 \(1,\), expected int64 \(N,\)"):
        loaded(np.array([1.0]))


def test_an_initializer_that_is_also_an_input_is_a_parameter() -> None:
    proto = affine()
    proto.graph.input.append(value("w", [2, 3]))
    loaded = tg.onnx.load(proto)
    assert [each.name for each in loaded.inputs] == ["x"]
    assert loaded.w.shape == (2, 3)


@pytest.mark.parametrize("kind", [TensorProto.FLOAT16, TensorProto.BFLOAT16])
def test_halves_become_float32_and_float64_stays(kind: int) -> None:
    values = np.array([[0.5, 1.25, -3.0]])
    proto = model([node("Add", "x b", "y")], {"x": [1, 3]}, ["y"])
    proto.graph.initializer.append(helper.make_tensor("b", kind, [1, 3], values.ravel()))
    loaded = tg.onnx.load(proto)
    assert loaded.b.dtype == np.float32
    np.testing.assert_array_equal(loaded.b.numpy(), values)
    double = model([node("Add", "x b", "y")], {"x": value("x", [1, 3], TensorProto.DOUBLE)}, ["y"],
                   {"b": values})  # fmt: skip
    assert tg.onnx.load(double).b.dtype == np.float64


# --- structure -----------------------------------------------------------------------------------


def test_a_listing_shows_the_steps_and_the_scopes_are_names_of_modules() -> None:
    loaded = tg.onnx.load(block(), {"x": (3, 2, 4, 4)})
    lines = str(loaded).splitlines()
    assert lines[1].strip() == "x: float32 (3, 2, 4, 4)"
    assert lines[2].strip() == (
        "h0 = Conv(x, conv.weight (3, 2, 3, 3), conv.bias (3,), pads=(1, 1, 1, 1))"
    )
    assert "h4 = Reshape(h3, [3, 12])" in str(loaded)
    assert lines[-2].strip() == "return y"
    scopes = {scope.name: scope.kind for scope in tg.draw(loaded(X), names=loaded).graph.scopes}
    assert scopes["conv"] == "Conv"
    assert scopes["fc"] == "Gemm"


def test_the_summary_has_the_parts_with_shapes_and_costs() -> None:
    summary = tg.onnx.load(block()).summary()
    rows = {row.name: row for row in summary.rows}
    assert rows["conv"].kind == "Conv"
    assert rows["conv"].output_shape == (3, 4, 4)
    assert rows["conv"].multiply_adds == 3 * 2 * 9 * 16
    assert rows["fc"].parameters == 4 * 12 + 4
    names = list(rows)
    assert names.index("conv") < names.index("bn") < names.index("relu") < names.index("fc")


def test_modules_are_also_found_in_the_metadata_of_nodes() -> None:
    proto = model([node("Relu", "x", "h", name="node_relu"), node("Exp", "h", "y")],
                  {"x": [2]}, ["y"])  # fmt: skip
    modules = ": Net/layer1: Sequential/layer1.0: Block/act: ReLU/relu: aten.relu"
    proto.graph.node[0].metadata_props.add(key="namespace", value=modules)
    names = [name for name, part in tg.onnx.load(proto).named_modules()]
    assert names == ["", "layer1", "layer1.0", "layer1.0.act", "Exp_1"]


def test_a_derivation_names_the_weights() -> None:
    loaded = tg.onnx.load(affine(w="fc.weight", b="fc.bias"))
    assert "fc.weight" in str(tg.derive(loaded([[1.0, 2.0]]).sum(), wrt=loaded.fc.weight))


# --- what cannot be loaded -----------------------------------------------------------------------


def test_all_operators_that_cannot_be_loaded_are_named_with_their_nodes() -> None:
    odd = node("Odd", "i x", "o", name="inner")
    loop = helper.make_graph([odd], "body", [value("i", []), value("c", [])], [value("o", [])])
    nodes = [
        node("Relu", "x", "a"),
        node("Strange", "a", "b", name="first"),
        node("Strange", "b", "c", name="second"),
        node("Swirl", "c", "d", domain="com.example", name="third"),
        node("Loop", "- - d", "y", name="fourth", body=loop),
    ]
    proto = model(nodes, {"x": [2]}, ["y"], domains={"com.example": 1})
    with pytest.raises(OnnxError) as caught:
        tg.onnx.load(proto)
    message = str(caught.value)
    for part in ("Strange (2 nodes: 'first', 'second')", "com.example::Swirl ('third')",
                 "Loop ('fourth')", "Odd ('inner')"):  # fmt: skip
        assert part in message
    assert "Relu" not in message


def test_an_operator_of_a_user_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(IMPORTERS, "com.example::Swish", None)

    @tg.onnx.importer("com.example::Swish")
    def _(swish: Any, x: Any) -> Any:
        return x * tg.sigmoid(swish.get("beta", 1.0) * x)

    proto = model([node("Swish", "x", "y", domain="com.example", beta=2.0)], {"x": [3]}, ["y"],
                  domains={"com.example": 1})  # fmt: skip
    x = np.array([-1, 0, 2], "f4")
    np.testing.assert_allclose(tg.onnx.load(proto)(x).numpy(), x / (1 + np.exp(-2 * x)), rtol=1e-6)


def test_nodes_that_no_output_needs_are_left_out() -> None:
    proto = affine()
    proto.graph.node.append(node("Strange", "x", "unused"))
    loaded = tg.onnx.load(proto)
    assert "Strange" not in str(loaded)
    assert loaded([[1.0, 2.0]]).shape == (1, 3)


def test_an_error_in_a_run_names_the_node() -> None:
    proto = model([node("MatMul", "a b", "y", name="/head/MatMul")],
                  {"a": None, "b": None}, ["y"])  # fmt: skip
    with pytest.raises(OnnxError, match=r"MatMul '/head/MatMul': .*matmul"):
        tg.onnx.load(proto)(np.ones((2, 3), "f4"), np.ones((2, 3), "f4"))


def test_the_bytes_of_a_tensor_are_read_as_onnx_reads_them() -> None:
    for kind in (1, 2, 3, 4, 5, 6, 7, 9, 11, 12, 13):
        array = np.array([[0, 1, 7]]).astype(helper.tensor_dtype_to_np_dtype(kind))
        for raw in (True, False):
            data = array.tobytes() if raw else array.ravel()
            tensor = helper.make_tensor("b", kind, [1, 3], data, raw=raw)
            assert numpy_helper.to_array(tensor).dtype == array.dtype
            proto = model([node("Cast", "b", "y", to=FLOAT)], {}, ["y"])
            proto.graph.initializer.append(tensor)
            y = tg.onnx.load(proto)()
            np.testing.assert_array_equal(y.numpy(), array.astype("f4"))


def test_onnx_is_only_imported_by_the_functions_that_need_it() -> None:
    assert onnx.__version__
    with pytest.raises(TypeError, match="load: got int, expected a path, bytes or ModelProto"):
        tg.onnx.load(3)
    with pytest.raises(FileNotFoundError, match=r"no\.onnx"):
        tg.onnx.load("no.onnx")
