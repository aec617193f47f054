"""Normalization, dropout and embedding layers, against NumPy written out."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_cnn as tg
from tinygrad_cnn import nn

SEEDS = st.integers(0, 2**32)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


# --- dropout -------------------------------------------------------------------------------------


@given(st.floats(0.05, 0.95), SEEDS)
def test_dropout_drops_its_share_and_scales_the_rest(rate: float, seed: int) -> None:
    n = 4000
    y = nn.Dropout(rate, rng=rng(seed))(tg.Tensor(np.ones(n, np.float32))).numpy()
    kept = y != 0
    np.testing.assert_allclose(y[kept], 1 / (1 - rate), rtol=1e-6)
    assert abs(kept.mean() - (1 - rate)) < 6 * np.sqrt(rate * (1 - rate) / n)


def test_dropout_of_a_tiny_rate_drops_no_more_than_its_share() -> None:
    """Among the float32 draws of this seed is a 0: one in 2²⁴ is, far more than the rate."""
    shape = (1 << 18,)
    assert (rng(41).random(shape, np.float32) == 0).any()
    assert nn.Dropout(1e-9, rng=rng(41))(np.ones(shape, "f4")).all()


def test_dropout_draws_anew_every_call_and_sends_the_gradient_where_the_value_went() -> None:
    layer = nn.Dropout(rng=rng())
    x = tg.Tensor(np.ones(100, np.float32), requires_grad=True)
    first, second = layer(x), layer(x)
    assert (first.numpy() != second.numpy()).any()
    second.sum().backward()
    np.testing.assert_array_equal(x.grad, second.numpy())


def test_dropout_after_eval_and_at_rate_zero_changes_and_draws_nothing() -> None:
    source = rng()
    before = source.bit_generator.state
    x = tg.Tensor([1.0, 2.0])
    assert nn.Dropout(0.9, rng=source).eval()(x) is x
    assert nn.Dropout(0.0, rng=source)(x) is x
    assert source.bit_generator.state == before


def test_dropout_of_all_gives_zeros_and_no_gradient() -> None:
    for layer in (nn.Dropout(1.0), nn.Dropout1d(1.0)):
        x = tg.Tensor(np.full((2, 3, 4), 7.0), requires_grad=True)
        y = layer(x)
        assert not y.numpy().any()
        assert not tg.grad(y.sum(), x)[0].any()


@pytest.mark.parametrize(
    ("make", "shape"),
    [(nn.Dropout1d, (40, 30, 4)), (nn.Dropout1d, (900, 4)), (nn.Dropout2d, (40, 30, 2, 3)),
     (nn.Dropout2d, (900, 2, 3))],
)  # fmt: skip
def test_channels_are_dropped_as_a_whole(make: Any, shape: tuple[int, ...]) -> None:
    values = 1 if make is nn.Dropout1d else 2  # axes of a channel
    y = make(0.25, rng=rng())(np.ones(shape)).reshape(*shape[:-values], -1)
    np.testing.assert_array_equal(y, np.broadcast_to(y[..., :1], y.shape))
    np.testing.assert_allclose(np.unique(y), [0.0, 4 / 3])
    assert abs((y[..., 0] == 0).mean() - 0.25) < 0.1
    with pytest.raises(ValueError, match=rf"{make.__name__}: x has shape \(3,\), expected \(N, C"):
        make()(np.ones(3))


# --- embedding -----------------------------------------------------------------------------------


def test_an_embedding_looks_up_and_adds_the_gradients_of_repeats() -> None:
    layer = nn.Embedding(5, 3, padding_idx=-1, rng=rng())
    start = layer.weight.numpy().copy()
    assert not start[4].any()
    assert start[:4].all()
    numbers = np.array([[0, 1, 4], [1, 1, 4]], np.uint8)
    y = layer(numbers)
    np.testing.assert_array_equal(y.numpy(), start[numbers])
    y.sum().backward()
    np.testing.assert_array_equal(layer.weight.grad, np.outer([1, 3, 0, 0, 0], np.ones(3)))
    assert repr(layer) == "Embedding(num_embeddings=5, embedding_dim=3, padding_idx=4)"


def test_an_embedding_refuses_what_is_no_number_of_a_vector() -> None:
    layer = nn.Embedding(5, 3)
    for wrong in ([-1], [2, 5]):
        with pytest.raises(IndexError, match=r"Embedding: x holds .*, expected 0 to 4"):
            layer(wrong)
    with pytest.raises(TypeError, match="Embedding: x holds float64, expected integers"):
        layer([0.0])


# --- batch normalization -------------------------------------------------------------------------


@given(st.floats(0.0, 1.0), st.integers(1, 4), SEEDS)
def test_running_statistics_follow_the_batches_with_the_unbiased_variance(
    momentum: float, batches: int, seed: int
) -> None:
    with tg.default_dtype("float64"):
        layer = nn.BatchNorm2d(3, momentum=momentum)
    mean, variance = np.zeros(3), np.ones(3)
    for x in rng(seed).normal(1.0, 2.0, size=(batches, 4, 3, 2, 5)):
        layer(tg.Tensor(x))
        channels = x.transpose(1, 0, 2, 3).reshape(3, -1)
        mean = (1 - momentum) * mean + momentum * channels.mean(1)
        variance = (1 - momentum) * variance + momentum * channels.var(1) * 40 / 39
    np.testing.assert_allclose(layer.running_mean.data, mean)
    np.testing.assert_allclose(layer.running_var.data, variance)


def test_batch_norm_in_training_gives_each_channel_the_mean_and_variance_of_its_parameters() -> (
    None
):
    with tg.default_dtype("float64"):
        layer = nn.BatchNorm2d(2, eps=0.0)
    layer.load_state_dict(layer.state_dict() | {"weight": np.array([2.0, 3.0]),
                                                "bias": np.array([5.0, 7.0])})  # fmt: skip
    y = layer(tg.Tensor(rng().normal(3.0, 4.0, size=(8, 2, 3, 3)))).numpy()
    np.testing.assert_allclose(y.mean((0, 2, 3)), [5, 7])
    np.testing.assert_allclose(y.std((0, 2, 3)), [2, 3])


def test_batch_norm_after_eval_uses_the_running_statistics_and_leaves_them() -> None:
    with tg.default_dtype("float64"):
        layer = nn.BatchNorm2d(2, eps=0.1)
    state = {"weight": [2.0, 3.0], "bias": [5.0, 7.0],
             "running_mean": [1.0, -1.0], "running_var": [4.0, 0.5]}  # fmt: skip
    state = {name: np.array(value) for name, value in state.items()}
    layer.load_state_dict(state)
    x = tg.Tensor(rng().normal(size=(1, 2, 1, 1)), requires_grad=True)
    y = layer.eval()(x)
    w, b, mean, variance = (value.reshape(1, 2, 1, 1) for value in state.values())
    np.testing.assert_allclose(y.numpy(), w * (x.numpy() - mean) / np.sqrt(variance + 0.1) + b)
    y.sum().backward()
    np.testing.assert_allclose(x.grad, w / np.sqrt(variance + 0.1))
    after = layer.state_dict()
    assert all(np.array_equal(after[name], state[name]) for name in state)


def test_batch_norm_refuses_a_wrong_shape_or_a_single_value_and_stays_as_it_was() -> None:
    layer = nn.BatchNorm2d(3)
    before = layer.state_dict()
    for shape, message in (
        ((2, 4, 5, 5), r"BatchNorm2d: x has shape \(2, 4, 5, 5\), expected \(N, 3, H, W\)"),
        ((2, 3), r"expected \(N, 3, H, W\)"),
        ((1, 3, 1, 1), "more than one value a channel"),
        ((0, 3, 2, 2), "more than one value a channel"),
    ):
        with pytest.raises(ValueError, match=message):
            layer(tg.Tensor(np.zeros(shape, np.float32)))
    after = layer.state_dict()
    assert all(np.array_equal(after[name], before[name]) for name in before)


def test_a_running_statistic_changed_before_backward_is_noticed() -> None:
    layer = nn.BatchNorm2d(1).eval()
    x = tg.Tensor(rng().normal(size=(2, 1, 2, 2)).astype("f4"), requires_grad=True)
    y = layer(x).sum()
    layer.train()(x)
    with pytest.raises(tg.ChangedInPlaceError):
        y.backward()


def test_instance_norm_follows_the_mean_of_the_examples_and_uses_it_after_eval() -> None:
    with tg.default_dtype("float64"):
        layer = nn.InstanceNorm2d(3, momentum=0.25, track_running_stats=True)
    x = rng().normal(1.0, 2.0, size=(4, 3, 2, 5))
    layer(x)
    mean = 0.25 * x.mean((2, 3)).mean(0)
    variance = 0.75 + 0.25 * x.var((2, 3), ddof=1).mean(0)
    y = layer.eval()(x)
    at = (slice(None), None, None)
    np.testing.assert_allclose(y.numpy(), (x - mean[at]) / np.sqrt(variance[at] + 1e-5))
    np.testing.assert_array_equal(layer(x[0]).numpy(), y.numpy()[0])
    np.testing.assert_array_equal(nn.InstanceNorm2d(None)(x[0]), nn.InstanceNorm2d(3)(x[:1])[0])
    with pytest.raises(ValueError, match=r"instance_norm: .* more than one value a channel"):
        nn.InstanceNorm2d(3)(np.ones((2, 3, 1, 1)))


def test_without_statistics_batch_norm_uses_the_batch_in_either_mode() -> None:
    layer = nn.BatchNorm1d(3, affine=False, track_running_stats=False)
    x = rng().normal(size=(64, 3)).astype("f4")
    assert layer.state_dict() == {}
    np.testing.assert_array_equal(layer.eval()(x), layer.train()(x))
    with pytest.raises(ValueError, match=r"BatchNorm1d: .*, expected \(N, 3\) or \(N, 3, L\)"):
        layer(x[:, :, None, None])


# --- group normalization -------------------------------------------------------------------------


@given(
    st.sampled_from([(1, 1), (1, 6), (2, 6), (6, 6)]), st.sampled_from([(), (5,), (3, 2)]), SEEDS
)
def test_group_norm_is_that_of_the_formula(
    groups: tuple[int, int], rest: tuple[int, ...], seed: int
) -> None:
    G, C = groups
    with tg.default_dtype("float64"):
        layer = nn.GroupNorm(G, C, eps=0.1)
    w, b = rng(seed).normal(size=(2, C))
    layer.load_state_dict({"weight": w, "bias": b})
    x = rng(seed + 1).normal(3.0, 4.0, size=(3, C, *rest))
    expected = np.empty_like(x)
    for n, c in np.ndindex(3, C):
        first = c // (C // G) * (C // G)
        group = x[n, first : first + C // G]
        normal = (x[n, c] - group.mean()) / np.sqrt(group.var() + 0.1)
        expected[n, c] = w[c] * normal + b[c]
    np.testing.assert_allclose(layer(tg.Tensor(x)).numpy(), expected, atol=1e-12)


def test_group_norm_does_not_mix_examples_and_is_the_same_in_either_mode() -> None:
    layer = nn.GroupNorm(4, 16)
    x = rng().normal(size=(64, 16, 14, 14)).astype("f4")
    y = layer(x).numpy()
    np.testing.assert_array_equal(layer.eval()(x).numpy(), y)
    for n in (0, 63):
        np.testing.assert_allclose(layer(x[n : n + 1]).numpy()[0], y[n], atol=2e-6)
    images_last = x.transpose(2, 3, 1, 0).copy().transpose(3, 2, 0, 1)
    np.testing.assert_allclose(layer(images_last).numpy(), y, atol=2e-6)


def test_group_norm_without_affine_has_no_parameters_and_shows_it() -> None:
    layer = nn.GroupNorm(2, 4, affine=False)
    assert layer.weight is layer.bias is None
    assert layer.state_dict() == {}
    assert repr(layer) == "GroupNorm(num_groups=2, num_channels=4, affine=False)"
    assert isinstance(layer(np.ones((1, 4), "f4")), np.ndarray)


def test_group_norm_refuses_a_wrong_shape() -> None:
    for shape in ((2, 4, 5, 5), (6,), (2, 6, 0)):
        message = f"GroupNorm: x has shape {shape}, expected (N, 6, ...)"
        with pytest.raises(ValueError, match=re.escape(message)):
            nn.GroupNorm(3, 6)(tg.Tensor(np.zeros(shape, "f4")))


def test_a_normalized_result_of_evaluation_without_recording_is_no_leaf() -> None:
    layer = nn.BatchNorm2d(3).eval()
    with tg.no_grad():
        assert not layer(tg.Tensor(np.ones((2, 3, 4, 4), "f4"))).is_leaf
        layer.requires_grad_(False)
        assert layer(tg.Tensor(np.ones((2, 3, 4, 4), "f4"))).is_leaf
