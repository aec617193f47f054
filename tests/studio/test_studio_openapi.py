"""The OpenAPI document: complete, and true of whatever is sent."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from PIL import Image
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from starlette.datastructures import MutableHeaders
from starlette.testclient import TestClient
from starlette.types import Receive, Scope, Send
from support.machine import repeats
from support.studio import BEARER, TOKEN, running_studio, studio_client, trained

from tinygrad_cnn.data import digits
from tinygrad_cnn.studio import Limits
from tinygrad_cnn.studio.encoding import encode_input
from tinygrad_cnn.studio.pictures import png
from tinygrad_cnn.studio.problems import MEDIA_TYPE, PROBLEMS

EXAMPLES = repeats(10, 50)
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]
THOROUGH = settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
GROUPS = ["state", "predict", "images", "explain", "drawings", "models", "runs", "playground"]
DIGIT = digits().test.images[7, 0]
FITTING = {
    "input": encode_input(DIGIT),
    "label": 7,
    "layer": "conv1",
    "parameter": "conv1.weight",
    "depth": 1,
}
PICTURE = png(Image.fromarray(DIGIT))
METHODS = {"get", "post", "patch", "delete"}


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    limits = Limits(requests_per_second=1e6, predictions_per_second=1e6)
    with studio_client(tmp_path_factory.mktemp("studio"), limits=limits) as client:
        yield client


@pytest.fixture(scope="module")
def described(studio: TestClient) -> dict[str, Any]:
    document: dict[str, Any] = studio.get("/openapi.json").json()
    return document


@pytest.fixture(scope="module")
def schema(studio: TestClient) -> Any:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        MutableHeaders(scope=scope)["Host"] = "127.0.0.1:8017"  # the client's own is another
        MutableHeaders(scope=scope).update(BEARER)
        await studio.app(scope, receive, send)

    # The stream of events does not end, so it cannot be tried by waiting for its end.
    return schemathesis.openapi.from_asgi("/openapi.json", app).exclude(path="/api/events")


def fit(case: Any) -> None:
    """Put in what there is, which is not found by chance: an input, an id, a picture."""
    if "id" in (case.path_parameters or {}):
        case.path_parameters["id"] = 1
    for fields in (case.body, case.query):
        if isinstance(fields, MutableMapping) and "input" in fields:
            fields.pop("model", None)
            fields.update({name: value for name, value in FITTING.items() if name in fields})
    if case.media_type and case.media_type.startswith("image/"):
        case.body = PICTURE
    elif case.media_type == "application/octet-stream":
        case.body = trained()[1]


@pytest.mark.parametrize("group", GROUPS)
def test_whatever_is_sent_is_answered_as_described(schema: Any, group: str) -> None:
    tried = 0
    for found in schema.include(path_regex=f"^/api/{group}").get_all_operations():
        operation = found.ok()

        @THOROUGH
        @given(operation.as_strategy(), st.booleans())
        def check(case: Any, fitting: bool) -> None:
            if fitting:
                fit(case)
            case.call_and_validate(checks=CHECKS)

        check()
        tried += 1
    assert tried


def test_every_group_of_operations_is_tried(described: dict[str, Any]) -> None:
    groups = {path.split("/")[2] for path in described["paths"]}
    assert groups == {*GROUPS, "events"}


def test_every_operation_is_described(described: dict[str, Any]) -> None:
    for path, operations in described["paths"].items():
        assert path.startswith("/api/")
        for method, told in operations.items():
            where = f"{method} {path}"
            assert method in METHODS, where
            assert told["description"].endswith("."), where
            assert told["tags"], where


def test_every_error_is_described_as_a_problem(described: dict[str, Any]) -> None:
    problem = {"$ref": "#/components/schemas/ProblemDocument"}
    for path, operations in described["paths"].items():
        for method, told in operations.items():
            for status, answer in told["responses"].items():
                if status >= "400":
                    where = f"{method} {path} {status}"
                    assert answer["content"] == {MEDIA_TYPE: {"schema": problem}}, where
            assert {"401", "403", "421", "429"} <= told["responses"].keys()
            if "requestBody" in told:
                assert {"400", "413", "422"} <= told["responses"].keys()


def test_the_problems_are_told_and_nothing_of_fastapis_own(described: dict[str, Any]) -> None:
    assert {name: told["status"] for name, told in described["x-problems"].items()} == {
        name: status for name, (status, _) in PROBLEMS.items()
    }
    assert "ValidationError" not in str(described)


def test_the_page_shows_every_operation_offline(tmp_path: Path, browser: Any) -> None:
    with running_studio(tmp_path) as running, browser.new_context() as context:
        page = context.new_page()
        errors: list[str] = []
        foreign: list[str] = []
        page.on("console", lambda said: errors.append(said.text) if said.type == "error" else None)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on(
            "request",
            lambda asked: foreign.append(asked.url) if running.url not in asked.url else None,
        )
        page.goto(f"{running.url}/docs?token={TOKEN}#blank")
        page.wait_for_selector("#blank")
        document = page.evaluate("fetch('/openapi.json').then((answer) => answer.json())")
        count = sum(len(operations) for operations in document["paths"].values())
        assert page.locator("details").count() == count
        assert page.locator("#problems tbody tr").count() == len(PROBLEMS)
        page.locator("summary", has_text="/api/predict/input").click()
        assert page.get_by_text("temperature?: number").first.is_visible()
        assert errors == []
        assert foreign == []
