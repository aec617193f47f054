"""Parallel execution of runs: each in its own process, with one thread.

A run that measures seconds is executed alone.
"""

from __future__ import annotations

import os
import signal
import threading
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from importlib import import_module
from multiprocessing import get_context, parent_process
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from time import perf_counter
from typing import Any

from tinygrad_cnn.bench.machine import cores
from tinygrad_cnn.bench.process import LIMITS
from tinygrad_cnn.engine.threads import num_threads
from tinygrad_cnn.experiments.experiment import Record, Unavailable
from tinygrad_cnn.experiments.fingerprint import difference, provenance
from tinygrad_cnn.experiments.results import Measurement, Results
from tinygrad_cnn.experiments.runs import ExperimentRun, FinishedRuns
from tinygrad_cnn.support.modules import load_file
from tinygrad_cnn.support.processes import SAFE_PATH, environment, leave_safe_path

__all__ = ["DONE", "FAILED", "LACKING", "Outcome", "Watcher", "perform"]

SEND_EVERY = 0.2  # seconds
DONE, FAILED, LACKING = "done", "failed", "lacking"


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of a run.

    Attributes
    ----------
    run : ExperimentRun
    status : str
        "done", "failed", or "lacking" if this machine lacks what the run needs.
    reason : str
        One line, for a run that is not done.
    details : str
        The traceback of a failed run, if there is one.
    """

    run: ExperimentRun
    status: str
    reason: str = ""
    details: str = ""


class Watcher:
    """Callbacks for the progress of runs: derive from it and override methods as needed."""

    def began(self, run: ExperimentRun) -> None:
        """Handle the start of a run."""

    def went_on(self, run: ExperimentRun, share: float) -> None:
        """Handle progress of a run: the share done, or NaN if unknown."""

    def ended(self, outcome: Outcome) -> None:
        """Handle the end of a run."""


@dataclass(slots=True)
class _Working:
    run: ExperimentRun
    path: Path
    process: BaseProcess
    messages: Connection
    last: tuple[str, ...] = field(default=())


def perform(
    runs: Sequence[ExperimentRun],
    folder: FinishedRuns,
    *,
    jobs: int | None = None,
    watcher: Watcher | None = None,
) -> list[Outcome]:
    """Execute runs, saving each as soon as it is complete.

    Parameters
    ----------
    runs : sequence of ExperimentRun
        In order of execution, except that those that measure seconds come last.
    folder : FinishedRuns
        The folder to save them in.
    jobs : int, optional
        Number of parallel runs; by default one per core.
    watcher : Watcher, optional

    Returns
    -------
    list of Outcome
        In order of completion. A failed run does not hold up the others.

    Raises
    ------
    KeyboardInterrupt
        Passed on; unfinished runs are stopped, and complete ones are kept.
    OSError
        If the folder cannot be created.
    """
    watcher = watcher or Watcher()
    jobs = jobs or cores()
    waiting = sorted(runs, key=lambda run: run.alone)[::-1]
    working: dict[Connection, _Working] = {}
    outcomes = []
    try:
        while waiting or working:
            while waiting and len(working) < (1 if waiting[-1].alone else jobs):
                started = _start(waiting.pop(), folder)
                working[started.messages] = started
                watcher.began(started.run)
            for ready in wait(list(working)):
                assert isinstance(ready, Connection)
                outcome = _heard(working[ready], watcher)
                if outcome is not None:
                    del working[ready]
                    outcomes.append(outcome)
                    watcher.ended(outcome)
    finally:
        for each in working.values():
            each.process.kill()
            each.process.join()
            each.messages.close()
    return outcomes


def _start(run: ExperimentRun, folder: FinishedRuns) -> _Working:
    path = folder.path(run)
    path.parent.mkdir(parents=True, exist_ok=True)
    ours, theirs = (context := get_context("spawn")).Pipe(duplex=False)
    process = context.Process(
        target=_work,
        args=(
            _Order(
                *_place(run.function),
                run.experiment.name,
                run.experiment.source,
                run.variant,
                dict(run.arguments),
                run.seed,
                run.provenance,
                path,
                folder.saved(run),
            ),
            theirs,
        ),
        name=str(run),
        daemon=True,
    )
    with environment({**dict.fromkeys(LIMITS, "1"), **SAFE_PATH}):  # one thread each
        process.start()
    theirs.close()  # so that our end closes when the process ends
    return _Working(run, path, process, ours)


def _heard(working: _Working, watcher: Watcher) -> Outcome | None:
    """Receive one message; return the outcome if it was the last."""
    try:
        message = working.messages.recv()
    except (EOFError, OSError):
        working.process.join()
        working.messages.close()
        return _outcome(working)
    if isinstance(message, float):
        watcher.went_on(working.run, message)
    else:
        working.last = message
    return None


def _outcome(working: _Working) -> Outcome:
    status = working.process.exitcode
    if working.path.exists():
        return Outcome(working.run, DONE)
    if working.last:
        return Outcome(working.run, *working.last)
    if status is not None and status < 0:
        return Outcome(working.run, FAILED, f"was ended by {signal.Signals(-status).name}")
    return Outcome(working.run, FAILED, f"its process ended with status {status}")


def _place(run: Callable[..., None]) -> tuple[str, str, str]:
    """Return module, file and name of a function, to import it in another process."""
    name = run.__qualname__
    if "<" in name:
        raise TypeError(f"experiment: run is {name}, expected a function of a module")
    return run.__module__, run.__code__.co_filename, name


@dataclass(frozen=True, slots=True)
class _Order:
    """The run that a process is to execute."""

    module: str
    file: str
    function: str
    experiment: str
    source: str
    variant: str
    arguments: Mapping[str, Any]
    seed: int
    provenance: Mapping[str, Any]
    path: Path
    saved: Path

    def run(self) -> Callable[..., None]:
        """Return the `run` function."""
        own = self.module.startswith("tinygrad_cnn.")
        module = import_module(self.module) if own else load_file(self.file)
        function: Callable[..., None] = getattr(module, self.function)
        return function


def _work(order: _Order, messages: Connection) -> None:
    """Execute a run in a worker process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent process handles it
    leave_safe_path()
    threading.Thread(target=_end_with_parent, daemon=True).start()
    sent = perf_counter()

    def send(share: float) -> None:
        nonlocal sent
        if perf_counter() - sent >= SEND_EVERY:
            messages.send(share)
            sent = perf_counter()

    try:
        run = order.run()
        changed = difference(order.provenance, provenance(run, order.arguments))
        if changed:  # this process would read the changed files
            raise RuntimeError(f"changed since the command was started: {changed}")
        with num_threads(1):
            record = Record(order.source, order.saved, send, order.path.with_suffix(""))
            run(record, seed=order.seed, **order.arguments)
        if not record.rows:
            raise ValueError("the run recorded nothing")
        rows = [Measurement(order.variant, order.seed, *row) for row in record.rows]
        Results(order.experiment, rows, order.provenance).to_csv(order.path)
        order.saved.unlink(missing_ok=True)
    except Unavailable as error:
        messages.send((LACKING, _line(error)))
    except Exception as error:
        messages.send((FAILED, _line(error), traceback.format_exc()))


def _end_with_parent() -> None:
    """End this process when its parent ends, even if killed."""
    parent = parent_process()
    if parent is not None:
        with suppress(OSError):
            wait([parent.sentinel])
        os._exit(1)


def _line(error: BaseException) -> str:
    message = " ".join(str(error).split())
    return f"{type(error).__name__}: {message}" if message else type(error).__name__
