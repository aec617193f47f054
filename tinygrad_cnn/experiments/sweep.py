"""A sweep: an experiment whose variants are settings of training."""

from __future__ import annotations

import csv
import io
import os
import sys
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from itertools import cycle
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygrad_cnn.experiments.experiment import Experiment, Record
from tinygrad_cnn.experiments.figures import COLORS, draw_curve
from tinygrad_cnn.experiments.finding import Finding
from tinygrad_cnn.experiments.results import Numbers, Results
from tinygrad_cnn.support.files import atomic_write
from tinygrad_cnn.support.text import markdown_table
from tinygrad_cnn.train import (
    Callback,
    History,
    Progress,
    RunFolder,
    TrainingDiverged,
    TrainingInterrupted,
    TrainingRun,
    TrainingSettings,
)
from tinygrad_cnn.train.early_stopping import LARGER_IS_BETTER
from tinygrad_cnn.train.settings import MONITORS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["check_compared", "metric_of", "ranking", "runs_to_csv", "sweep", "table"]

BEST, EPOCH, DIVERGED, TEST = "best", "best_epoch", "diverged", "test_accuracy"


def sweep(variants: Mapping[str, Mapping[str, Any]], seeds: int = 3) -> Experiment:
    """Return the experiment that trains with several settings.

    Each run trains in a folder of its own, beside its results: an interrupted one resumes from its
    checkpoint. Runs are compared by the metric that ``monitor`` names, by default the loss, of the
    validation set in the best epoch. A run without a validation set fails: the test set is only for
    the end.

    Parameters
    ----------
    variants : mapping
        By label: ``data``, ``model`` and ``training``, and if needed ``options``, ``size`` and
        ``grayscale``, as for `TrainingRun.new`. All have the same ``monitor`` and the same seed,
        that of their first run; those of the others follow.
    seeds : int
        The number of runs per variant.

    Raises
    ------
    ValueError
        If there is no variant, or they have different monitors or seeds.

    Examples
    --------
    >>> experiment = sweep({
    ...     f"lr {lr}": {"data": "digits", "model": "mlp", "training": TrainingSettings(lr=lr)}
    ...     for lr in (0.001, 0.01)
    ... })
    >>> experiment.labels, experiment.seeds
    (('lr 0.001', 'lr 0.01'), 3)
    """
    trainings = [arguments["training"] for arguments in variants.values()]
    monitors = {metric_of(training) for training in trainings}
    if len(monitors) > 1:
        raise ValueError(f"sweep: the monitors are {', '.join(sorted(monitors))}; expected one")
    first = {training.seed for training in trainings}
    if len(first) > 1:
        raise ValueError(f"sweep: the seeds are {', '.join(map(str, sorted(first)))}; expected one")
    metric = next(iter(monitors), "")
    seedless = {  # a run with the same seed is the same run, whichever seed was the first
        label: {**arguments, "training": replace(arguments["training"], seed=0)}
        for label, arguments in variants.items()
    }
    return Experiment(
        name="sweep",
        question="Which settings are best?",
        variants=seedless,
        run=run,
        figure=partial(_figure, metric=metric),
        finding=partial(_finding, metric=metric),
        seeds=seeds,
        first_seed=next(iter(first), 0),
        source=next((str(arguments["data"]) for arguments in variants.values()), ""),
        separate=True,
    )


def run(
    record: Record,
    *,
    seed: int,
    data: str,
    model: str,
    training: TrainingSettings,
    options: Mapping[str, Any] | None = None,
    size: tuple[int, int] | None = None,
    grayscale: bool | None = None,
    digest: str = "",
) -> None:
    """Train once, or finish a training that was interrupted; `digest` is of the model's file."""
    settings = replace(training, seed=seed)
    folder = RunFolder(record.folder)
    record.steps = settings.epochs
    if folder.settings.exists() or folder.checkpoints:
        trained = TrainingRun.resumed(folder)
        if trained.settings.training != settings.with_metrics_of(model):
            raise ValueError(f"{folder.path}: is a run with other settings; move it away")
    else:
        trained = TrainingRun.new(data, model, settings, options, size=size, grayscale=grayscale)
        check_compared(trained)
        folder.path.mkdir(parents=True, exist_ok=True)
    try:
        trained.train(folder, [_Follower(record)])
    except TrainingInterrupted as error:
        sys.exit(128 + error.signal)
    except TrainingDiverged as error:
        record(error.epoch, **{DIVERGED: 1.0})
    for row in trained.history:
        values = {name: value for name, value in row.as_dict().items() if value is not None}
        record(values.pop("epoch"), **values)
    if not trained.history or any(measure == DIVERGED for _, measure, _ in record.rows):
        return
    assert trained.best is not None
    epoch = trained.best.best_epoch
    value = trained.history.column(f"validation_{metric_of(settings)}")[epoch - 1]
    final = {BEST: value, EPOCH: float(epoch), TEST: trained.test().accuracy}
    record(len(trained.history), **final)


