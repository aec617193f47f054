"""What is wanted of a run while it goes on: to wait, to do one batch, to end."""

from __future__ import annotations

import time
from collections.abc import Callable

from tinygrad_cnn.studio.store import Store, runs
from tinygrad_cnn.studio.store.tables import RunState
from tinygrad_cnn.studio.training.reporting import Reporter
from tinygrad_cnn.studio.training.states import tell_state
from tinygrad_cnn.train import Callback, Progress

__all__ = ["Cancelled", "Control"]

POLL_SECONDS = 0.05


class Cancelled(Exception):  # noqa: N818  # what happened, not what is wrong
    """The run is to end, and to leave nothing."""


class Control(Callback):
    """Heeds, between batches, what is wanted of a run.

    A paused run waits in `batch`, or in `heed` before its first; it is told to go on, to do one
    batch more or to end by its row in the database, which is looked at every ``POLL_SECONDS``.

    Parameters
    ----------
    store : Store
    run_id : int
    reporter : Reporter
        Is told to report at once where the run stops.
    now, sleep : callable
        The time in seconds, and how to pass it.
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
        """Heed what is wanted, if it is time to look or only this batch was."""
        if self._paused or self.now() - self._looked >= POLL_SECONDS:
            self.heed()

    def heed(self) -> None:
        """Return when there is a batch to do; raise Cancelled if there is none any more."""
        while not self._may_go_on():
            self.sleep(POLL_SECONDS)
        self._looked = self.now()

    def _may_go_on(self) -> bool:
        with self.store.reading() as session:
            run = runs.get(session, self.run_id)
            wanted, steps = run.wanted, run.steps
        if wanted == "cancel":
            raise Cancelled
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
            tell_state(session, self.run_id, self.reporter.step)

    def _take_step(self) -> bool:
        with self.store.session() as session:
            run = runs.get(session, self.run_id)
            taken = run.wanted == "pause" and run.steps > 0
            run.steps -= taken
        return taken
