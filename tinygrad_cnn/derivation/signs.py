"""Unicode and LaTeX for symbols and signs."""

from __future__ import annotations

import re
from dataclasses import dataclass

from tinygrad_cnn.core.notation import FUNCTIONS
from tinygrad_cnn.ops.entries import Index

__all__ = ["DIGITS", "SUPERSCRIPTS", "TRANSPOSED", "Symbol", "latex_text"]

SUPERSCRIPTS = dict(zip("⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺ˣʸᵇᵃᵀ", "0123456789−+xybaT", strict=True))
DIGITS = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")
SUBSCRIPTS = dict(zip("aehijklmnoprstuvx′", "ₐₑₕᵢⱼₖₗₘₙₒₚᵣₛₜᵤᵥₓ′", strict=True))
GREEK = {
    "Σ": r"\sum", "α": r"\alpha", "ε": r"\epsilon", "θ": r"\theta", "μ": r"\mu", "σ": r"\sigma",
    "Φ": r"\Phi", "φ": r"\varphi",
}  # fmt: skip
SIGNS = {
    "·": r"\,", "−": "-", "∂": r"\partial ", "|": r"\vert ", "√": r"\surd ", "½": r"\frac{1}{2}",
    "≥": r"\geq ", "≤": r"\leq ", "∞": r"\infty ", "∗": "*", "²": "^{2}", "³": "^{3}",
    "⌊": r"\lfloor ", "⌋": r"\rfloor ",
    **{letter: f"{command} " for letter, command in GREEK.items()},
}  # fmt: skip
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
    """

    name: str
    number: int | None = None
    primes: int = 0

    def __str__(self) -> str:
        return self.text()

    def plain(self, index: Index = ()) -> str:
        """Write an entry with its index in brackets."""
        number = "" if self.number is None else str(self.number).translate(DIGITS)
        shown = ", ".join(filter(None, index))
        return f"{self.name}{'′' * self.primes}{number}" + (f"[{shown}]" if shown else "")

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
        return latex_name(self.name) + "'" * self.primes + high + low

    @property
    def is_letter(self) -> bool:
        """Whether the symbol is a single letter, so that a power needs no parentheses."""
        return len(self.name) == 1 and self.number is None and not self.primes


def latex_name(name: str) -> str:
    if name in GREEK:
        return GREEK[name]
    if len(name) == 1:
        return name
    escaped = name.replace("_", r"\_").replace(" ", r"\ ")
    return rf"\mathrm{{{escaped}}}"


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

    worded = re.sub(r"[A-Za-z]+′*", word, text)
    return "".join(SIGNS.get(character, character) for character in worded)
