"""The training process: ``python -m tinygrad_cnn.studio.training.worker DATA_DIR RUN_ID``.

It exits when its standard input closes, as the server is then gone, and the next server starts
another. If it is killed, the run resumes from its last checkpoint.
"""

from __future__ import annotations

import os
import sys
import threading
import traceback
from contextlib import suppress
from pathlib import Path

from sqlalchemy.orm.attributes import flag_modified

from tinygrad_cnn.data import DataError
from tinygrad_cnn.engine.threads import num_threads
from tinygrad_cnn.studio import model_files, novelty, report
from tinygrad_cnn.studio.data_folder import run_lock
from tinygrad_cnn.studio.image_sets import DRAWN_SETS
from tinygrad_cnn.studio.settings import StudioSettings
from tinygrad_cnn.studio.shortage import Shortage
from tinygrad_cnn.studio.store import (
    ConflictError,
    NotFoundError,
    OtherVersionError,
    Store,
    StoredModel,
    StoredRun,
    checked_name,
    models,
    points,
    runs,
)
from tinygrad_cnn.studio.store.tables import RunState
from tinygrad_cnn.studio.training.control import CanceledError, Control
from tinygrad_cnn.studio.training.preparation import Preparation, prepare
from tinygrad_cnn.studio.training.reporting import Reporter, epoch_payload, result_of
from tinygrad_cnn.train import RunError, TrainingDiverged

__all__ = ["main", "work"]

NICENESS = 10
ERROR_LOG = "error.log"
OTHER_VERSION = 78
"""The exit status of a process whose version of the package is not that of the database."""

EXPECTED = (TrainingDiverged, DataError, RunError, NotFoundError, ConflictError)
"""Errors that a restart would repeat, with a message for the user."""

UNEXPECTED = (
    f"an unexpected error ended the run; {ERROR_LOG} in the run's folder has the details. What was "
    "trained is kept: retry the run to continue"
)


def main(arguments: list[str]) -> int:
    """Execute one run; return 0, the exit status of a `Shortage`, or ``OTHER_VERSION``."""
    threading.Thread(target=_end_with_the_server, daemon=True).start()
    if hasattr(os, "nice"):
        os.nice(NICENESS)
    settings, run_id = StudioSettings(data_dir=Path(arguments[0])), int(arguments[1])
    folder = settings.runs_dir / str(run_id)
    store = Store(settings.database)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # The process of a killed server may take a moment to exit.
        with run_lock(folder), num_threads(1):
            store.require_current()  # a newer studio migrates only while no run is locked
            work(store, settings, run_id)
    except OtherVersionError as error:
        print(error, file=sys.stderr)
        return OTHER_VERSION
    except Exception as error:
        shortage = Shortage.of(error)
        if shortage is None:
            raise
        return shortage.status
    finally:
        store.close()
    return 0


def work(store: Store, settings: StudioSettings, run_id: int) -> None:
    """Execute a run from its current state to its end, and store the result.

    Any error that a restart would repeat is stored as the run's error.

    Parameters
    ----------
    store : Store
    settings : StudioSettings
    run_id : int
        The run's id; does nothing if it has ended or does not exist.

    Raises
    ------
    Exception
        If there is a `Shortage`: the run can resume from its last epoch.
    """
    with store.reading() as session:
        run = session.get(StoredRun, run_id)
    if run is None or run.state in runs.ENDED:
        return
    folder = settings.runs_dir / str(run_id)
    try:
        _train(store, folder, run)
    except CanceledError:
        _end(store, run_id, "cancelled")
    except Exception as error:
        if Shortage.of(error) is not None:
            raise
        _log(folder / ERROR_LOG)
        _end(store, run_id, "failed", str(error) if isinstance(error, EXPECTED) else UNEXPECTED)


def _train(store: Store, folder: Path, run: StoredRun) -> None:
    preparation = prepare(store, folder, run.id)
    training_run = preparation.training_run
    batches = len(training_run.loader)
    done = len(training_run.history) * batches + training_run.batches_done
    reporter = Reporter(store, run.id, training_run.model, batches, done)
    control = Control(store, run.id, reporter)
    _begin(store, run.id, preparation, reporter)
    control.heed()
    training_run.train(preparation.folder, [reporter, control])
    _finish(store, run, preparation)


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
        run.epoch, run.error = len(history), None
        flag_modified(run, "state")  # announce it, though it may be the one before an interruption
        if run.before is None and before is not None:
            run.before = before
        if again:
            points.forget_after(session, run_id, reporter.step)
            recorded = points.epochs(session, run_id)
            missing = [epoch for epoch in history if epoch.epoch not in recorded]
            if missing:  # the checkpoint was written, but the process ended before it was reported
                run.result = result_of(history, preparation.training_run.model)
                run.attempts = 0
            points.add_many(
                session,
                run_id,
                [
                    *(("epoch", e.epoch * reporter.batches, epoch_payload(e)) for e in missing),
                    ("restarted", reporter.step, {"epoch": len(history)}),
                ],
            )
        reporter.show_kernels(session)


def _finish(store: Store, begun: StoredRun, preparation: Preparation) -> None:
    """Add the model and mark the run as done, in one transaction that needs no other row.

    The run, and the model that it started from, may have been deleted; and a name that was allowed
    when the run was queued may no longer be.
    """
    training_run = preparation.training_run
    after = preparation.measure()
    weights = model_files.pack(training_run.settings, training_run.model.state_dict())
    measured = report.report(training_run.model, training_run.settings, training_run.split.test)
    split = training_run.split
    detector = novelty.Detector.fit(
        training_run.model, training_run.settings, split.train, split.test
    )
    with store.session() as session:
        run = session.get(StoredRun, begun.id)
        if run is not None and run.wanted == "cancel":
            raise CanceledError
        parent = session.get(StoredModel, begun.request.get("model_id") or 0)
        model = models.add(
            session,
            name=_allowed(begun.name, f"run {begun.id}"),
            settings=training_run.settings,
            weights=weights,
            report=measured,
            detector=None if detector is None else detector.pack(),
            run_id=run.id if run is not None else None,
            parent_id=parent.id if parent is not None else None,
        )
        drawn = training_run.settings.data.source in DRAWN_SETS
        if drawn and models.promoted_id(session) is None:
            models.promote(session, model.id)
        if run is not None:
            run.after = after
            runs.set_state(session, run.id, "done", model_id=model.id)


def _allowed(name: str, otherwise: str) -> str:
    try:
        return checked_name(name)
    except ValueError:
        return otherwise


def _end(store: Store, run_id: int, state: RunState, error: str | None = None) -> None:
    with store.session() as session:
        run = session.get(StoredRun, run_id)
        if run is not None and run.state not in runs.ENDED:
            runs.set_state(session, run_id, state, error=error)


def _log(path: Path) -> None:
    """Append the traceback of the current exception to a file."""
    with suppress(OSError), path.open("a", encoding="utf-8") as file:
        file.write(traceback.format_exc() + "\n")


def _end_with_the_server() -> None:
    while os.read(sys.stdin.fileno(), 1024):
        pass
    os._exit(0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
