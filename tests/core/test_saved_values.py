"""A saved value that is changed before backward raises: never a silently wrong gradient."""

from __future__ import annotations

import copy
import pickle
from array import array
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygrad_cnn as tg


def leaf(name: str = "weight") -> tg.Tensor:
    return tg.Tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True, name=name)


def write_element(p: tg.Tensor) -> None:
    p.data[0, 1] = 9


def subtract_from_data(p: tg.Tensor) -> None:
    p.data -= 0.5


def assign_data(p: tg.Tensor) -> None:
    p.data = np.zeros((2, 2))


def write_through_numpy(p: tg.Tensor) -> None:
    p.numpy()[...] = 0


def write_through_asarray(p: tg.Tensor) -> None:
    np.asarray(p)[1, 1] += 1


def write_through_a_view(p: tg.Tensor) -> None:
    p.data.T[0] *= 2


def step_as_an_optimizer(p: tg.Tensor) -> None:
    p.array[...] = p.array - 0.1
    p.mark_changed()


WRITES = [write_element, subtract_from_data, assign_data, write_through_numpy,
          write_through_asarray, write_through_a_view, step_as_an_optimizer]  # fmt: skip

USES: dict[str, Callable[[tg.Tensor], tg.Tensor]] = {
    "itself": lambda p: p * p,
    "beside another": lambda p: tg.Tensor(np.ones((2, 2), "f4"), requires_grad=True) * p,
    "its transpose": lambda p: p.T @ np.ones((2, 2)) @ p,
    "a reshape": lambda p: p.reshape(4) * p.reshape(-1),
    "a slice": lambda p: p[:, 0] * p[0],
    "a flip": lambda p: tg.flip(p) * tg.flip(p),
    "views of views": lambda p: tg.log(p.T.reshape(2, 2).T[::-1][0]),
    "a broadcast": lambda p: tg.exp(tg.broadcast_to(p, (3, 2, 2)) * 2.0) * p,
}


@pytest.mark.parametrize("use", USES.values(), ids=USES)
@pytest.mark.parametrize("write", WRITES)
def test_changing_a_saved_leaf_raises_and_names_it(
    write: Callable[[tg.Tensor], None], use: Callable[[tg.Tensor], tg.Tensor]
) -> None:
    p = leaf()
    y = use(p).sum()
    write(p)
    with pytest.raises(tg.ChangedInPlaceError, match=r"weight of shape \(2, 2\) was changed"):
        y.backward()
    assert p.grad is None


def test_writing_to_an_array_handed_out_before_the_call_raises() -> None:
    p = leaf()
    held = p.data
    y = (p * p).sum()
    held[0, 0] = 7
    with pytest.raises(tg.ChangedInPlaceError, match="weight"):
        tg.grad(y, p)


def test_the_message_names_the_op_and_the_module() -> None:
    p = leaf()
    with tg.scope("fc1"):
        y = tg.exp(p) * p
    p.data += 1
    with pytest.raises(tg.ChangedInPlaceError, match="after mul in fc1 had saved it"):
        y.sum().backward()


def test_a_constant_without_gradient_is_watched_too() -> None:
    x, constant = leaf(), tg.Tensor(np.ones((2, 2), "f4"), name="constant")
    y = x * constant
    constant.data[0] = 5
    with pytest.raises(tg.ChangedInPlaceError, match="constant"):
        y.sum().backward()


def test_a_condition_given_as_a_tensor_is_watched_too() -> None:
    x = leaf()
    condition = x > 2
    y = tg.where(condition, x, 0.0)
    condition.data[...] = True
    with pytest.raises(tg.ChangedInPlaceError):
        y.sum().backward()


@pytest.mark.parametrize("write", WRITES)
def test_changing_a_leaf_between_two_sweeps_of_a_retained_graph_raises(
    write: Callable[[tg.Tensor], None],
) -> None:
    p = leaf()
    y = (p * p).sum()
    y.backward(retain_graph=True)
    before = p.grad.copy()
    write(p)
    with pytest.raises(tg.ChangedInPlaceError):
        y.backward()
    np.testing.assert_array_equal(p.grad, before)


