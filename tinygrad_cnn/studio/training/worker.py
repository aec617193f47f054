"""The training process: ``python -m tinygrad_cnn.studio.training.worker DATA_DIR RUN_ID``.

It exits when its standard input closes, as the server is then gone, and the next server starts
another. If it is killed, the run resumes from its last epoch.
"""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path

from tinygrad_cnn.data import DataError
from tinygrad_cnn.engine.threads import num_threads
from tinygrad_cnn.studio import model_files, report
from tinygrad_cnn.studio.settings import StudioSettings
from tinygrad_cnn.studio.store import ConflictError, NotFoundError, Store, models, points, runs
from tinygrad_cnn.studio.store.tables import RunState
from tinygrad_cnn.studio.training.control import CanceledError, Control
from tinygrad_cnn.studio.training.lock import FileLock
from tinygrad_cnn.studio.training.preparation import Preparation, prepare
from tinygrad_cnn.studio.training.reporting import Reporter, epoch_payload
from tinygrad_cnn.studio.training.states import epochs_recorded, record_state
from tinygrad_cnn.train import RunError, TrainingDiverged

__all__ = ["main", "work"]

NICENESS = 10
LOCK_SECONDS = 30.0

HOPELESS = (
    TrainingDiverged,
    DataError,
    RunError,
    NotFoundError,
    ConflictError,
    ValueError,
    MemoryError,
)
"""Errors that a restart would repeat."""


def main(arguments: list[str]) -> int:
    """Execute one run, and return the exit status."""
    threading.Thread(target=_end_with_the_server, daemon=True).start()
    if hasattr(os, "nice"):
        os.nice(NICENESS)
    settings = StudioSettings(data_dir=Path(arguments[0]))
    store = Store(settings.database)
    # The worker of a killed server may take a moment to exit.
    with FileLock(settings.data_dir / "training.lock", wait=LOCK_SECONDS), num_threads(1):
        work(store, settings, int(arguments[1]))
    store.close()
    return 0


def work(store: Store, settings: StudioSettings, run_id: int) -> None:
    """Execute a run from its current state to its end, and store the result.

    Parameters
    ----------
    store : Store
    settings : StudioSettings
    run_id : int
        The run's id; does nothing if it has ended.
    """
    with store.reading() as session:
        if runs.get(session, run_id).state in runs.ENDED:
            return
    try:
        _train(store, settings, run_id)
    except CanceledError:
        _end(store, run_id, "cancelled")
    except HOPELESS as error:
        _end(store, run_id, "failed", str(error) or type(error).__name__)


def _train(store: Store, settings: StudioSettings, run_id: int) -> None:
    preparation = prepare(store, settings.runs_dir / str(run_id), run_id)
    training_run = preparation.training_run
    batches, epochs = len(training_run.loader), len(training_run.history)
    reporter = Reporter(store, run_id, training_run.model, batches, epochs)
    control = Control(store, run_id, reporter)
    _begin(store, run_id, preparation, reporter)
    control.heed()
    training_run.train(preparation.folder, [reporter, control])
    _finish(store, run_id, preparation, reporter.step)


def _begin(store: Store, run_id: int, preparation: Preparation, reporter: Reporter) -> None:
    """Mark the run as started, or resumed from its checkpoint, without duplicate points."""
    history = preparation.training_run.history
    before = preparation.measure() if not history else None
    with store.session() as session:
        found = runs.get(session, run_id)
        if found.state in runs.ENDED:  # it ended while waiting or loading data
            raise CanceledError
        again = found.started is not None
        run = runs.set_state(session, run_id, "running")
        run.epoch = len(history)
        if run.before is None and before is not None:
            run.before = before
        if again:
            points.forget_after(session, run_id, reporter.step)
            recorded = epochs_recorded(session, run_id)
            missing = [epoch for epoch in history if epoch.epoch not in recorded]
            points.add_many(
                session,
                run_id,
                [
                    *(("epoch", e.epoch * reporter.batches, epoch_payload(e)) for e in missing),
                    ("restarted", reporter.step, {"epoch": len(history)}),
                ],
            )
        record_state(session, run_id, reporter.step)
        reporter.show_kernels(session)


def _finish(store: Store, run_id: int, preparation: Preparation, step: int) -> None:
    """Add the model and mark the run as done in one transaction."""
    training_run = preparation.training_run
    after = preparation.measure()
    weights = model_files.pack(training_run.settings, training_run.model.state_dict())
    measured = report.report(training_run.model, training_run.settings, training_run.split.test)
    with store.session() as session:
        run = runs.get(session, run_id)
        if run.wanted == "cancel":
            raise CanceledError
        model = models.add(
            session,
            name=run.name,
            settings=training_run.settings,
            weights=weights,
            report=measured,
            run_id=run_id,
            parent_id=run.request.get("model_id"),
        )
        run.after = after
        if models.promoted_id(session) is None:
            models.promote(session, model.id)
        runs.set_state(session, run_id, "done", model_id=model.id)
        record_state(session, run_id, step)


def _end(store: Store, run_id: int, state: RunState, error: str | None = None) -> None:
    with store.session() as session:
        if runs.get(session, run_id).state not in runs.ENDED:
            runs.set_state(session, run_id, state, error=error)
            record_state(session, run_id)


def _end_with_the_server() -> None:
    while os.read(sys.stdin.fileno(), 1024):
        pass
    os._exit(0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
