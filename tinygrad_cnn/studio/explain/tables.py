"""Sums as tables of printed digits: every printed sum is that of the numbers printed above it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal, localcontext
from typing import TypeAlias

__all__ = ["PrintedSoftmax", "PrintedSum", "PrintedTerm", "print_softmax", "print_sum"]

DECIMALS = 4
"""Decimals of a result whose parts are about 1; more where they are smaller."""

MORE = 8
"""Maximum number of further decimals, to which the operands of a sum are printed."""

PRECISION = 400
"""Digits of the arithmetic here: products and sums of printed numbers are exact."""

FactorRows: TypeAlias = Sequence[Sequence[float | None]]
FactorTexts: TypeAlias = list[list[str | None]]


@dataclass(frozen=True)
class PrintedTerm:
    """A term as printed: the products of `patch` and `kernel`, added and rounded, are `sum`."""

    patch: FactorTexts
    kernel: FactorTexts | None
    sum: str


@dataclass(frozen=True)
class PrintedSum:
    """A sum as printed: the terms, the rest and the bias, added and rounded, are `total`."""

    terms: list[PrintedTerm]
    rest: str | None
    bias: str | None
    total: str


@dataclass(frozen=True)
class PrintedSoftmax:
    """A softmax as printed.

    Attributes
    ----------
    logits, powers, shares : list of str
        A power is exp((logit − largest) / temperature); a share is a power divided by `total`.
    largest, temperature : str
    total : str
        The sum of the powers.
    """

    logits: list[str]
    largest: str
    temperature: str
    powers: list[str]
    total: str
    shares: list[str]


def print_sum(
    terms: Sequence[tuple[FactorRows, FactorRows | None]],
    value: float,
    rest: float | None = None,
    bias: float | None = None,
) -> PrintedSum:
    """Return a sum of sums of products as text, with as few digits as it takes to hold.

    Parameters
    ----------
    terms : sequence of (numbers, numbers or None)
        Windows and their kernels, row by row; None is left out, and no kernel is one of ones.
    value : float
        The sum, which the printed total is rounded from.
    rest, bias : float, optional
        What else is added.

    Examples
    --------
    >>> shown = print_sum([([[0.5, 2.0]], [[1 / 3, 0.25]])], 2 / 3 + 0.1, bias=0.1)
    >>> shown.terms[0].kernel, shown.terms[0].sum, shown.bias, shown.total
    ([['0.33333', '0.25000']], '0.6667', '0.1000', '0.7667')
    """
    xs = [abs(x) for patch, _ in terms for row in patch for x in row if x is not None]
    ws = [abs(w) for _, kernel in terms for row in kernel or () for w in row if w is not None]
    parts = [*(_exact(*term) for term in terms), rest or 0.0, bias or 0.0]
    places = _decimals(max(map(abs, parts)))
    with localcontext(prec=PRECISION):
        # either is right: the network adds in its own order, in its own precision
        right = {_fixed(total, places) for total in (value, math.fsum(parts))}
        for more in range(MORE + 1):
            of_x = max(places + more + _size(max(ws, default=1.0)), 1)
            of_w = max(places + more + _size(max(xs, default=1.0)), 1)
            shown, total, is_clear = _shown(terms, rest, bias, (places, more, of_x, of_w))
            if is_clear and total in right:
                break
    return shown


def print_softmax(logits: Sequence[float], temperature: float) -> PrintedSoftmax:
    """Return a softmax as text.

    Examples
    --------
    >>> shown = print_softmax([1.0, 0.0], 1.0)
    >>> shown.powers, shown.total, shown.shares
    (['1', '0.36788'], '1.3679', ['73.1 %', '26.9 %'])
    """
    with localcontext(prec=PRECISION):
        return _softmax(logits, temperature)


def _softmax(logits: Sequence[float], temperature: float) -> PrintedSoftmax:
    largest = max(logits)
    exact = [math.exp((z - largest) / temperature) for z in logits]
    right = [percent(power / math.fsum(exact)) for power in exact]
    for digits in range(5, 14):
        zs = [_fixed(z, digits) for z in logits]
        most, heat = _fixed(largest, digits), Decimal(repr(temperature))
        powers = [_significant(Decimal(math.exp(float((z - most) / heat))), digits) for z in zs]
        for more in range(12):  # a share next to 100 % only needs a longer total
            total = _significant(sum(powers, Decimal(0)), digits + more)
            shares = [percent(float(power / total)) for power in powers]
            if shares == right:
                break
        if shares == right:
            break
    return PrintedSoftmax(
        logits=[text(z) for z in zs],
        largest=text(most),
        temperature=text(heat.normalize()),
        powers=[text(power) for power in powers],
        total=text(total),
        shares=shares,
    )


def text(x: Decimal) -> str:
    """Return a number as text, with all its digits.

    Examples
    --------
    >>> text(Decimal("-0.0410")), text(Decimal("1.50e-9")), text(Decimal("0.000"))
    ('−0.0410', '1.50·10⁻⁹', '0.000')
    """
    exponent = x.adjusted()
    if x == 0:
        return f"{abs(x):f}" if exponent > -10 else "0"
    if -5 <= exponent < 7 or (exponent >= 7 and x == x.to_integral_value()):
        return f"{x:f}".replace("-", "−")
    mantissa = f"{x.scaleb(-exponent):f}".replace("-", "−")
    return f"{mantissa}·10{str(exponent).translate(_RAISED)}"


_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def percent(share: float) -> str:
    """Return a share as the page prints it: with one decimal, and never 100 % if it is less."""
    shown = f"{100 * share:.1f} %"
    return "> 99.9 %" if share < 1 and shown == "100.0 %" else shown


def _shown(
    terms: Sequence[tuple[FactorRows, FactorRows | None]],
    rest: float | None,
    bias: float | None,
    decimals: tuple[int, int, int, int],
) -> tuple[PrintedSum, Decimal, bool]:
    """Return a sum at these decimals, its total, and whether no rounding is a tie."""
    places, more, of_x, of_w = decimals
    printed, total, are_clear = [], Decimal(0), True
    for patch, kernel in terms:
        x = [[None if a is None else _fixed(a, of_x) for a in row] for row in patch]
        w = [[None if a is None else _fixed(a, of_w) for a in row] for row in kernel or ()]
        ones = w or [[Decimal(1)] * len(row) for row in x]
        exact = sum(
            (
                a * b
                for pair in zip(x, ones, strict=True)
                for a, b in zip(*pair, strict=True)
                if a is not None and b is not None
            ),
            Decimal(0),
        )
        added, is_clear = _rounded(exact, places + more)
        are_clear &= is_clear
        total += added
        texts = [_texts(exact, rows) for exact, rows in ((patch, x), (kernel, w)) if exact]
        printed.append(PrintedTerm(texts[0], texts[1] if kernel else None, text(added)))
    others = [None if a is None else _fixed(a, places + more) for a in (rest, bias)]
    total += sum(a for a in others if a is not None)
    result, is_clear = _rounded(total, places)
    rest_text, bias_text = (None if a is None else text(a) for a in others)
    shown = PrintedSum(printed, rest_text, bias_text, text(result))
    return shown, result, is_clear and are_clear


def _texts(exact: FactorRows, rounded: Sequence[Sequence[Decimal | None]]) -> FactorTexts:
    """Return operands as text; an exact zero is "0"."""
    return [
        [None if x is None else text(x) if number else "0" for number, x in zip(*row, strict=True)]
        for row in zip(exact, rounded, strict=True)
    ]


def _exact(patch: FactorRows, kernel: FactorRows | None) -> float:
    ones = kernel or [[1.0] * len(row) for row in patch]
    return math.fsum(
        a * b
        for pair in zip(patch, ones, strict=True)
        for a, b in zip(*pair, strict=True)
        if a is not None and b is not None
    )


def _decimals(size: float) -> int:
    """Return the decimals of a sum whose largest part has this size."""
    return DECIMALS if size == 0 else max(DECIMALS, DECIMALS - 1 - math.floor(math.log10(size)))


def _size(x: float) -> int:
    """Return the power of ten that is not below a number."""
    return math.ceil(math.log10(x)) if x > 0 else 0


def _fixed(x: float, decimals: int) -> Decimal:
    return _rounded(Decimal(x), decimals)[0]


def _significant(x: Decimal, digits: int) -> Decimal:
    return Decimal(f"{x:.{digits - 1}e}").normalize()


def _rounded(x: Decimal, decimals: int) -> tuple[Decimal, bool]:
    """Return a number with this many decimals, and whether it is not a tie."""
    unit = Decimal(1).scaleb(-decimals)
    made = x.quantize(unit)
    is_clear = abs(x - made) != unit / 2
    return made, is_clear
