"""Functions of ``torch``, also methods of Tensor, that need more than a line of the table."""

from __future__ import annotations

import builtins
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from tinygrad_cnn import ops
from tinygrad_cnn.compat.torch.table import sizes_of
from tinygrad_cnn.compat.torch.tensor import Tensor, values_of, wrapped
from tinygrad_cnn.core.numpy_dispatch import discrete
from tinygrad_cnn.core.observer import announce
from tinygrad_cnn.core.variable import array_of


class ValuesAndIndices(NamedTuple):
    """Values chosen along an axis, and their places."""

    values: Any
    indices: Any


# --- arithmetic ----------------------------------------------------------------------------------


def add(input: Any, other: Any, tensor: Any = None, *, alpha: Any = 1, out: Any = None) -> Any:
    """Return ``input + alpha * other``; older programs write ``add(input, alpha, other)``."""
    if tensor is not None:
        other, alpha = tensor, other
    result = wrapped(ops.add(input, other if _is_one(alpha) else ops.mul(other, alpha)))
    return result if out is None else out.copy_(result)


def sub(input: Any, other: Any, *, alpha: Any = 1) -> Any:
    """Return ``input - alpha * other``."""
    return wrapped(ops.sub(input, other if _is_one(alpha) else ops.mul(other, alpha)))


def div(input: Any, other: Any, *, rounding_mode: str | None = None) -> Any:
    """Return ``input / other``, with ``rounding_mode="floor"`` or ``"trunc"`` rounded."""
    quotient = ops.div(input, other)
    if rounding_mode is None:
        return wrapped(quotient)
    if rounding_mode not in ("floor", "trunc"):
        raise ValueError(
            f"div: rounding_mode is {rounding_mode!r}, expected None, 'floor' or 'trunc'"
        )
    quotient = wrapped(quotient).detach()
    down = ops.floor(quotient if rounding_mode == "floor" else ops.abs(quotient))
    rounded = down if rounding_mode == "floor" else ops.sign(quotient) * down
    whole = all(np.asarray(array_of(v)).dtype.kind in "iu" for v in (input, other))
    return ops.astype(rounded, np.int64) if whole else rounded


def pow(input: Any, exponent: Any) -> Any:
    """Return ``input ** exponent``; powers of integers are integers."""
    arrays = [np.asarray(array_of(value)) for value in (input, exponent)]
    if all(array.dtype.kind in "iu" for array in arrays):
        return wrapped(discrete(np.power, input, exponent))
    return wrapped(ops.pow(input, exponent))


def _is_one(alpha: Any) -> bool:
    return not isinstance(alpha, Tensor) and bool(alpha == 1)


# --- reductions ----------------------------------------------------------------------------------


def max(input: Any, dim: Any = None, keepdim: bool = False, *, other: Any = None) -> Any:
    """Return the largest value, or with `dim` the values and their indices.

    ``max(input, other)`` of two Tensors is `maximum`.
    """
    return _extreme("max", input, dim, keepdim, other)


def min(input: Any, dim: Any = None, keepdim: bool = False, *, other: Any = None) -> Any:
    """Return the smallest value, or with `dim` the values and their indices; see `max`."""
    return _extreme("min", input, dim, keepdim, other)


def maximum(input: Any, other: Any) -> Any:
    """Return the larger of two values; at a tie each gets half the gradient."""
    return wrapped(_of_two(ops.maximum, input, other))


def minimum(input: Any, other: Any) -> Any:
    """Return the smaller of two values; at a tie each gets half the gradient."""
    return wrapped(_of_two(ops.minimum, input, other))


def _of_two(function: Any, input: Any, other: Any) -> Any:
    tie = np.asarray(array_of(input) == array_of(other))
    larger = function(input, other)
    if not (getattr(larger, "requires_grad", False) and tie.any()):
        return larger
    return ops.where(tie, input * 0.5 + other * 0.5, larger)


def amax(input: Any, dim: Any = None, keepdim: bool = False) -> Any:
    """Return the largest value; equal ones share the gradient."""
    return wrapped(_shared(ops.max, input, dim, keepdim))


def amin(input: Any, dim: Any = None, keepdim: bool = False) -> Any:
    """Return the smallest value; equal ones share the gradient."""
    return wrapped(_shared(ops.min, input, dim, keepdim))


