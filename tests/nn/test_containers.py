"""Containers, lists and dicts with PyTorch's names, and registration in a module."""

from __future__ import annotations

import copy
import pickle
from collections.abc import MutableMapping, MutableSequence
from typing import Any

import numpy as np
import pytest

import tinygrad_cnn as tg
from tinygrad_cnn import nn


def unit() -> nn.Module:
    return nn.Linear(1, 1, bias=False)


def names(module: nn.Module) -> str:
    return " ".join(name.removesuffix(".weight") for name in module.state_dict())


def three(kind: Any) -> Any:
    return kind(*[unit() for _ in "abc"]) if kind is nn.Sequential else kind(unit() for _ in "abc")


def named() -> nn.Sequential:
    return nn.Sequential({"a": unit(), "b": unit(), "c": unit()})


CHANGES: dict[str, tuple[Any, str, str]] = {
    "append": (lambda m: m.append(unit()), "0 1 2 3", "a b c 3"),
    "extend": (lambda m: m.extend([unit(), unit()]), "0 1 2 3 4", "a b c 3 4"),
    "+=": (lambda m: m.__iadd__([unit()]), "0 1 2 3", "a b c 3"),
    "set": (lambda m: m.__setitem__(-1, unit()), "0 1 2", "a b c"),
    "pop": (lambda m: m.pop(), "0 1", "0 1"),
    "del": (lambda m: m.__delitem__(slice(0, 2)), "0", "0"),
    "insert": (lambda m: m.insert(1, unit()), "0 1 2 3", "0 1 2 3"),
    "add_module": (lambda m: m.add_module("last", unit()), "0 1 2 last", "a b c last"),
}  # each with PyTorch 2.13's names in the state dict; it cannot insert into named modules


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_list_has_pytorchs_names(change: str) -> None:
    act, numbered, after_names = CHANGES[change]
    for model, expected in (
        (three(nn.Sequential), numbered), (three(nn.ModuleList), numbered), (named(), after_names),
    ):  # fmt: skip
        items = list(model)
        act(model)
        kept = [item for item in model if item in items]
        assert kept == [item for item in items if item in kept]  # in the same order
        assert names(model) == expected
        assert len(model) == len(expected.split())


def test_a_slice_of_a_chain_keeps_its_names_and_one_of_a_list_does_not() -> None:
    chain, listed = three(nn.Sequential), three(nn.ModuleList)
    assert names(chain[1:]) == "1 2"
    assert names(named()[::2]) == "a c"
    assert names(listed[1:]) == "0 1"
    assert isinstance(chain[1:], nn.Sequential)
    assert isinstance(listed[1:], nn.ModuleList)
    assert list(listed[1:]) == list(listed)[1:]
    assert names(chain[2:].append(unit())) == "2 1"  # PyTorch would replace the last module
    assert len(chain[2:].extend([unit()] * 3)) == 4


def test_a_list_is_a_mutable_sequence() -> None:
    model = three(nn.ModuleList)
    assert isinstance(model, MutableSequence)
    first, second, third = model
    assert (model[0], model[-1], second in model, model.index(third)) == (first, third, True, 2)
    assert model.pop(0) is first
    assert list(model + nn.ModuleList([first])) == [second, third, first]
    assert list(reversed(model)) == [third, second]
    assert {model: 1}[model] == 1  # hashed by identity, as all modules
    for bad in (3, -4):
        with pytest.raises(IndexError, match=f"ModuleList: \\[{bad}\\] of 2 items"):
            model[bad]
    with pytest.raises(NotImplementedError, match="ModuleList defines no forward"):
        model(1)