@pytest.mark.parametrize("write", WRITES)
def test_changing_a_leaf_before_the_second_order_sweep_raises(
    write: Callable[[tg.Tensor], None],
) -> None:
    p = leaf()
    (first,) = tg.grad((p * p * p).sum(), p, create_graph=True)
    write(p)
    with pytest.raises(tg.ChangedInPlaceError):
        tg.grad(first.sum(), p)


# --- and it does not raise where nothing is wrong ------------------------------------------------


@pytest.mark.parametrize("write", WRITES)
def test_a_training_loop_changes_leaves_after_backward(write: Callable[[tg.Tensor], None]) -> None:
    p = leaf()
    for _ in range(3):
        (p * p).sum().backward()
        write(p)
    (gradient,) = tg.grad((p * p).sum(), p)
    np.testing.assert_allclose(gradient, 2 * p.data)


@pytest.mark.parametrize("write", WRITES)
def test_changing_a_leaf_that_was_not_saved_is_allowed(write: Callable[[tg.Tensor], None]) -> None:
    p = leaf()
    y = (p + 1.0 - p * 3.0).reshape(-1)[1:].sum()
    write(p)
    np.testing.assert_array_equal(tg.grad(y, p)[0], [[0, -2], [-2, -2]])


@pytest.mark.parametrize("write", WRITES)
def test_changing_a_leaf_whose_result_was_saved_is_allowed(
    write: Callable[[tg.Tensor], None],
) -> None:
    p = leaf()
    expected = np.exp(p.data)
    y = tg.exp(p)
    write(p)
    np.testing.assert_allclose(tg.grad(y.sum(), p)[0], expected)


def test_changing_a_leaf_before_the_call_is_allowed() -> None:
    p = leaf()
    held = p.data
    held[...] = 2
    y = (p * p).sum()
    np.testing.assert_array_equal(tg.grad(y, p)[0], np.full((2, 2), 4))


def test_reading_data_is_allowed() -> None:
    p = leaf()
    held = p.data
    y = (p * p).sum()
    assert held.sum() == np.asarray(p).sum() == p.numpy().sum() == 10
    y.backward()


def test_data_of_a_result_cannot_be_written_to() -> None:
    p = leaf()
    for result in (p * 2, p.T, p[0], tg.exp(p)):
        with pytest.raises(ValueError, match="read-only"):
            result.data[0] = 1


def test_a_view_made_without_recording_cannot_be_written_to_either() -> None:
    p = leaf()
    with tg.no_grad():
        view = p.T
    with pytest.raises(ValueError, match="read-only"):
        view.data[0] = 1


def test_a_tensor_copies_its_data() -> None:
    source = np.ones(3)
    x = tg.Tensor(source, requires_grad=True)
    y = x * x
    source[...] = 5
    np.testing.assert_array_equal(tg.grad(y.sum(), x)[0], [2, 2, 2])
    copy = tg.Tensor(x)
    copy.data[0] = 7
    np.testing.assert_array_equal(x.data, [1, 1, 1])


# --- arrays and lists that are no Tensors --------------------------------------------------------


class Exposed:
    """Lends its memory by `__array__`, as many libraries' arrays do."""

    def __init__(self, memory: np.ndarray) -> None:
        self.memory = memory

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        return np.array(self.memory, dtype=dtype, copy=copy)


class Sub(np.ndarray):
    """An array of another class, such as a memory map."""


def fill(buffer: Any) -> None:
    for i in range(len(buffer)):
        buffer[i] = 100


