"""``tinygrad-cnn train``: train a model, or resume a run."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from time import perf_counter
from typing import Any

from rich.console import Console
from rich.text import Text

from tinygrad_cnn.cli.display import (
    FAINT,
    EpochLines,
    console,
    show_evaluation,
    show_training_run,
)
from tinygrad_cnn.cli.errors import INTERRUPTED
from tinygrad_cnn.cli.options import PARTS
from tinygrad_cnn.engine.threads import num_threads
from tinygrad_cnn.support.text import percent
from tinygrad_cnn.train import (
    RunError,
    RunFolder,
    TrainingDiverged,
    TrainingRun,
    plot_history,
    recipe,
)

__all__ = ["train"]


def train(
    data: str | None,
    model: str | None,
    chosen: Mapping[str, Any],
    reading: Mapping[str, Any],
    options: Sequence[tuple[str, str, Any]],
    out: Path | None,
    resume: Path | None,
    quiet: bool,
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
        The run folder to resume from; excludes all other options.
    quiet : bool
        Print only the result.

    Returns
    -------
    int
        0, or 130 if interrupted.
    """
    screen = console()
    if resume is None:
        source = data or "digits"
        of: dict[str, dict[str, Any]] = {part: {} for part in PARTS}
        for part, name, value in options:
            of[part][name] = value
        training = recipe(
            source, **chosen, optimizer_options=of["optimizer"], schedule_options=of["schedule"]
        )
        run = TrainingRun.new(source, model or "lenet5", training, of["model"], **reading)
        names = run.settings.model.name, run.settings.data.name
        folder = RunFolder.create("-".join(_plain(name) for name in names), out)
    else:
        _refuse(
            resume,
            {
                "data": data,
                "model": model,
                "out": out,
                **chosen,
                **reading,
                "option": options or None,
            },
        )
        folder = RunFolder(resume)
        run = TrainingRun.resumed(folder)
        done = len(run.history)
        if done >= run.settings.training.epochs:
            raise RunError(f"{resume}: the run is complete: all its {done} epochs are trained")
    if not quiet:
        show_training_run(screen, run)
    training = run.settings.training
    with (
        warnings.catch_warnings(),
        num_threads(training.threads) if training.threads else nullcontext(),
    ):
        warnings.showwarning = lambda message, *_: screen.print(f"Warning: {message}")
        return _train(screen, run, folder, quiet)


def _train(screen: Console, run: TrainingRun, folder: RunFolder, quiet: bool) -> int:
    started = perf_counter()
    lines = EpochLines(screen, run.settings.training.epochs, len(run.history), _held_out(run))
    try:
        if quiet:
            run.train(folder)
        else:
            with lines:
                run.train(folder, [lines])
    except KeyboardInterrupt:
        _draw(screen, run, folder, quiet)
        screen.print(
            f"\nInterrupted. {_progress(run, folder)}; to continue:\n"
            f"  tinygrad-cnn train --resume {folder.path}"
        )
        return INTERRUPTED
    except TrainingDiverged as error:
        _draw(screen, run, folder, quiet)
        error.add_note(_progress(run, folder))
        raise
    result = run.test()
    seconds = perf_counter() - started
    if quiet:
        screen.print(f"{percent(result.accuracy, 2)}  {folder.path}")
    else:
        screen.print()
        show_evaluation(screen, result, run.settings.data.classes)
    _draw(screen, run, folder, quiet)
    if not quiet:
        _show_folder(screen, folder, seconds)
    return 0


def _held_out(run: TrainingRun) -> str:
    return "val" if run.validation_loader else "test"


def _progress(run: TrainingRun, folder: RunFolder) -> str:
    done = len(run.history)
    return f"{folder.path} has {done or 'no'} finished epoch{'s' * (done > 1)}"


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


def _show_folder(screen: Console, folder: RunFolder, seconds: float) -> None:
    meanings = {
        folder.weights: "the trained weights",
        folder.history: "metrics per epoch",
        folder.curves: "the metrics as a plot",
        folder.settings: "every setting of the run",
        folder.checkpoint: "what --resume continues from",
    }
    screen.print(f"\n{seconds:.1f} seconds. In {folder.path}:")
    for path, meaning in meanings.items():
        if path.exists():
            screen.print(Text.assemble(f"  {path.name:<24}", (meaning, FAINT)))
    screen.print(f"\nTry it:  tinygrad-cnn predict {folder.path} IMAGE.png")


def _refuse(resume: Path, chosen: Mapping[str, Any]) -> None:
    given = [f"--{name.replace('_', '-')}" for name, value in chosen.items() if value is not None]
    if given:
        raise ValueError(f"--resume uses the settings of {resume}; leave out {', '.join(given)}")


def _plain(name: str) -> str:
    """Return a name without characters that are unsafe in file names."""
    return "".join(c if c.isalnum() or c in "-_." else "-" for c in name).lower()
