"""The folder of finished runs: a file for each, so that none is done twice or counted twice."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tinygrad_cnn.experiments.experiment import Experiment, slug
from tinygrad_cnn.experiments.fingerprint import DIGITS, difference, provenance
from tinygrad_cnn.experiments.results import Results

__all__ = ["Run", "Runs", "RunsError"]


class RunsError(ValueError):
    """Finished runs are not what they would have to be to stand in one figure with others."""


@dataclass(frozen=True)
class Run:
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
    def arguments(self) -> Mapping[str, Any]:
        """What the experiment's `run` is given, besides the seed."""
        return self.experiment.variants[self.variant]

    @property
    def provenance(self) -> dict[str, Any]:
        """What its figures come from if it is done here and now."""
        return provenance(self.experiment.run, self.arguments)

    def __str__(self) -> str:
        return f"{self.experiment.name}: {self.variant}, seed {self.seed}"


class Runs:
    """Finished runs in ``FOLDER/<experiment>/<variant>--seed<n>.csv``.

    A file appears when its run is complete, whole, so a run counts once or not at all wherever the
    work was cut off.

    Parameters
    ----------
    folder : path-like
        Is made when the first run is kept.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)

    def path(self, run: Run) -> Path:
        """Return where a finished run is kept."""
        return self.folder / run.experiment.name / f"{slug(run.variant)}--seed{run.seed}.csv"

    def saved(self, run: Run) -> Path:
        """Return where a run that is under way saves its state: another place for other code."""
        return self.path(run).with_suffix(f".{run.provenance['code']}.state")

    def of(self, experiment: Experiment, seeds: int | None = None) -> list[Run]:
        """Return all runs of an experiment: of each variant the first seed, then the second.

        Parameters
        ----------
        experiment : Experiment
        seeds : int, optional
            How many of each variant; by default as the experiment says.
        """
        return [
            Run(experiment, variant, seed)
            for seed in range(experiment.seeds if seeds is None else seeds)
            for variant in experiment.variants
        ]

    def missing(self, experiment: Experiment, seeds: int | None = None) -> list[Run]:
        """Return the runs that are not done, as `of` orders them.

        Raises
        ------
        RunsError
            If a run that is there comes from another version, machine or code.
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

        Wherever they were measured, all must come from one place, and from the experiment's code as
        it is.

        Parameters
        ----------
        experiment : Experiment
        seeds : int, optional
            How many of each variant at most; by default all that are there.

        Raises
        ------
        RunsError
            If they do not, or there is none.
        """
        place = {variant: k for k, variant in enumerate(experiment.variants)}
        if seeds is None:
            names = (path.stem for path in (self.folder / experiment.name).glob("*--seed*.csv"))
            kept = [int(name.rpartition("--seed")[2]) for name in names]
            seeds = 1 + max(kept, default=0)
        runs = [run for run in self.of(experiment, seeds) if self.path(run).exists()]
        runs.sort(key=lambda run: (place[run.variant], run.seed))
        if not runs:
            raise RunsError(f"{self.folder}: holds no run of {experiment.name}")
        found = [self._read(run) for run in runs]
        for run, results in zip(runs, found, strict=True):
            code = run.provenance["code"]
            self._compare(run, results, {**found[0].provenance, "code": code})
        codes = dict.fromkeys(results.provenance["code"] for results in found)
        joined = hashlib.sha256("".join(codes).encode()).hexdigest()[:DIGITS]
        rows = [row for results in found for row in results.rows]
        return Results(experiment.name, rows, {**found[0].provenance, "code": joined})

    def _read(self, run: Run) -> Results:
        try:
            return Results.from_csv(self.path(run))
        except ValueError as error:
            raise RunsError(f"{error}; remove it to do that run again") from error

    def _compare(self, run: Run, results: Results, expected: Mapping[str, Any]) -> None:
        path = self.path(run)
        other = difference(results.provenance, expected)
        if other:
            raise RunsError(
                f"{path}: comes from {other}; runs are never mixed: move {path.parent} away to "
                "measure anew, or name another folder with --out"
            )
