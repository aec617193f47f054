"""The efficiency page, with its figures and tables, generated from finished runs."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tinygrad_cnn.bench.timing import BUSY
from tinygrad_cnn.experiments.experiment import Experiment
from tinygrad_cnn.experiments.finding import Finding
from tinygrad_cnn.experiments.gallery import NAMES, find
from tinygrad_cnn.experiments.results import Results
from tinygrad_cnn.experiments.runs import FinishedRuns, code_of
from tinygrad_cnn.experiments.times import busy_rounds
from tinygrad_cnn.support.files import atomic_write, digest
from tinygrad_cnn.support.modules import needs_extra
from tinygrad_cnn.support.text import markdown_table

__all__ = ["FOLDER", "PAGE", "draw_figure", "render_page", "write_page"]

PAGE, FOLDER = "efficiency.md", "efficiency"
HEAD = """# Efficiency

The text's section 0.4, "Efficiency Testing", is a heading without a body. This page fills it: each
question is an experiment that you can rerun, answered by its measurements. Numbers are medians over
the seeds with the range in brackets; in a figure the line is the median and the band the range.
Times are for one thread. They are taken by runs that have the machine for themselves: the sides of
a comparison take turns, and rounds in which other processes used more than {busy:g} cores do not
count.

```sh
tinygrad-cnn experiment --list              # list the experiments
tinygrad-cnn experiment activations         # run one; after an interruption, run it again
tinygrad-cnn experiment all                 # run all: some hours, most of them for the last
tinygrad-cnn experiment all --write docs    # write this page, its figures and tables
```

An experiment is a file in [tinygrad_cnn/experiments/gallery](../tinygrad_cnn/experiments/\
gallery); [own_experiment.py](../examples/own_experiment.py) shows how to write your own.
"""


def write_page(
    experiments: Sequence[Experiment], runs: FinishedRuns, folder: str | os.PathLike[str],
    seeds: int | None = None,
) -> list[str]:  # fmt: skip
    """Write the tables and figures of finished experiments, and the page of all tables.

    Parameters
    ----------
    experiments : sequence of Experiment
        Skipped if some of its runs are missing, unless its variants are separate.
    runs : FinishedRuns
    folder : path-like
        Receives ``efficiency.md``, and a CSV and an SVG file per experiment in ``efficiency``.
    seeds : int, optional
        Number of runs per variant; by default all finished ones, starting from the number that each
        experiment defines.

    Returns
    -------
    list of str
        A summary line per experiment, and the path of the page.

    Raises
    ------
    RunsError
        If runs of an experiment come from different versions, machines or code.
    ModuleNotFoundError
        If matplotlib is not installed; the message gives the install command.
    OSError
        If a file cannot be written.
    """
    tables = Path(folder, FOLDER)
    lines = []
    for experiment in experiments:
        wanted = runs.of(experiment, seeds)
        done = [run for run in wanted if runs.path(run).exists()]
        if not done or (len(done) < len(wanted) and not experiment.separate):
            lines.append(f"{experiment.name}: left out, {len(done)} of {len(wanted)} runs are done")
            continue
        tables.mkdir(parents=True, exist_ok=True)
        table = tables / f"{experiment.name}.csv"
        results = runs.results(experiment, seeds)
        results.to_csv(table)
        draw_figure(experiment, table)
        count = len({(row.variant, row.seed) for row in results.rows})
        lines.append(f"{experiment.name}: {count} runs, {table}")
    page = Path(folder, PAGE)
    text = render_page(tables, experiments)
    with atomic_write(page) as file:
        file.write(text.encode())
    return [*lines, f"{page}"]


def render_page(tables: str | os.PathLike[str], own: Sequence[Experiment] = ()) -> str:
    """Return the page for the tables in a folder.

    Parameters
    ----------
    tables : path-like
    own : sequence of Experiment
        Experiments outside the package.
    """
    usual: Mapping[str, Any] = {}
    others = {experiment.name: experiment for experiment in own}
    sections, summary = [], []
    for name in dict.fromkeys([*NAMES, *others]):
        path = Path(tables, f"{name}.csv")
        if path.exists():
            results = Results.from_csv(path)
            usual = usual or _surroundings(results)
            experiment = others.get(name) or find(name)
            found = experiment.finding(results)
            summary += [
                [verdict.claim, verdict.outcome, verdict.figure, f"[{name}](#{name})"]
                for verdict in found.verdicts
            ]
            sections.append(_section(experiment, found, results, usual))
    head = [HEAD.format(busy=BUSY)]
    if usual:
        head.append(f"Measured {_in_words(usual)}.\n")
    if summary:
        header = ["claim", "", "measured", "experiment"]
        head.append(f"{markdown_table(header, summary, '<<<<')}\n")
    return "\n".join([*head, *sections])


def draw_figure(experiment: Experiment, table: Path) -> Path:
    """Draw the figure of a table next to it, and return its path.

    The file's description contains the `digest` of the table.
    """
    with needs_extra("plots", "drawing the figures"):
        from matplotlib import rc_context
        from matplotlib.figure import Figure
    from tinygrad_cnn.train.plots import STYLE

    settings = {"font.size": 9, "lines.linewidth": 1.5, "svg.hashsalt": experiment.name}
    path = table.with_suffix(".svg")
    with rc_context(STYLE | settings):
        figure = Figure(figsize=(10.0, 4.0), layout="constrained")
        experiment.figure(Results.from_csv(table), figure)
        with atomic_write(path) as file:
            figure.savefig(
                file, format="svg", metadata={"Date": None, "Description": digest(table)}
            )
    return path


def _section(
    experiment: Experiment, found: Finding, results: Results, usual: Mapping[str, Any]
) -> str:
    name = experiment.name
    here = _surroundings(results)
    busy = busy_rounds(results)
    changed = results.provenance.get("code") != code_of(experiment, results.variants)
    paragraphs = [
        f'<a id="{name}"></a>',
        f"## {experiment.question}",
        f"The text: {experiment.claim}" if experiment.claim else "",
        found.text.strip(),
        f"![{experiment.question}]({FOLDER}/{name}.svg)",
        f"{_seeds(results)}; [all numbers]({FOLDER}/{name}.csv); "
        f"command: `tinygrad-cnn experiment {name}`."
        + (f" Rounds left out, as the machine was busy: {busy}." if busy else "")
        + (f" Measured {_in_words(here)}." if here != usual else "")
        + (" Its code has changed since." if changed else ""),
    ]
    return "\n\n".join(filter(None, paragraphs)) + "\n"


def _seeds(results: Results) -> str:
    """Return the number of seeds as text: "5 seeds", or "1 to 3 seeds" if variants differ."""
    runs = {(row.variant, row.seed) for row in results.rows}
    counts = sorted(Counter(variant for variant, _ in runs).values())
    few, many = counts[0], counts[-1]
    if few < many:
        return f"{few} to {many} seeds"
    return "One seed" if many == 1 else f"{many} seeds"


def _surroundings(results: Results) -> dict[str, Any]:
    return {key: value for key, value in results.provenance.items() if key != "code"}


def _in_words(surroundings: Mapping[str, Any]) -> str:
    known = defaultdict(lambda: "unknown", surroundings)
    return (
        f"with tinygrad_cnn {known['tinygrad_cnn']}, Python {known['python']}, NumPy "
        f"{known['numpy']} ({known['blas']}) on {known['machine']}"
    )
