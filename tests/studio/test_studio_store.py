"""The store: what is acknowledged is kept, whoever writes beside it and whenever it is killed."""

from __future__ import annotations

import random
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError, OperationalError, StatementError
from sqlalchemy.orm import Session
from support import studio_models
from support.machine import repeats
from support.studio_models import INPUT, ask, draw, opened

from tinygrad_cnn.studio.store import (
    NotFoundError,
    Store,
    checked_name,
    drawings,
    models,
    points,
    runs,
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "of" / "studio.db"


@pytest.fixture
def store(path: Path) -> Iterator[Store]:
    with opened(path) as store:
        yield store


# --- sessions ------------------------------------------------------------------------------------


def test_what_a_session_wrote_is_there_for_another_process_s_store(
    store: Store, path: Path
) -> None:
    with store.session() as session:
        drawing = draw(session, name="<img onerror> ½ ж 🙂")
    other = Store(path)
    with other.reading() as session:
        found = drawings.get(session, drawing.id)
    other.close()
    assert (found.name, found.label, found.picture, found.input) == (
        "<img onerror> ½ ж 🙂", 3, b"PNG", INPUT,
    )  # fmt: skip


def test_an_error_undoes_all_that_its_session_did(store: Store) -> None:
    with pytest.raises(KeyError), store.session() as session:
        draw(session)
        raise KeyError
    with store.reading() as session:
        assert drawings.count(session) == 0


def test_a_commit_is_flushed_to_the_disk_and_references_are_checked(store: Store) -> None:
    for session_of in (store.session, store.reading):
        with session_of() as session:
            told = [
                session.scalar(text(f"PRAGMA {name}"))
                for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
            ]
        assert told == ["wal", 2, 1, 20_000]
    with pytest.raises(IntegrityError, match="FOREIGN KEY"), store.session() as session:
        points.add_many(session, 99, [("point", 1, {})])


def test_readers_wait_for_no_writer_and_see_what_is_committed(store: Store) -> None:
    with store.session() as writing:
        draw(writing)
        with store.reading() as session:
            assert drawings.count(session) == 0
    with store.reading() as session:
        assert drawings.count(session) == 1


def test_nothing_is_written_by_reading(store: Store) -> None:
    with pytest.raises(OperationalError, match="readonly"), store.reading() as session:
        draw(session)


def test_a_writing_session_has_the_lock_from_its_beginning(store: Store, path: Path) -> None:
    other = Store(path)
    entered, order = threading.Event(), []

    def write() -> None:
        entered.set()
        with other.session() as session:
            order.append("other")
            assert drawings.get(session, 1).label == 7

    with store.session() as session:
        draw(session)
        thread = threading.Thread(target=write)
        thread.start()
        entered.wait()
        drawings.label(session, 1, 7)
        order.append("first")
    thread.join()
    other.close()
    assert order == ["first", "other"]


def test_threads_and_processes_write_at_once_and_nothing_is_lost(store: Store, path: Path) -> None:
    other = Store(path)

    def write(number: int) -> int:
        with (store, other)[number % 2].session() as session:
            drawing = draw(session, label=None, name=f"number {number}")
        with (store, other)[number % 3 % 2].session() as session:
            drawings.label(session, drawing.id, number % 10)
        with store.reading() as session:
            drawings.all(session)
        return drawing.id

    with ThreadPoolExecutor(8) as pool:
        ids = list(pool.map(write, range(120)))
    other.close()
    with store.reading() as session:
        kept = {drawing.id: (drawing.name, drawing.label) for drawing in drawings.all(session)}
    assert kept == {id: (f"number {n}", n % 10) for n, id in enumerate(ids)}
    store.check()


def test_a_closed_store_leaves_one_file(store: Store, path: Path) -> None:
    with store.session() as session:
        draw(session)
    store.close()
    assert [file.name for file in path.parent.iterdir()] == ["studio.db"]


# --- rows ----------------------------------------------------------------------------------------


TURNING = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
LINE = st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"], exclude_characters=TURNING)


@given(name=st.text(LINE, max_size=119), letter=st.sampled_from("aж漢א๐…€😀"))
@example(name="'; DROP TABLE drawings; --", letter="a")
@example(name="\N{RIGHT-TO-LEFT MARK}\N{ZERO WIDTH JOINER}", letter="א")
def test_a_name_is_kept_as_it_is(name: str, letter: str) -> None:
    name += letter
    with TemporaryDirectory() as folder, opened(Path(folder, "studio.db")) as store:
        with store.session() as session:
            id = draw(session, name=name).id
        with store.reading() as session:
            assert drawings.get(session, id).name == name


@given(name=st.text(st.characters(categories=["Cf", "Zs", "M"], exclude_characters=TURNING)
                    | st.sampled_from("\u115f\u1160\u2800\u3164\uffa0"), max_size=9))  # fmt: skip
def test_a_name_that_cannot_be_seen_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="expected at least one visible character"):
        checked_name(name)


