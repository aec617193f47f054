"""Networks for color images: trained, explained, evaluated and shown as those for digits."""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image
from support.studio import Running, add_model, studio_client
from support.studio_browser import expect, visiting

import tinygrad_cnn as tg
from tinygrad_cnn.studio.encoding import decode, encode_input
from tinygrad_cnn.studio.image_sets import IMAGE_SETS

if TYPE_CHECKING:
    from playwright.sync_api import Browser
    from starlette.testclient import TestClient

TEST = tg.data.shapes().test
INPUT = encode_input(TEST.images[5])
DIGITS = tg.data.digits().test
GRAY = encode_input(DIGITS.images[0])


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    folder = tmp_path_factory.mktemp("color")
    add_model(folder / "data")
    assert add_model(folder / "data", "colored", promoted=False, source="shapes") == 2
    with studio_client(folder, trained=False) as client:
        yield client


@pytest.mark.parametrize("name", IMAGE_SETS)
def test_a_set_is_as_declared(name: str) -> None:
    if not tg.data.is_local(name):
        pytest.skip(f"{name} is not on this machine")
    images = IMAGE_SETS[name]
    dataset = tg.data.load(name).test
    assert dataset.images.shape[1:] == images.input_shape
    assert dataset.classes == images.classes
    assert dataset.preparation == images.preparation


def test_cifar_is_offered_where_it_is(
    client: TestClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = {"data": "cifar10", "limit": 1}
    monkeypatch.setenv("TINYGRAD_CNN_DATA", str(tmp_path))
    assert "cifar10" not in client.get("/api/state").json()["data"]
    assert client.get("/api/images", params=asked).status_code == 404
    names = [*(f"data_batch_{part}.bin" for part in range(1, 6)), "test_batch.bin"]
    record = np.random.default_rng(0).integers(0, 256, (10, 3073), np.uint8)
    record[:, 0] = range(10)
    for name in names:
        (tmp_path / name).write_bytes(record.tobytes())
    assert "cifar10" in client.get("/api/state").json()["data"]
    (image,) = client.get("/api/images", params=asked).json()["images"]
    assert image["input"] == encode_input(record[0, 1:].reshape(3, 32, 32))


def test_its_images_are_predicted_by_class(client: TestClient) -> None:
    answer = client.post("/api/predict/input", json={"input": INPUT, "model": 2}).json()
    assert answer["classes"] == list(TEST.classes)
    listed = client.get("/api/models").json()["models"]
    assert [(model["drawn"], model["input_shape"]) for model in listed] == [
        (False, [3, 32, 32]),
        (True, [1, 28, 28]),
    ]


@pytest.mark.parametrize(("given", "model"), [(INPUT, 1), (GRAY, 2), (INPUT, None)])
def test_images_of_another_shape_are_refused(
    client: TestClient, given: str, model: int | None
) -> None:
    asked = {"input": given, "model": model}
    refused = [
        client.post("/api/predict/input", json=asked),
        client.post("/api/explain/layers", json=asked),
        client.post("/api/explain/backward", json={**asked, "label": 1}),
    ]
    assert [answer.status_code for answer in refused] == [422] * 3
    assert all("32" in answer.json()["detail"] for answer in refused)


def test_each_channel_is_explained(client: TestClient) -> None:
    asked = {"input": INPUT, "model": 2}
    layers = client.post("/api/explain/layers", json=asked).json()
    assert layers["input"]["shape"] == [3, 32, 32]
    assert layers["classes"] == list(TEST.classes)
    first = layers["layers"][0]
    assert first["shape"][0] == 6
    cell = client.post(
        "/api/explain/cell", json={**asked, "layer": first["name"], "cell": [0, 4, 7]}
    )
    assert cell.status_code == 200
    backward = client.post("/api/explain/backward", json=asked).json()
    assert decode(backward["saliency"]).shape == (3, 32, 32)


def test_it_is_not_for_drawings(client: TestClient) -> None:
    refused = client.post("/api/models/2/promote", json={"insist": True})
    assert refused.status_code == 409
    assert "drawings" in refused.json()["detail"]
    picture = BytesIO()
    Image.fromarray(DIGITS.images[0, 0]).save(picture, "PNG")
    drawn = client.post("/api/drawings", params={"label": 3}, content=picture.getvalue())
    assert drawn.status_code == 201
    taught = client.post("/api/runs/fine-tune", json={"model": 2})
    assert taught.status_code == 409
    assert "the model 'colored' was trained on pictures that" in taught.json()["detail"]


def test_it_is_uploaded_again(client: TestClient) -> None:
    weights = client.get("/api/models/2/weights").content
    uploaded = client.post("/api/models", content=weights).json()
    assert uploaded["accuracy"] == client.get("/api/models/2").json()["accuracy"]


def test_it_is_seen_and_compared(browser: Browser, studio: Running) -> None:
    model = add_model(studio.data_dir, "colored", promoted=False, source="shapes")
    with visiting(browser, studio) as page:
        page.goto(f"{studio.url}/#/see?model={model}")
        expect(page.get_by_text("circle", exact=False).first).to_be_visible()
        assert page.locator(".see aside canvas.digit").evaluate("canvas => canvas.width") == 32
        gray = encode_input(DIGITS.images[0]).replace("+", "-").replace("/", "_").rstrip("=")
        page.goto(f"{studio.url}/#/teach?model={model}&input={gray}")  # the promoted one predicts
        expect(page.get_by_text("The model predicts")).to_be_visible()
        expect(page.get_by_role("option", name="known (promoted)")).to_be_attached()
        expect(page.get_by_role("option", name="colored")).to_have_count(0)
