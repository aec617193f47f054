"""Patterns of wrong entries: a wrong factor, a flip, a single row, the border."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from itertools import combinations

import numpy as np

from tinygrad_cnn.engine.arrays import Array


@dataclass(frozen=True, slots=True)
class Facts:
    """Known facts about the origin of an array.

    `axes` names its axes; `options` and `counts` name possible factors; `strided` is True if
    windows may leave a remainder.
    """

    axes: Sequence[str] = ()
    options: Mapping[str, float] = field(default_factory=dict)
    counts: Mapping[str, float] = field(default_factory=dict)
    strided: bool = False


def describe(got: Array, reference: Array, wrong: Array, facts: Facts) -> str:
    """Return the pattern in which `got` differs from `reference`; empty if there is no simple one.

    Unknown entries of `reference` are NaN.

    Examples
    --------
    >>> import numpy as np
    >>> right = np.array([[1.0, 2.0], [3.0, 5.0]])
    >>> describe(2 * right, right, np.full((2, 2), True), Facts())
    'factor 2'
    >>> describe(right.T, right, right != right.T, Facts())
    'transposed'
    """
    known = ~np.isnan(reference)
    whole = _alike(got, reference, known, facts) or _moved(got, reference, known, facts)
    if whole or not wrong.any() or np.array_equal(wrong, known):
        return whole
    where = region(wrong, known, facts.axes)
    if not where:
        return ""
    if facts.strided and where.startswith("the last") and not got[wrong].any():
        return f"zero where the stride leaves a remainder: {where}"
    how = _alike(got, reference, wrong, replace(facts, counts={}))  # a mean affects all entries
    return f"{where}: {how}" if how else where


def _alike(got: Array, reference: Array, among: Array, facts: Facts) -> str:
    """Return the single-number change of the reference in all these entries."""
    a, b = got[among], reference[among]
    if not np.isfinite(a).all():
        return "not finite" if not np.isfinite(a).any() else ""
    if not a.any():
        return "zero"
    if not b.any():
        return "not zero, as it should be"
    size = float(np.max(np.abs(b)))
    off = float(np.max(np.abs(a - b))) / size
    if off < 1e-6:
        return f"by {off:.1e} of the largest"
    factor = float(a @ b / (b @ b))
    if np.allclose(a, factor * b, rtol=1e-6, atol=1e-9 * size):
        named = _factor(factor, facts)
        return named or (f"factor {factor:.6g}" if a.size > 1 else "")
    if a.size > 1 and np.allclose(a - b, np.mean(a - b), rtol=1e-6, atol=1e-9 * size):
        return f"off by a constant, {np.mean(a - b):.6g}"
    return ""


def _factor(factor: float, facts: Facts) -> str:
    """Return the meaning of a factor: a known or a simple number; empty if neither."""
    if abs(factor + 1) < 1e-6:
        return "the sign"
    sign = "the sign and " if factor < 0 else ""
    size = abs(factor)
    simple = Fraction(size).limit_denominator(1024)
    is_simple = abs(simple - size) < 1e-6 * size and simple.numerator <= 1024
    said = f"{sign}factor {simple if is_simple else format(size, '.6g')}"
    for numbers, least, times, over in (
        (facts.options, 0, "", ""),
        (facts.counts, 4, " (a sum for a mean?)", " (a mean for a sum?)"),  # 2 and 3 are too common
    ):
        for name, number in numbers.items():
            if number <= 0 or number == 1 or number < least:
                continue
            if abs(size - number) < 1e-6 * number:
                return f"{said}: {name}{times}"
            if abs(size * number - 1) < 1e-6:
                return f"{said}: 1 / {name}{over}"
    return said if is_simple and simple.denominator <= 64 else ""


def _moved(got: Array, reference: Array, known: Array, facts: Facts) -> str:
    """Return the rearrangement that would make `got` right; empty if there is none."""
    if got.size < 2 or np.ptp(reference[known]) == 0:
        return ""
    axes = range(got.ndim)

    def fits(candidate: Array) -> bool:
        size = np.max(np.abs(reference[known]))
        return np.allclose(candidate[known], reference[known], rtol=1e-6, atol=1e-9 * size)

    for a, b in combinations(axes, 2):
        if got.shape[a] == got.shape[b] and fits(np.swapaxes(got, a, b)):
            return "transposed" if got.ndim == 2 else f"swapped along {_listed((a, b), facts)}"
    for count in range(1, min(got.ndim, 4) + 1):
        for chosen in combinations(axes, count):
            if fits(np.flip(got, chosen)):
                return f"flipped along {_listed(chosen, facts)}"
    for axis in axes:
        if got.shape[axis] > 2:
            for shift in (1, -1):
                there, here = _shifted(got, axis, shift), _shifted(reference, axis, -shift)
                both = ~np.isnan(here)
                if (
                    both.sum() > 1
                    and np.ptp(here[both]) > 0
                    and np.allclose(
                        there[both], here[both], rtol=1e-6, atol=1e-9 * np.max(np.abs(here[both]))
                    )
                ):
                    return f"shifted by {shift} along {_listed((axis,), facts)}"
    return ""


def _listed(axes: Sequence[int], facts: Facts) -> str:
    said = f"{'axis' if len(axes) == 1 else 'axes'} {', '.join(map(str, axes))}"
    return f"{said} ({', '.join(facts.axes[a] for a in axes)})" if facts.axes else said


def _shifted(x: Array, axis: int, shift: int) -> Array:
    part = slice(shift, None) if shift > 0 else slice(None, shift)
    return x[(slice(None),) * axis + (part,)]


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
