"""Errors of the training loop: values that are not finite, bad arguments, notes of exceptions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from support.small_sets import Arrays, linear, made

import tinygrad_cnn as tg
from tinygrad_cnn.data import DataError, DataLoader, WeightedRandomSampler
from tinygrad_cnn.train import (
    Callback,
    History,
    Progress,
    TrainingDiverged,
    evaluate,
    fit,
)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_loss_that_is_not_finite_stops_the_training_before_the_step(bad: float) -> None:
    images, labels = made()
    model, history = linear(), History()
    seen: list[int] = []
    optimizer = tg.optim.SGD(model.parameters(), lr=0.25)

    class Loader:
        epoch = 0

        def __iter__(self) -> Iterator[Arrays]:
            self.epoch += 1
            yield images, labels
            yield images, labels

    def loss(outputs: tg.Tensor, labels: NDArray[Any]) -> tg.Tensor:
        seen.append(len(seen))
        error = tg.cross_entropy(outputs, labels)
        return error if len(seen) < 6 else error * bad

    with pytest.raises(
        TrainingDiverged, match=r"try a smaller learning rate, such as 0\.0"
    ) as stop:
        fit(model, loss, optimizer, Loader(), epochs=5, history=history)
    assert f"the loss is {bad} in epoch 3, batch 2, at learning rate 0.25" in str(stop.value)
    assert (stop.value.epoch, stop.value.batch, stop.value.learning_rate) == (3, 2, 0.25)
    assert len(history) == 2
    assert np.isfinite(model.weight.data).all()


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("part", ["images", "labels"])
@pytest.mark.parametrize("place", ["training", "validation"])
def test_data_that_are_not_finite_are_named_and_no_learning_rate_is_blamed(
    bad: float, part: str, place: str
) -> None:
    arrays = {"images": made()[0], "labels": np.zeros((20, 3), "f4")}
    good = tuple(arrays.values())
    arrays[part] = arrays[part].copy()
    arrays[part][7, 2] = bad
    batches = [good, tuple(arrays.values())]
    loader, validation = (batches, [good]) if place == "training" else ([good], batches)
    model, history = linear(), History()
    optimizer = tg.optim.SGD(model.parameters(), lr=0.01)

    def loss(outputs: tg.Tensor, targets: NDArray[Any]) -> tg.Tensor:
        return tg.mse(outputs * 0.0 if bad == np.inf else outputs, targets) * 0.0

    with (
        np.errstate(invalid="ignore"),
        pytest.raises(DataError, match=rf"batch 2: {part}\[7, 2\] is {bad}; expected finite"),
    ):
        fit(model, loss, optimizer, loader, epochs=1, validation=validation, history=history)
    assert not history
    assert np.isfinite(model.weight.data).all()


@pytest.mark.parametrize("kind", ["shuffled", "sampler", "in order", "evaluate", "iterable"])
def test_an_example_that_is_not_finite_is_named_by_its_number_in_the_set(kind: str) -> None:
    """Of a set that makes its examples when asked: of arrays, the loader itself refuses them."""
    images, labels = made()
    images[13, 2] = np.nan
    options: dict[str, Any] = {
        "shuffled": {"shuffle": True, "seed": 3},
        "sampler": {"sampler": WeightedRandomSampler(np.arange(20) >= 12, 30)},
        "iterable": {"sampler": list(range(20))},
    }.get(kind, {})
    loader = DataLoader(list(zip(images, labels, strict=True)), batch_size=4, **options)
    model = linear()
    optimizer = tg.optim.SGD(model.parameters(), lr=0.01)
    with np.errstate(invalid="ignore"), pytest.raises(DataError, match=r"batch \d+: ima") as raised:
        if kind == "evaluate":
            evaluate(model, loader)
        else:
            fit(model, tg.cross_entropy, optimizer, loader, epochs=1)
    named = "(example 13) is nan; expected finite numbers" in str(raised.value)
    assert named == (kind != "iterable")
    assert not hasattr(raised.value, "__notes__"), "the message says where"


def test_a_validation_loss_of_nan_is_reported() -> None:
    model, history = linear(), History()
    optimizer = tg.optim.SGD(model.parameters(), lr=0.25)

    def loss(outputs: tg.Tensor, labels: NDArray[Any]) -> tg.Tensor:
        error = tg.cross_entropy(outputs, labels)
        return error if model.training or len(history) < 1 else error * np.nan

    with pytest.raises(
        TrainingDiverged, match="the validation loss is NaN or infinite in epoch 2, batch 1"
    ):
        fit(model, loss, optimizer, [made()], epochs=5, validation=[made()], history=history)
    assert len(history) == 1


def test_a_weight_that_is_not_finite_is_noticed_at_the_end_of_the_epoch() -> None:
    model, history = linear(), History()
    optimizer = tg.optim.SGD(model.parameters(), lr=1e39)
    with pytest.raises(
        TrainingDiverged, match="a parameter is NaN or infinite in epoch 1, batch 1"
    ):
        fit(model, tg.cross_entropy, optimizer, [made()], epochs=1, history=history)
    assert not history


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"epochs": 0}, "epochs is 0, expected an integer >= 1"),
        ({"epochs": 1.5}, "epochs is 1.5, expected an integer"),
        ({"loader": []}, "the loader has no batch in epoch 1"),
        (
            {"loss": lambda y, t: y},
            "the loss function returned shape (20, 3); expected a Tensor of one element",
        ),
        (
            {"loss": lambda y, t: 1.0},
            "the loss function returned float; expected a Tensor of one element",
        ),
    ],
)
def test_what_cannot_be_trained_is_refused(change: dict[str, Any], says: str) -> None:
    model = linear()
    arguments: dict[str, Any] = {
        "model": model,
        "loss": tg.cross_entropy,
        "optimizer": tg.optim.SGD(model.parameters(), lr=0.1),
        "loader": [made()],
        "epochs": 1,
    }
    with pytest.raises(ValueError, match=r"expected|no batch") as raised:
        fit(**{**arguments, **change})
    assert says in str(raised.value)


# --- the notes of an exception -----------------------------------------------------------------


class Fails(tg.nn.Module):
    """A model that fails at its n-th call in train or eval mode."""

    def __init__(self, n: int, training: bool) -> None:
        self.linear = linear()
        self.left, self.when = n, training

    def forward(self, x: Any) -> Any:
        self.left -= self.training == self.when
        if not self.left:
            raise KeyError("broken")
        return self.linear(x)


def noted_by(model: tg.nn.Module, **change: Any) -> list[str]:
    arguments: dict[str, Any] = {
        "loss": tg.cross_entropy,
        "optimizer": tg.optim.SGD(model.parameters(), lr=0.1),
        "loader": [made(), made()],
        "validation": [made(), made()],
        "epochs": 3,
        **change,
    }
    with pytest.raises(KeyError) as raised:
        fit(model, **arguments)
    return list(raised.value.__notes__)


def test_an_exception_of_the_model_keeps_its_type_and_names_batch_and_line() -> None:
    number = Fails.forward.__code__.co_firstlineno + 3
    line = f'{__file__}:{number}, in forward: raise KeyError("broken")'
    model = Fails(3, False)
    with pytest.raises(KeyError) as raised:
        evaluate(model, [made()] * 4)
    assert raised.value.__notes__ == [f"evaluate: raised in batch 3, at {line}"]
    assert noted_by(Fails(4, True)) == [f"fit: raised in epoch 2, batch 2, at {line}"]
    assert noted_by(Fails(3, False)) == [
        f"evaluate: raised in batch 1, at {line}",
        "fit: raised at the end of epoch 2",
    ]


@pytest.mark.parametrize(
    ("where", "place"),
    [("batch", "in epoch 2, batch 1"), ("epoch", "at the end of epoch 2"), ("load", "2, batch 2")],
)
def test_an_exception_of_a_callback_or_the_loader_is_placed(where: str, place: str) -> None:
    class Odd(Callback):
        def batch(self, progress: Progress) -> None:
            if where == "batch" and progress.epoch == 2:
                raise KeyError(where)

        def epoch(self, history: History) -> None:
            if where == "epoch" and len(history) == 2:
                raise KeyError(where)

    class Loader:
        epoch = 0

        def __iter__(self) -> Iterator[Arrays]:
            self.epoch += 1
            yield made()
            if where == "load" and self.epoch == 2:
                raise KeyError(where)

    (note,) = noted_by(linear(), loader=Loader(), callbacks=[Odd()])
    assert f"{place}, at {__file__}:" in note
    assert note.endswith("raise KeyError(where)")
