"""Sums of gradients as rows, and their addition to ``.grad``."""

from __future__ import annotations

from tinygrad_cnn.compiler.lowering.tape import Writer, elementwise_row
from tinygrad_cnn.compiler.program import AddGradients, StoreGradient
from tinygrad_cnn.engine.fast.sums import accumulated, added


def add_gradients(writer: Writer, sum_of: AddGradients) -> bool:
    """Write the sum of two gradients of one value."""
    left, right, result = sum_of.left, sum_of.right, sum_of.result
    orders = {writer.order(value) for value in (left, right, result)}
    if len(orders) > 1 or not left.dtype == right.dtype == result.dtype:
        return False
    places = [writer.at(value) for value in (left, right, result)]
    elementwise_row(writer, added, result, *places)
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
    elementwise_row(writer, accumulated, leaf, writer.at(gradient), place, numbers=(earlier,))
    return True
