"""The report of a model says what a count by hand says."""

from __future__ import annotations

import base64
import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from support.studio_models import knowing, untrained

from tinygrad_cnn.data import Dataset, digits
from tinygrad_cnn.studio.model_files import read
from tinygrad_cnn.studio.report import calibration_error, report
from tinygrad_cnn.train import TrainedModel


@pytest.fixture(scope="module")
def half() -> TrainedModel:
    """A model that tells the digits 0 to 4, and takes the others for one of those."""
    return read(knowing(0.5))


@pytest.fixture(scope="module")
def test_images() -> Dataset:
    return digits().test[:333]


def test_all_is_counted_right(half: TrainedModel, test_images: Dataset) -> None:
    result = report(half.model, half.settings, test_images)
    probabilities = half.probabilities(test_images.images).astype(np.float64)
    confusion = [[0] * 10 for _ in range(10)]
    loss = 0.0
    for row, label in zip(probabilities, test_images.labels.tolist(), strict=True):
        confusion[label][int(row.argmax())] += 1
        loss -= math.log(row[label] / row.sum()) if row[label] > 1e-30 else math.nan
    assert result["confusion"] == confusion
    assert result["accuracy"] == sum(confusion[i][i] for i in range(10)) / 333
    assert 0.2 < result["accuracy"] < 0.6
    assert (result["images"], result["parameters"], result["data"]) == (333, 7850, "digits")


def test_the_loss_is_the_mean_of_minus_the_logarithm_of_what_is_right(test_images: Dataset) -> None:
    made = untrained("lenet5", seed=3)
    result = report(made.model, made.settings, test_images)
    probabilities = TrainedModel(made.model, made.settings).probabilities(test_images.images)
    right = probabilities[np.arange(333), test_images.labels].astype(np.float64)
    assert result["loss"] == pytest.approx(float(-np.log(right).mean()), rel=1e-5)


def test_the_worst_are_the_errors_that_the_model_is_surest_of(
    half: TrainedModel, test_images: Dataset
) -> None:
    worst = report(half.model, half.settings, test_images)["worst"]
    probabilities = half.probabilities(test_images.images)
    wrong = {
        i: float(row.max())
        for i, row in enumerate(probabilities)
        if row.argmax() != test_images.labels[i]
    }
    assert len(worst) == 24
    listed = [mistake["probability"] for mistake in worst]
    assert listed == sorted(listed, reverse=True)
    assert max(p for i, p in wrong.items() if i not in {m["index"] for m in worst}) <= min(listed)
    for mistake in worst:
        i = mistake["index"]
        assert mistake["probability"] == pytest.approx(wrong[i], rel=1e-5)
        assert mistake["label"] == test_images.labels[i] != mistake["predicted"]
        assert mistake["predicted"] == probabilities[i].argmax()
        assert base64.b64decode(mistake["input"]) == test_images.images[i].tobytes()


def test_a_model_without_errors_has_no_worst(half: TrainedModel) -> None:
    probabilities = half.probabilities(digits().test.images)
    right = digits().test[probabilities.argmax(axis=1) == digits().test.labels]
    result = report(half.model, half.settings, right)
    assert (result["accuracy"], result["worst"]) == (1.0, [])


def test_a_report_is_plain_json(half: TrainedModel, test_images: Dataset) -> None:
    result = report(half.model, half.settings, test_images)
    assert json.loads(json.dumps(result, allow_nan=False)) == result


def test_the_model_is_left_as_it_was(test_images: Dataset) -> None:
    made = untrained("vgg")
    made.model.train()
    before = {name: a.copy() for name, a in made.model.state_dict().items()}
    report(made.model, made.settings, test_images[:20])
    assert made.model.training
    for name, array in made.model.state_dict().items():
        np.testing.assert_array_equal(array, before[name])


@pytest.mark.parametrize("value", [np.nan, np.inf, 3e38])
def test_a_model_that_gives_no_numbers_is_told_of(value: float, test_images: Dataset) -> None:
    made = untrained()
    made.model.fc[1].weight._array[3, :] = value
    with pytest.raises(
        ValueError, match=r"NaN or infinite numbers for \d+ of 333 images of digits"
    ):
        report(made.model, made.settings, test_images)


def test_images_of_another_kind_are_refused(half: TrainedModel, test_images: Dataset) -> None:
    small = Dataset(test_images.images[:, :, 4:], test_images.labels, test_images.classes, "small")
    with pytest.raises(ValueError, match="small: has images of shape"):
        report(half.model, half.settings, small)


def _binned(probabilities: NDArray[np.float64], labels: NDArray[np.int64]) -> float:
    """Return the expected calibration error, bin by bin."""
    error = 0.0
    for k in range(15):
        rows: list[tuple[float, bool]] = [
            (max(row), int(np.argmax(row)) == label)
            for row, label in zip(probabilities.tolist(), labels.tolist(), strict=True)
            if k <= max(row) * 15 < k + 1 or (k == 14 and max(row) == 1.0)
        ]
        if rows:
            accuracy = sum(hit for _, hit in rows) / len(rows)
            sureness = sum(p for p, _ in rows) / len(rows)
            error += len(rows) / len(labels) * abs(accuracy - sureness)
    return error


@given(seed=st.integers(0, 10**6), count=st.integers(1, 60), sharp=st.floats(0.1, 100))
def test_the_calibration_error_is_what_the_definition_says(
    seed: int, count: int, sharp: float
) -> None:
    rng = np.random.default_rng(seed)
    powers: Any = np.exp(sharp * rng.normal(size=(count, 4)))
    probabilities = powers / powers.sum(axis=1, keepdims=True)
    labels = rng.integers(0, 4, count)
    expected = _binned(probabilities, labels)
    assert calibration_error(probabilities, labels) == pytest.approx(expected, abs=1e-12)
