"""Parameter groups, L-BFGS, schedules made of schedules, and averages of weights."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.optimizers import OPTIMIZERS

import tinygrad_cnn as tg
from tinygrad_cnn import nn, optim

RATES = st.floats(0.0, 1.0)


def parameters(count: int = 4) -> list[nn.Parameter]:
    rng = np.random.default_rng(0)
    return [nn.Parameter(rng.normal(size=n + 1)) for n in range(count)]


def step(optimizer: optim.Optimizer, seed: int) -> None:
    rng = np.random.default_rng(seed)
    for p in optimizer.params:
        p.grad = rng.normal(size=p.shape)
    optimizer.step()


# --- groups --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", OPTIMIZERS)
@given(lr=RATES, decay=RATES)
def test_a_group_goes_the_way_of_an_optimizer_with_its_options(
    name: str, lr: float, decay: float
) -> None:
    make = OPTIMIZERS[name]
    together, apart = parameters(), parameters()
    own = {"lr": lr, "weight_decay": decay}
    optimizer = make([{"params": together[:2]}, {"params": together[2:], **own}])  # type: ignore[list-item]
    first, second = make(apart[:2]), make(apart[2:])
    for option, value in own.items():
        setattr(second, option, value)
    for seed in range(3):
        step(optimizer, seed)
        for p, mine in zip(apart, optimizer.params, strict=True):
            p.grad = mine.grad
        first.step()
        second.step()
    for p, mine in zip(apart, together, strict=True):
        np.testing.assert_array_equal(p.data, mine.data)


def test_a_group_is_a_mapping_of_its_options() -> None:
    a, b = parameters(2)
    optimizer = optim.SGD([{"params": [a]}, {"params": b, "lr": 0.5}], lr=0.1)
    first, second = optimizer.param_groups
    assert (first["lr"], second["lr"], second["momentum"]) == (0.1, 0.5, 0.0)
    assert second["params"][0] is b
    optimizer.lr = 0.2
    assert (first["lr"], second["lr"]) == (0.2, 0.5)
    first["lr"] = 0.3
    assert (first["lr"], optimizer.lr) == (0.3, 0.2)
    del first["lr"]
    assert dict(first) == {"params": [a], "lr": 0.2, "momentum": 0.0, "dampening": 0.0,
                           "weight_decay": 0.0, "nesterov": False}  # fmt: skip
    assert repr(optimizer).startswith("SGD(2 parameters in 2 groups, lr=0.2")
    assert repr(second) == "ParamGroup(1 parameters, lr=0.5)"


def test_the_only_group_sets_the_optimizers_options() -> None:
    optimizer = optim.SGD(parameters(), lr=0.1)
    for group in optimizer.param_groups:
        group["lr"] *= 0.5
    assert optimizer.lr == 0.05
    optimizer.add_param_group({"params": nn.Parameter([1.0]), "lr": 1.0})
    assert len(optimizer.params) == 5
    assert optimizer.state_dict()["group 1.lr"] == 1.0


def test_the_only_group_keeps_an_option_of_its_own() -> None:
    optimizer = optim.SGD([{"params": [nn.Parameter([1.0])], "lr": 0.5}], lr=0.1)
    (group,) = optimizer.param_groups
    group["lr"] = 0.25
    assert (group["lr"], optimizer.lr) == (0.25, 0.1)
    optim.ExponentialLR(optimizer, gamma=0.5).step()
    assert (group["lr"], optimizer.lr) == (0.125, 0.05)


@pytest.mark.parametrize("through", [copy.deepcopy, lambda o: pickle.loads(pickle.dumps(o))])
def test_groups_are_saved_restored_and_copied(through: Any) -> None:
    def made() -> optim.Adam:
        first, *others = parameters()
        return optim.Adam([{"params": [first], "betas": (0.5, 0.5)}, {"params": others}])

    whole = made()
    step(whole, 0)
    whole.param_groups[1]["lr"] = 0.25
    resumed = made()
    resumed.load_state_dict(whole.state_dict())
    for p, value in zip(resumed.params, whole.params, strict=True):
        p.data = value.data
    copied = through(whole)
    for optimizer in (whole, resumed, copied):
        step(optimizer, 1)
    for p, mine, again in zip(whole.params, resumed.params, copied.params, strict=True):
        np.testing.assert_array_equal(p.data, mine.data)
        np.testing.assert_array_equal(p.data, again.data)
    assert copied.param_groups[1]["params"][0] is copied.params[1]


P, Q = parameters(2)


@pytest.mark.parametrize(
    ("groups", "error", "message"),
    [
        ([{"params": [P], "speed": 1.0}], ValueError, "SGD: a parameter group has 'speed'"),
        ([{"params": [P], "lr": -1.0}], ValueError, "SGD: lr is -1.0"),
        ([{"params": [P]}, {"params": [P]}], ValueError, r"params\[1\] is params\[0\] again"),
        ([{"params": []}], ValueError, "SGD: params is empty"),
        ([{"lr": 0.1}], TypeError, r'params\[0\] is dict, expected a dict with "params"'),
        ([{"params": [P]}, Q], TypeError, r"params\[1\] is Parameter, expected a dict"),
    ],
)
def test_a_bad_group_is_refused(groups: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        optim.SGD(groups, lr=0.1)


def test_a_state_with_other_groups_is_refused() -> None:
    two = optim.SGD([{"params": [P]}, {"params": [Q], "lr": 0.5}], lr=0.1)
    with pytest.raises(ValueError, match=r"unexpected group 1\.lr"):
        optim.SGD([P, Q], lr=0.1).load_state_dict(two.state_dict())


def test_a_closure_is_called_with_recording_on_and_its_value_returned() -> None:
    p = nn.Parameter([2.0])
    optimizer = optim.SGD([p], lr=0.25)

    def closure() -> tg.Tensor:
        optimizer.zero_grad()
        loss = (p * p).sum()
        loss.backward()
        return loss

    with tg.no_grad():
        assert optimizer.step(closure).item() == 4.0
    assert p.item() == 1.0


# --- L-BFGS --------------------------------------------------------------------------------------


def quadratic(optimizer: optim.Optimizer, x: nn.Parameter) -> Any:
    a, b = np.diag([1.0, 10.0, 100.0]), np.array([1.0, -2.0, 3.0])

    def closure() -> tg.Tensor:
        optimizer.zero_grad()
        loss = ((a @ x) * x).sum() * 0.5 - (b * x).sum()
        loss.backward()
        return loss

    return closure, b / np.diag(a)


def test_lbfgs_finds_the_minimum_of_an_ill_conditioned_quadratic_in_one_step() -> None:
    x = nn.Parameter(np.ones(3))
    optimizer = optim.LBFGS([x], line_search_fn="strong_wolfe", max_iter=60)
    closure, minimum = quadratic(optimizer, x)
    optimizer.step(closure)
    np.testing.assert_allclose(x.data, minimum, atol=1e-6)


@pytest.mark.parametrize("done", [0, 1, 3])
def test_lbfgs_is_resumed_to_the_bit(done: int) -> None:
    x, y = nn.Parameter(np.ones(3)), nn.Parameter(np.ones(3))
    whole = optim.LBFGS([x], line_search_fn="strong_wolfe", max_iter=2, history_size=3)
    for _ in range(done):
        whole.step(quadratic(whole, x)[0])
    y.data = x.data
    resumed = optim.LBFGS([y])
    resumed.load_state_dict(whole.state_dict())
    for _ in range(3):
        whole.step(quadratic(whole, x)[0])
        resumed.step(quadratic(resumed, y)[0])
        np.testing.assert_array_equal(x.data, y.data)


def test_lbfgs_refuses_what_it_cannot_do() -> None:
    optimizer = optim.LBFGS([P])
    with pytest.raises(TypeError, match="LBFGS: step needs a closure"):
        optimizer.step()
    with pytest.raises(ValueError, match="LBFGS: takes one parameter group"):
        optim.LBFGS([{"params": [P]}, {"params": [Q]}])
    with pytest.raises(ValueError, match="history has"):
        optimizer.load_state_dict(optimizer.state_dict() | {"history.step": 1.0})
    state = optimizer.state_dict() | {f"history.{name}": 1 for name in ("iterations", "scale")}
    vectors = {"history.step": 0.5, "history.last": np.ones(7), "history.gradient": np.ones(7)}
    with pytest.raises(ValueError, match=r"history.* has shape \(7,\), expected 1 numbers"):
        optimizer.load_state_dict(state | vectors)


# --- schedules -----------------------------------------------------------------------------------


def made(kind: str, optimizer: optim.Optimizer, gamma: float) -> optim.LRScheduler:
    warm_up = optim.LinearLR(optimizer, 0.5, total_iters=3)
    decay = optim.ExponentialLR(optimizer, gamma)
    if kind == "Sequential":
        return optim.SequentialLR(optimizer, [warm_up, decay], [3])
    return optim.ChainedScheduler([warm_up, decay])


@pytest.mark.parametrize("kind", ["Sequential", "Chained"])
@given(done=st.integers(0, 6))
def test_a_resumed_combination_gives_the_same_rates(kind: str, done: int) -> None:
    whole, other = optim.SGD([P], 1.0), optim.SGD([P], 0.3)
    schedule, resumed = made(kind, whole, 0.5), made(kind, other, 0.9)
    for _ in range(done):
        schedule.step()
    resumed.load_state_dict(schedule.state_dict())
    for _ in range(5):
        assert other.lr == whole.lr
        schedule.step()
        resumed.step()


def test_a_schedule_made_beside_a_warm_up_starts_from_the_rate_before_it() -> None:
    optimizer = optim.SGD([P], 1.0)
    warm_up = optim.LinearLR(optimizer, 0.5, total_iters=2)
    assert optimizer.lr == 0.5
    assert optim.StepLR(optimizer, 1).base_lr == 1.0
    warm_up.step()
    assert optim.StepLR(optimizer, 1).base_lr == 0.75  # later, from the current one


def test_a_state_of_a_schedule_of_an_earlier_version_is_loaded() -> None:
    schedule = optim.StepLR(optim.SGD([P], 1.0), 2)
    state = schedule.state_dict()
    del state["group_lrs"]
    schedule.load_state_dict({**state, "last_epoch": 2})
    assert schedule.optimizer.lr == pytest.approx(0.1)


def test_a_plateau_lowers_the_rate_of_every_group() -> None:
    optimizer = optim.SGD([{"params": [P]}, {"params": [Q], "lr": 0.5}], lr=1.0)
    schedule = optim.ReduceLROnPlateau(optimizer, factor=0.5, patience=0)
    for metric in (1.0, 1.0):
        schedule.step(metric)
    assert schedule.get_last_lr() == [0.5, 0.25]


O = optim.SGD([P], 1.0)  # noqa: E741


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: optim.MultiStepLR(O, [3, 1]), ValueError, r"milestones is \[3, 1\], expected an"),
        (lambda: optim.MultiStepLR(O, 3), ValueError, "milestones is 3, expected a list"),
        (lambda: optim.ExponentialLR(O, 0.0), ValueError, "ExponentialLR: gamma is 0.0"),
        (lambda: optim.LinearLR(O, 0.0), ValueError, "LinearLR: start_factor is 0.0"),
        (lambda: optim.CosineAnnealingWarmRestarts(O, 0), ValueError, "T_0 is 0"),
        (lambda: optim.LambdaLR(O, 0.5), TypeError, "lr_lambda is 0.5, expected a function"),
        (lambda: optim.SequentialLR(O, [], []), ValueError, "SequentialLR: schedulers is empty"),
        (
            lambda: optim.SequentialLR(O, [optim.ExponentialLR(O, 0.5)], [1]),
            ValueError,
            "got 1 schedulers and 1 milestones",
        ),
        (
            lambda: optim.ChainedScheduler([optim.ReduceLROnPlateau(O)]),
            TypeError,
            r"schedulers\[0\] is ReduceLROnPlateau",
        ),
        (
            lambda: optim.ChainedScheduler([optim.ExponentialLR(O, 0.5)], optim.SGD([P], 1.0)),
            ValueError,
            r"schedulers\[0\] belongs to another optimizer",
        ),
    ],
)
def test_a_bad_schedule_is_refused(make: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        make()


# --- averages ------------------------------------------------------------------------------------


@given(st.lists(st.floats(-5, 5), min_size=1, max_size=6), st.none() | st.floats(0.0, 0.99))
def test_an_averaged_model_has_the_average_of_the_weights(
    weights: list[float], decay: float | None
) -> None:
    model = nn.Sequential(nn.Linear(1, 1, bias=False), nn.BatchNorm2d(1))
    average = optim.AveragedModel(model, decay, use_buffers=True)
    expected = weights[0]
    for n, weight in enumerate(weights, 1):
        model[0].weight.data[...] = weight
        model[1].running_mean.data[...] = weight
        average.update_parameters(model)
        share = 1 / n if decay is None else 1 - decay
        expected += (share if n > 1 else 1.0) * (weight - expected)
    assert average.module[0].weight.item() == pytest.approx(expected, abs=1e-5)
    assert average.module[1].running_mean.item() == pytest.approx(expected, abs=1e-5)
    assert average.n_averaged.item() == len(weights)
    if decay is None:
        assert average.module[0].weight.item() == pytest.approx(np.mean(weights), abs=1e-5)


def test_the_average_of_large_weights_is_that_of_small_ones() -> None:
    rng = np.random.default_rng(0)
    model = nn.Linear(300, 400, rng=rng)
    average = optim.AveragedModel(model, 0.75)
    average.update_parameters(model)
    before = average.module.weight.numpy().copy()
    model.weight.data = np.asfortranarray(rng.standard_normal((400, 300), "f4"))
    average.update_parameters(model)
    expected = before + 0.25 * (model.weight.numpy() - before)
    np.testing.assert_array_equal(average.module.weight.numpy(), expected)


def test_an_averaged_model_copies_buffers_is_saved_and_learns_nothing_itself() -> None:
    model = nn.Sequential(nn.Conv2d(1, 1, 1), nn.BatchNorm2d(1))
    average = optim.AveragedModel(model, 0.5)
    for value in (2.0, 4.0):
        model[1].running_var.data[...] = value
        average.update_parameters(model)
    assert average.module[1].running_var.item() == 4.0
    assert not any(p.requires_grad for p in average.parameters())
    assert "module.0.weight" in average.state_dict()
    other = optim.AveragedModel(model, 0.5)
    assert other.load_state_dict(average.state_dict()) == ([], [])
    before = average.state_dict()
    with pytest.raises(ValueError, match="AveragedModel: the parameters of Linear are not those"):
        average.update_parameters(nn.Linear(1, 1))
    assert all((before[k] == v).all() for k, v in average.state_dict().items())


# --- found late ----------------------------------------------------------------------------------


def test_a_rate_that_a_group_gets_after_the_schedule_is_refused_before_anything_changes() -> None:
    optimizer = optim.SGD([{"params": [P]}, {"params": [Q]}], lr=1.0)
    schedule = optim.StepLR(optimizer, 1, 0.5)
    optimizer.param_groups[1]["lr"] = 0.25
    with pytest.raises(ValueError, match=r"StepLR: 1 parameter groups have a learning rate of"):
        schedule.step()
    assert (schedule.last_epoch, optimizer.lr) == (0, 1.0)
    other = optim.StepLR(optim.SGD([P], 1.0), 1)
    before = other.state_dict()
    with pytest.raises(ValueError, match="but the schedule knows 1"):
        other.load_state_dict(before | {"group_lrs": [0.5]})
    assert other.state_dict() == before


def test_a_cycle_moves_the_momentum_of_every_group_and_no_combination_takes_one() -> None:
    optimizer = optim.SGD([{"params": [P]}, {"params": [Q], "momentum": 0.5}], lr=1.0, momentum=0.9)
    schedule = optim.OneCycleLR(optimizer, 1.0, 11)
    for _ in range(3):
        assert optimizer.param_groups[1]["momentum"] == optimizer.momentum
        schedule.step()
    with pytest.raises(ValueError, match=r"schedulers\[0\] changes the momentum"):
        optim.ChainedScheduler([schedule])


def test_lbfgs_with_a_frozen_parameter_is_saved_and_without_any_other_does_nothing() -> None:
    x, frozen = nn.Parameter(np.ones(3)), nn.Parameter(np.ones(2), requires_grad=False)
    optimizer = optim.LBFGS([x, frozen])
    for _ in range(2):
        optimizer.step(quadratic(optimizer, x)[0])
    optimizer.load_state_dict(optimizer.state_dict())
    assert optim.LBFGS([frozen]).step(lambda: 7.0) == 7.0
    assert frozen.data.tolist() == [1.0, 1.0]


def test_a_metric_that_is_no_number_leaves_a_plateau_as_it_was() -> None:
    schedule = optim.ReduceLROnPlateau(optim.SGD([P], 1.0))
    with pytest.raises(TypeError):
        schedule.step([1.0, 2.0])
    assert schedule.last_epoch == 0
