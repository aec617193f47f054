"""The supervisor: starts training processes, a few at a time, and restarts them."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

from sqlalchemy.orm.attributes import flag_modified

from tinygrad_cnn.studio.settings import StudioSettings
from tinygrad_cnn.studio.shortage import Shortage
from tinygrad_cnn.studio.store import Store, StoredRun, models, runs
from tinygrad_cnn.studio.store.tables import now
from tinygrad_cnn.studio.training.requests import FIRST, queue, train_request
from tinygrad_cnn.studio.training.worker import OTHER_VERSION

__all__ = ["Interruption", "Supervisor"]

ATTEMPTS = 3
GOODBYE_SECONDS = 5.0
RETRY_SECONDS, LONGEST_RETRY_SECONDS = 0.5, 60.0
FIRST_EPOCHS = 4
WORKER = "tinygrad_cnn.studio.training.worker"
ROOT = Path(__file__).parents[3]
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Interruption:
    """A run that has begun but has no process, and continues in another.

    Attributes
    ----------
    reason : str or None
        Why its last process has ended, as a sentence, until that is stored with the run.
    retry_at : datetime or None
        When the next one is started, if not as soon as a place is free.
    failures : int
        Number of processes in a row that ended within `epoch`.
    epoch : int
    """

    reason: str | None = None
    retry_at: datetime | None = None
    failures: int = 0
    epoch: int = 0


class Supervisor:
    """Trains the runs of a store, each in its own process, up to ``concurrent_runs`` at a time.

    Started runs resume first, then queued runs follow in order. A run keeps its place until it
    ends, also while it is paused or interrupted. A process that dies is restarted, after growing
    delays: as often as it takes if the disk is full or the database locked; otherwise, after
    ``ATTEMPTS`` without a new epoch, the run has failed.

    Parameters
    ----------
    store : Store
    settings : StudioSettings
        Holds the data folder and the number of places.
    """

    def __init__(self, store: Store, settings: StudioSettings) -> None:
        self.store = store
        self.settings = settings
        self._changed = threading.Condition()  # guards all below
        self._processes: dict[int, subprocess.Popen[bytes]] = {}
        self._interruptions: dict[int, Interruption] = {}
        self._threads: list[threading.Thread] = []
        self._stopping = False

    def start(self) -> None:
        """Start training queued runs, or a first model if there is none."""
        self._queue_first_model()
        self._stopping = False
        self._threads = [
            threading.Thread(target=self._fill_place, name=f"supervisor-{number}", daemon=True)
            for number in range(self.settings.concurrent_runs)
        ]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Stop the training processes; their runs can resume from their last epochs."""
        if not self._threads:
            return
        with self._changed:
            self._stopping = True
            processes = list(self._processes.values())
            self._changed.notify_all()
        _end(processes)
        for thread in self._threads:
            thread.join()
        self._threads = []
        self._interruptions.clear()

    def wake(self) -> None:
        """Check at once for runs to start; call it after adding one."""
        with self._changed:
            self._changed.notify_all()

    @property
    def workers(self) -> dict[int, int]:
        """The ids of the training processes, by run."""
        with self._changed:
            return {run_id: process.pid for run_id, process in self._processes.items()}

    def interruption(self, run_id: int) -> Interruption | None:
        """Return why a run has no process; None if it has one, or before `start`."""
        with self._changed:
            process = self._processes.get(run_id)
            if not self._threads or (process is not None and process.returncode is None):
                return None
            return self._interruptions.get(run_id, Interruption())

    def unstored(self) -> dict[int, Interruption]:
        """Return the interruptions, by run, that could not be stored: on a full disk."""
        with self._changed:
            waiting = self._interruptions.keys() - self._processes.keys()
            return {id: self._interruptions[id] for id in waiting if self._interruptions[id].reason}

    def waits_for(self, run_id: int) -> list[int]:
        """Return the runs that hold all places, if a run waits for one."""
        with self._changed:
            holders = sorted(self._processes.keys() | self._interruptions.keys())
        waits = run_id not in holders and len(holders) >= self.settings.concurrent_runs
        return holders if waits else []

    def _queue_first_model(self) -> None:
        with self.store.session() as session:
            waiting = runs.unfinished(session) or runs.queued(session)
            if not waiting and not models.all(session):
                request = train_request(FIRST["model"], FIRST["data"], epochs=FIRST_EPOCHS)
                queue(session, request, "First model")

    def _fill_place(self) -> None:
        """Train one run after another."""
        while (started := self._start_next()) is not None:
            run_id, process = started
            process.wait()
            if process.stdin is not None:
                process.stdin.close()
            if not self._stopping:
                self._look_after(run_id, process.returncode)
            with self._changed:
                del self._processes[run_id]
                self._changed.notify_all()

    def _start_next(self) -> tuple[int, subprocess.Popen[bytes]] | None:
        """Start the next run, as soon as there is one; return None when stopping."""
        with self._changed:
            while not self._stopping:
                try:
                    run_id, delay = self._next()
                    if run_id is not None:
                        process = self._processes[run_id] = _started(self.settings, run_id)
                        return run_id, process
                except Exception as error:  # such as a full disk: the thread must survive
                    delay = RETRY_SECONDS
                    _warn("no run could be started", error)
                self._changed.wait(delay)
        return None

    def _next(self) -> tuple[int | None, float | None]:
        """Return the next run to start, or None and the seconds until one may be."""
        with self.store.reading() as session:
            waiting = {run.id: run for run in (*runs.unfinished(session), *runs.queued(session))}
        for id in self._interruptions.keys() - waiting.keys():  # canceled meanwhile
            del self._interruptions[id]
        holders = self._processes.keys() | self._interruptions.keys()
        order = sorted(waiting, key=lambda id: (id not in holders, waiting[id].state == "queued"))
        moment, delays = now(), []
        for id in order[: self.settings.concurrent_runs]:
            if id in self._processes:
                continue
            retry_at = self._interruptions.get(id, Interruption()).retry_at
            if retry_at is None or retry_at <= moment:
                return id, None
            delays.append((retry_at - moment).total_seconds())
        return None, min(delays, default=None)

    def _look_after(self, run_id: int, status: int) -> None:
        """Note why a process has ended before its run."""
        reason, shortage = _reason(status), Shortage.of_status(status)
        try:
            with self.store.session() as session:
                run = session.get(StoredRun, run_id)
                if run is None or run.state in runs.ENDED:
                    return self._forget(run_id)
                if run.wanted == "cancel":
                    runs.set_state(session, run_id, "cancelled")
                    return self._forget(run_id)
                if status == 0:  # it had ended the run, which was retried before the process left
                    return self._forget(run_id)
                log.warning("run %d is interrupted: %s", run_id, reason)
                self._interrupt(run_id, run.epoch, reason)
                run.error = reason
                flag_modified(run, "error")  # the time of the next attempt has changed
                lasting = shortage in (Shortage.DISK, Shortage.LOCK) or status == OTHER_VERSION
                run.attempts += not lasting
                if run.attempts >= ATTEMPTS:
                    error = (
                        f"the run's process ended {run.attempts} times before it had finished "
                        f"an epoch, the last time because {reason}"
                    )
                    runs.set_state(session, run_id, "failed", error=error)
                    self._forget(run_id)
        except Exception as error:
            _warn(f"the end of run {run_id}'s process could not be stored", error)
            shortage = Shortage.of(error)
            self._interrupt(run_id, reason=shortage.reason if shortage else reason)
        else:
            self._stored(run_id)

    def _stored(self, run_id: int) -> None:
        """Note that the reason of an interruption is stored with its run."""
        with self._changed:
            found = self._interruptions.get(run_id)
            if found is not None:
                self._interruptions[run_id] = replace(found, reason=None)

    def _forget(self, run_id: int) -> None:
        with self._changed:
            self._interruptions.pop(run_id, None)

    def _interrupt(self, run_id: int, epoch: int | None = None, reason: str | None = None) -> None:
        with self._changed:
            before = self._interruptions.get(run_id, Interruption())
            epoch = before.epoch if epoch is None else epoch
            failures = before.failures + 1 if epoch == before.epoch else 1
            seconds = min(RETRY_SECONDS * 2 ** min(failures - 1, 9), LONGEST_RETRY_SECONDS)
            retry_at = now() + timedelta(seconds=seconds)
            self._interruptions[run_id] = Interruption(reason, retry_at, failures, epoch)


