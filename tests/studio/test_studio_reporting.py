"""What is told of a training: points at a pace, gradient norms, kernels; and what it is asked."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from support.studio_training import opened, queued, steps

import tinygrad_cnn as tg
from tinygrad_cnn import nn
from tinygrad_cnn.studio.encoding import decode
from tinygrad_cnn.studio.training.reporting import Reporter, gradient_norms, kernels
from tinygrad_cnn.studio.training.requests import settings_of, train_request
from tinygrad_cnn.train import AUGMENTATIONS, OPTIMIZERS, SCHEDULES, Progress, TrainingRun

# --- requests ----------------------------------------------------------------------------------


@pytest.mark.parametrize("model", ["lenet5", "mlp", "vgg"])
def test_a_request_says_all_that_decides_the_training(model: str) -> None:
    request = train_request(model, "digits", epochs=3)
    settings = settings_of(request, tg.data.digits())
    earlier = {name: value for name, value in request.items() if not name.endswith("_options")}
    assert settings_of(earlier, tg.data.digits()) == settings
    assert settings.training == tg.train.recipe("digits", epochs=3)
    built = TrainingRun(settings, tg.data.digits()).model
    assert type(built).__name__.lower() == model
    chosen = {name: request[name] for name in ("activation", "pooling") if request[name]}
    assert {name: getattr(built, name) for name in chosen} == chosen


@pytest.mark.parametrize(
    ("field", "names"),
    [("optimizer", OPTIMIZERS), ("schedule", SCHEDULES), ("augment", AUGMENTATIONS)],
)
def test_every_choice_can_be_made(field: str, names: dict[str, object]) -> None:
    for name in names:
        assert train_request("mlp", "digits", **{field: name})[field] == name


@pytest.mark.parametrize(
    ("model", "data", "chosen", "says"),
    [
        ("resnet", "digits", {}, "model is 'resnet', expected one of 'lenet5', 'mlp', 'vgg'"),
        ("mlp", "/etc/passwd", {}, "data is '/etc/passwd', expected one of 'european-digits'"),
        ("mlp", "digits", {"pooling": "max"}, "mlp has no pooling, but came with 'max'; it has"),
        ("vgg", "digits", {"activation": "relu"}, "vgg has no activation, but came with 'relu'"),
        ("mlp", "digits", {"optimizer": "x"}, "optimizer is 'x', expected one of 'sgd'"),
        ("mlp", "digits", {"epochs": 0}, "epochs is 0, expected an integer >= 1"),
        ("mlp", "digits", {"activation": "x"}, "run: activation is 'x', expected one of 'sigmoid'"),
        ("mlp", "digits", {"optimizer_options": {"a": 1}}, "adamw has no option 'a'; it has betas"),
    ],
)
def test_what_cannot_be_trained_is_refused(
    model: str, data: str, chosen: dict[str, object], says: str
) -> None:
    with pytest.raises(ValueError, match=r"run: |train: ") as raised:
        train_request(model, data, **chosen)
    assert says in str(raised.value)


# --- reports ---------------------------------------------------------------------------------


def test_gradient_norms_are_lengths_over_all_that_a_layer_learns() -> None:
    model = nn.LeNet5(rng=np.random.default_rng(0))
    images = np.random.default_rng(1).normal(size=(4, 1, 28, 28)).astype("f4")
    tg.cross_entropy(model(images), np.array([1, 2, 3, 4])).backward()
    told = gradient_norms(model)
    assert list(told) == ["conv1", "conv2", "fc1", "fc2", "fc3"]
    for name, norm in told.items():
        layer = getattr(model, name)
        both = np.concatenate([layer.weight.grad.ravel(), layer.bias.grad.ravel()])
        assert norm == pytest.approx(float(np.linalg.norm(both)), rel=1e-5)
    model.fc2.weight.grad[0, 0] = np.inf
    assert gradient_norms(model)["fc2"] is None


@pytest.mark.parametrize(
    ("model", "layer", "shape"),
    [
        (nn.LeNet5(rng=np.random.default_rng(0)), "conv1", (6, 5, 5)),
        (nn.MLP((784, 7, 10), rng=np.random.default_rng(0)), "fc.0", (7, 28, 28)),
        (nn.MLP((784, 50, 10), rng=np.random.default_rng(0)), "fc.0", (32, 28, 28)),
        (nn.VGG(in_channels=1, image_size=28, rng=np.random.default_rng(0)), None, (32, 3, 3)),
    ],
)
def test_kernels_are_those_of_the_first_layer(
    model: nn.Module, layer: str | None, shape: tuple[int, ...]
) -> None:
    shown = kernels(model)
    assert shown is not None
    if layer is not None:
        assert shown["layer"] == layer
    pictures = decode(shown["kernels"])
    assert pictures.shape == shape
    weight = next(model.parameters()).data[: shape[0]].reshape(shape)
    np.testing.assert_allclose(pictures, weight, atol=np.ptp(weight) / 500)


def test_what_cannot_be_shown_is_not() -> None:
    model = nn.LeNet5(rng=np.random.default_rng(0))
    model.conv1.weight.data[...] = np.nan
    assert kernels(model) is None
    assert kernels(nn.MLP((5, 2), rng=np.random.default_rng(0))) is None


def test_points_come_at_a_pace_that_eyes_can_follow_but_the_ends_of_epochs_always(
    tmp_path: Path,
) -> None:
    store, _ = opened(tmp_path)
    run_id = queued(store)
    time = [0.0]
    model = nn.MLP((4, 2), rng=np.random.default_rng(0))
    reporter = Reporter(store, run_id, model, batches=100, now=lambda: time[0])
    for epoch in (1, 2):
        for batch in range(1, 101):
            reporter.batch(Progress(epoch, batch, 100, batch, 1.0, 0.5, 0.0))
            time[0] += 0.03125
    told = steps(store, run_id)
    assert {1, 100, 101, 200} <= set(told)
    assert told == sorted(set(told))
    assert set(np.diff(told[1:-1])) <= {1, 2, 3, 4}
    assert 50 <= len(told) <= 56  # every fourth, and the ends
    time[0] = math.inf
    reporter.flush()
    reporter.flush()
    assert steps(store, run_id) == told
    store.close()
