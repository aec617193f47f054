"""Terminal output of the commands: epoch lines, results, tables with bars."""

from __future__ import annotations

from collections.abc import Sequence
from time import perf_counter

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Table
from rich.text import Text

from tinygrad_cnn.support.text import percent, shape_text
from tinygrad_cnn.train import Callback, Epoch, Evaluation, History, TrainingRun
from tinygrad_cnn.train import Progress as BatchProgress

__all__ = ["EpochLines", "bar", "console", "show_evaluation", "show_training_run"]

ACCENT, FAINT = "bold", "dim"
EIGHTHS = " ▏▎▍▌▋▊▉█"
HEADER = "epoch      loss  accuracy  {0:>4} loss  {0:>4} accuracy  images/s    left"


def console(quiet: bool = False) -> Console:
    """Return the console to print to; a quiet one prints nothing."""
    return Console(highlight=False, markup=False, emoji=False, soft_wrap=True, quiet=quiet)


def clock(seconds: float) -> str:
    """Return a duration as text: 83.4 as "1:23"."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


def bar(share: float, width: int) -> str:
    """Return a bar of `width` characters, filled to `share` in eighths of one."""
    eighths = round(min(max(share, 0.0), 1.0) * width * 8)
    whole, rest = divmod(eighths, 8)
    return ("█" * whole + EIGHTHS[rest] * (rest > 0)).ljust(width)


def show_training_run(out: Console, run: TrainingRun) -> None:
    """Print the data, model and settings of a training run."""
    settings = run.settings
    data, training = settings.data, settings.training
    summary = run.model.summary(data.input_shape)
    batches = f"batches of {training.batch_size}" if training.batch_size else "one batch"
    work = f", {summary.multiply_adds:,} multiply-adds per image" if summary.multiply_adds else ""
    held_out = f"{data.validation_images:,} validation images, " if data.validation_images else ""
    lines = {
        settings.model.name: f"{summary.parameters:,} parameters{work}",
        data.name: f"{data.training_images:,} training images, {held_out}"
        f"{data.test_images:,} test images, "
        f"{shape_text(data.input_shape)}, {len(data.classes)} classes",
        training.optimizer: f"learning rate {training.lr:g}, {training.schedule}; {batches}; "
        f"augmentation {training.augment}; seed {training.seed}",
    }
    width = max(map(len, lines))
    for name, text in lines.items():
        out.print(Text.assemble((name.ljust(width), ACCENT), "  ", text))
    out.print()


class EpochLines(Callback):
    """Callback that prints a line per epoch and, on a terminal, a progress bar for the current one.

    Use it as a context manager, which closes the bar.
    """

    def __init__(self, out: Console, epochs: int, done: int, held_out: str = "test") -> None:
        self.out = out
        self.header = HEADER.format(held_out)
        self.epochs = epochs
        self.done = done
        self.started = perf_counter()
        self.bar = Progress(  # it is placed in the column of the test metrics
            TextColumn("{task.fields[left]}"),
            BarColumn(bar_width=24, complete_style="cyan", finished_style="cyan"),
            TextColumn("{task.fields[right]}"),
            console=out,
            transient=True,
            refresh_per_second=8,
            disable=not out.is_terminal,
        )
        self.task = self.bar.add_task("", total=1.0, left=" " * 25, right="")

    def __enter__(self) -> EpochLines:
        self.out.print(Text(self.header, FAINT))
        self.bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.stop()

    def batch(self, progress: BatchProgress) -> None:
        """Update the progress bar."""
        share = progress.batch / progress.batches if progress.batches else 0.0
        self.bar.update(
            self.task,
            completed=share,
            left=f"{self._number(progress.epoch)}  {_learned(progress)} ",
            right=f" {progress.images / progress.seconds:8,.0f}"
            f"  {clock(self._left(progress.epoch - 1 + share)):>6}",
        )

    def epoch(self, history: History) -> None:
        """Print the line of a finished epoch."""
        row = history[-1]
        self.out.print(
            f"{self._number(row.epoch)}  {_learned(row)}  {row.validation_loss:9.4f}  "
            f"{percent(row.validation_accuracy, 2):>13}  {row.images_per_second:8,.0f}"
            f"  {clock(self._left(row.epoch)):>6}"
        )

    def _number(self, epoch: int) -> str:
        width = len(str(self.epochs))
        return f"{epoch:>{width}}/{self.epochs}".rjust(5)

    def _left(self, epochs: float) -> float:
        """Estimate the remaining seconds from the pace so far."""
        gone = perf_counter() - self.started
        return gone * (self.epochs - epochs) / max(epochs - self.done, 1e-9)


def _learned(row: Epoch | BatchProgress) -> str:
    return f"{row.loss:8.4f}  {percent(row.accuracy, 2):>8}"


def show_evaluation(out: Console, result: Evaluation, classes: Sequence[str]) -> None:
    """Print accuracy and loss, and the most common confusions."""
    images = int(result.confusion.sum())
    out.print(
        Text.assemble(
            (percent(result.accuracy, 2), ACCENT),
            f" accuracy on {images:,} test images, {result.mistakes:,} wrong; "
            f"loss {result.loss:.4f}",
        )
    )
    if result.metrics:
        out.print("  ".join(f"{name} {value:.4f}" for name, value in result.metrics.items()))
    pairs = result.worst_pairs()
    if not pairs:
        return
    out.print("\nMost common confusions:")
    table = Table.grid(padding=(0, 2))
    table.add_column(justify="right")
    table.add_column(justify="right")
    for actual, taken, count in pairs:
        times = "once" if count == 1 else f"{count} times"
        length = bar(count / pairs[0][2], 20).rstrip()
        table.add_row(
            Text(f"  {classes[actual]} → {classes[taken]}", ACCENT), times, Text(length, FAINT)
        )
    out.print(table, soft_wrap=False)
