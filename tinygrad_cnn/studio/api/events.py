"""The route for server-sent events."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Annotated

from fastapi import APIRouter, FastAPI, Header, Query, Request
from fastapi.sse import EventSourceResponse, ServerSentEvent

from tinygrad_cnn.studio.api.fields import LARGEST_ID
from tinygrad_cnn.studio.feed import Feed
from tinygrad_cnn.studio.problems import documented
from tinygrad_cnn.studio.services import Services

__all__ = ["router"]

RETRY_MILLISECONDS = 1000


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Keep the shared feed in ``app.state.feed`` while the server runs."""
    services: Services = app.state.services
    async with Feed(services.store, services.supervisor) as feed:
        app.state.feed = feed
        yield


router = APIRouter(prefix="/api/events", tags=["events"], lifespan=lifespan)


@router.get("", response_class=EventSourceResponse, responses=documented("invalid"))
async def events(
    request: Request,
    after: Annotated[int | None, Query(ge=0, le=LARGEST_ID)] = None,
    last_event_id: Annotated[int | None, Header(ge=0, le=LARGEST_ID)] = None,
) -> AsyncIterator[ServerSentEvent]:
    """Stream every change as an event with an id.

    `model`, `drawing` and `run` hold the row as it is now, or null if it is deleted, and `model`
    also the id of the promoted one. `point`, `epoch`, `restarted` and `snapshot` are about a run.
    To resume, send the id of the last known event in the header `Last-Event-ID` or as `after`: all
    later events are sent first; `/api/state` has the id to begin after. `reset` says that some of
    them are no longer kept: load everything again.
    """
    feed: Feed = request.app.state.feed
    known = after if last_event_id is None else last_event_id
    async with aclosing(feed.listen(known)) as heard:
        async for event in heard:
            if event.kind:
                yield ServerSentEvent(data=event.data, event=event.kind, id=str(event.id))
            else:
                yield ServerSentEvent(id=str(event.id), retry=RETRY_MILLISECONDS)
