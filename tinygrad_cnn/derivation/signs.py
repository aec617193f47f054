"""Unicode and LaTeX for symbols and signs."""

from __future__ import annotations

import re
from dataclasses import dataclass

from tinygrad_cnn.core.notation import FUNCTIONS
from tinygrad_cnn.ops.entries import Index

__all__ = ["DIGITS", "SUPERSCRIPTS", "TRANSPOSED", "Symbol", "latex_text", "with_roots"]

SUPERSCRIPTS = dict(zip("⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺ˣʸᵇᵃᵀ", "0123456789−+xybaT", strict=True))
DIGITS = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")
SUBSCRIPTS = dict(zip("aehijklmnoprstuvx′", "ₐₑₕᵢⱼₖₗₘₙₒₚᵣₛₜᵤᵥₓ′", strict=True))
GREEK = {
    "Σ": r"\sum", "α": r"\alpha", "ε": r"\epsilon", "θ": r"\theta", "μ": r"\mu", "σ": r"\sigma",
    "Φ": r"\Phi", "φ": r"\varphi", "β": r"\beta", "γ": r"\gamma",
}  # fmt: skip
SIGNS = {
    "·": r"\,", "−": "-", "∂": r"\partial ", "|": r"\vert ", "√": r"\surd ", "½": r"\frac{1}{2}",
    "≥": r"\geq ", "≤": r"\leq ", "∞": r"\infty ", "∗": "*", "²": "^{2}", "³": "^{3}",
    "⌊": r"\lfloor ", "⌋": r"\rfloor ",
    **{letter: f"{command} " for letter, command in GREEK.items()},
}  # fmt: skip
ESCAPED = {
    **{sign: f"\\{sign}" for sign in "_#$%&{} "},
    "\\": r"\backslash ", "~": r"\sim ", "^": r"\wedge ",
}  # fmt: skip
"""Characters that TeX reads as commands."""

TRANSPOSED = r"\mathsf{T}"


@dataclass(frozen=True, slots=True)
class Symbol:
    r"""The symbol of a quantity: a letter with the number of its layer, or a name from the model.

    Examples
    --------
    >>> z = Symbol("z", 2)
    >>> z.plain(("n", "k")), z.text(("n", "k")), z.latex(("n", "k"))
    ('z²[n, k]', 'z²ₙₖ', 'z^{2}_{nk}')
    >>> Symbol("conv1").text(("n", "i + k")), Symbol("conv1").latex()
    ('conv1[n, i + k]', '\\mathrm{conv1}')
    >>> Symbol("S", argument=z).text(("n", "k"))  # the index is that of the result
    'S(z²)ₙₖ'
    """

    name: str
    number: int | None = None
    primes: int = 0
    argument: Symbol | None = None

    def __str__(self) -> str:
        return self.text()

    def plain(self, index: Index = ()) -> str:
        """Write an entry with its index in brackets."""
        number = "" if self.number is None else str(self.number).translate(DIGITS)
        shown = ", ".join(filter(None, index))
        of = "" if self.argument is None else f"({self.argument.plain()})"
        return f"{self.name}{'′' * self.primes}{number}{of}" + (f"[{shown}]" if shown else "")

    def text(self, index: Index = ()) -> str:
        """Write an entry for a terminal, with subscripts where Unicode has them."""
        if all(letter in SUBSCRIPTS for letter in "".join(index)):
            low = "".join(SUBSCRIPTS[letter] for letter in "".join(index))
            return self.plain() + low
        return self.plain(index)

    def latex(self, index: Index = ()) -> str:
        """Write an entry as LaTeX."""
        shown = [latex_text(part) for part in index if part]
        separator = "" if all(len(part.rstrip("′")) == 1 for part in index if part) else ","
        high = "" if self.number is None else f"^{{{self.number}}}"
        low = f"_{{{separator.join(shown)}}}" if shown else ""
        of = "" if self.argument is None else f"({self.argument.latex()})"
        return latex_name(self.name) + "'" * self.primes + high + of + low

    @property
    def is_letter(self) -> bool:
        """Whether the symbol is a single letter, so that a power needs no parentheses."""
        return len(self.name) == 1 and (self.number, self.primes, self.argument) == (None, 0, None)


def latex_name(name: str) -> str:
    if name in GREEK:
        return GREEK[name]
    if re.fullmatch("[A-Za-z]", name):
        return name
    if re.fullmatch("[A-Za-z]\u0302", name):
        return rf"\hat{{{name[0]}}}"
    return _upright("".join(ESCAPED.get(character, character) for character in name))


def _upright(text: str) -> str:
    """Return escaped text in upright letters; Greek ones are their own commands."""
    parts = re.split(f"([{''.join(GREEK)}])", text)
    return "".join(GREEK.get(part) or rf"\mathrm{{{part}}}" for part in parts if part)


def latex_text(text: str) -> str:
    """Return the text between entries as LaTeX."""

    def word(found: re.Match[str]) -> str:
        name = found[0]
        if len(name.rstrip("′")) == 1:
            return name.replace("′", "'")
        if name in FUNCTIONS and FUNCTIONS[name].latex:
            return f"{FUNCTIONS[name].latex} "
        if name in ("where", "else", "took", "first"):
            return rf"\ \mathrm{{{name}}}\ "
        return rf"\mathrm{{{name}}}\,"

    text = re.sub(r"(\d[\d.]*)e([−+-]?)0*(\d+)", _power_of_ten, text)
    worded = re.sub(r"(?<![\\A-Za-z])[A-Za-z]+′*", word, text)
    return "".join(SIGNS.get(character, character) for character in worded)


def _power_of_ten(number: re.Match[str]) -> str:
    """Return a number such as 1e−05 as a multiple of a power of ten, in signs of LaTeX."""
    digits, sign, exponent = number.groups()
    power = f"10^{{{'-' if sign in ('−', '-') and sign else ''}{exponent}}}"
    return power if digits == "1" else rf"{digits}\cdot {power}"


def with_roots(latex: str) -> str:
    r"""Return a formula whose roots have a bar over their argument instead of parentheses.

    Examples
    --------
    >>> with_roots(r"1 + \surd (v_{k} + (a)) / 2"), with_roots(r"\surd x")
    ('1 + \\sqrt{v_{k} + (a)} / 2', '\\surd x')
    """
    before, root, rest = latex.partition(r"\surd (")
    depth = 1
    for end, character in enumerate(rest if root else ""):
        depth += (character == "(") - (character == ")")
        if depth == 0:
            return rf"{before}\sqrt{{{with_roots(rest[:end])}}}{with_roots(rest[end + 1 :])}"
    return latex
