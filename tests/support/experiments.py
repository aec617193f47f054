"""Experiments in little: all their runs in this process, then their findings and figures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import tinygrad_cnn as tg
from tinygrad_cnn.bench.timing import Pace, alternate
from tinygrad_cnn.experiments import times
from tinygrad_cnn.experiments.experiment import TIMES, Experiment, Record
from tinygrad_cnn.experiments.finding import Finding
from tinygrad_cnn.experiments.results import Measurement, Results
from tinygrad_cnn.experiments.times import OTHERS

SHORT = Pace(rounds=2, turn=0.001, patience=0.1, pause=0.0, repeats=0)


def measured(experiment: Experiment, source: str, seeds: int, **changed: Any) -> Results:
    """Do all runs of an experiment here, with some of their arguments changed.

    Times are measured in two short rounds, which count even if the machine is busy: the load by
    others is left out.
    """
    rows = []
    with tg.num_threads(1), pytest.MonkeyPatch.context() as patch:
        patch.setattr(times, "alternate", lambda runners, pace: alternate(runners, SHORT))
        for label in experiment.labels:
            for seed in range(seeds):
                record = Record(source)
                if label == TIMES and experiment.times is not None:
                    experiment.times(record, seed=seed)
                else:
                    variant = experiment.variants[label]
                    experiment.run(record, seed=seed, **{**variant, **changed})
                rows += [Measurement(label, seed, *row) for row in record.rows if row[1] != OTHERS]
    return Results(experiment.name, rows)


def answers_in_little(experiment: Experiment, results: Results, folder: Path) -> Finding:
    """Check that an experiment has a finding and a figure, and return the finding.

    It is found from a file, so that nothing but the table can count. The numbers of so small a
    measurement mean nothing; tests of findings use tables made by hand.
    """
    pytest.importorskip("matplotlib", reason="needs the extra plots")
    from matplotlib.figure import Figure

    path = folder / "results.csv"
    results.to_csv(path)
    results = Results.from_csv(path)
    assert results.variants == experiment.labels
    found = experiment.finding(results)
    words = [found.text, *(verdict.figure for verdict in found.verdicts)]
    assert not {"nan", "inf"} & set(" ".join(words).replace("|", " ").split())
    figure = Figure(layout="constrained")
    experiment.figure(results, figure)
    figure.savefig(folder / "figure.svg")
    assert all(axes.lines for axes in figure.axes)
    named = any(axes.texts or axes.get_legend() is not None for axes in figure.axes)
    assert named  # beside the ends of the lines, or in a legend
    return found
