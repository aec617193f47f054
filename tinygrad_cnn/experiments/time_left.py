"""How long runs will take, judging by those that are done."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from statistics import fmean
from time import perf_counter

from tinygrad_cnn.experiments.running import Outcome, Watcher
from tinygrad_cnn.experiments.runs import Run

__all__ = ["TimeLeft"]

HARDLY = 0.02  # share of a run from which on it tells how long it takes


class TimeLeft(Watcher):
    """Watches runs, and says how long the rest will take.

    A run takes as long as others of its variant did, or else of its experiment, or else of any.

    Parameters
    ----------
    runs : iterable of Run
        Those that are to be done.
    jobs : int
        How many are done side by side.
    clock : callable
        Gives the seconds since some moment.

    Examples
    --------
    >>> from tinygrad_cnn.experiments.gallery import find
    >>> from tinygrad_cnn.experiments.running import DONE
    >>> now = [0.0]
    >>> runs = [Run(find("activations"), "relu, 1 layer", seed) for seed in range(4)]
    >>> left = TimeLeft(runs, jobs=1, clock=lambda: now[0])
    >>> left.began(runs[0])
    >>> now[0] = 10.0
    >>> left.ended(Outcome(runs[0], DONE))
    >>> left.seconds()
    30.0
    """

    def __init__(
        self, runs: Iterable[Run], jobs: int, clock: Callable[[], float] = perf_counter
    ) -> None:
        self.waiting = dict.fromkeys(runs)
        self.jobs = jobs
        self.clock = clock
        self.working: dict[Run, tuple[float, float]] = {}
        self.took: dict[str, list[float]] = {}

    def began(self, run: Run) -> None:
        """Take note of when it began."""
        self.waiting.pop(run, None)
        self.working[run] = self.clock(), math.nan

    def went_on(self, run: Run, share: float) -> None:
        """Take note of its share."""
        self.working[run] = self.working[run][0], share

    def ended(self, outcome: Outcome) -> None:
        """Take note of how long it took."""
        seconds = self.clock() - self.working.pop(outcome.run)[0]
        for key in _keys(outcome.run):
            self.took.setdefault(key, []).append(seconds)

    def share(self, run: Run) -> float:
        """Return the share of a run under way that is done; NaN if nothing tells."""
        began, share = self.working[run]
        if not math.isnan(share):
            return share
        return min((self.clock() - began) / self._whole(run), 0.99)

    def seconds(self) -> float:
        """Return how long all that is not done will take; NaN if nothing tells."""
        under_way = [
            max(self._whole(run) - (self.clock() - began), 0.0)
            for run, (began, _) in self.working.items()
        ]
        left = sum(under_way) + sum(map(self._whole, self.waiting))
        return max([left / self.jobs, *under_way])

    def _whole(self, run: Run) -> float:
        """Return how long a run takes from its beginning."""
        began, share = self.working.get(run, (0.0, math.nan))
        if share > HARDLY:
            return (self.clock() - began) / share
        for key in _keys(run):
            if key in self.took:
                return fmean(self.took[key])
        known = [self._whole(other) for other in self.working if self.working[other][1] > HARDLY]
        return fmean(known) if known else math.nan


def _keys(run: Run) -> tuple[str, ...]:
    return f"{run.experiment.name}: {run.variant}", run.experiment.name, ""
