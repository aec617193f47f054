"""Trainings that are interrupted."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
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


@contextmanager
def default_signals() -> Iterator[None]:
    """Handle SIGINT and SIGTERM as a program in a terminal does, and check that it stays so.

    A process in the background of a script ignores SIGINT.
    """
    before = {signum: signal.getsignal(signum) for signum in (signal.SIGINT, signal.SIGTERM)}
    usual = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}
    for signum, handler in usual.items():
        signal.signal(signum, handler)
    try:
        yield
        assert {signum: signal.getsignal(signum) for signum in usual} == usual
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)


def folder(path: Path) -> RunFolder:
    """Return a new run folder below a path."""
    return RunFolder.create("run", parent=path)
