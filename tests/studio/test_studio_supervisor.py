"""The supervisor: a few trainings at a time, in order, started again when they die."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from support.shadowing import shadow
from support.studio import add_model, until
from support.studio_training import (
    opened,
    outcome,
    queued,
    run_of,
    set_wanted,
    steps,
    tiny,
)

from tinygrad_cnn.studio import StudioSettings, data_folder
from tinygrad_cnn.studio.shortage import Shortage
from tinygrad_cnn.studio.store import Store, runs
from tinygrad_cnn.studio.training import supervisor as supervising
from tinygrad_cnn.studio.training.supervisor import ATTEMPTS, Supervisor
from tinygrad_cnn.support.lock import FileLock, InUseError

LONG = {"epochs": 200, "batch_size": 100}

SERVER = """
import sys
from pathlib import Path

from tinygrad_cnn.studio.data_folder import opened
from tinygrad_cnn.studio.settings import StudioSettings
from tinygrad_cnn.studio.training.supervisor import Supervisor

settings = StudioSettings(data_dir=Path(sys.argv[1]))
with opened(settings) as store:
    Supervisor(store, settings).start()
    sys.stdin.read()
"""


@pytest.fixture
def studio(tmp_path: Path) -> Iterator[tuple[Store, StudioSettings]]:
    """A studio with a model, so that nothing is trained unasked."""
    add_model(tmp_path / "data")
    store, settings = opened(tmp_path / "data")
    yield store, settings
    store.close()


@contextmanager
def supervised(store: Store, settings: StudioSettings) -> Iterator[Supervisor]:
    supervisor = Supervisor(store, settings)
    supervisor.start()
    try:
        yield supervisor
    finally:
        supervisor.stop()


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def state_of(store: Store, run_id: int) -> str:
    return run_of(store, run_id).state


# --- which run is trained ----------------------------------------------------------------------


def test_without_a_model_one_is_trained_and_only_once(tmp_path: Path) -> None:
    store, settings = opened(tmp_path)
    for _ in range(2):
        supervisor = Supervisor(store, settings)
        supervisor.start()
        supervisor.stop()
    with store.reading() as session:
        (run,) = runs.all(session)
    chosen = {name: run.request[name] for name in ("model", "data", "epochs")}
    assert chosen == {"model": "lenet5", "data": "european-digits", "epochs": 4}
    store.close()


def test_where_there_is_a_model_nothing_is_trained_unasked(
    studio: tuple[Store, StudioSettings],
) -> None:
    store, settings = studio
    with supervised(store, settings) as supervisor, store.reading() as session:
        assert runs.all(session) == []
        assert supervisor.workers == {}


def test_as_many_runs_as_there_are_places_train_at_once_and_a_paused_one_keeps_its(
    studio: tuple[Store, StudioSettings],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shadow(tmp_path)
    monkeypatch.chdir(tmp_path)  # the trainers import nothing from here
    store, settings = studio
    *at_once, last = ids = [queued(store) for _ in range(3)]
    for run_id in at_once:
        set_wanted(store, run_id, "pause")
    with supervised(store, replace(settings, concurrent_runs=2)) as supervisor:
        until(lambda: {state_of(store, run_id) for run_id in at_once} == {"paused"})
        assert list(supervisor.workers) == at_once
        assert [supervisor.waits_for(run_id) for run_id in ids] == [*([] for _ in at_once), at_once]
        assert state_of(store, last) == "queued"
        set_wanted(store, at_once[0], "run")
        until(lambda: state_of(store, last) == "done")
        set_wanted(store, at_once[1], "run")
        until(lambda: {state_of(store, run_id) for run_id in ids} == {"done"})
    assert run_of(store, at_once[0]).ended <= run_of(store, last).started
    assert [outcome(store, run_id) for run_id in ids] == [outcome(store, last)] * len(ids)


def test_a_run_that_had_begun_goes_on_before_those_that_wait(
    studio: tuple[Store, StudioSettings],
) -> None:
    store, settings = studio
    waiting, begun = queued(store), queued(store)
    with store.session() as session:
        runs.set_state(session, begun, "paused")
        runs.get(session, begun).started = runs.get(session, begun).created
    with supervised(store, replace(settings, concurrent_runs=1)):
        until(lambda: state_of(store, waiting) == "done")
    assert run_of(store, begun).ended <= run_of(store, waiting).started
    assert steps(store, begun, "restarted") == [0]


# --- ends --------------------------------------------------------------------------------------


def test_stopping_leaves_a_run_to_be_resumed_and_no_process(
    studio: tuple[Store, StudioSettings],
) -> None:
    store, settings = studio
    run_id = queued(store, tiny(**LONG))
    with supervised(store, settings) as supervisor:
        until(lambda: run_of(store, run_id).epoch > 0)
        worker = supervisor.workers[run_id]
    assert not alive(worker)
    assert state_of(store, run_id) == "running"
    assert run_of(store, run_id).attempts == 0  # no fault of its own
    with supervised(store, settings):
        until(lambda: steps(store, run_id, "restarted"))
    assert steps(store, run_id, "restarted")[0] % 100 == 0


def test_a_process_that_dies_is_started_again(studio: tuple[Store, StudioSettings]) -> None:
    store, settings = studio
    run_id = queued(store, tiny(epochs=20, batch_size=100))
    with supervised(store, settings) as supervisor:
        until(lambda: run_of(store, run_id).epoch > 0)
        os.kill(supervisor.workers[run_id], signal.SIGKILL)
        until(lambda: state_of(store, run_id) == "done")
    assert outcome(store, run_id)
    assert len(steps(store, run_id, "restarted")) == 1


def test_a_process_that_dies_without_ending_an_epoch_is_not_started_for_ever(
    studio: tuple[Store, StudioSettings],
) -> None:
    store, settings = studio
    run_id = queued(store, tiny(**LONG))
    with supervised(store, settings) as supervisor:
        for _ in range(ATTEMPTS):
            attempts = run_of(store, run_id).attempts
            worker = until(lambda: supervisor.workers.get(run_id))
            os.kill(worker, signal.SIGKILL)
            until(lambda attempts=attempts: run_of(store, run_id).attempts > attempts)
        until(lambda: not supervisor.workers)
    run = run_of(store, run_id)
    assert (run.state, run.attempts) == ("failed", ATTEMPTS)
    assert run.error.startswith(f"the run's process ended {ATTEMPTS} times before it had")


def test_a_killed_server_leaves_no_process_and_the_next_goes_on(
    studio: tuple[Store, StudioSettings],
) -> None:
    store, settings = studio
    run_id = queued(store, tiny(**LONG))
    command = [sys.executable, "-c", SERVER, str(settings.data_dir)]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as server:
        try:
            until(lambda: run_of(store, run_id).epoch > 0)
            in_use = pytest.raises(InUseError, match=r"studio\.lock: is in use by another process")
            with in_use, data_folder.opened(settings):
                pass
        finally:
            server.kill()
    with FileLock(settings.runs_dir / str(run_id) / "lock", wait=30):  # the worker holds it
        done = run_of(store, run_id).epoch
    with supervised(store, settings):
        until(lambda: run_of(store, run_id).epoch > done)
    assert len(steps(store, run_id, "restarted")) == 1
    assert run_of(store, run_id).attempts == 0


def test_a_full_disk_interrupts_a_run_as_often_as_it_takes(
    studio: tuple[Store, StudioSettings], monkeypatch: pytest.MonkeyPatch
) -> None:
    store, settings = studio
    monkeypatch.setattr(supervising, "RETRY_SECONDS", 1e-3)
    start, ends = supervising._started, iter([Shortage.DISK, Shortage.LOCK] * ATTEMPTS)

    def started(settings: StudioSettings, run_id: int) -> subprocess.Popen[bytes]:
        end = next(ends, None)
        if end is None:
            return start(settings, run_id)
        command = [sys.executable, "-S", "-c", f"raise SystemExit({end.status})"]
        return subprocess.Popen(command, stdin=subprocess.PIPE)

    monkeypatch.setattr(supervising, "_started", started)
    run_id = queued(store)
    with supervised(store, settings):
        until(lambda: state_of(store, run_id) == "done")
    assert next(ends, None) is None
    assert run_of(store, run_id).attempts == 0
    assert run_of(store, run_id).error is None


# --- the lock ----------------------------------------------------------------------------------


def test_a_lock_is_free_when_its_process_is_killed(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    source = (
        "import sys; from pathlib import Path\n"
        "from tinygrad_cnn.support.lock import FileLock\n"
        "with FileLock(Path(sys.argv[1])):\n    print('held', flush=True); sys.stdin.read()\n"
    )
    command = [sys.executable, "-c", source, str(lock)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(InUseError):
            FileLock(lock).acquire()
        holder.kill()
    with FileLock(lock, wait=10):
        pass
