"""What loading computes: constants, arithmetic with shapes, branches, functions of the file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper
from support.onnx_models import FLOAT, model, node, ran, value

import tinygrad_cnn as tg
from tinygrad_cnn.onnx import OnnxError, OnnxModule
from tinygrad_cnn.onnx.operator import IMPORTERS, Operator
from tinygrad_cnn.onnx.sizes import cost

RNG = np.random.default_rng(2)


def operators(loaded: OnnxModule) -> list[str]:
    """Return the operators of the steps of a model."""
    return [step.operators[0].op_type for step in loaded._steps]


def flattened(sizes: Sequence[int | str]) -> Any:
    """Return x in shape (N, C·H·W), with the sizes computed from the shape of relu(x)."""
    nodes = [
        node("Relu", "x", "r"),
        node("Shape", "r", "s"),
        node("Slice", "s one four zero", "inner"),
        node("ReduceProd", "inner", "product", keepdims=1),
        node("Gather", "s zero", "batch", axis=0),
        node("Concat", "batch product", "sizes", axis=0),
        node("Cast", "sizes", "float", to=FLOAT),
        node("Mul", "float scale", "scaled"),
        node("Cast", "scaled", "whole", to=TensorProto.INT64),
        node("Reshape", "r whole", "y"),
    ]
    arrays = {"zero": np.array([0]), "one": np.array([1]), "four": np.array([4]),
              "scale": np.ones(1, "f4")}  # fmt: skip
    return model(nodes, {"x": list(sizes)}, ["y"], arrays)


@pytest.mark.parametrize("sizes", [(2, 3, 4, 5), ("N", 3, "H", "W"), ("N", 3, 4, 5)])
def test_arithmetic_with_shapes_is_folded_where_they_are_known(sizes: Any) -> None:
    proto = flattened(sizes)
    x = RNG.normal(size=(2, 3, 4, 5)).astype("f4")
    expected = ran(proto, {"x": x})[0]
    loaded = tg.onnx.load(proto)
    np.testing.assert_array_equal(loaded(x).numpy(), expected)
    fixed = tg.onnx.load(proto, {"x": (2, 3, 4, 5)})
    np.testing.assert_array_equal(fixed(x).numpy(), expected)
    assert operators(fixed) == ["Relu", "Reshape"]
    assert (operators(loaded) == operators(fixed)) == all(isinstance(size, int) for size in sizes)
    assert not list(loaded.named_parameters()), "the scale of a size is not a parameter"


def test_open_sizes_serve_inputs_of_any_size() -> None:
    proto = flattened(("N", "C", "H", "W"))
    loaded = tg.onnx.load(proto)
    for shape in [(1, 2, 3, 4), (5, 1, 1, 2), (2, 2, 2, 2)]:
        x = RNG.normal(size=shape).astype("f4")
        np.testing.assert_array_equal(loaded(x).numpy(), ran(proto, {"x": x})[0])


def test_a_shape_that_depends_on_values_is_not_folded() -> None:
    nodes = [
        node("NonZero", "x", "found"),
        node("Shape", "found", "s"),
        node("ConstantOfShape", "s", "y"),
    ]
    proto = model(nodes, {"x": [2, 3]}, ["y"])
    loaded = tg.onnx.load(proto)
    for x in (np.eye(2, 3, dtype="f4"), np.ones((2, 3), "f4")):
        assert loaded(x).shape == (2, np.count_nonzero(x))


def test_constant_arithmetic_is_folded_but_that_of_parameters_is_not() -> None:
    nodes = [
        node("Constant", "", "two", value_float=2.0),
        node("Add", "two two", "four"),
        node("Transpose", "w", "turned", perm=[1, 0]),
        node("MatMul", "x turned", "h"),
        node("Mul", "h four", "y"),
    ]
    w = RNG.normal(size=(3, 2)).astype("f4")
    loaded = tg.onnx.load(model(nodes, {"x": ["N", 2]}, ["y"], {"w": w}))
    assert operators(loaded) == ["Transpose", "MatMul", "Mul"]
    x = RNG.normal(size=(4, 2)).astype("f4")
    loaded(x).sum().backward()
    np.testing.assert_allclose(loaded.w.grad, 4 * np.tile(x.sum(0), (3, 1)), rtol=1e-5)


def test_weights_in_constant_nodes_are_parameters_too() -> None:
    weight = helper.make_tensor("", FLOAT, [2, 3], RNG.normal(size=6).astype("f4"))
    single = helper.make_tensor("", FLOAT, [1], [3.0])
    nodes = [
        node("Constant", "", "fc.w_0", value=weight),
        node("Constant", "", "three", value=single),
        node("MatMul", "x fc.w_0", "h"),
        node("Add", "h three", "y"),
    ]
    loaded = tg.onnx.load(model(nodes, {"x": ["N", 2]}, ["y"]))
    assert [name for name, _ in loaded.named_parameters()] == ["fc.w_0"]


def test_random_values_and_dropout_are_not_folded() -> None:
    nodes = [
        node("ConstantOfShape", "shape", "zeros"),
        node("Add", "zeros one", "ones"),
        node("Dropout", "ones", "y"),
    ]
    arrays = {"shape": np.array([1000]), "one": np.array(1, "f4")}
    loaded = tg.onnx.load(model(nodes, {}, ["y"], arrays))
    assert operators(loaded) == ["Dropout"]
    assert np.unique(loaded().numpy()).tolist() == [1]
    assert np.unique(loaded.train()().numpy()).tolist() == [0, 2]


@pytest.mark.parametrize("taken", [True, False])
def test_a_branch_with_a_known_condition_is_inlined(taken: bool) -> None:
    branches = {
        key: helper.make_graph(
            [node(op_type, "x w", "r"), node("Neg", "r", key)], key, [], [value(key, None)]
        )
        for key, op_type in (("then_branch", "Add"), ("else_branch", "Mul"))
    }
    nodes = [node("If", "condition", "r", **branches), node("Relu", "r", "y")]
    arrays = {"condition": np.array(taken), "w": np.array([2, 3], "f4")}
    proto = model(nodes, {"x": [2]}, ["y"], arrays)
    loaded = tg.onnx.load(proto)
    x = np.array([-4, -5], "f4")
    np.testing.assert_array_equal(loaded(x).numpy(), ran(proto, {"x": x})[0])
    assert operators(loaded) == ["Add" if taken else "Mul", "Neg", "Relu"]
    assert [name for name, _ in loaded.named_parameters()] == ["w"]


def chosen(*nodes: Any, condition: str = "c", output: str = "y", **arrays: Any) -> Any:
    """Return an If with these nodes in both graphs, and the output o."""
    constants = [numpy_helper.from_array(array, name) for name, array in arrays.items()]
    graph = helper.make_graph(nodes, "branch", [], [value("o", None)], constants)
    return node("If", condition, output, name="If_1", then_branch=graph, else_branch=graph)


def test_branches_of_nodes_with_one_name_stay_apart() -> None:
    nodes = [
        chosen(node(op_type, "x", "t"), node("Neg", "t", "o"), output=op_type)
        for op_type in ("Neg", "Exp", "Sqrt")
    ]
    names = [each.output[0] for each in nodes]
    proto = model(nodes, {"x": [2]}, names, {"c": np.array(True)})
    x = np.array([1, 4], "f4")
    found = tg.onnx.load(proto)(x)
    for i, each in enumerate(proto.graph.node):  # other names for onnxruntime
        each.name = f"{i}"
    for y, expected in zip(found, ran(proto, {"x": x}), strict=True):
        np.testing.assert_allclose(y.numpy(), expected, rtol=1e-6)


def test_nodes_of_a_branch_are_sorted() -> None:
    proto = model([chosen(node("Neg", "t", "o"), node("Abs", "x", "t"))], {"x": [2]}, ["y"],
                  {"c": np.array(True)})  # fmt: skip
    np.testing.assert_array_equal(tg.onnx.load(proto)(np.array([1, -2], "f4")).numpy(), [-1, -2])


@pytest.mark.parametrize("is_computed", [False, True])
def test_the_weights_of_a_branch_are_parameters_and_statistics_buffers(is_computed: bool) -> None:
    batch = node("BatchNormalization", "x scale shift mean var", "n")
    ones = {name: np.ones(2, "f4") for name in ("scale", "shift", "mean", "var")}
    branch = chosen(batch, node("MatMul", "n w", "o"), w=np.eye(2, dtype="f4"), **ones)
    ahead = [node("Shape", "x", "s"), node("Gather", "s one", "n0"), node("Equal", "n0 two", "c")]
    arrays = {"one": np.array(1), "two": np.array(2)} if is_computed else {"c": np.array(True)}
    nodes = [*ahead, branch] if is_computed else [branch]
    loaded = tg.onnx.load(model(nodes, {"x": [3, 2]}, ["y"], arrays))
    assert {name for name, _ in loaded.named_parameters()} == {"scale", "shift", "w"}
    assert {name for name, _ in loaded.named_buffers()} == {"mean", "var"}


def test_a_node_that_can_be_loaded_is_not_among_those_that_cannot() -> None:
    nodes = [node("ReduceMax", "x", "m", keepdims=0), node("Cast", "m", "c", to=TensorProto.BOOL),
             chosen(node("Neg", "x", "o"))]  # fmt: skip
    with pytest.raises(OnnxError, match=r"loaded: If [^;]*; input_shapes may settle it$"):
        tg.onnx.load(model(nodes, {"x": [2]}, ["y"]))


def test_a_branch_that_depends_on_the_input_is_refused_by_name() -> None:
    branch = helper.make_graph([node("Neg", "x", "o")], "branch", [], [value("o", None)])
    nodes = [
        node("ReduceSum", "x", "total", keepdims=0),
        node("Greater", "total zero", "condition"),
        node("If", "condition", "y", name="choice", then_branch=branch, else_branch=branch),
    ]
    proto = model(nodes, {"x": [2]}, ["y"], {"zero": np.array(0, "f4")})
    with pytest.raises(OnnxError, match=r"If \('choice'\), as the condition is not known"):
        tg.onnx.load(proto)


def scaled(name: str, inner: str = "") -> Any:
    """Return a function y = f(x)·factor + x, with an attribute `factor`."""

    def refer(made: Any, attribute: str) -> Any:
        made.attribute.add(name=attribute, type=1, ref_attr_name="factor")
        return made

    constant = refer(node("Constant", "", "c"), "value_float")
    first = node("Relu", "x", "h")
    if inner:
        first = refer(node(inner, "x", "h", domain="local"), "factor")
    nodes = [first, constant, node("Mul", "h c", "m"), node("Add", "m x", "y")]
    imports = [helper.make_opsetid("", 20), helper.make_opsetid("local", 1)]
    return helper.make_function("local", name, ["x"], ["y"], nodes, imports, ["factor"])


def test_functions_of_the_file_are_inlined_with_their_attributes() -> None:
    nodes = [
        node("Outer", "x", "a", domain="local", factor=2.0),
        node("Inner", "a", "y", domain="local", factor=3.0),
    ]
    functions = [scaled("Inner"), scaled("Outer", "Inner")]
    proto = model(nodes, {"x": [3]}, ["y"], functions=functions, domains={"local": 1})
    x = np.array([-1, 0.5, 2], "f4")
    loaded = tg.onnx.load(proto)
    np.testing.assert_allclose(loaded(x).numpy(), ran(proto, {"x": x})[0])
    assert operators(loaded) == ["Relu", "Mul", "Add", "Mul", "Add", "Relu", "Mul", "Add"]


def test_identities_are_left_out_and_outputs_keep_their_names() -> None:
    nodes = [
        node("Identity", "w", "tied"), node("Identity", "x", "same"),
        node("MatMul", "same tied", "h"), node("Identity", "h", "y"), node("Identity", "x", "z"),
    ]  # fmt: skip
    w = RNG.normal(size=(2, 2)).astype("f4")
    loaded = tg.onnx.load(model(nodes, {"x": [1, 2]}, ["y", "z", "tied"], {"w": w}))
    assert operators(loaded) == ["MatMul"]
    assert loaded.outputs == ("y", "z", "tied")
    x = np.array([[1, 2]], "f4")
    y, z, tied = loaded(x)
    np.testing.assert_allclose(y.numpy(), x @ w, rtol=1e-6)
    np.testing.assert_array_equal(z.numpy(), x)
    np.testing.assert_array_equal(tied.numpy(), w)


def test_nodes_in_another_order_are_sorted() -> None:
    nodes = [node("Neg", "b", "y"), node("Exp", "a", "b"), node("Relu", "x", "a")]
    loaded = tg.onnx.load(model(nodes, {"x": [2]}, ["y"]))
    assert operators(loaded) == ["Relu", "Exp", "Neg"]
    np.testing.assert_array_equal(loaded(np.zeros(2, "f4")).numpy(), [-1, -1])


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ({"y": (1, 2)}, "input_shapes: there is no input 'y', expected 'x'"),
        ({"x": (1, 2)}, r"input_shapes: 'x' is \(1, 2\), expected float32 \(N, 3, H, H\)"),
        ({"x": (1, 4, 2, 2)}, r"input_shapes: 'x' is \(1, 4, 2, 2\), expected"),
        ({"x": (1, 3, 2, 4)}, "input_shapes: H is both 2 and 4"),
        ({"x": (1, 3, -2, -2)}, r"input_shapes: 'x' is \(1, 3, -2, -2\)"),
        ({"x": (1, 3, "a", 2)}, "input_shapes: 'x' is"),
        ({"x": 5}, "input_shapes: 'x' is 5"),
    ],
)
def test_wrong_shapes_are_refused(shapes: Any, message: str) -> None:
    with pytest.raises(OnnxError, match=message):
        tg.onnx.load(model([node("Relu", "x", "y")], {"x": ["N", 3, "H", "H"]}, ["y"]), shapes)


def test_a_size_that_was_chosen_holds_for_all_inputs_with_its_name() -> None:
    proto = model([node("Add", "a b", "y")], {"a": ["N", 2], "b": ["N", 2]}, ["y"])
    loaded = tg.onnx.load(proto, {"a": (4, None)})
    assert [each.shape for each in loaded.inputs] == [(4, 2), (4, 2)]


def ones(*shape: int) -> Any:
    return np.ones(shape, "f4")


def whole(*values: int) -> Any:
    return np.array(values, np.int64)


@pytest.mark.parametrize(
    ("op_type", "attributes", "inputs"),
    [
        ("MatMul", {}, [ones(5, 3, 4), ones(4, 6)]),
        ("MatMul", {}, [ones(5, 1, 3, 4), ones(2, 4, 6)]),
        ("MatMul", {}, [ones(4), ones(2, 4, 6)]),
        ("Gemm", {}, [ones(3, 4), ones(4, 6)]),
        ("Gemm", {"transA": 1, "transB": 1}, [ones(4, 3), ones(6, 4)]),
        ("Add", {}, [ones(5, 1), ones(1, 7)]),
        ("Tile", {}, [ones(2, 3), whole(4, 5)]),
        ("Expand", {}, [ones(2, 1), whole(3, 1, 7)]),
        ("Pad", {}, [ones(2, 3), whole(1, 2, 3, 4)]),
        ("Pad", {}, [ones(2, 3), whole(3, 4), None, whole(1)]),
        ("Resize", {}, [ones(1, 1, 2, 3), None, np.array([1, 1, 2, 3], "f4")]),
        ("Resize", {}, [ones(1, 1, 2, 3), None, None, whole(1, 1, 5, 7)]),
        ("Range", {}, [np.array(1), np.array(9), np.array(2)]),
        ("OneHot", {}, [whole(1, 2), np.array(5), whole(0, 1)]),
        ("Gather", {"axis": 1}, [ones(2, 3, 4), np.zeros((5, 6), int)]),
        ("Concat", {"axis": 0}, [ones(2, 3), ones(5, 3)]),
        ("Einsum", {"equation": "bij,bjk->bik"}, [ones(2, 3, 4), ones(2, 4, 5)]),
        ("ConstantOfShape", {}, [whole(3, 4)]),
        ("ConvTranspose", {"strides": [3, 2]}, [ones(2, 3, 4, 5), ones(3, 6, 2, 3)]),
        ("Conv", {"pads": [1, 2, 1, 2]}, [ones(2, 3, 4, 5), ones(6, 3, 1, 1)]),
    ],
)  # fmt: skip
def test_the_size_of_a_result_is_known_before_it_is_computed(
    op_type: str, attributes: Any, inputs: Any
) -> None:
    operator = Operator(op_type, attributes=attributes)
    result = IMPORTERS[op_type](operator, *inputs)
    assert cost(operator, inputs)[0] == np.size(result)


@pytest.mark.parametrize(
    ("nodes", "is_learned"),
    [
        ([node("Mul", "x w", "y")], True),
        ([node("Greater", "x w", "g"), node("Cast", "g", "y", to=FLOAT)], False),
        ([node("Floor", "w", "f"), node("Add", "x f", "y")], False),
        ([node("Cast", "w", "i", to=7), node("Cast", "i", "f", to=1), node("Add", "x f", "y")],
         False),
        ([node("Pad", "x pads value", "p"), node("Slice", "p zero three", "y")], False),
    ],
)  # fmt: skip
def test_a_constant_is_a_parameter_if_a_gradient_reaches_it(nodes: Any, is_learned: bool) -> None:
    arrays = {"w": np.ones(3, "f4"), "value": np.ones(1, "f4")[0:1], "pads": np.array([1, 1]),
              "zero": np.array([0]), "three": np.array([3])}  # fmt: skip
    loaded = tg.onnx.load(model(nodes, {"x": [3]}, ["y"], arrays))
    assert bool(list(loaded.parameters())) == is_learned
    assert loaded(np.zeros(3, "f4")).shape == (3,)
