"""The event feed: reads the outbox once for all listeners."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any

from anyio.to_thread import run_sync
from sqlalchemy import select
from sqlalchemy.orm import Session

from tinygrad_cnn.studio.api.drawings import answer as drawing_answer
from tinygrad_cnn.studio.api.models import summary
from tinygrad_cnn.studio.api.runs import answer, payload_of
from tinygrad_cnn.studio.store import (
    Store,
    StoredDrawing,
    StoredModel,
    StoredPoint,
    StoredRun,
    StoredSnapshot,
    models,
    outbox,
)
from tinygrad_cnn.studio.store.tables import Base, Change, ChangeKind
from tinygrad_cnn.studio.training.supervisor import Interruption, Supervisor

__all__ = ["Event", "Feed"]

POLL_SECONDS = 0.05
RETRY_SECONDS = 1.0
MOST_AT_ONCE = 500
TABLES: dict[ChangeKind, type[Base]] = {
    "model": StoredModel,
    "drawing": StoredDrawing,
    "run": StoredRun,
    "point": StoredPoint,
    "snapshot": StoredSnapshot,
}

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Event:
    """An event.

    Attributes
    ----------
    id : int
        A listener that knows this event resumes after it.
    kind : str
        "model", "drawing" or "run", with the row as it is now, null if it is deleted; "point",
        "epoch", "restarted" or "snapshot" of a run; "reset" if changes were missed that are no
        longer known; "" for an id alone.
    data : dict
        Plain JSON.
    """

    id: int
    kind: str = ""
    data: dict[str, Any] = field(default_factory=dict)


class Feed:
    """The event feed for all listeners: ``async with Feed(store, supervisor) as feed``.

    While there are listeners, a task waits for commits: the store tells of its own, and SQLite's
    data version, read every ``POLL_SECONDS``, of those of other processes. It reads the new events
    once for all listeners; a listener that has fallen behind reads its own from the outbox.

    Parameters
    ----------
    store : Store
    supervisor : Supervisor
        Knows which runs are at work.
    """

    def __init__(self, store: Store, supervisor: Supervisor) -> None:
        self.store = store
        self.supervisor = supervisor
        self._newest: list[Event] = []
        self._before = self._last = 0  # ids of the last event before the newest, and of them
        self._unstored: dict[int, Interruption] = {}  # of no change in the outbox
        self._listeners = 0
        self._news = asyncio.Event()
        self._committed = asyncio.Event()
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
        self._committed.set()
        self._publish([])
        if self._task is not None:
            await self._task

    async def listen(self, after: int | None = None) -> AsyncGenerator[Event]:
        """Yield the events from now on, or all after a known one, in order.

        Parameters
        ----------
        after : int, optional
            The id of the last known event.

        Yields
        ------
        Event
            The first carries only the id from which to listen again.
        """
        self._listeners += 1
        try:
            await self._begin()
            last = self._last if after is None else after
            yield Event(last)
            sent: dict[int, Interruption] = {}
            while self._task is not None and not self._closed:
                news = self._news
                events: list[Event] = []
                try:
                    if last != self._last:
                        events = self._newest
                        if last != self._before:  # it has fallen behind, or is new, or ahead
                            events = await run_sync(self._read, last)
                    elif sent != (unstored := self._unstored):
                        events = await run_sync(self._runs, sent.keys() | unstored.keys(), last)
                        sent = unstored
                except Exception:  # such as a full disk; it may pass, so the listener stays
                    log.exception("the database could not be read")
                    await asyncio.sleep(RETRY_SECONDS)
                    continue
                for event in events:
                    last = event.id
                    yield event
                if not events:
                    await news.wait()
        finally:
            self._listeners -= 1

    async def _begin(self) -> None:
        """Start watching the database, from its current state."""
        async with self._beginning:
            if self._task is None and not self._closed:
                self._before = self._last = await run_sync(self._last_id)
                self._task = asyncio.create_task(self._watch(), name="feed")

    async def _watch(self) -> None:
        loop = asyncio.get_running_loop()
        seen = None

        def committed() -> None:
            loop.call_soon_threadsafe(self._committed.set)

        try:
            with self.store.watching(committed) as data_version:
                while self._listeners and not self._closed:
                    self._committed.clear()
                    try:
                        version = data_version()
                        while version != seen:
                            self._publish(await run_sync(self._read, self._last))
                            if self._last < self._before + MOST_AT_ONCE:
                                seen = version
                        if self._unstored != (unstored := self.supervisor.unstored()):
                            self._unstored = unstored
                            self._publish([])
                    except Exception:  # such as a full disk; it may pass, so the listeners stay
                        log.exception("the database could not be read")
                    with suppress(TimeoutError):
                        async with asyncio.timeout(POLL_SECONDS):
                            await self._committed.wait()
        finally:
            self._task = None
            self._publish([])

    def _publish(self, events: list[Event]) -> None:
        self._newest, self._before = events, self._last
        if events:
            self._last = events[-1].id
        self._news.set()
        self._news = asyncio.Event()

    def _last_id(self) -> int:
        with self.store.reading() as session:
            return outbox.newest(session)

    def _read(self, last: int) -> list[Event]:
        """Return the next events; of several changes of a row, the last."""
        with self.store.reading() as session:
            changes = outbox.after(session, last, MOST_AT_ONCE)
            if changes is None:
                return [Event(outbox.newest(session), "reset")]
            latest = {(change.kind, change.row_id): change for change in changes}
            ids = [id for kind, id in latest if kind == "point"]
            points = list(session.scalars(select(StoredPoint).where(StoredPoint.id.in_(ids))))
            events = [self._event(session, change) for change in latest.values()]
            del points  # the session held them for `_event`
        return sorted(events, key=attrgetter("id"))

    def _runs(self, ids: Iterable[int], last: int) -> list[Event]:
        with self.store.reading() as session:
            return [self._event(session, Change(id=last, kind="run", row_id=id)) for id in ids]

    def _event(self, session: Session, change: Change) -> Event:
        kind, id = change.kind, change.row_id
        row = session.get(TABLES[kind], id)
        if isinstance(row, StoredPoint):
            return Event(change.id, row.kind, payload_of(row))
        if isinstance(row, StoredSnapshot):
            return Event(change.id, kind, payload_of(row))
        if kind in ("point", "snapshot"):  # deleted, with its run or by a restart
            return Event(change.id)
        data: dict[str, Any] = {"id": id, kind: None}
        if kind == "model":
            data["promoted"] = promoted = models.promoted_id(session)
        if isinstance(row, StoredModel):
            data[kind] = summary(row, promoted).model_dump(mode="json")
        elif isinstance(row, StoredDrawing):
            data[kind] = drawing_answer(row).model_dump(mode="json", exclude={"input"})
        elif isinstance(row, StoredRun):
            data[kind] = answer(session, row, self.supervisor).model_dump(mode="json")
        return Event(change.id, kind, data)
