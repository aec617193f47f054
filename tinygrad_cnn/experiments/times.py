"""Seconds of an experiment: sides measured in turns, on a machine that does nothing else."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from tinygrad_cnn.bench.timing import BUSY, Pace, TimedCall, alternate
from tinygrad_cnn.experiments.experiment import TIMES, Record
from tinygrad_cnn.experiments.results import Numbers, Results

__all__ = ["busy_rounds", "ratios", "record_times", "seconds"]

OTHERS = "other load"


def record_times(
    record: Record, calls: Mapping[str, Callable[[], Any]], pace: Pace | None = None
) -> None:
    """Time calls in turns, and record every round.

    The step is the number of the round. The measures are ``seconds of <label>`` and ``other load``:
    the number of cores that other processes used in this round.

    Parameters
    ----------
    record : Record
    calls : mapping
        The calls by label. Each should take at least some microseconds.
    pace : Pace, optional
    """
    pace = pace or Pace()
    runners = {label: TimedCall(call) for label, call in calls.items()}
    record.steps = pace.rounds
    for number, found in enumerate(alternate(runners, pace), start=1):
        record_round(record, number, found.seconds, found.others)


def record_round(record: Record, number: int, seconds: Mapping[str, float], others: float) -> None:
    """Record the seconds of each side in one round, and the load by other processes."""
    known = {} if np.isnan(others) else {OTHERS: others}
    record(number, **{_measure(label): taken for label, taken in seconds.items()}, **known)


def seconds(results: Results, label: str, variant: str = TIMES) -> Numbers:
    """Return the median seconds over the quiet rounds, for each seed that has one."""
    return _over_rounds(*_quiet(results, variant, label))


def ratios(results: Results, a: str, b: str, variant: str = TIMES) -> Numbers:
    """Return how many times as long `a` takes as `b`: the median over the quiet rounds.

    A slow side has fewer rounds than a fast one: those of both count.

    Returns
    -------
    ndarray
        A value for each seed that has a quiet round.
    """
    above, below = _quiet(results, variant, a, b)
    return _over_rounds(above / below)


def busy_rounds(results: Results) -> int:
    """Return the number of rounds that are left out, because the machine was busy."""
    return sum(len(_busy(results, variant)) for variant in results.variants)


def _busy(results: Results, variant: str) -> set[tuple[int, float]]:
    """Return seed and number of the busy rounds."""
    return {
        (row.seed, row.step)
        for row in results.rows
        if (row.variant, row.measure) == (variant, OTHERS) and row.value > BUSY
    }


def _quiet(results: Results, variant: str, *labels: str) -> list[Numbers]:
    """Return seconds by label in the rounds of all, shape (seeds, rounds); NaN in busy rounds."""
    curves = [results.curve(variant, _measure(label)) for label in labels]
    rounds = sorted(set.intersection(*(set(curve.steps.tolist()) for curve in curves)))
    busy = _busy(results, variant)
    left_out = [[(seed, step) in busy for step in rounds] for seed in curves[0].seeds]
    found = [curve.values[:, np.isin(curve.steps, rounds)] for curve in curves]
    return [np.where(left_out, np.nan, values) for values in found]


def _over_rounds(values: Numbers) -> Numbers:
    medians = [np.median(row[~np.isnan(row)]) for row in values if not np.isnan(row).all()]
    return np.array(medians, np.float64)


def _measure(label: str) -> str:
    return f"seconds of {label}"
