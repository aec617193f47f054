"""Tensors of `compat.torch`: memory, changes in place, gradients, kinds."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

import tinygrad_cnn as tg
from tinygrad_cnn.compat import torch


def leaf(*values: float) -> torch.Tensor:
    return torch.tensor(list(values), requires_grad=True)


# --- memory --------------------------------------------------------------------------------------


def test_data_detach_views_and_numpy_write_to_the_leaf() -> None:
    p = leaf(1.0, 2.0, 3.0)
    p.data.add_(1.0)
    p.data -= 0.5
    p.detach()[0] = 7.0
    p.data.view(3, 1)[1] = 8.0
    p.detach().numpy()[2] = 9.0
    assert p.tolist() == [7.0, 8.0, 9.0]
    before = p.data
    p.data = torch.zeros(3)
    assert p.tolist() == [0.0, 0.0, 0.0]
    assert before.tolist() == [7.0, 8.0, 9.0]


def test_a_gradient_is_a_tensor_of_the_same_memory() -> None:
    p = leaf(1.0, 2.0)
    assert p.grad is None
    (p * p).sum().backward()
    assert isinstance(p.grad, torch.Tensor)
    p.grad *= 0.5
    p.grad.data.clamp_(max=1.5)
    assert p.grad.tolist() == [1.0, 1.5]
    (p * 1.0).sum().backward()
    assert p.grad.tolist() == [2.0, 2.5]
    p.grad.zero_()
    assert p.grad.tolist() == [0.0, 0.0]
    p.grad = None
    assert p.grad is None


@pytest.mark.parametrize(
    "change",
    [
        lambda w: w.data.mul_(2.0),
        lambda w: w.detach().fill_(0.0),
        lambda w: w.data.view(1, 2)[0].__setitem__(0, 5.0),
        lambda w: torch.nn.init.zeros_(w),
        lambda w: w.detach().numpy().fill(0.0),
    ],
)
def test_a_saved_leaf_that_was_changed_is_noticed(change) -> None:
    w, x = leaf(1.0, 2.0), leaf(3.0, 4.0)
    loss = (w * x).sum()
    change(w)
    with pytest.raises(tg.ChangedInPlaceError):
        loss.backward()


def test_what_a_graph_has_saved_of_a_computed_tensor_stays() -> None:
    w = leaf(1.0, 2.0)
    y = w.exp()  # saves its result
    detached = y.detach()
    detached.zero_()
    with torch.no_grad():
        y.mul_(3.0)
    y.sum().backward()
    assert torch.allclose(w.grad, w.exp())
    with pytest.raises(RuntimeError, match=r"clone\(\)"):
        y.data.add_(1.0)


def test_numpy_of_a_tensor_that_requires_a_gradient_is_refused() -> None:
    with pytest.raises(RuntimeError, match=r"detach\(\).numpy\(\)"):
        leaf(1.0).numpy()


# --- in place ------------------------------------------------------------------------------------


def test_a_leaf_that_requires_a_gradient_changes_only_under_no_grad() -> None:
    p = leaf(1.0, 2.0)
    for change in (lambda: p.add_(1.0), lambda: p.zero_(), lambda: p.__setitem__(0, 3.0)):
        with pytest.raises(RuntimeError, match=r"torch.no_grad\(\)"):
            change()
    with torch.no_grad():
        p += 1.0
        p[0] = 9.0
    assert p.tolist() == [9.0, 3.0]
    assert p.requires_grad


def test_a_recorded_change_gives_the_object_the_result_and_its_gradient() -> None:
    w = leaf(1.0, -2.0)
    y = w * 2.0
    same = y
    y += w
    y.mul_(w)
    y.relu_()
    assert same is y
    y.sum().backward()
    assert w.grad.tolist() == [6.0, -12.0]


@pytest.mark.parametrize("name", ["silu", "leaky_relu", "elu", "hardswish"])
def test_an_activation_in_place_has_the_gradient_of_the_one_that_is_not(name: str) -> None:
    function = getattr(torch.nn.functional, name)
    slopes = []
    for inplace in (False, True):
        w = torch.linspace(-2.0, 2.0, 5).requires_grad_()
        h = w * 1.5
        y = function(h, inplace=inplace)
        assert (y is h) == inplace
        (y * y).sum().backward()
        slopes.append(w.grad)
    assert torch.equal(*slopes)


def test_a_value_saved_before_it_became_another_is_noticed() -> None:
    w = leaf(1.0, 2.0)
    y = w * 1.0
    z = y * y
    y.add_(1.0)
    with pytest.raises(tg.ChangedInPlaceError):
        z.sum().backward()


def test_items_are_set_with_their_gradient() -> None:
    w = leaf(1.0, 2.0, 3.0)
    x = torch.zeros(2, 3)
    x[0] = w * 2.0
    x[1, 1:] += w[:2]
    x[:, 0] = -1.0
    x.sum().backward()
    assert x.tolist() == [[-1.0, 4.0, 6.0], [-1.0, 1.0, 2.0]]
    assert w.grad.tolist() == [1.0, 3.0, 2.0]


def test_a_recorded_change_of_a_part_changes_the_whole() -> None:
    w = leaf(1.0, 2.0, 3.0)
    x = torch.zeros(2, 3)
    row = x[1]
    row += w
    for part in x.chunk(2):
        part.mul_(w)
    x.sum().backward()
    assert x.tolist() == [[0.0, 0.0, 0.0], [1.0, 4.0, 9.0]]
    assert w.grad.tolist() == [2.0, 4.0, 6.0]


def test_a_single_entry_and_parts_of_parts_are_written_through() -> None:
    x = torch.zeros(3)
    x[1].fill_(5.0)
    x[0:2][0].add_(1.0)
    y = torch.zeros(40, 2)
    y[3].mul_(0.0).add_(2.0)
    y[4][1] += 7.0
    assert x.tolist() == [1.0, 5.0, 0.0]
    assert y[3:5].tolist() == [[2.0, 2.0], [0.0, 7.0]]


def test_a_part_of_what_a_graph_needs_is_not_written_to() -> None:
    y = leaf(1.0, 2.0).exp()
    with torch.no_grad():
        for part in (y[0], y.view(2, 1)[1], y.data[:1], y.t()):
            with pytest.raises(RuntimeError, match=r"clone\(\)"):
                part.zero_()


@pytest.mark.parametrize(
    "view",
    [
        lambda x: x.view(3, 2),
        lambda x: x.t(),
        lambda x: x.permute(1, 0).unsqueeze(0).flatten(1),
        lambda x: x[:, 1:],
        lambda x: x.transpose(0, 1)[1],
        lambda x: x.diagonal(),
    ],
)
@pytest.mark.parametrize("recorded", [False, True])
def test_a_change_of_a_view_changes_its_base(view, recorded: bool) -> None:
    x = torch.arange(6.0).view(2, 3).clone()
    factor = torch.tensor(3.0, requires_grad=recorded)
    places = view(torch.arange(6).view(2, 3)).flatten().tolist()
    part = view(x)
    part.mul_(factor)
    expected = [3.0 * i if i in places else float(i) for i in range(6)]
    assert x.flatten().tolist() == expected
    assert x.requires_grad == recorded
    if recorded:
        x.sum().backward()
        assert factor.grad.item() == sum(places)


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(RuntimeError, match=r"shape \(3, 2\), expected \(2,\)"):
        torch.zeros(2).add_(torch.ones(3, 2))
    with pytest.raises(RuntimeError, match="int64"):
        torch.tensor([1, 2]).add_(0.5)


# --- kinds ---------------------------------------------------------------------------------------


def test_dtypes_print_as_pytorchs_and_compare_with_numpys() -> None:
    x = torch.zeros(2)
    assert str(x.dtype) == "torch.float32"
    assert x.dtype == torch.float32 == np.float32
    assert x.double().dtype is torch.float64
    assert x.long().dtype == torch.long
    assert torch.tensor([1, 2]).dtype == torch.int64
    assert torch.tensor([1.0]).dtype == torch.float32
    assert torch.tensor([True]).dtype == torch.bool
    assert torch.tensor(np.ones(2)).dtype == torch.float64
    assert torch.arange(3).dtype == torch.int64
    assert torch.arange(0.0, 1.0, 0.5).dtype == torch.float32
    assert (x == 0).sum().item() == 2
    assert pickle.loads(pickle.dumps(torch.float64)) == torch.float64


def test_the_default_dtype_is_set_and_restored() -> None:
    torch.set_default_dtype(torch.float64)
    try:
        assert torch.zeros(1).dtype == torch.tensor(1.0).dtype == torch.float64
        assert torch.nn.Linear(1, 1).weight.dtype == torch.get_default_dtype()
    finally:
        torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("where", ["cuda", "cuda:0", "mps"])
def test_other_devices_are_refused(where: str) -> None:
    x = torch.zeros(1)
    for call in (
        lambda: torch.device(where),
        lambda: x.to(where),
        lambda: torch.ones(2, device=where),
        lambda: torch.nn.Linear(1, 1).to(where),
        x.cuda,
    ):
        with pytest.raises(RuntimeError, match="only 'cpu'"):
            call()
    assert not torch.cuda.is_available()
    assert x.to(torch.device("cuda" if torch.cuda.is_available() else "cpu")) is x


def test_copies_and_pickles_have_memory_of_their_own() -> None:
    p = torch.nn.Parameter(torch.ones(2))
    for other in (
        copy.deepcopy(p),
        pickle.loads(pickle.dumps(p)),
        copy.deepcopy(p.data.view(1, 2)),
    ):
        other.data.zero_()
        assert isinstance(other, torch.Tensor)
        assert p.tolist() == [1.0, 1.0]


# --- recording -----------------------------------------------------------------------------------


def test_switches_of_recording() -> None:
    w = leaf(1.0)

    @torch.no_grad
    def bare() -> bool:
        return (w * 2.0).requires_grad

    @torch.inference_mode()
    def called() -> bool:
        return (w * 2.0).requires_grad

    assert not bare()
    assert not called()
    with torch.no_grad():
        assert not torch.is_grad_enabled()
        with torch.enable_grad():
            assert (w * 2.0).requires_grad
    with torch.set_grad_enabled(False):
        assert not (w * 2.0).requires_grad
    torch.set_grad_enabled(False)
    assert not (w * 2.0).requires_grad
    torch.set_grad_enabled(True)
    assert (w * 2.0).requires_grad


def test_the_state_of_random_numbers_and_threads_is_set() -> None:
    torch.manual_seed(4)
    state = torch.get_rng_state()
    first = torch.rand(3)
    torch.set_rng_state(state)
    assert torch.equal(torch.rand(3), first)
    assert torch.initial_seed() == 4
    with tg.num_threads(2):  # restores the setting of the other tests
        torch.set_num_threads(1)
        assert torch.get_num_threads() == 1


def test_gradients_of_unused_inputs() -> None:
    x, y = leaf(2.0), leaf(3.0)
    with pytest.raises(RuntimeError, match=r"inputs\[1\] was not used"):
        torch.autograd.grad((x * x).sum(), [x, y])
    slope, none = torch.autograd.grad((x * x).sum(), [x, y], allow_unused=True, create_graph=True)
    assert none is None
    assert torch.autograd.grad(slope, x)[0].item() == 2.0
    both = torch.autograd.grad(
        [x * 1.0, x * y], [x, y], grad_outputs=[torch.ones(1), 2 * torch.ones(1)]
    )
    assert [g.item() for g in both] == [7.0, 4.0]


def test_hooks_get_tensors() -> None:
    x = leaf(1.0, 2.0)
    seen = []
    handle = x.register_hook(lambda grad: seen.append(grad.clamp(max=0.5)) or 2 * grad)
    x.sum().backward()
    handle.remove()
    x.sum().backward()
    assert seen[0].tolist() == [0.5, 0.5]
    assert x.grad.tolist() == [3.0, 3.0]


def test_products_jacobians_and_old_names() -> None:
    x = leaf(1.0, 2.0)
    jacobian = torch.autograd.functional.jacobian(lambda v: v * v, x)
    assert isinstance(jacobian, torch.Tensor)
    assert jacobian.tolist() == [[2.0, 0.0], [0.0, 4.0]]
    assert torch.autograd.Variable(torch.ones(1), requires_grad=True).requires_grad


def test_values_that_overwrite_a_result_have_no_gradient() -> None:
    for change in (
        lambda y: y.zero_(),
        lambda y: y.fill_(2.0),
        lambda y: y.copy_(torch.ones(2)),
        lambda y: y.normal_(),
        lambda y: y.uniform_(),
    ):
        x = torch.ones(2, requires_grad=True)
        y = x * 2.0
        change(y)
        (y * 3.0 + x).sum().backward()
        assert x.grad.tolist() == [1.0, 1.0]
    x = torch.ones(2, requires_grad=True)
    y = x * 2.0
    y[0].zero_()
    y.sum().backward()
    assert x.grad.tolist() == [0.0, 2.0]


def test_arguments_have_pytorchs_meaning_or_are_refused() -> None:
    logits, labels = torch.tensor([[0.0, 1.0], [2.0, 0.0]]), torch.tensor([1, 0])
    with pytest.raises(TypeError):
        torch.nn.functional.cross_entropy(logits, labels, None, True)  # size_average there
    with pytest.raises(TypeError):
        torch.nn.NLLLoss(None, True)
    same = torch.maximum(torch.tensor([1, 2]), torch.tensor([1, 3]))
    assert same.dtype == torch.int64
    assert torch.utils.checkpoint.checkpoint(lambda x, k: x * k, 2, use_reentrant=False, k=5) == 10
    with pytest.raises(NotImplementedError, match="antialias"):
        torch.nn.functional.interpolate(torch.ones(1, 1, 4, 4), size=2, antialias=True)
    with pytest.raises(NotImplementedError, match="ord=2 of a matrix"):
        torch.linalg.norm(torch.ones(2, 2), 2)
    numbers = torch.nan_to_num(torch.tensor([float("nan"), float("inf")]), posinf=3.0)
    assert numbers.tolist() == [0.0, 3.0]
    assert torch.zeros(3).scatter(0, torch.tensor([1]), value=2.0).tolist() == [0.0, 2.0, 0.0]
    with pytest.raises(ValueError, match="random_split"):
        torch.utils.data.random_split(range(100), [0.1, 0.1])
    assert len(list(torch.utils.data.RandomSampler(range(3), num_samples=7))) == 7
