"""Gradients on tapes in float32 are as near to those in float64 as gradients of eager NumPy."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
from support.machine import in_ci, lengthy

import tinygrad_cnn as tg
from tinygrad_cnn import nn
from tinygrad_cnn.compiler.tape_check import disturb
from tinygrad_cnn.nn import models

if not in_ci():
    pytest.importorskip("numba")

Gradients = dict[str, np.ndarray]


def built(name: str) -> Callable[[], nn.Module]:
    return partial(nn.build, name, input_shape=(3, 32, 32), classes=10)


NETWORKS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "LeNet-5": (partial(models.LeNet5, 10), (16, 1, 28, 28)),
    "VGG": (built("vgg"), (8, 3, 32, 32)),
    "ResNet-20": (built("resnet20"), (8, 3, 32, 32)),
    "MobileNetV2": (built("mobilenet_v2"), (8, 3, 32, 32)),
    "U-Net": (partial(models.UNet, 3, 3, 8, 3), (4, 3, 32, 32)),
}


def made(name: str, dtype: str) -> tuple[nn.Module, np.ndarray]:
    """Return a network without dropout, and a batch; both are float32 numbers."""
    build, shape = NETWORKS[name]
    tg.manual_seed(0)
    model = build()
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    x = np.random.default_rng(1).standard_normal(shape).astype("f4").astype(dtype)
    return (model.double() if dtype == "f8" else model), x


def weight_of(y: tg.Tensor) -> np.ndarray:
    return np.random.default_rng(3).standard_normal(y.shape).astype("f4").astype(y.dtype)


def loss_of(model: nn.Module, x: Any) -> float:
    y = model(x)
    return float((y.numpy() * weight_of(y)).mean())


def gradients(
    name: str, dtype: str, on_tapes: bool, winograd: bool = True, seed: int | None = None
) -> Gradients:
    """Return the gradients of one step, with parameters and batch rounded again by `seed`."""
    model, x = made(name, dtype)
    if seed is not None:
        disturb([x, *[p.data for p in model.parameters()]], seed)
    weight = weight_of(model(x))

    def step(x: Any, weight: Any) -> Any:
        model.zero_grad()
        (model(x) * weight).mean().backward()

    run = tg.compile(step) if on_tapes else step
    with tg.engine.options(fast=on_tapes, winograd=winograd):
        for _ in range(3 if on_tapes else 1):
            run(x, weight)
    return {name: np.asarray(p.grad, "f8") for name, p in model.named_parameters()}


def errors(found: Gradients, exact: Gradients) -> np.ndarray:
    """Return the relative errors, but of gradients that are 0 but for rounding."""
    sizes = {name: float(np.linalg.norm(g)) for name, g in exact.items()}
    least = 1e-12 * max(sizes.values())
    return np.array(
        [np.linalg.norm(found[n] - exact[n]) / sizes[n] for n in exact if sizes[n] > least]
    )


def ratios(name: str, winograd: bool) -> np.ndarray:
    """Return the errors on tapes relative to those of eager NumPy, by parameter.

    A rectifier's input within a rounding of 0 may fall on either side in float32, which is most of
    the error where it happens. So the eager error is the largest of several roundings.
    """
    exact = gradients(name, "f8", False)
    eager = [errors(gradients(name, "f4", False, winograd, k), exact) for k in (None, 0, 1, 2)]
    usual = np.maximum(np.max(eager, axis=0), np.median(eager[0]))
    found: np.ndarray = errors(gradients(name, "f4", True, winograd), exact) / usual
    return found


SLOW = ("ResNet-20", "MobileNetV2", "U-Net")
NAMES = [pytest.param(name, marks=lengthy if name in SLOW else ()) for name in NETWORKS]


@pytest.mark.parametrize("name", NAMES)
def test_tapes_round_as_little_as_numpy(name: str) -> None:
    assert ratios(name, winograd=False).max() < 4.0


@pytest.mark.parametrize("name", NAMES)
def test_tiles_on_tapes_round_a_few_times_as_much(name: str) -> None:
    """NumPy computes batches this small directly; the transforms of tiles cost 2 to 5 times."""
    found = ratios(name, winograd=True)
    assert np.median(found) < 4.0
    assert found.max() < 8.0


def test_gradients_of_biases_that_a_later_batch_norm_removes_are_0() -> None:
    """In MobileNetV2 those after projections: the loss does not depend on them."""
    exact, tapes = (gradients("MobileNetV2", "f8", on) for on in (False, True))
    largest = max(float(np.linalg.norm(g)) for g in exact.values())
    zero = [n for n, g in exact.items() if np.linalg.norm(g) < 1e-12 * largest]
    assert len(zero) == 17
    assert all(name.endswith(".bias") for name in zero)
    for name in zero:
        assert np.linalg.norm(tapes[name]) < 1e-12 * largest, name
    model, x = made("MobileNetV2", "f8")
    before = loss_of(model, x)
    rng = np.random.default_rng(2)
    for name, p in model.named_parameters():
        if name in zero:
            p.data += rng.standard_normal(p.shape)
    np.testing.assert_allclose(loss_of(model, x), before, 1e-9)
