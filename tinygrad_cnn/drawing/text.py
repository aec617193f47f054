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


TIMES = (("µs", 1e-6), ("ms", 1e-3), ("s", 1.0), ("min", 60.0), ("h", 3600.0))
SIZES = (("bytes", 1.0), ("kB", 1e3), ("MB", 1e6), ("GB", 1e9), ("TB", 1e12))


def duration(seconds: float) -> str:
    """Return a duration with three digits, as "7.89 µs", "1.23 s" or "16.7 min".

    Examples
    --------
    >>> duration(0.9999e-3), duration(1000), duration(0), duration(36000)
    ('1.00 ms', '16.7 min', '0 µs', '10.0 h')
    """
    return _in_units(seconds, TIMES)


def size(count: int) -> str:
    """Return a number of bytes with three digits, as "1.50 MB", or "12 bytes" if they are few.

    Examples
    --------
    >>> size(999), size(999_999), size(1_500_000), size(25_100_000)
    ('999 bytes', '1.00 MB', '1.50 MB', '25.1 MB')
    """
    return f"{count} bytes" if count < 1000 else _in_units(count, SIZES)


def _in_units(amount: float, units: Sequence[tuple[str, float]]) -> str:
    """Return an amount with three digits, in the largest unit that is not larger than it."""
    if not amount:
        return f"0 {units[0][0]}"
    rounded = float(f"{amount:.3g}")
    name, factor = next((u for u in reversed(units) if rounded >= u[1] * 0.9999), units[0])
    shown = rounded / factor
    places = max(0, 2 - math.floor(math.log10(shown) + 1e-9))
    return f"{shown:,.{min(places, 3)}f} {name}"


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
