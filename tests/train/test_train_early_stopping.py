"""Callbacks that follow one metric: when training ends, and whose weights are the best."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from numpy.typing import NDArray
from safetensors import safe_open

import tinygrad_cnn as tg
from tinygrad_cnn.data import DataLoader
from tinygrad_cnn.train import (
    METRICS,
    BestWeights,
    Callback,
    EarlyStopping,
    Epoch,
    F1Score,
    History,
    early_stopping,
    fit,
)

# --- the rule ----------------------------------------------------------------------------------


def followed(stopping: EarlyStopping, values: Sequence[float]) -> int:
    """Return the number of epochs until it ends training, or all."""
    history = History()
    for number, value in enumerate(values, start=1):
        history.append(Epoch(number, 0.0, validation_accuracy=value, validation_loss=value))
        if stopping.epoch(history):
            break
    return len(history)


def defined(values: Sequence[float], patience: int, sign: int, min_delta: float) -> int:
    """Return the same from the definition: look back from every epoch."""
    records: list[int] = []  # epochs that improved on the record before
    for i, value in enumerate(values, start=1):
        better = not records or sign * (value - values[records[-1] - 1]) > min_delta
        if better and not math.isnan(value):
            records.append(i)
        if i - max(records, default=0) == patience:
            return i
    return len(values)


few = st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0, math.nan])  # with many ties


@given(
    st.lists(few, min_size=1, max_size=12).filter(lambda values: not math.isnan(values[0])),
    st.integers(1, 5),
    st.sampled_from(["validation_loss", "validation_accuracy"]),
    st.sampled_from([0.0, 0.25, 0.3]),
)
@example([0.5, 0.5, 0.5], 2, "validation_loss", 0.0)
@example([0.5, 0.25, 0.0], 2, "validation_loss", 0.25)
@example([0.0, 0.25, 0.5, 0.5], 2, "validation_accuracy", 0.3)
@example([0.5, math.nan, math.nan], 2, "validation_accuracy", 0.0)
def test_training_ends_when_the_patience_does(
    values: list[float], patience: int, monitor: str, min_delta: float
) -> None:
    """Ties, changes below min_delta and NaN are not improvements; losses fall, accuracies rise."""
    stopping = EarlyStopping(patience, monitor, min_delta=min_delta)
    sign = -1 if monitor == "validation_loss" else 1
    epochs = followed(stopping, values)
    assert epochs == defined(values, patience, sign, min_delta)
    assert stopping.stopped == (epochs - stopping.best_epoch == patience)
    assert stopping.best == values[stopping.best_epoch - 1]


@given(st.lists(few, min_size=2, max_size=9), st.integers(1, 3), st.data())
def test_a_state_that_comes_back_ends_training_after_the_same_epoch(
    values: list[float], patience: int, data: st.DataObject
) -> None:
    values = [0.5, *values]
    whole = EarlyStopping(patience, "validation_loss")
    epochs = followed(whole, values)
    before = data.draw(st.integers(1, epochs), "interrupted after")
    first = EarlyStopping(patience, "validation_loss")
    followed(first, values[:before])
    second = EarlyStopping(patience, "validation_loss")
    second.load_state_dict(first.state_dict())
    history = History([Epoch(i + 1, 0.0, validation_loss=v) for i, v in enumerate(values[:before])])
    for value in values[before:]:
        if second.stopped:
            break
        history.append(Epoch(len(history) + 1, 0.0, validation_loss=value))
        second.epoch(history)
    assert len(history) == epochs
    assert repr(second.state_dict()) == repr(whole.state_dict())


@pytest.mark.parametrize("name", ["accuracy", *METRICS])
def test_losses_fall_and_the_metrics_of_the_command_line_rise(name: str) -> None:
    for prefix in ("", "validation_"):
        assert EarlyStopping(1, prefix + "loss").mode == "min"
        assert EarlyStopping(1, prefix + name).mode == "max"
    assert EarlyStopping(1, "rmse", mode="min").mode == "min"


def test_a_metric_that_is_always_nan_is_no_best_and_said_once() -> None:
    stopping = EarlyStopping(3, "validation_accuracy")
    with pytest.warns(UserWarning, match="validation_accuracy is NaN in epoch 1") as said:
        assert followed(stopping, [math.nan] * 5) == 3
    assert len(said) == 1
    assert (stopping.best_epoch, stopping.weights) == (0, {})


# --- within fit --------------------------------------------------------------------------------


class Scripted(tg.nn.Module):
    """A model whose loss in the validation of epoch e is ``losses[e - 1]``."""

    def __init__(self, losses: Sequence[float]) -> None:
        self.weight = tg.nn.Parameter(np.zeros(1, "f4"))
        self.losses = losses
        self.epoch = 0

    def forward(self, x: Any) -> Any:
        self.epoch += self.training
        if self.training:
            return self.weight + np.ones((2, 2), "f4")
        return tg.Tensor(np.full((2, 2), self.losses[self.epoch - 1], "f4"))


def mean(outputs: tg.Tensor, labels: NDArray[Any]) -> tg.Tensor:
    return outputs.mean()


BATCH = (np.zeros((2, 1), "f4"), np.zeros(2, "i8"))


def trained(
    losses: Sequence[float], *callbacks: Callback, epochs: int = 8, history: History | None = None
) -> tuple[Scripted, History]:
    """Train: each epoch is one batch, after which the weight is minus its number."""
    model = Scripted(losses)
    optimizer = tg.optim.SGD(model.parameters(), lr=1.0)
    history = fit(
        model,
        mean,
        optimizer,
        [BATCH],
        epochs=epochs,
        validation=[BATCH],
        callbacks=callbacks,
        history=history,
    )
    return model, history


LOSSES = [0.5, 0.25, 0.75, 0.25, 1.0, 0.125, 0.5, 0.5]


@pytest.mark.parametrize(
    ("patience", "epochs", "restore", "weight", "own"),
    [
        (3, 5, False, -5, 5),  # the tie of epoch 4 is not an improvement
        (3, 5, True, -2, 2),  # of tied epochs, the first
        (4, 8, True, -6, 6),  # also if training ends by its number of epochs
        (4, 8, False, -8, 8),
    ],
)
def test_the_weights_at_the_end_are_the_last_or_with_restore_best_the_best(
    patience: int, epochs: int, restore: bool, weight: float, own: int
) -> None:
    stopping = EarlyStopping(patience, restore_best=restore)
    model, history = trained(LOSSES, stopping)
    assert len(history) == epochs
    assert model.weight.data.tolist() == [weight]
    assert model.epoch == own, "the model's own state goes with the weights"


def test_the_best_weights_are_a_file_with_epoch_metric_and_value(tmp_path: Path) -> None:
    path = tmp_path / "best.safetensors"
    seen = []

    class Look(Callback):
        def epoch(self, history: History) -> None:
            with safe_open(path, "numpy") as file:
                seen.append((file.metadata()["epoch"], file.get_tensor("weight").tolist()))
                assert file.metadata()["metric"] == "validation_loss"
                assert float(file.metadata()["value"]) == min(history.column("validation_loss"))

    best = BestWeights(path)
    model, _ = trained(LOSSES, best, Look())
    assert seen == [(str(e), [-e]) for e in (1, 2, 2, 2, 2, 6, 6, 6)]
    assert list(tmp_path.iterdir()) == [path]
    assert model.weight.data.tolist() == [-8]
    best.restore(model)
    assert model.weight.data.tolist() == tg.load(path)["weight"].tolist() == [-6]


def test_of_several_ranks_the_first_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for rank in (1, 0):
        monkeypatch.setattr(
            early_stopping, "connected", lambda rank=rank: SimpleNamespace(rank=rank)
        )
        best = BestWeights(tmp_path / str(rank))
        trained(LOSSES, best)
        assert best.best_epoch == 6
    assert [path.name for path in tmp_path.iterdir()] == ["0"]


@pytest.mark.parametrize("damage", [Path.unlink, lambda path: path.write_bytes(b"other")])
def test_a_resumed_training_writes_the_best_weights_again(tmp_path: Path, damage: Any) -> None:
    """The checkpoint has them: whatever happened to the file, it is what it would have been."""
    path = tmp_path / "best.safetensors"
    first = BestWeights(path)
    _, history = trained(LOSSES, first, epochs=2)
    expected = path.read_bytes()
    tg.save(tmp_path / "state", best=first)
    damage(path)
    second = BestWeights(path)
    second.load_state_dict(tg.load(tmp_path / "state")["best"])
    trained([9.0] * 3, second, epochs=3, history=history)
    assert path.read_bytes() == expected
    damage(path)
    second.load_state_dict(tg.load(tmp_path / "state")["best"])  # used already
    trained([], second, epochs=3, history=history)
    assert path.read_bytes() == expected
    damage(path)
    third = BestWeights(path)  # of a training that is complete
    third.load_state_dict(tg.load(tmp_path / "state")["best"])
    trained([], third, epochs=3, history=history)
    assert path.read_bytes() == expected


def test_a_resumed_training_whose_patience_is_at_an_end_trains_no_epoch() -> None:
    first = EarlyStopping(2)
    _, history = trained(LOSSES, first)
    assert len(history) == 4
    second = EarlyStopping(2)
    second.load_state_dict(first.state_dict())
    model, history = trained(LOSSES, second, history=history)
    assert (model.epoch, len(history)) == (0, 4)


def test_a_callback_begins_again_with_a_new_training() -> None:
    stopping = EarlyStopping(2, restore_best=True)
    for _ in range(2):
        model, history = trained(LOSSES, stopping)
        assert len(history) == 4
        assert model.weight.data.tolist() == [-2]


def test_f1_of_the_validation_set_chooses_the_weights() -> None:
    rng = np.random.default_rng(0)
    data = rng.normal(size=(60, 4)).astype("f4"), rng.integers(3, size=60)
    model = tg.nn.Linear(4, 3, rng=rng)
    kept: list[Any] = []

    class Keep(Callback):
        def epoch(self, history: History) -> None:
            kept.append(model.state_dict()["weight"])

    best = BestWeights(monitor="validation_f1")
    history = fit(
        model,
        tg.cross_entropy,
        tg.optim.SGD(model.parameters(), lr=2.0),
        DataLoader(data, 10),
        epochs=6,
        validation=DataLoader(data, 60),
        callbacks=[best, Keep()],
        metrics={"f1": F1Score()},
    )
    values = history.column("validation_f1")
    assert best.best == max(values)
    assert best.best_epoch == 1 + values.index(max(values))
    np.testing.assert_array_equal(best.weights["weight"], kept[best.best_epoch - 1])
    assert best.best_epoch not in (1, 6), "or this test could not tell"


# --- refusals ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"patience": 0}, "patience is 0, expected an integer >= 1"),
        ({"patience": 1, "min_delta": -1.0}, "min_delta is -1.0, expected"),
        ({"patience": 1, "mode": "smaller"}, "mode is 'smaller', expected one of 'min', 'max'"),
        ({"patience": 1, "monitor": "rmse"}, "mode is None; expected 'min' or 'max', because"),
        ({"patience": 1, "restore_best": 1}, "restore_best is 1, expected one of True, False"),
    ],
)
def test_a_bad_argument_is_refused(arguments: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match="EarlyStopping: ") as raised:
        EarlyStopping(**arguments)
    assert says in str(raised.value)


@pytest.mark.parametrize(
    ("monitor", "validated", "says"),
    [
        ("validation_loss", False, "fit has no validation set: give it one by fit(validation=...)"),
        ("validation_f1", True, 'fit does not measure it: add it by fit(metrics={"f1": ...})'),
        ("f1", False, 'fit does not measure it: add it by fit(metrics={"f1": ...})'),
        ("val_loss", True, "expected one of epoch, loss, accuracy, validation_loss"),
    ],
)
@pytest.mark.parametrize("kind", [BestWeights, EarlyStopping])
def test_a_metric_that_fit_does_not_measure_is_refused_before_training(
    kind: Any, monitor: str, validated: bool, says: str
) -> None:
    callback = kind(3, monitor) if kind is EarlyStopping else kind(monitor=monitor)
    model = Scripted([])
    with pytest.raises(ValueError, match=f"{kind.__name__}: monitor is '{monitor}'") as raised:
        fit(
            model,
            mean,
            tg.optim.SGD(model.parameters(), lr=1.0),
            [BATCH],
            epochs=1,
            validation=[BATCH] if validated else None,
            callbacks=[callback],
        )
    assert says in str(raised.value)
    assert model.epoch == 0


def test_a_state_of_another_metric_is_refused() -> None:
    other = EarlyStopping(1, "validation_accuracy")
    with pytest.raises(ValueError, match=r"load_state_dict: monitor and mode are \('validation_a"):
        EarlyStopping(1).load_state_dict(other.state_dict())
