"""Ctrl-C and SIGTERM during training: the step is finished first."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any

__all__ = ["HANDLED", "Signals", "TrainingInterrupted", "interrupted"]

HANDLED = (signal.SIGINT, signal.SIGTERM)


class TrainingInterrupted(KeyboardInterrupt):
    """Training was ended by Ctrl-C or SIGTERM: the first ones after a finished and saved step.

    It is a KeyboardInterrupt, so ``except Exception`` does not take it for an error.

    Attributes
    ----------
    signal : int
        The signal's number; a program exits with 128 + it: 130 or 143.
    """

    def __init__(self, signum: int) -> None:
        super().__init__(f"training was interrupted by {signal.Signals(signum).name}")
        self.signal = signum


def interrupted() -> bool:
    """Return whether a signal was noted, and ends training after this step."""
    return any(each.received is not None for each in _entered)


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
        self.received = None
        _entered.append(self)
        if threading.current_thread() is threading.main_thread():
            for each in HANDLED:
                if signal.getsignal(each) not in (signal.SIG_IGN, None):
                    self._before[each] = signal.signal(each, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        _entered.remove(self)
        for each, handler in self._before.items():
            signal.signal(each, handler)
        self._before = {}

    def _handle(self, signum: int, frame: FrameType | None) -> None:
        if self.received is not None:
            raise TrainingInterrupted(signum)
        self.received = signum


_entered: list[Signals] = []