def test_a_dict_is_a_mutable_mapping() -> None:
    a, b = unit(), unit()
    model = nn.ModuleDict([("a", a)])
    model["b"] = b
    assert isinstance(model, MutableMapping)
    assert (list(model), list(model.values()), "a" in model, len(model)) == (
        ["a", "b"], [a, b], True, 2,
    )  # fmt: skip
    assert model.get("c") is None
    model.update({"c": unit()})
    assert names(model) == "a b c"
    assert model.pop("a") is a
    del model["b"]
    assert {model: 1}[model] == 1
    assert model != nn.ModuleDict(model)
    with pytest.raises(KeyError, match="b"):
        del model["b"]
    model.clear()
    assert names(model) == ""


def test_parameters_in_containers_are_found_and_made() -> None:
    w = nn.Parameter([1.0])
    listed = nn.ParameterList([w, np.zeros((2, 3))])
    assert [(n, p.shape) for n, p in listed.named_parameters()] == [("0", (1,)), ("1", (2, 3))]
    assert listed[0] is w
    assert repr(listed) == "ParameterList((1,), (2, 3))"
    assert len(listed.append([1.0])[1:]) == 2
    by_name = nn.ParameterDict({"w": w})
    by_name["v"] = tg.Tensor([1.0, 2.0])
    assert [name for name, _ in by_name.named_parameters()] == ["w", "v"]
    assert repr(by_name) == "ParameterDict(w: (1,), v: (2,))"


def test_what_does_not_belong_in_a_container_changes_nothing() -> None:
    chain, by_name = three(nn.Sequential), nn.ModuleDict({"a": unit()})
    items = list(chain)
    for act, kind, message in (
        (lambda: chain.append(3), TypeError, r"Sequential: modules\[3\] is 3, expected a Module"),
        (lambda: chain.extend([unit(), None]), TypeError, r"modules\[4\] is None"),
        (lambda: chain.insert(0, nn.ReLU), TypeError, r"modules\[0\] is <class"),
        (lambda: chain.add_module("forward", unit()), ValueError, "forward is an attribute"),
        (lambda: by_name.update({"keys": unit()}), ValueError, "ModuleDict: keys is an attribute"),
        (lambda: by_name.update({"a.b": unit()}), ValueError, "is 'a.b', expected text without"),
        (lambda: by_name.update({7: unit()}), ValueError, "the name is 7, expected text"),
        (lambda: by_name.update({"a": 1}), TypeError, r"ModuleDict: modules\[a\] is 1, expected"),
    ):
        with pytest.raises(kind, match=message):
            act()
        assert list(chain) == items
        assert list(by_name) == ["a"]


class Branches(nn.Module):
    def __init__(self) -> None:
        self.layers = nn.ModuleList([nn.Linear(2, 2), nn.ReLU()])
        self.heads = nn.ModuleDict({"left": nn.Linear(2, 1)})

    def forward(self, x: Any) -> Any:
        for layer in self.layers:
            x = layer(x)
        return self.heads["left"](x)


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_containers_are_copied_drawn_and_summarized_by_name(duplicate: Any) -> None:
    model = Branches()
    again = duplicate(model)
    x = np.ones((1, 2), "f4")
    assert again.heads["left"] is not model.heads["left"]
    np.testing.assert_array_equal(again(x), model(x))
    assert again(tg.Tensor(x)).node.scope == "heads.left"
    rows = [row.name for row in model.summary((2,)).rows]
    assert rows == ["layers.0", "layers.1", "heads.left"]
    assert repr(again) == repr(model)


# --- registering ---------------------------------------------------------------------------------


def test_names_reach_submodules_parameters_and_buffers() -> None:
    model = Branches()
    model.again = model.layers  # shared: both names are good
    model.plain = [{"norm": nn.BatchNorm2d(1)}]
    assert model.get_submodule("") is model
    assert model.get_submodule("again.1") is model.layers[1]
    assert model.get_parameter("heads.left.bias") is model.heads["left"].bias
    assert model.get_parameter("again.0.weight") is model.layers[0].weight
    norm = model.get_submodule("plain.0.norm")
    assert model.get_buffer("plain.0.norm.running_var") is norm.running_var
    for get, name in (
        (model.get_submodule, "layers.7"), (model.get_submodule, "heads.left.bias"),
        (model.get_parameter, "layers.0"), (model.get_parameter, "plain.0.norm.running_var"),
        (model.get_buffer, "heads.left.bias"),
    ):  # fmt: skip
        with pytest.raises(AttributeError, match=f"Branches has no .* '{name}'"):
            get(name)


