"""Symbols and formulas, written for a terminal or as LaTeX.

A formula is text as declared by ops (``"g·(1 − y²)"``), or with indexed array entries
(``"w[i, p]"``). `bind` replaces its names by symbols. The bound formula is written in three ways:
plain (``"w¹[i, p]"``), for a terminal (``"w¹ᵢₚ"``) and as LaTeX (``"w^{1}_{ip}"``).
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from tinygrad_cnn.derivation.signs import (
    DIGITS,
    SUPERSCRIPTS,
    TRANSPOSED,
    Symbol,
    latex_text,
    with_roots,
)
from tinygrad_cnn.ops.entries import Index

__all__ = [
    "Entry",
    "Formula",
    "Part",
    "Power",
    "Symbol",
    "bind",
    "fraction",
    "joined",
    "product",
]

LOOSE = (" + ", " − ", " / ", " where ", ", else ")
"""Signs that bind less tightly than a product, so that its factors need parentheses."""

_RAISED = "".join(SUPERSCRIPTS)
_LETTER = rf"(?![{_RAISED}½])[^\W\d]"  # Unicode counts superscripts as letters or digits


@functools.cache
def _token(calls: tuple[str, ...]) -> re.Pattern[str]:
    """Return the pattern of a name, with its index, or of a power; `calls` are names as S(x)."""
    longer = "".join(f"{re.escape(name)}|" for name in calls)
    return re.compile(
        rf"(?P<name>{longer}(?!_){_LETTER}(?:{_LETTER})*\u0302?)(?P<index>\[[^\[\]]*\])?"
        rf"|(?P<power>[{_RAISED}]+)"
    )


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry of an array, or the array itself if the index is empty."""

    symbol: Symbol
    index: Index = ()


@dataclass(frozen=True, slots=True)
class Power:
    """The exponent of the preceding part."""

    exponent: Formula


Part: TypeAlias = str | Entry | Power


@dataclass(frozen=True, slots=True)
class Formula:
    r"""A formula whose names are bound.

    Examples
    --------
    >>> y = Symbol("α", 1)
    >>> slope = bind("y·(1 − y²)", {"y": y}, {"y": ("n", "j")})
    >>> slope.plain()
    'α¹[n, j]·(1 − (α¹[n, j])²)'
    >>> slope.text()
    'α¹ₙⱼ·(1 − (α¹ₙⱼ)²)'
    >>> slope.latex()
    '\\alpha^{1}_{nj}\\,(1 - (\\alpha^{1}_{nj})^{2})'
    """

    parts: tuple[Part, ...]

    def plain(self) -> str:
        """Write entries with their indices in brackets."""
        return self._written(Symbol.plain, str, _unicode_power)

    def text(self) -> str:
        """Write the formula for a terminal."""
        return self._written(Symbol.text, str, _unicode_power)

    def latex(self) -> str:
        """Write the formula as LaTeX."""
        quotient = self._quotient()
        if quotient is not None:
            over, under = (side.stripped().latex() for side in quotient)
            return rf"\frac{{{over}}}{{{under}}}"
        return with_roots(self._written(Symbol.latex, latex_text, _latex_power).strip())

    def _written(
        self,
        entry: Callable[[Symbol, Index], str],
        text: Callable[[str], str],
        power: Callable[[Formula, bool], str],
    ) -> str:
        written: list[str] = []
        for k, part in enumerate(self.parts):
            if isinstance(part, Power):
                written.append(power(part.exponent, entry is Symbol.plain))
                continue
            shown = text(part) if isinstance(part, str) else entry(part.symbol, part.index)
            raised = k + 1 < len(self.parts) and isinstance(self.parts[k + 1], Power)
            if raised and isinstance(part, Entry):
                shown = shown if part.symbol.is_letter else f"({shown})"
            written.append(shown)
        return "".join(written)

    def factors(self) -> list[Formula]:
        """Return the factors outside all brackets."""
        found: list[list[Part]] = [[]]
        cuts = {(k, at) for k, at, _ in self._top_level((" · ",))}
        for k, part in enumerate(self.parts):
            start = 0
            for at in sorted(at for j, at in cuts if j == k):
                assert isinstance(part, str)
                found[-1].append(part[start:at])
                found.append([])
                start = at + 3
            found[-1].append(part[start:] if isinstance(part, str) else part)
        return [joined(*parts) for parts in found]

    def _quotient(self) -> tuple[Formula, Formula] | None:
        """Return numerator and denominator if the formula is a single division."""
        signs = self._top_level((*LOOSE, " · "))
        if len(signs) != 1 or signs[0][2] != " / ":
            return None
        ((k, at, _),) = signs
        text = self.parts[k]
        assert isinstance(text, str)
        return joined(*self.parts[:k], text[:at]), joined(text[at + 3 :], *self.parts[k + 1 :])

    def _top_level(self, signs: tuple[str, ...]) -> list[tuple[int, int, str]]:
        """Return the signs outside all brackets: part, position in it, sign."""
        found = []
        depth = 0
        for k, part in enumerate(self.parts):
            for at, character in enumerate(part if isinstance(part, str) else ""):
                depth += (character in "([") - (character in ")]")
                if depth == 0:
                    assert isinstance(part, str)
                    found += [(k, at, sign) for sign in signs if part.startswith(sign, at)]
        return found

    @property
    def is_one(self) -> bool:
        """Whether the formula is the number 1."""
        return self.parts == ("1",)

    def as_factor(self, first: bool) -> Formula:
        """Return the formula as a factor, with parentheses where a product needs them."""
        negative = isinstance(self.parts[0], str) and self.parts[0].startswith("−")
        if self._top_level(LOOSE) or (negative and not first):
            return joined("(", *self.parts, ")")
        return self

    def trimmed(self) -> Formula:
        """Return the formula without a space at its beginning."""
        first = self.parts[0]
        return joined(first.lstrip() if isinstance(first, str) else first, *self.parts[1:])

    def stripped(self) -> Formula:
        """Return the formula without enclosing parentheses, if there are any."""
        first, last = self.parts[0], self.parts[-1]
        if not (isinstance(first, str) and first.startswith("(") and isinstance(last, str)):
            return self
        if not last.endswith(")") or (first is last and len(first) < 3):
            return self
        if len(self.parts) == 1:
            inner = Formula((first[1:-1],))
        else:
            inner = joined(first[1:], *self.parts[1:-1], last[:-1])
        depth = 0
        for character in "".join(part for part in inner.parts if isinstance(part, str)):
            depth += (character == "(") - (character == ")")
            if depth < 0:  # the first bracket closed before the end
                return self
        return inner


