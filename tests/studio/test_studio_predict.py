"""Predictions: the right numbers, at once, of the right model."""

from __future__ import annotations

import io
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from starlette.testclient import TestClient
from support.studio import add_model, studio_client, trained

from tinygrad_cnn.data import digits
from tinygrad_cnn.studio import model_files
from tinygrad_cnn.studio.encoding import decode_input, encode_input
from tinygrad_cnn.studio.predictor import Predictor
from tinygrad_cnn.studio.problems import Problem
from tinygrad_cnn.studio.store import NotFoundError, Store, models

TEST = digits().test
PAGE = Image.fromarray(TEST.images[3, 0]).resize((280, 280), Image.Resampling.BICUBIC)


def png(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def ask(client: TestClient, pixels: NDArray[np.uint8], **more: Any) -> dict[str, Any]:
    answer = client.post("/api/predict/input", json={"input": encode_input(pixels), **more})
    assert answer.status_code == 200, answer.text
    told: dict[str, Any] = answer.json()
    return told


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    with studio_client(tmp_path_factory.mktemp("studio")) as client:
        yield client


def test_the_numbers_are_those_of_the_model(studio: TestClient) -> None:
    _, contents, _ = trained()
    run = model_files.read(contents)
    expected = run.probabilities(TEST.images[:20])
    for i in range(20):
        told = ask(studio, TEST.images[i, 0])
        np.testing.assert_allclose(told["probabilities"], expected[i], atol=1e-5)
        assert told["classes"] == list("0123456789")


def test_most_test_images_are_recognized(studio: TestClient) -> None:
    seen = [int(np.argmax(ask(studio, image)["logits"])) for image in TEST.images[::20, 0]]
    assert np.mean(seen == TEST.labels[::20]) > 0.8


@pytest.mark.parametrize("temperature", [0.01, 0.5, 1.0, 7.5, 100.0])
def test_temperature_divides_the_logits(studio: TestClient, temperature: float) -> None:
    told = ask(studio, TEST.images[3, 0], temperature=temperature)
    scaled = np.array(told["logits"]) / temperature
    shares = np.exp(scaled - scaled.max())
    np.testing.assert_allclose(told["probabilities"], shares / shares.sum(), atol=1e-6)
    assert told["temperature"] == temperature


def test_a_picture_is_told_with_the_input_that_was_made_of_it(studio: TestClient) -> None:
    answer = studio.post("/api/predict", params={"temperature": 2.0}, content=png(PAGE))
    assert answer.status_code == 200, answer.text
    told = answer.json()
    pixels = decode_input(told["input"])
    assert np.abs(pixels.astype(int) - TEST.images[3, 0]).mean() < 8.0
    assert ask(studio, pixels, temperature=2.0) == told


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "LA", "I;16"])
def test_a_picture_of_any_mode_is_taken(studio: TestClient, mode: str) -> None:
    if mode == "I;16":
        image = Image.fromarray(np.asarray(PAGE).astype(np.uint16) * 257)
    else:
        image = PAGE.convert("RGB").convert(mode)
    told = studio.post("/api/predict", content=png(image)).json()
    assert int(np.argmax(told["logits"])) == TEST.labels[3]


def test_what_a_large_picture_shows_is_told_as_well(studio: TestClient) -> None:
    told = studio.post("/api/predict", content=png(PAGE.resize((2000, 2000)))).json()
    assert int(np.argmax(told["logits"])) == TEST.labels[3]


@pytest.mark.parametrize(
    ("contents", "name"),
    [(png(Image.new("L", (280, 280))), "blank"), (b"", "not-a-picture"), (b"x", "not-a-picture")],
)
def test_a_body_without_a_digit_is_refused(studio: TestClient, contents: bytes, name: str) -> None:
    answer = studio.post("/api/predict", content=contents)
    assert answer.status_code == 422
    assert answer.json()["type"] == f"/docs#{name}"


