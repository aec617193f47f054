"""What happens is told to those who listen: each once, in order, however they come and go."""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import aclosing
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sqlalchemy import text
from support.studio import add_model, until
from support.studio_changes import CHANGES, Client, change
from support.studio_training import opened, queued

from tinygrad_cnn.studio import StudioSettings
from tinygrad_cnn.studio import feed as feeds
from tinygrad_cnn.studio.feed import Event, Feed
from tinygrad_cnn.studio.shortage import Shortage
from tinygrad_cnn.studio.store import Store, drawings, models, outbox, points, runs, snapshots
from tinygrad_cnn.studio.training import supervisor as supervising
from tinygrad_cnn.studio.training.supervisor import Supervisor

PATIENCE = 30.0


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store, _ = opened(tmp_path)
    yield store
    store.close()


def newest(store: Store) -> int:
    with store.reading() as session:
        return outbox.newest(session)


def keep(store: Store, count: int) -> None:
    """Let the outbox keep so many changes."""
    with store.session() as session:
        session.execute(text("DROP TRIGGER trim_outbox"))
        session.execute(
            text(
                "CREATE TRIGGER trim_outbox AFTER INSERT ON outbox BEGIN "
                f"DELETE FROM outbox WHERE id <= NEW.id - {count}; END"
            )
        )


def tell(store: Store, run_id: int, count: int) -> list[int]:
    """Add points to a run, and return the ids of their events."""
    before = newest(store)
    with store.session() as session:
        points.add_many(session, run_id, [("point", i, {"loss": 0.5}) for i in range(count)])
    return list(range(before + 1, before + count + 1))


class Listener:
    """Hears events in a task of its own; `slow` ones wait for `go` after each."""

    def __init__(self, feed: Feed, after: int | None = None, slow: bool = False) -> None:
        self.events: list[Event] = []
        self.go = asyncio.Event()
        if not slow:
            self.go.set()
        self.task = asyncio.create_task(self._hear(feed, after))

    async def _hear(self, feed: Feed, after: int | None) -> None:
        async with aclosing(feed.listen(after)) as heard:
            async for event in heard:
                self.events.append(event)
                await self.go.wait()

    @property
    def ids(self) -> list[int]:
        return [event.id for event in self.events[1:]]

    def of_kind(self, kind: str) -> list[dict[str, Any]]:
        return [event.data for event in self.events if event.kind == kind]

    async def has(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE):
            while not condition():
                if self.task.done() and not self.task.cancelled():
                    await self.task
                await asyncio.sleep(0.01)

    async def leave(self) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)


def supervisor_of(store: Store) -> Supervisor:
    return Supervisor(store, StudioSettings(data_dir=store.path.parent))


def with_feed(
    store: Store,
    scenario: Callable[[Feed], Awaitable[None]],
    supervisor: Supervisor | None = None,
) -> None:
    async def run() -> None:
        async with Feed(store, supervisor or supervisor_of(store)) as feed:
            await scenario(feed)

    asyncio.run(run())


# --- the feed ----------------------------------------------------------------------------------


def test_every_listener_hears_every_point_once_and_in_order(store: Store) -> None:
    run_id = queued(store)
    earlier = tell(store, run_id, 3)

    async def scenario(feed: Feed) -> None:
        first = Listener(feed)
        await first.has(lambda: len(first.events) == 1)
        assert first.events[0].id == earlier[-1]
        told = await asyncio.to_thread(tell, store, run_id, 40)
        await first.has(lambda: len(first.ids) >= 40)
        second, third = Listener(feed, after=earlier[0]), Listener(feed, after=told[-2])
        more = await asyncio.to_thread(tell, store, run_id, 40)
        for listener in (first, second, third):
            await listener.has(lambda listener=listener: listener.ids[-1:] == more[-1:])
        assert first.ids == told + more
        assert second.ids == earlier[1:] + told + more
        assert third.ids == told[-1:] + more
        assert first.of_kind("point")[0] == {"run_id": run_id, "step": 0, "loss": 0.5}
        for listener in (first, second, third):
            await listener.leave()

    with_feed(store, scenario)


