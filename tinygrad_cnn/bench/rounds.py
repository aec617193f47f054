"""Alternation: all sides take turns, so that what the machine does meanwhile meets them alike."""

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
    """What takes turns."""

    def run(self, times: int) -> list[float]:
        """Run so many times, and return the seconds of each."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How long is measured.

    Attributes
    ----------
    rounds : int
        How many turns each side gets.
    turn : float
        How many seconds a turn takes about: as many runs as fit, at least one.
    patience : float
        How many seconds a side may take in all; a slower one gets fewer turns: at least three, or
        one if a single run takes longer than that.
    limit : float
        How many seconds a single run may take; a side that is slower takes no part.
    pause : float
        Seconds between turns, in which the threads of the last side stop spinning.
    """

    rounds: int = 11
    turn: float = 0.2
    patience: float = 6.0
    limit: float = 20.0
    pause: float = 0.03


def alternate(
    runners: Mapping[S, Runner], pace: Pace, progress: Callable[[float], None] = lambda share: None
) -> Iterator[dict[S, float]]:
    """Let sides take turns; yield for each round the median seconds of a run, by side.

    Before the first round each side runs twice untimed, and before each turn of several runs once:
    what a library does once, and what other sides have driven from the caches, is not measured. The
    order turns from round to round, so that nobody always follows the same neighbour.

    Parameters
    ----------
    runners : mapping
        By side.
    pace : Pace
    progress : callable
        Told the share of the rounds that is done.
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
    """Return the median of a/b over the rounds that both took part in.

    Turns of one round are neighbours in time: their ratio holds where the machine's speed drifts.

    Examples
    --------
    >>> ratio([1.0, 2.0, 4.0], [2.0, 4.0])
    0.5
    """
    pairs = list(zip(a, b, strict=False))
    return median(x / y for x, y in pairs) if pairs else math.nan
