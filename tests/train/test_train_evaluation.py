"""The evaluation: loss, accuracy and confusion matrix."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from numpy.typing import NDArray
from support.small_sets import Broken, linear, made

import tinygrad_cnn as tg
from tinygrad_cnn.data import DataLoader
from tinygrad_cnn.train import (
    Evaluation,
    evaluate,
    fit,
)


@given(st.integers(1, 30), st.integers(1, 12), st.integers(2, 5), st.integers(0, 99))
def test_an_evaluation_is_over_all_examples_however_they_are_batched(
    count: int, batch_size: int, classes: int, seed: int
) -> None:
    images, labels = made(count, classes, seed)
    model = linear(classes)
    result = evaluate(model, DataLoader((images, labels), batch_size))
    outputs = model(tg.Tensor(images))
    taken = outputs.data.argmax(axis=1)
    assert result.loss == pytest.approx(tg.cross_entropy(outputs, labels).item(), rel=1e-5)
    assert result.accuracy == pytest.approx((taken == labels).mean())
    for i in range(classes):
        for j in range(classes):
            assert result.confusion[i, j] == ((labels == i) & (taken == j)).sum()
    assert result.mistakes == (taken != labels).sum()


INTEGERS = ["i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", ">i2", ">u4", ">i8"]


class Given(tg.nn.Module):
    """Returns its input: the images are the outputs."""

    def forward(self, x: tg.Tensor) -> tg.Tensor:
        return x


def some_loss(outputs: tg.Tensor, labels: NDArray[Any]) -> tg.Tensor:
    return outputs.sum() * 0.0


@given(st.sampled_from(INTEGERS), st.integers(2, 300), st.integers(1, 400), st.integers(0, 99))
@example("u1", 47, 400, 0)
@example("i1", 47, 400, 0)
@example("u8", 3, 5, 0)
def test_labels_of_every_integer_type_are_counted_as_python_counts(
    dtype: str, classes: int, count: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    classes = min(classes, np.iinfo(dtype).max)
    labels = rng.integers(classes, size=count).astype(dtype)
    outputs = rng.normal(size=(count, classes)).astype("f4")
    perfect = tg.one_hot(labels.astype(int), classes)
    assert evaluate(Given(), [(perfect, labels)], some_loss).accuracy == 1.0
    result = evaluate(Given(), [(outputs[:9], labels[:9]), (outputs[9:], labels[9:])], some_loss)
    taken = [row.index(max(row)) for row in outputs.tolist()]
    pairs = list(zip(labels.tolist(), taken, strict=True))
    assert result.accuracy == sum(a == b for a, b in pairs) / count
    assert result.confusion.sum() == count
    for i, j in set(pairs):
        assert result.confusion[i, j] == pairs.count((i, j))


@given(
    st.sampled_from(
        [
            "regression",
            "several labels",
            "no label",
            "soft",
            "one and halves",
            "out of range",
            "one output",
        ]
    ),
    st.integers(2, 5),
    st.booleans(),
    st.integers(0, 99),
)
def test_targets_that_are_no_classes_get_no_accuracy(
    kind: str, classes: int, last: bool, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    outputs = rng.normal(size=(6, classes)).astype("f4")
    one_hot = tg.one_hot(rng.integers(classes, size=6), classes)
    targets = one_hot.copy()
    match kind:
        case "regression":
            targets[:] = rng.normal(size=targets.shape)
        case "several labels":
            targets[3] = 1.0
        case "no label":
            targets[3] = 0.0
        case "soft":
            targets[3] = 1.0 / classes
        case "one and halves":
            targets[3] = np.maximum(targets[3], 0.5)
        case "out of range":
            one_hot = targets = rng.integers(classes, size=6)
            targets = np.where(np.arange(6) == 3, classes, targets)
        case "one output":
            outputs, one_hot = outputs[:, :1], one_hot[:, 0].astype(int)
            targets = one_hot
    batches = [(outputs, one_hot), (outputs, targets)]
    result = evaluate(Given(), batches if last else batches[::-1], some_loss)
    assert math.isnan(result.accuracy)
    assert result.confusion.shape == (0, 0)
    model = Given()
    model.weight = tg.nn.Parameter(np.ones(1, "f4"))
    optimizer = tg.optim.SGD(model.parameters(), lr=0.1)
    history = fit(model, lambda y, t: (model.weight * 0.0).sum(), optimizer, batches, epochs=1)
    assert math.isnan(history[0].accuracy)


def test_outputs_of_nan_are_counted_for_no_class() -> None:
    model = linear()
    model.load_state_dict({k: np.full_like(a, np.nan) for k, a in model.state_dict().items()})
    assert math.isnan(evaluate(model, [made()]).accuracy)


def test_one_hot_labels_count_as_classes() -> None:
    images, labels = made()
    model = linear()
    hot = tg.one_hot(labels, 3)
    assert evaluate(model, [(images, hot)]).accuracy == evaluate(model, [(images, labels)]).accuracy


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("dtype", ["i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8"])
def test_labels_of_any_integer_dtype_are_counted_as_they_are(dtype: str, order: str) -> None:
    """Class times number of classes, in uint8, gives a perfect model of 47 classes 0.36."""
    labels = np.arange(47)
    outputs = np.eye(47, dtype="f4") * 9

    class Perfect(tg.nn.Module):
        def forward(self, x: Any) -> Any:
            return tg.Tensor(outputs)

    given = labels.astype(order + dtype)
    result = evaluate(Perfect(), [(outputs, given)])
    assert result.accuracy == 1.0
    assert result.loss == pytest.approx(evaluate(Perfect(), [(outputs, labels)]).loss)
    ((_, batch),) = DataLoader((outputs, given), None)
    np.testing.assert_array_equal(batch, labels)
    assert batch.dtype == np.int64


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_images_of_the_other_byte_order_train_as_their_numbers(dtype: str) -> None:
    images, labels = made()
    histories = []
    for order in "<>":
        with tg.default_dtype(dtype):
            model = linear()
        loader = DataLoader((images.astype(order + dtype), labels), 5)
        optimizer = tg.optim.SGD(model.parameters(), lr=0.1)
        fit(model, tg.cross_entropy, optimizer, loader, epochs=1)
        evaluate(model, [(images.astype(order + dtype), labels)])
        histories.append(model.weight.data)
    np.testing.assert_array_equal(*histories)


def test_targets_that_are_no_classes_have_no_accuracy() -> None:
    images, _ = made()
    result = evaluate(linear(1), [(images, np.zeros((20, 1), "f4"))], tg.mse)
    assert math.isnan(result.accuracy)
    assert result.confusion.shape == (0, 0)
    assert result.worst_pairs() == []


def test_evaluating_changes_and_records_nothing() -> None:
    rng = np.random.default_rng(0)
    model = tg.nn.Sequential(
        tg.nn.Conv2d(1, 2, 3, rng=rng),
        tg.nn.BatchNorm2d(2),
        tg.nn.Dropout(0.5, rng=rng),
        tg.nn.Flatten(),
        tg.nn.Linear(8, 3, rng=rng),
    )
    before, drawn = model.state_dict(), rng.bit_generator.state
    nodes: list[Any] = []

    def loss(outputs: tg.Tensor, labels: NDArray[Any]) -> tg.Tensor:
        nodes.append(outputs.node)
        return tg.cross_entropy(outputs, labels)

    images = np.ones((4, 1, 4, 4), "f4")
    evaluate(model, [(images, np.zeros(4, np.int64))], loss)
    assert nodes == [None]
    assert rng.bit_generator.state == drawn
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(array, before[name])
    assert all(module.training for module in model.modules())


def test_the_mode_is_restored_after_an_error() -> None:
    model = Broken(4, 3, rng=np.random.default_rng(0))
    with pytest.raises(RuntimeError, match="broken"):
        evaluate(model, [made()])
    assert model.training


def test_no_example_cannot_be_evaluated() -> None:
    with pytest.raises(ValueError, match="evaluate: the loader is empty"):
        evaluate(linear(), [])


def test_the_worst_pairs_come_first_and_hits_are_none() -> None:
    confusion = np.array([[9, 1, 0], [3, 9, 1], [0, 0, 9]])
    result = Evaluation(0.0, 27 / 32, confusion)
    assert result.worst_pairs() == [(1, 0, 3), (0, 1, 1), (1, 2, 1)]
    assert result.worst_pairs(most=1) == [(1, 0, 3)]
    assert Evaluation(0.0, 1.0, np.eye(3, dtype=int)).worst_pairs() == []
