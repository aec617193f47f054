"""What becomes of a run when something fails: its files, the disk, other rows, the program."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, text
from sqlalchemy.exc import OperationalError
from support.stopping import StopAt
from support.studio import studio_client
from support.studio_models import add
from support.studio_training import BATCHES, opened, outcome, queued, run_of, steps, tiny

from tinygrad_cnn.studio import StudioSettings
from tinygrad_cnn.studio.shortage import Shortage
from tinygrad_cnn.studio.store import Store, StoredModel, StoredRun, models, runs
from tinygrad_cnn.studio.training import worker
from tinygrad_cnn.studio.training.worker import work
from tinygrad_cnn.train import RunFolder, TrainingRun


@pytest.fixture
def studio(tmp_path: Path) -> Iterator[tuple[Store, StudioSettings]]:
    store, settings = opened(tmp_path / "data")
    yield store, settings
    store.close()


@contextmanager
def full(store: Store) -> Iterator[None]:
    """Let the database grow no further."""
    with store._writer.connect() as connection:
        pages = connection.execute(text("PRAGMA page_count")).scalar()
        connection.execute(text(f"PRAGMA max_page_count = {pages}"))
    try:
        yield
    finally:
        with store._writer.connect() as connection:
            connection.execute(text("PRAGMA max_page_count = 1000000000"))


def at_the_end(monkeypatch: pytest.MonkeyPatch, act: Callable[[], None]) -> None:
    """Do something once, when a run has trained its last epoch and is to be finished."""
    report = worker.report.report

    def acting(*given: Any) -> Any:
        monkeypatch.setattr(worker.report, "report", report)
        act()
        return report(*given)

    monkeypatch.setattr(worker.report, "report", acting)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What a run comes to that nothing disturbs."""
    store, settings = opened(tmp_path_factory.mktemp("whole"))
    run_id = queued(store)
    work(store, settings, run_id)
    found = outcome(store, run_id)
    store.close()
    return found


# --- other rows --------------------------------------------------------------------------------


def test_finishing_needs_neither_the_parent_nor_the_run_nor_an_allowed_name(
    studio: tuple[Store, StudioSettings], whole: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, settings = studio
    with store.session() as session:
        parent = add(session).id
    kept, gone = (queued(store, {**tiny(), "model_id": parent}) for _ in range(2))
    with store.session() as session:
        for run_id in (kept, gone):
            runs.get(session, run_id).kind = "train"  # a tiny one, which says that it has a parent
            runs.get(session, run_id).name = "two\nlines"

    def lose() -> None:
        with store.session() as session:
            session.execute(delete(StoredModel).where(StoredModel.id == parent))
            session.execute(delete(StoredRun).where(StoredRun.id == gone))

    for run_id in (gone, kept):
        at_the_end(monkeypatch, lose)
        work(store, settings, run_id)
    assert outcome(store, kept) == whole
    with store.reading() as session:
        found = models.all(session)[:2]  # newest first
        weights = {models.get(session, model.id).weights for model in found}
    assert [(m.name, m.run_id, m.parent_id) for m in found] == [
        (f"run {kept}", kept, None),
        (f"run {gone}", None, None),
    ]
    assert len(weights) == 1


# --- an unexpected error -----------------------------------------------------------------------


def test_an_unexpected_error_is_kept_in_plain_words_and_a_retry_only_finishes(
    studio: tuple[Store, StudioSettings], whole: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, settings = studio
    run_id = queued(store)

    def mistake() -> None:
        raise TypeError("unsupported operand type(s)")

    at_the_end(monkeypatch, mistake)
    work(store, settings, run_id)
    run = run_of(store, run_id)
    assert (run.state, run.error) == ("failed", worker.UNEXPECTED)
    log = settings.runs_dir / str(run_id) / worker.ERROR_LOG
    assert "TypeError: unsupported operand type(s)" in log.read_text()
    trained = steps(store, run_id)
    with store.session() as session:
        runs.reopen(session, run_id)
    work(store, settings, run_id)
    assert steps(store, run_id) == trained
    assert steps(store, run_id, "restarted") == [2 * BATCHES]
    assert outcome(store, run_id) == whole


# --- shortages ---------------------------------------------------------------------------------


def test_a_full_disk_keeps_what_is_trained_whatever_could_not_be_written(
    studio: tuple[Store, StudioSettings], whole: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, settings = studio
    run_id = queued(store)
    replace, written = os.replace, []

    def full_at_the_second(source: str, target: str) -> None:
        written.append(target)
        if len(written) == 7:  # a file of the second epoch
            raise OSError(errno.ENOSPC, "No space left on device", target)
        replace(source, target)

    with monkeypatch.context() as patched, pytest.raises(OSError, match="No space") as raised:
        patched.setattr(os, "replace", full_at_the_second)
        work(store, settings, run_id)
    assert Shortage.of(raised.value) is Shortage.DISK
    assert (run_of(store, run_id).state, run_of(store, run_id).epoch) == ("running", 1)

    for _ in range(2):
        with full(store), pytest.raises(OperationalError) as refused:
            work(store, settings, run_id)
        assert Shortage.of(refused.value) is Shortage.DISK
    work(store, settings, run_id)
    assert outcome(store, run_id) == whole


def test_a_full_disk_is_answered_as_such_and_nothing_is_changed(tmp_path: Path) -> None:
    with studio_client(tmp_path, trained=False) as client:
        store: Store = client.app.state.services.store
        asked = {"model": "mlp", "name": "n" * 100}
        with full(store):
            answer = client.post("/api/runs", json=asked)
            while answer.status_code == 201:  # into pages that are begun
                answer = client.post("/api/runs", json=asked)
            assert (answer.status_code, answer.json()["type"]) == (507, "/docs#disk-full")
            assert answer.headers["Content-Type"] == "application/problem+json"
            listed = client.get("/api/runs").json()["runs"]
        assert client.post("/api/runs", json=asked).json()["id"] == len(listed) + 1


# --- lost files --------------------------------------------------------------------------------


def remove_checkpoint(folder: RunFolder) -> None:
    for path in folder.checkpoints:
        path.unlink()


def damage_checkpoint(folder: RunFolder) -> None:
    for path in folder.checkpoints:
        path.write_bytes(path.read_bytes()[:-1])


def remove_all(folder: RunFolder) -> None:
    for file in folder.path.iterdir():
        file.unlink()


@pytest.mark.parametrize("lose", [remove_checkpoint, damage_checkpoint, remove_all])
@pytest.mark.parametrize("epoch", [1, 2])
def test_a_run_whose_checkpoint_is_lost_begins_again_or_fails_but_never_goes_on_from_elsewhere(
    studio: tuple[Store, StudioSettings],
    whole: Any,
    monkeypatch: pytest.MonkeyPatch,
    lose: Callable[[RunFolder], None],
    epoch: int,
) -> None:
    store, settings = studio
    run_id = queued(store)
    train = TrainingRun.train

    def stopped(run: TrainingRun, folder: RunFolder, callbacks: Any) -> Any:
        return train(run, folder, [*callbacks, StopAt(epoch, 2)])

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(TrainingRun, "train", stopped)
        work(store, settings, run_id)
    lose(RunFolder(settings.runs_dir / str(run_id)))
    work(store, settings, run_id)
    if epoch == 1:
        assert outcome(store, run_id) == whole
    else:
        run = run_of(store, run_id)
        assert run.state == "failed"
        assert run.error.startswith("1 epoch is done, but the checkpoint of run 1 is missing or")
