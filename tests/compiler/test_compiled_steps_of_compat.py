"""Steps written with `compat.torch` give the eager ones' bits when they are compiled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygrad_cnn as tg
import tinygrad_cnn.compat.torch as torch
from tinygrad_cnn.compat.torch import nn
from tinygrad_cnn.compat.torch.nn import functional

F: Any = functional


def updated(m: Any, o: Any, loss: Any, clip: Any = None) -> Any:
    o.zero_grad()
    loss.backward()
    if clip is not None:
        clip(m.parameters(), 0.25)
    o.step()
    return loss


def plain(m: Any, o: Any, x: Any, y: Any) -> Any:
    m.train()
    return updated(m, o, F.cross_entropy(m(x), y))


def clipped_by_norm(m: Any, o: Any, x: Any, y: Any) -> Any:
    return updated(m, o, nn.CrossEntropyLoss()(m(x), y), nn.utils.clip_grad_norm_)


def clipped_by_value(m: Any, o: Any, x: Any, y: Any) -> Any:
    return updated(m, o, F.cross_entropy(m(x), y), nn.utils.clip_grad_value_)


def with_noise(m: Any, o: Any, x: Any, y: Any) -> Any:
    return updated(m, o, F.cross_entropy(F.dropout(m(x + torch.randn(6, 3)), 0.5), y))


def in_place(m: Any, o: Any, x: Any, y: Any) -> Any:
    h = m(x)
    h.mul_(2.0)
    return updated(m, o, F.cross_entropy(h, y))


def cleared_by_assignment(m: Any, o: Any, x: Any, y: Any) -> Any:
    loss = F.cross_entropy(m(x), y)
    for p in m.parameters():
        p.grad = None
    loss.backward()
    o.step()
    return loss


STEPS = [plain, clipped_by_norm, clipped_by_value, with_noise, in_place, cleared_by_assignment]


def run(step: Callable[..., Any], optimizer: str, compiled: bool) -> list[Any]:
    torch.manual_seed(0)
    model: Any = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 2))
    made: Any = getattr(torch.optim, optimizer)(model.parameters(), lr=0.1)

    def called(x: Any, y: Any) -> Any:
        return step(model, made, x, y)

    called = tg.compile(called) if compiled else called  # type: ignore[assignment]
    rng, found = np.random.default_rng(0), []
    for _ in range(5):
        x = torch.tensor(rng.normal(size=(6, 3)).astype("f4"))
        found.append(called(x, torch.tensor(rng.integers(0, 2, 6))).detach().numpy().copy())
    state = model.state_dict()
    return [*found, *[np.array(state[name].numpy()) for name in state]]


@pytest.mark.parametrize("optimizer", ["SGD", "AdamW"])
@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.__name__)
def test_a_step_of_compat_torch(step: Callable[..., Any], optimizer: str) -> None:
    with tg.engine.options(fast=False):
        for got, expected in zip(
            run(step, optimizer, True), run(step, optimizer, False), strict=True
        ):
            np.testing.assert_array_equal(got, expected)


def test_a_step_of_compat_torch_on_tapes() -> None:
    found = []
    for fast in (False, True):
        with tg.engine.options(fast=fast):
            found.append(run(plain, "SGD", fast))
    for got, expected in zip(*found, strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)


def test_a_gradient_that_is_set_is_refused() -> None:
    p: Any = nn.Parameter(torch.ones(3))

    @tg.compile
    def step(x: Any) -> None:
        (p * x).sum().backward()
        p.grad = p.grad * 0.5

    with pytest.raises(tg.CompileError):
        step(torch.ones(3))
