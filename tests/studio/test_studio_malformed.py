"""Two thousand malformed requests: each is refused with a reason, none makes a mistake."""

from __future__ import annotations

import copy
import io
import json
import random
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import save
from starlette.testclient import TestClient
from support.studio import studio_client, trained

from tinygrad_cnn.data import digits
from tinygrad_cnn.studio import Limits
from tinygrad_cnn.studio.encoding import encode_input
from tinygrad_cnn.studio.problems import MEDIA_TYPE

COUNT = 2000
DIGIT = digits().test.images[7, 0]
INPUT = encode_input(DIGIT)

# For each route that takes JSON, a body that it would take; every part of it is tried out wrong.
BODIES: dict[tuple[str, str], dict[str, Any]] = {
    ("POST", "/api/predict/input"): {"input": INPUT, "model": 1, "temperature": 1.0},
    ("POST", "/api/explain/layers"): {"input": INPUT, "model": 1},
    ("POST", "/api/explain/cell"): {"input": INPUT, "layer": "conv1", "cell": [0, 4, 5]},
    ("POST", "/api/explain/backward"): {"input": INPUT, "label": 7, "temperature": 1.0},
    ("POST", "/api/explain/weight"): {
        "input": INPUT, "label": 7, "parameter": "conv1.weight", "index": [0, 0, 1, 1],
    },
    ("POST", "/api/runs"): {
        "model": "lenet5", "data": "digits", "activation": "relu", "pooling": "max",
        "optimizer": "adam", "lr": 0.001, "batch_size": 64, "schedule": "onecycle",
        "epochs": 1, "seed": 0, "name": "a run",
    },
    ("POST", "/api/runs/fine-tune"): {
        "model": 1, "epochs": 3, "lr": 0.0005, "replay": 2000, "name": "a run",
    },
    ("POST", "/api/playground/train"): {
        "features": ["x1"], "hidden": [2], "train": [{"x1": 1.0, "x2": 0.5, "label": 1}], "lr": 0.1,
        "steps": 1, "batch_size": 1, "chosen": [1, 0],
    },
    ("POST", "/api/playground/backprop"): {
        "hidden": [2], "points": [{"x1": 1.0, "x2": 0.5, "label": 1}],
    },
    ("POST", "/api/models/1/promote"): {"insist": False},
    ("PATCH", "/api/models/1"): {"name": "known"},
    ("PATCH", "/api/drawings/1"): {"name": "a drawing", "label": 7},
}  # fmt: skip
PICTURES = ("/api/predict", "/api/drawings")
WITHOUT_BODY = ("pause", "resume", "step", "cancel", "retry")
QUERIES = {
    "/api/predict": ["model=x", "model=0", "model=-1", "model=1e9", "model=99999999999999999999",
                     "temperature=nan", "temperature=inf", "temperature=0", "temperature=-1",
                     "temperature=x", "temperature=", "model=%00", "temperature=%ff"],
    "/api/drawings": ["label=10", "label=-1", "label=x", "label=7.5", "name=", "name=%00",
                      "name=" + "x" * 5000, "label=%f0%9f", "name=a%0ab"],
    "/api/models": ["name=", "name=%00", "name=" + "x" * 5000, "name=a%0ab"],
}  # fmt: skip


def deep(depth: int) -> Any:
    value: Any = []
    for _ in range(depth):
        value = [value]
    return value


WRONG: list[Any] = [
    {}, {"a": 1}, [[[]]], [{}], [None], float("inf"), float("nan"), -(2**80), 2**64 + 0.5, -1.5,
    "\x00", "\ud800", "x" * 20_000, deep(50), {"$ref": "#"}, [-1], [2**70], "../../etc/passwd\n",
]  # fmt: skip
"""Values that no field of any route takes."""


OTHER_TYPES = [
    "text/plain", "application/octet-stream", "multipart/form-data", "image/png", "x", "/",
    "application/x-www-form-urlencoded",
]  # fmt: skip


def wrong_json(choose: random.Random, route: tuple[str, str]) -> tuple[bytes, str]:
    """Return a body that is wrong in one way, and its media type."""
    body = copy.deepcopy(BODIES[route])
    good = json.dumps(body).encode()
    kind = choose.choice(["field", "field", "field", "unknown", "other", "broken", "bytes", "type"])
    if kind == "field":
        name = choose.choice(list(body))
        body[name] = choose.choice(WRONG)
        return json.dumps(body).encode(), "application/json"
    if kind == "unknown":
        body[choose.choice(["__proto__", "path", "Input", "", "file", "\u202e"])] = 1
        return json.dumps(body).encode(), "application/json"
    if kind == "other":
        other = choose.choice([[], [body], "body", 7, 1.5, True, "", deep(40)])
        return json.dumps(other).encode(), "application/json"
    if kind == "broken":
        cut = choose.randrange(1, len(good))
        ends = (b"{" + good, good[:cut], good + b"}", good[cut:], b"[" * 5000, b"1" * 5000,
                good.replace(b'"', b"'"), b"\xef\xbb\xbf{")  # fmt: skip
        return choose.choice(ends), "application/json"
    if kind == "bytes":
        return choose.randbytes(choose.randrange(1, 200)), "application/json"
    return good, choose.choice(OTHER_TYPES)


