"""The notation of formulas: a parser, and the evaluation of its trees on arrays.

`docs/formulas.md` describes the notation. The tree knows nothing of ops: an `Algebra` says what
names, functions and signs mean. Checks use `Elementwise`.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol, TypeAlias

import numpy as np

from tinygrad_cnn.core.notation import FUNCTIONS

Tree: TypeAlias = tuple[Any, ...]
"""A sign and its operands, such as ``("·", ("name", "g"), ("name", "y"))``."""

RAISED = dict(zip("⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺ˣʸᵇ", "0123456789−+xyb", strict=True))
RELATIONS = ("=", "≥", "≤", "<", ">", "took")
WORDS = ("where", "else", "repeated", *RELATIONS)


class Algebra(Protocol):
    """The meaning of names and signs."""

    def number(self, text: str) -> Any:
        """Return the value of a number."""

    def name(self, name: str) -> Any:
        """Return the value of a name."""

    def apply(self, sign: str, *operands: Any) -> Any:
        """Return the value of a sign or a function."""


class FormulaError(ValueError):
    """A text is not a formula; the message points at the character in the text."""

    def __init__(self, text: str, place: int, message: str) -> None:
        self.place = place
        self.reason = message
        before = sum(not unicodedata.combining(character) for character in text[:place])
        super().__init__(f"{message}\n  {text}\n  {' ' * before}^")


def parse(text: str, names: Iterable[str]) -> Tree:
    """Return the tree of a formula; `names` are the quantities that may occur in it.

    Raises
    ------
    FormulaError
        If the text is not a formula.

    Examples
    --------
    >>> parse("g·2x", ["g", "x"])
    ('·', ('name', 'g'), ('·', ('number', '2'), ('name', 'x')))
    >>> parse("g·(1 − z²)", ["g", "x"])
    Traceback (most recent call last):
    tinygrad_cnn.check.formula.FormulaError: 'z' is none of g, x
      g·(1 − z²)
             ^
    """
    reader = _Reader(text, set(names))
    tree = reader.choice()
    if reader.token:
        raise reader.error("an end or a sign")
    return tree


def evaluate(tree: Tree, algebra: Algebra) -> Any:
    """Return the value of a tree; its parts are evaluated first."""
    kind, *rest = tree
    if kind == "number":
        return algebra.number(rest[0])
    if kind == "name":
        return algebra.name(rest[0])
    if kind in ("sum over", "entry"):  # these bind letters: the algebra takes the tree itself
        return algebra.apply(kind, *rest)
    return algebra.apply(kind, *(evaluate(part, algebra) for part in rest))


class Elementwise:
    """The algebra of elementwise formulas: names are arrays of shapes that broadcast.

    Examples
    --------
    >>> tree = parse("max(0, x)·[x < 2]", ["x"])
    >>> evaluate(tree, Elementwise({"x": np.array([-1.0, 1.5, 2.0])}))
    array([0. , 1.5, 0. ])
    """

    def __init__(self, values: Mapping[str, Any]) -> None:
        self.values = {"e": math.e, **values}

    def number(self, text: str) -> float:
        """Return the value of a number."""
        return float(text)

    def name(self, name: str) -> Any:
        """Return the value of a name."""
        return self.values[name]

    def apply(self, sign: str, *operands: Any) -> Any:
        """Return the value of a sign or a function; KeyError if it is not elementwise."""
        return SIGNS[sign](*operands)


def _bracket(condition: Any) -> Any:
    return np.where(condition, 1.0, 0.0)


SIGNS: dict[str, Callable[..., Any]] = {
    "negate": np.negative, "+": np.add, "−": np.subtract, "·": np.multiply, "/": np.divide,
    "power": np.power, "half": lambda: 0.5, "abs": np.abs, "floor": np.floor, "ceil": np.ceil,
    "and": lambda *conditions: np.logical_and.reduce(np.broadcast_arrays(*conditions)),
    "bracket": _bracket, "where": np.where,
    "=": np.equal, "≥": np.greater_equal, "≤": np.less_equal, "<": np.less, ">": np.greater,
    **{name: function.value for name, function in FUNCTIONS.items() if function.value},
}  # fmt: skip


class _Reader:
    """Reads tokens from left to right; each method reads one level of precedence."""

    def __init__(
        self, text: str, names: set[str], tokens: list[tuple[str, int]] | None = None
    ) -> None:
        self.text = text
        self.names = names
        self.tokens = _tokens(text, names) if tokens is None else tokens
        self.next = 0

    @property
    def token(self) -> str:
        return self.tokens[self.next][0] if self.next < len(self.tokens) else ""

    @property
    def is_adjacent(self) -> bool:
        """Whether no space precedes the next token."""
        (last, start), (_, place) = self.tokens[self.next - 1 : self.next + 1]
        return start + len(last) == place

    def error(self, expected: str) -> FormulaError:
        """Return the error for the next token."""
        token, place = self.token, len(self.text)
        if token:
            place = self.tokens[self.next][1]
        elif self.tokens:  # the end, perhaps of an exponent
            last, start = self.tokens[-1]
            place = start + len(last)
        if token[:1].isalpha() and token not in {*FUNCTIONS, *WORDS, *self.names}:
            known = ", ".join(sorted(self.names - {"e"}))
            return FormulaError(self.text, place, f"{token!r} is none of {known}")
        came = repr(token) if token else "the end"
        return FormulaError(self.text, place, f"got {came}, expected {expected}")

    def take(self, *expected: str) -> str:
        token = self.token
        if expected and token not in expected:
            raise self.error(" or ".join(map(repr, expected)))
        self.next += 1
        return token

    def choice(self) -> Tree:
        value = self.sum()
        if self.token != "where":
            return value
        self.take()
        condition = self.condition()
        self.take(",")
        self.take("else")
        return ("where", condition, value, self.sum())

    def condition(self) -> Tree:
        left = self.sum()
        compared: list[Tree] = []
        while self.token in RELATIONS:
            relation = self.take()
            right = self.sum()
            compared.append((relation, left, right))
            left = right
        return left if not compared else compared[0] if len(compared) == 1 else ("and", *compared)

    def sum(self) -> Tree:
        negative = self.token == "−" and bool(self.take())
        value = self.term()
        if negative:
            value = ("negate", value)
        while self.token in ("+", "−"):
            value = (self.take(), value, self.term())
        return value

    def term(self) -> Tree:
        value = self.factor()
        while True:
            if self.token in ("·", "/"):
                value = (self.take(), value, self.factor())
            elif self.token == "∗":
                self.take()
                turned = self.token == "ᵀ" and bool(self.take())
                value = ("∗ᵀ" if turned else "∗", value, self.factor())
            elif self.token and (self.token in self.names or self.token in ("(", "Σ")):
                scaled = value[0] in ("number", "half")
                value = ("·" if scaled else "matrix product", value, self.factor())
            else:
                return value

    def factor(self) -> Tree:
        token = self.token
        if token == "Σ":
            self.take()
            if self.token == "[":
                return ("sum over", self.list("[", "]"), self.term())
            return ("Σ", self.term())
        if token in FUNCTIONS and token not in self.names:
            self.take()
            if self.token == "(":
                return (token, *self.list("(", ")"))
            return (token, self.term() if self.token == "Σ" else self.factor())
        value = self.power(self.atom())
        if value[0] == "number" and self.token in self.names and self.is_adjacent:  # as in g / 2x
            return ("·", value, self.factor())
        return value

    def power(self, base: Tree) -> Tree:
        while self.token and (self.token[0] in RAISED or self.token in ("ᵀ", "^", "repeated")):
            start = self.tokens[self.next][1]
            token = self.take()
            if token == "ᵀ":
                base = ("transposed", base)
            elif token == "repeated":
                base = ("repeated", base)
            elif token == "^":
                base = ("power", base, self.atom())
            else:
                lowered = _tokens("".join(RAISED[c] for c in token), self.names, start)
                exponent = _Reader(self.text, self.names, lowered)
                base = ("power", base, exponent.choice())
        return base

    def atom(self) -> Tree:
        token = self.token
        closing = {"(": ")", "[": "]", "⌊": "⌋", "⌈": "⌉", "|": "|"}.get(token, "")
        if token in self.names:
            self.take()
            return ("entry", token, self.list("[", "]")) if self.token == "[" else ("name", token)
        if not (closing or token in ("½", "∞") or token[:1].isdigit()):
            raise self.error("a name, a number, a function or '('")
        self.take()
        if token == "½":
            return ("half",)
        if not closing:
            return ("number", "inf" if token == "∞" else token.replace("−", "-"))
        value = {"(": self.choice, "[": self.condition}.get(token, self.sum)()
        self.take(closing)
        kind = {"[": "bracket", "⌊": "floor", "⌈": "ceil", "|": "abs"}.get(token)
        return (kind, value) if kind else value

    def list(self, opening: str, closing: str) -> tuple[Tree, ...]:
        """Read terms between brackets."""
        self.take(opening)
        values = [self.sum()]
        while self.token == ",":
            self.take()
            values.append(self.sum())
        self.take(closing)
        return tuple(values)


def _tokens(text: str, names: Iterable[str], start: int = 0) -> list[tuple[str, int]]:
    """Return the tokens of a text that begins at `start`, and where each begins."""
    known = sorted({*names, *FUNCTIONS, *WORDS}, key=len, reverse=True)
    powers = f"(?:[{''.join(RAISED)}]+|ᵀ)"
    word = f"(?:(?![{''.join(RAISED)}ᵀ])[^\\W\\d_])+"
    number = r"\d+\.?\d*(?:e[−-]?\d+)?"
    pattern = "|".join([*map(_as_token, known), number, powers, word, r"\S"])
    return [(found[0], start + found.start()) for found in re.finditer(pattern, text)]


def _as_token(word: str) -> str:
    """Return the pattern of a word; no letter may follow a word of letters."""
    return re.escape(word) + (r"(?![^\W\d_⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺ˣʸᵇᵀ])" if word[-1].isalpha() else "")
