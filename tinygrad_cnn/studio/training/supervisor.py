"""The supervisor: starts training processes one at a time, and restarts them."""

from __future__ import annotations

import logging
import subprocess
import sys
import threading

from tinygrad_cnn.studio.settings import StudioSettings
from tinygrad_cnn.studio.store import Store, models, runs
from tinygrad_cnn.studio.training.lock import FileLock
from tinygrad_cnn.studio.training.requests import train_request
from tinygrad_cnn.studio.training.states import queue, record_state

__all__ = ["Supervisor"]

ATTEMPTS = 3
GOODBYE_SECONDS = 5.0
RETRY_SECONDS = 1.0
FIRST_EPOCHS = 4
log = logging.getLogger(__name__)


class Supervisor:
    """Trains the runs of a store one at a time, each in its own process.

    Started runs resume first, then queued runs follow in order. A process that dies is restarted;
    after ``ATTEMPTS`` without a new epoch the run has failed.

    Parameters
    ----------
    store : Store
    settings : StudioSettings
        Holds the data folder.
    """

    def __init__(self, store: Store, settings: StudioSettings) -> None:
        self.store = store
        self.settings = settings
        self._lock = FileLock(settings.data_dir / "studio.lock")
        self._something = threading.Event()
        self._stopping = threading.Event()
        self._starting = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start training queued runs, or a first model if there is none.

        Raises
        ------
        InUseError
            If another studio uses the same data folder.
        """
        self._lock.acquire()
        try:
            self._queue_first_model()
        except BaseException:
            self._lock.release()
            raise
        self._stopping.clear()
        self._thread = threading.Thread(target=self._supervise, name="supervisor", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop the current training process; the run can resume from its last epoch."""
        if self._thread is None:
            return
        with self._starting:
            self._stopping.set()
            process = self._process
        self._something.set()
        if process is not None:
            _end(process)
        self._thread.join()
        self._thread = None
        self._lock.release()

    def wake(self) -> None:
        """Check at once for a run to start; call it after adding one."""
        self._something.set()

    @property
    def worker(self) -> int | None:
        """The id of the current training process, if any."""
        process = self._process
        return process.pid if process is not None else None

    def _queue_first_model(self) -> None:
        with self.store.session() as session:
            waiting = runs.unfinished(session) or runs.next_queued(session)
            if not waiting and not models.all(session):
                request = train_request("lenet5", "digits", epochs=FIRST_EPOCHS)
                queue(session, request, "First model")

    def _supervise(self) -> None:
        while not self._stopping.is_set():
            self._something.clear()
            try:
                run_id = self._next()
                if run_id is not None:
                    self._train(run_id)
                    continue
            except Exception:  # such as a full disk: the thread must survive
                log.exception("a run could not be started")
                self._stopping.wait(RETRY_SECONDS)
                continue
            self._something.wait()

    def _next(self) -> int | None:
        with self.store.reading() as session:
            begun = runs.unfinished(session)
            run = begun[0] if begun else runs.next_queued(session)
            return run.id if run else None

    def _train(self, run_id: int) -> None:
        with self._starting:
            if self._stopping.is_set():
                return
            self._process = process = _started(self.settings, run_id)
        try:
            status = process.wait()
        finally:
            if process.stdin is not None:
                process.stdin.close()
            self._process = None
        if not self._stopping.is_set():
            self._look_after(run_id, status)

    def _look_after(self, run_id: int, status: int) -> None:
        """Count the attempt, if the process has ended but the run has not."""
        with self.store.session() as session:
            run = runs.get(session, run_id)
            if run.state in runs.ENDED:
                return
            run.attempts += 1
            log.warning("run %d: its process ended with status %d", run_id, status)
            if run.attempts >= ATTEMPTS:
                error = (
                    f"the run's process ended {run.attempts} times before it had finished "
                    f"an epoch, the last time with status {status}"
                )
                runs.set_state(session, run_id, "failed", error=error)
            record_state(session, run_id)


def _started(settings: StudioSettings, run_id: int) -> subprocess.Popen[bytes]:
    module = "tinygrad_cnn.studio.training.worker"
    return subprocess.Popen(
        [sys.executable, "-m", module, str(settings.data_dir.resolve()), str(run_id)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        start_new_session=True,  # Ctrl+C in the terminal goes to the server, which then stops it
    )


def _end(process: subprocess.Popen[bytes]) -> None:
    assert process.stdin is not None
    process.stdin.close()
    try:
        process.wait(GOODBYE_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
