"""A training that is killed goes on: the same bits, and nothing told twice or left out."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.machine import lengthy
from support.studio import add_model, until
from support.studio_training import (
    BATCHES,
    WorkerProcess,
    opened,
    outcome,
    queued,
    run_of,
    steps,
    tiny,
)

from tinygrad_cnn import data
from tinygrad_cnn.studio import StudioSettings
from tinygrad_cnn.studio.store import Store, drawings, models
from tinygrad_cnn.studio.training import reporting
from tinygrad_cnn.studio.training.requests import fine_tune_request, queue
from tinygrad_cnn.studio.training.worker import work
from tinygrad_cnn.support import files


@pytest.fixture
def every_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every batch be told, however fast they come."""
    monkeypatch.setattr(reporting, "POINT_SECONDS", 0.0)


class Killed(BaseException):
    """The process would end here: nobody catches it, and what is not committed is lost."""


@contextmanager
def killed_at(monkeypatch: pytest.MonkeyPatch, moment: int) -> Iterator[list[int]]:
    """Kill what runs within at its `moment`-th lasting change, just before that is made.

    A lasting change is a transaction that is committed, or a file that takes its place.
    """
    made = [0]

    def count() -> None:
        made[0] += 1
        if made[0] == moment:
            raise Killed

    session, replace = Store.session, files.os.replace

    @contextmanager
    def counted_session(store: Store) -> Iterator[object]:
        with session(store) as opened_session:
            yield opened_session
            count()

    def counted_replace(source: str, target: str) -> None:
        count()
        replace(source, target)

    with monkeypatch.context() as patched:
        patched.setattr(Store, "session", counted_session)
        patched.setattr(files.os, "replace", counted_replace)
        yield made


@pytest.fixture
def few_images(monkeypatch: pytest.MonkeyPatch) -> None:
    """Train on some of the digits, as a run is repeated for each moment."""
    split = data.digits()
    few = data.Split(split.train[:400], split.test[:100])
    monkeypatch.setattr(data, "load", lambda name: few)


def ask_training(store: Store) -> int:
    return queued(store, tiny(epochs=2, batch_size=200))


def ask_fine_tuning(store: Store) -> int:
    with store.session() as session:
        for number in range(10):
            pixels = bytes(20 * number if 300 < i < 500 else 0 for i in range(784))
            drawings.add(session, name="drawn", picture=b"", input=pixels, label=number)
        base = models.promoted_id(session)
        request = fine_tune_request(session, model_id=base, epochs=2, lr=0.01, replay=100)
        return queue(session, {**request, "batch_size": 60}, "taught").id


@pytest.mark.parametrize("ask", [ask_training, ask_fine_tuning])
def test_a_run_that_is_killed_at_any_lasting_change_ends_as_one_that_is_not(
    ask: Callable[[Store], int],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    every_batch: None,
    few_images: None,
) -> None:
    def begun(name: str) -> tuple[Store, StudioSettings, int]:
        if ask is ask_fine_tuning:
            add_model(tmp_path / name)
        store, settings = opened(tmp_path / name)
        return store, settings, ask(store)

    store, settings, run_id = begun("whole")
    with killed_at(monkeypatch, moment=0) as changes:
        work(store, settings, run_id)
    expected = outcome(store, run_id)
    store.close()
    assert changes[0] > 10
    for moment in range(1, changes[0] + 1):
        store, settings, run_id = begun(f"killed-{moment}")
        with killed_at(monkeypatch, moment), pytest.raises(Killed):
            work(store, settings, run_id)
        work(store, settings, run_id)
        assert outcome(store, run_id) == expected, f"killed at {moment} of {changes[0]}"
        work(store, settings, run_id)  # it is done: nothing happens
        assert outcome(store, run_id) == expected
        store.check()
        store.close()


