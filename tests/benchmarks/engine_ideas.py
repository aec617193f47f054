"""What each idea of the engine brings, and what Winograd's rounding costs: the tables of engine.md.

    PYTHONPATH=tests python tests/benchmarks/engine_ideas.py

Each idea is switched off and on in turns, on one thread, and both medians are printed.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from statistics import median
from time import perf_counter
from typing import Any
from unittest.mock import patch

import numpy as np
from support.convolving import computed_by

import tinygrad_cnn as tg
from tinygrad_cnn.engine import direct, elementwise, reduction, reordering
from tinygrad_cnn.engine.layout import Layout

ROUNDS = 15
Array = np.ndarray[Any, Any]
Switch = Callable[[], AbstractContextManager[Any]]
Program = Callable[[], Any]

rng = np.random.default_rng(0)


def normal(*shape: int) -> Array:
    """Return normal values; images lie in memory as the engine keeps them."""
    values = rng.standard_normal(shape, "f4")
    return Layout.IMAGES_LAST.arranged(values) if len(shape) == 4 and shape[0] > 1 else values


def convolution(x: tuple[int, ...], w: tuple[int, ...], padding: int) -> Program:
    images, kernels = normal(*x), rng.standard_normal(w, "f4")
    return lambda: tg.conv2d(images, kernels, padding=padding)


def directly(program: Program) -> Program:
    def without_winograd() -> None:
        with tg.engine.options(winograd=False):
            program()

    return without_winograd


def step(make: Callable[[], tg.nn.Module], x: tuple[int, ...]) -> Program:
    model, images, labels = make(), rng.standard_normal(x, "f4"), rng.integers(0, 10, x[0])
    optimizer = tg.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)

    def program() -> None:
        optimizer.zero_grad()
        tg.cross_entropy(model(images), labels).backward()
        optimizer.step()

    return program


def vgg(batch: int) -> Program:
    return step(lambda: tg.nn.VGG(rng=rng), (batch, 3, 32, 32))


def without(winograd: bool = True, memory_limit: int | None = None) -> Switch:
    return lambda: tg.engine.options(winograd=winograd, memory_limit=memory_limit)


MAPS = normal(64, 6, 28, 28)
LENET = ((64, 1, 28, 28), (6, 1, 5, 5), 2), ((64, 6, 14, 14), (16, 6, 5, 5), 0)
WIDE = ((64, 32, 32, 32), (32, 32, 3, 3), 1), ((64, 64, 16, 16), (64, 64, 3, 3), 1)

IDEAS: list[tuple[str, Program, Switch]] = [
    *[(f"direct, not im2col: LeNet-5's convolution {i}, batch 64", convolution(*shapes),
       lambda: computed_by("im2col")) for i, shapes in enumerate(LENET, 1)],
    *[(f"Winograd, not direct: {w[1]}→{w[0]} at {x[2]}×{x[3]}, batch 64", convolution(x, w, p),
       without(winograd=False)) for x, w, p in WIDE],
    ("Winograd in a step of a VGG-like network, batch 64", vgg(64), without(winograd=False)),
    ("small products, direct: 64→64 at 16×16",
     directly(convolution(*WIDE[1])),
     lambda: patch.object(direct, "_split", lambda *_: (1, 1))),
    ("`np.clip`, not `np.maximum`, for ReLU: 64×6×28×28", lambda: elementwise.relu(MAPS),
     lambda: patch.object(elementwise, "relu", lambda x: np.maximum(x, 0))),
    *[(f"order changed in blocks: {'×'.join(map(str, maps.shape))} to {layout.name.lower()}",
       partial(layout.arranged, maps), lambda: patch.object(reordering, "WORTH", 1 << 62))
      for maps, layout in ((normal(64, 64, 8, 8), Layout.IMAGES_FIRST),
                           (rng.standard_normal((64, 3, 32, 32), "f4"), Layout.IMAGES_LAST))],
    ("sums an axis at a time, the slowest first: 64×6×28×28 over (0, 2, 3)",
     lambda: reduction.total(MAPS, (0, 2, 3), False),
     lambda: patch.object(reduction, "LARGE", 1 << 62)),
    ("memory used again: a step of the VGG-like network, batch 256", vgg(256),
     without(memory_limit=0)),
]  # fmt: skip


def seconds(program: Program, switch: Switch) -> float:
    with switch():
        started = perf_counter()
        program()
        return perf_counter() - started


def compared(program: Program, off: Switch) -> tuple[float, float]:
    """Return the median seconds without the idea and with it, by turns."""
    switches = (off, nullcontext)
    taken: list[list[float]] = [[], []]
    for turn in range(ROUNDS + 2):
        for which, switch in enumerate(switches):
            spent = seconds(program, switch)
            if turn > 1:  # the first two warm up
                taken[which].append(spent)
    return median(taken[0]), median(taken[1])


def errors(channels: int) -> list[str]:
    """Return the rms and the largest error, in deviations of the output, without and with it."""
    x, w = normal(32, channels, 16, 16), rng.standard_normal((channels, channels, 3, 3), "f4")
    exact = tg.conv2d(x.astype("f8"), w.astype("f8"), padding=1)
    cells = []
    for name in ("direct", "winograd"):
        with computed_by(name):
            error = (tg.conv2d(x, w, padding=1) - exact) / exact.std()
        cells.append(f"{np.sqrt(np.mean(error**2)):.1e} / {abs(error).max():.1e}")
    return cells


def main() -> None:
    """Print both tables."""
    print("| | without, ms | with, ms | ratio |\n| --- | --- | --- | --- |")
    with tg.num_threads(1):
        for label, program, off in IDEAS:
            before, after = compared(program, off)
            print(f"| {label} | {1e3 * before:.3g} | {1e3 * after:.3g} | {before / after:.2f} |",
                  flush=True)  # fmt: skip
        print("\n| C | direct, rms / max | Winograd, rms / max |\n| --- | --- | --- |")
        for channels in (16, 64, 256):
            print(f"| {channels} | {' | '.join(errors(channels))} |", flush=True)


if __name__ == "__main__":
    main()
