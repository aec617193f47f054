"""The machine's roofs: peak float32 multiply-adds and memory bandwidth."""

from __future__ import annotations

import threading
from collections.abc import Callable
from time import perf_counter
from typing import Any

import numpy as np

COPIED = 1 << 26  # bytes; more than any cache holds
WINDOW = 0.02  # seconds


def roofs(threads: int, seconds: float) -> dict[str, float]:
    """Return the peak rates of `threads` threads together, each measured for `seconds`.

    BLAS must run one thread in this process. Large square products are tried, a stack of small ones
    (many kernels multiply those without packing), and a stack larger than any cache.

    Returns
    -------
    dict of str to float
        ``multiply_adds`` and ``bytes`` per second.
    """
    products = ((1, 1024, 1024, 1024), (1, 384, 384, 384), (64, 48, 288, 64), (256, 32, 144, 64))
    rates = [_rate(_product(*sizes), threads, seconds) for sizes in products]
    return {"multiply_adds": max(rates), "bytes": _rate(_copy, threads, seconds)}


Work = Callable[[], tuple[Callable[[], Any], int]]


def _product(stack: int, rows: int, inner: int, columns: int) -> Work:
    """Return a factory of matrices, the call that multiplies them, and its multiply-adds."""

    def make() -> tuple[Callable[[], Any], int]:
        rng = np.random.default_rng(0)
        a = rng.standard_normal((rows, inner), dtype="f4")
        b = rng.standard_normal((stack, inner, columns), dtype="f4")
        out = np.empty((stack, rows, columns), "f4")
        return lambda: np.matmul(a, b, out=out), stack * rows * inner * columns

    return make


def _copy() -> tuple[Callable[[], Any], int]:
    source, target = np.ones(COPIED // 4, "f4"), np.zeros(COPIED // 4, "f4")
    return lambda: np.copyto(target, source), 2 * COPIED  # read and written


def _rate(work: Work, threads: int, seconds: float) -> float:
    """Return the rate of `threads` threads together, each with its own arrays.

    The best time window counts: a roof is the possible rate, and windows are short enough that some
    are free of interference.
    """
    made = [work() for _ in range(threads)]
    done = [0] * threads
    for call, _ in made:
        call()

    def repeat(k: int, until: float) -> None:
        call, amount = made[k]
        done[k] = 0
        while perf_counter() < until:
            call()
            done[k] += amount

    best = 0.0
    for _ in range(max(round(seconds / WINDOW), 1)):
        started = perf_counter()
        others = [
            threading.Thread(target=repeat, args=(k, started + WINDOW)) for k in range(1, threads)
        ]
        for other in others:
            other.start()
        repeat(0, started + WINDOW)
        for other in others:
            other.join()
        best = max(best, sum(done) / (perf_counter() - started))
    return best
