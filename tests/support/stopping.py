"""Trainings that are interrupted."""

from __future__ import annotations

import signal
from pathlib import Path

from tinygrad_cnn.train import Callback, Progress, RunFolder


class StopAt(Callback):
    """Interrupts a training, as Ctrl-C would, after a batch of an epoch."""

    def __init__(self, epoch: int, batch: int) -> None:
        self.place = epoch, batch

    def batch(self, progress: Progress) -> None:
        if (progress.epoch, progress.batch) == self.place:
            raise KeyboardInterrupt


class Signal(Callback):
    """Sends a signal to this process after a step: what Ctrl-C or a batch system does."""

    def __init__(self, step: int, signum: int = signal.SIGINT) -> None:
        self.step, self.signum, self.seen = step, signum, 0

    def batch(self, progress: Progress) -> None:
        self.seen += 1
        if self.seen == self.step:
            signal.raise_signal(self.signum)


def folder(path: Path) -> RunFolder:
    """Return a new run folder below a path."""
    return RunFolder.create("run", parent=path)
