"""Problem documents (RFC 9457) for all errors."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict
from sqlalchemy.exc import SQLAlchemyError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from tinygrad_cnn.studio.reasons import reason
from tinygrad_cnn.studio.shortage import Shortage
from tinygrad_cnn.studio.store.errors import ConflictError, NotFoundError

__all__ = ["MEDIA_TYPE", "PROBLEMS", "Problem", "ProblemDocument", "documented", "install",
           "refusal"]  # fmt: skip

MEDIA_TYPE = "application/problem+json"
LONGEST_VALUE = 80
DISK_FULL = "nothing was changed: free some space on the studio's disk, then try again"

PROBLEMS: dict[str, tuple[int, str]] = {
    "bad-request": (400, "The request cannot be understood"),
    "no-token": (401, "A token is needed"),
    "foreign": (403, "The request comes from another site"),
    "not-found": (404, "Not found"),
    "method": (405, "The address does not support this method"),
    "slow": (408, "The request took too long to arrive"),
    "conflict": (409, "Not possible in the current state"),
    "no-model": (409, "No model is trained yet"),
    "worse": (409, "The model is less accurate than the promoted one"),
    "too-large": (413, "The request is too large"),
    "host": (421, "Unknown host name"),
    "invalid": (422, "The request is invalid"),
    "not-a-picture": (422, "The body is not a picture"),
    "blank": (422, "The picture is blank"),
    "bad-weights": (422, "The file is not a suitable model"),
    "too-many": (429, "Too many requests"),
    "internal": (500, "Internal server error"),
    "no-graphviz": (501, "Graphviz is not installed"),
    "busy": (503, "The server is busy"),
    "disk-full": (507, "The disk is full"),
}
"""Status and title by name. A problem's type is ``/docs#NAME``."""

OF_STATUS = {400: "bad-request", 404: "not-found", 405: "method", 413: "too-large", 422: "invalid"}


class Problem(Exception):  # noqa: N818  # the term of RFC 9457
    """An error to be answered with a problem document.

    Parameters
    ----------
    name : str
        A key of ``PROBLEMS``.
    detail : str
        A sentence with the value given and the value expected.
    headers : mapping of str to str, optional
        Response headers, such as ``Retry-After``.
    **fields
        Additional members of the document: plain JSON.
    """

    def __init__(
        self, name: str, detail: str, *, headers: Mapping[str, str] | None = None, **fields: Any
    ) -> None:
        super().__init__(detail)
        self.name = name
        self.status, self.title = PROBLEMS[name]
        self.detail = detail
        self.headers = dict(headers or {})
        self.fields = fields

    def document(self) -> dict[str, Any]:
        """Return the problem document."""
        return {
            "type": f"/docs#{self.name}",
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
            **self.fields,
        }

    def response(self) -> Response:
        """Return the response; non-ASCII text is escaped, so that any text is valid."""
        body = json.dumps(self.document(), default=repr).encode()
        return Response(body, self.status, self.headers, MEDIA_TYPE)


class ProblemDocument(BaseModel):
    """A problem document, as RFC 9457 describes it."""

    model_config = ConfigDict(extra="allow")

    type: str
    title: str
    status: int
    detail: str


def refusal(where: Iterable[str | int], came: Any, reason: str) -> dict[str, str]:
    """Return an element of the member ``errors``: a field, what came, and why it is refused.

    Examples
    --------
    >>> refusal(("body", "lr"), -1, "expected more than 0")
    {'where': 'body.lr', 'came': '-1', 'reason': 'expected more than 0'}
    """
    text = repr(came)
    shortened = text if len(text) <= LONGEST_VALUE else text[: LONGEST_VALUE - 1] + "…"
    return {"where": ".".join(map(str, where)), "came": shortened, "reason": reason}


def refused(errors: Sequence[dict[str, str]]) -> Problem:
    """Return the problem "invalid" of one or more refusals."""
    first = errors[0]
    detail = f"{first['where']}: got {first['came']}, {first['reason']}"
    return Problem("invalid", detail, errors=[*errors])


def documented(*names: str) -> dict[int | str, dict[str, Any]]:
    """Return the ``responses`` of a route that can raise the named problems.

    Examples
    --------
    >>> [(code, each["description"]) for code, each in documented("blank", "invalid").items()]
    [(422, 'The picture is blank (`blank`), or: The request is invalid (`invalid`)')]
    """
    by_status: dict[int | str, list[str]] = {}
    for name in names:
        status, title = PROBLEMS[name]
        by_status.setdefault(status, []).append(f"{title} (`{name}`)")
    schema = {"$ref": "#/components/schemas/ProblemDocument"}
    return {
        status: {
            "description": ", or: ".join(titles),
            "content": {MEDIA_TYPE: {"schema": schema}},
        }
        for status, titles in by_status.items()
    }


def install(app: FastAPI) -> None:
    """Make `app` answer every error with a problem document."""
    app.add_exception_handler(Problem, _of_problem)
    app.add_exception_handler(RequestValidationError, _of_validation)
    app.add_exception_handler(HTTPException, _of_http)
    app.add_exception_handler(ClientDisconnect, _of_gone)
    app.add_exception_handler(NotFoundError, _of_missing)
    app.add_exception_handler(ConflictError, _of_refused)
    for kind in (OSError, MemoryError, SQLAlchemyError, sqlite3.Error):
        app.add_exception_handler(kind, _of_shortage)
    app.add_exception_handler(Exception, _of_mistake)  # those of middleware, too


async def _of_problem(request: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)
    return error.response()


async def _of_validation(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    errors = [refusal(each["loc"], each.get("input"), reason(each)) for each in error.errors()]
    return refused(errors).response()


async def _of_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    name = OF_STATUS.get(error.status_code, "bad-request")
    detail = f"{request.method} {request.url.path}: {error.detail}"
    return Problem(name, detail, headers=error.headers).response()


async def _of_gone(request: Request, error: Exception) -> Response:
    return Problem("bad-request", "the body is cut off").response()  # usually to no one


async def _of_missing(request: Request, error: Exception) -> Response:
    return Problem("not-found", str(error)).response()


async def _of_refused(request: Request, error: Exception) -> Response:
    return Problem("conflict", str(error)).response()


async def _of_shortage(request: Request, error: Exception) -> Response:
    shortage = Shortage.of(error)
    if shortage is None:
        raise error
    return _shortage(shortage).response()


def _shortage(shortage: Shortage) -> Problem:
    if shortage is Shortage.DISK:
        return Problem("disk-full", DISK_FULL)
    return Problem("busy", f"{shortage.reason}; try again", headers={"Retry-After": "1"})


async def _of_mistake(request: Request, error: Exception) -> Response:
    shortage = Shortage.of(error)
    if shortage is not None:
        return _shortage(shortage).response()
    detail = f"{type(error).__name__}: see the server's log"
    return Problem("internal", detail).response()
