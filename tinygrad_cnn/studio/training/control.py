"""Run control: pause, single step and cancel, between batches."""

from __future__ import annotations

import time
from collections.abc import Callable

from tinygrad_cnn.studio.store import Store, runs
from tinygrad_cnn.studio.store.tables import RunState
from tinygrad_cnn.studio.training.reporting import Reporter
from tinygrad_cnn.train import Callback, Progress
from tinygrad_cnn.train.interruption import interrupted

__all__ = ["CanceledError", "Control"]

POLL_SECONDS = 0.05


class CanceledError(Exception):
    """The run is canceled, and leaves no model."""


class Control(Callback):
    """Callback that applies the requested state of a run between batches.

    A paused run waits in `batch`, or in `heed` before its first batch. Its row in the database,
    polled every ``POLL_SECONDS``, makes it continue, do one more batch, or end.

    Parameters
    ----------
    store : Store
    run_id : int
    reporter : Reporter
        Flushed when the run pauses.
    now, sleep : callable
        Return the time in seconds, and wait for seconds.
    """

    def __init__(
        self,
        store: Store,
        run_id: int,
        reporter: Reporter,
        now: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.store = store
        self.run_id = run_id
        self.reporter = reporter
        self.now = now
        self.sleep = sleep
        self._paused = False
        self._looked = -POLL_SECONDS

    def batch(self, progress: Progress) -> None:
        """Apply the requested state if a poll is due, or after a single step."""
        if self._paused or self.now() - self._looked >= POLL_SECONDS:
            self.heed()

    def heed(self) -> None:
        """Return when there is a batch to do; raise CanceledError if the run is to end."""
        while not self._may_go_on() and not interrupted():
            self.sleep(POLL_SECONDS)
        self._looked = self.now()

    def _may_go_on(self) -> bool:
        with self.store.reading() as session:
            run = runs.get(session, self.run_id)
            wanted, steps = run.wanted, run.steps
        if wanted == "cancel":
            raise CanceledError
        if wanted == "run":
            if self._paused:
                self._become("running")
            return True
        if not self._paused:
            self.reporter.flush()
            self._become("paused")
        return steps > 0 and self._take_step()

    def _become(self, state: RunState) -> None:
        self._paused = self.reporter.every_batch = state == "paused"
        with self.store.session() as session:
            runs.set_state(session, self.run_id, state)

    def _take_step(self) -> bool:
        with self.store.session() as session:
            run = runs.get(session, self.run_id)
            taken = run.wanted == "pause" and run.steps > 0
            run.steps -= taken
        return taken