@given(
    before=st.text("ab ж", max_size=5),
    character=st.characters(categories=["Cc", "Cs", "Zl", "Zp"]) | st.sampled_from(TURNING),
)
def test_a_name_of_several_lines_or_no_text_or_one_that_turns_text_is_refused(
    before: str, character: str
) -> None:
    with pytest.raises(ValueError, match=rf"found .*U\+{ord(character):04X}\) at {len(before)}"):
        checked_name(before + character + "a")


def test_a_long_name_is_refused_wherever_it_is_given(store: Store) -> None:
    with store.session() as session:
        run, drawing, model = ask(session), draw(session), studio_models.add(session)
        long = "x" * 121
        for give in (
            lambda: draw(session, name=long),
            lambda: drawings.rename(session, drawing.id, long),
            lambda: models.rename(session, model.id, long),
            lambda: studio_models.add(session, name=long),
            lambda: runs.create(session, name=long, kind="train", request={}, epochs=1),
        ):
            with pytest.raises(ValueError, match="expected at most 120 characters, found 121"):
                give()
        assert (run.name, drawing.name, model.name) == ("a run", "a drawing", "a model")


def test_times_are_in_utc_whatever_zone_they_were_given_in(store: Store) -> None:
    began = datetime.now(UTC)
    noon = datetime(2024, 2, 29, 12, 0, 0, 123456, timezone(timedelta(hours=5, minutes=30)))
    with store.session() as session:
        run = ask(session)
        run.started = noon
    with store.reading() as session:
        found = runs.get(session, run.id)
    assert began <= found.created <= datetime.now(UTC)
    assert found.created.utcoffset() == timedelta(0)
    assert found.started == noon
    assert found.started.utcoffset() == timedelta(0)
    with pytest.raises(StatementError, match="has no zone"), store.session() as session:
        runs.get(session, run.id).started = datetime(2024, 2, 29)


@pytest.mark.parametrize(
    "look",
    [
        lambda session: models.get(session, 7),
        lambda session: models.promote(session, 7),
        lambda session: models.delete(session, 7),
        lambda session: drawings.label(session, 7, 1),
        lambda session: drawings.delete(session, 7),
        lambda session: runs.set_state(session, 7, "done"),
    ],
)
def test_a_row_that_is_missing_is_named(store: Store, look: Callable[[Session], None]) -> None:
    missing = pytest.raises(NotFoundError, match=r"^there is no (model|drawing|run) 7$")
    with missing as raised, store.session() as session:
        look(session)
    assert raised.value.id == 7


def test_ids_are_never_used_again(store: Store) -> None:
    with store.session() as session:
        made = [(draw(session).id, ask(session).id, studio_models.add(session).id)
                for _ in range(2)]  # fmt: skip
        drawings.delete(session, made[1][0])
        runs.set_state(session, made[1][1], "cancelled")
        runs.delete(session, made[1][1])
        models.delete(session, made[1][2])
    with store.session() as session:
        assert (draw(session).id, ask(session).id, studio_models.add(session).id) == (3, 3, 3)


def test_what_is_no_json_is_refused(store: Store) -> None:
    with store.session() as session:
        ask(session)
    with pytest.raises(StatementError, match="Out of range float"), store.session() as session:
        points.add_many(session, 1, [("point", 1, {"loss": float("nan")})])


# --- drawings ------------------------------------------------------------------------------------


@given(
    acts=st.lists(
        st.tuples(st.sampled_from(["add", "label", "unlabel", "delete"]), st.integers(1, 30)),
        max_size=60,
    )
)
def test_what_was_ever_to_be_learned_is_never_measured_with(acts: list[tuple[str, int]]) -> None:
    taught: set[int] = set()
    measured: set[int] = set()
    with TemporaryDirectory() as folder, opened(Path(folder, "studio.db")) as store:
        with store.session() as session:
            for _ in range(12):  # of which two are held back
                draw(session)
        for act, id in acts:
            with store.session() as session:
                try:
                    if act == "add":
                        draw(session, label=id % 11 if id % 11 < 10 else None)
                    elif act == "delete":
                        drawings.delete(session, id)
                    else:
                        drawings.label(session, id, id % 10 if act == "label" else None)
                except NotFoundError:
                    pass
            with store.reading() as session:
                there = drawings.all(session)
                held, learned = drawings.held_back(session), drawings.to_teach(session)
            assert [d.id for d in held] == sorted(d.id for d in there if d.held_back)
            labeled = {d.id for d in there if d.label is not None}
            assert {d.id for d in held} | {d.id for d in learned} == labeled
            taught |= {d.id for d in learned}
            measured |= {d.id for d in held}
    assert not taught & measured
    assert measured or not acts


