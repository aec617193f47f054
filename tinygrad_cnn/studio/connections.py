"""Connections of the server: their number, their patience, and errors below the application."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from tinygrad_cnn.studio.problems import MEDIA_TYPE, Problem
from tinygrad_cnn.studio.security import HEADERS
from tinygrad_cnn.studio.settings import Limits

__all__ = ["Connection"]


class Connection(H11Protocol):
    """A connection that does not wait for a client forever.

    uvicorn limits the time between two requests, but not that of a request's first byte, nor that
    of its head. Its own answers are plain text without security headers.

    Parameters
    ----------
    limits : Limits
    **options
        See uvicorn.
    """

    def __init__(self, *, limits: Limits, **options: Any) -> None:
        super().__init__(**options)
        self._limits = limits
        self._full = False
        self._end: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for a head."""
        super().connection_made(transport)
        self._full = len(self.connections) > self._limits.connections
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for no more."""
        self._wait(False)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Go on with a request, or refuse it; its head is complete as soon as it has a cycle."""
        if self._full:
            self._refuse(Problem("busy", "too many connections; try again"))
            return
        super().data_received(data)
        if self._answering:
            self._wait(False)

    def on_response_complete(self) -> None:
        """Wait for the next head, or for the rest of a body that was not read."""
        super().on_response_complete()
        self._wait(not self._answering)

    def send_400_response(self, msg: str) -> None:
        """Answer what is not HTTP."""
        self._refuse(Problem("bad-request", "the request is not HTTP"))

    @property
    def _answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _wait(self, waiting: bool = True) -> None:
        if self._end is not None:
            self._end.cancel()
        seconds = self._limits.head_seconds
        self._end = self.loop.call_later(seconds, self.transport.close) if waiting else None

    def _refuse(self, problem: Problem) -> None:
        """Answer with a problem, unless an answer has begun, and close."""
        if self.conn.our_state in {h11.IDLE, h11.SEND_RESPONSE}:
            body = json.dumps(problem.document()).encode()
            headers = {
                **HEADERS,
                "Content-Type": MEDIA_TYPE,
                "Content-Length": str(len(body)),
                "Connection": "close",
                "Retry-After": "1",
            }
            start = h11.Response(status_code=problem.status, headers=[*headers.items()])
            for event in (start, h11.Data(data=body), h11.EndOfMessage()):
                self.transport.write(self.conn.send(event) or b"")
        self.transport.close()
