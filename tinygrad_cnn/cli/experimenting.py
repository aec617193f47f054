"""``tinygrad-cnn experiment``: do the missing runs and print the findings."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.text import Text

from tinygrad_cnn.bench.machine import cores
from tinygrad_cnn.cli.display import ACCENT, FAINT, clock, console
from tinygrad_cnn.cli.errors import INTERRUPTED
from tinygrad_cnn.experiments.experiment import Experiment, slug
from tinygrad_cnn.experiments.gallery import NAMES, find
from tinygrad_cnn.experiments.running import DONE, LACKING, Outcome, Watcher, perform
from tinygrad_cnn.experiments.runs import ExperimentRun, FinishedRuns
from tinygrad_cnn.experiments.time_left import TimeLeft
from tinygrad_cnn.support.text import counted

__all__ = ["RunLines", "carry_out", "experiment", "report"]

ALL = "all"


def experiment(
    names: Sequence[str],
    only: Sequence[str],
    seeds: int | None,
    jobs: int | None,
    out: Path,
    only_list: bool,
    write: Path | None,
) -> int:
    """Do the missing runs of experiments, and return the exit status.

    Parameters
    ----------
    names : sequence of str
        Names of experiments, files that define one, or "all".
    only : sequence of str
        Labels of variants, plain or as in file names; all if empty.
    seeds, jobs : int or None
        Number of runs of each variant, and number of parallel runs.
    out : Path
        The folder of finished runs.
    only_list : bool
        List the experiments instead of running them.
    write : Path or None
        Write the page, figures and tables of finished runs to this folder instead of running.

    Returns
    -------
    int
        0; 1 if a run failed; 130 if it was interrupted.
    """
    screen = console()
    no_run = only_list or write is not None
    chosen = [find(name) for name in _names(names, everything=no_run)]
    runs = FinishedRuns(out)
    if only_list:
        _list(screen, chosen, runs, seeds)
        return 0
    if write is not None:
        from tinygrad_cnn.experiments.page import write_page

        for line in write_page(chosen, runs, write, seeds):
            screen.print(line)
        return 0
    labels = _labels(chosen, only)
    missing = [
        run for each in chosen for run in runs.missing(each, seeds) if slug(run.variant) in labels
    ]
    wanted = sum(slug(run.variant) in labels for each in chosen for run in runs.of(each, seeds))
    outcomes = carry_out(screen, runs, missing, wanted, jobs, out)
    return INTERRUPTED if outcomes is None else report(screen, outcomes)


def _names(names: Sequence[str], everything: bool) -> list[str]:
    if not names:
        if everything:
            return list(NAMES)
        raise ValueError(
            f"experiment: no NAME given, expected one or more of {', '.join(NAMES)}, or {ALL}"
        )
    listed = [other for name in names for other in (NAMES if name == ALL else (name,))]
    return list(dict.fromkeys(listed))


def _labels(chosen: Sequence[Experiment], only: Sequence[str]) -> set[str]:
    """Return the slugs of the selected variants."""
    known = {slug(label): label for each in chosen for label in each.labels}
    for label in only:
        if slug(label) not in known:
            raise ValueError(
                f"experiment: --only is {label!r}, expected one of {', '.join(known.values())}"
            )
    return {slug(label) for label in only} or set(known)


def _list(
    screen: Console, chosen: Sequence[Experiment], runs: FinishedRuns, seeds: int | None
) -> None:
    """Print each experiment's question, and its number of finished runs."""
    width = max(len(each.name) for each in chosen)
    for each in chosen:
        wanted = runs.of(each, seeds)
        done = sum(runs.path(run).exists() for run in wanted)
        screen.print(
            Text.assemble(
                (each.name.ljust(width), ACCENT),
                f"  {each.question}  ",
                (f"{done} of {len(wanted)} runs", FAINT),
            )
        )


