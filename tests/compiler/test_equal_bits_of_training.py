"""Compiled training steps give the eager ones' bits, whatever changes between their calls."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import pytest
from support.both_ways import Batch, Trained, assert_same_bits, same_bits, state_of
from support.optimizers import OPTIMIZERS

import tinygrad_cnn as tg
from tinygrad_cnn import nn, optim


def data(count: int, seed: int, dtype: str = "f4") -> Batch:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(count, 2, 6, 6)).astype(dtype), rng.integers(0, 3, count)


def network() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Dropout(0.25),
        nn.Flatten(),
        nn.Linear(36, 8),
        nn.Tanh(),
        nn.Linear(8, 3),
    )


@pytest.fixture(autouse=True)
def numpy_only() -> Iterator[None]:
    """Run programs of NumPy calls."""
    with tg.engine.options(fast=False):
        yield


Update = Callable[[nn.Module, optim.Optimizer], Any]


def momentum(parameters: Any) -> optim.Optimizer:
    return optim.SGD(parameters, 0.1, momentum=0.9)


def training(
    make: Callable[[Any], optim.Optimizer] = momentum,
    build: Callable[[], nn.Module] = network,
    before: Update = lambda model, optimizer: None,
    after: Update = lambda model, optimizer: None,
) -> Trained:
    """Return a training step; `before` and `after` are called around the optimizer's step."""
    model = build()
    optimizer = make(list(model.parameters()))

    def step(x: Any, labels: Any) -> tg.Tensor:
        optimizer.zero_grad()
        loss: tg.Tensor = tg.cross_entropy(model(x), labels)
        loss.backward()
        before(model, optimizer)
        optimizer.step()
        after(model, optimizer)
        return loss

    return Trained(step, [model], [optimizer])


BATCHES = [data(5, seed) for seed in range(5)]


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizers_whose_learning_rate_changes(name: str) -> None:
    def halved(i: int, trained: Trained) -> None:
        trained.others[0].lr /= 1.0 + i / 4

    assert_same_bits(partial(training, OPTIMIZERS[name]), BATCHES, halved)


def test_other_hyperparameters_that_change() -> None:
    def changed(i: int, trained: Trained) -> None:
        optimizer = trained.others[0]
        optimizer.betas, optimizer.eps = (0.5 + i / 20, 0.75), 1e-3 * (i + 1)
        optimizer.weight_decay = 0.125 * (i % 2)

    assert_same_bits(partial(training, optim.Adam), BATCHES, changed)


SCHEDULES: dict[str, Callable[[optim.Optimizer], optim.LRScheduler]] = {
    "steps": lambda o: optim.StepLR(o, 2),
    "cosine": lambda o: optim.CosineAnnealingLR(o, 5),
    "one cycle": lambda o: optim.OneCycleLR(o, 0.5, 6),
    "warm-up": lambda o: optim.SequentialLR(
        o, [optim.LinearLR(o, 0.25, total_iters=2), optim.ExponentialLR(o, 0.5)], [2]
    ),
}


@pytest.mark.parametrize("inside", [True, False])
@pytest.mark.parametrize("name", SCHEDULES)
def test_schedules(name: str, inside: bool) -> None:
    schedules: list[optim.LRScheduler] = []

    def make() -> Trained:
        def stepped(model: nn.Module, optimizer: optim.Optimizer) -> None:
            if inside:
                schedules[-1].step()

        trained = training(after=stepped)
        schedules.append(SCHEDULES[name](trained.others[0]))
        return Trained(trained.step, trained.models, [*trained.others, schedules[-1]])

    def between(i: int, trained: Trained) -> None:
        if i and not inside:
            schedules[-1].step()

    assert_same_bits(make, BATCHES, between)


def test_parameter_groups() -> None:
    def make(ps: list[nn.Parameter]) -> optim.Optimizer:
        groups = [{"params": ps[:3]}, {"params": ps[3:], "lr": 0.01, "weight_decay": 0.5}]
        return optim.AdamW(groups, lr=0.1)

    def changed(i: int, trained: Trained) -> None:
        trained.others[0].param_groups[1]["lr"] = 0.01 * (i + 1)
        if i == 3:
            extra = nn.Parameter(np.ones(3, "f4"))
            trained.models[0].extra = extra
            trained.others[0].add_param_group({"params": [extra]})

    assert_same_bits(partial(training, make), BATCHES, changed)


def test_clipping() -> None:
    def by_norm(model: nn.Module, optimizer: optim.Optimizer) -> None:
        optim.clip_grad_norm_(model.parameters(), 0.5)

    def by_value(model: nn.Module, optimizer: optim.Optimizer) -> None:
        optim.clip_grad_value_(model.parameters(), 0.01)

    for clip in (by_norm, by_value):
        assert_same_bits(partial(training, before=clip), BATCHES)