def test_a_slow_listener_misses_nothing_and_holds_up_nobody(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feeds, "MOST_AT_ONCE", 7)
    run_id = queued(store)

    async def scenario(feed: Feed) -> None:
        slow, new, quick = Listener(feed), Listener(feed, slow=True), Listener(feed)
        await quick.has(lambda: len(slow.events) == len(new.events) == len(quick.events) == 1)
        slow.go.clear()  # it will hear one more
        told: list[int] = []
        while len(told) < 100:
            told += await asyncio.to_thread(tell, store, run_id, 20)
            await quick.has(lambda told=told: quick.ids == told)
        assert (len(slow.events), len(new.events)) == (2, 1)
        for listener in (slow, new):
            listener.go.set()
            await listener.has(lambda listener=listener: len(listener.ids) >= 100)
            assert listener.ids == told
        for listener in (slow, new, quick):
            await listener.leave()

    with_feed(store, scenario)


@pytest.mark.parametrize("after", [10**12, 3])
def test_a_listener_that_has_missed_what_is_not_kept_is_told_so(store: Store, after: int) -> None:
    keep(store, 10)
    run_id = queued(store)
    tell(store, run_id, 20)

    async def scenario(feed: Feed) -> None:
        listener = Listener(feed, after)
        await listener.has(lambda: len(listener.events) == 2)
        assert listener.events[1] == Event(newest(store), "reset")
        told = await asyncio.to_thread(tell, store, run_id, 2)
        await listener.has(lambda: listener.ids[1:] == told)
        await listener.leave()

    with_feed(store, scenario)


def test_forgotten_points_are_not_told_and_later_ones_are(store: Store) -> None:
    run_id = queued(store)
    told = tell(store, run_id, 10)
    with store.session() as session:
        points.forget_after(session, run_id, 4)
        points.add_many(session, run_id, [("restarted", 4, {"epoch": 0})])

    async def scenario(feed: Feed) -> None:
        listener = Listener(feed, after=told[1])
        await listener.has(lambda: len(listener.of_kind("restarted")) == 1)
        assert [point["step"] for point in listener.of_kind("point")] == [2, 3, 4]
        assert listener.ids[-1] == told[-1] + 1
        await listener.leave()

    with_feed(store, scenario)


def test_runs_and_kernels_are_told_as_they_are_now(store: Store) -> None:
    run_id = queued(store)

    def happen() -> None:
        with store.session() as session:
            runs.set_state(session, run_id, "running")
            for step in (4, 5):
                snapshots.put(session, run_id, step, {"layer": "fc.0", "kernels": {"shape": [1]}})

    async def scenario(feed: Feed) -> None:
        listener = Listener(feed)
        await listener.has(lambda: len(listener.events) == 1)
        await asyncio.to_thread(happen)
        await listener.has(lambda: len(listener.events) >= 3)
        (told,) = listener.of_kind("run")
        assert told["id"] == run_id
        assert told["run"]["state"] == "running"
        assert told["run"]["request"]["model"] == "mlp"
        assert listener.of_kind("snapshot") == [
            {"run_id": run_id, "step": 5, "layer": "fc.0", "kernels": {"shape": [1]}}
        ]
        await listener.leave()

    with_feed(store, scenario)


def test_changes_of_models_and_drawings_are_told_with_the_rows(
    store: Store, tmp_path: Path
) -> None:
    def draw() -> int:
        with store.session() as session:
            return drawings.add(session, name="d", picture=b"", input=bytes(784)).id

    def make(act: Callable[..., object], *arguments: object) -> None:
        with store.session() as session:
            act(session, *arguments)

    async def scenario(feed: Feed) -> None:
        listener = Listener(feed)
        await listener.has(lambda: len(listener.events) == 1)
        drawing = await asyncio.to_thread(draw)
        await listener.has(lambda: len(listener.of_kind("drawing")) == 1)
        for act, more in ((drawings.label, (4,)), (drawings.delete, ())):
            before = len(listener.of_kind("drawing"))
            await asyncio.to_thread(make, act, drawing, *more)
            await listener.has(lambda before=before: len(listener.of_kind("drawing")) > before)
        labels = [(told["id"], (told["drawing"] or {}).get("label", "gone"))
                  for told in listener.of_kind("drawing")]  # fmt: skip
        assert labels == [(drawing, None), (drawing, 4), (drawing, "gone")]
        model = await asyncio.to_thread(add_model, tmp_path, "known", False)
        await listener.has(lambda: len(listener.of_kind("model")) == 1)
        await asyncio.to_thread(make, models.rename, model, "other")
        await listener.has(lambda: len(listener.of_kind("model")) == 2)
        await asyncio.to_thread(make, models.promote, model)
        await listener.has(lambda: len(listener.of_kind("model")) == 3)
        told = [(each["model"]["name"], each["promoted"]) for each in listener.of_kind("model")]
        assert told == [("known", None), ("other", None), ("other", model)]
        await listener.leave()

    with_feed(store, scenario)


