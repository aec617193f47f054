"""Sums of products over named axes: einsum, and its special cases. All are made of `matmul`."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import combinations
from typing import Any, TypeAlias

import numpy as np

from tinygrad_cnn.core.composition import composition
from tinygrad_cnn.core.variable import Array
from tinygrad_cnn.ops.arithmetic import mul
from tinygrad_cnn.ops.arrangement import diagonal
from tinygrad_cnn.ops.linear import matmul
from tinygrad_cnn.ops.reduction import sum
from tinygrad_cnn.ops.shape import axes_of, reshape, shape_of, transpose

Labels: TypeAlias = tuple[str, ...]
"""The name of each axis."""


@composition(formula="Σ a·b·… over the indices that the result lacks")
def einsum(subscripts: str, *operands: Array) -> Array:
    """Return the sum of products that `subscripts` describes, in Einstein's notation.

    Parameters
    ----------
    subscripts : str
        A letter for each axis of each operand, then those of the result: ``"bij,bjk->bik"`` is a
        matrix product of batches. An index that the result lacks is summed over. Equal letters in
        one operand take its diagonal. ``...`` stands for all other axes, which broadcast. Without
        ``->`` the result has the letters that stand once, in alphabetical order.
    *operands : Tensor or array_like

    Raises
    ------
    ValueError
        If the letters do not fit the operands, or an index has two lengths.

    Notes
    -----
    Two operands at a time are multiplied by `matmul`, the cheapest pair first.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> a = tg.Tensor([[1.0, 2.0], [3.0, 4.0]])
    >>> tg.einsum("ii", a).item(), tg.einsum("ij,j->i", a, [1.0, 10.0])
    (5.0, Tensor([21., 43.]))
    """
    inputs, output = _parsed(subscripts, [len(shape_of(x)) for x in operands])
    sizes = _sizes(subscripts, inputs, [shape_of(x) for x in operands])
    terms = [_simple(x, labels, sizes) for x, labels in zip(operands, inputs, strict=True)]
    while len(terms) > 1:
        terms = _joined(terms, output, sizes)
    ((x, labels),) = terms
    x, labels = _summed(x, labels, output)
    y = _arranged(x, labels, output, [sizes[k] for k in output])
    return reshape(y, shape_of(y)) if y is operands[0] else y


@composition(formula="Σ a·b over pairs of axes")
def tensordot(a: Array, b: Array, axes: Any = 2) -> Array:
    """Return the sum of products of `a` and `b` over pairs of their axes.

    Parameters
    ----------
    a, b : Tensor or array_like
    axes : int, or a pair of int or sequences of int
        The axes of `a` and those of `b` to sum over. A number n stands for the last n axes of `a`
        and the first n of `b`.

    Returns
    -------
    Tensor
        With the other axes of `a`, then those of `b`.

    Raises
    ------
    ValueError
        If the axes differ in number or length.

    Examples
    --------
    >>> import numpy as np
    >>> import tinygrad_cnn as tg
    >>> tg.tensordot(tg.Tensor(np.ones((2, 3, 4))), np.ones((4, 5)), axes=1).shape
    (2, 3, 5)
    """
    shapes = shape_of(a), shape_of(b)
    if isinstance(axes, int | np.integer):
        axes = (range(len(shapes[0]) - axes, len(shapes[0])), range(axes))
    first, second = (
        axes_of("tensordot", shape, tuple(one) if isinstance(one, Iterable) else int(one))
        for shape, one in zip(shapes, axes, strict=True)
    )
    lengths = [shapes[0][k] for k in first]
    if lengths != [shapes[1][k] for k in second]:
        raise ValueError(
            f"tensordot: axes {first} of a {shapes[0]} and {second} of b {shapes[1]} differ in "
            "length"
        )
    left = [k for k in range(len(shapes[0])) if k not in first]
    right = [k for k in range(len(shapes[1])) if k not in second]
    kept = [*(shapes[0][k] for k in left), *(shapes[1][k] for k in right)]
    rows, columns = kept[: len(left)], kept[len(left) :]
    matrix = reshape(transpose(a, (*left, *first)), (math.prod(rows), math.prod(lengths)))
    other = reshape(transpose(b, (*second, *right)), (math.prod(lengths), math.prod(columns)))
    return reshape(matmul(matrix, other), kept)


@composition(formula="Σ a·b over the last axis of a and the last but one of b")
def dot(a: Array, b: Array) -> Array:
    """Return the product of two vectors or matrices, or of one with a number.

    As NumPy's: `matmul` for vectors and matrices, `mul` for a number, and for more axes
    `tensordot` over the last axis of `a` and the last but one of `b`.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> tg.dot(tg.Tensor([1.0, 2.0]), [3.0, 4.0]).item()
    11.0
    """
    if not shape_of(a) or not shape_of(b):
        return mul(a, b)
    return matmul(a, b) if len(shape_of(b)) < 3 else tensordot(a, b, (-1, -2))


@composition(formula="a bᵀ of vectors a and b")
def outer(a: Array, b: Array) -> Array:
    """Return all products of an entry of `a` and one of `b`, as a matrix.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> tg.outer(tg.Tensor([1.0, 2.0]), [3.0, 4.0])
    Tensor([[3., 4.],
            [6., 8.]])
    """
    return matmul(reshape(a, (-1, 1)), reshape(b, (1, -1)))


# --- einsum, step by step ------------------------------------------------------------------------


def _parsed(subscripts: str, ndims: Sequence[int]) -> tuple[list[Labels], Labels]:
    """Return the labels of the operands and of the result; those of an ellipsis are digits."""
    text, arrow, result = subscripts.replace(" ", "").partition("->")
    parts = text.split(",")
    if len(parts) != len(ndims):
        raise ValueError(f"einsum: {subscripts!r} has {len(parts)} terms for {len(ndims)} operands")
    if not all(part.replace("...", "", 1).isalpha() or part in ("", "...")
               for part in [*parts, result]):  # fmt: skip
        raise ValueError(f"einsum: {subscripts!r}, expected letters, '...', ',' and one '->'")
    hidden = [n - len(p) + 3 if "..." in p else 0 for p, n in zip(parts, ndims, strict=True)]
    rest = [str(k) for k in range(max(hidden, default=0))]
    inputs = []
    for k, (part, ndim, gap) in enumerate(zip(parts, ndims, hidden, strict=True)):
        before, _, behind = part.partition("...")
        labels = (*before, *rest[len(rest) - gap :], *behind)
        if gap < 0 or len(labels) != ndim:
            raise ValueError(
                f"einsum: term {part!r} of {subscripts!r} does not fit operand {k}, which has "
                f"{ndim} axes"
            )
        inputs.append(labels)
    letters = [k for labels in inputs for k in labels if k.isalpha()]
    if not arrow:
        return inputs, (*rest, *sorted(k for k in {*letters} if letters.count(k) == 1))
    before, dots, behind = result.partition("...")
    output = (*before, *(rest if dots else ()), *behind)
    if len({*output}) < len(output) or not {*before, *behind} <= {*letters}:
        raise ValueError(
            f"einsum: {subscripts!r}: the result has a letter twice, or one that no operand has"
        )
    return inputs, output


def _sizes(subscripts: str, inputs: list[Labels], shapes: list[Any]) -> dict[str, int]:
    """Return the length of each index; an axis of length 1 is repeated."""
    sizes: dict[str, int] = {}
    for labels, shape in zip(inputs, shapes, strict=True):
        for label, n in zip(labels, shape, strict=True):
            known = sizes.get(label, 1)
            if known not in (1, n) and n != 1:
                raise ValueError(
                    f"einsum: {subscripts!r}: index {label} has length {known} and {n} "
                    f"(operands: {', '.join(map(str, shapes))})"
                )
            sizes[label] = n if known == 1 else known
    return sizes


def _simple(x: Array, labels: Labels, sizes: dict[str, int]) -> tuple[Array, Labels]:
    """Return `x` with each label once, and without axes that other operands repeat."""
    shape = shape_of(x)
    kept = [k for k, label in enumerate(labels) if shape[k] == sizes[label]]
    if len(kept) < len(shape):
        x = reshape(x, [shape[k] for k in kept])
    labels = tuple(labels[k] for k in kept)
    for label in sorted({*labels}):
        while labels.count(label) > 1:
            first = labels.index(label)
            second = labels.index(label, first + 1)
            x = diagonal(x, 0, first, second)
            labels = (*(k for i, k in enumerate(labels) if i not in (first, second)), label)
    return x, labels


def _joined(
    terms: list[tuple[Array, Labels]], output: Labels, sizes: dict[str, int]
) -> list[tuple[Array, Labels]]:
    """Return the terms with the pair that is cheapest to multiply as one."""

    def cost(pair: tuple[int, int]) -> tuple[int, int]:
        both = {*terms[pair[0]][1], *terms[pair[1]][1]}
        needed = both & {*output, *(k for i in others(pair) for k in terms[i][1])}
        return math.prod(sizes[k] for k in both), math.prod(sizes[k] for k in needed)

    def others(pair: tuple[int, int]) -> list[int]:
        return [i for i in range(len(terms)) if i not in pair]

    pair = min(combinations(range(len(terms)), 2), key=cost)
    left = [terms[i] for i in others(pair)]
    needed = {*output, *(k for _, labels in left for k in labels)}
    return [*left, _product(*terms[pair[0]], *terms[pair[1]], needed, sizes)]


def _product(
    a: Array, of_a: Labels, b: Array, of_b: Labels, needed: set[str], sizes: dict[str, int]
) -> tuple[Array, Labels]:
    """Return the product of two terms, summed over the labels that nothing needs."""
    a, of_a = _summed(a, of_a, needed | {*of_b})
    b, of_b = _summed(b, of_b, needed | {*of_a})
    batch = [k for k in of_a if k in of_b and k in needed]
    summed = [k for k in of_a if k in of_b and k not in needed]
    rows = [k for k in of_a if k not in of_b]
    columns = [k for k in of_b if k not in of_a]

    if (not summed and not (rows and columns)) or (batch and not rows and not columns):
        order = (*batch, *summed, *rows, *columns)  # entry by entry
        a = _arranged(a, of_a, order, [1 if k in columns else sizes[k] for k in order])
        b = _arranged(b, of_b, order, [1 if k in rows else sizes[k] for k in order])
        return _summed(mul(a, b), order, needed)
    lead = [sizes[k] for k in batch]
    n, k, m = (math.prod(sizes[k] for k in part) for part in (rows, summed, columns))
    a = _arranged(a, of_a, (*batch, *rows, *summed), (*lead, n, k))
    b = _arranged(b, of_b, (*batch, *summed, *columns), (*lead, k, m))
    labels = (*batch, *rows, *columns)
    return reshape(matmul(a, b), [sizes[k] for k in labels]), labels


def _summed(x: Array, labels: Labels, needed: Iterable[str]) -> tuple[Array, Labels]:
    """Return `x` summed over the labels that are not needed."""
    gone = tuple(i for i, label in enumerate(labels) if label not in needed)
    kept = tuple(label for label in labels if label in needed)
    return (sum(x, gone) if gone else x), kept


def _arranged(x: Array, labels: Labels, order: Sequence[str], shape: Sequence[int]) -> Array:
    """Return `x` with its axes in another order, then in another shape."""
    places = tuple(labels.index(label) for label in order if label in labels)
    if places != tuple(range(len(places))):
        x = transpose(x, places)
    return x if shape_of(x) == tuple(shape) else reshape(x, shape)
