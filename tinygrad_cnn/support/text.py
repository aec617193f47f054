"""Text of numbers, shares, shapes and tables, alike in every output."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Sequence
from itertools import zip_longest

__all__ = [
    "aligned", "citation", "counted", "markdown_table", "number", "percent", "printable",
    "shape_text",
]  # fmt: skip


def number(x: float | None, digits: int = 3) -> str:
    """Return a number with `digits` significant digits and "−" as its sign; "–" for None.

    Examples
    --------
    >>> number(-0.0012345), number(4.5678e-7), number(12345.0), number(0.0)
    ('−0.00123', '4.57e−7', '1.23e4', '0')
    """
    if x is None:
        return "–"
    mantissa, e, exponent = f"{x:.{digits}g}".partition("e")
    return (f"{mantissa}e{int(exponent)}" if e else mantissa).replace("-", "−")


def percent(share: float, digits: int = 0) -> str:
    """Return a share in percent, rounded down: 100 % means all. NaN is "–".

    Without digits, a small share is "<1 %": 0 % means nothing.

    Examples
    --------
    >>> percent(0.999), percent(0.001), percent(0.0), percent(0.98356, 2)
    ('99 %', '<1 %', '0 %', '98.35 %')
    """
    if math.isnan(share):
        return "–"
    floor = math.floor(share * 10.0 ** (digits + 2) + 1e-6)
    return "<1 %" if share > 0 and not floor + digits else f"{floor / 10**digits:.{digits}f} %"


def printable(text: str) -> str:
    r"""Return text with a visible sign for each character that XML or UTF-8 does not allow.

    Examples
    --------
    >>> printable("two\nlines, a bell \x07 and half of a pair \ud800")
    'two␊lines, a bell ␇ and half of a pair �'
    """
    return text if text.isprintable() else text.translate(_SIGNS)


_UNKNOWN = "\N{REPLACEMENT CHARACTER}"
_SIGNS = {
    **{
        code: chr(0x2400 + code) for code in range(0x20)
    },  # Unicode's pictures of control characters
    0x7F: "␡",
    **dict.fromkeys([*range(0x80, 0xA0), *range(0xD800, 0xE000), 0xFFFE, 0xFFFF], _UNKNOWN),
}


def shape_text(shape: tuple[int, ...] | None) -> str:
    """Return a shape as "8 × 6 × 28 × 28"; () as "scalar", None as ""."""
    if shape is None:
        return ""
    return " × ".join(map(str, shape)) if shape else "scalar"


def _width(text: str) -> int:
    """Return the columns that a text takes in a terminal: a combining character takes none."""
    return sum(not unicodedata.combining(character) for character in text)


def counted(count: int, noun: str) -> str:
    """Return a count with its noun: "1 thread", "2 threads"."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def citation(equation: str) -> str:
    """Return the citation of an equation of the text: "eq 35" for "35"; words are unchanged."""
    return f"eq {equation}" if equation[:1].isdigit() else equation


def aligned(rows: Sequence[Sequence[str]], align: str, least: Sequence[int] = ()) -> list[str]:
    """Return the lines of a table, with two spaces between the columns.

    Parameters
    ----------
    rows : sequence of sequence of str
        The cells. A row may end early.
    align : str
        "<" or ">" for each column, left or right; the last is repeated.
    least : sequence of int
        The minimum width of each column.

    Examples
    --------
    >>> aligned([("op", "calls"), ("conv2d", "7")], "<>")
    ['op      calls', 'conv2d      7']
    """
    widths = [max(map(_width, column)) for column in zip_longest(*rows, fillvalue="")]
    widths = [max(pair) for pair in zip_longest(widths, least, fillvalue=0)]
    sides = align.ljust(len(widths), align[-1])
    return [
        "  ".join(
            f"{cell:{side}{width + len(cell) - _width(cell)}}"
            for cell, side, width in zip(row, sides, widths, strict=False)
        ).rstrip()
        for row in rows
    ]


def markdown_table(
    header: Sequence[str], rows: Sequence[Sequence[object]], align: str = "<>"
) -> str:
    """Return a table in Markdown; `align` as for `aligned`, or "-" for neither.

    Examples
    --------
    >>> print(markdown_table(["rate", "accuracy"], [("0.1", 0.5)]))
    | rate | accuracy |
    | :-- | --: |
    | 0.1 | 0.5 |
    """
    sides = align.ljust(len(header), align[-1])
    marks = [{"<": ":--", ">": "--:"}.get(side, "---") for side in sides]
    lines = [header, marks, *([str(cell) for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
