"""Moving values: against NumPy, and each move's gradient as the move undone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_cnn as tg
from tinygrad_cnn.check.strategies import arrays, broadcasting, indices, shapes

X = np.arange(24.0).reshape(2, 3, 4)
INDICES: list[Any] = [
    0,
    -1,
    np.int64(1),
    slice(None, None, -1),
    slice(5, 9),
    None,
    Ellipsis,
    (),
    (0, 2, 3),
    (slice(None), 1),
    (Ellipsis, slice(1, 3)),
    (1, Ellipsis, None, 2),
    [0, 1, 1, 0, 1],
    np.array([[0, 1], [1, 1]]),
    np.array([], dtype=np.int64),
    (slice(None), [0, 0, 2]),
    ([0, 1, 0], [2, 2, 2]),
    (slice(None), [0, 0], [3, 3]),
    ([0, 1], slice(None), [3, 3]),
    (np.array([[0], [1]]), [0, 0, 0]),
    [True, False],
    np.array([True, True]),
    X > 11,
    X > 99,
    (slice(None), np.array([True, False, True])),
    (np.array([True, True]), [0, 1]),
    True,
    np.array(True),
    (np.array([1, 1], dtype=np.uint8), 0),
]


@pytest.mark.parametrize("index", INDICES, ids=str)
def test_getitem_selects_as_numpy_does_and_sums_gradients_of_repeats(index: Any) -> None:
    leaf = tg.Tensor(X, requires_grad=True)
    y = leaf[index]
    np.testing.assert_array_equal(y.numpy(), X[index])
    u = np.arange(1.0, y.size + 1).reshape(y.shape)
    expected = np.zeros(X.shape)
    np.add.at(expected, index, u)
    np.testing.assert_array_equal(tg.grad(y, leaf, gradient=u)[0], expected)


@given(shape=shapes(), data=st.data())
def test_put_is_the_adjoint_of_getitem(shape: tuple[int, ...], data: st.DataObject) -> None:
    x = data.draw(arrays(shape))
    index = data.draw(indices(shape))
    u = data.draw(arrays(x[index].shape))
    assert np.sum(tg.put(u, index, shape) * x) == np.sum(u * x[index])


def test_an_index_may_be_a_tensor() -> None:
    x = tg.Tensor([3.0, 4.0, 5.0], requires_grad=True)
    np.testing.assert_array_equal(x[x > 3.5].numpy(), [4, 5])
    np.testing.assert_array_equal(x[tg.Tensor(np.array([2, 2]))].numpy(), [5, 5])


@given(pair=broadcasting(2, min_side=0), data=st.data())
def test_sum_to_is_the_adjoint_of_broadcast_to(pair: list[Any], data: st.DataObject) -> None:
    shape, other = pair
    whole = np.broadcast_shapes(shape, other)
    x, u = data.draw(arrays(shape)), data.draw(arrays(whole))
    np.testing.assert_array_equal(tg.broadcast_to(x, whole), np.broadcast_to(x, whole))
    assert np.sum(tg.sum_to(u, shape) * x) == np.sum(u * np.broadcast_to(x, whole))


@pytest.mark.parametrize(
    ("ours", "numpys"),
    [
        (lambda x: tg.reshape(x, (6, 4)), lambda x: x.reshape(6, 4)),
        (lambda x: tg.reshape(x, -1), lambda x: x.reshape(-1)),
        (lambda x: tg.reshape(x, [4, -1]), lambda x: x.reshape(4, -1)),
        (lambda x: tg.transpose(x), lambda x: x.transpose()),
        (lambda x: tg.transpose(x, (2, 0, 1)), lambda x: x.transpose(2, 0, 1)),
        (lambda x: tg.transpose(x, (-1, 0, -2)), lambda x: x.transpose(-1, 0, -2)),
        (lambda x: tg.flip(x), lambda x: np.flip(x)),
        (lambda x: tg.flip(x, [0, -1]), lambda x: np.flip(x, (0, -1))),
        (lambda x: tg.pad(x, 1), lambda x: np.pad(x, 1)),
        (lambda x: tg.pad(x, (1, 2), value=5.0), lambda x: np.pad(x, (1, 2), constant_values=5)),
        (
            lambda x: tg.pad(x, ((0, 0), (1, 0), (0, 2))),
            lambda x: np.pad(x, ((0, 0), (1, 0), (0, 2))),
        ),
        (lambda x: tg.concatenate([x, x], -1), lambda x: np.concatenate([x, x], -1)),
        (lambda x: tg.stack((x, x), 1), lambda x: np.stack((x, x), 1)),
        (lambda x: tg.moveaxis(x, 0, 2), lambda x: np.moveaxis(x, 0, 2)),
        (lambda x: tg.moveaxis(x, (2, 0), (0, 1)), lambda x: np.moveaxis(x, (2, 0), (0, 1))),
        (lambda x: tg.diagonal(x, 2, 1, 2), lambda x: np.diagonal(x, 2, 1, 2)),
        (lambda x: tg.diagonal(x, -1, 2, 0), lambda x: np.diagonal(x, -1, 2, 0)),
        (lambda x: tg.squeeze(x[:, :1], 1), lambda x: np.squeeze(x[:, :1], 1)),
        (lambda x: tg.repeat(x, [2, 0, 1], 1), lambda x: np.repeat(x, [2, 0, 1], 1)),
        (lambda x: tg.roll(x, (1, -2), (0, 2)), lambda x: np.roll(x, (1, -2), (0, 2))),
        (lambda x: tg.tile(x, (2, 1, 1, 3)), lambda x: np.tile(x, (2, 1, 1, 3))),
        (lambda x: tg.take(x, [[-1, 0]], 1), lambda x: np.take(x, [[-1, 0]], 1)),
        (lambda x: tg.dot(x, np.ones((5, 4, 2))), lambda x: np.dot(x, np.ones((5, 4, 2)))),
        (lambda x: tg.max(x, (0, -1)), lambda x: np.max(x, (0, -1))),
    ],
)
def test_moves_are_numpys(ours: Any, numpys: Any) -> None:
    for x in (X, tg.Tensor(X, requires_grad=True)):
        np.testing.assert_array_equal(np.asarray(ours(x)), numpys(X))


@pytest.mark.parametrize("join", [tg.concatenate, tg.stack])
def test_joined_tensors_need_not_all_want_a_gradient(join: Any) -> None:
    x = tg.Tensor([1.0, 2.0], requires_grad=True)
    y = join([np.array([5.0, 6.0]), x, [7, 8], x])
    assert y.dtype == np.float32
    (gradient,) = tg.grad(y.sum(), x)
    np.testing.assert_array_equal(gradient, [2, 2])


def test_a_joined_tensor_may_want_no_gradient_that_another_call_wanted() -> None:
    """Whether each member wants one differs from call to call of the same op."""
    x, y = tg.Tensor([1.0], requires_grad=True), tg.Tensor([2.0], requires_grad=True)
    for members in ([x, y], [x, [3.0]], [[3.0], y], [x]):
        leaves = [m for m in members if isinstance(m, tg.Tensor)]
        for gradient in tg.grad(tg.concatenate(members).sum(), leaves):
            np.testing.assert_array_equal(gradient, [1])


@pytest.mark.parametrize("shapes", [[(2, 3)], [(2,), (3, 1), ()], [(0, 2), (2, 2)]])
def test_concatenate_without_an_axis_joins_flat_arrays(shapes: list[tuple[int, ...]]) -> None:
    values = [np.random.default_rng(i).standard_normal(shape) for i, shape in enumerate(shapes)]
    leaves = [tg.Tensor(value, requires_grad=True) for value in values]
    y = tg.concatenate(leaves, axis=None)
    np.testing.assert_array_equal(y.data, np.concatenate(values, axis=None))
    weights = np.arange(y.size, dtype=float)
    found = tg.grad(y, leaves, gradient=weights)
    np.testing.assert_array_equal(np.concatenate(found, axis=None), weights)
    assert [g.shape for g in found] == shapes


@pytest.mark.parametrize("mode", ["constant", "reflect", "edge", "wrap", "symmetric"])
def test_the_gradient_of_a_padded_batch_is_the_adjoint(mode: str) -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((64, 3, 9, 10)).astype(np.float32)[:, :, ::2, ::-1]
    leaf = tg.Tensor(x, requires_grad=True)
    y = tg.pad(leaf, ((0, 0), (0, 0), (1, 2), (3, 0)), mode)
    np.testing.assert_array_equal(y.numpy(), np.pad(x, ((0, 0), (0, 0), (1, 2), (3, 0)), mode))
    g = rng.standard_normal(y.shape).astype(np.float32)
    (gradient,) = tg.grad(y, leaf, gradient=g)
    assert gradient.dtype == np.float32
    expected = np.sum(y.numpy().astype(float) * g)
    np.testing.assert_allclose(np.sum(gradient.astype(float) * x), expected, rtol=1e-4)


def test_gathers_and_scatters_of_a_batch_are_adjoint_in_float32() -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((64, 50, 20)).astype(np.float32)
    index = rng.integers(0, 20, (64, 50, 7))
    leaf = tg.Tensor(x, requires_grad=True)
    y = tg.take_along_axis(leaf, index, 2)
    np.testing.assert_array_equal(y.numpy(), np.take_along_axis(x, index, 2))
    g = rng.standard_normal(y.shape).astype(np.float32)
    (gradient,) = tg.grad(y, leaf, gradient=g)
    expected = tg.scatter_add(np.zeros_like(x), index, g, 2)
    assert gradient.dtype == expected.dtype == np.float32
    np.testing.assert_array_equal(gradient, expected)
    index[...] = 0
    np.testing.assert_array_equal(
        tg.grad(tg.take_along_axis(leaf, index, 2).sum(), leaf)[0][..., 1:], 0
    )


@pytest.mark.parametrize(
    ("dtype", "held", "beyond"), [(bool, 1, 2), (np.uint8, 255, 256), (np.int8, -128, 0.5)]
)
def test_a_border_that_integers_cannot_hold_makes_floats(
    dtype: Any, held: float, beyond: float
) -> None:
    x = np.zeros(1, dtype)
    assert tg.pad(x, 1, value=held).dtype == dtype
    padded = tg.pad(x, 1, value=beyond)
    assert (padded.dtype, padded[0]) == (np.float32, beyond)


def test_an_index_may_change_after_the_call() -> None:
    leaf = tg.Tensor([1.0, 2.0, 3.0], requires_grad=True)
    for f in (
        tg.take,
        lambda x, i: tg.take_along_axis(x, i, 0),
        lambda x, i: x - tg.index_put(x, i, 0.0),
    ):
        index = np.array([0])
        y = f(leaf, index)
        index[0] = 2
        np.testing.assert_array_equal(tg.grad(y.sum(), leaf)[0], [1, 0, 0])


def test_sorts_keep_the_order_of_equal_values_and_put_nan_at_an_end() -> None:
    x = np.array([1.0, 0.0, 1.0, 0.0])
    assert tg.argsort(x).tolist() == [1, 3, 0, 2]
    assert tg.argsort(x, descending=True).tolist() == [0, 2, 1, 3]
    assert tg.topk(x, 3)[1].tolist() == [0, 2, 1]
    assert tg.topk(x, 3, largest=False)[1].tolist() == [1, 3, 0]
    np.testing.assert_array_equal(tg.sort([np.nan, 2.0, 1.0]), [1, 2, np.nan])
    leaf = tg.Tensor(x, requires_grad=True)
    np.testing.assert_array_equal(tg.grad(tg.topk(leaf, 2)[0].sum(), leaf)[0], [1, 0, 1, 0])


SQUARE = np.random.default_rng(0).permutation(np.arange(16.0)).reshape(4, 4)


@pytest.mark.parametrize(
    ("name", "more"),
    [
        *((name, ()) for name in ("ravel", "squeeze", "sort", "argsort", "diagonal", "triu", "tril",
                                  "argmax", "argmin", "prod", "all", "any", "transpose")),
        *((name, (None,)) for name in ("sort", "argsort", "argmax", "cumsum")),
        ("tensordot", (SQUARE,)), ("repeat", (2,)), ("roll", (1,)), ("tile", (2,)),
        ("take", ([5, -1],)), ("take_along_axis", (np.array([5, -1, 5]), None)),
    ],
)  # fmt: skip
def test_defaults_and_none_mean_what_they_mean_in_numpy(name: str, more: tuple[Any, ...]) -> None:
    expected = getattr(np, name)(SQUARE, *more)
    np.testing.assert_array_equal(getattr(tg, name)(SQUARE, *more), expected, strict=True)


def test_the_axes_of_flatten_and_take_along_axis_default_to_all_and_to_the_last() -> None:
    np.testing.assert_array_equal(tg.flatten(SQUARE), SQUARE.reshape(-1))
    index = [[3], [0], [1], [2]]
    expected = np.take_along_axis(SQUARE, np.array(index), -1)
    np.testing.assert_array_equal(tg.take_along_axis(SQUARE, index), expected)


def test_triangles_keep_integers_and_bools() -> None:
    for dtype in (np.uint8, bool, np.float16):
        x = np.ones((2, 3, 3), dtype)
        for ours, numpys in ((tg.triu, np.triu), (tg.tril, np.tril)):
            assert ours(x).dtype == ours(tg.Tensor(x)).dtype == dtype
            np.testing.assert_array_equal(ours(x, 1), numpys(x, 1))


def test_items_set_in_float32_stay_float32_and_hide_what_they_replace() -> None:
    x = np.array([np.nan, 2.0, 3.0], np.float32)
    for array in (x, tg.Tensor(x)):
        for values in (1.0, [1.0], np.float32(1.0), [1]):
            y = tg.index_put(array, [0], values)
            assert y.dtype == np.float32
            np.testing.assert_array_equal(np.asarray(y), [1, 2, 3])
    leaf = tg.Tensor([5.0, 6.0, 7.0], requires_grad=True)
    values = tg.Tensor([1.0, 2.0], requires_grad=True)
    first, second = tg.grad(tg.index_put(leaf, [1, 1], values).sum(), [leaf, values])
    assert (first.tolist(), second.tolist()) == ([1, 0, 1], [0, 1])  # the last one counts
