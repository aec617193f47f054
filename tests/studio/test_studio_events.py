"""What happens is told to those who listen: each once, in order, however they come and go."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest
from support.studio import add_model
from support.studio_training import opened, queued

from tinygrad_cnn.studio import StudioSettings
from tinygrad_cnn.studio import feed as feeds
from tinygrad_cnn.studio.feed import Event, Feed
from tinygrad_cnn.studio.store import Store, drawings, models, points, runs, snapshots
from tinygrad_cnn.studio.training.supervisor import Supervisor

PATIENCE = 30.0


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store, _ = opened(tmp_path)
    yield store
    store.close()


def tell(store: Store, run_id: int, count: int) -> list[int]:
    """Add points to a run, and return their ids."""
    with store.session() as session:
        before = points.last_id(session)
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
        return [event.id for event in self.events[1:] if event.id is not None]

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


def with_feed(store: Store, scenario: Callable[[Feed], Awaitable[None]]) -> None:
    async def run() -> None:
        nobody = Supervisor(store, StudioSettings(data_dir=store.path.parent))
        async with Feed(store, nobody) as feed:
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
    monkeypatch.setattr(feeds, "MOST_REMEMBERED", 20)
    monkeypatch.setattr(feeds, "MOST_AT_ONCE", 7)
    monkeypatch.setattr(feeds, "LOOK_SECONDS", 0.0)
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
        assert len(feed._events) <= 20
        for listener in (slow, new, quick):
            await listener.leave()

    with_feed(store, scenario)


def test_a_listener_that_knows_more_than_there_is_hears_what_comes(store: Store) -> None:
    run_id = queued(store)

    async def scenario(feed: Feed) -> None:
        listener = Listener(feed, after=10**12)
        await listener.has(lambda: len(listener.events) == 1)
        told = await asyncio.to_thread(tell, store, run_id, 2)
        await listener.has(lambda: listener.ids == told)
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
        assert listener.ids == [*told[2:5], told[-1] + 1]
        await listener.leave()

    with_feed(store, scenario)


def test_states_come_with_the_run_and_kernels_without_an_id(store: Store) -> None:
    run_id = queued(store)

    def happen() -> None:
        from tinygrad_cnn.studio.training.states import record_state

        with store.session() as session:
            runs.set_state(session, run_id, "running")
            record_state(session, run_id)
            snapshots.put(session, run_id, 5, {"layer": "fc.0", "kernels": {"shape": [1]}})

    async def scenario(feed: Feed) -> None:
        listener = Listener(feed)
        await listener.has(lambda: len(listener.events) == 1)
        await asyncio.to_thread(happen)
        await listener.has(lambda: len(listener.events) >= 3)
        (state,) = listener.of_kind("state")
        assert state["run_id"] == run_id
        assert state["run"]["state"] == "running"
        assert state["run"]["request"]["model"] == "mlp"
        (snapshot,) = listener.of_kind("snapshot")
        assert snapshot == {
            "run_id": run_id, "step": 5, "layer": "fc.0", "kernels": {"shape": [1]},
        }  # fmt: skip
        assert [event.id for event in listener.events if event.kind == "snapshot"] == [None]
        await listener.leave()

    with_feed(store, scenario)


def test_changes_of_models_and_drawings_are_told_with_their_ids(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feeds, "LOOK_SECONDS", 0.0)

    def draw() -> int:
        with store.session() as session:
            return drawings.add(session, name="d", picture=b"", input=bytes(784)).id

    def change(act: Callable[..., object], *arguments: object) -> None:
        with store.session() as session:
            act(session, *arguments)

    async def scenario(feed: Feed) -> None:
        listener = Listener(feed)
        await listener.has(lambda: len(listener.events) == 1)
        drawing = await asyncio.to_thread(draw)
        await listener.has(lambda: len(listener.of_kind("drawings")) == 1)
        for act, more in ((drawings.label, (4,)), (drawings.delete, ())):
            before = len(listener.of_kind("drawings"))
            await asyncio.to_thread(change, act, drawing, *more)
            await listener.has(lambda before=before: len(listener.of_kind("drawings")) > before)
        assert listener.of_kind("drawings") == [{"ids": [drawing]}] * 3
        model = await asyncio.to_thread(add_model, tmp_path, "known", False)
        await listener.has(lambda: len(listener.of_kind("models")) == 1)
        await asyncio.to_thread(change, models.rename, model, "other")
        await listener.has(lambda: len(listener.of_kind("models")) == 2)
        await asyncio.to_thread(change, models.promote, model)
        await listener.has(lambda: len(listener.of_kind("models")) == 3)
        assert listener.of_kind("models") == [
            {"ids": [model], "promoted": None},
            {"ids": [model], "promoted": None},
            {"ids": [], "promoted": model},
        ]
        await listener.leave()

    with_feed(store, scenario)


def test_nobody_looks_while_nobody_listens(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feeds, "LOOK_SECONDS", 0.0)
    looks: list[int] = []
    look = Feed._look

    def counted(feed: Feed) -> list[Event]:
        looks.append(len(looks))
        return look(feed)

    monkeypatch.setattr(Feed, "_look", counted)

    async def scenario(feed: Feed) -> None:
        assert feed._task is None
        for _ in range(2):
            listeners = [Listener(feed) for _ in range(3)]
            before = len(looks)
            await listeners[0].has(lambda before=before: len(looks) > before + 3)
            assert sum(task.get_name() == "feed" for task in asyncio.all_tasks()) == 1
            for listener in listeners:
                await listener.leave()
            await listeners[0].has(lambda: feed._task is None)

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


def test_a_database_that_cannot_be_read_for_a_while_is_looked_at_again(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feeds, "LOOK_SECONDS", 0.0)
    run_id = queued(store)
    look, failures = Feed._look, [0]

    def failing(feed: Feed) -> list[Event]:
        failures[0] += 1
        if failures[0] < 4:
            raise OSError("no disk")
        return look(feed)

    monkeypatch.setattr(Feed, "_look", failing)

    async def scenario(feed: Feed) -> None:
        listener = Listener(feed)
        await listener.has(lambda: len(listener.events) == 1)
        told = await asyncio.to_thread(tell, store, run_id, 2)
        await listener.has(lambda: listener.ids == told)
        await listener.leave()

    with_feed(store, scenario)
