"""Synchronized batch normalization, with ranks that are simulated in one process."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from threading import Barrier, Thread
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import tinygrad_cnn as tg
from tinygrad_cnn.compat.torch import nn as torch_nn
from tinygrad_cnn.distributed import convert_sync_batchnorm
from tinygrad_cnn.distributed.sync_batch_norm import AllRanks


class Threads:
    """Ranks that are threads of this process."""

    def __init__(self, count: int) -> None:
        self._barrier = Barrier(count, timeout=60)
        self._given: list[tuple[NDArray[Any], float]] = []

    def __deepcopy__(self, memo: Any) -> Threads:
        return self

    def average(self, values: NDArray[Any], weight: float) -> tuple[NDArray[Any], float]:
        if self._barrier.wait() == 0:
            self._given = []
        self._barrier.wait()
        self._given.append((values, weight))
        self._barrier.wait()
        total = sum(weight for _, weight in self._given)
        parts = [values * (weight / total) for values, weight in self._given if weight]
        return np.sum(parts, axis=0, dtype=np.float64), total


def on_threads(parts: Sequence[NDArray[Any]], layers: Sequence[Any], flow: Any) -> list[Any]:
    """Return result, and gradients of x, weight and bias, of a layer in each thread."""
    found: list[Any] = [None] * len(parts)

    def compute(i: int) -> None:
        x = tg.Tensor(parts[i], requires_grad=True)
        y = layers[i](x)
        found[i] = (
            y.numpy(), *tg.grad(y, [x, layers[i].weight, layers[i].bias], flow[i])
        )  # fmt: skip

    threads = [Thread(target=compute, args=(i,)) for i in range(len(parts))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("offset", [0.0, 1e4])  # far from 0, sums of squares would lose digits
@pytest.mark.parametrize("sizes", [(3, 2, 4), (4, 0, 1), (1, 1)])
def test_ranks_normalize_with_the_statistics_of_the_whole_batch(
    dtype: str, offset: float, sizes: tuple[int, ...]
) -> None:
    rng = np.random.default_rng(0)
    x = (rng.normal(size=(sum(sizes), 3, 2, 2)) + offset).astype(dtype)
    flow = rng.normal(size=x.shape).astype(dtype)
    cuts = np.cumsum(sizes)[:-1]
    whole = tg.nn.BatchNorm2d(3).astype(dtype)
    whole.weight.data[...] = [0.5, 2.0, 1.0]
    layers = [copy.deepcopy(whole) for _ in sizes]
    ranks = Threads(len(sizes))
    for layer in layers:
        layer.ranks = ranks
    ((y, dx, dw, db),) = on_threads([x], [whole], [flow])
    shares = np.array(sizes) / sum(sizes)
    parts = np.split(flow, cuts)
    scaled = [part / share if share else part for part, share in zip(parts, shares, strict=True)]
    found = on_threads(np.split(x, cuts), layers, scaled)
    # offset · 2⁻²⁴, the rounding of x, relative to its deviation of 1
    tolerance = {"float64": 1e-12, "float32": 4e-6}[dtype] * (1 + offset / 10)
    close: Any = {"rtol": 0, "atol": tolerance}
    np.testing.assert_allclose(np.concatenate([part[0] for part in found]), y, **close)
    weighted = [part[1] * share for part, share in zip(found, shares, strict=True)]
    np.testing.assert_allclose(np.concatenate(weighted), dx, **close)
    for at, expected in ((2, dw), (3, db)):
        total = sum(part[at] * share for part, share in zip(found, shares, strict=True))
        np.testing.assert_allclose(total, expected, rtol=0, atol=20 * tolerance)
    for layer in layers:
        assert layer.num_batches_tracked.item() == 1
        np.testing.assert_allclose(layer.running_mean, whole.running_mean, rtol=1e-6)
        np.testing.assert_allclose(layer.running_var, whole.running_var, **close)
        assert layer.running_var.numpy().tobytes() == layers[0].running_var.numpy().tobytes()


@pytest.mark.parametrize("package", [tg.nn, torch_nn])
def test_one_rank_computes_as_without_ranks(package: Any) -> None:
    x = np.random.default_rng(0).normal(size=(4, 3, 2, 2)).astype("f4")
    plain, model = package.BatchNorm2d(3), package.Sequential(package.BatchNorm2d(3))
    assert convert_sync_batchnorm(model) is model
    layer = copy.deepcopy(model)[0]
    assert isinstance(layer.ranks, AllRanks)
    assert plain.ranks is None
    first, second = (np.asarray(each(package.Parameter(x)).data) for each in (plain, layer))
    np.testing.assert_allclose(second, first, rtol=0, atol=1e-6)
    assert np.asarray(layer.running_var.data) == pytest.approx(np.asarray(plain.running_var.data))


def test_a_single_value_per_channel_on_all_ranks_is_refused() -> None:
    layer = convert_sync_batchnorm(tg.nn.BatchNorm1d(2))
    for count in (0, 1):
        with pytest.raises(ValueError, match=r"more than one value a channel in training, on all"):
            layer(np.zeros((count, 2), "f4"))
    assert layer.num_batches_tracked.item() == 0
    assert layer.eval()(np.zeros((1, 2), "f4")).shape == (1, 2)
