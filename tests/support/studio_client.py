"""A client of a studio that runs as a server: one connection that is kept."""

from __future__ import annotations

import http.client
import json
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from support.studio import BEARER

LONGEST_ANSWER = 60.0

CUT_OFF = (OSError, http.client.HTTPException)
"""What a request raises when the server dies before it has answered."""


class Answer(NamedTuple):
    """What a request was answered with."""

    status: int
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def fine(self) -> bool:
        return self.status < 400


class Client:
    """Asks a studio: ``with Client(url) as client:``; to be used by one thread.

    Parameters
    ----------
    url : str
        Without a slash at the end.
    """

    def __init__(self, url: str) -> None:
        address = urlsplit(url)
        assert address.hostname is not None
        self.connection = http.client.HTTPConnection(
            address.hostname, address.port, timeout=LONGEST_ANSWER
        )

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection; the next request opens another."""
        self.connection.close()

    def ask(self, method: str, path: str, body: Any = None) -> Answer:
        """Send a request: its body is JSON, or a picture if it is bytes."""
        picture = isinstance(body, bytes)
        kind = {"Content-Type": "image/png" if picture else "application/json"}
        sent = body if picture or body is None else json.dumps(body)
        headers = BEARER if body is None else {**BEARER, **kind}
        self.connection.request(method, path, sent, headers)
        response = self.connection.getresponse()
        return Answer(response.status, response.read())

    def get(self, path: str) -> Any:
        """Return what there is at a path, as JSON."""
        answer = self.ask("GET", path)
        assert answer.status == 200, answer
        return answer.json
