"""Measure where one convolution algorithm becomes faster than another, on this machine.

    python -m tinygrad_cnn.bench.crossings

For stride-1 3×3 kernels the engine can convolve directly, by Winograd's tiles along rows (with a
product for each row of windows, "lines", or for each window, "rows"), or by tiles along rows and
columns ("tiles", or "few" with the channels last in memory); `engine/convolution/algorithm.py`
chooses by the numbers of images and channels, for each direction: convolutions (the input gradient
is one too) and weight gradients. The table has a line for each size, with the microseconds of
processor time on one thread for each direction and algorithm, each in its own layout: the fastest
of repeated runs that take turns. A ``*`` marks the engine's choice. "lost" is the time of that
choice, divided by the time of the fastest: if it is much above 1 in many lines, the thresholds of
`algorithm.py` do not fit the machine.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from time import perf_counter, thread_time
from typing import Any

import numpy as np

from tinygrad_cnn.engine.configuration import options
from tinygrad_cnn.engine.convolution import (
    algorithm,
    direct,
    winograd,
    winograd_few,
    winograd_lines,
    winograd_rows,
)
from tinygrad_cnn.engine.threads import num_threads
from tinygrad_cnn.engine.windows import windows

Array = np.ndarray[Any, np.dtype[Any]]

IMAGES = (8, 16, 32, 64)
CHANNELS = ((8, 8), (16, 16), (48, 12), (32, 32), (64, 64), (128, 128))
WAYS: dict[str, algorithm.Algorithm] = {
    "direct": direct,
    "lines": winograd_lines,
    "rows": winograd_rows,
    "tiles": winograd,
    "few": winograd_few,
}
SECONDS = 0.3  # for one size and direction
FEWEST = 5  # runs of each algorithm


@dataclass(frozen=True, slots=True)
class Crossing:
    """The times of each algorithm for one size and direction.

    Attributes
    ----------
    direction : str
        "convolve" (also the input gradient) or "weight gradient".
    images, channels, out_channels, size : int
        The numbers of images and channels, and the height and width in pixels.
    seconds : dict of str to float
        The time of each algorithm.
    chosen : str
        The name of the algorithm that the engine chooses without compiled kernels, "other" if it is
        none of these.
    """

    direction: str
    images: int
    channels: int
    out_channels: int
    size: int
    seconds: dict[str, float]
    chosen: str

    @property
    def lost(self) -> float:
        """The time of the engine's choice, divided by the time of the fastest algorithm."""
        return self.seconds.get(self.chosen, math.nan) / min(self.seconds.values())


def measure_crossing(
    images: int, channels: int, out_channels: int, size: int, seconds: float = SECONDS
) -> Iterator[Crossing]:
    """Yield the times of both directions for one size, each measured for about `seconds`.

    Examples
    --------
    >>> [found.direction for found in measure_crossing(8, 8, 8, 8, seconds=0.01)]
    ['convolve', 'weight gradient']
    """
    rng = np.random.default_rng(0)
    at = windows("crossings", (size, size), (3, 3), 1, 1, 1)
    x = rng.standard_normal((images, channels, size, size), "f4")
    y = rng.standard_normal((images, out_channels, size, size), "f4")
    w = rng.standard_normal((out_channels, channels, 3, 3), "f4")
    key = (images, channels, out_channels, at, 1, np.dtype("f4"))
    calls: dict[str, dict[str, Callable[[], Any]]] = {"convolve": {}, "weight gradient": {}}
    for name, way in WAYS.items():
        a, b, out = (way.layout.arranged(array) for array in (x, y, np.empty_like(y)))
        calls["convolve"][name] = partial(way.convolve, a, w, None, at, 1, out)
        calls["weight gradient"][name] = partial(way.weight_gradient, b, a, at, 1)
    with options(fast=False):
        choices = algorithm.choose(*key), algorithm.choose_weight_gradient(*key)
    for (direction, ways), choice in zip(calls.items(), choices, strict=True):
        chosen = next((name for name, way in WAYS.items() if way is choice), "other")
        with num_threads(1):
            times = _times(ways, seconds)
        yield Crossing(direction, images, channels, out_channels, size, times, chosen)


def _times(calls: dict[str, Callable[[], Any]], seconds: float) -> dict[str, float]:
    """Return the fastest processor time of each call, all called in turns."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for call in calls.values():
        call()
    end, runs = perf_counter() + seconds, 0
    while runs < FEWEST or perf_counter() < end:
        for name, call in calls.items():
            start = thread_time()
            call()
            times[name].append(thread_time() - start)
        runs += 1
    return {name: min(found) for name, found in times.items()}


def lines(sizes: list[tuple[int, int, int, int]], seconds: float = SECONDS) -> Iterator[str]:
    """Yield the lines of a Markdown table for sizes (images, C, OC, pixels along an axis).

    Examples
    --------
    >>> header, _, first = lines([(8, 8, 8, 8)], seconds=0.01)
    >>> header[:48], first[:12]
    ('| images, C→OC, size | direct | lines | rows | t', '| 8, 8→8, 8²')
    """
    names = [*WAYS, "lost"]
    yield f"| images, C→OC, size | {' | '.join(names)} | dw {' | dw '.join(names)} |"
    yield f"| --- |{' --- |' * 2 * len(names)}"
    for size in sizes:
        n, c, oc, pixels = size
        cells = [f"{n}, {c}→{oc}, {pixels}²"]
        for found in measure_crossing(*size, seconds):
            cells += [
                f"{1e6 * found.seconds[name]:.0f}{'*' * (name == found.chosen)}" for name in WAYS
            ]
            cells.append(f"{found.lost:.2f}")
        yield f"| {' | '.join(cells)} |"


def every_size() -> list[tuple[int, int, int, int]]:
    """Return the sizes to measure, smaller images with more channels."""
    return [(n, c, oc, min(32, 1024 // max(c, oc, 32))) for n in IMAGES for c, oc in CHANNELS]


if __name__ == "__main__":
    for line in lines(every_size()):
        print(line, flush=True)