def _shared(function: Any, input: Any, dim: Any, keepdim: bool) -> Any:
    axis = tuple(dim) if isinstance(dim, list) else dim
    if not getattr(input, "requires_grad", False):
        return function(input, axis=axis, keepdims=keepdim)
    chosen = input._array == array_of(function(input._array, axis=axis, keepdims=True))
    count = np.sum(chosen, axis=axis, keepdims=keepdim)
    return ops.sum(ops.where(chosen, input, 0.0), axis=axis, keepdims=keepdim) / count


def _extreme(name: str, input: Any, dim: Any, keepdim: bool, other: Any) -> Any:
    other = dim if isinstance(dim, Tensor | np.ndarray) else other
    if other is not None:
        return maximum(input, other) if name == "max" else minimum(input, other)
    if dim is None:
        return amax(input) if name == "max" else amin(input)
    choose = ops.argmax if name == "max" else ops.argmin
    found = along(input, dim, choose(input, dim, True))
    return found if keepdim else ValuesAndIndices(*(ops.squeeze(v, dim) for v in found))


def median(input: Any, dim: Any = None, keepdim: bool = False) -> Any:
    """Return the median, the lower one of two, or with `dim` the values and their indices."""
    if dim is None:
        return median(wrapped(ops.ravel(input)), 0).values
    return kthvalue(input, (input.shape[dim] - 1) // 2 + 1, dim, keepdim)


def kthvalue(input: Any, k: int, dim: int = -1, keepdim: bool = False) -> ValuesAndIndices:
    """Return the k-th smallest value along `dim`, from 1 on, and its index."""
    found = along(input, dim, np.take(ops.argsort(input, dim), [k - 1], axis=dim))
    return found if keepdim else ValuesAndIndices(*(ops.squeeze(v, dim) for v in found))


def var(
    input: Any,
    dim: Any = None,
    unbiased: bool = True,
    keepdim: bool = False,
    *,
    correction: int | None = None,
) -> Any:
    """Return the variance: divided by n − 1, or by n with ``unbiased=False``."""
    return wrapped(_spread(ops.var, input, dim, unbiased, keepdim, correction))


def std(
    input: Any,
    dim: Any = None,
    unbiased: bool = True,
    keepdim: bool = False,
    *,
    correction: int | None = None,
) -> Any:
    """Return the standard deviation; see `var`."""
    return wrapped(_spread(ops.std, input, dim, unbiased, keepdim, correction))


def var_mean(
    input: Any,
    dim: Any = None,
    unbiased: bool = True,
    keepdim: bool = False,
    *,
    correction: int | None = None,
) -> tuple[Any, Any]:
    """Return the variance and the mean; see `var`."""
    mean = input.mean(None if isinstance(dim, bool) else dim, keepdim)
    return var(input, dim, unbiased, keepdim, correction=correction), mean


def std_mean(
    input: Any,
    dim: Any = None,
    unbiased: bool = True,
    keepdim: bool = False,
    *,
    correction: int | None = None,
) -> tuple[Any, Any]:
    """Return the standard deviation and the mean; see `var`."""
    mean = input.mean(None if isinstance(dim, bool) else dim, keepdim)
    return std(input, dim, unbiased, keepdim, correction=correction), mean


def _spread(
    function: Any, input: Any, dim: Any, unbiased: Any, keepdim: bool, correction: int | None
) -> Any:
    if isinstance(dim, bool):  # var(unbiased)
        dim, unbiased = None, dim
    ddof = int(unbiased) if correction is None else correction
    axis = tuple(dim) if isinstance(dim, list) else dim
    return function(input, axis=axis, ddof=ddof, keepdims=keepdim)


def norm(input: Any, p: Any = 2, dim: Any = None, keepdim: bool = False) -> Any:
    """Return the p-norm of all values, or along `dim`; ``"fro"`` is 2."""
    axis = tuple(dim) if isinstance(dim, list) else dim
    order = 2 if p in ("fro", None) else p
    if axis is None:
        return wrapped(ops.norm(ops.ravel(input), order))
    return wrapped(ops.norm(input, order, axis=axis, keepdims=keepdim))


def cumprod(input: Any, dim: int) -> Any:
    """Return the products of the values up to each along `dim`."""
    parts = [*unbind(input, dim)]
    for i in range(1, len(parts)):
        parts[i] = parts[i - 1] * parts[i]
    return wrapped(ops.stack(parts, axis=dim)) if parts else input


# --- choosing ------------------------------------------------------------------------------------


def along(input: Any, dim: int, index: Any) -> ValuesAndIndices:
    """Return the values at `index` along an axis, and the index as a Tensor."""
    index = np.asarray(array_of(index))
    values = wrapped(ops.getitem(input, _grid(index, dim)))
    others = np.delete(input.shape, dim), np.delete(index.shape, dim)
    if np.array_equal(*others):  # else a length of 1 is the first entry here, and repeated there
        arguments = {"x": input, "indices": index, "axis": dim}
        values = announce("take_along_axis", arguments, values)
    return ValuesAndIndices(values, wrapped(index))


def _grid(index: Any, dim: int) -> tuple[Any, ...]:
    """Return the index of the entries that are at `index` along an axis."""
    grid: list[Any] = list(np.ogrid[tuple(map(slice, index.shape))])
    grid[dim] = index
    return tuple(grid)


def gather(input: Any, dim: int, index: Any) -> Any:
    """Return the values at `index` along `dim`."""
    return along(input, dim, index).values


def sort(
    input: Any, dim: int = -1, descending: bool = False, stable: bool = False
) -> ValuesAndIndices:
    """Return the sorted values along `dim`, and their indices."""
    return along(input, dim, ops.argsort(input, dim, descending))


def argsort(input: Any, dim: int = -1, descending: bool = False, stable: bool = False) -> Any:
    """Return the indices that sort along `dim`."""
    return wrapped(ops.argsort(input, dim, descending))


def topk(
    input: Any, k: int, dim: int = -1, largest: bool = True, sorted: bool = True
) -> ValuesAndIndices:
    """Return the k largest values along `dim`, and their indices."""
    if k > input.shape[dim]:
        raise RuntimeError(f"topk: k is {k}, but axis {dim} has {input.shape[dim]} values")
    return ValuesAndIndices(*map(wrapped, ops.topk(input, k, dim, largest)))


def scatter(input: Any, dim: int, index: Any, src: Any = None, *, value: Any = None) -> Any:
    """Return `input` with `src`, a Tensor or number, written at `index` along `dim`."""
    src = value if src is None else src
    index = np.asarray(array_of(index))
    source = src if np.ndim(array_of(src)) == 0 else src[tuple(map(slice, index.shape))]
    result = wrapped(ops.astype(input, input.dtype))
    result[_grid(index, dim)] = source
    arguments = {"x": input, "indices": index, "values": source, "axis": dim}
    return announce("scatter", arguments, result)


def index_add(input: Any, dim: int, index: Any, source: Any, *, alpha: Any = 1) -> Any:
    """Return `input` with the parts of `source` added at `index` along `dim`."""
    place = (*(slice(None),) * (dim % input.dim()), array_of(index))
    return input + alpha * wrapped(ops.put(source, place, tuple(input.shape)))


def nonzero(input: Any, as_tuple: bool = False) -> Any:
    """Return the indices of nonzero values: a row for each, or with `as_tuple` an axis each."""
    places = np.nonzero(values_of(input))
    return wrapped(tuple(places)) if as_tuple else Tensor._of(np.stack(places, axis=1))


def unique(
    input: Any, sorted: bool = True, return_inverse: bool = False, return_counts: bool = False
) -> Any:
    """Return the distinct values."""
    options: Any = {"return_inverse": return_inverse, "return_counts": return_counts}
    return wrapped(np.unique(values_of(input), **options))


# --- parts ---------------------------------------------------------------------------------------


def narrow(input: Any, dim: int, start: int, length: int) -> Any:
    """Return `length` entries along `dim`, from `start` on."""
    before = (slice(None),) * (dim % input.dim())
    return input[(*before, slice(start, start + length))]


def diff(input: Any, n: int = 1, dim: int = -1) -> Any:
    """Return the differences of neighbors along `dim`, taken `n` times."""
    for _ in range(n):
        length = input.shape[dim] - 1
        input = narrow(input, dim, 1, length) - narrow(input, dim, 0, length)
    return input


def select(input: Any, dim: int, index: int) -> Any:
    """Return the part at `index` of `dim`, without this axis."""
    return input[(slice(None),) * (dim % input.dim()) + (index,)]


def split(
    tensor: Any, split_size_or_sections: int | Sequence[int], dim: int = 0
) -> tuple[Any, ...]:
    """Return parts along `dim`, of one size or of the given sizes."""
    count = tensor.shape[dim]
    if isinstance(split_size_or_sections, int):
        size = split_size_or_sections
        sizes = [builtins.min(size, count - at) for at in range(0, count, size)]
    else:
        sizes = [*split_size_or_sections]
        if sum(sizes) != count:
            raise RuntimeError(f"split: the sizes are {sizes}, expected a sum of {count}")
    ends = np.cumsum(sizes).tolist()
    return tuple(narrow(tensor, dim, end - n, n) for end, n in zip(ends, sizes, strict=True))


def chunk(input: Any, chunks: int, dim: int = 0) -> tuple[Any, ...]:
    """Return at most `chunks` parts of equal size along `dim`; the last may be smaller."""
    return split(input, builtins.max(1, math.ceil(input.shape[dim] / chunks)), dim)


def unbind(input: Any, dim: int = 0) -> tuple[Any, ...]:
    """Return the parts along `dim`, without this axis."""
    return tuple(select(input, dim, i) for i in range(input.shape[dim]))


def unfold(input: Any, dimension: int, size: int, step: int) -> Any:
    """Return windows of `size` along an axis, each `step` further; they become the last axis."""
    at = dimension % input.dim()
    starts = np.arange(0, input.shape[at] - size + 1, step)
    windows = input[(*(slice(None),) * at, starts[:, None] + np.arange(size))]
    return windows.movedim(at + 1, -1)


def unflatten(input: Any, dim: int, sizes: Sequence[int]) -> Any:
    """Return `input` with axis `dim` split into axes of these sizes."""
    at = dim % input.dim()
    return wrapped(ops.reshape(input, (*input.shape[:at], *sizes, *input.shape[at + 1 :])))


def expand(input: Any, *sizes: Any) -> Any:
    """Return `input` repeated along axes of length 1; −1 keeps an axis."""
    wanted = sizes_of(sizes)
    own = (1,) * (len(wanted) - input.dim()) + tuple(input.shape)
    shape = tuple(a if b == -1 else b for a, b in zip(own, wanted, strict=True))
    return wrapped(ops.broadcast_to(input, shape))


def meshgrid(*tensors: Any, indexing: str = "ij") -> tuple[Any, ...]:
    """Return the coordinates of a grid: a Tensor for each axis."""
    if len(tensors) == 1 and isinstance(tensors[0], tuple | list):
        tensors = tuple(tensors[0])
    if indexing not in ("ij", "xy"):
        raise ValueError(f"meshgrid: indexing is {indexing!r}, expected 'ij' or 'xy'")
    shape = tuple(tensor.numel() for tensor in tensors)
    grids = []
    for i, tensor in enumerate(tensors):
        line = ops.reshape(tensor, tuple(-1 if k == i else 1 for k in range(len(shape))))
        grid = wrapped(ops.broadcast_to(line, shape))
        grids.append(grid.transpose(0, 1) if indexing == "xy" and len(shape) > 1 else grid)
    return tuple(grids)


def diag(input: Any, diagonal: int = 0) -> Any:
    """Return a diagonal of a matrix, or the matrix with this diagonal."""
    if input.dim() == 2:
        return wrapped(ops.diagonal(input, diagonal))
    n = input.shape[0] + abs(diagonal)
    rows = np.arange(input.shape[0])
    place = rows + builtins.max(-diagonal, 0), rows + builtins.max(diagonal, 0)
    return wrapped(ops.put(input, place, (n, n)))


def einsum(equation: str, *operands: Any) -> Any:
    """Return the sum of products that `equation` describes."""
    if len(operands) == 1 and isinstance(operands[0], tuple | list):
        operands = tuple(operands[0])
    return wrapped(ops.einsum(equation, *operands))
