"""Errors as problem documents."""

from __future__ import annotations

import errno
import json

import pytest
from fastapi import FastAPI, HTTPException
from pydantic import BaseModel
from starlette.testclient import TestClient

from tinygrad_cnn.studio import problems
from tinygrad_cnn.studio.problems import MEDIA_TYPE, PROBLEMS, Problem
from tinygrad_cnn.studio.store import ConflictError, NotFoundError


class Body(BaseModel):
    number: int


def client() -> TestClient:
    app = FastAPI()
    problems.install(app)

    @app.get("/{what}")
    def fail(what: str) -> None:
        raise {
            "problem": Problem("worse", "it is", before=0.9, after=0.8),
            "missing": NotFoundError("model", 7),
            "refused": ConflictError("it is promoted"),
            "http": HTTPException(400, "no"),
            "mistake": RuntimeError("a secret path"),
            "file": FileNotFoundError(errno.ENOENT, "a secret path"),
            "full": OSError(errno.ENOSPC, "No space left on device"),
            "memory": MemoryError(),
        }[what]

    @app.post("/")
    def take(body: Body) -> None:
        pass

    return TestClient(app, raise_server_exceptions=False)


@pytest.mark.parametrize(
    ("what", "name", "detail"),
    [
        ("problem", "worse", "it is"),
        ("missing", "not-found", "there is no model 7"),
        ("refused", "conflict", "it is promoted"),
        ("http", "bad-request", "GET /http: no"),
        ("mistake", "internal", "RuntimeError: see the server's log"),
        ("file", "internal", "FileNotFoundError: see the server's log"),
        ("full", "disk-full", problems.DISK_FULL),
        ("memory", "busy", "there is not enough memory; try again"),
    ],
)
def test_every_error_is_told_as_a_problem(what: str, name: str, detail: str) -> None:
    answer = client().get(f"/{what}")
    status, title = PROBLEMS[name]
    assert answer.status_code == status
    assert answer.headers["Content-Type"] == MEDIA_TYPE
    expected = {"type": f"/docs#{name}", "title": title, "status": status, "detail": detail}
    assert {key: answer.json()[key] for key in expected} == expected


def test_a_problem_has_fields_of_its_own() -> None:
    assert client().get("/problem").json()["after"] == 0.8


def test_a_wrong_body_is_told_where_it_is_wrong_and_what_came() -> None:
    answer = client().post("/", json={"number": "seven"})
    assert answer.status_code == 422
    told = answer.json()
    assert told["errors"][0]["where"] == "body.number"
    assert told["errors"][0]["came"] == "'seven'"
    assert told["detail"].startswith("body.number: ")


@pytest.mark.parametrize("came", ["\\ud800", "x" * 100_000, "é", "\\u0000"])
def test_whatever_came_can_be_told(came: str) -> None:
    body = f'{{"number": "{came}"}}'.encode()
    answer = client().post("/", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 422
    assert len(answer.content) < 2000


def test_statuses_are_errors_and_names_can_be_part_of_an_address() -> None:
    for name, (status, title) in PROBLEMS.items():
        assert 400 <= status < 600
        assert title
        assert name.replace("-", "").isalpha()
        document = Problem(name, "why").document()
        assert json.loads(json.dumps(document)) == document
