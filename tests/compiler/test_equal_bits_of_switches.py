"""Compiled steps that switch modes, gradients and flags inside give the eager ones' bits."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
from support.both_ways import Trained, assert_close_to_eager, assert_same_bits

import tinygrad_cnn as tg
from tinygrad_cnn import nn, optim

Update = Callable[[nn.Module, optim.Optimizer, Any], Any]


def batch(seed: int) -> tuple[Any]:
    return (np.random.default_rng(seed).normal(size=(6, 3)).astype("f8"),)


BATCHES = [batch(seed) for seed in range(5)]


def train_mode_at_the_top(model: nn.Module, optimizer: optim.Optimizer, x: Any) -> Any:
    model.train()
    return updated(model, optimizer, x)


def both_modes(model: nn.Module, optimizer: optim.Optimizer, x: Any) -> Any:
    model.train()
    loss = updated(model, optimizer, x)
    model.eval()
    with tg.no_grad():
        return loss, model(x)


def cleared_by_assignment(model: nn.Module, optimizer: optim.Optimizer, x: Any) -> Any:
    loss = (model(x) ** 2).mean()
    for p in model.parameters():
        p.grad = None
    loss.backward()
    optimizer.step()
    return loss


def with_a_closure(model: nn.Module, optimizer: optim.Optimizer, x: Any) -> Any:
    def closure() -> Any:
        optimizer.zero_grad()
        loss = (model(x) ** 2).mean()
        loss.backward()
        return loss

    return optimizer.step(closure)


def a_new_leaf(model: nn.Module, optimizer: optim.Optimizer, x: Any) -> Any:
    given = tg.Tensor(x, requires_grad=True)
    (model(given) ** 2).mean().backward()
    given.grad = None
    (model(given) * 2.0).mean().backward()
    return tg.Tensor(given.grad) * 2.0


def updated(model: nn.Module, optimizer: optim.Optimizer, x: Any) -> Any:
    loss = (model(x) ** 2).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss


def training(step: Update) -> Trained:
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.5), nn.Linear(4, 2))
    model.double()
    optimizer = optim.SGD(model.parameters(), 0.1, momentum=0.5)
    return Trained(lambda x: step(model, optimizer, x), [model], [optimizer])


STEPS = [train_mode_at_the_top, both_modes, cleared_by_assignment, with_a_closure, a_new_leaf]


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.__name__)
def test_a_step_that_switches(step: Update) -> None:
    assert len(assert_same_bits(partial(training, step), BATCHES).programs) == 1
    assert_close_to_eager(partial(training, step), BATCHES, 1e-9)


def test_a_mode_that_is_changed_outside_too() -> None:
    def between(i: int, trained: Trained) -> None:
        trained.models[0].train(i % 2 == 0)

    assert_same_bits(partial(training, train_mode_at_the_top), BATCHES, between)
    assert_same_bits(partial(training, both_modes), BATCHES, between)


def adversaries() -> Trained:
    """A critic that requires no gradients while the generator is trained."""
    generator, critic = nn.Linear(3, 3), nn.Linear(3, 1)
    ours, theirs = optim.Adam(generator.parameters(), 0.1), optim.Adam(critic.parameters(), 0.1)

    def step(x: Any) -> Any:
        critic.requires_grad_(False)
        loss = critic(generator(x)).mean()
        ours.zero_grad()
        loss.backward()
        ours.step()
        critic.requires_grad_(True)
        other = (critic(x) - critic(generator(x).detach())).mean()
        theirs.zero_grad()
        other.backward()
        theirs.step()
        return loss, other

    return Trained(step, [generator.double(), critic.double()], [ours, theirs])


def test_parameters_that_require_no_gradient_for_a_while() -> None:
    assert len(assert_same_bits(adversaries, BATCHES).programs) == 1
    assert_close_to_eager(adversaries, BATCHES, 1e-9)


def test_labels_that_start_to_be_ignored() -> None:
    leaf = tg.Tensor(np.linspace(-3.0, 0.0, 12).reshape(4, 3), requires_grad=True)

    def step(labels: Any) -> Any:
        leaf.grad = None
        loss = tg.nll(leaf, labels)
        loss.backward()
        return loss

    compiled = tg.compile(step)
    for labels in ([0, 1, 2, 0], [2, 1, 0, 1], [0, -100, 2, -100], [1, 1, 1, 1]):
        ours, gradient = compiled(np.array(labels)).item(), np.asarray(leaf.grad).copy()
        assert step(np.array(labels)).item() == ours
        np.testing.assert_array_equal(leaf.grad, gradient)
    assert len(compiled.programs) == 1
