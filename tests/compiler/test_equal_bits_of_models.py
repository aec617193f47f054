"""Compiled steps of every ready model give the bits of the eager ones."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from support.both_ways import Batch, Trained, assert_same_bits
from support.machine import lengthy
from support.small_models import SMALL, Builder, drawn, evaluated, trained

import tinygrad_cnn as tg
from tinygrad_cnn import nn, optim
from tinygrad_cnn.nn import models
from tinygrad_cnn.nn.models.registry import LARGE_MODELS


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("make", [trained, evaluated])
def test_models(make: Callable[[Builder], Trained], name: str) -> None:
    build, shape = SMALL[name]
    batches: list[Batch] = [(drawn((4, *shape), seed),) for seed in range(3)]
    batches += [(drawn((3, *shape), 3),), (drawn((4, *shape), 4),)]
    assert_same_bits(partial(make, build), batches)


def test_adversaries() -> None:
    """Two models and two optimizers in one step, one model's result being another's input."""

    def make() -> Trained:
        generator = models.DCGANGenerator(5, 2, 4, 16)
        critic = models.DCGANDiscriminator(2, 4, 16)
        optimizers = [optim.Adam(each.parameters(), 1e-3) for each in (generator, critic)]

        def step(images: Any, noise: Any) -> tuple[tg.Tensor, tg.Tensor]:
            made = generator(noise)
            of_critic = tg.softplus(critic(made.detach())) + tg.softplus(-critic(images))
            optimizers[1].zero_grad()
            of_critic.mean().backward()
            optimizers[1].step()
            of_generator = tg.softplus(-critic(made)).mean()
            optimizers[0].zero_grad()
            of_generator.backward()
            optimizers[0].step()
            return of_critic, of_generator

        return Trained(step, [generator, critic], optimizers)

    batches = [(drawn((3, 2, 16, 16), k), drawn((3, 5, 1, 1), 9 + k)) for k in range(3)]
    assert_same_bits(make, batches)


@pytest.mark.parametrize("name", ["lenet5", "vgg", "resnet20"])
def test_models_at_sizes_of_every_algorithm(name: str) -> None:
    """Winograd, images last, bands and chunks."""
    shape = (1, 28, 28) if name == "lenet5" else (3, 32, 32)
    build = partial(nn.build, name, input_shape=shape, classes=10)
    assert_same_bits(partial(trained, build), [(drawn((32, *shape), seed),) for seed in range(3)])


@lengthy
@pytest.mark.parametrize("name", [*models.MODELS, "resnet101", "resnext50_32x4d", "densenet121"])
@pytest.mark.parametrize("make", [trained, evaluated])
def test_models_of_their_own_sizes(make: Callable[[Builder], Trained], name: str) -> None:
    size = 64 if name in LARGE_MODELS else 28 if name == "lenet5" else 32
    shape = (1 if name == "lenet5" else 3, size, size)
    build = partial(nn.build, name, input_shape=shape, classes=10)
    assert_same_bits(partial(make, build), [(drawn((2, *shape), seed),) for seed in range(3)])
