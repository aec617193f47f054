"""Timing for benchmarks and experiments: sides take turns, on a machine that does nothing else.

All sides are warmed up and alternate in rounds, so that a drift of the machine's speed affects them
equally. A round in which other processes kept the machine busy is marked, and repeated.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import perf_counter, sleep
from typing import Any, Generic, Protocol, TypeVar

from tinygrad_cnn.bench.worker.clock import seconds_of

__all__ = ["BUSY", "OtherLoad", "Pace", "Round", "Runner", "TimedCall", "alternate", "ratio"]

FEWEST, MOST_RUNS = 5, 400
BUSY = 0.2  # cores that other processes may use in a quiet round

S = TypeVar("S")


class Runner(Protocol):
    """Anything that can be timed in turns."""

    def run(self, times: int) -> list[float]:
        """Run `times` times and return the seconds of each run."""


@dataclass(frozen=True, slots=True)
class TimedCall:
    """A call to be timed in turns.

    Examples
    --------
    >>> len(TimedCall(lambda: sum(range(1000))).run(3))
    3
    """

    call: Callable[[], Any]

    def run(self, times: int) -> list[float]:
        """Call `times` times and return the seconds of each call."""
        return [seconds_of(self.call) for _ in range(times)]


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
        Maximum total seconds per side. A slower side gets fewer turns: at least five, or one if a
        single run takes longer than that.
    limit : float
        Maximum seconds of a single run; a slower side is skipped.
    pause : float
        Seconds between turns, for the previous side's threads to stop spinning.
    repeats : int
        Maximum number of busy rounds to repeat.
    """

    rounds: int = 11
    turn: float = 0.2
    patience: float = 6.0
    limit: float = 20.0
    pause: float = 0.03
    repeats: int = 5


@dataclass(frozen=True, slots=True)
class Round(Generic[S]):
    """The timings of one round.

    Attributes
    ----------
    seconds : dict
        The median seconds per run of each side.
    others : float
        The number of cores that other processes used meanwhile; NaN if unknown.
    """

    seconds: dict[S, float]
    others: float = math.nan

    @property
    def busy(self) -> bool:
        """Whether other processes used more than `BUSY` cores."""
        return self.others > BUSY


class OtherLoad:
    """The number of cores that other processes use, between calls of `lap`.

    This process and its descendants do not count. Known on Linux, from /proc; elsewhere NaN.

    Examples
    --------
    >>> load = OtherLoad()
    >>> used = load.lap()
    >>> math.isnan(used) or used >= 0.0
    True
    """

    def __init__(self) -> None:
        self._before = self._now()

    def lap(self) -> float:
        """Return the number of cores used by others since the last lap, or the start."""
        before, self._before = self._before, self._now()
        seconds, used = (now - then for now, then in zip(self._before, before, strict=True))
        return max(used / seconds, 0.0) if seconds > 0 else math.nan

    @staticmethod
    def _now() -> tuple[float, float]:
        """Return the time, and the processor seconds of all other processes so far."""
        if not Path("/proc/stat").exists():
            return math.nan, math.nan
        per_second = os.sysconf("SC_CLK_TCK")
        user, nice, system, _, _, irq, softirq, steal, *_ = map(
            int, Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]
        )
        used = user + nice + system + irq + softirq + steal
        return perf_counter(), (used - _own_ticks()) / per_second


def _own_ticks() -> int:
    """Return the processor time of this process and its descendants, ended ones included."""
    parents, ticks = {}, {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:  # it has ended
            continue
        pid = int(path.parent.name)
        parents[pid] = int(fields[1])
        ticks[pid] = sum(map(int, fields[11:15]))  # user and system; its own, its ended children's
    own = {os.getpid()}
    while more := {pid for pid, parent in parents.items() if parent in own} - own:
        own |= more
    return sum(ticks.get(pid, 0) for pid in own)


def alternate(
    runners: Mapping[S, Runner], pace: Pace, progress: Callable[[float], None] = lambda share: None
) -> Iterator[Round[S]]:
    """Alternate sides; yield the median seconds per run of each side, round by round.

    Warm-up: two untimed runs of each side before the first round, and one before each turn of
    several runs. This excludes one-time setup and caches evicted by other sides. The order rotates
    from round to round, so that no side always has the same position. For every busy round there is
    another round, up to `pace.repeats`.

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
    k, repeated = 0, 0
    load = OtherLoad()
    while k < pace.rounds:
        found = {}
        first = (k + repeated) % max(len(sides), 1)
        load.lap()
        for side in sides[first:] + sides[:first]:
            if k < turns[side]:
                sleep(pace.pause)
                before = warm_up[side]
                found[side] = median(runners[side].run(runs[side] + before)[before:])
        this = Round({side: found[side] for side in sides if side in found}, load.lap())
        if this.busy and repeated < pace.repeats:
            repeated += 1
        else:
            k += 1
        progress(k / pace.rounds)
        if found:
            yield this


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
