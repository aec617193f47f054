"""``tinygrad-cnn train``: train a model, or resume a run."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from contextlib import nullcontext, suppress
from pathlib import Path
from time import perf_counter
from typing import Any

import typer
from rich.console import Console
from rich.text import Text

from tinygrad_cnn.cli.config import TrainArguments
from tinygrad_cnn.cli.display import (
    FAINT,
    EpochLines,
    console,
    show_evaluation,
    show_training_run,
)
from tinygrad_cnn.cli.errors import INTERRUPTED
from tinygrad_cnn.cli.options import PARTS
from tinygrad_cnn.distributed.faults import ONE_RANK, OneRank
from tinygrad_cnn.distributed.ranks import guard, launched, set_timeout
from tinygrad_cnn.engine.threads import num_threads
from tinygrad_cnn.support.text import percent
from tinygrad_cnn.train import (
    RunFolder,
    TrainingInterrupted,
    TrainingRun,
    plot_history,
    recipe,
)

__all__ = ["join_ranks", "train"]

CHANGEABLE = ("epochs", "checkpoint_every", "patience")


def train(
    data: str | None,
    model: str | None,
    chosen: Mapping[str, Any],
    reading: Mapping[str, Any],
    options: Sequence[tuple[str, str, Any]],
    out: Path | None,
    resume: Path | None,
    quiet: bool,
    print_config: bool = False,
    ranks: OneRank = ONE_RANK,
) -> int:
    """Train, and return the exit status.

    Parameters
    ----------
    data, model : str or None
        See `TrainingRun.new`.
    chosen : mapping
        Options for `recipe`; None for those not given.
    reading : mapping
        How to read a folder of images: "size" and "grayscale", or None.
    options : sequence of (str, str, object)
        "model", "optimizer" or "schedule", the name of an option of it, and the value.
    out : Path or None
        The run folder; by default the next numbered one.
    resume : Path or None
        The run folder to resume from; excludes all options but those that may change.
    quiet : bool
        Print only the result.
    print_config : bool
        Print the settings of the run to resume instead, as a file for ``--config``.
    ranks : OneRank
        Those to train on, from `join_ranks`.

    Returns
    -------
    int
        0, or if interrupted 130, and 143 by SIGTERM.
    """
    screen, distributed = console(quiet=ranks.rank > 0), ranks.size > 1
    if resume is None:
        source = "digits" if data is None else data
        of: dict[str, dict[str, Any]] = {part: {} for part in PARTS}
        for part, name, value in options:
            of[part][name] = value
        with ranks.agreement("the options"):
            training = recipe(
                source, **chosen, optimizer_options=of["optimizer"], schedule_options=of["schedule"]
            )
        run = TrainingRun.new(
            source,
            "lenet5" if model is None else model,
            training,
            of["model"],
            **reading,
            distributed=distributed,
        )
        names = run.settings.model.name, run.settings.data.name
        name = "-".join(_plain(name) for name in names)
        folder = ranks.on_rank_0("the run folder", lambda: RunFolder.create(name, out))
    else:
        changes = {name: chosen[name] for name in CHANGEABLE}
        fixed = {name: value for name, value in chosen.items() if name not in changes}
        given = {"model": model, "out": out, **fixed, **reading, "option": options or None}
        with ranks.agreement("the options"):
            _refuse(resume, given)
        folder = RunFolder(resume)
        run = TrainingRun.resumed(folder, source=data, **changes, distributed=distributed)
        if print_config:
            asked = TrainArguments.of_run(run.settings, folder.path)
            if not ranks.rank:
                typer.echo(asked.to_toml(), nl=False)
            return 0
    places = ranks.places()
    if not quiet:
        show_training_run(screen, run)
        if distributed:
            screen.print(f"{ranks.size} ranks: {places}\n")
        if resume is not None:
            _show_place(screen, run)
    training = run.settings.training
    with (
        warnings.catch_warnings(),
        num_threads(training.threads) if training.threads else nullcontext(),
    ):
        warnings.showwarning = lambda message, *_: screen.print(f"Warning: {message}")
        return _follow(run, folder) if ranks.rank else _train(screen, run, folder, quiet)


def join_ranks(distributed: bool, timeout: float | None) -> OneRank:
    """Return the ranks to train on: those of the program, or this process alone.

    Parameters
    ----------
    distributed : bool
    timeout : float or None
        How many seconds a rank waits for others; needs `distributed`.
    """
    if not distributed:
        if timeout is not None:
            raise ValueError("--rank-timeout needs --distributed")
        if (count := launched() or 1) > 1:
            warnings.warn(
                f"each of {count} processes trains the same model; --distributed divides the work",
                stacklevel=2,
            )
        return ONE_RANK
    ranks = guard()
    if timeout is not None:
        set_timeout(timeout)
    return ranks


def _follow(run: TrainingRun, folder: RunFolder) -> int:
    """Train as another rank than the first, which prints."""
    try:
        run.train(folder)
        run.test()
    except KeyboardInterrupt as error:
        return _status(error)
    return 0


def _status(error: KeyboardInterrupt) -> int:
    return 128 + error.signal if isinstance(error, TrainingInterrupted) else INTERRUPTED


def _train(screen: Console, run: TrainingRun, folder: RunFolder, quiet: bool) -> int:
    started = perf_counter()
    lines = EpochLines(screen, run.settings.training.epochs, len(run.history), _held_out(run))
    try:
        if quiet or run.complete:
            run.train(folder)  # a complete run gets what is missing
        else:
            with lines:
                run.train(folder, [lines])
    except KeyboardInterrupt as error:
        screen.print(
            f"\nInterrupted. {_progress(run, folder)}; to continue:\n"
            f"  tinygrad-cnn train --resume {folder.path}"
        )
        with suppress(KeyboardInterrupt):
            _draw(screen, run, folder, quiet)
        return _status(error)
    except Exception as error:
        with suppress(Exception):  # the cause is what counts: perhaps the disk is full
            _draw(screen, run, folder, quiet)
        error.add_note(_progress(run, folder))
        raise
    result = run.test()
    seconds = perf_counter() - started
    if quiet:
        screen.print(f"{percent(result.accuracy, 2)}  {folder.path}")
    else:
        screen.print()
        _show_best(screen, run)
        show_evaluation(screen, result, run.settings.data.classes)
    _draw(screen, run, folder, quiet)
    if not quiet:
        _show_folder(screen, run, folder, seconds)
    return 0


def _show_best(screen: Console, run: TrainingRun) -> None:
    """Print why training has ended early, and which weights are the best."""
    best, stopping, done = run.best, run.stopping, len(run.history)
    if best is None:
        return
    metric = best.monitor.replace("_", " ")
    if stopping is not None and stopping.stopped and done < run.settings.training.epochs:
        epochs = f"{stopping.waited} epoch{'s' * (stopping.waited > 1)}"
        screen.print(f"Stopped after epoch {done}: {metric} has not improved for {epochs}.")
    if best.best_epoch:
        screen.print(f"Best weights: epoch {best.best_epoch}, {metric} {best.best:.4f}.")


def _held_out(run: TrainingRun) -> str:
    return "val" if run.validation_loader else "test"


def _progress(run: TrainingRun, folder: RunFolder) -> str:
    done, batch = run.saved(folder)
    epochs = f"{done or 'no'} finished epoch{'s' * (done > 1)}"
    further = f", and {batch} of {len(run.loader)} batches of the next" if batch else ""
    return f"{folder.path} has {epochs}{further}"


def _show_place(screen: Console, run: TrainingRun) -> None:
    """Print where a resumed run continues, and what was changed."""
    done, batch = len(run.history), run.batches_done
    if run.settings.changes and run.settings.changes[-1]["epoch"] == done:
        changes = {k: v for k, v in run.settings.changes[-1].items() if k != "epoch"}
        listed = ", ".join(f"{name} from {old} to {new}" for name, (old, new) in changes.items())
        screen.print(f"Changed: {listed}.")
    if run.complete:
        screen.print(f"The run is complete: {done} epochs are trained.\n")
    else:
        place = f"after batch {batch} of {len(run.loader)}" if batch else "from its beginning"
        rate = f"{run.optimizer.lr:.3g}"
        screen.print(f"Continuing in epoch {done + 1}, {place}, at learning rate {rate}.\n")


def _draw(screen: Console, run: TrainingRun, folder: RunFolder, quiet: bool) -> None:
    """Draw the curves, or print what is missing to draw them."""
    settings = run.settings
    title = f"{settings.model.name} on {settings.data.name}"
    try:
        if run.history:
            plot_history(
                run.history,
                folder.curves,
                title,
                held_out="validation" if run.validation_loader else "test",
            )
    except ModuleNotFoundError as error:
        if not quiet:
            screen.print(Text(f"\nNo curves.png: {error}", FAINT))


def _show_folder(screen: Console, run: TrainingRun, folder: RunFolder, seconds: float) -> None:
    meanings = {
        folder.best: "the weights of the best epoch by the validation set",
        folder.weights: "the weights of the last epoch" if run.best else "the trained weights",
        folder.history: "metrics per epoch",
        folder.log: "the same and more, as JSON Lines",
        folder.curves: "the metrics as a plot",
        folder.settings: "every setting of the run",
        folder.checkpoints[-1]: "what --resume continues from",
        **dict.fromkeys(_further_logs(run, folder), "the metrics for TensorBoard"),
    }
    width = max(len(path.name) for path in meanings if path.exists()) + 2
    screen.print(f"\n{seconds:.1f} seconds. In {folder.path}:")
    for path, meaning in meanings.items():
        if path.exists():
            screen.print(Text.assemble(f"  {path.name:<{width}}", (meaning, FAINT)))
    screen.print(f"\nTry it:  tinygrad-cnn predict {folder.path} IMAGE.png")


def _further_logs(run: TrainingRun, folder: RunFolder) -> list[Path]:
    """Return the event files and their folder."""
    if "tensorboard" not in run.settings.training.log:
        return []
    return [*sorted(folder.path.glob("events.out.tfevents.*")), folder.path / "batches"]


def _refuse(resume: Path, chosen: Mapping[str, Any]) -> None:
    given = [f"--{name.replace('_', '-')}" for name, value in chosen.items() if value is not None]
    if given:
        raise ValueError(
            f"--resume uses the settings of {resume}, apart from --epochs, --patience, "
            "--data and --checkpoint-every, and takes --quiet and --distributed; leave out "
            f"{', '.join(given)}"
        )


def _plain(name: str) -> str:
    """Return a name without characters that are unsafe in file names."""
    return "".join(c if c.isalnum() or c in "-_." else "-" for c in name).lower()
