"""A reader of the notation in which ops declare their formulas: text to a tree, tree to a value.

The notation is that of mathematics with Unicode: ``·`` multiplies, ``a b`` is a matrix product,
``∗`` a convolution, ``Σ`` sums the product behind it, a bracket ``[x ≥ 0]`` is 1 or 0, and
``w[i, p]`` is an entry. The tree knows nothing of the package: what names, functions and signs mean
is up to an `Algebra`, of which SymPy's is one and NumPy's another.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Protocol

Tree = tuple[Any, ...]

RAISED = dict(zip("⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺ˣʸᵇ", "0123456789−+xyb", strict=True))
FUNCTIONS = ("tanh", "ln", "exp", "sign", "softmax", "log", "max", "min", "mean", "σ", "√", "S")
RELATIONS = ("=", "≥", "≤", "<", ">", "took")
WORDS = ("where", "else", "repeated", *RELATIONS)


class Algebra(Protocol):
    """What a tree is evaluated to."""

    def number(self, text: str) -> Any: ...

    def name(self, name: str) -> Any: ...

    def apply(self, sign: str, *operands: Any) -> Any: ...


class FormulaError(ValueError):
    """The text is no formula."""


def parse(text: str, names: Iterable[str]) -> Tree:
    """Return the tree of a formula; `names` are the quantities that may occur in it."""
    reader = _Reader(text, names)
    tree = reader.choice()
    if reader.token:
        raise FormulaError(f"{text!r}: {reader.token!r} is not expected")
    return tree


def evaluate(tree: Tree, algebra: Algebra) -> Any:
    """Return the value of a tree, all parts of which are evaluated first."""
    kind, *rest = tree
    if kind == "number":
        return algebra.number(rest[0])
    if kind == "name":
        return algebra.name(rest[0])
    if kind in ("sum over", "entry"):  # these bind letters: the algebra takes the tree itself
        return algebra.apply(kind, *rest)
    return algebra.apply(kind, *(evaluate(part, algebra) for part in rest))


class _Reader:
    """Reads tokens from left to right; each method reads one level of precedence."""

    def __init__(self, text: str, names: Iterable[str]) -> None:
        known = sorted({*names, *FUNCTIONS, *WORDS}, key=len, reverse=True)
        powers = f"(?:[{''.join(RAISED)}]+|ᵀ)"
        pattern = "|".join([*map(_as_token, known), r"\d+\.?\d*(?:e[−-]?\d+)?", powers, r"\S"])
        self.text = text
        self.names = set(names)
        self.tokens = re.findall(pattern, text)
        self.place = 0

    @property
    def token(self) -> str:
        return self.tokens[self.place] if self.place < len(self.tokens) else ""

    def take(self, *expected: str) -> str:
        token = self.token
        if expected and token not in expected:
            raise FormulaError(f"{self.text!r}: got {token!r}, expected {' or '.join(expected)}")
        self.place += 1
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
        if self.token not in RELATIONS:
            return left
        compared: list[Tree] = []
        while self.token in RELATIONS:
            relation = self.take()
            right = self.sum()
            compared.append((relation, left, right))
            left = right
        return compared[0] if len(compared) == 1 else ("and", *compared)

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
                return ("sum over", self.letters(), self.term())
            return ("Σ", self.term())
        if token in FUNCTIONS and token not in self.names:
            self.take()
            if self.token == "(":
                return (token, *self.arguments())
            return (token, self.term() if self.token == "Σ" else self.factor())
        return self.power(self.atom())

    def power(self, base: Tree) -> Tree:
        while self.token and (self.token[0] in RAISED or self.token in ("ᵀ", "^", "repeated")):
            token = self.take()
            if token == "ᵀ":
                base = ("transposed", base)
            elif token == "repeated":
                base = ("repeated", base)
            elif token == "^":
                base = ("power", base, self.atom())
            else:
                exponent = _Reader("".join(RAISED[c] for c in token), self.names).choice()
                base = ("power", base, exponent)
        return base

    def atom(self) -> Tree:
        token = self.take()
        if token == "½":
            return ("half",)
        if token == "(":
            value = self.choice()
            self.take(")")
            return value
        if token == "[":
            value = self.condition()
            self.take("]")
            return ("bracket", value)
        if token == "⌊":
            value = self.sum()
            self.take("⌋")
            return ("floor", value)
        if token == "|":
            value = self.sum()
            self.take("|")
            return ("abs", value)
        if token in self.names:
            return ("entry", token, self.letters()) if self.token == "[" else ("name", token)
        if token == "∞":
            return ("number", "inf")
        if token[:1].isdigit():
            return ("number", token.replace("−", "-"))
        raise FormulaError(f"{self.text!r}: {token or 'its end'!r} is not expected")

    def arguments(self) -> list[Tree]:
        self.take("(")
        values = [self.sum()]
        while self.token == ",":
            self.take()
            values.append(self.sum())
        self.take(")")
        return values

    def letters(self) -> tuple[Tree, ...]:
        self.take("[")
        values = [self.sum()]
        while self.token == ",":
            self.take()
            values.append(self.sum())
        self.take("]")
        return tuple(values)


def _as_token(word: str) -> str:
    """Return the pattern of a word: one of letters must not go on."""
    return re.escape(word) + (r"(?![^\W\d_⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺ˣʸᵇᵀ])" if word[-1].isalpha() else "")
