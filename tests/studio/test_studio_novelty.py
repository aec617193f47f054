"""Inputs unlike the training images are found, at the false positive rate that is stated."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from starlette.testclient import TestClient
from support.studio import studio_client, trained
from support.studio_models import untrained

from tinygrad_cnn.data import digits
from tinygrad_cnn.studio import model_files
from tinygrad_cnn.studio.encoding import encode_input
from tinygrad_cnn.studio.novelty import FALSE_POSITIVE_RATE, Detector
from tinygrad_cnn.studio.predictor import LoadedModel
from tinygrad_cnn.studio.store import models

SPLIT = digits()
MODEL = model_files.read(trained()[1])


@pytest.fixture(scope="module")
def detector() -> Detector:
    made = Detector.fit(*MODEL, SPLIT.train, SPLIT.test)
    assert made is not None
    return made


def scores(detector: Detector, images: NDArray[np.uint8]) -> NDArray[np.float64]:
    loaded = LoadedModel(1, *MODEL, detector)
    LoadedModel(2, *MODEL, detector)  # the hooks of one model are not doubled
    return np.array([loaded.predict(pixels).score for pixels in images])


def test_the_stated_share_of_test_images_is_unlike_and_nearly_all_of_what_is_no_digit(
    detector: Detector,
) -> None:
    kept = Detector.unpack(detector.pack())
    assert (kept.threshold, kept.false_positive_rate) == (
        detector.threshold,
        detector.false_positive_rate,
    )
    assert detector.false_positive_rate == pytest.approx(FALSE_POSITIVE_RATE, abs=0.001)
    test = scores(kept, SPLIT.test.images[::4, 0])
    assert np.mean(test > kept.threshold) == pytest.approx(FALSE_POSITIVE_RATE, abs=0.015)
    seen = scores(kept, SPLIT.train.images[::50, 0])
    assert np.mean(seen > kept.threshold) < 0.03
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (20, 28, 28), np.uint8)
    stripes = np.zeros((20, 28, 28), np.uint8)
    for offset, image in enumerate(stripes):
        image[4 + offset % 4 : 24 : 4 + offset // 4, 4:24] = 255
    for images in (noise, stripes, 255 - SPLIT.test.images[:20, 0]):
        assert np.mean(scores(kept, images) > kept.threshold) > 0.9


def test_a_score_does_not_depend_on_what_was_asked_before(detector: Detector) -> None:
    images = SPLIT.test.images[:20, 0]
    np.testing.assert_allclose(scores(detector, images)[::-1], scores(detector, images[::-1]))


@pytest.mark.parametrize("hidden", [[], [8], [16, 12]])
def test_every_model_with_a_linear_layer_gets_a_detector(hidden: list[int]) -> None:
    run = untrained(hidden=hidden)
    made = Detector.fit(run.model, run.settings, SPLIT.train[:400], SPLIT.test[:200])
    assert made is not None
    assert len(made.prototypes) == max(1, len(hidden))
    assert np.isfinite(made.threshold)


def test_without_images_of_each_class_there_is_no_detector() -> None:
    some = SPLIT.train[SPLIT.train.labels != 3]
    assert Detector.fit(*MODEL, some, SPLIT.test) is None


@pytest.fixture
def client(tmp_path: Path) -> Iterator[TestClient]:
    with studio_client(tmp_path) as client:
        yield client


def test_the_answer_has_the_score_if_the_model_has_a_detector(
    client: TestClient, detector: Detector
) -> None:
    asked = {"input": encode_input(SPLIT.test.images[3, 0])}
    answer = client.post("/api/predict/input", json=asked).json()
    assert answer["out_of_distribution"] is None  # stored by an earlier version
    services = client.app.state.services  # type: ignore[attr-defined]
    with services.store.session() as session:
        models.get(session, 1).detector = detector.pack()
    services.predictor.forget(1)
    told = client.post("/api/predict/input", json=asked).json()
    distant = told.pop("out_of_distribution")
    assert {**told, "out_of_distribution": None} == answer
    assert distant["score"] == pytest.approx(
        scores(Detector.unpack(detector.pack()), SPLIT.test.images[3:4, 0])[0]
    )
    assert distant["threshold"] == detector.threshold
    assert distant["false_positive_rate"] == detector.false_positive_rate
