"""Columns that callbacks add, and logs: JSON Lines and TensorBoard."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

import tinygrad_cnn as tg
from tinygrad_cnn.train import Callback, F1Score, History, Progress, TrainingDiverged, fit


def batches(seed: int = 0) -> list[Any]:
    rng = np.random.default_rng(seed)
    return [(rng.normal(size=(8, 4)).astype("f4"), rng.integers(3, size=8)) for _ in range(2)]


def fitted(*callbacks: Callback, epochs: int = 2, lr: float = 0.1, **chosen: Any) -> History:
    model = tg.nn.Linear(4, 3, rng=np.random.default_rng(0))
    optimizer = tg.optim.SGD(model.parameters(), lr=lr)
    return fit(
        model, tg.cross_entropy, optimizer, batches(),
        epochs=epochs, callbacks=callbacks, **chosen,
    )  # fmt: skip


class Adds(Callback):
    """Adds columns with these values after each epoch."""

    def __init__(self, *values: Any, name: Any = "own") -> None:
        self.values, self.name = list(values), name
        self.metrics: Any = {name: values[0]}
        self.told: list[Any] = []

    def start(self, model: Any, columns: Sequence[str], history: History, epochs: int) -> None:
        self.told.append(("start", columns[-1], len(history), epochs))

    def batch(self, progress: Progress) -> None:
        self.metrics = {self.name: self.values[progress.epoch - 1]}

    def exception(self, history: History, error: BaseException) -> None:
        self.told.append((len(history), error))


def test_the_metrics_of_callbacks_are_columns_of_the_history() -> None:
    adds = Adds(np.float32(0.5), 3), Adds(-math.inf, math.nan, name="other")
    history = fitted(*adds, validation=batches(1), metrics={"f1": F1Score()})
    assert history.columns[-4:] == ("f1", "validation_f1", "own", "other")
    assert history.column("own") == [0.5, 3.0]
    assert repr(history.column("other")) == "[-inf, nan]"
    assert adds[0].told == [("start", "other", 0, 2)]


@pytest.mark.parametrize(
    ("adds", "says"),
    [
        ([Adds(0.5, name="loss")], "Adds.metrics: 'loss' is no new column; there are epoch, loss,"),
        ([Adds(0.5, name="f1")], "'f1' is no new column"),
        ([Adds(0.5), Adds(0.5)], "'own' is no new column"),
        ([Adds(0.5, name=3)], "3 is no new column"),
        ([Adds("high")], r"fit: Adds.metrics\['own'\] is 'high', expected a number"),
        ([Adds(0.5, True)], r"fit: Adds.metrics\['own'\] is True, expected a number"),
    ],
)
def test_a_metric_that_is_no_column_is_refused(adds: list[Adds], says: str) -> None:
    with pytest.raises((ValueError, TypeError), match=says):
        fitted(*adds, metrics={"f1": F1Score()})


def test_a_callback_cannot_change_the_names_of_its_metrics() -> None:
    class Changes(Adds):
        def batch(self, progress: Progress) -> None:
            self.metrics = {"new": 0.5}

    with pytest.raises(ValueError, match="were own at the start, and are new now"):
        fitted(Changes(0.5))


def test_every_callback_hears_of_the_exception_that_is_raised() -> None:
    class Broken(Adds):
        def exception(self, history: History, error: BaseException) -> None:
            super().exception(history, error)
            raise OSError("the disk is full")

    first, second = Broken(0.5, 0.5), Adds(0.5, 0.5, name="other")
    with pytest.raises(TrainingDiverged, match="training diverged") as raised:
        fitted(first, second, lr=3e38)
    assert first.told[1:] == second.told[1:] == [(0, raised.value)]
    assert raised.value.__notes__ == ["Broken.exception raised OSError: the disk is full"]