def test_an_average_of_weights() -> None:
    for options in ({}, {"decay": 0.75}, {"decay": 0.75, "use_buffers": True}):

        def make(options: Any = options) -> Trained:
            averages: list[optim.AveragedModel] = []

            def followed(model: nn.Module, optimizer: optim.Optimizer) -> None:
                averages[0].update_parameters(model)

            trained = training(after=followed)
            averages.append(optim.AveragedModel(trained.models[0], **options))
            return Trained(trained.step, [*trained.models, *averages], trained.others)

        assert_same_bits(make, BATCHES)


def test_accumulation_in_one_step() -> None:
    def make() -> Trained:
        model = network()
        optimizer = optim.Adam(model.parameters())

        def step(parts: list[Batch]) -> list[tg.Tensor]:
            optimizer.zero_grad()
            losses = []
            for x, labels in parts:
                losses.append(tg.cross_entropy(model(x), labels) / 3)
                losses[-1].backward()
            optimizer.step()
            return losses

        return Trained(step, [model], [optimizer])

    assert_same_bits(make, [([data(2, seed + k) for k in range(3)],) for seed in range(3)])


def test_accumulation_over_calls() -> None:
    """Gradients are None in the first call, then there, then cleared by the caller."""

    def make() -> Trained:
        model = network()

        def step(x: Any, labels: Any) -> tg.Tensor:
            loss: tg.Tensor = tg.cross_entropy(model(x), labels)
            loss.backward()
            return loss

        return Trained(step, [model])

    def cleared(i: int, trained: Trained) -> None:
        if i == 3:
            trained.models[0].zero_grad()
        if i == 5:
            next(trained.models[0].parameters()).grad = None

    assert_same_bits(make, [data(5, seed) for seed in range(7)], cleared)


def test_parameters_frozen_and_thawed() -> None:
    def frozen(i: int, trained: Trained) -> None:
        trained.models[0][0].requires_grad_(i not in (1, 2))
        trained.models[0][6].weight.requires_grad = i != 2

    assert_same_bits(training, BATCHES, frozen)


def test_tied_parameters() -> None:
    def build() -> nn.Module:
        model = nn.Sequential(nn.Flatten(), nn.Linear(72, 72), nn.Tanh(), nn.Linear(72, 72))
        model[3].weight = model[1].weight
        return model

    assert_same_bits(partial(training, build=build), [data(5, seed) for seed in range(3)])


def test_a_module_used_several_times() -> None:
    def build() -> nn.Module:
        inner = nn.Sequential(nn.Linear(72, 72), nn.BatchNorm1d(72), nn.Dropout(0.5), nn.ReLU())
        return nn.Sequential(nn.Flatten(), inner, inner, nn.Linear(72, 3))

    assert_same_bits(partial(training, build=build), [data(5, seed) for seed in range(3)])


LAYERS: dict[str, Callable[[], nn.Module]] = {
    "dropout": partial(nn.Dropout, 0.5),
    "dropout of channels": partial(nn.Dropout2d, 0.5),
    "rare dropout": partial(nn.Dropout, 1e-4),
    "instances, tracked": partial(nn.InstanceNorm2d, 2, affine=True, track_running_stats=True),
    "instances": partial(nn.InstanceNorm2d, 2),
    "batches, mean": partial(nn.BatchNorm2d, 2, momentum=None),
    "batches, plain": partial(nn.BatchNorm2d, 2, affine=False, momentum=0.5),
    "batches, untracked": partial(nn.BatchNorm2d, 2, track_running_stats=False),
    "groups": partial(nn.GroupNorm, 2, 2),
    "rows": partial(nn.LayerNorm, (2, 6, 6)),
}


@pytest.mark.parametrize("name", LAYERS)
def test_layers_in_train_and_eval_mode(name: str) -> None:
    def build() -> nn.Module:
        return nn.Sequential(LAYERS[name](), nn.Flatten(), nn.Linear(72, 3))

    def switched(i: int, trained: Trained) -> None:
        trained.models[0].train(i not in (2, 3))

    assert_same_bits(partial(training, build=build), BATCHES, switched)


def test_batches_of_other_sizes() -> None:
    batches = [data(n, n + seed) for seed, n in enumerate([5, 5, 3, 5, 64, 3, 64, 64, 2])]
    assert_same_bits(training, batches)


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_float64(dtype: str) -> None:
    """The model's arrays are float64, the data is so or not."""

    def make() -> Trained:
        with tg.default_dtype("f8"):
            return training(optim.Adam)

    assert_same_bits(make, [data(5, seed, dtype) for seed in range(3)])


def test_dtypes_and_memory_orders_of_inputs() -> None:
    (x, labels), (u, _), (v, _), (w, _) = (data(9, seed) for seed in range(4))
    batches: list[Batch] = [
        (x, labels),
        (np.asfortranarray(u), labels),
        (v, labels.astype("i4")),
        (np.ascontiguousarray(w[:, :, ::-1])[:, :, ::-1], labels),
        (tg.Tensor(u), labels),
        (x.astype("f8"), labels),
        (x, list(map(int, labels))),
        (np.ascontiguousarray(x.transpose(2, 3, 1, 0)).transpose(3, 2, 0, 1), labels),
        (w, labels),
    ]
    assert_same_bits(training, batches)


