"""Experiments in little: all their runs in this process, then what they say and draw."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import tinygrad_cnn as tg
from tinygrad_cnn.experiments.experiment import Experiment, Record
from tinygrad_cnn.experiments.results import Measurement, Results


def measured(experiment: Experiment, source: str, seeds: int, **changed: Any) -> Results:
    """Do all runs of an experiment here, with some of their arguments changed."""
    rows = []
    with tg.num_threads(1):
        for label, variant in experiment.variants.items():
            for seed in range(seeds):
                record = Record(source)
                experiment.run(record, seed=seed, **{**variant, **changed})
                rows += [Measurement(label, seed, *row) for row in record.rows]
    return Results(experiment.name, rows)


def answers_in_little(experiment: Experiment, results: Results, folder: Path) -> str:
    """See that an experiment answers in words and draws, and return the words."""
    pytest.importorskip("matplotlib", reason="needs the extra plots")
    from matplotlib.figure import Figure

    path = folder / "results.csv"
    results.to_csv(path)
    results = Results.from_csv(path)
    assert results.variants == tuple(experiment.variants)
    found = experiment.finding(results)
    assert not {"nan", "inf"} & set(found.replace("|", " ").split())
    assert found == experiment.finding(results)
    figure = Figure(layout="constrained")
    experiment.figure(results, figure)
    figure.savefig(folder / "figure.svg")
    assert all(axes.lines for axes in figure.axes)
    drawn = {text.get_text() for axes in figure.axes for text in axes.texts}
    labeled = {axes.get_legend() is not None for axes in figure.axes}
    assert drawn or True in labeled  # lines are named beside their ends, or in a legend
    return found
