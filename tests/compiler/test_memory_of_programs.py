"""A compiled step needs no more memory than the eager one, with all that it keeps."""

from __future__ import annotations

import gc
import tracemalloc
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context

import numpy as np
import pytest
from support.both_ways import Make
from support.small_models import drawn, trained

import tinygrad_cnn as tg
from tinygrad_cnn import nn
from tinygrad_cnn.nn import models

MODELS = {
    "lenet5": (partial(nn.build, "lenet5", input_shape=(1, 28, 28), classes=10), (64, 1, 28, 28)),
    "vgg": (partial(nn.build, "vgg", input_shape=(3, 32, 32), classes=10), (16, 3, 32, 32)),
    "resnet20": (partial(models.resnet20, 10), (16, 3, 32, 32)),
    "unet": (partial(models.UNet, 2, 3, 8, 2), (4, 3, 32, 32)),
}


def most_bytes(make: Make, x: np.ndarray, compiled: bool) -> int:
    """Return the peak memory of the fourth call, and of all that exists since `make`."""
    gc.collect()
    tracemalloc.start()
    try:
        step = make().step
        step = tg.compile(step) if compiled else step
        for _ in range(3):  # the third gets gradients that the check has left beside those of tapes
            step(x)
        gc.collect()
        tracemalloc.reset_peak()
        step(x)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("fast", [False, True])
@pytest.mark.parametrize("name", MODELS)
def test_peak_memory(name: str, fast: bool) -> None:
    if fast:
        pytest.importorskip("numba")
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        eager, ours = pool.submit(peaks, name, fast).result()
    most = 1.15 * eager if fast else eager  # rows keep gradients and scratch memory between calls
    assert ours <= most + (1 << 20), f"{ours / 2**20:.1f} MiB, eager {eager / 2**20:.1f} MiB"


def peaks(name: str, fast: bool) -> tuple[int, int]:
    """Return the peak memory of the eager step and the compiled one, in a process of its own.

    Buffers that others have left there would count for one, and not for the other.
    """
    build, shape = MODELS[name]
    with tg.num_threads(1), tg.engine.options(fast=False):
        eager = most_bytes(partial(trained, build), drawn(shape, 0), False)
    with tg.num_threads(1), tg.engine.options(fast=fast):
        most_bytes(partial(trained, build), drawn(shape, 0), True)  # kernels are compiled
        ours = most_bytes(partial(trained, build), drawn(shape, 0), True)
    return eager, ours
