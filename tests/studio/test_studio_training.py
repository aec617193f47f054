"""A training in the studio: what it is asked, what it tells, and how it heeds what is wanted."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from support.studio import add_model, until
from support.studio_training import (
    BATCHES,
    opened,
    outcome,
    points_of,
    queued,
    run_of,
    set_wanted,
    steps,
    tiny,
)

import tinygrad_cnn as tg
from tinygrad_cnn.studio import StudioSettings
from tinygrad_cnn.studio.encoding import decode
from tinygrad_cnn.studio.store import Store, models, runs, snapshots
from tinygrad_cnn.studio.training import worker
from tinygrad_cnn.studio.training.preparation import Preparation, prepare
from tinygrad_cnn.studio.training.requests import settings_of, train_request
from tinygrad_cnn.studio.training.worker import work
from tinygrad_cnn.train import (
    RunFolder,
    TrainingRun,
    load_run,
)


@pytest.fixture
def studio(tmp_path: Path) -> Iterator[tuple[Store, StudioSettings]]:
    store, settings = opened(tmp_path / "data")
    yield store, settings
    store.close()


@contextmanager
def going_on(store: Store, settings: StudioSettings, run_id: int) -> Iterator[threading.Thread]:
    """Do a run in a thread meanwhile, and cancel it at the end if it still goes on."""
    thread = threading.Thread(target=work, args=(store, settings, run_id))
    thread.start()
    try:
        yield thread
    finally:
        if thread.is_alive():
            set_wanted(store, run_id, "cancel")
        thread.join()


# --- what a run tells --------------------------------------------------------------------------


def test_a_run_tells_where_it_is_and_gives_a_model(studio: tuple[Store, StudioSettings]) -> None:
    store, settings = studio
    run_id = queued(store)
    work(store, settings, run_id)
    run = run_of(store, run_id)
    assert outcome(store, run_id)
    assert (run.epoch, run.attempts, run.before) == (2, 0, None)
    assert run.started <= run.ended
    assert steps(store, run_id, "epoch") == [BATCHES, 2 * BATCHES]
    assert {1, BATCHES, BATCHES + 1, 2 * BATCHES} <= set(steps(store, run_id))
    last = [point for point in points_of(store, run_id) if point.kind == "epoch"][-1]
    with store.reading() as session:
        model = models.get(session, run.model_id)
        assert model.accuracy == last.payload["validation_accuracy"]
        assert model.name == run.name
        assert models.promoted_id(session) == model.id
        shown = snapshots.get(session, run_id)
    assert shown.payload["kernels"]["shape"] == [4, 28, 28]
    trained = load_run(settings.runs_dir / str(run_id)).model
    weight = trained.fc[0].weight.data.reshape(4, 28, 28)
    assert decode(shown.payload["kernels"]).shape == weight.shape


def test_only_the_first_model_is_promoted_by_itself(tmp_path: Path) -> None:
    known = add_model(tmp_path)
    store, settings = opened(tmp_path)
    run_id = queued(store)
    work(store, settings, run_id)
    with store.reading() as session:
        assert models.promoted_id(session) == known
    store.close()


def test_a_run_gives_the_weights_of_a_training_outside_the_studio(
    studio: tuple[Store, StudioSettings], tmp_path: Path
) -> None:
    store, settings = studio
    run_id = queued(store, tiny())
    work(store, settings, run_id)
    split = tg.data.digits()
    alone = RunFolder.create("alone", parent=tmp_path)
    TrainingRun(settings_of(tiny(), split), split).train(alone)
    own = RunFolder(settings.runs_dir / str(run_id))
    assert own.weights.read_bytes() == alone.weights.read_bytes()


# --- what becomes of a run that cannot end well ------------------------------------------------


def test_a_training_that_diverges_has_failed_and_says_why(
    studio: tuple[Store, StudioSettings],
) -> None:
    store, settings = studio
    run_id = queued(store, tiny(lr=1e38, optimizer="sgd"))
    work(store, settings, run_id)
    run = run_of(store, run_id)
    assert run.state == "failed"
    assert "training diverged" in run.error
    assert "try a smaller learning rate" in run.error
    with store.reading() as session:
        assert models.all(session) == []


def test_data_that_are_not_there_are_told(
    studio: tuple[Store, StudioSettings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TINYGRAD_CNN_DATA", str(tmp_path))
    store, settings = studio
    run_id = queued(store, train_request("mlp", "mnist"))
    work(store, settings, run_id)
    assert run_of(store, run_id).state == "failed"
    assert run_of(store, run_id).error == "the images 'mnist' are not on this machine"


# --- what is wanted ----------------------------------------------------------------------------


def test_a_paused_run_does_one_batch_a_step_and_goes_on_to_the_same_end(
    studio: tuple[Store, StudioSettings], tmp_path: Path
) -> None:
    store, settings = studio
    request = tiny(epochs=3)
    run_id = queued(store, request)
    set_wanted(store, run_id, "pause")
    with going_on(store, settings, run_id) as thread:
        until(lambda: run_of(store, run_id).state == "paused")
        assert steps(store, run_id) == []
        for done in range(1, 2 * BATCHES):
            set_wanted(store, run_id, "pause", steps=1)
            until(lambda done=done: run_of(store, run_id).steps == 0 and steps(store, run_id))
            until(lambda done=done: len(steps(store, run_id)) >= done)
            assert steps(store, run_id) == list(range(1, done + 1))
            assert run_of(store, run_id).state == "paused"
        set_wanted(store, run_id, "run")
        thread.join()
    stepped = outcome(store, run_id)
    other = queued(store, request)
    work(store, settings, other)
    assert stepped == outcome(store, other)


def test_several_steps_are_several_batches_and_no_more(
    studio: tuple[Store, StudioSettings],
) -> None:
    store, settings = studio
    run_id = queued(store)
    set_wanted(store, run_id, "pause", steps=3)
    with going_on(store, settings, run_id):
        until(lambda: len(steps(store, run_id)) == 3)
        until(lambda: run_of(store, run_id).state == "paused")
        set_wanted(store, run_id, "cancel")
    assert steps(store, run_id) == [1, 2, 3]
    assert run_of(store, run_id).state == "cancelled"


def test_a_run_is_paused_where_it_is_and_says_so(studio: tuple[Store, StudioSettings]) -> None:
    store, settings = studio
    run_id = queued(store, tiny(epochs=200, batch_size=200))
    with going_on(store, settings, run_id):
        until(lambda: len(steps(store, run_id)) > 2)
        set_wanted(store, run_id, "pause")
        until(lambda: run_of(store, run_id).state == "paused")
        told = steps(store, run_id)
        set_wanted(store, run_id, "pause", steps=1)
        until(lambda: len(steps(store, run_id)) > len(told))
        assert steps(store, run_id) == [*told, told[-1] + 1]  # the last batch was told before
        set_wanted(store, run_id, "run")
        until(lambda: run_of(store, run_id).state == "running")
        until(lambda: len(steps(store, run_id)) > len(told) + 1)


@pytest.mark.parametrize("when", ["before", "running", "paused"])
def test_a_cancelled_run_ends_and_gives_nothing(
    studio: tuple[Store, StudioSettings], when: str
) -> None:
    store, settings = studio
    run_id = queued(store, tiny(epochs=200, batch_size=200))
    set_wanted(store, run_id, {"before": "cancel", "running": "run", "paused": "pause"}[when])
    with going_on(store, settings, run_id) as thread:
        if when != "before":
            until(lambda: run_of(store, run_id).state == when)
        set_wanted(store, run_id, "cancel")
        thread.join(60)
    run = run_of(store, run_id)
    assert (run.state, run.model_id, run.error) == ("cancelled", None, None)
    assert run.ended is not None
    with store.reading() as session:
        assert models.all(session) == []


def test_a_run_that_is_cancelled_while_its_data_are_loaded_does_not_begin(
    studio: tuple[Store, StudioSettings], monkeypatch: pytest.MonkeyPatch
) -> None:
    store, settings = studio
    run_id = queued(store)

    def loaded(*arguments: Any) -> Preparation:
        with store.session() as session:
            runs.set_state(session, run_id, "cancelled")
        return prepare(*arguments)

    monkeypatch.setattr(worker, "prepare", loaded)
    worker.work(store, settings, run_id)
    run = run_of(store, run_id)
    assert (run.state, run.started, run.error) == ("cancelled", None, None)
    assert points_of(store, run_id) == []