def test_apply_visits_children_first_each_once() -> None:
    model = Branches()
    model.again = model.layers
    seen: list[nn.Module] = []
    assert model.apply(seen.append) is model
    assert seen[-1] is model
    assert len(seen) == len(set(map(id, seen))) == len(list(model.modules()))
    assert seen.index(model.layers[0]) < seen.index(model.layers)


def test_registered_values_are_attributes() -> None:
    module = nn.ReLU()
    module.register_parameter("weight", nn.Parameter([1.0]))
    module.register_parameter("bias", None)
    module.add_module("inner", unit())
    module.register_module("none", None)
    module.register_buffer("seen", np.zeros(2))
    module.register_buffer("_hidden", tg.Tensor([1.0]))
    module.register_buffer("scratch", tg.Tensor([1.0]), persistent=False)
    assert list(module.state_dict()) == ["weight", "seen", "_hidden", "inner.weight"]
    assert [name for name, _ in module.named_buffers()] == ["seen", "_hidden", "scratch"]
    assert (module.bias, module.none) == (None, None)
    module.register_buffer("scratch", tg.Tensor([2.0]))
    assert "scratch" in module.state_dict()
    module.register_buffer("scratch", None, persistent=False)
    assert module.scratch is None
    for act, kind, message in (
        (lambda: module.register_buffer("inner", np.ones(1)), ValueError, "inner is an attribute"),
        (lambda: module.register_parameter("p", np.ones(1)), TypeError, "p is ndarray, expected a"),
        (lambda: module.add_module("m", 1), TypeError, "m is int, expected a Module or None"),
        (lambda: module.register_buffer("b", module.weight), TypeError, "b is a Parameter"),
        (lambda: module.register_buffer("a.b", np.ones(1)), ValueError, "text without dots"),
    ):
        with pytest.raises(kind, match=message):
            act()


class Centered(nn.Module):
    def __init__(self) -> None:
        self.scale = nn.Parameter([2.0])
        self.register_buffer("center", tg.Tensor([0.0]))

    def forward(self, x: Any) -> Any:
        y = x * self.scale
        with tg.no_grad():
            self.center = 0.5 * self.center + 0.5 * y
        return y - self.center


def test_a_registered_buffer_may_be_replaced_by_a_result() -> None:
    model = Centered()
    model(tg.Tensor([4.0]))
    assert model.state_dict()["center"].tolist() == [4.0]
    again = Centered()
    again.load_state_dict(model.state_dict())
    model.load_state_dict(Centered().state_dict())
    assert (again.center.tolist(), model.center.tolist()) == ([4.0], [0.0])
    y = (model.scale * model.center).sum()
    model.load_state_dict(again.state_dict())
    with pytest.raises(tg.ChangedInPlaceError):
        y.backward()


def test_parameters_are_found_by_identity_not_by_value() -> None:
    first, second = nn.Parameter([1.0, 2.0]), nn.Parameter([1.0, 2.0])
    found = nn.ParameterList([first, second])
    assert second in found
    assert nn.Parameter([1.0, 2.0]) not in found
    assert (found.index(second), found.count(second)) == (1, 1)
    found.remove(second)
    assert len(found) == 1
    with pytest.raises(ValueError, match="is not an item"):
        found.index(second)


def test_a_buffer_does_not_replace_a_parameter() -> None:
    layer = nn.Linear(1, 1)
    with pytest.raises(ValueError, match="weight is an attribute already"):
        layer.register_buffer("weight", tg.Tensor([[1.0]]))
    assert isinstance(layer.weight, nn.Parameter)
