"""Text for numbers, shapes and arrays in a drawing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn.drawing.graph import Statistics
from tinygrad_cnn.support.text import number, percent

__all__ = ["array_lines", "duration", "option", "size", "sum_digits"]

SMALL = 12  # entries: larger arrays are shown by statistics
LONG = 28  # characters: longer options are cut


def duration(seconds: float) -> str:
    """Return a duration as "1.23 s", "4.56 ms" or "7.89 µs"."""
    for unit, factor in (("s", 1.0), ("ms", 1e3), ("µs", 1e6)):
        if seconds * factor >= 0.9995 or unit == "µs":
            break
    return f"{seconds * factor:.3g} {unit}"


def size(count: int) -> str:
    """Return a number of bytes as "1.5 MB", "20 kB" or "12 bytes"."""
    for unit, factor in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= factor:
            return f"{count / factor:.3g} {unit}"
    return f"{count} bytes"


def option(name: str, value: Any) -> str:
    """Return an option as "padding 2" or "kernel_size 2 × 3"."""
    if isinstance(value, list) and value and all(isinstance(item, int) for item in value):
        text = " × ".join(map(str, value))
    else:
        text = str(value)
    return f"{name} {text if len(text) <= LONG else text[: LONG - 1] + '…'}"


def statistics_lines(numbers: Statistics) -> list[str]:
    """Return the statistics lines of an array that is too large to show."""
    if numbers.minimum == numbers.maximum and not troubles(numbers):
        return [f"all {number(numbers.minimum)}"]
    lines = [f"{number(numbers.minimum)} … {number(numbers.maximum)}, mean {number(numbers.mean)}"]
    rest = [f"{percent(numbers.zero)} zero"] if numbers.zero else []
    return [*lines, ", ".join(rest + troubles(numbers))] if rest or troubles(numbers) else lines


def troubles(numbers: Statistics) -> list[str]:
    """Return counts of non-finite entries, such as ["3 NaN", "1 infinite"]."""
    found = [f"{numbers.nan} NaN"] if numbers.nan else []
    return found + ([f"{numbers.infinite} infinite"] if numbers.infinite else [])


def array_lines(array: NDArray[Any], digits: int = 3) -> list[str] | None:
    """Return the entries of a small array, one line per row; None for a larger array.

    Examples
    --------
    >>> array_lines(np.array([[1.0, -0.5], [0.25, 10.0]]))
    ['[ 1     −0.5 ]', '[ 0.25  10   ]']
    """
    if array.size > SMALL or array.ndim > 2 or array.size == 0:
        return None
    if array.dtype.kind == "c":
        return None
    cells = [[_cell(entry, digits) for entry in row] for row in np.atleast_2d(array).tolist()]
    if array.ndim == 0:
        return cells[0]
    if len(cells) == 1:
        return ["[" + ", ".join(cells[0]) + "]"]
    return _columns(cells)


def sum_digits(parts: Sequence[NDArray[Any]], total: NDArray[Any]) -> int | None:
    """Return the number of digits at which the printed parts add up to the printed total.

    Three if the arrays are too large to print entry by entry; None if no number of digits works
    because the addition was rounded.

    Examples
    --------
    >>> sum_digits([np.array(0.2224), np.array(0.2224)], np.array(0.4448))
    4
    """
    if array_lines(total) is None or not np.isfinite(total).all():
        return 3
    for digits in range(3, 18):
        printed = [[float(f"{x:.{digits}g}") for x in part.reshape(-1)] for part in parts]
        added = [math.fsum(entries) for entries in zip(*printed, strict=True)]
        if [number(x) for x in added] == [number(float(x) + 0.0) for x in total.reshape(-1)]:
            return digits
    return None


def _cell(entry: float | int | bool, digits: int) -> str:
    return number(entry, digits) if isinstance(entry, float) else str(entry)


def _columns(cells: list[list[str]]) -> list[str]:
    """Return rows with aligned decimal points."""
    columns = []
    for column in zip(*cells, strict=True):
        parts = [text.partition(".") for text in column]
        left = max(len(whole) for whole, _, _ in parts)
        right = max(len(dot + rest) for _, dot, rest in parts)
        columns.append([w.rjust(left) + (d + r).ljust(right) for w, d, r in parts])
    return [f"[ {'  '.join(row)} ]" for row in zip(*columns, strict=True)]
