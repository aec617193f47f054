"""A log of training as JSON Lines: one event per line."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tinygrad_cnn.nn import Module
from tinygrad_cnn.support.arguments import whole
from tinygrad_cnn.train.history import Epoch, History
from tinygrad_cnn.train.loop import Callback, Progress, TrainingDiverged

__all__ = ["JSONLines"]

OWN = ("event", "time")


class JSONLines(Callback):
    """Callback that appends events to a file as JSON, one per line, each written at once.

    ``tail -f`` follows the file, ``pandas.read_json(path, lines=True)`` reads it. Every line has
    the time in UTC and an event:

    ====== ===========================================================================
    event  further values
    ====== ===========================================================================
    start  ``epochs``: the number to train
    resume ``epoch``, the last completed one, and ``epochs``
    batch  those of `Progress`: running means over the epoch
    epoch  all columns of the history
    stop   ``epoch``; ``reason``: "completed", "stopped" by a callback, "interrupted",
           "diverged" or "failed"; after an exception ``message``, its first line
    ====== ===========================================================================

    NaN, a missing value, is null; infinities are the texts "Infinity" and "-Infinity", as JSON has
    no others. A process that is killed writes no stop. If it leaves half a line, the next start
    removes that, and it adds completed epochs that the file lacks.

    Parameters
    ----------
    path : str or path-like
        The file; its folder must exist. An existing file is appended to.
    every : int, optional
        Write a batch event after this many batches; by default none.

    Raises
    ------
    ValueError
        If `every` is below 1, or a column of the history is called "event" or "time".

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> import tinygrad_cnn as tg
    >>> model = tg.nn.Linear(2, 3, rng=np.random.default_rng(0))
    >>> optimizer = tg.optim.SGD(model.parameters(), lr=0.1)
    >>> batches = [(np.ones((4, 2), "f4"), np.array([0, 1, 2, 2]))]
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     log = JSONLines(Path(folder, "log.jsonl"))
    ...     history = tg.train.fit(
    ...         model, tg.cross_entropy, optimizer, batches, epochs=2, callbacks=[log]
    ...     )
    ...     [event["event"] for event in JSONLines.read(log.path)]
    ...     JSONLines.history(log.path) == history
    ['start', 'epoch', 'epoch', 'stop']
    True
    """

    def __init__(self, path: str | os.PathLike[str], every: int | None = None) -> None:
        self.path = Path(path)
        self.every = None if every is None else whole("JSONLines", "every", every)
        self._epochs = 0

    def start(self, model: Module, columns: Sequence[str], history: History, epochs: int) -> None:
        """Mend the end of the file, add epochs that it lacks, and write "start" or "resume"."""
        taken = set(OWN) & set(columns)
        if taken:
            raise ValueError(
                f"JSONLines: {taken.pop()!r} is a column of the history, and a key of every line; "
                "rename the metric"
            )
        self._mend()
        self._epochs = epochs
        if not history:
            self._write("start", {"epochs": epochs})
            return
        logged = [_row(epoch) for epoch in _epochs(self._events(self.path, strict=False))]
        known = 0
        while known < min(len(logged), len(history)) and logged[known] == _row(history[known]):
            known += 1
        for epoch in history[known:]:
            self._write("epoch", _row(epoch))
        self._write("resume", {"epoch": len(history), "epochs": epochs})

    def batch(self, progress: Progress) -> None:
        """Write a batch event, if it is due."""
        if self.every is not None and progress.batch % self.every == 0:
            values = {name: getattr(progress, name) for name in progress.__slots__}
            self._write("batch", values)

    def epoch(self, history: History) -> None:
        """Write an epoch event."""
        self._write("epoch", _row(history[-1]))

    def end(self, history: History) -> None:
        """Write a stop event."""
        reason = "completed" if len(history) >= self._epochs else "stopped"
        self._write("stop", {"epoch": len(history), "reason": reason})

    def exception(self, history: History, error: BaseException) -> None:
        """Write a stop event with the reason."""
        if not self._epochs:  # `start` failed
            return
        reason = {KeyboardInterrupt: "interrupted", TrainingDiverged: "diverged"}
        found = [reason[kind] for kind in reason if isinstance(error, kind)]
        message = (str(error).splitlines() or [""])[0]
        self._write(
            "stop",
            {
                "epoch": len(history),
                "reason": found[0] if found else "failed",
                "message": f"{type(error).__name__}: {message}".removesuffix(": "),
            },
        )

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> list[dict[str, Any]]:
        """Return all events of a file.

        Parameters
        ----------
        path : str or path-like
            The file. If its last line is incomplete, because the process was killed while writing
            it or still writes, that is left out.

        Raises
        ------
        ValueError
            If another line is damaged; the message names file and line.
        OSError
            If the file cannot be read.
        """
        return [event for _, event in cls._events(Path(path))]

    @classmethod
    def history(cls, path: str | os.PathLike[str]) -> History:
        """Return the epochs of the last run in a file: of repeated ones the last.

        Parameters
        ----------
        path : str or path-like
            See `read`.

        Raises
        ------
        ValueError
            If a line is damaged, or an epoch is missing; the message names file and line.
        OSError
            If the file cannot be read.
        """
        return History(_epochs(cls._events(Path(path)), Path(path)))

    @staticmethod
    def _events(path: Path, strict: bool = True) -> Iterator[tuple[int, dict[str, Any]]]:
        """Yield the number and the event of each complete line; skip damaged ones if not strict."""
        if not strict and not path.is_file():
            return
        lines = path.read_bytes().split(b"\n")
        for number, line in enumerate(lines, start=1):
            last = number == len(lines)
            if last and not line:
                return
            try:
                yield number, _event(line)
            except ValueError as error:
                if strict and not last:
                    raise ValueError(f"{path}: line {number}: {error}") from error

    def _mend(self) -> None:
        """Complete or remove the last line of the file, if it has no end."""
        if not self.path.is_file():
            return
        with open(self.path, "r+b") as file:
            contents = file.read()
            last = contents.rpartition(b"\n")[2]
            if last:
                try:
                    _event(last)
                    file.write(b"\n")
                except ValueError:
                    file.truncate(len(contents) - len(last))

    def _write(self, event: str, values: Mapping[str, Any]) -> None:
        time = datetime.now(UTC).isoformat(timespec="milliseconds")
        fields = {"event": event, "time": time, **values}
        line = json.dumps(
            {name: _json(value) for name, value in fields.items()},
            ensure_ascii=False,
            allow_nan=False,
        )
        try:
            with open(self.path, "ab") as file:
                file.write(line.encode(errors="backslashreplace") + b"\n")
        except OSError as error:
            if error.filename is None:  # as of a full disk
                raise OSError(error.errno, error.strerror, str(self.path)) from error
            raise


def _event(line: bytes) -> dict[str, Any]:
    """Return the event in a line; ValueError if it is none."""
    try:
        event = json.loads(line.decode())
    except RecursionError:
        raise ValueError("is nested too deeply") from None
    if not isinstance(event, dict) or not isinstance(event.get("event"), str):
        raise ValueError("is not a JSON object with an event")
    return event


def _epochs(events: Iterator[tuple[int, dict[str, Any]]], path: Path | None = None) -> list[Epoch]:
    """Return the epochs of the last run, of repeated ones the last.

    A damaged event is skipped, or with the `path` of the file ValueError names it.
    """
    rows: list[Epoch] = []
    for line, event in events:
        try:
            match event["event"]:
                case "start":
                    rows.clear()
                case "resume":
                    done = int(event["epoch"])
                    if not 0 <= done <= len(rows):
                        raise ValueError(f"it continues after epoch {done}; there are {len(rows)}")
                    del rows[done:]
                case "epoch":
                    row = Epoch.from_dict({k: v for k, v in event.items() if k not in OWN})
                    if not 1 <= row.epoch <= len(rows) + 1:
                        raise ValueError(f"got epoch {row.epoch}, expected epoch {len(rows) + 1}")
                    rows[row.epoch - 1 :] = [row]
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            if path is not None:
                what = f"{error} is missing" if isinstance(error, KeyError) else error
                raise ValueError(f"{path}: line {line}: {what}") from error
    return rows


def _row(epoch: Epoch) -> dict[str, Any]:
    return {name: _json(value) for name, value in epoch.as_dict().items()}


def _json(value: Any) -> Any:
    """Return a value as JSON can write it."""
    if isinstance(value, float):
        if math.isnan(value):
            return None
        return float(value) if math.isfinite(value) else str(value).replace("inf", "Infinity")
    return value
