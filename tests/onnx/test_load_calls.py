"""Calls of loaded models: the range of inputs, outputs of one's own, and hooks."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto
from support.onnx_models import model, node, ran, value

import tinygrad_cnn as tg
from tinygrad_cnn.core.variable import array_of
from tinygrad_cnn.onnx import OnnxError

pytestmark = pytest.mark.usefixtures("seeded")

RNG = np.random.default_rng(7)


# --- inputs --------------------------------------------------------------------------------------


def passed(kind: int) -> Any:
    """Return a loaded model that returns its integers as floats."""
    proto = model([node("Cast", "n", "y", to=TensorProto.DOUBLE)],
                  {"n": value("n", [None], kind)}, ["y"])  # fmt: skip
    return tg.onnx.load(proto)


@pytest.mark.parametrize(
    ("kind", "given", "message"),
    [
        (TensorProto.UINT8, [300, -1], "'n' has values from -1 to 300, expected uint8: from 0 to"),
        (TensorProto.INT32, [2**40 + 5], "expected int32: from -2147483648 to 2147483647"),
        (TensorProto.UINT64, [-1], "values from -1 to -1, expected uint64"),
        (TensorProto.INT64, np.array([2**63], np.uint64), "expected int64"),
    ],
)
def test_integers_outside_the_range_of_an_input_are_refused(
    kind: int, given: Any, message: str
) -> None:
    with pytest.raises(OnnxError, match=message):
        passed(kind)(np.asarray(given))


def test_integers_at_the_ends_of_the_range_of_an_input_are_kept() -> None:
    for kind, given in ((TensorProto.UINT8, [0, 255]), (TensorProto.INT32, [-(2**31), 2**31 - 1])):
        np.testing.assert_array_equal(passed(kind)(np.array(given)).numpy(), given)
    assert passed(TensorProto.UINT8)(np.zeros(0, np.int64)).shape == (0,)


# --- outputs -------------------------------------------------------------------------------------


def test_two_outputs_of_one_name_are_two_values() -> None:
    proto = model([node("Neg", "x", "y")], {"x": [2]}, ["y", "y"])
    for output in proto.graph.output:
        output.CopyFrom(value("y", [2]))
    x = np.array([1, 2], "f4")
    results = tg.onnx.load(proto)(x)
    assert len(results) == len(ran(proto, {"x": x})) == 2
    for y in results:
        np.testing.assert_array_equal(y.numpy(), -x)


def test_writing_to_an_output_changes_no_constant() -> None:
    nodes = [
        node("Constant", "", "y", value_floats=[1.0, 2.0]),
        node("Constant", "", "n", value_ints=[3, 4]),
        node("Constant", "", "/Constant_output_0", value_floats=[5.0, 6.0]),
        node("Expand", "n size", "expanded"),
        node("Reshape", "/Constant_output_0 size", "reshaped"),
        node("Transpose", "n", "turned"),
    ]
    names = ["y", "n", "expanded", "reshaped", "turned"]
    loaded = tg.onnx.load(model(nodes, {"size": value("size", [1], TensorProto.INT64)}, names))
    first = loaded(np.array([2]))
    expected = [array_of(each).copy() for each in first]
    for each in first:
        array_of(each)[...] = 9
    for again, wanted in zip(loaded(np.array([2])), expected, strict=True):
        np.testing.assert_array_equal(array_of(again), wanted)


def test_a_weight_that_is_an_output_is_returned_as_a_result_with_its_gradient() -> None:
    arrays = {name: np.array([1, 2], "f4") for name in ("w", "s", "b", "mean", "var")}
    nodes = [node("Add", "x w", "h"), node("BatchNormalization", "h s b mean var", "y")]
    loaded = tg.onnx.load(model(nodes, {"x": ["N", 2]}, ["y", "w", "mean"], arrays))
    _, w, mean = loaded(np.zeros((3, 2), "f4"))
    assert not isinstance(w, tg.nn.Parameter)
    (w * [3, 4]).sum().backward()
    np.testing.assert_array_equal(loaded.w.grad, [3, 4])
    for result, held in ((w, loaded.w), (mean, loaded.mean)):
        np.testing.assert_array_equal(result.numpy(), [1, 2])
        assert not np.shares_memory(array_of(result), array_of(held))


# --- hooks ---------------------------------------------------------------------------------------


def nested() -> Any:
    """Return a model: a block of a layer, twice, with sizes between its nodes; then a head."""
    nodes = [
        node("MatMul", "x block.fc.weight", "h0", name="/block/fc/MatMul"),
        node("Shape", "h0", "size", name="/Shape"),
        node("Add", "h0 block.fc.bias", "h1", name="/block/fc/Add"),
        node("Relu", "h1", "h2", name="/block/act/Relu"),
        node("Reshape", "h2 size", "h3", name="/block/Reshape"),
        node("Exp", "h3", "h4", name="/head/Exp"),
        node("Tanh", "h4", "h5", name="/block/act_1/Tanh"),
        node("Add", "h5 h2", "y", name="/head/Add"),
    ]
    arrays = {"block.fc.weight": RNG.normal(size=(3, 3)).astype("f4"),
              "block.fc.bias": RNG.normal(size=3).astype("f4")}  # fmt: skip
    return tg.onnx.load(model(nodes, {"x": ["N", "C"]}, ["y"], arrays))


X = RNG.normal(size=(2, 3)).astype("f4")


def seen(part: Any, loaded: Any, x: Any = X) -> list[Any]:
    """Return the arguments and results of each call of a part."""
    found: list[Any] = []
    with part.register_forward_hook(lambda module, args, y: found.append((module, args, y))):
        loaded(x)
    return found


def test_the_hooks_of_a_model_are_called_once_with_its_inputs_and_outputs() -> None:
    loaded = nested()
    ((module, args, y),) = seen(loaded, loaded)
    assert module is loaded
    assert args[0] is X
    np.testing.assert_array_equal(y.numpy(), loaded(X).numpy())


def test_the_hooks_of_a_part_are_called_around_all_its_nodes() -> None:
    loaded = nested()
    ((module, (x,), y),) = seen(loaded.block.fc, loaded)
    assert module is loaded.block.fc
    np.testing.assert_array_equal(x.numpy(), X)
    weight, bias = (p.numpy() for p in loaded.parameters())
    np.testing.assert_allclose(y.numpy(), X @ weight + bias, rtol=1e-6)


def test_the_hooks_of_a_container_are_called_for_each_run_of_its_nodes() -> None:
    loaded = nested()
    first, second = seen(loaded.block, loaded)
    assert [len(values) for values in first[1:]] == [1, 2]
    np.testing.assert_array_equal(first[1][0].numpy(), X)
    relu, reshaped = (each.numpy() for each in first[2])
    np.testing.assert_array_equal(relu, reshaped)
    np.testing.assert_array_equal(second[1][0].numpy(), np.exp(relu))
    np.testing.assert_array_equal(second[2].numpy(), np.tanh(np.exp(relu)))


def test_a_hook_changes_what_the_rest_of_the_model_reads() -> None:
    loaded = nested()
    negative = loaded.block.act_1.register_forward_pre_hook(lambda module, args: -args[0])
    two = loaded.block.act.register_forward_hook(lambda module, args, y: y * 0 + 2)
    with negative, two:
        y = loaded(X).numpy()
    np.testing.assert_allclose(y, np.full((2, 3), np.tanh(-np.exp(2.0)) + 2), rtol=1e-6)
    before = loaded(X).numpy()
    hook = loaded.block.register_forward_hook(lambda module, args, y: (y, y, y))
    with hook, pytest.raises(OnnxError, match=r"block: a hook returned 3 outputs, expected 2"):
        loaded(X)
    np.testing.assert_array_equal(loaded(X).numpy(), before)


def test_a_backward_hook_of_a_container_has_the_gradients_of_a_run() -> None:
    loaded, found = nested(), []
    part = loaded.block.act_1
    x = tg.Tensor(X, requires_grad=True)
    with part.register_full_backward_hook(lambda m, into, out: found.append((into, out))):
        loaded(x).sum().backward()
    (((into,), (out,)),) = found
    np.testing.assert_array_equal(out, np.ones((2, 3)))
    ((_, (h,), _y),) = seen(part, loaded)
    np.testing.assert_allclose(into, 1 - np.tanh(h.numpy()) ** 2, rtol=1e-4, atol=1e-7)
    gradient = x.grad
    other = tg.Tensor(X, requires_grad=True)
    loaded(other).sum().backward()
    np.testing.assert_allclose(gradient, other.grad, rtol=1e-6)


def test_hooks_within_hooks_are_called_from_the_outside_in() -> None:
    loaded, order = nested(), []

    def note(name: str) -> Any:
        return lambda *given: order.append(f"{name} {'before' if len(given) == 2 else 'after'}")

    for name in ("block.fc", "block"):
        part = loaded.get_submodule(name)
        part.register_forward_pre_hook(note(name))
        part.register_forward_hook(note(name))
    loaded(X)
    assert order[:4] == ["block before", "block.fc before", "block.fc after", "block after"]
    assert order[4:] == ["block before", "block after"]


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_the_parts_of_a_copy_have_hooks_of_their_own(copied: Callable[..., Any]) -> None:
    loaded = nested()
    found: list[Any] = []
    loaded.block.register_forward_hook(lambda module, args, y: found.append(module))
    other = copied(loaded)
    other(X)
    assert found == []
    assert [module for module, _, _ in seen(other.block, other)] == [other.block] * 2
    loaded(X)
    assert found == [loaded.block] * 2
