"""The models over HTTP: listed, promoted, rolled back, renamed, deleted, down and up again."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import studio_models
from support.studio import studio_client
from support.studio_models import file_of, knowing

from tinygrad_cnn.data import digits
from tinygrad_cnn.studio import model_files, promotion
from tinygrad_cnn.studio.encoding import decode_input
from tinygrad_cnn.studio.store import Store, drawings, models
from tinygrad_cnn.train import RunSettings

if TYPE_CHECKING:
    from starlette.testclient import TestClient


@pytest.fixture
def client(tmp_path: Path) -> Iterator[TestClient]:
    with studio_client(tmp_path, trained=False) as client:
        yield client


@pytest.fixture
def store(client: TestClient) -> Store:
    found = client.app.state.services.store
    assert isinstance(found, Store)
    return found


@pytest.fixture
def three(store: Store) -> list[int]:
    """Three models that tell 5, 10 and 8 of the digits; the first is promoted."""
    with store.session() as session:
        ids = [
            studio_models.add(session, knowing(share), name=f"knows {share}").id
            for share in (0.5, 1.0, 0.8)
        ]
        models.promote(session, ids[0])
    return ids


def problem(response: Any, status: int, name: str) -> dict[str, Any]:
    assert (response.status_code, response.headers["content-type"]) == (
        status, "application/problem+json",
    ), response.text  # fmt: skip
    document: dict[str, Any] = response.json()
    assert (document["type"], document["status"]) == (f"/docs#{name}", status)
    return document


def promoted(client: TestClient) -> int | None:
    listed = client.get("/api/models").json()
    marked = [model["id"] for model in listed["models"] if model["promoted"]]
    assert marked == ([] if listed["promoted"] is None else [listed["promoted"]])
    answer: int | None = listed["promoted"]
    return answer


# --- listed and shown ----------------------------------------------------------------------------


def test_the_models_are_listed_newest_first(client: TestClient, three: list[int]) -> None:
    listed = client.get("/api/models").json()
    assert [model["id"] for model in listed["models"]] == three[::-1]
    first = listed["models"][-1]
    assert datetime.now(UTC) >= datetime.fromisoformat(first.pop("created"))
    accuracy = first.pop("accuracy")
    assert 0.2 < accuracy < 0.6
    assert first == {
        "id": 1, "name": "knows 0.5", "parameters": 7850, "model": "mlp", "data": "digits",
        "input_shape": [1, 28, 28], "classes": list("0123456789"), "drawn": True,
        "activation": None, "run_id": None, "parent_id": None, "promoted": True,
    }  # fmt: skip


def test_a_studio_without_models_says_so(client: TestClient) -> None:
    assert client.get("/api/models").json() == {"models": [], "promoted": None}


def test_a_model_is_shown_with_its_settings_and_its_report(
    client: TestClient, three: list[int]
) -> None:
    shown = client.get(f"/api/models/{three[1]}").json()
    run = model_files.read(knowing(1.0))
    assert json.dumps(shown["settings"]) == json.dumps(json.loads(run.settings.to_json()))
    assert shown["report"]["accuracy"] == shown["accuracy"]
    assert np.trace(shown["report"]["confusion"]) == round(200 * shown["accuracy"])
    listed = client.get("/api/models").json()["models"][1]
    assert {key: shown[key] for key in listed} == listed


def test_a_model_is_called_otherwise(client: TestClient, three: list[int]) -> None:
    name = "<img src=x onerror=alert(1)> & “co” ½"
    answer = client.patch(f"/api/models/{three[0]}", json={"name": name})
    assert answer.json()["name"] == name
    assert client.get(f"/api/models/{three[0]}").json()["name"] == name


@pytest.mark.parametrize(
    "body",
    [{}, {"name": ""}, {"name": "  "}, {"name": "a\nb"}, {"name": "x" * 121}, {"name": None},
     {"name": "a", "promoted": True}, [], "a", {"name": ["a"]}],
)  # fmt: skip
def test_a_name_that_cannot_be_kept_is_refused(
    client: TestClient, three: list[int], body: object
) -> None:
    problem(client.patch(f"/api/models/{three[0]}", json=body), 422, "invalid")
    assert client.get(f"/api/models/{three[0]}").json()["name"] == "knows 0.5"


def test_half_a_surrogate_pair_is_refused(client: TestClient, three: list[int]) -> None:
    body = b'{"name": "\\ud800"}'
    headers = {"Content-Type": "application/json"}
    answer = client.patch(f"/api/models/{three[0]}", content=body, headers=headers)
    problem(answer, 422, "invalid")


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", ""), ("PATCH", ""), ("DELETE", ""), ("POST", "/promote"), ("GET", "/weights"),
     ("GET", "/settings"), ("GET", "/script")],
)  # fmt: skip
def test_a_model_that_is_not_there_is_not_found(client: TestClient, method: str, path: str) -> None:
    body = {"json": {"name": "a"}} if method == "PATCH" else {}
    answer = client.request(method, f"/api/models/7{path}", **body)
    assert problem(answer, 404, "not-found")["detail"] == "there is no model 7"
    for odd in ("0", "-1", "x", str(2**63), "1.5"):
        problem(client.request(method, f"/api/models/{odd}{path}", **body), 422, "invalid")


# --- promoted, rolled back and deleted -----------------------------------------------------------


def test_a_better_model_is_promoted(client: TestClient, three: list[int]) -> None:
    answer = client.post(f"/api/models/{three[1]}/promote", json={"insist": False})
    assert (answer.status_code, answer.json()["promoted"]) == (200, True)
    assert promoted(client) == three[1]


def test_a_model_is_compared_on_the_test_digits_and_the_drawings_held_back(
    client: TestClient, store: Store, three: list[int]
) -> None:
    client.post(f"/api/models/{three[1]}/promote")
    nines = digits().train.images[digits().train.labels == 9][:800, 0]
    with store.session() as session:
        for k, pixels in enumerate(nines):
            label = None if k % 10 == 9 else 9
            drawings.add(session, name="9", picture=b"", input=pixels.tobytes(), label=label)
    told = problem(client.post(f"/api/models/{three[2]}/promote"), 409, "worse")
    assert promoted(client) == three[1]
    test = digits().test
    # Of the drawings, every fifth is held back; of those, every other has no label.
    shown = np.concatenate([test.images, nines[4::10, None]])
    labels = np.concatenate([test.labels, np.full(80, 9)])
    for key, share in (("before", 1.0), ("after", 0.8)):
        probabilities = model_files.read(knowing(share)).probabilities(shown)
        assert told[key] == np.mean(probabilities.argmax(axis=1) == labels)
    assert told["before"] > told["after"]
    assert told["detail"].startswith("model 3: on 2080 images")


def test_a_worse_model_is_promoted_if_one_insists(
    client: TestClient, store: Store, three: list[int]
) -> None:
    client.post(f"/api/models/{three[1]}/promote")
    problem(client.post(f"/api/models/{three[0]}/promote"), 409, "worse")
    answer = client.post(f"/api/models/{three[0]}/promote", json={"insist": True})
    assert answer.status_code == 200
    assert promoted(client) == three[0]


def test_an_equal_model_may_be_promoted_and_the_promoted_one_again(
    client: TestClient, store: Store, three: list[int]
) -> None:
    with store.session() as session:
        twin = studio_models.add(session, knowing(0.5)).id
    for id in (twin, twin, three[0]):
        assert client.post(f"/api/models/{id}/promote").status_code == 200
        assert promoted(client) == id


def test_the_first_model_is_promoted_whatever_it_can(client: TestClient, store: Store) -> None:
    with store.session() as session:
        id = studio_models.add(session).id
    assert client.post(f"/api/models/{id}/promote").status_code == 200
    assert promoted(client) == id


def test_the_standard_is_the_model_that_is_promoted_when_it_is_replaced(
    store: Store, three: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    measure = promotion._accuracy
    measured = []

    def overtaken(model: Any, images: Any) -> float:
        if not measured:  # another client promotes the best one meanwhile
            with store.session() as session:
                models.promote(session, three[1])
        measured.append(model.id)
        return measure(model, images)

    monkeypatch.setattr(promotion, "_accuracy", overtaken)
    with pytest.raises(promotion.WorseModelError):
        promotion.promote(store, three[2])
    assert measured == [three[0], three[2], three[1], three[2]]
    with store.reading() as session:
        assert models.promoted_id(session) == three[1]


def test_predictions_follow_promotion_and_rolling_back(
    client: TestClient, three: list[int]
) -> None:
    body = {"input": base64.b64encode(digits().test.images[0]).decode()}

    def answering() -> int:
        answer: int = client.post("/api/predict/input", json=body).json()["model"]
        return answer

    assert answering() == three[0]
    client.post(f"/api/models/{three[1]}/promote")
    assert answering() == three[1]
    assert client.post("/api/models/roll-back").json()["id"] == three[0]
    assert answering() == three[0]


def test_a_deleted_model_answers_no_more(client: TestClient, three: list[int]) -> None:
    body = {"input": base64.b64encode(digits().test.images[0]).decode(), "model": three[2]}
    assert client.post("/api/predict/input", json=body).status_code == 200
    answer = client.delete(f"/api/models/{three[2]}")
    assert (answer.status_code, answer.content) == (204, b"")
    problem(client.post("/api/predict/input", json=body), 404, "not-found")
    assert [model["id"] for model in client.get("/api/models").json()["models"]] == [2, 1]


def test_the_promoted_model_is_not_deleted(client: TestClient, three: list[int]) -> None:
    told = problem(client.delete(f"/api/models/{three[0]}"), 409, "conflict")
    assert told["detail"] == "model 1 is promoted: promote another before you delete it"
    assert len(client.get("/api/models").json()["models"]) == 3


def test_nothing_is_rolled_back_to_where_nothing_was(client: TestClient, three: list[int]) -> None:
    told = problem(client.post("/api/models/roll-back"), 409, "conflict")
    assert told["detail"] == "there is no previously promoted model to roll back to"
    assert promoted(client) == three[0]


def test_clients_that_promote_delete_and_roll_back_at_once_leave_one_promoted(
    client: TestClient, three: list[int]
) -> None:
    asked = [("POST", f"/api/models/{id}/promote") for id in three] * 4
    asked += [("DELETE", f"/api/models/{id}") for id in three] + [("POST", "/api/models/roll-back")]
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda each: client.request(*each), asked))
    assert {answer.status_code for answer in answers} <= {200, 204, 404, 409, 503}
    left = promoted(client)
    assert left in {model["id"] for model in client.get("/api/models").json()["models"]}


# --- down and up ---------------------------------------------------------------------------------


def test_a_model_goes_down_and_up_again_unchanged(client: TestClient, three: list[int]) -> None:
    down = client.get(f"/api/models/{three[1]}/weights")
    assert down.headers["content-type"] == "application/octet-stream"
    assert down.headers["content-disposition"] == 'attachment; filename="model-2.safetensors"'
    up = client.post("/api/models", params={"name": "again"}, content=down.content)
    assert up.status_code == 201
    assert (up.json()["name"], up.json()["promoted"]) == ("again", False)
    again = client.get(f"/api/models/{up.json()['id']}/weights")
    assert again.content == down.content
    shown = client.get(f"/api/models/{up.json()['id']}").json()
    probabilities = model_files.read(knowing(1.0)).probabilities(digits().test.images)
    right = probabilities.argmax(axis=1) == digits().test.labels
    assert shown["accuracy"] == right.mean()
    assert shown["report"]["images"] == 2000


def test_an_uploaded_model_has_a_name_in_any_case(client: TestClient) -> None:
    assert client.post("/api/models", content=file_of()).json()["name"] == "mlp, uploaded"
    for name in ("", "x" * 121, "a\tb"):
        answer = client.post("/api/models", params={"name": name}, content=file_of())
        problem(answer, 422, "invalid")


def test_a_model_of_images_that_are_not_here_is_measured_on_the_digits(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TINYGRAD_CNN_DATA", str(tmp_path))
    other = studio_models.with_settings(
        file_of(), lambda told: told["data"].update(source="mnist", name="mnist")
    )
    added = client.post("/api/models", content=other).json()
    assert added["data"] == "mnist"
    assert client.get(f"/api/models/{added['id']}").json()["report"]["data"] == "digits"


@pytest.mark.parametrize(
    ("contents", "reason"),
    [
        (b"", "not a complete safetensors file"),
        (b"\x80\x04cos\nsystem\n(S'true'\ntR.", "not a complete safetensors file"),
        (file_of()[:-1], "not a complete safetensors file"),
        (
            studio_models.with_settings(
                file_of(), lambda told: told["model"].update(file="model.py", sha256="0" * 64)
            ),
            "with code of its own",
        ),
        (
            studio_models.with_settings(
                file_of(), lambda told: told["data"].update(source="/etc/passwd")
            ),
            "trained with '/etc/passwd'",
        ),
        (
            studio_models.with_weights(file_of(), lambda arrays: arrays.pop("fc.0.bias")),
            "fc.0.bias is missing",
        ),
    ],
)
def test_what_is_no_model_is_not_added(client: TestClient, contents: bytes, reason: str) -> None:
    told = problem(client.post("/api/models", content=contents), 422, "bad-weights")
    assert reason in told["detail"]
    assert client.get("/api/models").json()["models"] == []


def test_a_model_that_fails_on_some_images_alone_is_not_added(client: TestClient) -> None:
    def overflow(arrays: dict[str, Any]) -> None:
        test = digits().test.images[7, 0] / 255
        arrays["fc.0.weight"][:] = (test - 0.5).reshape(-1) * 3e36

    contents = studio_models.with_weights(knowing(1.0), overflow)
    told = problem(client.post("/api/models", content=contents), 422, "bad-weights")
    assert "finite" in told["detail"]


def test_a_body_beyond_the_limit_is_refused(client: TestClient) -> None:
    answer = client.post("/api/models", content=bytes((64 << 20) + 1))
    problem(answer, 413, "too-large")


def test_there_may_be_only_so_many_models(
    client: TestClient, three: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tinygrad_cnn.studio.api.models.MOST_MODELS", 3)
    told = problem(client.post("/api/models", content=file_of()), 409, "conflict")
    assert told["detail"] == "there are 3 models, the maximum: delete some"


def test_the_settings_and_the_script_come_as_files(client: TestClient, three: list[int]) -> None:
    down = client.get("/api/models/1/settings")
    assert down.headers["content-disposition"] == 'attachment; filename="model-1.json"'
    expected = model_files.read(knowing(0.5)).settings
    assert RunSettings.from_json(down.content, "model-1.json") == expected
    client.patch("/api/models/1", json={"name": '""" ж'})
    script = client.get("/api/models/1/script")
    assert script.headers["content-type"] == "text/x-python; charset=utf-8"
    compile(script.text, "made.py", "exec")
    assert '\'""" ж\'' in script.text


