"""Gradients as rows: their sums, and the arrays of ``.grad`` that rows write to."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from operator import is_
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn.compiler.lowering.tape import Writer
from tinygrad_cnn.compiler.program import AddGradients, LeafValue, StoreGradient
from tinygrad_cnn.core.variable import array_of
from tinygrad_cnn.engine.fast.elementwise import accumulated, added
from tinygrad_cnn.engine.threads import BYTE

IN_LIST = next(map(sys.getrefcount, [object()]))
"""The references that `getrefcount` counts of an object that only a list holds, when called so."""


def add_gradients(writer: Writer, sum_of: AddGradients) -> bool:
    """Write the sum of two gradients of one value."""
    left, right, result = sum_of.left, sum_of.right, sum_of.result
    orders = {writer.order(value) for value in (left, right, result)}
    if len(orders) > 1 or not left.dtype == right.dtype == result.dtype:
        return False
    places, count = [writer.at(v) for v in (left, right, result)], math.prod(result.shape)
    work = 3 * BYTE * result.dtype.itemsize * count
    writer.flat_row(added, result.dtype, count, *places, work=work)
    return True


def store_gradient(writer: Writer, store: StoreGradient, place: int, earlier: int) -> bool:
    """Write the addition of a gradient to the array at `place`.

    `earlier` is the place of a number: if that is 0, the array is overwritten.
    """
    gradient, leaf = store.gradient, store.leaf
    c_order = tuple(range(len(leaf.shape)))
    like = (gradient.shape, gradient.dtype) == (leaf.shape, leaf.dtype)
    if not like or writer.order(gradient) != c_order:
        return False
    count = math.prod(leaf.shape)
    work = 2 * BYTE * leaf.dtype.itemsize * count
    writer.flat_row(accumulated, leaf.dtype, count, writer.at(gradient), place, earlier, work=work)
    return True


class StoredGradient:
    """The gradient of a leaf, in an array of its own.

    Parameters
    ----------
    leaf : LeafValue
    writer : Writer
    is_first : bool
        Whether ``.grad`` is None before: the program has cleared it.

    Attributes
    ----------
    place : int
        Of the array in the table of addresses.
    earlier : int
        The place in the table of numbers of 1 if rows add to the array, 0 if they overwrite it.
    cleared, stored : int
        The instructions that clear ``.grad`` before, -1 if it is not in the same tape, and that
        store the gradient first.
    """

    def __init__(self, leaf: LeafValue, writer: Writer, is_first: bool) -> None:
        self.tensor, self.is_first = leaf.tensor, is_first
        self.shape, self.dtype = leaf.shape, leaf.dtype
        self.cleared, self.stored = -1, -1
        self.place = writer.source(self)
        self.earlier = writer.number(0.0) if is_first else writer.number_slot()


class StoredGradients:
    """The gradients that one tape writes first, and that the same or another one stores.

    To make an array for each gradient and run takes a microsecond each, and a small network's step
    ten in all. So rows write to the array of the run before, unless something else refers to it,
    such as a variable with ``p.grad``, which keeps its numbers. Only the count of references shows
    that, as an array may be kept anywhere. It is referred to by ``.grad`` and by the list of own
    arrays; with a larger count, rows get a new array.

    Parameters
    ----------
    stored : sequence of StoredGradient
    at : memoryview of int64
        The table of addresses.
    numbers : memoryview of float
        The table of numbers.

    Attributes
    ----------
    are_own : bool
        Whether ``.grad`` will be the arrays that rows write to. Otherwise NumPy adds them to
        another array when they are stored.
    """

    def __init__(
        self, stored: Sequence[StoredGradient], at: memoryview, numbers: memoryview[float]
    ) -> None:
        self._stored = stored
        self._tensors = [each.tensor for each in stored]
        self._at, self._numbers = at, numbers
        self.are_own = True
        self._own: list[NDArray[Any] | None] = [None] * len(stored)
        self._usual = [IN_LIST + 1] * len(stored)
        self._all_first = all(each.is_first for each in stored)
        self._others: list[tuple[int, Any]] = []  # to add to after the run
        self._known = False

    def prepare(self) -> None:
        """Let the rows write to arrays that no one else refers to."""
        own, tensors = self._own, self._tensors
        self._known = (
            self._all_first
            and all(map(is_, [tensor._grad for tensor in tensors], own))
            and list(map(sys.getrefcount, own)) == self._usual
        )
        if self._known:
            return
        self._others.clear()
        for i, each in enumerate(self._stored):
            earlier = each.tensor._grad
            is_own = earlier is not None and earlier is own[i]
            held = next(map(sys.getrefcount, own[i : i + 1])) - (IN_LIST + 1) - 2 * is_own
            if own[i] is None or held > 0:
                own[i] = array = np.empty(each.shape, each.dtype)
                self._at[each.place] = array.ctypes.data
                del array
                is_own = False
            if not each.is_first:
                self._numbers[each.earlier] = float(is_own)
                if earlier is not None and not is_own:
                    self._others.append((i, earlier))
        self.are_own = not self._others

    def store(self) -> None:
        """Set ``.grad`` after the run."""
        if self._known:
            return
        for i, earlier in self._others:
            self._own[i] = np.asarray(array_of(earlier) + self._own[i])
        for tensor, array in zip(self._tensors, self._own, strict=True):
            tensor._grad = array
        for i, _ in self._others:
            self._own[i] = None
        self._others.clear()

    def store_until(self, failed: int) -> None:
        """Set ``.grad`` as the instructions before one do, which ended the run."""
        others = dict(self._others)
        for i, each in enumerate(self._stored):
            array = self._own[i]
            if each.stored < failed:
                earlier = others.get(i)
                is_sum = earlier is not None
                each.tensor._grad = np.asarray(array_of(earlier) + array) if is_sum else array
                if is_sum:
                    self._own[i] = None
            elif each.is_first and each.cleared < failed:
                each.tensor._grad = None
        self._others.clear()