def check_compared(run: TrainingRun) -> None:
    """Raise ValueError if a run has no validation set to be compared by."""
    if run.validation_loader is None:
        raise ValueError(
            "sweep: val_split is 0: settings would be compared by the test images, which are only "
            "for the end; leave --val-split out, or give a fraction such as 0.1"
        )


class _Follower(Callback):
    def __init__(self, record: Record) -> None:
        self.record = record

    def batch(self, progress: Progress) -> None:
        share = progress.batch / progress.batches if progress.batches else 0.0
        self.record.progress(progress.epoch - 1 + share)

    def epoch(self, history: History) -> None:
        self.record.progress(len(history))


def ranking(results: Results, metric: str) -> list[str]:
    """Return the variants, best mean first; those of which a run diverged last."""
    sign = -1.0 if metric in LARGER_IS_BETTER else 1.0

    def place(variant: str) -> tuple[bool, float]:
        values = _values(results, variant, BEST)
        bad = results.has(variant, DIVERGED) or not values.size or bool(np.isnan(values).any())
        return bad, 0.0 if bad else sign * float(values.mean())

    return sorted(results.variants, key=place)


def table(
    results: Results, metric: str, failed: Mapping[str, int] = MappingProxyType({})
) -> list[list[str]]:
    """Return a row of names, then a row per variant, best first: mean ± standard deviation.

    Parameters
    ----------
    results : Results
    metric : str
    failed : mapping of str to int
        By label of a variant, how many of its runs have failed: they are not in `results`.
    """
    rows = [["", f"validation {metric}", "test accuracy", "best epoch", "runs", ""]]
    ranked = ranking(results, metric)
    found = {variant: _values(results, variant, BEST) for variant in ranked}
    means = {
        variant: float(values.mean())
        for variant, values in found.items()
        if values.size and not results.has(variant, DIVERGED)
    }
    best = [variant for variant in means if means[variant] == means.get(ranked[0])]
    for variant in [*ranked, *(variant for variant in failed if variant not in ranked)]:
        diverged = _values(results, variant, DIVERGED).size
        notes = {
            "best" if len(best) == 1 else "tied for best": variant in best,
            f"{diverged} diverged": diverged,
            f"{failed.get(variant)} failed": failed.get(variant),
        }
        runs = len({row.seed for row in results.rows if row.variant == variant})
        epochs = _values(results, variant, EPOCH)
        rows.append(
            [
                variant,
                _spread(_values(results, variant, BEST), metric),
                _spread(_values(results, variant, TEST), "accuracy"),
                f"{epochs.mean():.3g}" if epochs.size else "–",
                str(runs),
                ", ".join(note for note, holds in notes.items() if holds),
            ]
        )
    return rows


def runs_to_csv(
    results: Results, varied: Mapping[str, Mapping[str, Any]], path: str | os.PathLike[str]
) -> None:
    """Write a row per run, atomically: what varies, the seed, and the last value of each measure.

    Parameters
    ----------
    results : Results
    varied : mapping
        By label of a variant, its values by name.
    path : str or path-like
    """
    rows: dict[tuple[str, int], dict[str, Any]] = {}
    for row in results.rows:
        known = {**varied.get(row.variant, {"variant": row.variant}), "seed": row.seed}
        rows.setdefault((row.variant, row.seed), known)[row.measure] = row.value
    names = dict.fromkeys(name for row in rows.values() for name in row)
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(names), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows.values())
    with atomic_write(path) as file:
        file.write(text.getvalue().encode())


def metric_of(training: TrainingSettings) -> str:
    """Return the metric that compares runs with these settings."""
    return training.monitor or MONITORS[0]


def _values(results: Results, variant: str, measure: str) -> Numbers:
    """Return the last value for each seed that has the measure."""
    return results.last(variant, measure) if results.has(variant, measure) else np.zeros(0)


def _spread(values: Numbers, metric: str) -> str:
    """Return mean ± standard deviation over the seeds: of a share in percent."""
    if not values.size:
        return "–"
    scale, digits, unit = (1.0, 4, "") if metric == "loss" else (100.0, 2, " %")
    mean = f"{scale * values.mean():.{digits}f}"
    std = f" ± {scale * values.std(ddof=1):.{digits}f}" if values.size > 1 else ""
    return f"{mean}{std}{unit}"


def _finding(results: Results, *, metric: str) -> Finding:
    header, *rows = table(results, metric)
    return Finding(markdown_table(header, rows))


def _figure(results: Results, figure: Figure, *, metric: str) -> None:
    axes = figure.subplots()
    column = f"validation_{metric}"
    for variant, color in zip(ranking(results, metric), cycle(COLORS), strict=False):
        if results.has(variant, column):
            draw_curve(axes, results, variant, column, color=color, label=variant)
    axes.set(xlabel="epoch", ylabel=column.replace("_", " "))
    axes.legend(frameon=False, fontsize=8)