def test_drawings_that_change_while_they_are_learned_change_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outcomes = []
    for name in ("whole", "killed"):
        add_model(tmp_path / name)
        store, settings = opened(tmp_path / name)
        run_id = ask_fine_tuning(store)
        if name == "killed":
            with killed_at(monkeypatch, moment=4), pytest.raises(Killed):
                work(store, settings, run_id)
            with store.session() as session:
                for drawing in drawings.all(session)[::2]:
                    drawings.delete(session, drawing.id)
                for drawing in drawings.all(session):
                    drawings.label(session, drawing.id, 0)
        work(store, settings, run_id)
        outcomes.append(outcome(store, run_id))
        store.close()
    assert outcomes[0] == outcomes[1]


def test_half_written_files_of_a_killed_process_are_cleared_away(tmp_path: Path) -> None:
    store, settings = opened(tmp_path)
    run_id = queued(store)
    folder = settings.runs_dir / str(run_id)
    folder.mkdir(parents=True)
    (folder / ".weights.safetensors.0123456789abcdef.tmp").write_bytes(b"half")
    work(store, settings, run_id)
    assert not list(folder.glob(".*.tmp"))
    store.close()


@lengthy
def test_a_process_that_is_killed_at_random_moments_gives_the_same_bits(tmp_path: Path) -> None:
    request = tiny(epochs=8, batch_size=100)
    store, settings = opened(tmp_path / "whole")
    run_id = queued(store, request)
    work(store, settings, run_id)
    expected = outcome(store, run_id)
    store.close()

    store, settings = opened(tmp_path / "killed")
    run_id = queued(store, request)
    rng = random.Random(0)
    kills = 0
    for _ in range(5):
        with WorkerProcess(settings, run_id) as process:
            told = len(steps(store, run_id))
            more = rng.randrange(1, 8)

            def further(told: int = told, more: int = more) -> bool:
                return process.poll() is not None or len(steps(store, run_id)) >= told + more

            until(further)
            process.kill()
            kills += process.wait() != 0
        store.check()
    with WorkerProcess(settings, run_id) as process:
        assert process.wait(60) == 0
    assert kills > 2
    assert outcome(store, run_id) == expected
    assert len(steps(store, run_id, "restarted")) >= kills
    store.close()


def test_a_process_ends_when_the_server_does(tmp_path: Path) -> None:
    store, settings = opened(tmp_path)
    run_id = queued(store, tiny(epochs=150, batch_size=100))
    with WorkerProcess(settings, run_id) as process:
        until(lambda: len(steps(store, run_id)) > 2)
        process.stdin.close()
        assert process.wait(10) == 0
    assert run_of(store, run_id).state == "running"
    store.close()


def test_a_process_that_goes_on_waits_for_the_one_before(tmp_path: Path) -> None:
    store, settings = opened(tmp_path)
    run_id = queued(store, tiny(epochs=5, batch_size=100))  # ends before the second gives up
    with WorkerProcess(settings, run_id) as first:
        until(lambda: steps(store, run_id))
        with WorkerProcess(settings, run_id) as second:
            assert first.wait(60) == 0
            assert second.wait(60) == 0
    assert steps(store, run_id, "restarted") == []
    assert outcome(store, run_id)
    assert len(steps(store, run_id, "epoch")) == 5
    store.close()


def test_figures_after_the_checkpoint_are_forgotten_and_that_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, every_batch: None
) -> None:
    store, settings = opened(tmp_path)
    run_id = queued(store, tiny(epochs=2))
    with killed_at(monkeypatch, moment=15), pytest.raises(Killed):
        work(store, settings, run_id)
    told = steps(store, run_id)
    assert told[-1] > BATCHES
    assert told == list(range(1, told[-1] + 1))
    with killed_at(monkeypatch, moment=2), pytest.raises(Killed):
        work(store, settings, run_id)
    assert steps(store, run_id) == list(range(1, BATCHES + 1))
    assert steps(store, run_id, "restarted") == [BATCHES]
    store.close()
