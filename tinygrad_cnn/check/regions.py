"""Descriptions of regions of an array, such as a row, a border or a diagonal."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tinygrad_cnn.check.functional import Array


def region(wrong: Array, known: Array, axes: Sequence[str] = ()) -> str:
    """Return a description of the region of the `wrong` entries among the `known` ones.

    A region is a block (some indices of some axes), a union of slices (a border, or a last row and
    a last column), or the entries on or off the diagonal. Empty if the entries form none of these.

    Examples
    --------
    >>> import numpy as np
    >>> rows = np.zeros((2, 1, 3, 3), bool)
    >>> rows[:, :, 1] = True
    >>> region(rows, np.full(rows.shape, True), ("output", "input", "kernel row", "kernel column"))
    'all entries at kernel row 1 (axis 2 = 1)'
    >>> region(~np.eye(3, dtype=bool), np.full((3, 3), True))
    'all entries off the diagonal'
    """
    if not (known & ~wrong).any():
        return "all entries"
    shape = wrong.shape
    if len(shape) == 2 and shape[0] == shape[1]:
        diagonal = np.eye(shape[0], dtype=bool)
        for entries, name in ((diagonal, "on"), (~diagonal, "off")):
            if np.array_equal(wrong, known & entries):
                return f"all entries {name} the diagonal"
    hit = [_indices(wrong, axis) for axis in range(wrong.ndim)]
    block = np.zeros(shape, bool)
    block[np.ix_(*hit)] = True
    if np.array_equal(wrong, known & block):
        return _in_words(hit, shape, axes, " and ")
    filled = [_filled(wrong, known, axis) for axis in range(wrong.ndim)]
    union = np.zeros(shape, bool)
    for axis, indices in enumerate(filled):
        union[(slice(None),) * axis + (indices,)] = True
    if not np.array_equal(wrong, known & union):
        return ""
    partial = [axis for axis, indices in enumerate(filled) if indices]
    if len(partial) > 1 and all(filled[axis] == [0, shape[axis] - 1] for axis in partial):
        return f"all entries on the border (axes {', '.join(map(str, partial))})"
    return _in_words(filled, shape, axes, " or ")


def _indices(wrong: Array, axis: int) -> list[int]:
    """Return the indices of an axis that have a wrong entry."""
    others = tuple(a for a in range(wrong.ndim) if a != axis)
    return [int(k) for k in np.flatnonzero(wrong.any(axis=others))]


def _filled(wrong: Array, known: Array, axis: int) -> list[int]:
    """Return the indices of an axis at which all known entries are wrong."""
    others = tuple(a for a in range(wrong.ndim) if a != axis)
    filled = (wrong | ~known).all(axis=others) & wrong.any(axis=others)
    return [int(k) for k in np.flatnonzero(filled)]


def _in_words(
    indices: Sequence[list[int]], shape: tuple[int, ...], axes: Sequence[str], joined: str
) -> str:
    """Return the axes with only some indices taken, and these indices, in words."""
    parts = [
        _one_axis(taken, axis, shape[axis], axes[axis] if axes else "")
        for axis, taken in enumerate(indices)
        if taken and len(taken) < shape[axis]
    ]
    if all(part.startswith("the last") for part in parts):
        return joined.join(parts)
    return f"all entries at {joined.join(parts)}"


def _one_axis(taken: list[int], axis: int, length: int, name: str) -> str:
    first, last = taken[0], taken[-1]
    contiguous = taken == list(range(first, last + 1))
    if contiguous and last == length - 1 and length > 2:
        what = f"{name}s" if name else f"indices of axis {axis}"
        which = f"{what}" if len(taken) > 1 else (name or f"index of axis {axis}")
        count = f" {len(taken)}" if len(taken) > 1 else ""
        condition = f"axis {axis} = {first}" if first == last else f"axis {axis} ≥ {first}"
        return f"the last{count} {which} ({condition})"
    if first == last:
        condition = f"axis {axis} = {first}"
    elif contiguous:
        condition = f"{first} ≤ axis {axis} ≤ {last}"
    else:
        condition = f"axis {axis} in {set(taken)}"
    numbers = ", ".join(map(str, taken))
    return f"{name}{'s' if len(taken) > 1 else ''} {numbers} ({condition})" if name else condition
