"""Alternating rounds: all sides take turns, so that machine drift affects them equally."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from statistics import median
from time import sleep
from typing import Protocol, TypeVar

__all__ = ["Pace", "Runner", "alternate", "ratio"]

FEWEST, MOST_RUNS = 3, 1000

S = TypeVar("S")


class Runner(Protocol):
    """Anything that can be timed in turns."""

    def run(self, times: int) -> list[float]:
        """Run `times` times and return the seconds of each run."""


@dataclass(frozen=True, slots=True)
class Pace:
    """Duration settings of a measurement.

    Attributes
    ----------
    rounds : int
        Number of turns per side.
    turn : float
        Approximate seconds per turn; holds as many runs as fit, at least one.
    patience : float
        Maximum total seconds per side. A slower side gets fewer turns: at least three, or one if a
        single run takes longer than that.
    limit : float
        Maximum seconds of a single run; a slower side is skipped.
    pause : float
        Seconds between turns, for the previous side's threads to stop spinning.
    """

    rounds: int = 11
    turn: float = 0.2
    patience: float = 6.0
    limit: float = 20.0
    pause: float = 0.03


def alternate(
    runners: Mapping[S, Runner], pace: Pace, progress: Callable[[float], None] = lambda share: None
) -> Iterator[dict[S, float]]:
    """Alternate sides; yield the median seconds per run of each side, round by round.

    Warm-up: two untimed runs of each side before the first round, and one before each turn of
    several runs. This excludes one-time setup and caches evicted by other sides. The order rotates
    from round to round, so that no side always has the same position.

    Parameters
    ----------
    runners : mapping
        Runners by side.
    pace : Pace
    progress : callable
        Called with the share of rounds done.
    """
    sides = list(runners)
    runs, turns, warm_up = {}, {}, {}
    for side, runner in runners.items():
        runner.run(1)
        taken = max(runner.run(1)[0], 1e-9)
        runs[side] = min(max(int(pace.turn / taken), 1), MOST_RUNS)
        warm_up[side] = int(runs[side] > 1)
        affordable = math.floor(pace.patience / (taken * (runs[side] + warm_up[side])))
        least = FEWEST if taken <= pace.patience else 1
        turns[side] = min(pace.rounds, max(least, affordable))
    for k in range(pace.rounds):
        found = {}
        first = k % max(len(sides), 1)
        for side in sides[first:] + sides[:first]:
            if k < turns[side]:
                sleep(pace.pause)
                before = warm_up[side]
                found[side] = median(runners[side].run(runs[side] + before)[before:])
        progress((k + 1) / pace.rounds)
        if found:
            yield {side: found[side] for side in sides if side in found}


def ratio(a: list[float], b: list[float]) -> float:
    """Return the median of a/b over the rounds that have both.

    Turns of one round are close in time, so the ratio is robust to drift of the machine's speed.

    Examples
    --------
    >>> ratio([1.0, 2.0, 4.0], [2.0, 4.0])
    0.5
    """
    pairs = list(zip(a, b, strict=False))
    return median(x / y for x, y in pairs) if pairs else math.nan
