"""Time estimates for runs, based on finished ones."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from statistics import fmean
from time import perf_counter

from tinygrad_cnn.experiments.running import Outcome, Watcher
from tinygrad_cnn.experiments.runs import ExperimentRun

__all__ = ["TimeLeft"]

HARDLY = 0.02  # share of a run needed to extrapolate its duration


class TimeLeft(Watcher):
    """Watcher that estimates the remaining time of runs.

    The estimate is the mean over finished runs of the variant, else of the experiment, else of any.

    Parameters
    ----------
    runs : iterable of ExperimentRun
        The runs to do.
    jobs : int
        Number of parallel runs.
    clock : callable
        Returns seconds from an arbitrary origin.

    Examples
    --------
    >>> from tinygrad_cnn.experiments.gallery import find
    >>> from tinygrad_cnn.experiments.running import DONE
    >>> now = [0.0]
    >>> runs = [ExperimentRun(find("activations"), "relu, 1 layer", seed) for seed in range(4)]
    >>> left = TimeLeft(runs, jobs=1, clock=lambda: now[0])
    >>> left.began(runs[0])
    >>> now[0] = 10.0
    >>> left.ended(Outcome(runs[0], DONE))
    >>> left.seconds()
    30.0
    """

    def __init__(
        self, runs: Iterable[ExperimentRun], jobs: int, clock: Callable[[], float] = perf_counter
    ) -> None:
        self.waiting = dict.fromkeys(runs)
        self.jobs = jobs
        self.clock = clock
        self.working: dict[ExperimentRun, tuple[float, float]] = {}
        self.took: dict[str, list[float]] = {}

    def began(self, run: ExperimentRun) -> None:
        """Record the start of a run."""
        self.waiting.pop(run, None)
        self.working[run] = self.clock(), math.nan

    def went_on(self, run: ExperimentRun, share: float) -> None:
        """Record the share of a run that is done."""
        self.working[run] = self.working[run][0], share

    def ended(self, outcome: Outcome) -> None:
        """Record the duration of a finished run."""
        seconds = self.clock() - self.working.pop(outcome.run)[0]
        for key in _keys(outcome.run):
            self.took.setdefault(key, []).append(seconds)

    def share(self, run: ExperimentRun) -> float:
        """Return the share done of an unfinished run; NaN if unknown."""
        began, share = self.working[run]
        if not math.isnan(share):
            return share
        return min((self.clock() - began) / self._whole(run), 0.99)

    def seconds(self) -> float:
        """Return the estimated seconds of all unfinished runs; NaN if unknown."""
        under_way = [
            max(self._whole(run) - (self.clock() - began), 0.0)
            for run, (began, _) in self.working.items()
        ]
        left = sum(under_way) + sum(map(self._whole, self.waiting))
        return max([left / self.jobs, *under_way])

    def _whole(self, run: ExperimentRun) -> float:
        """Estimate the total seconds of a run."""
        began, share = self.working.get(run, (0.0, math.nan))
        if share > HARDLY:
            return (self.clock() - began) / share
        for key in _keys(run):
            if key in self.took:
                return fmean(self.took[key])
        known = [self._whole(other) for other in self.working if self.working[other][1] > HARDLY]
        return fmean(known) if known else math.nan


def _keys(run: ExperimentRun) -> tuple[str, ...]:
    return f"{run.experiment.name}: {run.variant}", run.experiment.name, ""
