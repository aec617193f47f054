"""What each idea of the engine brings, and what Winograd's rounding costs: the tables of engine.md.

    PYTHONPATH=tests python tests/benchmarks/engine_ideas.py

Each idea is switched off and on by turns in whole training steps of Adam, on one thread, and the
medians over the rounds are printed, without those in which the machine was busy.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from statistics import median
from typing import Any
from unittest.mock import patch

import numpy as np
from support.convolving import computed_by

import tinygrad_cnn as tg
from tinygrad_cnn import nn
from tinygrad_cnn.bench.timing import Pace, TimedCall, alternate
from tinygrad_cnn.engine import convolution, reduction, selection
from tinygrad_cnn.engine.convolution import algorithm, direct, im2col
from tinygrad_cnn.optim import group, optimizer

PACE = Pace(rounds=25, turn=0.05, patience=60.0, repeats=25)
Program = Callable[[], None]
Switch = Callable[[], AbstractContextManager[Any]]

rng = np.random.default_rng(0)


def step(model: nn.Module, *shape: int) -> Program:
    images, labels = rng.standard_normal(shape, "f4"), rng.integers(0, 10, shape[0])
    adam = tg.optim.Adam(model.parameters())

    def program() -> None:
        adam.zero_grad()
        tg.cross_entropy(model(images), labels).backward()
        adam.step()

    return program


def lenet(batch: int) -> Program:
    return step(nn.LeNet5(rng=rng), batch, 1, 28, 28)


def vgg() -> Program:
    return step(nn.VGG(batch_norm=True, rng=rng), 32, 3, 32, 32)


def large_kernels() -> Program:
    """Return a step of a network of 5×5 kernels."""
    layers: list[nn.Module] = []
    for channels, out in ((3, 32), (32, 64), (64, 64)):
        layers += [nn.Conv2d(channels, out, 5, padding=2, rng=rng), nn.ReLU(), nn.MaxPool2d(2)]
    head = nn.Flatten(), nn.Linear(1024, 10, rng=rng)
    return step(nn.Sequential(*layers, *head), 64, 3, 32, 32)


def mlp() -> Program:
    layers = nn.Linear(64, 32, rng=rng), nn.ReLU(), nn.Linear(32, 10, rng=rng)
    return step(nn.Sequential(*layers), 1, 64)


def without(module: Any, name: str, other: Any) -> Switch:
    return lambda: patch.object(module, name, other)


IDEAS: list[tuple[str, str, Callable[[], Program], Switch]] = [
    ("windows of kernel rows, not im2col", "LeNet-5, batch 64", lambda: lenet(64),
     without(algorithm, "direct", im2col)),
    ("im2col for few images", "LeNet-5, batch 1", lambda: lenet(1),
     without(algorithm, "im2col", direct)),
    ("products small enough for OpenBLAS not to pack", "5×5 kernels, batch 64", large_kernels,
     without(direct, "small_products", lambda *_: (1, 1))),
    ("Winograd", "VGG, batch 32", vgg, lambda: tg.engine.options(winograd=False)),
    ("input gradient added row by row", "LeNet-5, batch 64", lambda: lenet(64),
     without(convolution, "adds_rows", lambda *_: False)),
    ("selection by integer products", "LeNet-5, batch 64", lambda: lenet(64),
     without(selection, "_BITS", {})),
    ("sums in blocks of rows", "LeNet-5, batch 64", lambda: lenet(64),
     without(reduction, "_plan", lambda *_: None)),
    ("sums in blocks of rows", "VGG, batch 32", vgg, without(reduction, "_plan", lambda *_: None)),
    ("small parameters updated together", "MLP 64-32-10, batch 1", mlp,
     without(optimizer, "grouped", lambda parameters, _: group.grouped(parameters, False))),
]  # fmt: skip


def compared(make: Callable[[], Program], off: Switch) -> tuple[float, float]:
    """Return the median seconds of a step without the idea and with it, over the quiet rounds."""
    plain, switched = make(), make()

    def without_it() -> None:
        with off():
            switched()

    rounds = [
        found.seconds
        for found in alternate({"without": TimedCall(without_it), "with": TimedCall(plain)}, PACE)
        if not found.busy
    ]
    return median(each["without"] for each in rounds), median(each["with"] for each in rounds)


def errors(channels: int) -> list[str]:
    """Return the rms and the largest error, in deviations of the output, without and with it."""
    x = rng.standard_normal((32, channels, 16, 16), "f4")
    w = rng.standard_normal((channels, channels, 3, 3), "f4")
    exact = tg.conv2d(x.astype("f8"), w.astype("f8"), padding=1)
    cells = []
    for name in ("direct", "winograd_rows", "winograd"):
        with computed_by(name):
            error = (tg.conv2d(x, w, padding=1) - exact) / exact.std()
        cells.append(f"{np.sqrt(np.mean(error**2)):.1e} / {abs(error).max():.1e}")
    return cells


def main() -> None:
    """Print both tables."""
    print("| idea | step of | without, ms | with, ms | ratio |\n| --- | --- | --- | --- | --- |")
    with tg.num_threads(1):
        for idea, network, make, off in IDEAS:
            before, after = (1e3 * seconds for seconds in compared(make, off))
            print(f"| {idea} | {network} | {before:.3g} | {after:.3g} | {before / after:.2f} |",
                  flush=True)  # fmt: skip
        print(
            "\n| C | direct, rms / max | along rows | along both axes |\n| --- | --- | --- | --- |"
        )
        for channels in (16, 64, 256):
            print(f"| {channels} | {' | '.join(errors(channels))} |", flush=True)


if __name__ == "__main__":
    main()
