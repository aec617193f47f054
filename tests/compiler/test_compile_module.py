"""`Module.compile`: replayed for inference, as before where gradients are recorded."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Iterator

import numpy as np
import pytest
from support.forwards import count_forward, forwards

import tinygrad_cnn as tg
from tinygrad_cnn import nn


@pytest.fixture(autouse=True)
def _numpy_only() -> Iterator[None]:
    forwards()
    with tg.engine.options(fast=False):
        yield


class Net(nn.Module):
    """A model that counts how often its forward runs as Python."""

    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        self.conv, self.norm = nn.Conv2d(1, 4, 3, rng=rng), nn.BatchNorm2d(4)
        self.fc = nn.Linear(4 * 6 * 6, 3, rng=rng)

    def forward(self, x: tg.Tensor) -> tg.Tensor:
        count_forward()
        return self.fc(tg.relu(self.norm(self.conv(x))).reshape(len(x), -1))


def images(count: int, seed: int = 0) -> tg.Tensor:
    return tg.Tensor(np.random.default_rng(seed).standard_normal((count, 1, 8, 8)).astype("f4"))


def test_calls_without_gradients_are_replayed_with_the_same_bits() -> None:
    model = Net().eval()
    with tg.no_grad():
        expected = [model(images(2, seed)).numpy() for seed in range(3)]
    forwards()
    assert model.compile() is model
    with tg.no_grad():
        got = [model(images(2, seed)).numpy() for seed in range(3)]
    np.testing.assert_array_equal(got, expected)
    assert forwards() == 2  # captured, and checked once
    with tg.no_grad():
        assert model(images(5)).shape == (5, 3)
    assert forwards() == 1  # another shape


def test_new_weights_and_another_mode_are_seen() -> None:
    model = Net().eval().compile()
    with tg.no_grad():
        before = model(images(4)).numpy()
        model.fc.bias.data = model.fc.bias.numpy() + 1.0
        np.testing.assert_allclose(model(images(4)).numpy(), before + 1.0, rtol=1e-5)
        model.train()
        trained = model(images(4)).numpy()
    other = Net()
    other.fc.bias.data = other.fc.bias.numpy() + 1.0
    with tg.no_grad():
        np.testing.assert_array_equal(trained, other(images(4)).numpy())
    np.testing.assert_array_equal(model.norm.running_mean.numpy(), other.norm.running_mean.numpy())


def test_gradients_are_recorded_as_before() -> None:
    model = Net().compile()
    model(images(2)).sum().backward()
    assert model.fc.bias.grad is not None
    assert forwards() == 1


def test_observers_see_the_ops() -> None:
    class Names(tg.Observer):
        def __init__(self) -> None:
            self.names: list[str] = []

        def forward(self, event: tg.ForwardEvent) -> None:
            self.names.append(event.op.name)

    model = Net().eval().compile()
    with tg.no_grad():
        model(images(2))
        with tg.observe(names := Names()):
            model(images(2))
    assert "conv2d" in names.names


def test_a_compiled_module_inside_a_compiled_step_is_captured_with_it() -> None:
    model = Net().eval().compile()

    @tg.compile
    def step(x: tg.Tensor) -> tg.Tensor:
        with tg.no_grad():
            return model(x) * 2.0

    with tg.no_grad():
        expected = model(images(2)).numpy() * 2
    for _ in range(2):
        np.testing.assert_array_equal(step(images(2)).numpy(), expected)


def test_state_and_copies_are_those_of_the_module() -> None:
    model = Net().eval()
    names = list(model.state_dict())
    model.compile()
    with tg.no_grad():
        expected = model(images(2)).numpy()
    assert list(model.state_dict()) == names
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert other._compiled is None
        with tg.no_grad():
            np.testing.assert_array_equal(other(images(2)).numpy(), expected)