def test_every_fifth_labeled_drawing_is_held_back(store: Store) -> None:
    with store.session() as session:
        for _ in range(12):
            draw(session)
        assert [drawing.id for drawing in drawings.held_back(session)] == [5, 10]
        assert [drawing.id for drawing in drawings.to_teach(session, 6)] == [1, 2, 3, 4, 6]
        assert [drawing.id for drawing in drawings.held_back(session, 9)] == [5]


def test_drawings_are_listed_newest_first_in_parts(store: Store) -> None:
    with store.session() as session:
        for number in range(6):
            draw(session, label=number if number % 2 else None)
    with store.reading() as session:
        listed = [[d.id for d in drawings.all(session, offset=1, limit=3, labeled=labeled)]
                  for labeled in (None, True, False)]  # fmt: skip
        counts = [drawings.count(session, labeled=labeled) for labeled in (None, True, False)]
    assert listed == [[5, 4, 3], [4, 2], [3, 1]]
    assert counts == [6, 3, 3]


@pytest.mark.parametrize("label", [-1, 10, 2**70, 1.5, "3"])
def test_a_label_that_is_no_digit_is_refused(store: Store, label: int) -> None:
    with store.session() as session, pytest.raises(ValueError, match="drawing: label is"):
        draw(session, label=label)


# --- killed --------------------------------------------------------------------------------------

WRITER = """
import sys
from tinygrad_cnn.studio.store import Store, drawings, models, points, runs

store = Store(sys.argv[1])
store.migrate()
print("ready", flush=True)
while True:
    with store.session() as session:
        id = drawings.add(session, name="n", picture=bytes(5000), input=bytes(784)).id
    print("added", id, flush=True)
    with store.session() as session:
        drawings.label(session, id, id % 10)
        points.add_many(session, 1, [("point", id, {"loss": 0.5})] * 20)
    print("labeled", id, flush=True)
    with store.session() as session:
        models.promote(session, 1 + id % 2)
    print("promoted", id, flush=True)
    if id % 7 == 0:
        with store.session() as session:
            drawings.delete(session, id - 3)
        print("deleted", id - 3, flush=True)
"""


def test_what_was_acknowledged_is_there_after_a_kill_at_any_moment(
    store: Store, path: Path
) -> None:
    with store.session() as session:
        ask(session)
        for _ in range(2):
            models.promote(session, studio_models.add(session).id)
    store.close()
    chance = random.Random(0)
    acknowledged: list[tuple[str, int]] = []
    for _ in range(repeats(4, 10)):
        acknowledged += _killed_after(path, chance.randrange(1, 60))
        store = Store(path)
        store.migrate()
        store.check()
        with store.reading() as session:
            labels = {drawing.id: drawing.label for drawing in drawings.all(session)}
            taught = {point.step for point in points.after(session, 0, limit=10**6)}
            promoted = models.promoted_id(session)
        store.close()
        told = {act: {id for what, id in acknowledged if what == act}
                for act in ("added", "labeled", "promoted", "deleted")}  # fmt: skip
        # One act more than was told may have happened: here, the deletion after a promotion ...
        last, id = acknowledged[-1]
        untold = {id - 3} if last == "promoted" else set()
        assert told["added"] - told["deleted"] - untold <= labels.keys()
        assert not told["deleted"] & labels.keys()
        assert all(labels.get(id, id % 10) == id % 10 for id in told["labeled"])
        assert told["labeled"] <= taught
        if told["promoted"]:  # ... and here, the promotion after a label
            newest = max(told["promoted"])
            assert promoted in {
                1 + each % 2 for each in (newest, id if last == "labeled" else newest)
            }
    assert len(acknowledged) >= 10


def _killed_after(path: Path, count: int) -> list[tuple[str, int]]:
    """Let a process write, kill it once it has acknowledged `count` acts, return all it has."""
    command = [sys.executable, "-c", WRITER, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        lines = [process.stdout.readline() for _ in range(count)]
        process.kill()
        lines += process.stdout.readlines()
    whole = [line.split() for line in lines if line.endswith("\n")]
    return [(act, int(id)) for act, id in whole]
