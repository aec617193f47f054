"""Experiments on losses, networks and numbers, in little; and what they compute by themselves."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.experiments import answers_in_little, measured

import tinygrad_cnn as tg
from tinygrad_cnn.bench.traced_memory import peak_bytes
from tinygrad_cnn.engine.convolution import reference
from tinygrad_cnn.experiments.experiment import Record
from tinygrad_cnn.experiments.gallery import convolutions, find, losses, overhead, temperature
from tinygrad_cnn.experiments.gallery.architectures import USUAL, Architecture
from tinygrad_cnn.experiments.gallery.common import logit_gradients
from tinygrad_cnn.experiments.gallery.handwritten import HandwrittenConvolution


@pytest.mark.parametrize(
    ("name", "epochs"),
    [("losses", 2), ("architectures", 1), ("temperature", 2), ("precision", 2)],
)
def test_an_experiment_in_little(name: str, epochs: int, few: str, tmp_path: Path) -> None:
    experiment = find(name)
    answers_in_little(experiment, measured(experiment, few, seeds=2, epochs=epochs), tmp_path)


def test_convolutions_in_little(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(convolutions, "ROOF_SECONDS", 0.02)
    tiny = {"image": 6, "kernel": 3, "channels": 2}
    results = measured(convolutions.experiment, "", seeds=1, **tiny)
    answers_in_little(convolutions.experiment, results, tmp_path)


def test_overhead_in_little(few: str, tmp_path: Path) -> None:
    results = measured(overhead.experiment, few, seeds=1, size=8)
    losses = answers_in_little(overhead.experiment, results, tmp_path).verdicts[0]
    assert losses.outcome == "holds"


@pytest.mark.parametrize("method", convolutions.METHODS)
@pytest.mark.parametrize("shapes", [((2, 3, 8, 7), (4, 3, 3, 2)), ((1, 1, 5, 5), (1, 1, 5, 5))])
def test_every_method_convolves(method: str, shapes: tuple[tuple[int, ...], ...]) -> None:
    rng = np.random.default_rng(0)
    images, kernels = (rng.standard_normal(shape, "f4") for shape in shapes)
    found = convolutions.METHODS[method](images, kernels)
    expected = reference.conv2d(images.astype("f8"), kernels.astype("f8"), 1, 0, 1, 1)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_multiply_adds_are_counted_as_the_op_counts_them() -> None:
    at = convolutions.ConvolutionSizes(image=9, kernel=3, channels=4)
    layer = tg.nn.Conv2d(4, 4, 3, rng=np.random.default_rng(0))
    assert at.multiply_adds == convolutions.IMAGES * layer.summary((4, 9, 9)).multiply_adds


@pytest.mark.parametrize("size", [7, 2 * HandwrittenConvolution.AT_ONCE])
@pytest.mark.parametrize("network", overhead.NETWORKS)
def test_the_handwritten_network_learns_as_the_recorded_one(network: str, size: int) -> None:
    build, by_hand = overhead.NETWORKS[network]
    model = build(np.random.default_rng(0))
    handwritten: Any = by_hand([each.numpy().copy() for each in model.parameters()], size)
    recorded = overhead.recorded(model)
    rng = np.random.default_rng(1)
    for _ in range(5):
        # Blank pixels give values of exactly 0, where the ReLU and the maximum have two slopes
        images = np.maximum(rng.standard_normal((size, 1, 28, 28), "f4") - 1.5, 0)
        labels = rng.integers(10, size=size)
        assert handwritten(images, labels) == pytest.approx(recorded(images, labels), rel=1e-5)
    weights = (handwritten.w1, handwritten.b1, handwritten.w2, handwritten.b2)
    for parameter, weight in zip(model.parameters(), weights, strict=True):
        np.testing.assert_allclose(weight, parameter.numpy(), rtol=1e-4, atol=1e-6)


def test_logit_gradients_are_each_examples_own() -> None:
    rng = np.random.default_rng(0)
    z, labels = rng.standard_normal((6, 10)) * 3, rng.integers(10, size=6)
    S = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    error = S - np.eye(10)[labels]
    np.testing.assert_allclose(logit_gradients(tg.cross_entropy, z, labels), error, atol=1e-12)
    jacobians = S[:, :, None] * (np.eye(10) - S[:, None, :])
    expected = np.einsum("nij,nj->ni", jacobians, error)
    np.testing.assert_allclose(
        logit_gradients(losses.squared_error, z, labels), expected, atol=1e-12
    )


def test_the_squared_error_leaves_no_gradient_where_the_network_is_certain_and_wrong() -> None:
    z, labels = np.zeros((1, 10)), np.array([3])
    z[0, 7] = 20.0
    assert np.linalg.norm(logit_gradients(losses.squared_error, z, labels)) < 1e-7
    assert np.linalg.norm(logit_gradients(tg.cross_entropy, z, labels)) > 1.4


def test_quality_of_known_probabilities() -> None:
    even = temperature.quality(np.zeros((4, 10)), np.arange(4), 1.0)
    assert even.entropy == pytest.approx(math.log(10))
    assert (even.accuracy, even.ece) == pytest.approx((0.25, 0.15))
    # Of ten examples, each 80 % sure, eight are right: calibrated
    sure = np.tile([math.log(4.0), 0.0], (10, 1))
    labels = np.array([0] * 8 + [1] * 2)
    assert temperature.quality(sure, labels, 1.0).ece == pytest.approx(0.0, abs=1e-9)
    # At half the temperature the odds are squared: 16 to 1
    assert temperature.quality(sure, labels, 0.5).ece == pytest.approx(16 / 17 - 0.8)


def test_bins_of_confidence_do_not_cancel_each_other() -> None:
    # Half are sure and wrong, half unsure and right: the mean is right, no bin is
    logits = np.array([[9.0, 0.0]] * 5 + [[0.01, 0.0]] * 5)
    labels = np.array([1] * 5 + [0] * 5)
    assert temperature.quality(logits, labels, 1.0).ece > 0.7


def test_training_that_diverges_at_a_low_temperature_has_no_final_accuracy(few: str) -> None:
    record = Record(few)
    temperature.run(record, seed=0, temperature=1e-12, epochs=2)
    last = {measure: (step, value) for step, measure, value in record.rows}
    assert last["logit_gradient"][1] > 1e9
    for measure in temperature.TITLES:
        step, value = last[measure]
        assert step == 2
        assert math.isnan(value)


@pytest.mark.parametrize("depth", [0, 1, 2, 3])
@pytest.mark.parametrize("pooling", ["maximum", "average", "stride"])
def test_every_architecture_can_be_built(depth: int, pooling: str) -> None:
    model = Architecture(depth=depth, pooling=pooling, channels=2).build(np.random.default_rng(0))
    assert model(np.zeros((2, 1, 28, 28), "f4")).shape == (2, 10)


def test_multiply_adds_of_the_usual_architecture() -> None:
    # 8 of 5×5 on 28×28, 16 of 5×5 on 8 channels of 14×14, 16·7·7 to 64, 64 to 10
    convolutions_ = 28 * 28 * 8 * 25 + 14 * 14 * 16 * 8 * 25
    expected = convolutions_ + 16 * 7 * 7 * 64 + 64 * 10
    summary = USUAL.build(np.random.default_rng(0)).summary((1, 28, 28))
    assert summary.multiply_adds == expected


def test_peak_bytes_do_not_depend_on_earlier_calls() -> None:
    x = np.zeros((8, 8, 64, 64), "f4")
    w = np.zeros((8, 8, 3, 3), "f4")
    output = 8 * 8 * 62 * 62 * 4
    first = peak_bytes(lambda: tg.conv2d(x, w))
    assert peak_bytes(lambda: tg.conv2d(x, w)) == pytest.approx(first, rel=0.05)
    assert first >= output
