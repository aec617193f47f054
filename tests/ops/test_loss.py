"""Losses by their formulas, every reduction and form of target."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special
from support.compare import assert_close

import tinygrad_cnn as tg
from tinygrad_cnn.check import check_gradients
from tinygrad_cnn.check.strategies import arrays, labels, shapes

reductions = st.sampled_from(["mean", "sum", "none"])
REDUCE: dict[str, Any] = {"mean": np.mean, "sum": np.sum, "none": lambda losses: losses}


def test_squared_error_sums_by_default_and_mse_averages() -> None:
    p, t = np.array([1.0, 2.0]), np.zeros(2)
    assert tg.squared_error(p, t) == 2.5
    assert tg.mse(p, t) == 2.5


logits_and_labels = shapes(min_dims=1).flatmap(
    lambda shape: st.tuples(arrays(shape), labels(shape[:-1], shape[-1]))
)


@given(drawn=logits_and_labels, reduction=reductions)
def test_cross_entropy_picks_the_negative_log_softmax_of_the_label(
    drawn: tuple[np.ndarray, np.ndarray], reduction: str
) -> None:
    logits, labels = drawn
    log_p = special.log_softmax(logits, axis=-1)
    losses = np.zeros(labels.shape)
    for k in np.ndindex(labels.shape):
        losses[k] = -log_p[k][labels[k]]
    value = tg.cross_entropy(logits, labels, reduction, axis=-1)
    assert_close(value, REDUCE[reduction](losses), "cross_entropy", 1e-14)


@given(drawn=logits_and_labels, reduction=reductions, smoothing=st.sampled_from([0.0, 0.1, 1.0]))
def test_one_hot_rows_and_labels_mean_the_same(
    drawn: tuple[np.ndarray, np.ndarray], reduction: str, smoothing: float
) -> None:
    logits, labels = drawn
    one_hot = np.eye(logits.shape[-1])[labels]
    results = []
    for target in (labels, labels.astype(np.uint8), labels.tolist(), one_hot, tg.Tensor(one_hot)):
        leaf = tg.Tensor(logits, requires_grad=True)
        value = tg.cross_entropy(leaf, target, reduction, smoothing, axis=-1)
        results.append((value.numpy(), tg.grad(value.sum(), leaf)[0]))
    for value, gradient in results[1:]:
        np.testing.assert_allclose(value, results[0][0], rtol=1e-14, atol=1e-15)
        np.testing.assert_allclose(gradient, results[0][1], rtol=1e-14, atol=1e-15)


@given(drawn=logits_and_labels, smoothing=st.sampled_from([0.0, 0.1, 0.5, 1.0]))
def test_label_smoothing_mixes_in_the_uniform_distribution(
    drawn: tuple[np.ndarray, np.ndarray], smoothing: float
) -> None:
    logits, labels = drawn
    log_p = special.log_softmax(logits, axis=-1)
    hard = -np.take_along_axis(log_p, labels[..., None], -1)[..., 0]
    expected = (1 - smoothing) * hard + smoothing * -log_p.mean(axis=-1)
    value = tg.cross_entropy(logits, labels, "none", smoothing, axis=-1)
    assert_close(value, expected, "cross_entropy", 1e-13)


@given(drawn=logits_and_labels)
def test_cross_entropy_gradient_is_softmax_less_target(
    drawn: tuple[np.ndarray, np.ndarray],
) -> None:
    logits, labels = drawn
    leaf = tg.Tensor(logits, requires_grad=True)
    (gradient,) = tg.grad(tg.cross_entropy(leaf, labels, "sum", axis=-1), leaf)
    expected = special.softmax(logits, axis=-1) - np.eye(logits.shape[-1])[labels]
    assert_close(gradient, expected, "gradient", 1e-14)


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_cross_entropy_is_finite_at_extreme_logits(dtype: str) -> None:
    leaf = tg.Tensor(np.array([[-1e4, 1e4], [1e4, -1e4]], dtype), requires_grad=True)
    value = tg.cross_entropy(leaf, [0, 0], "none")
    np.testing.assert_array_equal(value.numpy(), [2e4, 0])
    np.testing.assert_array_equal(tg.grad(value.sum(), leaf)[0], [[-1, 1], [0, 0]])


def test_float64_targets_beside_float32_logits_stay_float32() -> None:
    logits = tg.Tensor([[1.0, 2.0]], requires_grad=True)
    value = tg.cross_entropy(logits, np.array([[0.5, 0.5]]))
    assert value.dtype == np.float32
    assert tg.mse(logits, np.zeros((1, 2))).dtype == np.float32


IMAGE = (np.arange(24.0).reshape(2, 3, 2, 2) * 7 % 11) / 4
CLASSES = np.array([[[0, 2], [1, 1]], [[2, 0], [0, 1]]])
WEIGHTS = (np.arange(24.0).reshape(2, 3, 2, 2) * 5 % 7) / 4  # rows that do not sum to 1
PYTORCH: list[tuple[Any, float, str, list[float], list[float]]] = [
    (CLASSES, 0.0, "mean", [1.211937737463193],
     [-0.10652449379297563, 0.048628099892072785, 0.018475506207024373, 0.09133489115033609]),
    (CLASSES, 0.0, "none",
     [1.9118678712750954, 0.6941121864019142, 0.41186787127509544, 1.563780863337258,
      0.6941121864019142, 1.9118678712750954, 0.31378086333725796, 2.194112186401914],
     [0.0, 0.3890247991365823, 0.29560809931238996, 2.192037387608066]),
    (CLASSES, 0.1, "sum", [9.820501899705544],
     [-0.7855292836771384, 0.35569146580324895, 0.11447071632286165, 0.6973457958693554]),
    (WEIGHTS, 0.0, "mean", [3.3372223474011165],
     [0.050807642069317024, -0.010365700323781646, -0.06603674068946344, 0.12858605951308816]),
    (WEIGHTS, 0.1, "none",
     [2.5584764352000375, 3.633097455258693, 1.9826250800155552, 4.025582946089908,
      2.770821729437401, 1.0858642669048657, 5.43298572309344, 3.633097455258693],
     [0.0, -0.06906389575090295, -0.9880349226637013, 2.896662624243511]),
]  # fmt: skip
"""The target, label smoothing, reduction, and what PyTorch 2.13 gives: values, first gradients."""


@pytest.mark.parametrize(("target", "smoothing", "reduction", "values", "gradients"), PYTORCH)
def test_cross_entropy_of_images_is_pytorchs(
    target: Any, smoothing: float, reduction: str, values: list[float], gradients: list[float]
) -> None:
    leaf = tg.Tensor(IMAGE, requires_grad=True)
    loss = tg.cross_entropy(leaf, target, reduction, smoothing)
    assert_close(loss.numpy().ravel(), values, "loss", 1e-14)
    g = np.arange(8.0).reshape(2, 2, 2) if reduction == "none" else np.ones(())
    (gradient,) = tg.grad(loss, leaf, gradient=g)
    assert_close(gradient.ravel()[:4], gradients, "gradient", 1e-14)


@given(data=st.data(), reduction=reductions, smoothing=st.sampled_from([0.0, 0.1]))
def test_the_class_axis_may_be_any(data: st.DataObject, reduction: str, smoothing: float) -> None:
    """Labels or weights, values and gradients: as with the classes moved to the last axis."""
    logits = data.draw(arrays(shapes(min_dims=1)))
    axis = data.draw(st.integers(-logits.ndim, logits.ndim - 1))
    last = np.moveaxis(logits, axis, -1)
    if data.draw(st.booleans()):
        target = expected_target = data.draw(labels(last.shape[:-1], last.shape[-1]))
    else:
        expected_target = data.draw(arrays(last.shape, low=0.0))
        target = np.moveaxis(expected_target, -1, axis)
    results = []
    for x, t, at in ((logits, target, axis), (last, expected_target, -1)):
        leaf = tg.Tensor(x, requires_grad=True)
        loss = tg.cross_entropy(leaf, t, reduction, smoothing, axis=at)
        g = np.arange(1.0, loss.size + 1).reshape(loss.shape)
        results.append((loss.numpy(), tg.grad(loss, leaf, gradient=g)[0]))
    assert_close(results[0][0], results[1][0], "loss", 1e-14)
    assert_close(np.moveaxis(results[0][1], axis, -1), results[1][1], "gradient", 1e-14)


@given(logits=arrays(shapes(min_dims=1, max_dims=2), low=-4.0, high=4.0), data=st.data())
def test_weights_of_classes_need_not_sum_to_one(logits: np.ndarray, data: st.DataObject) -> None:
    weights = data.draw(arrays(logits.shape, low=0.0))
    expected = -np.sum(weights * special.log_softmax(logits, axis=-1), axis=-1)
    assert_close(tg.cross_entropy(logits, weights, "none"), expected, "loss", 1e-13)
    check_gradients(lambda x: tg.cross_entropy(x, weights, "none"), logits, order=2)


@pytest.mark.parametrize("wrong", [-0.5, np.nan, np.inf])
def test_a_weight_that_is_negative_or_not_finite_is_refused(wrong: float) -> None:
    for dtype in ("f4", ">f8"):
        with pytest.raises(ValueError, match=r"target\[0, 1\] is .*, expected a finite"):
            tg.cross_entropy(np.zeros((1, 2)), np.array([[1.0, wrong]], dtype))


def test_the_default_class_axis_is_refused_where_the_target_fits_the_last_as_well() -> None:
    """As a table of (N, steps, classes) with as many steps as classes does."""
    square, rows = np.zeros((2, 3, 3)), np.eye(3)[[[0, 0, 1], [2, 1, 2]]]
    for target in (np.zeros((2, 3), int), rows):
        with pytest.raises(ValueError, match="pass axis=-1 or axis=1"):
            tg.cross_entropy(square, target)
        for axis in (-1, 1):
            assert tg.cross_entropy(square, target, axis=axis) == pytest.approx(np.log(3))
    columns = rows.swapaxes(1, 2)
    assert tg.cross_entropy(square, columns) == pytest.approx(np.log(3))


def test_a_weight_may_be_a_tensor_and_ignored_labels_have_no_gradient() -> None:
    logits = np.arange(12.0).reshape(4, 3) / 8
    weight, labels = np.array([1.0, 0.5, 2.0]), np.array([0, -100, 2, 1])
    for loss in (tg.cross_entropy, lambda x, t, **rest: tg.nll(tg.log_softmax(x), t, **rest)):
        leaf = tg.Tensor(logits, requires_grad=True)
        value = loss(leaf, labels, weight=tg.Tensor(weight))
        alone = tg.cross_entropy(logits[[0, 2, 3]], [0, 2, 1], "none")
        assert_close(value.numpy(), np.average(alone, weights=[1.0, 2.0, 0.5]), "loss", 1e-14)
        (gradient,) = tg.grad(value, leaf)
        assert not gradient[1].any()
        assert gradient[[0, 2, 3]].all()


def test_a_weight_that_requires_a_gradient_is_refused() -> None:
    weight = tg.Tensor([1.0, 2.0], requires_grad=True)
    with pytest.raises(TypeError, match="cross_entropy: weight is a Tensor; it has no derivative"):
        tg.cross_entropy(tg.Tensor([[0.0, 1.0]], requires_grad=True), [1], weight=weight)


@pytest.mark.parametrize("loss", [tg.cross_entropy, tg.nll])
@pytest.mark.parametrize(
    ("labels", "options", "message"),
    [
        ([-100, -100], {}, "nothing to average: every label is ignored or weighs 0"),
        ([1, 1], {"weight": [1.0, 0.0, 1.0]}, "nothing to average"),
        ([0, -1], {"ignore_index": 2}, "target has label -1 at 1, expected 0 to 2"),
        ([0, 1], {"weight": [1.0, 2.0]}, r"weight has shape \(2,\), expected \(3,\)"),
        ([0, 1], {"axis": 2}, "axis is 2"),
        ([0, 1], {"reduction": "batchmean"}, "reduction is 'batchmean', expected 'mean', 'sum' or"),
    ],
)
def test_what_cannot_be_averaged_or_does_not_fit_is_refused(
    loss: Any, labels: list[int], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=f"{loss.__name__}: {message}"):
        loss(np.zeros((2, 3)), labels, **options)


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_binary_cross_entropy_is_right_where_the_sigmoid_saturates(dtype: str) -> None:
    x = np.array([-1e4, -1e4, -30, -30, 30, 30, 1e4, 1e4], dtype)
    t = np.array([0, 1] * 4, dtype)
    small = np.exp(-30.0)
    leaf = tg.Tensor(x, requires_grad=True)
    value = tg.binary_cross_entropy_with_logits(leaf, t, "none")
    np.testing.assert_allclose(
        value.numpy(), [0, 1e4, small, 30, 30, small, 1e4, 0], rtol=1e-6, atol=0
    )
    slopes = [0, -1, small, -1, 1, -small, 1, 0]
    np.testing.assert_allclose(tg.grad(value.sum(), leaf)[0], slopes, rtol=1e-6, atol=0)
    leaf = tg.Tensor(x, requires_grad=True)
    value = tg.binary_cross_entropy(tg.sigmoid(leaf), t, "none")
    np.testing.assert_array_equal(value.numpy()[[0, 1, 6, 7]], [0, 100, 100, 0])
    assert np.isfinite(tg.grad(value.sum(), leaf)[0]).all()


def test_probabilities_that_are_none_are_refused() -> None:
    for wrong in (-0.5, 1.5, np.nan):
        with pytest.raises(ValueError, match="for logits, use binary_cross_entropy_with_logits"):
            tg.binary_cross_entropy([wrong], [1.0])


def test_regression_losses_have_pytorchs_slopes_at_their_kinks_and_joints() -> None:
    x = np.array([-2.0, -1.0, 0.0, 1.0, 2.0])
    for loss, slopes in (
        (tg.l1, [-1.0, -1.0, 0.0, 1.0, 1.0]),
        (tg.huber, [-1.0, -1.0, 0.0, 1.0, 1.0]),
        (lambda p, t, r: tg.smooth_l1(p, t, r, 2.0), [-1.0, -0.5, 0.0, 0.5, 1.0]),
    ):
        leaf = tg.Tensor(x, requires_grad=True)
        np.testing.assert_array_equal(tg.grad(loss(leaf, np.zeros(5), "sum"), leaf)[0], slopes)
    labels = np.array([3, 250], np.uint8)  # whose difference does not fit
    np.testing.assert_array_equal(tg.l1(labels, labels[::-1].copy(), "none"), [247, 247])


@pytest.mark.parametrize("ignored", [0, 1, 2])
@pytest.mark.parametrize("loss", [tg.cross_entropy, tg.nll])
def test_an_ignored_class_is_left_out(loss: Any, ignored: int) -> None:
    """Also a class that scores exist for, whose labels are in range."""
    scores = np.log(np.random.default_rng(0).dirichlet(np.ones(3), 7))
    labels = np.array([0, 1, 2, 1, 0, 2, 2])
    counted = labels != ignored
    leaf = tg.Tensor(scores, requires_grad=True)
    value = loss(leaf, labels, ignore_index=ignored)
    assert value.item() == pytest.approx(loss(scores[counted], labels[counted]), rel=1e-12)
    assert not tg.grad(value, leaf)[0][~counted].any()