def png() -> bytes:
    file = io.BytesIO()
    Image.fromarray(DIGIT).resize((56, 56)).save(file, "PNG")
    return file.getvalue()


def wrong_picture(choose: random.Random) -> bytes:
    good = png()
    return choose.choice(
        [
            lambda: b"",
            lambda: choose.randbytes(choose.randrange(1, 400)),
            lambda: good[: choose.randrange(1, len(good) * 2 // 3)],
            lambda: good[: choose.randrange(1, 8)] + choose.randbytes(300),
            lambda: good[:8] + choose.randbytes(choose.randrange(1, 300)),
            lambda: b"GIF89a" + choose.randbytes(choose.randrange(1, 20)),
            lambda: b"\xff\xd8\xff\xe0" + choose.randbytes(choose.randrange(1, 300)),
            lambda: b"RIFF" + choose.randbytes(4) + b"WEBPVP8 " + choose.randbytes(60),
            lambda: b"BM" + choose.randbytes(choose.randrange(1, 60)),
            lambda: json.dumps({"input": INPUT}).encode(),
            lambda: good[:16] + b"\xff" * 8 + good[24:],
        ]
    )()


def wrong_model(choose: random.Random) -> bytes:
    settings, good, _ = trained()
    told = json.loads(settings.to_json())

    def with_settings(change: Callable[[dict[str, Any]], None]) -> bytes:
        changed = copy.deepcopy(told)
        change(changed)
        return save({"w": np.zeros(3, np.float32)}, {"settings": json.dumps(changed)})

    return choose.choice(
        [
            lambda: b"",
            lambda: choose.randbytes(choose.randrange(1, 400)),
            lambda: good[: choose.randrange(1, len(good))],
            lambda: good + b"\x00",
            lambda: choose.randbytes(8) + good[8:],
            lambda: (2**62).to_bytes(8, "little") + good[8:],
            lambda: (20).to_bytes(8, "little") + b'{"a":{"dtype":"F32"}' + bytes(40),
            lambda: save({"w": np.zeros(3, np.float32)}),
            lambda: with_settings(lambda _: None),
            lambda: with_settings(lambda each: each["model"].update(name="os.system")),
            lambda: with_settings(lambda each: each["model"].update(file="model.py", sha256="0")),
            lambda: with_settings(lambda each: each["model"].update(options={"classes": 10**9})),
            lambda: with_settings(lambda each: each["data"].update(source="/etc/passwd")),
            lambda: with_settings(lambda each: each["data"].update(input_shape=[1, 10**6, 10**6])),
            lambda: with_settings(lambda each: each["data"].update(mean=["x"])),
            lambda: with_settings(lambda each: each["training"].update(epochs="many")),
            lambda: with_settings(lambda each: each.pop("training")),
            lambda: b"\x80\x04\x95" + choose.randbytes(40),  # a pickle
            lambda: png(),
        ]
    )()


def malformed(choose: random.Random) -> tuple[str, str, bytes, str]:
    """Return method, address, body and media type of a request that nobody should take."""
    kind = choose.choice(["json"] * 6 + ["picture", "model", "query", "address"])
    if kind == "json":
        method, path = route = choose.choice(list(BODIES))
        body, media_type = wrong_json(choose, route)
        return method, path, body, media_type
    if kind == "picture":
        return "POST", choose.choice(PICTURES), wrong_picture(choose), "image/png"
    if kind == "model":
        return "POST", "/api/models", wrong_model(choose), "application/octet-stream"
    if kind == "query":
        path = choose.choice(list(QUERIES))
        body = trained()[1] if path == "/api/models" else png()
        return "POST", f"{path}?{choose.choice(QUERIES[path])}", body, "image/png"
    bad_id = choose.choice(["0", "-1", "x", "1.5", "9" * 30, "2147483648", "%00", "..", "%2e"])
    route = choose.choice([f"/api/runs/{bad_id}/{what}" for what in WITHOUT_BODY]
                          + [f"/api/models/{bad_id}/promote"])  # fmt: skip
    return "POST", route, b"{}", "application/json"


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    limits = Limits(requests_per_second=1e6, predictions_per_second=1e6)
    with studio_client(tmp_path_factory.mktemp("studio"), limits=limits) as client:
        assert client.post("/api/drawings", content=png()).json()["id"] == 1
        yield client


@pytest.mark.parametrize("route", BODIES)
def test_the_bodies_that_are_spoiled_below_are_taken_as_they_are(
    studio: TestClient, route: tuple[str, str]
) -> None:
    answer = studio.request(*route, json=BODIES[route])
    nothing_to_learn = route[1] == "/api/runs/fine-tune" and answer.status_code == 409
    assert answer.status_code in {200, 201} or nothing_to_learn, answer.text


def near(value: Any) -> list[Any]:
    """Return values of other types that a generous reader would take for a value."""
    if isinstance(value, list):
        return [[*value[:-1], other] for other in near(value[-1])] + [str(value)]
    if isinstance(value, dict):
        return [{**value, name: other} for name, inner in value.items() for other in near(inner)]
    if isinstance(value, bool):
        return [int(value), str(value).lower(), float(value), "yes"]
    if isinstance(value, int):
        return [str(value), bool(value), f" {value} ", float(value), [value]]
    if isinstance(value, float):
        return [str(value), True, [value]]
    return [[value], {"value": value}, len(value)]


@pytest.mark.parametrize("route", BODIES)
def test_no_value_is_taken_for_one_of_another_type(
    studio: TestClient, route: tuple[str, str]
) -> None:
    for field, value in BODIES[route].items():
        for other in near(value):
            answer = studio.request(*route, json={**BODIES[route], field: other})
            assert answer.status_code == 422, (field, other, answer.text)
            where = [error["where"] for error in answer.json()["errors"]]
            assert all(each.startswith(f"body.{field}") for each in where), (field, other, where)


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("models/+1", "path.id: got '+1', expected a whole number"),
        ("models/1.0", "path.id: got '1.0', expected a whole number"),
        ("models/1_0", "path.id: got '1_0', expected a whole number"),
        ("models/%201", "path.id: got ' 1', expected a whole number"),
        ("models/%D9%A1", "path.id: got '١', expected a whole number"),
        ("drawings?limit=1.0", "query.limit: got '1.0', expected a whole number"),
        ("drawings?labeled=yes", "query.labeled: got 'yes', expected true or false"),
        ("drawings?labeled=1", "query.labeled: got '1', expected true or false"),
        ("drawings?lable=3", "query.lable: got 'lable', expected one of labeled, offset, limit"),
        ("drawings?limit=1&limit=2", "query.limit: got '1', expected it once"),
        ("state?x=", "query.x: got 'x', expected no parameter"),
    ],
)
def test_parameters_of_an_address_are_known_and_written_in_one_way(
    studio: TestClient, address: str, reason: str
) -> None:
    answer = studio.get(f"/api/{address}")
    assert (answer.status_code, answer.json()["detail"]) == (422, reason)