def carry_out(
    screen: Console,
    runs: FinishedRuns,
    missing: Sequence[ExperimentRun],
    wanted: int,
    jobs: int | None,
    folder: Path,
    further: str = "",
) -> list[Outcome] | None:
    """Do the missing runs of all that are `wanted`, and print their progress.

    Returns
    -------
    list of Outcome or None
        None if it was interrupted: then it prints how to continue, and `further`.
    """
    jobs = min(jobs or cores(), max(len(missing), 1))
    screen.print(
        f"{counted(wanted, 'run')}, {wanted - len(missing)} of them already done; {jobs} in "
        f"parallel; results in {folder}"
    )
    try:
        with RunLines(screen, missing, jobs) as lines:
            return perform(missing, runs, jobs=jobs, watcher=lines)
    except KeyboardInterrupt:
        screen.print(
            f"\nInterrupted. {lines.count} of {counted(len(missing), 'run')} done; run the same "
            f"command to continue{further}."
        )
        return None


def report(screen: Console, outcomes: Sequence[Outcome]) -> int:
    """Print skipped and failed runs; return the exit status."""
    lacking = [outcome for outcome in outcomes if outcome.status == LACKING]
    for name, reason in dict.fromkeys((each.run.experiment.name, each.reason) for each in lacking):
        screen.print(f"\n{name}: runs skipped: {reason}")
    failed = [outcome for outcome in outcomes if outcome.status not in (DONE, LACKING)]
    if failed:
        screen.print(Text(f"\n{failed[0].details}".rstrip(), FAINT))
        screen.print(
            f"\n{len(failed)} of {counted(len(outcomes), 'run')} failed; run the same command to "
            "retry."
        )
    return int(bool(failed))


class RunLines(Watcher):
    """Watcher that prints a line for every finished run and, on a terminal, progress bars.

    Use it as a context manager, which closes the bars.

    Attributes
    ----------
    count : int
        Number of finished runs.
    """

    def __init__(self, screen: Console, runs: Sequence[ExperimentRun], jobs: int) -> None:
        self.screen = screen
        self.count = 0
        self.ended_runs = 0
        self.runs = len(runs)
        self.left = TimeLeft(runs, jobs)
        self.began_at: dict[ExperimentRun, float] = {}
        self.bars: dict[ExperimentRun, TaskID] = {}
        self.progress = Progress(
            BarColumn(bar_width=24, complete_style="cyan", finished_style="cyan"),
            TextColumn("{task.description}", style=FAINT),
            console=screen,
            transient=True,
            disable=not screen.is_terminal,
        )
        self.width = len(str(len(runs)))
        self.whole = self.progress.add_task("", total=max(len(runs), 1))

    def __enter__(self) -> RunLines:
        self.progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.progress.stop()

    def began(self, run: ExperimentRun) -> None:
        """Add a progress bar."""
        self.left.began(run)
        self.began_at[run] = perf_counter()
        self.bars[run] = self.progress.add_task(str(run), total=1.0)

    def went_on(self, run: ExperimentRun, share: float) -> None:
        """Update the progress bars."""
        self.left.went_on(run, share)
        self._move()

    def ended(self, outcome: Outcome) -> None:
        """Print the line of a finished run."""
        run = outcome.run
        self.left.ended(outcome)
        self.ended_runs += 1
        self.count += outcome.status == DONE
        self.progress.remove_task(self.bars.pop(run))
        result = f"took {clock(perf_counter() - self.began_at.pop(run))}"
        if outcome.status != DONE:
            result = f"{outcome.status}: {outcome.reason}"
        self.screen.print(
            Text.assemble(
                f"{self.ended_runs:>{self.width}}/{self.runs}  {run}  ",
                (result, FAINT if outcome.status == DONE else ACCENT),
                (f", {words}" if (words := self._words()) else "", FAINT),
            )
        )
        self._move()

    def _move(self) -> None:
        for run, task in self.bars.items():
            share = self.left.share(run)
            self.progress.update(task, completed=0.0 if math.isnan(share) else share)
        done = self.ended_runs
        self.progress.update(self.whole, completed=done, description=self._words())

    def _words(self) -> str:
        seconds = self.left.seconds()
        return "" if math.isnan(seconds) or not seconds else f"{clock(seconds)} left"
