"""The folder of finished runs: one file each, so that no run is repeated or counted twice."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tinygrad_cnn.experiments.experiment import TIMES, Experiment, slug
from tinygrad_cnn.experiments.fingerprint import DIGITS, difference, fingerprint, provenance
from tinygrad_cnn.experiments.results import Results

__all__ = ["ExperimentRun", "FinishedRuns", "RunsError", "code_of"]


MOST_SEEDS = 10_000


class RunsError(ValueError):
    """The finished runs cannot be combined in one figure."""


@dataclass(frozen=True)
class ExperimentRun:
    """One run of an experiment: a variant with a seed.

    Attributes
    ----------
    experiment : Experiment
    variant : str
        Its label.
    seed : int
    """

    experiment: Experiment
    variant: str
    seed: int

    @property
    def function(self) -> Callable[..., None]:
        """The function that does the run."""
        times = self.experiment.times
        return times if times is not None and self.variant == TIMES else self.experiment.run

    @property
    def arguments(self) -> Mapping[str, Any]:
        """Its keyword arguments, besides the seed."""
        return self.experiment.variants.get(self.variant, {})

    @property
    def alone(self) -> bool:
        """Whether it measures seconds, so that no other run may share the machine."""
        return self.experiment.alone or self.variant not in self.experiment.variants

    @property
    def provenance(self) -> dict[str, Any]:
        """The provenance of the run if executed now on this machine."""
        return provenance(self.function, self.arguments)

    def __str__(self) -> str:
        return f"{self.experiment.name}: {self.variant}, seed {self.seed}"


def code_of(experiment: Experiment, variants: Iterable[str]) -> str:
    """Return the digest of the present code of some variants; a table records it."""
    runs = [ExperimentRun(experiment, variant, 0) for variant in dict.fromkeys(variants)]
    codes = dict.fromkeys(fingerprint(run.function, run.arguments) for run in runs)
    return hashlib.sha256("".join(codes).encode()).hexdigest()[:DIGITS]


class FinishedRuns:
    """Finished runs in ``FOLDER/<experiment>/<variant>--seed<n>.csv``.

    The file of a run appears, whole, once the run is complete, so an interrupted run never counts.

    Parameters
    ----------
    folder : path-like
        Created when the first run is saved.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)

    def path(self, run: ExperimentRun) -> Path:
        """Return the path of a finished run."""
        return self.folder / run.experiment.name / f"{slug(run.variant)}--seed{run.seed}.csv"

    def saved(self, run: ExperimentRun) -> Path:
        """Return the path of an unfinished run's state; it depends on the code."""
        return self.path(run).with_suffix(f".{run.provenance['code']}.state")

    def of(self, experiment: Experiment, seeds: int | None = None) -> list[ExperimentRun]:
        """Return all runs of an experiment: the first seed of each variant, then the second, ...

        Parameters
        ----------
        experiment : Experiment
        seeds : int, optional
            Number per variant; by default the experiment's.
        """
        if seeds is not None and seeds > MOST_SEEDS:
            raise ValueError(
                f"{experiment.name}: {seeds} seeds of each variant, expected {MOST_SEEDS} at most"
            )
        counts = {
            label: experiment.seeds_of(label) if seeds is None else seeds
            for label in experiment.labels
        }
        return [
            ExperimentRun(experiment, label, experiment.first_seed + seed)
            for seed in range(max(counts.values()))
            for label, count in counts.items()
            if seed < count
        ]

    def missing(self, experiment: Experiment, seeds: int | None = None) -> list[ExperimentRun]:
        """Return the runs that are not done, in the order of `of`.

        Raises
        ------
        RunsError
            If an existing run has another version, machine or code.
        """
        absent = []
        for run in self.of(experiment, seeds):
            now = run.provenance
            if self.path(run).exists():
                self._compare(run, self._read(run), now)
            else:
                absent.append(run)
        return absent

    def results(self, experiment: Experiment, seeds: int | None = None) -> Results:
        """Return the rows of finished runs of an experiment, in the order of its variants.

        All runs must have the same provenance, wherever they were measured, and the experiment's
        current code.

        Parameters
        ----------
        experiment : Experiment
        seeds : int, optional
            Maximum number per variant; by default all existing ones, except that a further seed
            than the experiment's counts only if all variants have it, unless they are separate.

        Raises
        ------
        RunsError
            If the provenance differs, or there are no runs.
        """
        place = {variant: k for k, variant in enumerate(experiment.labels)}
        if seeds is None:
            names = (path.stem for path in (self.folder / experiment.name).glob("*--seed*.csv"))
            kept = [int(name.rpartition("--seed")[2]) for name in names]
            seeds = max(1 + max(kept, default=0) - experiment.first_seed, 1)
        runs = [run for run in self.of(experiment, seeds) if self.path(run).exists()]
        if not experiment.separate:
            done = Counter(run.seed for run in runs)
            runs = [
                run
                for run in runs
                if run.seed - experiment.first_seed < experiment.seeds_of(run.variant)
                or done[run.seed] == len(experiment.labels)
            ]
        runs.sort(key=lambda run: (place[run.variant], run.seed))
        if not runs:
            raise RunsError(f"{self.folder}: holds no run of {experiment.name}")
        found = [self._read(run) for run in runs]
        for run, results in zip(runs, found, strict=True):
            code = run.provenance["code"]
            self._compare(run, results, {**found[0].provenance, "code": code})
        rows = [row for results in found for row in results.rows]
        code = code_of(experiment, (run.variant for run in runs))
        return Results(experiment.name, rows, {**found[0].provenance, "code": code})

    def _read(self, run: ExperimentRun) -> Results:
        try:
            return Results.from_csv(self.path(run))
        except ValueError as error:
            raise RunsError(f"{error}; remove it to do that run again") from error

    def _compare(self, run: ExperimentRun, results: Results, expected: Mapping[str, Any]) -> None:
        path = self.path(run)
        other = difference(results.provenance, expected)
        if other:
            raise RunsError(
                f"{path}: comes from {other}; runs are never mixed: move {path.parent} away to "
                "measure again, or choose another folder with --out"
            )
