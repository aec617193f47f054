"""Metrics against scikit-learn's definitions written out; their way into history and CSV."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

import tinygrad_cnn as tg
from tinygrad_cnn.data import DataLoader, MixUp
from tinygrad_cnn.train import (
    METRICS,
    Accuracy,
    Epoch,
    F1Score,
    History,
    JaccardIndex,
    Metric,
    Precision,
    Recall,
    TopKAccuracy,
    evaluate,
    fit,
)

Array = NDArray[Any]


class Given(tg.nn.Module):
    """Returns its input as outputs."""

    def forward(self, x: Any) -> Any:
        return x


def some_loss(outputs: tg.Tensor, labels: Any) -> tg.Tensor:
    return (outputs * 0).sum()


def measured(metric: Any, batches: Any) -> float:
    batches = [(np.asarray(outputs, np.float64), np.asarray(labels)) for outputs, labels in batches]
    return evaluate(Given(), batches, some_loss, {"it": metric}).metrics["it"]


def of_class(label: int, actual: list[int], predicted: list[int]) -> tuple[int, int, int]:
    pairs = list(zip(actual, predicted, strict=True))
    hits = pairs.count((label, label))
    return hits, predicted.count(label) - hits, actual.count(label) - hits


DEFINITIONS = {  # of true positives, false positives, false negatives
    Precision: lambda tp, fp, fn: (tp, tp + fp),
    Recall: lambda tp, fp, fn: (tp, tp + fn),
    F1Score: lambda tp, fp, fn: (2 * tp, 2 * tp + fp + fn),
    JaccardIndex: lambda tp, fp, fn: (tp, tp + fp + fn),
}


@pytest.mark.parametrize("kind", DEFINITIONS)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=30))
def test_an_average_is_that_of_the_definition(kind: Any, pairs: list[tuple[int, int]]) -> None:
    actual, predicted = map(list, zip(*pairs, strict=True))
    cut = len(pairs) // 2
    outputs, labels = np.eye(5)[predicted], np.array(actual)
    batches = [(outputs[:cut], labels[:cut]), (outputs[cut:], labels[cut:])][cut == 0 :]
    seen = sorted({*actual, *predicted})
    parts = [DEFINITIONS[kind](*of_class(label, actual, predicted)) for label in seen]
    values = [part / whole if whole else 0 for part, whole in parts]
    weights = [actual.count(label) for label in seen]
    expected = {
        "macro": sum(values) / len(values),
        "micro": sum(part for part, _ in parts) / sum(whole for _, whole in parts),
        "weighted": np.dot(values, weights) / sum(weights),
    }
    for average, value in expected.items():
        assert measured(kind(average), batches) == pytest.approx(value)


@given(
    st.integers(1, 6),
    st.integers(2, 5),
    st.integers(1, 12),
    st.sampled_from([(), (2, 3)]),
    st.integers(0, 99),
)
def test_top_k_is_the_place_in_the_sorted_outputs(
    k: int, classes: int, count: int, positions: tuple[int, ...], seed: int
) -> None:
    rng = np.random.default_rng(seed)
    outputs = rng.integers(4, size=(count, classes, *positions)).astype(float)  # many are equal
    labels = rng.integers(classes, size=(count, *positions))
    rows = np.moveaxis(outputs, 1, -1).reshape(-1, classes)
    hits = [
        label in np.argsort(-row, kind="stable")[:k]
        for row, label in zip(rows, labels.ravel(), strict=True)
    ]
    assert measured(TopKAccuracy(k), [(outputs, labels)]) == pytest.approx(np.mean(hits))
    first = evaluate(Given(), [(outputs, labels)], some_loss, {"top": TopKAccuracy(1)})
    assert first.accuracy == pytest.approx(first.metrics["top"])


def test_pixels_of_a_segmentation_are_counted_and_void_is_left_out() -> None:
    rng = np.random.default_rng(0)
    outputs = rng.normal(size=(3, 4, 5, 6))
    masks = rng.integers(4, size=(3, 5, 6))
    predicted = outputs.argmax(axis=1)
    result = evaluate(Given(), [(outputs, masks)], some_loss)
    assert result.accuracy == pytest.approx((predicted == masks).mean())
    for i in range(4):
        for j in range(4):
            assert result.confusion[i, j] == ((masks == i) & (predicted == j)).sum()
    void = masks.copy()
    void[:, 2] = 255
    seen = void != 255
    assert measured(Accuracy(255), [(outputs, void)]) == pytest.approx(
        (predicted == masks)[seen].mean()
    )
    unions = [((masks == c) | (predicted == c))[seen].sum() for c in range(4)]
    both = [((masks == c) & (predicted == c))[seen].sum() for c in range(4)]
    iou = measured(JaccardIndex(ignore_index=255), [(outputs, void)])
    assert iou == pytest.approx(np.mean(np.divide(both, unions)))
    with pytest.raises(ValueError, match="JaccardIndex: a label is 255, expected 0 to 3") as raised:
        measured(JaccardIndex(), [(outputs, void)])
    assert raised.value.__notes__ == ["raised by the metric 'it'", "evaluate: raised in batch 1"]
    ignored = np.where(seen, masks, -100)  # as cross_entropy leaves it out
    assert evaluate(Given(), [(outputs, ignored)], some_loss).confusion.sum() == seen.sum()
    hot = np.eye(4)[masks].transpose(0, 3, 1, 2)
    assert measured(Accuracy(), [(outputs, hot)]) == pytest.approx(result.accuracy)


@pytest.mark.parametrize("shape", [(40,), (40, 1), (10, 1, 2, 2)])
def test_one_logit_is_two_classes(shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(1)
    outputs, labels = rng.normal(size=shape), rng.integers(2, size=shape)
    hits = ((outputs > 0) & (labels == 1)).sum()
    expected = hits / (outputs > 0).sum()
    for targets in (labels, labels.astype(np.float32), labels.astype(bool)):
        assert measured(Precision("binary"), [(outputs, targets)]) == pytest.approx(expected)
    assert measured(Accuracy(), [(outputs, labels)]) == pytest.approx(
        ((outputs > 0) == labels).mean()
    )


def test_a_class_that_is_never_predicted_counts_as_0_and_an_absent_one_not() -> None:
    outputs, labels = np.eye(4)[[0, 0, 1]], np.array([0, 2, 1])
    assert measured(Precision(), [(outputs, labels)]) == pytest.approx((1 / 2 + 1 + 0) / 3)


class Largest(Metric):
    def count(self, outputs: Array, labels: Array) -> Array:
        return np.eye(9)[int(labels.max())]

    def value(self, counts: Array) -> float:
        return float(np.flatnonzero(counts).max())


def test_own_functions_and_metrics_are_in_history_and_csv(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    images, labels = rng.normal(size=(30, 4)).astype("f4"), rng.integers(3, size=30)
    metrics = {
        "top2": TopKAccuracy(2),
        "largest": Largest(),
        "margin": lambda outputs, labels: np.ptp(outputs, axis=1).mean(),
    }
    model = tg.nn.Linear(4, 3, rng=rng)
    optimizer = tg.optim.SGD(model.parameters(), lr=0.1)
    loader = DataLoader((images, labels), 8)
    history = fit(
        model, tg.cross_entropy, optimizer, loader, epochs=2, validation=loader, metrics=metrics
    )
    row = history[-1].metrics
    assert list(row) == [*metrics, *(f"validation_{name}" for name in metrics)]
    outputs = model(tg.Tensor(images)).numpy()
    assert row["validation_margin"] == pytest.approx(
        float(np.ptp(outputs, axis=1).mean()), rel=1e-6
    )
    assert (row["largest"], row["validation_largest"]) == (2, 2)
    assert history.column("validation_top2")[-1] == row["validation_top2"]
    assert evaluate(model, loader, metrics=metrics).metrics["margin"] == row["validation_margin"]
    fit(model, tg.cross_entropy, optimizer, loader, epochs=3, history=history)  # without them
    assert math.isnan(history.column("margin")[-1])
    history.to_csv(tmp_path / "history.csv")
    again = History.from_csv(tmp_path / "history.csv")
    assert again == history
    assert again.columns == history.columns
    assert again.column("margin")[:2] == history.column("margin")[:2]
    header = (tmp_path / "history.csv").read_text().splitlines()[0]
    assert header.endswith("images_per_second,top2,largest,margin,validation_top2,"
                           "validation_largest,validation_margin")  # fmt: skip


def nothing(outputs: Any, labels: Any) -> Any:
    return None


class Broken(Metric):
    def count(self, outputs: Any, labels: Any) -> Any:
        return np.array([1.0, 2.0])

    def value(self, counts: Any) -> Any:
        return counts


@pytest.mark.parametrize(
    ("metric", "function", "came"),
    [
        (nothing, nothing, "nothing returned None"),
        (Broken(), Broken.value, r"Broken\.value returned an array of shape \(2,\)"),
    ],
)
def test_a_metric_that_is_no_number_is_named_with_its_line(
    metric: Any, function: Any, came: str
) -> None:
    line = function.__code__.co_firstlineno
    with pytest.raises(TypeError, match=rf"test_train_metrics\.py:{line}: {came}, expected a num"):
        measured(metric, [(np.eye(3), np.array([0, 1, 2]))])


def test_mixed_labels_have_no_metric_of_classes_but_validation_has() -> None:
    images, labels = np.ones((12, 1, 2, 2), "f4"), np.arange(12) % 3
    model = tg.nn.MLP((4, 3), rng=np.random.default_rng(0))
    optimizer = tg.optim.SGD(model.parameters(), lr=0.1)
    loader = DataLoader((images, labels), 6, batch_transform=MixUp(num_classes=3))
    history = fit(
        model,
        tg.cross_entropy,
        optimizer,
        loader,
        epochs=1,
        validation=[(images, labels)],
        metrics=METRICS,
    )
    for name in METRICS:
        assert math.isnan(history[0].metrics[name])
        assert 0 <= history[0].metrics[f"validation_{name}"] <= 1


@pytest.mark.parametrize(
    ("metrics", "error", "message"),
    [
        (["top5"], TypeError, "evaluate: metrics are a list; expected a dict"),
        ({"top5": 5}, TypeError, "evaluate: metrics['top5'] is 5; expected a Metric, or a"),
        ({"top5": TopKAccuracy}, TypeError, "expected a Metric, or a function"),
        ({"loss": TopKAccuracy()}, ValueError, "a metric has the name 'loss'; expected a name"),
        ({"validation_x": TopKAccuracy()}, ValueError, "does not start with validation_"),
    ],
)
def test_what_is_no_metric_is_refused(metrics: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=re.escape(message)):
        evaluate(Given(), [], metrics=metrics)


@pytest.mark.parametrize(
    ("metric", "outputs", "labels", "message"),
    [
        (F1Score(), np.zeros((2, 3)), [0.5, 1], "F1Score: outputs have shape (2, 3) and labels"),
        (F1Score(), np.zeros((2, 3)), [0, 3], "F1Score: a label is 3, expected 0 to 2, or -100"),
        (F1Score(), np.zeros((2, 1)), [0, 2], "labels of one logit have other values than 0 and"),
        (F1Score(), np.zeros((2, 1)), [0, 1, 1], "F1Score: outputs have shape (2, 1) and labels"),
        (F1Score("binary"), np.zeros((2, 3)), [0, 1], "average is 'binary' but there are 3 cl"),
        (TopKAccuracy(), np.zeros((2, 1)), [0, 1], "outputs have shape (2, 1); expected one per"),
    ],
)
def test_labels_that_do_not_match_are_refused(
    metric: Metric, outputs: Array, labels: Any, message: str
) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        measured(metric, [(outputs, labels)])
    with pytest.raises(ValueError, match="average is 'mean', expected one of"):
        F1Score("mean")
    with pytest.raises(ValueError, match="k is 0"):
        TopKAccuracy(0)


def test_a_base_class_has_no_metric() -> None:
    for call in (
        lambda: Metric().count(np.zeros(1), np.zeros(1)),
        lambda: Metric().value(np.zeros(1)),
    ):
        with pytest.raises(NotImplementedError, match="Metric has no"):
            call()
    assert Epoch(1, 0.5, metrics={"x": math.nan}).as_dict()["x"] is None
