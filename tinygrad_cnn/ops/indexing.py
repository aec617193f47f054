"""Indexing and joining. Each op is linear, and its derivative moves the gradient back."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygrad_cnn.core.declaration import Draw, Prose, Strategies
from tinygrad_cnn.core.hidden import HiddenArray
from tinygrad_cnn.core.op import op
from tinygrad_cnn.core.recording import recording
from tinygrad_cnn.core.variable import Array, Variable
from tinygrad_cnn.engine import memory, reduction
from tinygrad_cnn.engine import rows as engine
from tinygrad_cnn.engine.arrays import Shape
from tinygrad_cnn.ops.entries import Index, Letters, LocalEntry, equal, place
from tinygrad_cnn.ops.shape import reshape


@op(formula="x[index]", latex=r"x_{\text{index}}", integers="kept", selecting=True)
def getitem(x: Array, index: Any) -> Array:
    """Return the part of `x` that `index` selects, as NumPy's indexing does.

    Parameters
    ----------
    x : Tensor or array_like
    index : int, slice, None, Ellipsis, integer or boolean array, or a tuple of these

    Raises
    ------
    IndexError
        If the index does not fit the shape of `x`.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> x = tg.Tensor([1.0, 2.0, 3.0])
    >>> x[1:], x[[0, 0, 2]]
    (Tensor([2., 3.]), Tensor([1., 1., 3.]))
    """
    x = np.asarray(x)
    along = _rows_along(index, x.ndim)
    try:
        return x[index] if along is None else engine.take(x, *along)
    except IndexError as error:
        raise IndexError(f"getitem: x has shape {np.shape(x)}: {error}") from None


@getitem.derivative("x", formula=Prose("g put back into zeros"), latex=r"\text{scatter}(g)")
def _(g: Array, *, index: Any, x_shape: Shape) -> Array:
    return put(g, index, x_shape)


@getitem.calls(always=[{"x": np.zeros((0, 3)), "index": (slice(None), 1)}])
def _(draw: Draw, s: Strategies) -> Any:
    x = draw(s.arrays())
    return {"x": x, "index": draw(s.indices(x.shape))}


@op(
    formula=Prose("zeros with Σ of x at index"),
    latex=r"\text{scatter}(x)",
    integers="widened",
    selecting=True,
)
def put(x: Array, index: Any, shape: Sequence[int]) -> Array:
    """Return zeros of `shape` with `x` added at `index`, the adjoint of `getitem`.

    Values at a repeated index are summed.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> tg.put(tg.Tensor([1.0, 2.0, 4.0]), [0, 0, 2], (3,))
    Tensor([3., 0., 4.])
    """
    x, shape = np.asarray(x), tuple(shape)
    along = _rows_along(index, len(shape))
    if along is not None:
        rows, axis = along
        if x.shape == (*shape[:axis], len(rows), *shape[axis + 1 :]):
            added = engine.put(x, rows, axis, shape[axis])
            if added is not None:
                return added
    once = _names_each_once(index)
    if once and x.ndim == len(shape):
        out = memory.empty_like(x, shape)  # in the memory order of x
        out.fill(0)
    else:
        out = np.zeros(shape, x.dtype)
    selected = out[index] if once else _positions(index, shape)
    if selected.shape != x.shape:
        raise ValueError(
            f"put: x has shape {x.shape}, but index selects {selected.shape} of {out.shape}"
        )
    if once:
        out[index] = x
        return out
    return reduction.add_at(x.reshape(-1), selected.reshape(-1), out.size).reshape(shape)


@put.derivative("x", formula="g[index]", latex=r"g_{\text{index}}")
def _(g: Array, *, index: Any) -> Array:
    return getitem(g, index)


@put.calls(always=[{"x": np.zeros(0), "index": (slice(None), 1), "shape": (0, 3)}])
def _(draw: Draw, s: Strategies) -> Any:
    shape = draw(s.shapes())
    index = draw(s.indices(shape))
    return {"x": draw(s.arrays(np.zeros(shape)[index].shape)), "index": index, "shape": shape}


@op(
    formula=Prose("x₁ ‖ x₂ ‖ …"),
    latex=r"[x_1, x_2, \dots]",
    sequence=True,
    integers="kept",
    selecting=True,
)
def concatenate(arrays: Sequence[Array], axis: int | None = 0) -> Array:
    """Return `arrays` joined along an existing axis.

    Parameters
    ----------
    arrays : sequence of Tensor or array_like
        Of equal shapes except along `axis`.
    axis : int or None
        None flattens the arrays before joining, as in NumPy.

    Raises
    ------
    ValueError
        If `arrays` is empty, or the other axes differ.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> tg.concatenate([tg.Tensor([1.0]), tg.Tensor([2.0, 3.0])])
    Tensor([1., 2., 3.])
    """
    if not arrays:
        raise ValueError("concatenate: arrays is empty, expected one or more")
    try:
        return np.concatenate(arrays, axis)
    except ValueError:
        shapes = [np.shape(array) for array in arrays]
        raise ValueError(f"concatenate: shapes {shapes} do not join along axis {axis}") from None


@concatenate.derivative("arrays", formula=Prose("the parts of g"), latex=r"g_{\text{part}}")
def _(g: Array, *, arrays_shape: list[Shape], axis: int | None) -> list[Array]:
    parts = []
    start = 0
    for shape in arrays_shape:
        stop = start + (math.prod(shape) if axis is None else shape[axis])
        before = () if axis is None else (slice(None),) * (axis % len(shape))
        part = getitem(g, (*before, slice(start, stop)))
        parts.append(reshape(part, shape) if axis is None else part)
        start = stop
    return parts


@concatenate.calls(always=[{"arrays": [np.zeros((0, 3)), np.ones((2, 3))]}])
def _(draw: Draw, s: Strategies) -> Any:
    shape = draw(s.shapes(min_dims=1, max_side=3))
    axis = draw(s.integers(-len(shape), len(shape) - 1))
    before, after = shape[: axis % len(shape)], shape[axis % len(shape) + 1 :]
    lengths = draw(s.lists(s.integers(0, 3), min_size=1, max_size=3))
    return {"arrays": [draw(s.arrays((*before, n, *after))) for n in lengths], "axis": axis}


@op(
    formula=Prose("x₁, x₂, … along a new axis"),
    latex=r"[x_1; x_2; \dots]",
    sequence=True,
    integers="kept",
    selecting=True,
)
def stack(arrays: Sequence[Array], axis: int = 0) -> Array:
    """Return `arrays`, all of the same shape, stacked along a new axis.

    Raises
    ------
    ValueError
        If `arrays` is empty, or the shapes differ.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> tg.stack([tg.Tensor([1.0, 2.0]), tg.Tensor([3.0, 4.0])], axis=1)
    Tensor([[1., 3.],
            [2., 4.]])
    """
    if not arrays:
        raise ValueError("stack: arrays is empty, expected one or more")
    try:
        return np.stack(arrays, axis)
    except ValueError:
        shapes = [np.shape(array) for array in arrays]
        raise ValueError(f"stack: shapes {shapes} do not stack along axis {axis}") from None


@stack.derivative("arrays", formula=Prose("the slices of g"), latex=r"g_{\text{slice}}")
def _(g: Array, *, arrays_shape: list[Shape], axis: int, y_shape: Shape) -> list[Array]:
    before = (slice(None),) * (axis % len(y_shape))
    return [getitem(g, (*before, i)) for i in range(len(arrays_shape))]


@stack.calls(always=[{"arrays": [np.zeros((0, 3))] * 2, "axis": 1}])
def _(draw: Draw, s: Strategies) -> Any:
    shape = draw(s.shapes(max_dims=2, max_side=3))
    count = draw(s.integers(1, 3))
    axis = draw(s.integers(-len(shape) - 1, len(shape)))
    return {"arrays": [draw(s.arrays(shape)) for _ in range(count)], "axis": axis}


def plain_index(index: Any) -> Any:
    """Return `index` with Tensors as arrays, and with mutable arrays copied."""
    if isinstance(index, tuple):
        return tuple(plain_index(part) for part in index)
    if isinstance(index, Variable):
        return index._array
    if isinstance(index, list) and not index:
        return np.empty(0, np.intp)
    if type(index) is HiddenArray or not isinstance(index, np.ndarray | list):
        return index
    array = np.array(index)
    for observer in recording.get().observers:
        observer.copied(index, array)
    return array


def _positions(index: Any, shape: Shape) -> Any:
    """Return the places of the selected elements in the vector of all."""
    parts = index if isinstance(index, tuple) and len(index) == len(shape) else (None,)
    if all(isinstance(part, np.ndarray) and part.dtype.kind in "iu" for part in parts):
        try:
            return np.ravel_multi_index(np.broadcast_arrays(*parts), shape)
        except ValueError:  # a negative index, or one out of range
            pass
    return np.arange(math.prod(shape)).reshape(shape)[index]


def _rows_along(index: Any, ndim: int) -> tuple[Any, int] | None:
    """Return the numbers and the axis of an index of rows, with nothing but whole axes beside."""
    parts = index if type(index) is tuple else (index,)
    found = None
    for axis, part in enumerate(parts):
        if type(part) is np.ndarray and part.ndim == 1 and part.dtype.kind in "iu":
            if found is not None:
                return None
            found = part, axis
        elif not (type(part) is slice and part == slice(None)):
            return None
    return found if ndim >= len(parts) else None


def _names_each_once(index: Any) -> bool:
    """Return whether `index` has no integer array, so that it selects no element twice."""
    parts = index if isinstance(index, tuple) else (index,)
    return all(
        part is None
        or part is Ellipsis
        or isinstance(part, int | np.integer | slice)
        or np.asarray(part).dtype == bool
        for part in parts
    )


# --- entries of the derivatives ------------------------------------------------------------------


@getitem.entry("x")
def _(y: Index, letters: Letters, *, x_shape: Shape, index: Any) -> LocalEntry | None:
    parts = index if isinstance(index, tuple) else (index,)
    if not all(map(_is_step, parts)):
        return None
    spent = sum(part is not None and part is not Ellipsis for part in parts)
    whole = (slice(None),) * (len(x_shape) - spent)
    cut = next((k for k, part in enumerate(parts) if part is Ellipsis), len(parts))
    left, axes = iter(y), iter(x_shape)
    x = []
    for part in (*parts[:cut], *whole, *parts[cut + 1 :]):
        if part is None:
            next(left)
            continue
        length = next(axes)
        if isinstance(part, slice):
            start, _, step = part.indices(length)
            written = place((step, next(left)), constant=start) or "0"
        else:
            written = str(int(part) % length)
        x.append("" if length == 1 else written)
    return tuple(x), "1"


def _is_step(part: Any) -> bool:
    """Return whether an index part is an integer, None, an ellipsis or a forward slice."""
    if isinstance(part, slice):
        return part.step is None or part.step > 0
    whole = isinstance(part, int | np.integer) and not isinstance(part, bool)
    return part is None or part is Ellipsis or whole


@concatenate.entry("arrays")
def _(
    y: Index, letters: Letters, *, arrays_shape: list[Shape], position: int, axis: int
) -> LocalEntry:
    axis %= len(y)
    before = sum(shape[axis] for shape in arrays_shape[:position])
    fresh = letters.fresh(arrays_shape[position][axis])
    return (*y[:axis], fresh, *y[axis + 1 :]), equal(y[axis], place((1, fresh), constant=before))


@stack.entry("arrays")
def _(y: Index, letters: Letters, *, position: int, axis: int) -> LocalEntry:
    axis %= len(y)
    return (*y[:axis], *y[axis + 1 :]), equal(y[axis], str(position))
