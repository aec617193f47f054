"""Ctrl-C and SIGTERM during training: the step is finished first."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any

__all__ = ["HANDLED", "Signals", "TrainingInterrupted"]

HANDLED = (signal.SIGINT, signal.SIGTERM)


class TrainingInterrupted(KeyboardInterrupt):  # names an event
    """Training was ended by Ctrl-C or SIGTERM, after a step that was finished and saved.

    It is a KeyboardInterrupt, so ``except Exception`` does not take it for an error.

    Attributes
    ----------
    signal : int
        The signal's number; a program exits with 128 + it: 130 or 143.
    """

    def __init__(self, signum: int) -> None:
        super().__init__(f"training was interrupted by {signal.Signals(signum).name}")
        self.signal = signum


class Signals:
    """Context manager that notes the first SIGINT or SIGTERM, instead of an exception.

    The second one raises `TrainingInterrupted` at once. In another thread than the main one, and
    for a signal that the program ignores or Python does not handle, nothing is changed.

    Attributes
    ----------
    received : int or None
        The number of the noted signal.
    """

    def __init__(self) -> None:
        self.received: int | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Signals:
        if threading.current_thread() is threading.main_thread():
            for each in HANDLED:
                if signal.getsignal(each) not in (signal.SIG_IGN, None):
                    self._before[each] = signal.signal(each, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        for each, handler in self._before.items():
            signal.signal(each, handler)
        self._before = {}

    def _handle(self, signum: int, frame: FrameType | None) -> None:
        if self.received is not None:
            raise TrainingInterrupted(signum)
        self.received = signum
