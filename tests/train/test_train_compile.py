"""A compiled training: the same bits as eager, and clear errors where it cannot work."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from support.forwards import count_forward, forwards
from support.small_sets import linear, made

import tinygrad_cnn as tg
from tinygrad_cnn import nn
from tinygrad_cnn.compiler import CompileError
from tinygrad_cnn.data import DataError, DataLoader, Split
from tinygrad_cnn.engine import fast
from tinygrad_cnn.train import (
    Callback,
    F1Score,
    History,
    RunFolder,
    TrainingDiverged,
    TrainingRun,
    TrainingSettings,
    evaluate,
    fit,
    training_step,
)


@pytest.fixture(autouse=True)
def _numpy_only() -> Iterator[None]:
    """Compute with NumPy, whose bits a replay has."""
    forwards()
    with tg.engine.options(fast=False):
        yield


class Net(nn.Module):
    """A model with running statistics and random numbers."""

    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        self.conv = nn.Conv2d(1, 4, 5, stride=3, rng=rng)
        self.norm = nn.BatchNorm2d(4)
        self.dropout = nn.Dropout(0.3, rng=np.random.default_rng(1))
        self.fc = nn.Linear(4 * 8 * 8, 10, rng=rng)

    def forward(self, x: tg.Tensor) -> tg.Tensor:
        count_forward()
        x = tg.relu(self.norm(self.conv(x)))
        return self.fc(self.dropout(x).reshape(len(x), -1))


def images(dataset: Any, **options: Any) -> DataLoader:
    scaled = dataset.images.astype("f4") / 255, dataset.labels
    return DataLoader(scaled, batch_size=16, **options)


class GradientNorm(Callback):
    """A further column: the norm of the last gradient."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self.metrics = {"norm": 0.0}

    def batch(self, progress: Any) -> None:
        squares = [(p.grad**2).sum() for p in self.model.parameters() if p.grad is not None]
        self.metrics = {"norm": float(sum(squares)) ** 0.5}


def trained(few: Split, optimizer: str, compile: bool) -> tuple[Net, dict[str, Any], History]:
    model = Net()
    kinds = {
        "adam": lambda: tg.optim.Adam(model.parameters(), lr=0.01),
        "sgd": lambda: tg.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-4),
    }
    made = kinds[optimizer]()
    history = fit(
        model,
        tg.cross_entropy,
        made,
        images(few.train, shuffle=True, seed=3),  # 90 images: the last batch has 10
        epochs=3,
        validation=images(few.test),
        schedule=tg.optim.OneCycleLR(made, max_lr=0.1, total_steps=18),
        clip_norm=0.5,
        callbacks=[GradientNorm(model)],
        metrics={"f1": F1Score()},
        compile=compile,
    )
    return model, made.state_dict(), history


def assert_same(left: dict[str, Any], right: dict[str, Any]) -> None:
    assert left.keys() == right.keys()
    for name, value in left.items():
        np.testing.assert_array_equal(value, right[name], err_msg=name)


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_a_compiled_training_has_the_bits_of_an_eager_one(few: Split, optimizer: str) -> None:
    model, state, history = trained(few, optimizer, compile=False)
    assert forwards() == 3 * (6 + 4)
    forwards()
    compiled, compiled_state, compiled_history = trained(few, optimizer, compile=True)
    assert forwards() == 4 * 2  # captured and checked: two sizes in training and validation
    assert_same(model.state_dict(), compiled.state_dict())
    assert_same(state, compiled_state)
    for ours, theirs in zip(history, compiled_history, strict=True):
        timeless = {"seconds": 0.0, "images_per_second": 0.0}
        assert replace(ours, **timeless) == replace(theirs, **timeless)


@pytest.mark.skipif(not fast.is_available(), reason="needs the extra fast")
def test_a_training_on_tapes_agrees_with_numpy_in_float64(few: Split) -> None:
    losses = []
    for compile in (False, True):
        model = Net().double()
        optimizer = tg.optim.Adam(model.parameters(), lr=0.01)
        loader = DataLoader((few.train.images / 255, few.train.labels), batch_size=16, seed=3)
        with tg.engine.options(fast=compile):
            history = fit(model, tg.cross_entropy, optimizer, loader, epochs=3, compile=compile)
        losses.append(history.column("loss"))
    np.testing.assert_allclose(*losses, rtol=1e-10)