def test_hyperparameters_of_layers_that_change() -> None:
    def build() -> nn.Module:
        return nn.Sequential(
            nn.BatchNorm2d(2), nn.LeakyReLU(0.1), nn.Dropout(0.5), nn.Flatten(), nn.Linear(72, 3)
        )

    def changed(i: int, trained: Trained) -> None:
        norm, slope, dropout, *_ = trained.models[0]
        if i == 1:
            norm.momentum = 0.5
        if i == 2:
            dropout.p = 0.25
        if i == 3:
            norm.eps = 0.5
        if i == 4:
            slope.negative_slope = 0.75
        if i == 5:
            dropout.rng = np.random.default_rng(7)
        if i == 6:
            dropout.p = 0.0

    assert_same_bits(partial(training, build=build), [data(5, k) for k in range(8)], changed)


def test_submodules_and_parameters_that_are_replaced() -> None:
    def replaced(i: int, trained: Trained) -> None:
        model, optimizer = trained.models[0], trained.others[0]
        if i == 1:
            model[7] = nn.ReLU()
        if i == 2:
            model[8] = nn.Linear(8, 3)
            optimizer.add_param_group({"params": list(model[8].parameters())})
        if i == 3:
            model[8].weight.data = np.ones((3, 8), "f4")
        if i == 4:
            model.load_state_dict({k: v + v for k, v in model.state_dict().items()})

    assert_same_bits(training, BATCHES, replaced)


def test_parameters_and_gradients_that_the_caller_changes() -> None:
    def make() -> Trained:
        trained = training()
        model, optimizer = trained.models[0], trained.others[0]

        def step(x: Any, labels: Any) -> tg.Tensor:
            loss: tg.Tensor = tg.cross_entropy(model(x), labels)
            loss.backward()
            optimizer.step()
            return loss

        return Trained(step, [model], [optimizer])

    def changed(i: int, trained: Trained) -> None:
        first, *_, last = trained.models[0].parameters()
        last.data[...] *= 0.5
        if first.grad is not None:
            first.grad *= 0.25
        if i == 3:
            last.grad = None
        if i == 4:
            first.grad = np.ones_like(first.grad)

    assert_same_bits(make, BATCHES, changed)


def test_restored_optimizers() -> None:
    def restored(i: int, trained: Trained) -> None:
        optimizer = trained.others[0]
        if i == 2:
            optimizer.load_state_dict(optimizer.state_dict())
        if i == 3:
            optimizer.state[optimizer.params[0]]["velocity"][...] = 0.5

    assert_same_bits(training, BATCHES, restored)


def test_engine_options_that_change() -> None:
    def build() -> nn.Module:
        return nn.Sequential(
            nn.Conv2d(2, 16, 3, padding=1), nn.Conv2d(16, 16, 3, padding=1), nn.Flatten(),
            nn.Linear(576, 3),
        )  # fmt: skip

    found = []
    for compiled in (False, True):
        tg.manual_seed(0)
        trained = training(build=build)
        step = tg.compile(trained.step) if compiled else trained.step
        states = []
        for k, (winograd, threads) in enumerate([(True, 1), (False, 1), (True, 2), (True, 1)]):
            with tg.engine.options(winograd=winograd), tg.num_threads(threads):
                step(*data(16, k))
            states.append(state_of(trained))
        found.append(states)
    for ours, theirs in zip(*found, strict=True):
        assert all(same_bits(ours[name], theirs[name]) for name in theirs)


def test_recording_and_default_dtypes_that_change() -> None:
    weight = nn.Parameter(np.ones((3, 2), "f4"))

    def scale(x: Any) -> tg.Tensor:
        y: tg.Tensor = tg.linear(x, weight) * tg.mean([1, 2, 4])
        return y.detach()

    step = tg.compile(scale)
    x = data(4, 0)[0][:, :, 0, 0]
    for on, dtype in [(True, "f4"), (False, "f4"), (True, "f8"), (True, "f4"), (False, "f8")]:
        with tg.set_grad_enabled(on), tg.default_dtype(dtype):
            assert same_bits(step(x).numpy(), scale(x).numpy())


def test_two_steps_take_turns() -> None:
    """A training step and an evaluation of one model, compiled both."""
    found = []
    for compiled in (False, True):
        tg.manual_seed(0)
        trained = training()
        model = trained.models[0]

        def evaluate(x: Any, model: nn.Module = model) -> tuple[tg.Tensor, tg.Tensor]:
            with tg.no_grad():
                y = model(x)
                return y, tg.softmax(y)

        step = trained.step
        if compiled:
            step, evaluate = tg.compile(step), tg.compile(evaluate)
        results = []
        for x, labels in BATCHES:
            results.append(step(x, labels).numpy())
            model.eval()
            results += [each.numpy() for each in evaluate(x)]
            model.train()
        found.append(results)
    assert all(map(same_bits, *found))
