"""Values as strided views of memory, for rows that copy or broadcast."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from tinygrad_cnn.compiler.lowering.tape import Writer
from tinygrad_cnn.compiler.program import ConstantValue, InputValue, LeafValue, StepValue
from tinygrad_cnn.engine.fast.kernel import Kernel
from tinygrad_cnn.engine.fast.moving import copied
from tinygrad_cnn.engine.fast.row_writer import PIECE, rows_of_piece
from tinygrad_cnn.engine.planes import Order
from tinygrad_cnn.engine.threads import BYTE

View: TypeAlias = NDArray[np.int8]
"""An array of the shape and strides of a value, counted in values. It has no numbers: NumPy's own
indexing and reshaping compute the strides of parts of it."""
AXES = 5  # that a copy can have,
BROADCAST_AXES = 3  # and an elementwise function


def view(writer: Writer, value: StepValue) -> View:
    """Return the view of a whole value."""
    steps, step = [0] * len(value.shape), 1
    for axis in reversed(writer.order(value)):
        steps[axis] = step
        step *= value.shape[axis]
    return as_strided(np.empty(1, np.int8), value.shape, steps)


def real_dtype(*values: Any) -> np.dtype[Any] | None:
    """Return the dtype of values, float32 or float64; None if there is another or several."""
    dtypes = {value.dtype if isinstance(value, StepValue) else None for value in values}
    dtype = dtypes.pop()
    return dtype if not dtypes and dtype is not None and dtype.char in "fd" else None


def merged(views: Sequence[View], order: Order) -> tuple[list[int], list[list[int]]]:
    """Return the lengths of the axes of views of one shape, and the steps of each along them.

    The axes are in the order given; adjacent ones are merged where all views allow it.
    """
    lengths: list[int] = []
    steps: list[list[int]] = [[] for _ in views]
    for axis in order:
        n = views[0].shape[axis]
        if n == 1:
            continue
        own = [v.strides[axis] for v in views]
        if lengths and all(s[-1] == n * step for s, step in zip(steps, own, strict=True)):
            lengths[-1] *= n
            for s, step in zip(steps, own, strict=True):
                s[-1] = step
        else:
            lengths.append(n)
            for s, step in zip(steps, own, strict=True):
                s.append(step)
    return lengths, steps


def write_broadcast(
    writer: Writer, kernel: Kernel, result: StepValue, operands: Sequence[StepValue], fixed: int = 0
) -> bool:
    """Write the row of an elementwise kernel; return False if its operands have too many axes.

    The first `fixed` operands have the shape and the order of the result: the kernel takes no steps
    for them.
    """
    dtype = real_dtype(result, *operands)
    if dtype is None:
        return False
    y = view(writer, result)
    views = [np.broadcast_to(view(writer, operand), result.shape) for operand in operands]
    lengths, (own, *steps) = merged([y, *views], writer.order(result))
    if len(lengths) > BROADCAST_AXES or any(step != own for step in steps[:fixed]):
        return False
    count = math.prod(result.shape)
    if len(lengths) < 2:  # cut into rows
        length = min(max(1, count), PIECE)
        inner = rows = -(-count // length)
        every = [(0, length * s[0], s[0]) if s else (0, 0, 1) for s in steps]
    else:
        length, inner = lengths[-1], lengths[-2]
        rows = count // max(1, length)
        every = [(s[0] if len(s) > 2 else 0, s[-2], s[-1]) for s in steps]
    each = rows_of_piece(length)
    places = [writer.at(value) for value in (*operands, result)]
    sizes = (count, max(1, inner), length, *[s for step in every[fixed:] for s in step], each)
    work = BYTE * dtype.itemsize * count * (1 + len(operands))
    writer.row(kernel, dtype, *places, *sizes, pieces=-(-rows // each), work=work)
    return True


def write_copy(
    writer: Writer,
    source: StepValue,
    result: StepValue,
    part: Callable[[View], View] = lambda x: x,
    into: Callable[[View], View] = lambda y: y,
    scale: float = 1.0,
) -> bool:
    """Write the row that copies a part of a value, times `scale`, into a part of another.

    The parts have one shape. If both are whole, and of one order in memory, the result becomes the
    memory of the source. Return False, without a row, if there are too many axes.
    """
    dtype = real_dtype(source, result)
    if dtype is None:
        return False
    x, y = view(writer, source), view(writer, result)
    try:
        of_x, of_y = part(x), into(y)
    except ValueError:  # a reshape that needs a copy
        return False
    both: list[Any] = [of_x, of_y]
    if not all(isinstance(each, np.ndarray) for each in both):
        return False  # NumPy returns numbers, not views, for some parts without axes
    order = tuple(sorted(range(of_y.ndim), key=lambda k: -abs(of_y.strides[k])))
    lengths, (x_steps, y_steps) = merged([of_x, of_y], order)
    is_whole = x_steps == y_steps and of_x.size == x.size == y.size
    is_own = not isinstance(source, LeafValue | ConstantValue | InputValue)
    is_own = is_own and not writer.has(result)  # as of a gradient that rows write to .grad
    if is_whole and is_own and scale == 1.0 and of_x.size and len(lengths) < 2:
        writer.alias(result, source)
        return True
    if len(lengths) > AXES:
        return False
    lengths = [1] * (AXES - len(lengths)) + lengths
    x_steps, y_steps = ([*[0] * AXES, *(s or [1])][-AXES:] for s in (x_steps, y_steps))
    rows, length = math.prod(lengths[:-1]), lengths[-1]
    each = rows_of_piece(length)
    starts = _start(of_x, x), _start(of_y, y)
    places = writer.at(source), writer.at(result), writer.number(scale)
    sizes = (*starts, rows, *lengths[1:], *x_steps, *y_steps, each)
    work = 2 * BYTE * dtype.itemsize * of_y.size
    writer.row(copied, dtype, *places, *sizes, pieces=-(-rows // each), work=work)
    return True


def _start(part: View, whole: View) -> int:
    """Return the position in memory of the first value of a part."""
    first: int = part.__array_interface__["data"][0] - whole.__array_interface__["data"][0]
    return first


def reshaped(v: View, shape: Sequence[int]) -> View:
    """Return a view of another shape.

    Raises
    ------
    ValueError
        If there is none without a copy.
    """
    return np.reshape(v, shape, copy=False)