def test_a_prediction_needs_no_database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with studio_client(tmp_path) as client:
        before = ask(client, TEST.images[3, 0])

        def opened(store: Store) -> None:
            raise AssertionError("the database is opened")

        monkeypatch.setattr(Store, "reading", opened)
        monkeypatch.setattr(Store, "session", opened)
        assert ask(client, TEST.images[3, 0]) == before
        assert client.post("/api/predict", content=png(PAGE)).status_code == 200
        with pytest.raises(AssertionError, match="the database is opened"):
            ask(client, TEST.images[3, 0], model=2)
        monkeypatch.undo()


def test_many_at_once_are_answered_as_one_would_be(studio: TestClient) -> None:
    alone = [ask(studio, image) for image in TEST.images[:40, 0]]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda image: ask(studio, image), TEST.images[:40, 0]))
    assert together == alone


def test_the_promoted_model_answers_from_the_moment_it_is_promoted(tmp_path: Path) -> None:
    with studio_client(tmp_path) as client:
        other = add_model(tmp_path / "data", "other", promoted=False)
        assert ask(client, TEST.images[3, 0])["model"] == 1
        assert ask(client, TEST.images[3, 0], model=other)["model"] == other
        assert client.post(f"/api/models/{other}/promote", json={}).status_code == 200
        assert ask(client, TEST.images[3, 0])["model"] == other
        assert client.post("/api/models/roll-back").status_code == 200
        assert ask(client, TEST.images[3, 0])["model"] == 1
        assert client.delete(f"/api/models/{other}").status_code == 204
        answer = client.post(
            "/api/predict/input",
            json={"input": encode_input(TEST.images[3, 0]), "model": other},
        )
        assert answer.status_code == 404
        assert answer.json()["detail"] == f"there is no model {other}"


def test_without_a_model_the_run_is_named_that_will_give_one(tmp_path: Path) -> None:
    with studio_client(tmp_path, trained=False) as client:
        asked = {"input": encode_input(TEST.images[3, 0])}
        answer = client.post("/api/predict/input", json=asked)
        assert (answer.status_code, answer.json()["run_id"]) == (409, None)
        queued = client.post("/api/runs", json={"epochs": 1}).json()["id"]
        answer = client.post("/api/predict", content=png(PAGE))
        assert answer.status_code == 409
        assert answer.json()["type"] == "/docs#no-model"
        assert answer.json()["run_id"] == queued


# --- the predictor -------------------------------------------------------------------------------


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    for name in ("one", "two"):
        add_model(tmp_path, name, promoted=name == "one")
    store = Store(tmp_path / "studio.db")
    yield store
    store.close()


def test_a_model_is_loaded_once(store: Store) -> None:
    predictor = Predictor(store)
    assert predictor.cached(None) is None
    assert predictor.get(None) is predictor.get(1) is predictor.cached(None)
    assert predictor.cached(2) is None


def test_few_models_are_kept(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tinygrad_cnn.studio.predictor.MOST_LOADED", 1)
    predictor = Predictor(store)
    first = predictor.get(1)
    predictor.get(2)
    assert predictor.cached(1) is None
    assert predictor.get(1) is not first


def test_a_promotion_while_a_model_is_loaded_is_not_forgotten(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    predictor = Predictor(store)
    read = model_files.read

    def promoted_meanwhile(contents: bytes) -> Any:
        monkeypatch.undo()
        with store.session() as session:
            models.promote(session, 2)
        predictor.forget()
        return read(contents)

    monkeypatch.setattr(model_files, "read", promoted_meanwhile)
    assert predictor.get(None).id == 1  # as it was when it was asked
    assert predictor.get(None).id == 2


def test_what_is_not_there_is_told(store: Store, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="there is no model 3"):
        Predictor(store).get(3)
    empty = Store(tmp_path / "empty.db")
    empty.migrate()
    with pytest.raises(Problem, match="no model is trained yet: start a training"):
        Predictor(empty).get(None)
    empty.close()