def bind(
    formula: str,
    names: Mapping[str, Symbol | str],
    indices: Mapping[str, Index] | None = None,
) -> Formula:
    """Replace the names in a formula by symbols, or by text such as a number.

    Parameters
    ----------
    formula : str
        A name may be followed by its index: ``"w[i, p]"``.
    names : mapping
        Other names stay unchanged.
    indices : mapping, optional
        The indices of names without one in the formula.
    """
    parts: list[Part] = []
    end = 0
    for token in _token(tuple(name for name in names if "(" in name)).finditer(formula):
        parts.append(formula[end : token.start()])
        end = token.end()
        name, index = token["name"], token["index"]
        if token["power"]:
            lowered = _lowered(token["power"])
            exponent = Formula((TRANSPOSED,)) if lowered == "T" else bind(lowered, names, indices)
            parts += [] if exponent.is_one else [Power(exponent)]
        elif name not in names:
            parts.append(token[0])
        else:
            bound = names[name]
            if isinstance(bound, str):
                parts.append(bound)
            else:
                own = tuple(index[1:-1].split(", ")) if index else (indices or {}).get(name, ())
                parts.append(Entry(bound, tuple(filter(None, own))))
    parts.append(formula[end:])
    whole = joined(*parts)
    difference = re.fullmatch(r"(\d+) − (\d+)", str(whole.parts[0])) if whole.parts else None
    if len(whole.parts) == 1 and difference:  # the rest of an exponent b − 1
        number = int(difference[1]) - int(difference[2])
        return Formula((f"{number}".replace("-", "−"),))
    return whole


def product(factors: list[Formula]) -> Formula:
    """Return the product of formulas; factors of 1 are dropped unless there is nothing else.

    Examples
    --------
    >>> product([Formula(("1",)), Formula(("a − b",)), Formula(("c",))]).text()
    '(a − b) · c'
    """
    shown = [factor for factor in factors if not factor.is_one]
    if not shown:
        return Formula(("1",))
    if len(shown) == 1:
        return shown[0]
    parts: list[Part] = []
    for k, factor in enumerate(shown):
        parts += [" · "] * (k > 0)
        parts += factor.as_factor(first=k == 0).parts
    return joined(*parts)


def fraction(top: str, bottom: str) -> str:
    r"""Return a derivative as LaTeX.

    Examples
    --------
    >>> fraction("E", "w^{1}")
    '\\frac{\\partial E}{\\partial w^{1}}'
    """
    return rf"\frac{{\partial {top}}}{{\partial {bottom}}}"


def joined(*parts: Part) -> Formula:
    """Return the formula of `parts`; empty texts are dropped, neighboring texts are merged."""
    kept: list[Part] = []
    for part in parts:
        if part == "":
            continue
        if kept and isinstance(part, str) and isinstance(kept[-1], str):
            kept[-1] += part
        else:
            kept.append(part)
    return Formula(tuple(kept))


def _lowered(raised: str) -> str:
    """Return superscripts as ordinary characters: "b − 1" for "ᵇ⁻¹"."""
    text = "".join(SUPERSCRIPTS[character] for character in raised)
    return re.sub(r"(?<=\w)([−+])", r" \1 ", text)


def _unicode_power(exponent: Formula, plain: bool) -> str:
    if exponent.parts == (TRANSPOSED,):
        return "ᵀ"
    raised = "".join(part for part in exponent.parts if isinstance(part, str))
    if len(exponent.parts) == 1 and re.fullmatch(r"−?\d+", raised):
        return raised.replace("−", "⁻").translate(DIGITS)
    return f"^({exponent.plain() if plain else exponent.text()})"


def _latex_power(exponent: Formula, plain: bool) -> str:
    raised = TRANSPOSED if exponent.parts == (TRANSPOSED,) else exponent.latex()
    return f"^{{{raised}}}"
