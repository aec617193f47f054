"""ASGI middleware: rate limits per client, and limits of the size and time of bodies."""

from __future__ import annotations

import math
from asyncio import get_running_loop, timeout_at
from collections import OrderedDict
from collections.abc import Callable
from time import monotonic

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tinygrad_cnn.studio.problems import MEDIA_TYPE, Problem
from tinygrad_cnn.studio.settings import Limits

__all__ = ["Bodies", "Buckets", "RateLimit", "too_many"]

MOST_CLIENTS = 1024
LIVE = ("/api/predict", "/api/explain/layers", "/api/explain/cell")


class Buckets:
    """Token buckets, one per client: each request takes a token, and tokens refill over time.

    Only the ``MOST_CLIENTS`` most recent clients are stored.

    Parameters
    ----------
    rate : float
        Tokens refilled per second.
    size : float
        Capacity of a bucket.
    now : callable
        Returns the time in seconds.

    Examples
    --------
    >>> buckets = Buckets(rate=2.0, size=1.0, now=lambda: 0.0)
    >>> buckets.take("a"), buckets.take("a"), buckets.take("b")
    (0.0, 0.5, 0.0)
    """

    def __init__(self, rate: float, size: float, now: Callable[[], float] = monotonic) -> None:
        self.rate = rate
        self.size = size
        self.now = now
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, client: str) -> float:
        """Take a token and return 0, or return the seconds until one is available."""
        seconds = self.wait(client)
        if seconds == 0.0:
            tokens, now = self._left[client]
            self._left[client] = tokens - 1.0, now
        return seconds

    def wait(self, client: str) -> float:
        """Return the seconds until a token is available, 0 if there is one; none is taken."""
        now = self.now()
        tokens, since = self._left.pop(client, (self.size, now))
        tokens = min(self.size, tokens + (now - since) * self.rate)
        self._left[client] = tokens, now
        if len(self._left) > MOST_CLIENTS:
            self._left.popitem(last=False)
        return max(0.0, 1.0 - tokens) / self.rate


def too_many(reason: str, seconds: float) -> Problem:
    """Return the problem of a client that has to wait."""
    return Problem(
        "too-many",
        f"{reason}; wait {seconds:.2g} s",
        headers={"Retry-After": str(math.ceil(seconds))},
    )


class RateLimit:
    """Rejects a client's requests above its rate: "too-many", with Retry-After.

    What follows the pen or the pointer has a separate bucket, as one stroke sends many requests.
    """

    def __init__(self, app: ASGIApp, limits: Limits) -> None:
        self.app = app
        rates = limits.predictions_per_second, limits.requests_per_second
        self.predictions, self.others = (
            Buckets(rate, max(1.0, rate * limits.burst)) for rate in rates
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer it with a problem."""
        if scope["type"] == "http":
            is_live = scope["path"].startswith(LIVE)
            buckets = self.predictions if is_live else self.others
            client = scope["client"][0] if scope.get("client") else ""
            seconds = buckets.take(client)
            if seconds > 0:
                reason = f"{buckets.rate:g} requests per second are allowed"
                await too_many(reason, seconds).response()(scope, receive, send)
                return
        await self.app(scope, receive, send)


class Bodies:
    """Answers a body that is too large, or arrives too slowly, with a problem document.

    Starlette's own answer to a large body is plain text.
    """

    def __init__(self, app: ASGIApp, limits: Limits) -> None:
        self.app = app
        self.limits = limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and its answer back."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        replaced = complete = started = False
        end = get_running_loop().time() + self.limits.body_seconds

        async def refuse(problem: Problem) -> None:
            nonlocal replaced
            replaced = True
            problem.headers["Connection"] = "close"
            await problem.response()(scope, receive, send)

        async def receive_in_time() -> Message:
            nonlocal complete, end
            if complete:  # waits for the client to leave
                return await receive()
            try:
                async with timeout_at(end):
                    message = await receive()
            except TimeoutError:
                complete = True
                if not started:
                    await refuse(Problem("slow", "the body did not arrive in time; send it again"))
                return {"type": "http.disconnect"}
            complete = not message.get("more_body", False)
            end += len(message.get("body", b"")) / self.limits.body_rate
            return message

        async def send_problem(message: Message) -> None:
            nonlocal started
            if not replaced and message["type"] == "http.response.start":
                plain = Headers(raw=message["headers"]).get("content-type") != MEDIA_TYPE
                if message["status"] == 413 and plain:
                    await refuse(Problem("too-large", "the body is larger than allowed here"))
            if not replaced:
                started = True
                await send(message)

        await self.app(scope, receive_in_time, send_problem)
