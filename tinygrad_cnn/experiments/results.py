"""Measurements of runs as a tidy table: one row per run, step and measure."""

from __future__ import annotations

import csv
import io
import json
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tinygrad_cnn.support.arguments import typed
from tinygrad_cnn.support.files import atomic_write

__all__ = ["Curve", "Measurement", "Numbers", "Results", "Spread"]

COLUMNS = ("experiment", "variant", "seed", "step", "measure", "value")
NEVER = "never"

Numbers = NDArray[np.float64]


class Measurement(NamedTuple):
    """One measure of one run after one step.

    Attributes
    ----------
    variant : str
    seed : int
    step : float
        Epochs, updates, or another unit chosen by the experiment.
    measure : str
    value : float
    """

    variant: str
    seed: int
    step: float
    measure: str
    value: float


@dataclass(frozen=True, slots=True)
class Spread:
    """The median and range over seeds.

    NaN stands for an event that never happened: it sorts above any number and is written "never". A
    spread of no values is written "not measured". A format such as ``.1%`` or ``.3g`` applies to
    each number.

    Examples
    --------
    >>> print(f"{Spread.of([0.985, 0.987, 0.983]):.1%}")
    98.5 % (98.3 to 98.7)
    >>> print(Spread.of([3.0, math.nan, 5.0]))
    5 (3 to never)
    >>> print(Spread.of([7.0]))
    7
    """

    median: float
    low: float
    high: float
    count: int = 1

    @classmethod
    def of(cls, values: ArrayLike) -> Spread:
        """Return the spread of numbers."""
        found = np.asarray(values, np.float64).ravel()
        if not found.size:
            return cls(math.nan, math.nan, math.nan, 0)
        ordered = np.sort(np.where(np.isnan(found), np.inf, found))
        middle = ordered[(ordered.size - 1) // 2], ordered[ordered.size // 2]
        three = (0.5 * (middle[0] + middle[1]), ordered[0], ordered[-1])
        median, low, high = (math.nan if math.isinf(value) else float(value) for value in three)
        return cls(median, low, high, found.size)

    def __format__(self, spec: str) -> str:
        if not self.count:
            return "not measured"
        spec = spec or ".3g"
        median, low, high = (
            NEVER if math.isnan(value) else format(value, spec).replace("%", " %")
            for value in (self.median, self.low, self.high)
        )
        if low == high:
            return median
        return f"{median} ({low.removesuffix(' %')} to {high.removesuffix(' %')})"

    def __str__(self) -> str:
        return format(self, "")


@dataclass(frozen=True, slots=True)
class Curve:
    """One measure of all seeds of a variant, by step; NaN where a seed lacks the step.

    Attributes
    ----------
    seeds : tuple of int
    steps : ndarray, shape (steps,)
    values : ndarray, shape (seeds, steps)
    """

    seeds: tuple[int, ...]
    steps: Numbers
    values: Numbers

    @property
    def median(self) -> Numbers:
        """The median of the seeds that have the step, shape (steps,)."""
        return _over_seeds(np.median, self.values)

    @property
    def low(self) -> Numbers:
        """The lowest value at each step."""
        return _over_seeds(np.min, self.values)

    @property
    def high(self) -> Numbers:
        """The highest value at each step."""
        return _over_seeds(np.max, self.values)


class Results:
    """The rows of an experiment, with their provenance.

    Parameters
    ----------
    experiment : str
        Its name.
    rows : iterable of Measurement
    provenance : mapping
        Versions, machine and code that produced the rows: plain data.

    Raises
    ------
    ValueError
        If a run has two values of one measure at the same step.

    Examples
    --------
    >>> rows = [Measurement("relu", seed, step, "accuracy", 0.5 + step / 10 + seed / 100)
    ...         for seed in (0, 1, 2) for step in (1, 2, 3)]
    >>> results = Results("activations", rows)
    >>> print(f"{Spread.of(results.last('relu', 'accuracy')):.0%}")
    81 % (80 to 82)
    >>> results.first("relu", "accuracy", at_least=0.7)
    array([2., 2., 2.])
    >>> results.curve("relu", "accuracy").values.shape
    (3, 3)
    """

    def __init__(
        self,
        experiment: str,
        rows: Iterable[Measurement],
        provenance: Mapping[str, Any] | None = None,
    ) -> None:
        self.experiment = experiment
        self.rows = tuple(rows)
        self.provenance = dict(provenance or {})
        self._runs: dict[tuple[str, str], dict[int, dict[float, Measurement]]] = {}
        for row in self.rows:
            steps = self._runs.setdefault((row.variant, row.measure), {}).setdefault(row.seed, {})
            if row.step in steps:
                raise ValueError(
                    f"{experiment}: {row.variant}, seed {row.seed}: {row.measure} is given twice "
                    f"for step {row.step:g}"
                )
            steps[row.step] = row

    @property
    def variants(self) -> tuple[str, ...]:
        """The labels of the variants with rows, in row order."""
        return tuple(dict.fromkeys(row.variant for row in self.rows))

    @property
    def measures(self) -> tuple[str, ...]:
        """The names of the measures, in row order."""
        return tuple(dict.fromkeys(row.measure for row in self.rows))

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seeds, sorted."""
        return tuple(sorted({row.seed for row in self.rows}))

    def has(self, variant: str, measure: str) -> bool:
        """Return whether any run of a variant has a measure."""
        return (variant, measure) in self._runs

    def curve(self, variant: str, measure: str) -> Curve:
        """Return one measure of a variant over its steps, for every seed.

        Raises
        ------
        KeyError
            If no run has the measure.
        """
        runs = self._of(variant, measure)
        steps = sorted({step for rows in runs.values() for step in rows})
        found = [
            [rows[step].value if step in rows else math.nan for step in steps]
            for rows in runs.values()
        ]
        return Curve(tuple(runs), np.array(steps, np.float64), np.array(found, np.float64))

    def last(self, variant: str, measure: str) -> Numbers:
        """Return the value at the last step, for each seed; KeyError if no run has the measure."""
        return np.array([rows[max(rows)].value for rows in self._of(variant, measure).values()])

    def first(
        self,
        variant: str,
        measure: str,
        at_least: float = -math.inf,
        at_most: float = math.inf,
    ) -> Numbers:
        """Return the first step with a measure within bounds, for each seed; NaN if there is none.

        Parameters
        ----------
        variant, measure : str
        at_least, at_most : float
            The bounds.

        Raises
        ------
        KeyError
            If no run has the measure.
        """
        curve = self.curve(variant, measure)
        reached = (curve.values >= at_least) & (curve.values <= at_most)
        found: Numbers = curve.steps[reached.argmax(axis=1)]
        found[~reached.any(axis=1)] = math.nan
        return found

    def to_csv(self, path: str | os.PathLike[str]) -> None:
        """Write a CSV file atomically.

        Its first line is ``# `` and the provenance as JSON, the second the column names. Values
        have all their digits.

        Raises
        ------
        OSError
            If it cannot be written.
        """
        with atomic_write(path) as file:
            file.write(self.to_text().encode())

    def to_text(self) -> str:
        """Return the text of the CSV file; see `to_csv`."""
        text = io.StringIO(newline="")
        text.write(f"# {json.dumps(self.provenance, ensure_ascii=False, sort_keys=True)}\n")
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(
            (self.experiment, row.variant, row.seed, f"{row.step:.12g}", row.measure,
             repr(float(row.value)))
            for row in self.rows
        )  # fmt: skip
        return text.getvalue()

    @classmethod
    def from_csv(cls, path: str | os.PathLike[str]) -> Results:
        """Read a file written by `to_csv`.

        Raises
        ------
        ValueError
            If the file has another format: the message names file and line.
        OSError
            If it cannot be read.
        """
        line = 1
        rows = []
        names = set()
        try:
            with open(path, encoding="utf-8", newline="") as file:
                head = file.readline()
                if not head.startswith("# {"):
                    raise ValueError("expected '# ' and what the rows come from, as JSON")
                provenance = json.loads(head[2:])
                typed("results", "what the rows come from", provenance, dict)
                lines = csv.reader(file)
                line = 2
                header = next(lines, [])
                if tuple(header) != COLUMNS:
                    raise ValueError(f"the columns are {header}, expected {list(COLUMNS)}")
                for cells in lines:
                    line += 1
                    name, variant, seed, step, measure, value = cells
                    names.add(name)
                    rows.append(Measurement(variant, int(seed), float(step), measure, float(value)))
            if len(names) != 1:
                raise ValueError(f"holds rows of {sorted(names)}, expected those of one experiment")
            return cls(names.pop(), rows, provenance)
        except (ValueError, RecursionError, csv.Error) as error:
            raise ValueError(f"{path}: line {line}: {error}") from error

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Results):
            return NotImplemented
        return self.to_text() == other.to_text()

    __hash__ = None  # type: ignore[assignment]  # provenance can be changed

    def _of(self, variant: str, measure: str) -> dict[int, dict[float, Measurement]]:
        try:
            runs = self._runs[variant, measure]
        except KeyError:
            raise KeyError(f"{self.experiment}: no run of {variant!r} has {measure!r}") from None
        return dict(sorted(runs.items()))


def _over_seeds(function: Any, values: Numbers) -> Numbers:
    """Apply a function over the seeds that are not NaN, for each step; NaN if there are none."""
    columns: Sequence[Numbers] = [column[~np.isnan(column)] for column in values.T]
    return np.array([function(column) if column.size else math.nan for column in columns])
