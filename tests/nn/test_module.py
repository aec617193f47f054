"""The Module: what it finds in its attributes, how it names it, and what it saves and loads."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_cnn as tg
from tinygrad_cnn import nn


class Inner(nn.Module):
    def __init__(self, size: int = 2) -> None:
        self.weight = nn.Parameter(np.ones(size, np.float32))
        self.seen = tg.Tensor(np.zeros(size, np.float32))

    def forward(self, x: Any) -> Any:
        return x * self.weight


class Outer(nn.Module):
    """Never calls super().__init__(), and holds its parts in every kind of container."""

    def __init__(self) -> None:
        self.scale = nn.Parameter([3.0])
        self.first = Inner()
        self.layers = [Inner(), (Inner(), Inner())]
        self.heads = {"left": Inner(), 7: nn.Parameter([1.0])}
        self.width = 5

    def forward(self, x: Any) -> Any:
        x = self.layers[1][0](self.first(x) * self.scale)
        return self.heads["left"](x)


def same(a: dict[str, Any], b: dict[str, Any]) -> bool:
    return a.keys() == b.keys() and all(np.array_equal(a[k], b[k]) for k in a)


# --- finding -------------------------------------------------------------------------------------


def test_the_children_are_the_modules_in_attributes_each_once_and_not_their_own() -> None:
    model = nn.Sequential(nn.Sequential(nn.ReLU()), shared := nn.Tanh(), shared)
    assert list(model.named_children()) == [("0", model[0]), ("1", shared)]
    assert list(model.children()) == [model[0], shared]
    assert [name for name, _ in Outer().named_children()] == [
        "first", "layers.0", "layers.1.0", "layers.1.1", "heads.left",
    ]  # fmt: skip
    assert list(Inner().children()) == []


def test_parameters_are_found_by_attribute_in_containers_and_without_super_init() -> None:
    assert [name for name, _ in Outer().named_parameters()] == [
        "scale",
        "heads.7",
        "first.weight",
        "layers.0.weight",
        "layers.1.0.weight",
        "layers.1.1.weight",
        "heads.left.weight",
    ]


def test_plain_tensors_are_buffers_unless_private_or_computed() -> None:
    module = Inner()
    module.computed = module.weight * 2
    module._private = tg.Tensor([1.0])
    assert [name for name, _ in module.named_buffers()] == ["seen"]
    assert len(list(module.buffers())) == 1


def test_a_learnable_tensor_that_is_no_parameter_is_refused_by_name() -> None:
    outer = Outer()
    outer.first.loose = tg.Tensor([1.0], requires_grad=True)
    with pytest.raises(TypeError, match=r"Outer: first\.loose is a Tensor that requires"):
        list(outer.parameters())


def test_shared_parameters_and_modules_appear_once_under_their_first_name() -> None:
    outer = Outer()
    outer.again = outer.first
    outer.layers[0].weight = outer.scale
    names = [name for name, _ in outer.named_parameters()]
    assert "again.weight" not in names
    assert "layers.0.weight" not in names
    assert len({id(p) for p in outer.parameters()}) == len(names)
    assert sum(module is outer.first for module in outer.modules()) == 1


def test_modules_that_refer_to_each_other_end() -> None:
    a, b = Inner(), Inner()
    a.other, b.other = b, a
    assert [name for name, _ in a.named_modules()] == ["", "other"]
    assert repr(a) == "Inner(\n  (other): Inner(\n    (other): ...\n  )\n)"


def test_two_tensors_of_one_name_are_refused() -> None:
    outer = Outer()
    outer.heads = {"7": nn.Parameter([1.0]), 7: nn.Parameter([1.0])}
    with pytest.raises(ValueError, match=r"two tensors are named heads\.7"):
        outer.state_dict()


def test_what_is_assigned_later_is_found_and_what_is_deleted_is_not() -> None:
    outer = Outer()
    outer.layers.append(Inner())
    del outer.first
    names = [name for name, _ in outer.named_parameters()]
    assert "layers.2.weight" in names
    assert "first.weight" not in names


# --- scopes --------------------------------------------------------------------------------------


class Scopes(tg.Observer):
    def __init__(self) -> None:
        self.seen: list[str] = []

    def forward(self, event: tg.ForwardEvent) -> None:
        self.seen.append(event.scope)


def test_nodes_record_the_module_that_made_them() -> None:
    scopes = Scopes()
    with tg.observe(scopes):
        y = Outer()(tg.Tensor([1.0, 2.0]))
    assert scopes.seen == ["first", "", "layers.1.0", "heads.left"]
    assert y.node.scope == "heads.left"


def test_nested_modules_add_their_names_up_and_the_root_adds_nothing() -> None:
    model = nn.Sequential(nn.Sequential(Inner()), nn.ReLU())
    scopes = Scopes()
    with tg.observe(scopes):
        model(tg.Tensor([1.0, 2.0]))
        with tg.scope("encoder"):
            model(tg.Tensor([1.0, 2.0]))
        model[0](tg.Tensor([1.0, 2.0]))
    assert scopes.seen == ["0.0", "1", "encoder.0.0", "encoder.1", "0"]


def test_a_module_made_while_running_has_its_name_at_once() -> None:
    class Lazy(nn.Module):
        def forward(self, x: Any) -> Any:
            x = self.first(x)
            self.late = Inner()
            return self.late(x)

    lazy = Lazy()
    lazy.first = Inner()
    assert lazy(tg.Tensor([1.0, 2.0])).node.scope == "late"


def test_an_exception_says_once_in_which_module_and_leaves_no_scope_behind() -> None:
    class Broken(nn.Module):
        def forward(self, x: Any) -> Any:
            raise KeyError("inside")

    for broken, error, place in (
        (nn.Sequential(nn.ReLU(), nn.Sequential(Broken())), KeyError, "1.0"),
        (nn.Sequential(nn.Sequential(Inner(3))), ValueError, "0.0"),
    ):
        with pytest.raises(error) as raised:
            broken(tg.Tensor([1.0, 2.0]))
        assert raised.value.__notes__ == [f"in module {place}"]
        assert Inner()(tg.Tensor([1.0, 2.0])).node.scope == ""


def test_a_module_without_forward_says_so() -> None:
    with pytest.raises(NotImplementedError, match="Module defines no forward"):
        nn.Module()(1)


# --- saving and loading --------------------------------------------------------------------------


@given(st.integers(0, 2**32), st.integers(0, 2**32))
def test_a_state_dict_loaded_into_another_model_makes_it_the_same(a: int, b: int) -> None:
    first = nn.VGG(4, 1, 8, (2,), 5, True, rng=np.random.default_rng(a))
    second = nn.VGG(4, 1, 8, (2,), 5, True, rng=np.random.default_rng(b))
    x = np.random.default_rng(a).normal(size=(3, 1, 8, 8)).astype(np.float32)
    first(x)  # moves the running statistics
    assert second.load_state_dict(first.state_dict()) == ([], [])
    assert same(first.state_dict(), second.state_dict())
    np.testing.assert_array_equal(first.eval()(x).numpy(), second.eval()(x).numpy())


def test_a_state_dict_is_a_copy_and_so_is_what_is_loaded() -> None:
    module = Inner()
    state = module.state_dict()
    state["weight"][:] = 9
    assert module.weight.data.tolist() == [1, 1]
    module.load_state_dict(state)
    state["weight"][:] = 5
    assert module.weight.data.tolist() == [9, 9]


def test_a_load_error_names_everything_and_changes_nothing() -> None:
    outer = Outer()
    before = outer.state_dict()
    state = {name: array + 1 for name, array in before.items()}
    del state["scale"], state["first.seen"]
    state["layers.0.weight"] = np.zeros((2, 1), np.float32)
    state["layers.1.0.weight"] = np.zeros(2, np.int64)
    state["extra"] = np.zeros(1)
    with pytest.raises(ValueError, match="nothing was loaded") as raised:
        outer.load_state_dict(state)
    for problem in (
        "scale is missing",
        r"first.seen is missing",
        "extra is unexpected",
        "layers.0.weight is float32 of shape (2, 1), expected float32 of shape (2,)",
        "layers.1.0.weight is int64 of shape (2,), expected float32",
    ):
        assert problem in str(raised.value)
    assert same(outer.state_dict(), before)


def test_loading_what_is_no_mapping_is_refused() -> None:
    with pytest.raises(TypeError, match="state_dict is list"):
        Inner().load_state_dict([1])


def test_loading_without_strict_takes_what_fits_and_reports_the_rest() -> None:
    module = Inner()
    state = {"weight": np.array([4, 5], np.float32), "other": np.zeros(1)}
    assert module.load_state_dict(state, strict=False) == (["seen"], ["other"])
    assert module.weight.data.tolist() == [4, 5]
    with pytest.raises(ValueError, match="weight is float32 of shape"):
        module.load_state_dict({"weight": np.zeros(3, np.float32)}, strict=False)


def test_loading_between_forward_and_backward_is_noticed() -> None:
    module = Inner()
    y = module(tg.Tensor([1.0, 2.0], requires_grad=True)).sum()
    module.load_state_dict(module.state_dict())
    with pytest.raises(tg.ChangedInPlaceError, match="changed in place"):
        y.backward()


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_copies_and_pickles_are_equal_independent_and_keep_sharing(duplicate: Any) -> None:
    model = nn.LeNet5(rng=np.random.default_rng(0))
    model.tied = model.fc3.bias
    twin = duplicate(model)
    x = np.random.default_rng(1).normal(size=(2, 1, 28, 28)).astype(np.float32)
    np.testing.assert_array_equal(model(x).numpy(), twin(x).numpy())
    assert twin.tied is twin.fc3.bias
    assert same(model.state_dict(), twin.state_dict())
    twin.fc3.weight._array[:] = 0
    assert model.fc3.weight.data.any()
    twin(x).sum().backward()
    assert twin.conv1.weight.grad is not None
    assert model.conv1.weight.grad is None


class Keeps(nn.Module):
    """Keeps its last results, and a constant of its own."""

    def __init__(self) -> None:
        self.weight = nn.Parameter([2.0, 3.0])
        self.scale = tg.Tensor([1.0, 2.0]) * 0.5

    def forward(self, x: Any) -> tg.Tensor:
        self.last = x * self.weight
        self.seen = tg.flip(self.last + 1.0)
        return self.last


def test_what_a_module_saves_does_not_depend_on_no_grad() -> None:
    model = Keeps()
    names = set(model.state_dict())
    assert names == {"weight", "scale"}
    for context in (tg.no_grad, tg.enable_grad):
        with context():
            model(np.ones(2, "f4"))
        assert set(model.state_dict()) == names
        model.load_state_dict(model.state_dict())


# --- switching and showing -----------------------------------------------------------------------


def test_train_and_eval_reach_every_module() -> None:
    outer = Outer()
    assert all(module.training for module in outer.modules())
    assert outer.eval() is outer
    assert not any(module.training for module in outer.modules())
    outer.train()
    assert all(module.training for module in outer.modules())


def test_zero_grad_and_requires_grad_reach_every_parameter() -> None:
    outer = Outer()
    outer(tg.Tensor([1.0, 2.0])).sum().backward()
    assert outer.first.weight.grad is not None
    outer.zero_grad()
    assert all(p.grad is None for p in outer.parameters())
    assert outer.requires_grad_(False) is outer
    assert not outer(tg.Tensor([1.0, 2.0])).requires_grad
    assert len(list(outer.parameters())) == 7


def test_repr_shows_arguments_that_are_not_the_default_and_nests() -> None:
    rng = np.random.default_rng(0)
    model = nn.Sequential(
        nn.Conv2d(1, 6, 5, padding="same", bias=False, rng=rng),
        nn.Sequential(nn.Linear(3, 2, "per_connection", rng=rng), nn.Dropout(0.25, rng=rng)),
        nn.MaxPool2d((2, 3), ceil_mode=True),
    )
    assert repr(model) == (
        "Sequential(\n"
        "  (0): Conv2d(in_channels=1, out_channels=6, kernel_size=5, padding='same', bias=False)\n"
        "  (1): Sequential(\n"
        "    (0): Linear(in_features=3, out_features=2, bias='per_connection')\n"
        "    (1): Dropout(p=0.25)\n"
        "  )\n"
        "  (2): MaxPool2d(kernel_size=(2, 3), ceil_mode=True)\n"
        ")"
    )
    assert repr(Inner()) == "Inner()"


def test_sequential_is_a_sequence_and_refuses_what_is_no_module() -> None:
    layers = [nn.ReLU(), nn.Tanh(), nn.Sigmoid()]
    model = nn.Sequential(*layers)
    assert len(model) == 3
    assert list(model) == layers
    assert model[-1] is layers[-1]
    assert list(model[1:]) == layers[1:]
    with pytest.raises(IndexError):
        model[3]
    with pytest.raises(TypeError, match=r"modules\[1\] is .*ReLU.*, expected a Module"):
        nn.Sequential(nn.ReLU(), nn.ReLU)