CONSTANTS: dict[str, tuple[Callable[[], Any], Callable[[Any], None]]] = {
    "array": (lambda: np.array([2.0, 3.0]), fill),
    "array of another dtype": (lambda: np.array([2, 3], "f4"), fill),
    "view": (lambda: np.array([2.0, 3.0, 4.0])[:2], fill),
    "subclass": (lambda: np.array([2.0, 3.0]).view(Sub), fill),
    "list": (lambda: [2.0, 3.0], fill),
    "buffer": (lambda: array("d", [2.0, 3.0]), fill),
    "array-like": (lambda: Exposed(np.array([2.0, 3.0])), lambda lent: fill(lent.memory)),
}


@pytest.mark.parametrize(("make", "change"), CONSTANTS.values(), ids=CONSTANTS)
def test_a_constant_changed_after_the_call_gives_the_gradient_at_its_value_in_the_call(
    make: Callable[[], Any], change: Callable[[Any], None]
) -> None:
    x = tg.Tensor(np.array([1.0, 1.0]), requires_grad=True)
    constant = make()
    y = x * constant
    change(constant)
    np.testing.assert_array_equal(tg.grad(y.sum(), x)[0], [2, 3])


X = np.array([[1.0, 2.0], [3.0, 4.0]])
ARGUMENTS: dict[str, tuple[Callable[[tg.Tensor, Any], tg.Tensor], Callable[[], Any]]] = {
    "labels": (lambda x, a: tg.cross_entropy(x, a), lambda: np.array([0, 1])),
    "list of labels": (lambda x, a: tg.cross_entropy(x, a), lambda: [0, 1]),
    "rows": (lambda x, a: tg.cross_entropy(x, a), lambda: np.eye(2)),
    "list of rows": (lambda x, a: tg.cross_entropy(x, a), lambda: [[1.0, 0.0], [0.0, 1.0]]),
    "mask": (lambda x, a: tg.dropout(x, a), lambda: np.array([True, False])),
    "condition": (lambda x, a: tg.where(a, x, 0.0), lambda: [True, False]),
    "index": (lambda x, a: x[a], lambda: np.array([1])),
    "list as index": (lambda x, a: x[a], lambda: [1]),
    "index in a tuple": (lambda x, a: x[0, a], lambda: np.array([1])),
    "index of getitem": (lambda x, a: tg.getitem(x, a), lambda: np.array([1])),
    "list as index of getitem": (lambda x, a: tg.getitem(x, a), lambda: [1]),
    "tuple as index of getitem": (lambda x, a: tg.getitem(x, (0, a)), lambda: np.array([1])),
    "widths": (lambda x, a: tg.pad(x, a), lambda: [1, 2]),
    "widths of each axis": (lambda x, a: tg.pad(x, a), lambda: [[1, 2], [0, 1]]),
    "axes": (lambda x, a: tg.transpose(x, a) * X, lambda: [1, 0]),
}


@pytest.mark.parametrize(("call", "make"), ARGUMENTS.values(), ids=ARGUMENTS)
def test_other_arguments_may_be_changed_after_the_call_too(
    call: Callable[[tg.Tensor, Any], tg.Tensor], make: Callable[[], Any]
) -> None:
    x = tg.Tensor(X, requires_grad=True)
    (expected,) = tg.grad(call(x, make()).sum(), x)
    argument = make()
    y = call(x, argument)
    flat = argument if isinstance(argument[0], bool | int | np.generic) else argument[0]
    flat[0] = 1 - flat[0]
    np.testing.assert_array_equal(tg.grad(y.sum(), x)[0], expected)


@pytest.mark.parametrize(
    "copied", [copy.copy, copy.deepcopy, lambda p: pickle.loads(pickle.dumps(p))]
)
def test_a_copy_does_not_bring_along_how_far_another_process_has_counted(
    copied: Callable[[tg.Tensor], tg.Tensor],
) -> None:
    p = leaf()
    p.changed = 10**12
    again = copied(p)
    (again * again).sum().backward()
    assert again.grad.tolist() == [[2.0, 4.0], [6.0, 8.0]]
    assert (again.name, again.requires_grad, p.changed) == (p.name, True, 10**12)
