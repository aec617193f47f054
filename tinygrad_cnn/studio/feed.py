"""The event feed: one database poll, shared by all listeners."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncGenerator, Iterator
from dataclasses import dataclass
from typing import Any

from anyio.to_thread import run_sync
from sqlalchemy import select
from sqlalchemy.orm import Session

from tinygrad_cnn.studio.api.runs import answer, payload_of
from tinygrad_cnn.studio.store import (
    Store,
    StoredDrawing,
    StoredModel,
    StoredPoint,
    StoredSnapshot,
    models,
    points,
    runs,
)
from tinygrad_cnn.studio.training.supervisor import Supervisor

__all__ = ["Event", "Feed"]

LOOK_SECONDS = 0.15
MOST_AT_ONCE = 500
MOST_REMEMBERED = 1000
LOOKS_AT_THINGS = 4  # models and drawings are polled less often than points

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Event:
    """An event. Events with an id can be replayed to a listener that missed them.

    Attributes
    ----------
    kind : str
        "point", "epoch", "state", "restarted", "snapshot", "models" or "drawings".
    data : dict
        Plain JSON.
    id : int or None
    """

    kind: str
    data: dict[str, Any]
    id: int | None = None


@dataclass(frozen=True, slots=True)
class DatabaseState:
    """A snapshot of the database beside points, to detect changes.

    Attributes
    ----------
    models : dict
        Names by id.
    promoted : int or None
    drawings : dict
        Names and labels by id.
    """

    models: dict[int, str]
    promoted: int | None
    drawings: dict[int, tuple[str, int | None]]

    @classmethod
    def read(cls, session: Session) -> DatabaseState:
        """Read the snapshot from the database."""
        drawn = session.execute(select(StoredDrawing.id, StoredDrawing.name, StoredDrawing.label))
        return cls(
            models=dict(session.execute(select(StoredModel.id, StoredModel.name)).all()),
            promoted=models.promoted_id(session),
            drawings={id: (name, label) for id, name, label in drawn},
        )

    def changes(self, before: DatabaseState) -> Iterator[Event]:
        """Yield an event for models and one for drawings, if they have changed."""
        if (self.models, self.promoted) != (before.models, before.promoted):
            ids = _changed(self.models, before.models)
            yield Event("models", {"ids": ids, "promoted": self.promoted})
        if self.drawings != before.drawings:
            yield Event("drawings", {"ids": _changed(self.drawings, before.drawings)})


class Feed:
    """The event feed for all listeners: ``async with Feed(store, supervisor) as feed``.

    While there are listeners, a task polls the database, in a thread, every ``LOOK_SECONDS``. A
    shared buffer holds the latest events; a listener that falls behind reads points from the
    database, so that no point is lost and memory stays bounded.

    Parameters
    ----------
    store : Store
    supervisor : Supervisor
        Knows which runs are at work.
    """

    def __init__(self, store: Store, supervisor: Supervisor) -> None:
        self.store = store
        self.supervisor = supervisor
        self._events: deque[Event] = deque(maxlen=MOST_REMEMBERED)
        self._count = 0  # of all events ever buffered
        self._last = 0  # id of the last point sent, or present at the start
        self._snapshots: dict[int, int] = {}
        self._things = DatabaseState({}, None, {})
        self._looks = 0
        self._listeners = 0
        self._news = asyncio.Event()
        self._beginning = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None
        self._closed = False

    async def __aenter__(self) -> Feed:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the feed: all listeners end."""
        self._closed = True
        self._publish([])
        if self._task is not None:
            await self._task

    async def listen(self, after: int | None = None) -> AsyncGenerator[Event]:
        """Yield events from now on, or every point after a given one, each once and in order.

        Parameters
        ----------
        after : int, optional
            The id of the last known point. An id beyond the last point counts as the last one.

        Yields
        ------
        Event
            The first has kind "" and only carries the id from which to listen again.
        """
        self._listeners += 1
        try:
            await self._begin()
            last = self._last if after is None else min(after, self._last)
            yield Event("", {}, last)
            place = -1
            while not self._closed:
                first = self._count - len(self._events)
                if place < first:  # a new listener, or one that has fallen behind
                    place, end = self._count, self._last
                    while last < end and (missed := await run_sync(self._missed, last, end)):
                        for event in missed:
                            yield event
                            last = event.id or last
                    last = max(last, end)
                elif place < self._count:
                    event = self._events[place - first]
                    place += 1
                    last = event.id or last
                    yield event
                else:
                    await self._news.wait()
        finally:
            self._listeners -= 1

    async def _begin(self) -> None:
        """Start polling the database, from its current state."""
        async with self._beginning:
            if self._task is None and not self._closed:
                await run_sync(self._look_first)
                self._events.clear()
                self._task = asyncio.create_task(self._watch(), name="feed")

    async def _watch(self) -> None:
        while self._listeners and not self._closed:
            try:
                self._publish(await run_sync(self._look))
            except Exception:  # such as a full disk; it may pass, so the listeners stay
                log.exception("the database could not be read")
            await asyncio.sleep(LOOK_SECONDS)
        self._task = None

    def _publish(self, events: list[Event]) -> None:
        self._events.extend(events)
        self._count += len(events)
        self._last = max([self._last, *(event.id for event in events if event.id is not None)])
        if events or self._closed:
            self._news.set()
            self._news = asyncio.Event()

    def _look_first(self) -> None:
        with self.store.reading() as session:
            self._last = points.last_id(session)
            self._snapshots = _snapshots(session)
            self._things = DatabaseState.read(session)

    def _look(self) -> list[Event]:
        """Return the events since the last poll."""
        with self.store.reading() as session:
            found = points.after(session, self._last, limit=MOST_AT_ONCE)
            events = [self._event(session, point) for point in found]
            steps = _snapshots(session)
            for run_id in steps:
                if steps[run_id] != self._snapshots.get(run_id):
                    shown = session.get_one(StoredSnapshot, run_id)
                    events.append(Event("snapshot", payload_of(shown)))
            self._looks += 1
            things = self._things
            if self._looks % LOOKS_AT_THINGS == 0:
                things = DatabaseState.read(session)
        events += things.changes(self._things)
        self._snapshots, self._things = steps, things
        return events

    def _event(self, session: Session, point: StoredPoint) -> Event:
        data = payload_of(point)
        if point.kind == "state":
            run = runs.get(session, point.run_id)
            data["run"] = answer(session, run, self.supervisor).model_dump(mode="json")
        return Event(point.kind, data, point.id)

    def _missed(self, last: int, end: int) -> list[Event]:
        with self.store.reading() as session:
            found = points.after(session, last, limit=MOST_AT_ONCE)
            return [self._event(session, point) for point in found if point.id <= end]


def _snapshots(session: Session) -> dict[int, int]:
    """Return the step of the latest kernel snapshot, by run."""
    return dict(session.execute(select(StoredSnapshot.run_id, StoredSnapshot.step)).all())


def _changed(now: dict[int, Any], before: dict[int, Any]) -> list[int]:
    """Return the ids that are new, deleted or changed."""
    return sorted(id for id in now.keys() | before.keys() if now.get(id) != before.get(id))