def test_every_route_that_takes_something_is_tried(studio: TestClient) -> None:
    paths = studio.get("/openapi.json").json()["paths"]
    tried = {path.replace("/1", "/{id}") for _, path in BODIES} | {*PICTURES, "/api/models"}
    tried |= {f"/api/runs/{{id}}/{what}" for what in WITHOUT_BODY}
    taking = {path for path, told in paths.items() if told.keys() & {"post", "put", "patch"}}
    assert taking - tried == {"/api/models/roll-back"}  # which takes nothing at all


@pytest.mark.parametrize("part", range(10))
def test_what_is_malformed_is_refused_with_a_reason(studio: TestClient, part: int) -> None:
    choose = random.Random(part)
    statuses: Counter[int] = Counter()
    for _ in range(COUNT // 10):
        method, path, body, media_type = malformed(choose)
        answer = studio.request(method, path, content=body, headers={"Content-Type": media_type})
        told = f"{method} {path[:80]} {media_type} {body[:120]!r}: {answer.text[:300]}"
        assert 400 <= answer.status_code < 500, told
        assert answer.headers["Content-Type"] == MEDIA_TYPE, told
        document = answer.json()
        assert document["status"] == answer.status_code, told
        assert len(document["detail"]) > 5, told
        assert "/tmp" not in answer.text, told
        assert len(answer.content) < 20_000, told
        statuses[answer.status_code] += 1
    assert statuses[422] > COUNT // 20  # it is the contents that are refused


def test_nothing_malformed_has_left_a_trace(studio: TestClient) -> None:
    assert studio.get("/api/drawings").json()["total"] == 1
    assert len(studio.get("/api/models").json()["models"]) == 1
    assert studio.get("/api/models/1").json()["name"] == "known"
