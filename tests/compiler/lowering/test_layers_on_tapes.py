"""Networks of normalization, pooling, joins and activations on tapes, against eager NumPy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from support.machine import in_ci

import tinygrad_cnn as tg
from tinygrad_cnn import nn
from tinygrad_cnn.compiler.lowering.fusion import RectifiedCall, fused
from tinygrad_cnn.compiler.program import ForwardCall, RuleCall, SharedCall, StepInstruction
from tinygrad_cnn.core.op import OPS

if not in_ci():
    pytest.importorskip("numba")

Function = Callable[[Any], Any]


def images(*shape: int) -> tg.Tensor:
    return tg.Tensor(np.random.default_rng(0).standard_normal(shape), requires_grad=True)


def compared(make: Callable[[], tuple[nn.Module, Function]], *shape: int) -> Any:
    """Compare result, gradients and buffers of a function with those of its compiled step."""
    found: list[dict[str, Any]] = []
    compiled: Any = None
    for is_compiled in (False, True):
        model, function = make()
        model.double()
        x = images(*shape)
        with tg.no_grad():
            scale = np.cos(np.arange(np.prod(function(x).shape)) ** 1.3)
        model, function = make()  # with its first running statistics
        model.double()

        def step(
            x: Any, scale: Any, model: nn.Module = model, function: Function = function
        ) -> Any:
            model.zero_grad()
            y = function(x)
            (tg.reshape(y, -1) * scale).sum().backward()
            return y

        run: Any = tg.compile(step) if is_compiled else step
        for _ in range(3):
            x.grad = None
            y = run(x, scale)
        compiled = run
        found.append({"y": y.numpy(), "x": x.grad})
        found[-1] |= {name: p.grad for name, p in model.named_parameters()}
        found[-1] |= {name: b.numpy() for name, b in model.named_buffers()}
    eager, ours = found
    for name, expected in eager.items():
        size = max(1e-3, abs(expected).max(initial=0.0))
        np.testing.assert_allclose(ours[name], expected, 0, 1e-11 * size, err_msg=name)
    return compiled


def left_to_numpy(step: Any) -> list[StepInstruction]:
    instructions = step._latest[-1].runs.instructions.values()
    return [i for i in instructions if isinstance(i, ForwardCall | SharedCall | RuleCall)]


def count_fused(step: Any) -> int:
    found = fused(step.programs[-1]).instructions
    return sum(isinstance(instruction, RectifiedCall) for instruction in found)


ACTIVATIONS: dict[str, Function] = {
    "relu": tg.relu,
    "relu with slope 0 at 0": lambda x: tg.relu(x, at_zero=0.0),
    "relu6": tg.relu6,
    "clip": lambda x: tg.clip(x, -0.5, 0.75),
    "clip above": lambda x: tg.clip(x, high=0.5),
}


@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize("affine", [True, False])
def test_a_rectifier_is_fused_with_the_batch_norm_before_it(name: str, affine: bool) -> None:
    def make() -> tuple[nn.Module, Function]:
        norm = nn.BatchNorm2d(3, affine=affine)
        return norm, lambda x: ACTIVATIONS[name](norm(x)) * 2.0

    step = compared(make, 5, 3, 7, 6)
    assert count_fused(step) == 1
    assert not left_to_numpy(step)


def test_a_batch_norm_that_others_read_is_not_fused() -> None:
    def make() -> tuple[nn.Module, Function]:
        norm = nn.BatchNorm2d(3)

        def function(x: Any) -> Any:
            y = norm(x)
            return tg.relu(y) + y

        return norm, function

    assert count_fused(compared(make, 5, 3, 7, 6)) == 0


def test_a_batch_norm_that_is_returned_is_not_fused() -> None:
    norm = nn.BatchNorm2d(3).double()

    def function(x: Any) -> Any:
        y = norm(x)
        return y.detach(), tg.relu(y).detach()

    step, x = tg.compile(function), images(5, 3, 7, 6).detach()
    expected = function(x)
    for _ in range(2):
        for ours, right in zip(step(x), expected, strict=True):
            np.testing.assert_allclose(ours.numpy(), right.numpy(), 0, 1e-12)
    assert count_fused(step) == 0


def test_without_a_kernel_nothing_is_fused(monkeypatch: pytest.MonkeyPatch) -> None:
    from tinygrad_cnn.engine.fast.normalization import normalization_gradient

    def fails(_: Any) -> int:
        raise RuntimeError("no compiler")

    def make() -> tuple[nn.Module, Function]:
        norm = nn.BatchNorm2d(3)
        return norm, lambda x: tg.relu(norm(x))

    monkeypatch.setattr(normalization_gradient, "address", fails)
    with pytest.warns(RuntimeWarning, match="derivative of batch_norm failed"):
        compared(make, 5, 3, 7, 6)


def test_a_given_array_is_kept_for_later_tapes() -> None:
    """NumPy computes y, two tapes read it, and what is computed between needs as much memory."""

    @tg.op(formula="2·x")
    def doubled(x: Any) -> Any:
        return 2.0 * x

    @doubled.derivative("x", formula="2·g")
    def _(g: Any) -> Any:
        return 2.0 * g

    def make() -> tuple[nn.Module, Function]:
        norm = nn.BatchNorm2d(16)
        return norm, lambda x: doubled(doubled(norm(doubled(x * 1.5))) * 0.5)

    try:
        compared(make, 16, 16, 12, 12)
    finally:
        del OPS["doubled"]


def test_a_network_of_many_layers_needs_no_numpy() -> None:
    def make() -> tuple[nn.Module, Function]:
        rng = np.random.default_rng(1)
        first = nn.Sequential(
            nn.Conv2d(3, 4, 3, padding=1, rng=rng), nn.LeakyReLU(0.1), nn.MaxPool2d(3, 2, 1)
        )
        norm = nn.BatchNorm2d(8)
        model = nn.Sequential(first, norm, nn.Linear(8, 2, rng=rng))

        def function(x: Any) -> Any:
            x = first(x)
            joined = tg.concatenate([tg.sigmoid(x), tg.tanh(-x)], axis=1)
            y = norm(joined) - tg.pad(x[:, :, ::2, 1:], ((0, 0), (0, 4), (0, 2), (0, 1)))
            y = tg.avgpool(tg.reshape(y, (5, 4, 10, 5)), 4, 2, 1)
            pooled = [y.mean(axis=(2, 3)), tg.silu(x.sum(axis=(2, 3)) / 9.0)]
            return model[2](tg.concatenate(pooled, axis=1))

        return model, function

    step = compared(make, 5, 3, 9, 10)
    assert not left_to_numpy(step)