def test_nobody_looks_while_nobody_listens(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feeds, "POLL_SECONDS", 0.0)

    async def scenario(feed: Feed) -> None:
        assert feed._task is None
        for _ in range(2):
            listeners = [Listener(feed) for _ in range(3)]
            for listener in listeners:
                await listener.has(lambda listener=listener: bool(listener.events))
            assert sum(task.get_name() == "feed" for task in asyncio.all_tasks()) == 1
            assert len(store._watchers) == 1
            for listener in listeners:
                await listener.leave()
            await listeners[0].has(lambda: feed._task is None)
            assert not store._watchers

    with_feed(store, scenario)


def test_a_feed_that_closes_lets_its_listeners_end(store: Store) -> None:
    queued(store)

    async def scenario(feed: Feed) -> None:
        listeners = [Listener(feed), Listener(feed, after=0)]
        await listeners[0].has(lambda: all(listener.events for listener in listeners))
        await feed.close()
        async with asyncio.timeout(PATIENCE):
            await asyncio.gather(*(listener.task for listener in listeners))
        late = Listener(feed)
        async with asyncio.timeout(PATIENCE):
            await late.task

    with_feed(store, scenario)


def test_a_database_that_cannot_be_read_for_a_while_is_read_again(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = queued(store)
    read, failures = Feed._read, [0]

    def failing(feed: Feed, last: int) -> list[Event]:
        failures[0] += 1
        if failures[0] < 4:
            raise OSError("no disk")
        return read(feed, last)

    monkeypatch.setattr(Feed, "_read", failing)

    async def scenario(feed: Feed) -> None:
        listener = Listener(feed)
        await listener.has(lambda: len(listener.events) == 1)
        told = await asyncio.to_thread(tell, store, run_id, 2)
        await listener.has(lambda: listener.ids == told)
        await listener.leave()

    with_feed(store, scenario)


def test_an_event_that_comes_while_a_listener_reads_is_told_at_once(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a poll: the feed knows only of the commits of its own store."""
    monkeypatch.setattr(feeds, "POLL_SECONDS", PATIENCE)
    run_id = queued(store)
    other = Store(store.path)
    read = Feed._read

    def reading(feed: Feed, last: int) -> list[Event]:
        events = read(feed, last)
        if last > feed._last:  # it is ahead of the feed
            tell(store, run_id, 1)
            until(lambda: feed._last == newest(store))
        return events

    monkeypatch.setattr(Feed, "_read", reading)

    async def scenario(feed: Feed) -> None:
        first = Listener(feed)
        await first.has(lambda: len(first.events) == 1)
        told = await asyncio.to_thread(tell, other, run_id, 2)
        ahead = Listener(feed, after=told[0] - 2)
        await ahead.has(lambda: ahead.ids[-1:] == [told[-1] + 1])
        for listener in (first, ahead):
            await listener.leave()

    with_feed(store, scenario)
    other.close()


def test_an_interruption_that_cannot_be_stored_is_told_all_the_same(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id, last = queued(store), newest(store)
    with store.session() as session:
        runs.set_state(session, run_id, "running")
    starts = iter([f"raise SystemExit({Shortage.DISK.status})", "import sys; sys.stdin.read()"])
    write, full = Store.session, threading.Event()

    def started(*_: Any) -> subprocess.Popen[bytes]:
        full.set()
        command = [sys.executable, "-S", "-c", next(starts)]
        return subprocess.Popen(command, stdin=subprocess.PIPE)

    def session(store: Store) -> Any:
        if full.is_set():
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(store)

    monkeypatch.setattr(supervising, "_started", started)
    monkeypatch.setattr(Store, "session", session)
    monkeypatch.setattr(supervising, "RETRY_SECONDS", supervising.LONGEST_RETRY_SECONDS)
    supervisor = supervisor_of(store)

    async def scenario(feed: Feed) -> None:
        listener = Listener(feed, last)

        def told() -> list[tuple[str, str | None]]:
            seen = [each["run"] for each in listener.of_kind("run")]
            return [state for state, _ in groupby((run["state"], run["error"]) for run in seen)]

        await listener.has(lambda: bool(told()))
        supervisor.start()
        await listener.has(lambda: told()[-1][0] == "interrupted")
        supervisor._interruptions[run_id] = replace(supervisor.unstored()[run_id], retry_at=None)
        supervisor.wake()
        await listener.has(lambda: told()[-1][0] == "running")
        await listener.leave()
        assert told() == [("running", None), ("interrupted", "the disk is full"), ("running", None)]
        assert {event.id for event in listener.events[1:]} == {newest(store)}

    try:
        with_feed(store, scenario, supervisor)
    finally:
        supervisor.stop()


# --- clients that come and go --------------------------------------------------------------------


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database whose outbox keeps few changes."""
    folder = tmp_path_factory.mktemp("empty")
    store, settings = opened(folder)
    keep(store, 12)
    store.close()
    return settings.database


@pytest.fixture(scope="module")
def other_process() -> Iterator[Callable[[Path, list[tuple[str, int]]], None]]:
    """A function that makes changes in another process."""
    command = [sys.executable, "-m", "support.studio_changes"]
    pipe = subprocess.PIPE
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=environment) as process:

        def make(path: Path, done: list[tuple[str, int]]) -> None:
            words = [str(path), *(str(word) for each in done for word in each)]
            process.stdin.write("\t".join(words) + "\n")
            process.stdin.flush()
            assert process.stdout.readline() == "done\n"

        yield make
        process.stdin.close()


ACTS = st.lists(st.tuples(st.sampled_from(list(CHANGES)), st.integers(0, 20)), max_size=8)
FIRST = [(name, 0) for name in ("ask for a run", "draw", "add a model", "add a model", "kernels")]
MORE = [("figures", 3), ("label", 3), ("begin", 0), ("promote", 0)]
KERNELS = [("kernels", 3)]
LAST = [(f"delete a {name}", n) for name, n in (("drawing", 0), ("model", 1))]


@given(rounds=st.lists(st.tuples(st.integers(0, 6), ACTS, ACTS), min_size=1, max_size=4))
@example(rounds=[(9, FIRST, []), (0, [*LAST, *5 * [("figures", 3)]], KERNELS)])  # more than is kept
@example(rounds=[(3, FIRST, []), (0, [], MORE), (0, [("end", 0), ("delete a run", 0)], LAST)])
@settings(max_examples=15)
def test_a_client_that_comes_and_goes_ends_as_one_that_stayed_and_as_the_database(
    empty: Path,
    other_process: Callable[[Path, list[tuple[str, int]]], None],
    rounds: list[tuple[int, list[tuple[str, int]], list[tuple[str, int]]]],
) -> None:
    """In each round, a thread and another process write, and a client leaves after some events."""
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(feeds, "MOST_AT_ONCE", 4)
        path = Path(folder, "studio.db")
        shutil.copy(empty, path)
        store = Store(path)
        stayed, roams, loaded = Client(), Client(), Client()

        async def follow(feed: Feed, client: Client, most: int | None = None) -> None:
            async with aclosing(feed.listen(client.last)) as heard:
                async for event in heard:
                    await asyncio.to_thread(client.hear, event, store)
                    if most is not None:
                        most -= 1
                        if most < 0:
                            return

        async def scenario(feed: Feed) -> None:
            staying = asyncio.create_task(follow(feed, stayed))
            for most, mine, others in rounds:
                visit = asyncio.create_task(follow(feed, roams, most))
                await asyncio.gather(
                    asyncio.to_thread(change, store, mine),
                    asyncio.to_thread(other_process, path, others),
                )
                visit.cancel()
                await asyncio.gather(visit, return_exceptions=True)
            last = await asyncio.to_thread(newest, store)
            returned = asyncio.create_task(follow(feed, roams))
            async with asyncio.timeout(PATIENCE):
                while not stayed.last == roams.last == last:
                    for task in (staying, returned):
                        if task.done():
                            await task
                    await asyncio.sleep(0.005)
            for task in (staying, returned):
                task.cancel()
            await asyncio.gather(staying, returned, return_exceptions=True)

        with_feed(store, scenario)
        loaded.load(store)
        store.close()
    assert stayed.view() == loaded.view()
    assert roams.view() == loaded.view()
