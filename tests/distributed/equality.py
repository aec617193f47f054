"""Checks that run on several ranks: the same numbers as one process with the whole batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from support.ranks import on_ranks

import tinygrad_cnn as tg
from tinygrad_cnn.distributed import (
    DataParallel,
    all_gather,
    allow_empty,
    broadcast,
    convert_sync_batchnorm,
    rank,
    size,
)

Batches = Sequence[tuple[NDArray[Any], NDArray[Any]]]
TOLERANCE = {"float64": 1e-12, "float32": 2e-5}


def batches(shape: tuple[int, ...], sizes: Sequence[int], dtype: str) -> Batches:
    rng = np.random.default_rng(1)
    return [(rng.random((n, *shape)).astype(dtype), rng.integers(0, 10, n)) for n in sizes]


def own(array: NDArray[Any]) -> NDArray[Any]:
    """Return this rank's part of a batch, independently of the sampler."""
    return np.array_split(array, size())[rank()]


def state(model: tg.nn.Module) -> dict[str, NDArray[Any]]:
    return {name: array.copy() for name, array in model.state_dict().items()}


def assert_same_state(
    model: tg.nn.Module, expected: dict[str, NDArray[Any]], tolerance: float
) -> None:
    found = state(model)
    for name, array in broadcast(expected).items():
        scale = max(1.0, float(np.abs(array).max(initial=0)))
        error = np.abs(found[name] - array).max(initial=0) / scale
        assert error <= tolerance, f"{name}: {error}"
    for other in all_gather({name: array.tobytes() for name, array in found.items()}):
        assert other == {name: array.tobytes() for name, array in found.items()}


def train(
    model: Any, optimizer: tg.optim.Optimizer, given: Batches, part: Callable[[Any], Any]
) -> None:
    for images, labels in given:
        optimizer.zero_grad()
        outputs = model(tg.Tensor(part(images)))
        allow_empty(tg.cross_entropy)(outputs, part(labels)).backward()
        optimizer.step()


def lenet(dtype: str, seed: int = 0) -> tg.nn.Module:
    return tg.nn.LeNet5(rng=np.random.default_rng(seed)).astype(dtype)


@on_ranks(2, 3)
def lenet_is_trained_as_by_one_process() -> None:
    for dtype, tolerance in TOLERANCE.items():
        given = batches((1, 28, 28), [22, 22, 7], dtype)
        alone, model = lenet(dtype), lenet(dtype, seed=rank())
        train(alone, tg.optim.SGD(alone.parameters(), 0.1, 0.9), given, lambda a: a)
        parallel = DataParallel(model)
        train(parallel, tg.optim.SGD(parallel.parameters(), 0.1, 0.9), given, own)
        assert_same_state(model, state(alone), tolerance)


def resnet(dtype: str, seed: int = 0) -> tg.nn.Module:
    model = tg.nn.models.resnet20(rng=np.random.default_rng(seed)).astype(dtype)
    return convert_sync_batchnorm(model)


@on_ranks(2, 3)
def resnet_with_synchronized_batch_norm_is_trained_as_by_one_process() -> None:
    """Batches of few examples: 3 ranks have 3, 2 and 2 of them, then 1, 1 and none."""
    for dtype, tolerance in TOLERANCE.items():
        given = batches((3, 16, 16), [7, 7, 2], dtype)
        alone = tg.nn.models.resnet20(rng=np.random.default_rng(0)).astype(dtype)
        model = resnet(dtype, seed=rank())
        train(alone, tg.optim.SGD(alone.parameters(), 0.05, 0.9), given, lambda a: a)
        parallel = DataParallel(model)
        train(parallel, tg.optim.SGD(parallel.parameters(), 0.05, 0.9), given, own)
        assert_same_state(model, state(alone), tolerance)
