"""Hooks of modules, conversion to another dtype, and copies of modules that hold results."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest

import tinygrad_cnn as tg
from tinygrad_cnn import nn, optim

WAYS = {
    "deepcopy": copy.deepcopy,
    "pickle": lambda m: pickle.loads(pickle.dumps(m)),
    "copy": copy.copy,
}


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def model() -> nn.Module:
    return nn.Sequential(nn.Linear(3, 4, rng=rng()), nn.Tanh(), nn.Linear(4, 2, rng=rng()))


def leaf(*shape: int) -> tg.Tensor:
    return tg.Tensor(rng(1).normal(size=shape).astype("f4"), requires_grad=True)


class TwoByTwo(nn.Module):
    """Two inputs of different shapes, and two outputs."""

    def forward(self, a: Any, b: Any, scale: float = 1.0) -> Any:
        return a * b.sum() * scale, a + 1.0


# --- forward -------------------------------------------------------------------------------------


def test_hooks_see_arguments_and_results_in_order() -> None:
    net, seen = model(), []
    net[1].register_forward_hook(lambda m, args, y: seen.append(("after", m, args[0].shape, y)))
    net[1].register_forward_pre_hook(lambda m, args: seen.append(("before", m, args[0].shape)))
    y = net(leaf(5, 3))
    assert [entry[:3] for entry in seen] == [
        ("before", net[1], (5, 4)), ("after", net[1], (5, 4)),
    ]  # fmt: skip
    assert (seen[1][3].shape, y.shape) == ((5, 4), (5, 2))


def test_what_hooks_return_replaces_arguments_and_result() -> None:
    layer, x = nn.ReLU(), tg.Tensor([-1.0, 2.0])
    layer.register_forward_pre_hook(lambda m, args: -args[0])
    layer.register_forward_pre_hook(lambda m, args: (args[0] * 2,))
    layer.register_forward_hook(lambda m, args, y: y + args[0])
    assert layer(x).tolist() == [4.0, -4.0]
    both = TwoByTwo()
    both.register_forward_pre_hook(lambda m, args: args[::-1])
    assert both(tg.Tensor([1.0, 2.0]), tg.Tensor([3.0]), scale=2.0)[0].tolist() == [18.0]


@pytest.mark.parametrize("kind", ["forward_pre", "forward", "full_backward"])
def test_hooks_are_removed_and_the_rest_run(kind: str) -> None:
    layer, seen = nn.Tanh(), []
    register = getattr(layer, f"register_{kind}_hook")
    handles = [register(lambda *_, k=k: seen.append(k)) for k in range(3)]
    handles[0].remove()
    with register(lambda *_: seen.append("block")):
        layer(leaf(2)).sum().backward()
    layer(leaf(2)).sum().backward()
    assert seen == [1, 2, "block", 1, 2]
    with pytest.raises(TypeError, match=f"register_{kind}_hook: hook is 1, expected a function"):
        register(1)


@pytest.mark.parametrize("kind", ["forward_pre", "forward"])
def test_an_error_in_a_hook_is_one_of_the_module_and_leaves_no_scope(kind: str) -> None:
    net = model()

    def fail(*_: Any) -> None:
        raise KeyError("no")

    handle = getattr(net[1], f"register_{kind}_hook")(fail)
    with pytest.raises(KeyError) as raised:
        net(leaf(5, 3))
    assert raised.value.__notes__ == ["in module 1"]
    handle.remove()
    assert net(leaf(5, 3)).node.scope == "2"


def test_hooks_of_a_layer_of_unknown_size() -> None:
    layer, seen = nn.Linear(None, 2), []
    layer.register_forward_pre_hook(lambda m, args: args[0].reshape(1, -1))
    layer.register_forward_hook(lambda m, args, y: seen.append(m.in_features))
    assert layer(tg.Tensor([1.0, 2.0, 3.0])).shape == (1, 2)
    assert seen == [3]


# --- backward ------------------------------------------------------------------------------------


@pytest.mark.parametrize("create_graph", [False, True])
def test_a_backward_hook_gets_the_gradients_of_inputs_and_outputs(create_graph: bool) -> None:
    net, x, seen = model(), leaf(5, 3), []
    net[1].register_full_backward_hook(lambda m, gi, go: seen.append((m, gi, go)))
    h = net[0](x)
    z = net[1](h)
    u = rng(2).normal(size=(5, 4)).astype("f4")
    (tg.tanh(h).sum() * 3 + (z * u).sum()).backward(create_graph=create_graph)
    ((module, (grad_input,), (grad_output,)),) = seen
    assert module is net[1]
    np.testing.assert_allclose(grad_output, u, rtol=1e-6)
    np.testing.assert_allclose(grad_input, u * (1 - z.numpy() ** 2), rtol=1e-5, atol=1e-7)
    assert isinstance(grad_input, tg.Tensor) is create_graph
    bare = model()
    y = leaf(5, 3)
    h = bare[0](y)
    (tg.tanh(h).sum() * 3 + (bare[1](h) * u).sum()).backward()
    np.testing.assert_allclose(x.grad, y.grad, rtol=1e-6)  # the hook changes nothing


def test_a_replaced_gradient_of_an_input_flows_on() -> None:
    net, x = model(), leaf(5, 3)
    net[1].register_full_backward_hook(lambda m, gi, go: (go[0] * 2,))
    net[1].register_full_backward_hook(lambda m, gi, go: gi[0] + 1)  # the only one
    net[1].register_full_backward_hook(lambda m, gi, go: (None,))
    net(x).sum().backward()
    w1, w2 = net[0].weight.data, net[2].weight.data
    expected = np.tile((w2.sum(0) * 2 + 1) @ w1, (5, 1))
    np.testing.assert_allclose(x.grad, expected, rtol=1e-5)
    net[1].register_full_backward_hook(lambda m, gi, go: (go[0], go[0]))
    with pytest.raises(ValueError, match="Tanh: a backward hook returned 2 gradients, expected 1"):
        net(x).sum().backward()


def test_a_layer_whose_input_needs_no_gradient_has_its_hook_called() -> None:
    net, seen = model(), []
    net[0].register_full_backward_hook(lambda m, gi, go: seen.append((gi, go[0].shape)))
    net(rng(1).normal(size=(5, 3)).astype("f4")).sum().backward()
    assert seen == [((None,), (5, 4))]


def test_several_inputs_and_outputs() -> None:
    module, a, b, seen = TwoByTwo(), leaf(2, 3), leaf(4), []

    def keep(m: Any, grad_input: Any, grad_output: Any) -> Any:
        seen.append((grad_input, grad_output))
        return grad_input[0] * 10, None

    module.register_full_backward_hook(keep)
    first, second = module(a, b)
    ((first * 2).sum() + (second * 3).sum()).backward()
    ((grad_input, grad_output),) = seen
    np.testing.assert_allclose(grad_output[0], np.full((2, 3), 2.0))
    np.testing.assert_allclose(grad_output[1], np.full((2, 3), 3.0))
    np.testing.assert_allclose(grad_input[0], np.full((2, 3), 2 * b.data.sum() + 3), rtol=1e-5)
    np.testing.assert_allclose(grad_input[1], np.full(4, 2 * a.data.sum()), rtol=1e-5)
    np.testing.assert_allclose(a.grad, grad_input[0] * 10, rtol=1e-6)
    np.testing.assert_allclose(b.grad, grad_input[1])
    seen.clear()
    module(a, tg.Tensor([1.0]))[1].sum().backward()
    assert seen[0][0][1] is None
    assert not seen[0][1][0].any()  # nothing came to the first output


def test_calls_have_backward_hooks_of_their_own() -> None:
    layer, seen = nn.Tanh(), []
    layer.register_full_backward_hook(lambda m, gi, go: seen.append(go[0].tolist()))
    x = leaf(1)
    (layer(x) * 2 + layer(x * 2) * 3).backward()
    assert sorted(seen) == [[2.0], [3.0]]
    with tg.no_grad():
        assert not layer(x).requires_grad


def test_an_error_in_a_backward_hook_adds_no_gradient() -> None:
    net, x = model(), leaf(5, 3)

    def fail(*_: Any) -> None:
        raise RuntimeError("no")

    net[1].register_full_backward_hook(fail)
    with pytest.raises(RuntimeError, match="no"):
        net(x).sum().backward()
    assert x.grad is None
    assert all(p.grad is None for p in net.parameters())


# --- copies --------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", WAYS)
def test_a_copy_has_no_hooks(way: str) -> None:
    net, seen = model(), []
    net[1].register_forward_hook(lambda *_: seen.append("forward"))
    net.register_full_backward_hook(lambda *_: seen.append("backward"))
    again = WAYS[way](net) if way != "copy" else nn.Sequential(*map(copy.copy, net))
    again(leaf(5, 3)).sum().backward()
    assert seen == []
    net(leaf(5, 3)).sum().backward()
    assert seen == ["forward", "backward"]


class Remembering(nn.Module):
    def __init__(self) -> None:
        self.layer = nn.Linear(2, 2, rng=rng())
        self.seen: dict[str, Any] = {}
        self.fixed = [tg.Tensor([1.0])]

    def forward(self, x: Any) -> Any:
        y = self.layer(x)
        self.seen["results"] = [y, (y * 2, "text")]
        with tg.no_grad():
            self.frozen = y + 1
        self.last = y
        return y


@pytest.mark.parametrize("way", WAYS)
def test_a_module_that_holds_results_is_copied_with_their_values(way: str) -> None:
    net = Remembering()
    y = net(tg.Tensor([[1.0, 2.0]]))
    again = WAYS[way](net)
    for copied, original in (
        (again.last, y), (again.seen["results"][0], y), (again.seen["results"][1][0], y * 2),
        (again.frozen, y + 1),
    ):  # fmt: skip
        np.testing.assert_array_equal(copied, original.detach())
        assert copied.node is None
        assert not copied.is_leaf
    assert list(again.state_dict()) == list(net.state_dict())
    assert net.last is y  # the module itself keeps its graph
    y.sum().backward()
    assert (again.layer.weight.grad is None) is (way != "copy")
    once_more = WAYS[way](again)
    np.testing.assert_array_equal(once_more(tg.Tensor([[1.0, 2.0]])), y.detach())


# --- dtypes --------------------------------------------------------------------------------------


def test_a_converted_model_computes_in_its_dtype_with_the_same_parameters() -> None:
    net = nn.Sequential(nn.Conv2d(1, 2, 3, rng=rng()), nn.BatchNorm2d(2), nn.Flatten(),
                        nn.Linear(None, 3, rng=rng()))  # fmt: skip
    parameters = [p for _, p in net._named_tensors()]
    assert net.double() is net
    x = rng(1).normal(size=(2, 1, 5, 5))
    y = net(x)
    y.sum().backward()
    assert y.dtype == np.float64
    kinds = {str(a.dtype) for a in net.state_dict().values()}
    assert kinds == {"float64", "int64"}
    assert all(p.grad.dtype == np.float64 for p in net.parameters())
    assert [p for _, p in net._named_tensors()][: len(parameters)] == parameters
    net.float()
    assert net(x.astype("f4")).dtype == np.float32
    assert all(p.grad.dtype == np.float32 for p in net.parameters())
    optim.SGD(net.parameters(), 0.1).step()
    with pytest.raises(TypeError, match="astype: dtype is float16, expected float32 or float64"):
        net.astype("f2")


def test_converting_between_forward_and_backward_is_noticed() -> None:
    net = model()
    y = net(leaf(5, 3)).sum()
    net.double()
    with pytest.raises(tg.ChangedInPlaceError):
        y.backward()


def test_a_gradient_with_a_graph_is_converted_as_a_value() -> None:
    layer = nn.Linear(2, 1, rng=rng())
    layer(leaf(3, 2)).sum().backward(create_graph=True)
    layer.double()
    assert type(layer.weight.grad) is np.ndarray
    assert layer.weight.grad.dtype == np.float64
