"""The Tensor: how it is made, looked into, compared, copied, and met by NumPy."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest

import tinygrad_cnn as tg
from tinygrad_cnn.nn import Parameter

MADE_OF: list[tuple[Any, str]] = [
    (1, "f4"),
    (1.5, "f4"),
    (True, "?"),
    ([1, 2], "f4"),
    ([1.0, 2], "f4"),
    ([True, False], "?"),
    (((1.0,), (2.0,)), "f4"),
    ([], "f4"),
    (range(3), "f4"),
    (np.array([1, 2]), "i8"),
    (np.array([1, 2], "u1"), "u1"),
    (np.array([1.0]), "f8"),
    (np.array([1.0], "f4"), "f4"),
    (np.float64(1.0), "f8"),
    (np.float32(1.0), "f4"),
    (np.int32(1), "i4"),
    (np.array([True]), "?"),
    (1j, "c16"),
    (np.array(1.0), "f8"),
    (tg.Tensor([1.0]), "f4"),
    (tg.Tensor(np.array([1.0])), "f8"),
]


@pytest.mark.parametrize(("source", "dtype"), MADE_OF, ids=repr)
def test_numbers_become_float32_and_arrays_keep_their_dtype(source: Any, dtype: str) -> None:
    x = tg.Tensor(source)
    assert x.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(x.data, np.asarray(source))
    assert tg.Tensor(source, dtype="c16").dtype == np.complex128


def test_dtype_is_as_asked() -> None:
    assert tg.Tensor(np.ones(2), dtype="f4").dtype == np.float32
    assert tg.Tensor([1, 2], dtype=int).dtype == np.int64
    assert tg.Tensor([1, 2], dtype=np.float64, requires_grad=True).requires_grad


@pytest.mark.parametrize(
    "source", [np.ones((3, 2)).T, np.ones(6)[::-2], np.broadcast_to(1.0, (2, 2)), np.ones((2, 2)).T]
)
def test_a_tensor_is_a_contiguous_copy_that_can_be_written_to(source: np.ndarray) -> None:
    x = tg.Tensor(source)
    assert x.data.flags.c_contiguous
    x.data[...] = 2
    assert (x._array == 2).all()
    assert not np.shares_memory(x.data, source)


def test_a_new_tensor_is_a_leaf_without_gradient() -> None:
    x = tg.Tensor([[1.0, 2.0]], name="x")
    assert (x.node, x.grad, x.requires_grad, x.name) == (None, None, False, "x")
    assert (x.shape, x.ndim, x.size, len(x)) == ((1, 2), 2, 2, 1)


def test_a_tensor_of_a_result_is_a_leaf() -> None:
    w = tg.Tensor([1.0], requires_grad=True)
    x = tg.Tensor(w * 2)
    assert x.node is None
    assert not x.requires_grad


def test_item_is_a_python_number() -> None:
    for x in (tg.Tensor(2.5), tg.Tensor([[2.5]])):
        assert type(x.item()) is float
        assert x.item() == float(x) == 2.5
    assert type(tg.Tensor(np.array(3)).item()) is int
    assert int(tg.Tensor(3.7)) == 3
    assert tg.Tensor(np.array([True])).item() is True


def test_truth_is_that_of_the_only_element() -> None:
    assert tg.Tensor(0.5)
    assert not tg.Tensor([0.0])
    with pytest.raises(ValueError, match=r"\(2,\)"):
        bool(tg.Tensor([1.0, 2.0]))


def test_a_tensor_without_axes_has_no_length() -> None:
    with pytest.raises(TypeError, match="the Tensor has no axes"):
        len(tg.Tensor(1.0))
    with pytest.raises(TypeError, match="the Tensor has no axes"):
        list(tg.Tensor(1.0))


def test_iteration_goes_over_the_first_axis() -> None:
    x = tg.Tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    rows = list(x)
    assert all(isinstance(row, tg.Tensor) and row.requires_grad for row in rows)
    np.testing.assert_array_equal([row.numpy() for row in rows], x.numpy())
    assert list(tg.Tensor(np.zeros((0, 2)))) == []


def test_comparisons_are_elementwise_tensors_of_bool() -> None:
    x, other = tg.Tensor([1.0, 2.0, 3.0], requires_grad=True), tg.Tensor([3.0, 2.0, 1.0])
    for result, expected in (
        (x == other, [0, 1, 0]),
        (x != other, [1, 0, 1]),
        (x < other, [1, 0, 0]),
        (x <= other, [1, 1, 0]),
        (x > other, [0, 0, 1]),
        (x >= other, [0, 1, 1]),
        (x > 2, [0, 0, 1]),
        (x < 2, [1, 0, 0]),
        (x == [1.0, 0.0, 3.0], [1, 0, 1]),
        (np.array([1.0, 0.0, 3.0]) == x, [1, 0, 1]),
        (np.float64(2) <= x, [0, 1, 1]),
    ):
        assert isinstance(result, tg.Tensor)
        assert result.dtype == bool
        assert not result.requires_grad
        np.testing.assert_array_equal(result.numpy(), np.array(expected, bool))


def test_a_tensor_is_hashed_by_identity() -> None:
    a, b = tg.Tensor(1.0), tg.Tensor(1.0)
    assert len({a, b}) == 2
    assert {a: 1}[a] == 1


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: tg.Tensor([1.0, 2.5]), "Tensor([1. , 2.5])"),
        (lambda: tg.Tensor(2.0, requires_grad=True), "Tensor(2., requires_grad=True)"),
        (lambda: tg.Tensor(np.array([1.0])), "Tensor([1.], dtype=float64)"),
        (lambda: tg.Tensor([1.0], requires_grad=True) * 2, "Tensor([2.], op=mul)"),
        (lambda: tg.Tensor([[1.0], [2.0]]), "Tensor([[1.],\n        [2.]])"),
        (lambda: tg.Tensor(np.zeros((0, 2), "f4")), "Tensor([])"),
    ],
)
def test_repr(make: Any, text: str) -> None:
    assert repr(make()) == text


def test_methods_are_the_ops() -> None:
    values = np.arange(6.0).reshape(2, 3)
    x = tg.Tensor(values, requires_grad=True)
    for mine, numpys in (
        (x.sum(0), values.sum(0)),
        (x.mean(axis=1, keepdims=True), values.mean(1, keepdims=True)),
        (x.max(), values.max()),
        (x.min(axis=-1), values.min(-1)),
        (x.reshape(3, 2), values.reshape(3, 2)),
        (x.reshape((6,)), values.reshape(6)),
        (x.reshape(-1), values.reshape(-1)),
        (x.transpose(), values.T),
        (x.transpose(1, 0), values.T),
        (x.T, values.T),
        (x.astype("f4"), values.astype("f4")),
        (-x, -values),
        (abs(x - 2), abs(values - 2)),
        (x[1, ::2], values[1, ::2]),
        (x @ x.T, values @ values.T),
        (2**x, 2**values),
        (x**2 / (1 + x) - 1, values**2 / (1 + values) - 1),
        (1 / (x + 1), 1 / (values + 1)),
        (1 - x, 1 - values),
    ):
        assert mine.requires_grad
        np.testing.assert_allclose(mine.numpy(), numpys)


# --- NumPy ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("other", [np.ones(3), np.float64(2.0), np.float32(2.0), np.array(2.0)])
def test_an_array_on_the_left_makes_a_tensor(other: Any) -> None:
    x = tg.Tensor([1.0, 2.0, 3.0], requires_grad=True)
    results = [other * x, other + x, other - x, other / x, other**x]
    if np.ndim(other):
        results.append(other @ x)
    for y in results:
        assert isinstance(y, tg.Tensor)
        assert y.requires_grad
        assert y.dtype == np.float32


def test_an_array_refuses_a_tensor_in_place_for_it_cannot_hold_the_graph() -> None:
    x = tg.Tensor([1.0, 2.0], requires_grad=True)
    array = np.ones(2)
    with pytest.raises(TypeError, match="Tensor"):
        array += x
    np.testing.assert_array_equal(array, [1, 1])


def test_numpy_takes_a_tensor_as_an_array() -> None:
    x = tg.Tensor([1.0, 2.0], requires_grad=True)
    assert np.shares_memory(np.asarray(x), x.data)
    assert not np.shares_memory(np.array(x), x.data)
    assert np.asarray(x, dtype="f8").dtype == np.float64
    assert np.mean(np.asarray(x * 2)) == 3
    assert np.shares_memory(x.numpy(), x.data)


def test_a_function_of_numpy_without_an_op_refuses_a_tensor_instead_of_losing_its_graph() -> None:
    with pytest.raises(TypeError, match=r"np\.sinc would drop the graph"):
        np.sinc(tg.Tensor([1.0], requires_grad=True))


# --- setting -------------------------------------------------------------------------------------


def test_assigning_data_copies_into_the_leaf_and_keeps_its_dtype() -> None:
    x = tg.Tensor([1.0, 2.0], requires_grad=True)
    source = np.array([3.0, 4.0])
    x.data = source
    source[0] = 99
    np.testing.assert_array_equal(x.data, [3, 4])
    assert x.dtype == np.float32
    x.data = tg.Tensor([5.0, 6.0]).data
    x.data -= 1
    np.testing.assert_array_equal(x.data, [4, 5])


def test_requires_grad_can_be_switched_on_a_leaf() -> None:
    x = tg.Tensor([1.0])
    assert x.requires_grad_() is x
    assert (x * 2).requires_grad
    x.requires_grad_(False)
    assert not (x * 2).requires_grad
    with pytest.raises(TypeError, match="requires_grad_"):
        tg.Tensor(np.array([1])).requires_grad_()


def test_a_result_is_not_made_a_leaf_by_no_grad_views() -> None:
    x = tg.Tensor([1.0, 2.0], requires_grad=True)
    with tg.no_grad():
        y = x[0:1]
    y.requires_grad_()
    (y * 3).backward()
    assert x.grad is None
    np.testing.assert_array_equal(y.grad, [3])


# --- copies --------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [tg.Tensor, Parameter])
@pytest.mark.parametrize(
    "copied", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))], ids=["deepcopy", "pickle"]
)
def test_a_leaf_can_be_copied(copied: Any, kind: type[tg.Tensor]) -> None:
    x = kind(np.array([1.0, 2.0]), requires_grad=True, name="w")
    (x * x).sum().backward()
    twin = copied(x)
    assert type(twin) is kind
    assert (twin.name, twin.requires_grad, twin.dtype) == ("w", True, np.float64)
    np.testing.assert_array_equal(twin.data, x.data)
    np.testing.assert_array_equal(twin.grad, x.grad)
    twin.data += 1
    twin.grad += 1
    np.testing.assert_array_equal(x.data, [1, 2])
    np.testing.assert_array_equal(x.grad, [2, 4])
    (twin * 3).sum().backward()
    np.testing.assert_array_equal(x.grad, [2, 4])
    np.testing.assert_array_equal(twin.grad, [6, 8])


def test_copies_of_shared_leaves_stay_shared() -> None:
    x = tg.Tensor([1.0], requires_grad=True)
    a, b = copy.deepcopy([x, x])
    assert a is b is not x


def test_a_parameter_requires_a_gradient_unless_told_otherwise() -> None:
    assert Parameter([1.0]).requires_grad
    assert not Parameter([1.0], requires_grad=False).requires_grad
    assert isinstance(Parameter([1.0]), tg.Tensor)


SHOWN = """
    T all any argmax argmin argsort astype backward clip cumsum data detach diagonal dot draw dtype
    exp flatten grad is_leaf item log max mean min name ndim node numpy prod ravel register_hook
    repeat requires_grad requires_grad_ reshape retain_grad round shape size sqrt squeeze std sum
    swapaxes take tolist transpose var
"""


@pytest.mark.parametrize("kind", [tg.Tensor, Parameter])
def test_a_tensor_shows_what_users_need(kind: type[tg.Tensor]) -> None:
    assert [name for name in dir(kind) if not name.startswith("_")] == SHOWN.split()
