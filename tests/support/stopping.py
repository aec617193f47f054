"""A training that is interrupted."""

from __future__ import annotations

from tinygrad_cnn.train import Callback, Progress


class StopAt(Callback):
    """Interrupts a training, as Ctrl-C would, after a batch of an epoch."""

    def __init__(self, epoch: int, batch: int) -> None:
        self.place = epoch, batch

    def batch(self, progress: Progress) -> None:
        if (progress.epoch, progress.batch) == self.place:
            raise KeyboardInterrupt