def _reason(status: int) -> str:
    """Return why a process has ended, as a sentence."""
    shortage = Shortage.of_status(status)
    if shortage is not None:
        return shortage.reason
    if status == OTHER_VERSION:
        return "tinygrad_cnn was updated while the studio was running: restart the studio"
    if status < 0:
        return f"its process was killed (signal {-status}), perhaps for want of memory"
    return f"its process ended with status {status}"


def _warn(what: str, error: Exception) -> None:
    shortage = Shortage.of(error)
    if shortage is None:
        log.exception(what)
    else:
        log.warning("%s: %s", what, shortage.reason)


def _started(settings: StudioSettings, run_id: int) -> subprocess.Popen[bytes]:
    # -P: not from the current folder. A package that was itself found there is still found.
    environment = dict(os.environ)
    if Path(sys.path[0]).resolve() == ROOT:
        paths = (str(ROOT), environment.get("PYTHONPATH"))
        environment["PYTHONPATH"] = os.pathsep.join(path for path in paths if path)
    return subprocess.Popen(
        [sys.executable, "-P", "-m", WORKER, str(settings.data_dir.resolve()), str(run_id)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        env=environment,
        start_new_session=True,  # Ctrl+C in the terminal goes to the server, which then stops it
    )


def _end(processes: list[subprocess.Popen[bytes]]) -> None:
    for process in processes:
        assert process.stdin is not None
        process.stdin.close()
    for process in processes:
        try:
            process.wait(GOODBYE_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