def test_every_answer_is_json_that_a_browser_reads(client: TestClient, three: list[int]) -> None:
    for path in ("/api/models", "/api/models/1", "/api/models/1/settings"):

        def refuse(constant: str) -> float:
            raise AssertionError(constant)

        json.loads(client.get(path).text, parse_constant=refuse)
    assert math.isfinite(client.get("/api/models/1").json()["report"]["loss"])


@pytest.fixture(scope="module")
def noisy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    with studio_client(tmp_path_factory.mktemp("noise"), trained=False) as client:
        yield client


ADDRESSES = [("POST", ""), ("POST", "/1/promote"), ("PATCH", "/1"), ("POST", "/roll-back")]
cuts = st.integers(0, len(file_of()) - 1).map(lambda cut: file_of()[:cut])


@given(address=st.sampled_from(ADDRESSES), body=st.binary(max_size=200) | cuts)
def test_any_body_is_answered_with_a_reason(
    noisy: TestClient, address: tuple[str, str], body: bytes
) -> None:
    method, path = address
    headers = {"Content-Type": "application/json"}
    answer = noisy.request(method, f"/api/models{path}", content=body, headers=headers)
    assert 400 <= answer.status_code < 500
    assert answer.json()["detail"]


def test_each_cell_of_the_confusion_matrix_holds_its_images_and_drawings(tmp_path: Path) -> None:
    with studio_client(tmp_path) as client:
        test = digits().test
        wrong = client.get("/api/models/1").json()["report"]["worst"][0]
        pixels = decode_input(wrong["input"])
        with client.app.state.services.store.session() as session:
            for label in (wrong["label"], wrong["predicted"], None):
                drawings.add(session, name="d", picture=b"", input=pixels.tobytes(), label=label)
        counts = client.get("/api/models/1").json()["report"]["confusion"]
        found = []
        for label in (wrong["label"], wrong["predicted"]):
            for predicted, count in enumerate(counts[label]):
                query = {"label": label, "predicted": predicted, "limit": 200}
                cell = client.get("/api/models/1/images", params=query).raise_for_status().json()
                assert cell["total"] == count
                assert all(test.labels[image["index"]] == label for image in cell["images"])
                shares = [image["probability"] for image in cell["images"]]
                assert shares == sorted(shares, reverse=True)
                found += [(image["drawing"], label, predicted) for image in cell["drawings"]]
        said = wrong["predicted"]
        assert sorted(found) == [(1, wrong["label"], said), (2, said, said)]
        first = client.get(
            "/api/models/1/images", params={"label": wrong["label"], "predicted": said, "limit": 1}
        ).json()["images"]
        assert len(first) == 1
        assert client.get("/api/models/9/images?label=1&predicted=1").status_code == 404
        assert client.get("/api/models/1/images?label=10&predicted=1").status_code == 422