def test_a_compiled_evaluation_is_the_eager_one(few: Split) -> None:
    model, loader = Net(), images(few.test)
    eager, compiled = (
        evaluate(model, loader, metrics={"f1": F1Score()}, compile=c) for c in (False, True)
    )
    assert (compiled.loss, compiled.metrics) == (eager.loss, eager.metrics)
    np.testing.assert_array_equal(compiled.confusion, eager.confusion)
    assert forwards() == 4 + 3  # the second size comes only once


def test_a_step_whose_loss_is_not_finite_changes_no_parameter() -> None:
    model = linear()
    optimizer = tg.optim.SGD(model.parameters(), lr=0.1)
    x, labels = made()
    fit(model, tg.cross_entropy, optimizer, [(x, labels)], epochs=1, compile=True)
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(DataError, match="images"):
        bad = np.full_like(x, np.nan)
        fit(model, tg.cross_entropy, optimizer, [(x, labels), (bad, labels)], epochs=1,
            compile=True)  # fmt: skip
    assert np.isfinite(model.weight.numpy()).all()
    model.load_state_dict(before)
    model.weight.data *= 1e38
    kept = copy.deepcopy(model.state_dict())
    with pytest.raises(TrainingDiverged):
        fit(model, tg.mse, optimizer, [(x, np.zeros((20, 3), "f4"))] * 2, epochs=1, compile=True)
    assert_same(model.state_dict(), kept)


def test_a_loss_that_reads_values_is_refused_with_its_line() -> None:
    model = linear()
    optimizer = tg.optim.SGD(model.parameters(), lr=0.1)

    def loss(outputs: tg.Tensor, labels: Any) -> tg.Tensor:
        error: tg.Tensor = tg.cross_entropy(outputs, labels)
        return error if error.item() > 0 else error * 2.0  # reads a value

    with pytest.raises(CompileError, match=r"test_train_compile\.py") as caught:
        fit(model, loss, optimizer, [made()], epochs=1, compile=True)
    assert any("in epoch 1, batch 1" in note for note in caught.value.__notes__)


def test_several_ranks_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training_step, "guard_of", lambda model: SimpleNamespace(size=2))
    model = linear()
    with pytest.raises(ValueError, match="fit: compile is True, but the model is trained on 2"):
        fit(model, tg.cross_entropy, tg.optim.SGD(model.parameters(), lr=0.1), [made()], epochs=1,
            compile=True)  # fmt: skip
    with pytest.raises(ValueError, match="evaluate: compile is True, but the model is trained"):
        evaluate(model, [made()], compile=True)


def test_compile_is_a_bool() -> None:
    model = linear()
    with pytest.raises(ValueError, match="evaluate: compile is 1, expected one of True, False"):
        evaluate(model, [made()], compile=1)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="train: compile is 'yes'"):
        TrainingSettings(compile="yes")  # type: ignore[arg-type]


def test_a_compiled_run_is_resumed_within_an_epoch_with_the_same_bits(
    prepared: Any, tmp_path: Path
) -> None:
    whole: TrainingRun = prepared(compile=True)
    whole.train(RunFolder.create("run", tmp_path / "whole"))
    eager: TrainingRun = prepared()
    eager.train(RunFolder.create("run", tmp_path / "eager"))
    assert_same(whole.model.state_dict(), eager.model.state_dict())

    class Stop(Callback):
        def batch(self, progress: Any) -> None:
            if (progress.epoch, progress.batch) == (2, 3):
                raise KeyboardInterrupt

    stopped: TrainingRun = prepared(compile=True, checkpoint_every=2)
    folder = RunFolder.create("run", tmp_path / "stopped")
    with pytest.raises(KeyboardInterrupt):
        stopped.train(folder, [Stop()])
    resumed = TrainingRun.resumed(folder)
    assert resumed.settings.training.compile
    resumed.train(folder)
    assert_same(resumed.model.state_dict(), whole.model.state_dict())
