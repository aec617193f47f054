"""A log of training as event files, which TensorBoard shows."""

from __future__ import annotations

import math
import os
import re
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tinygrad_cnn.nn import Module
from tinygrad_cnn.support.arguments import whole
from tinygrad_cnn.support.modules import needs_extra
from tinygrad_cnn.train.history import History
from tinygrad_cnn.train.loop import Callback, Progress

__all__ = ["LOGS", "TensorBoard"]

BATCHES = "batches"
OF_BATCH = ("loss", "accuracy", "learning_rate")
FILE = re.compile(r"events\.out\.tfevents\.(\d{10})\.")


class TensorBoard(Callback):
    """Callback that writes event files for TensorBoard: a scalar per column and epoch.

    ``loss/training`` and ``loss/validation`` are in one section, likewise the accuracy and metrics;
    other columns have their own names. Steps are epochs. Missing values (NaN) are left out. A
    resumed run writes a further file, which tells TensorBoard to drop the steps that it repeats.

    Parameters
    ----------
    folder : str or path-like
        Folder of the event files; created if missing. TensorBoard calls a run by its folder.
    every : int, optional
        Also log, after this many batches, the running means of loss and accuracy, and the learning
        rate: as ``batch/loss``, ... in the folder "batches", whose steps are batches. The loader
        must have a length. By default not.

    Raises
    ------
    ModuleNotFoundError
        If tensorboardX is not installed; the message has the command to install it.
    ValueError
        If `every` is below 1.

    Examples
    --------
    >>> log = TensorBoard("runs/first")                      # fit(..., callbacks=[log])
    >>> log.folder.name                                      # tensorboard --logdir runs
    'first'
    """

    def __init__(self, folder: str | os.PathLike[str], every: int | None = None) -> None:
        with needs_extra("tensorboard", "logging to TensorBoard"):
            import tensorboardX  # noqa: F401
        self.folder = Path(folder)
        self.every = None if every is None else whole("TensorBoard", "every", every)
        self._epochs: _EventFile | None = None
        self._batches: _EventFile | None = None

    def start(self, model: Module, columns: Sequence[str], history: History, epochs: int) -> None:
        """Open an event file."""
        self._close()
        self._epochs = _EventFile(self.folder, purge_step=len(history) + 1)

    def batch(self, progress: Progress) -> None:
        """Log the means so far, if they are due."""
        if self.every is None or progress.batch % self.every:
            return
        if progress.batches is None:
            raise ValueError("TensorBoard: every needs a loader with a length")
        step = (progress.epoch - 1) * progress.batches + progress.batch
        if self._batches is None:
            self._batches = _EventFile(self.folder / BATCHES, purge_step=step)
        self._batches.add(step, {f"batch/{name}": getattr(progress, name) for name in OF_BATCH})

    def epoch(self, history: History) -> None:
        """Log the columns of the last epoch."""
        row = history[-1].as_dict()
        step = row.pop("epoch")
        assert self._epochs is not None
        self._epochs.add(step, {_tag(name, row): value for name, value in row.items()})

    def end(self, history: History) -> None:
        """Close the files."""
        self._close()

    def exception(self, history: History, error: BaseException) -> None:
        """Close the files."""
        self._close()

    def _close(self) -> None:
        for file in (self._epochs, self._batches):
            if file is not None:
                file.close()
        self._epochs = self._batches = None


def _tag(column: str, columns: Mapping[str, Any]) -> str:
    """Return the tag of a column: that of a pair has the name of the set at its end."""
    measure = column.removeprefix("validation_")
    if measure != column:
        return f"{measure}/validation"
    return f"{column}/training" if f"validation_{column}" in columns else column


class _EventFile:
    """A new event file. Records are written by the calling thread, so that errors are raised.

    tensorboardX's ``SummaryWriter`` hands them to a thread: after an error there, such as a full
    disk, it waits forever.
    """

    def __init__(self, folder: Path, purge_step: int) -> None:
        from tensorboardX import RecordWriter
        from tensorboardX.proto.event_pb2 import Event, SessionLog
        from tensorboardX.proto.summary_pb2 import Summary

        folder.mkdir(parents=True, exist_ok=True)
        earlier = [int(found[1]) for path in folder.iterdir() if (found := FILE.match(path.name))]
        created = max([int(time.time()), *(second + 1 for second in earlier)])  # read by name
        self._path = folder / f"events.out.tfevents.{created:010}.{socket.gethostname()}"
        self._event: Callable[..., Any] = Event
        self._summary: Any = Summary
        self._records: Any = RecordWriter(str(self._path))
        self._write(
            Event(step=purge_step, file_version="brain.Event:2"),
            Event(step=purge_step, session_log=SessionLog(status=SessionLog.START)),
        )

    def add(self, step: int, scalars: Mapping[str, float | None]) -> None:
        """Write scalars by tag, and flush."""
        values = [
            self._summary.Value(tag=tag, simple_value=value)
            for tag, value in scalars.items()
            if value is not None and not math.isnan(value)
        ]
        self._write(self._event(step=step, summary=self._summary(value=values)))

    def close(self) -> None:
        self._records.close()

    def _write(self, *events: Any) -> None:
        try:
            for event in events:
                event.wall_time = time.time()
                self._records.write(event.SerializeToString())
            self._records.flush()
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(self._path)) from error


LOGS: dict[str, Callable[[Path, int | None], Callback]] = {"tensorboard": TensorBoard}
"""Further logs of a run by name, for settings and the command line."""
