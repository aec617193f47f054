"""The drawings over HTTP: kept as they were drawn, labeled, listed, deleted."""

from __future__ import annotations

import base64
import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageDraw
from support.studio import studio_client

from tinygrad_cnn.data import as_mnist

if TYPE_CHECKING:
    from starlette.testclient import TestClient


@pytest.fixture
def client(tmp_path: Path) -> Iterator[TestClient]:
    with studio_client(tmp_path, trained=False) as client:
        yield client


def seven(size: int = 280, file_format: str = "PNG") -> bytes:
    """Return a picture of a 7, white on black."""
    image = Image.new("L", (size, size))
    corners = [(size * x // 10, size * y // 10) for x, y in ((2, 2), (8, 2), (4, 9))]
    ImageDraw.Draw(image).line(corners, fill=255, width=size // 12)
    file = BytesIO()
    image.save(file, file_format)
    return file.getvalue()


def add(client: TestClient, contents: bytes | None = None, **told: Any) -> dict[str, Any]:
    answer = client.post("/api/drawings", params=told, content=contents or seven())
    assert answer.status_code == 201, answer.text
    drawing: dict[str, Any] = answer.json()
    return drawing


def problem(response: Any, status: int, name: str) -> str:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    document = response.json()
    assert document["type"] == f"/docs#{name}"
    return str(document["detail"])


# --- kept ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("size", "file_format"), [(280, "PNG"), (100, "BMP"), (900, "PNG")])
def test_a_drawing_is_kept_with_its_input(client: TestClient, size: int, file_format: str) -> None:
    began = datetime.now(UTC)
    drawing = add(client, seven(size, file_format), label=7, name="a seven")
    assert began <= datetime.fromisoformat(drawing["created"]) <= datetime.now(UTC)
    assert {key: drawing[key] for key in ("id", "name", "label", "held_back")} == {
        "id": 1, "name": "a seven", "label": 7, "held_back": False,
    }  # fmt: skip
    with Image.open(BytesIO(seven(size))) as image:
        expected = as_mnist(np.asarray(image, np.float32) / np.float32(255), "seven")
    assert base64.b64decode(drawing["input"]) == expected.tobytes()
    assert client.get("/api/drawings/1").json() == drawing


@pytest.mark.parametrize("size", [100, 280, 900])
def test_the_picture_is_a_gray_png_that_is_no_larger_than_it_need_be(
    client: TestClient, size: int
) -> None:
    add(client, seven(size))
    answer = client.get("/api/drawings/1/picture")
    assert answer.headers["content-type"] == "image/png"
    with Image.open(BytesIO(answer.content)) as image:
        assert (image.format, image.mode) == ("PNG", "L")
        assert image.size == (min(size, 280),) * 2
        if size <= 280:
            with Image.open(BytesIO(seven(size))) as drawn:
                np.testing.assert_array_equal(np.asarray(image), np.asarray(drawn))


def test_nothing_else_that_came_with_a_picture_is_kept(client: TestClient) -> None:
    with Image.open(BytesIO(seven())) as image:
        file = BytesIO()
        exif = Image.Exif()
        exif[0x010E] = "where I live"
        image.save(file, "PNG", exif=exif)
    assert b"where I live" in file.getvalue()
    add(client, file.getvalue())
    assert b"where I live" not in client.get("/api/drawings/1/picture").content


def test_a_drawing_without_a_word_has_no_label_and_some_name(client: TestClient) -> None:
    drawing = add(client)
    assert (drawing["label"], drawing["name"]) == (None, "Drawing")


NAMES = ["<img src=x onerror=alert(1)>", "'; DROP TABLE drawings; --", "../../etc/passwd", "ж 🙂 ½"]


@pytest.mark.parametrize("name", NAMES)
def test_any_name_is_kept_as_it_is_and_told_as_json(client: TestClient, name: str) -> None:
    assert add(client, name=name)["name"] == name
    answer = client.get("/api/drawings/1")
    assert answer.headers["content-type"] == "application/json"
    assert answer.json()["name"] == name


@pytest.mark.parametrize(
    ("told", "where"),
    [({"label": 10}, "label"), ({"label": -1}, "label"), ({"label": "x"}, "label"),
     ({"name": ""}, "name"), ({"name": "a\0b"}, "name"), ({"name": "x" * 121}, "name")],
)  # fmt: skip
def test_a_label_or_a_name_that_cannot_be_is_refused(
    client: TestClient, told: dict[str, Any], where: str
) -> None:
    answer = client.post("/api/drawings", params=told, content=seven())
    assert f"query.{where}" in problem(answer, 422, "invalid")
    assert client.get("/api/drawings").json()["total"] == 0


def test_what_is_no_picture_or_blank_is_refused(client: TestClient) -> None:
    problem(client.post("/api/drawings", content=b"no picture"), 422, "not-a-picture")
    problem(client.post("/api/drawings", content=seven()[:80]), 422, "not-a-picture")
    file = BytesIO()
    Image.new("L", (50, 50)).save(file, "PNG")
    problem(client.post("/api/drawings", content=file.getvalue()), 422, "blank")
    assert client.get("/api/drawings").json() == {"total": 0, "drawings": []}


def test_only_so_many_drawings_are_kept(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tinygrad_cnn.studio.api.drawings.MOST_DRAWINGS", 2)
    for _ in range(2):
        add(client)
    answer = client.post("/api/drawings", content=seven())
    assert problem(answer, 409, "conflict") == "2 drawings are stored, the maximum: delete some"


# --- listed, changed and deleted -----------------------------------------------------------------


def test_drawings_are_listed_in_parts(client: TestClient) -> None:
    for number in range(6):
        add(client, **({"label": number} if number % 2 else {}))
    for chosen, total, ids in [
        ({}, 6, [6, 5, 4, 3, 2, 1]),
        ({"offset": 1, "limit": 2}, 6, [5, 4]),
        ({"labeled": "true"}, 3, [6, 4, 2]),
        ({"labeled": "false", "offset": 2}, 3, [1]),
        ({"offset": 100}, 6, []),
    ]:
        listed = client.get("/api/drawings", params=chosen).json()
        assert (listed["total"], [each["id"] for each in listed["drawings"]]) == (total, ids)
    for odd in ({"limit": 0}, {"limit": 201}, {"offset": -1}, {"offset": 2**70}, {"labeled": "x"}):
        problem(client.get("/api/drawings", params=odd), 422, "invalid")


def test_what_is_not_named_stays_as_it_is(client: TestClient) -> None:
    add(client, label=1, name="one")
    for change, label, name in [
        ({"label": 7}, 7, "one"),
        ({"name": "seven"}, 7, "seven"),
        ({}, 7, "seven"),
        ({"label": None}, None, "seven"),
        ({"name": None}, None, "seven"),
        ({"label": 0, "name": "nought"}, 0, "nought"),
    ]:
        answer = client.patch("/api/drawings/1", json=change)
        assert answer.status_code == 200
        assert answer.json() == client.get("/api/drawings/1").json()
        assert (answer.json()["label"], answer.json()["name"]) == (label, name)


@pytest.mark.parametrize(
    "body",
    [{"label": 10}, {"label": 1.5}, {"label": "seven"}, {"label": [1]}, {"name": "a\nb"},
     {"name": ""}, {"held_back": True}, {"label": 3, "id": 9}, [], 7, None],
)  # fmt: skip
def test_a_change_that_cannot_be_changes_nothing(client: TestClient, body: object) -> None:
    before = add(client, label=1, name="one")
    problem(client.patch("/api/drawings/1", json=body), 422, "invalid")
    assert client.get("/api/drawings/1").json() == before


def test_every_fifth_labeled_drawing_is_told_to_be_held_back(client: TestClient) -> None:
    for number in range(10):
        add(client, **({} if number == 9 else {"label": 3}))
    told = {
        each["id"]: each["held_back"] for each in client.get("/api/drawings").json()["drawings"]
    }
    assert told == {id: id == 5 for id in range(1, 11)}
    assert client.patch("/api/drawings/10", json={"label": 3}).json()["held_back"]


def test_a_deleted_drawing_is_gone_and_its_number_is_not_given_again(client: TestClient) -> None:
    for _ in range(2):
        add(client)
    assert client.delete("/api/drawings/2").status_code == 204
    for method, path in [("GET", ""), ("GET", "/picture"), ("DELETE", ""), ("PATCH", "")]:
        body = {"json": {}} if method == "PATCH" else {}
        answer = client.request(method, f"/api/drawings/2{path}", **body)
        assert problem(answer, 404, "not-found") == "there is no drawing 2"
    assert add(client)["id"] == 3


def test_clients_that_draw_label_and_delete_at_once_are_all_heard(client: TestClient) -> None:
    pictures = [seven(size) for size in (60, 90)]

    def visit(number: int) -> tuple[int, int | None]:
        id = add(client, pictures[number % 2], name=f"number {number}")["id"]
        label = number % 10
        assert client.patch(f"/api/drawings/{id}", json={"label": label}).json()["label"] == label
        if number % 3 == 0:
            assert client.delete(f"/api/drawings/{id}").status_code == 204
            return id, None
        return id, label

    with ThreadPoolExecutor(6) as pool:
        visited = dict(pool.map(visit, range(30)))
    listed = client.get("/api/drawings", params={"limit": 200}).json()["drawings"]
    kept = {id: label for id, label in visited.items() if label is not None}
    assert {each["id"]: each["label"] for each in listed} == kept


def test_one_of_two_who_delete_the_same_drawing_is_told_that_it_is_gone(
    client: TestClient,
) -> None:
    for _ in range(5):
        path = f"/api/drawings/{add(client)['id']}"
        with ThreadPoolExecutor(2) as pool:
            answers = [pool.submit(client.delete, path) for _ in range(2)]
        assert sorted(answer.result().status_code for answer in answers) == [204, 404]


@pytest.fixture(scope="module")
def noisy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    with studio_client(tmp_path_factory.mktemp("noise"), trained=False) as client:
        yield client


def _damaged(seed: int) -> bytes:
    chance = random.Random(seed)
    contents = bytearray(seven(60))
    for _ in range(5):
        contents[chance.randrange(8, len(contents))] = chance.randrange(256)
    return bytes(contents)


@given(body=st.binary(max_size=200) | st.integers(0, 10**6).map(_damaged))
def test_any_body_is_answered_with_a_drawing_or_a_reason(noisy: TestClient, body: bytes) -> None:
    answer = noisy.post("/api/drawings", content=body)
    assert answer.status_code == 201 or 400 <= answer.status_code < 500
    assert "id" in answer.json() or answer.json()["detail"]
    change = noisy.patch(
        "/api/drawings/1", content=body, headers={"Content-Type": "application/json"}
    )
    assert 400 <= change.status_code < 500
    assert change.json()["detail"]
