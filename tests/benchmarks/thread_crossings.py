"""From which size two threads are faster than one, by kind of work: the table of engine.md.

    python tests/benchmarks/thread_crossings.py [SECONDS]

Minima over rounds in random order: other programs on the machine only lengthen a round.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Callable
from time import perf_counter, sleep

import numpy as np

from tinygrad_cnn.engine import chunks, thread_pool, threads
from tinygrad_cnn.engine.arrays import Array

rng = np.random.default_rng(0)


def add(y: Array, x: Array) -> None:
    """Read two arrays and write one."""
    np.add(y, x, out=y)


def logistic(y: Array, x: Array) -> None:
    """Compute an exp, a division and two cheap passes in the cache."""
    np.negative(x, out=y)
    np.exp(y, out=y)
    np.add(y, 1.0, out=y)
    np.reciprocal(y, out=y)


def elementwise(kernel: Callable[[Array, Array], None], size: int) -> Callable[[int], None]:
    """Return a function of the number of threads that computes chunks of `size` values in all."""
    y, x = rng.standard_normal((2, size), "f4")
    length = min(chunks.SIZE, size // 2)

    def run(count: int) -> None:
        def piece(i: int) -> None:
            part = slice(i * length, (i + 1) * length)
            kernel(y[part], x[part])

        thread_pool.run(piece, size // length, count)

    return run


def product(side: int) -> Callable[[int], None]:
    """Return a function of the number of threads: two products of `side` rows and columns."""
    a, b, y = rng.standard_normal((3, 2, side, side), "f4")

    def piece(i: int) -> None:
        np.matmul(a[i], b[i], out=y[i])

    return lambda count: thread_pool.run(piece, 2, count)


def main(seconds: float) -> None:
    """Measure by turns for some seconds, and print the table."""
    work: dict[tuple[str, int], Callable[[int], None]] = {}
    for size in (1 << k for k in range(16, 23)):
        work["x + y", size * 12 * threads.BYTE] = elementwise(add, size)
        work["sigmoid", size * 48 * threads.BYTE] = elementwise(logistic, size)
    for side in (96, 128, 192, 256, 384, 512):
        work["products", 2 * side**3] = product(side)
    best = {(key, count): float("inf") for key in work for count in (1, 2)}
    end = perf_counter() + seconds
    while perf_counter() < end:
        for key, count in random.sample(list(best), len(best)):
            started = perf_counter()
            work[key](count)
            best[key, count] = min(best[key, count], perf_counter() - started)
        sleep(0.05)
    print("| work | operations | 1 thread, µs | 2 threads, µs | ratio |")
    print("| --- | --- | --- | --- | --- |")
    for kind, operations in sorted(work):
        one, two = (best[(kind, operations), count] * 1e6 for count in (1, 2))
        print(
            f"| {kind} | {operations / 2**24:.2f}·2²⁴ | {one:.0f} | {two:.0f} | {one / two:.2f} |"
        )


if __name__ == "__main__":
    main(float(sys.argv[1]) if len(sys.argv) > 1 else 60.0)
