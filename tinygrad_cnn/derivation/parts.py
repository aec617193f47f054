"""What a derivation is made of: its factors, sums and layers, with their formulas and numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from tinygrad_cnn.derivation.notation import Formula, Index, Symbol

__all__ = ["Factor", "Gap", "Item", "Layer", "PathSum", "Quantity", "SumLine"]

Shape: TypeAlias = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Quantity:
    """What a symbol stands for.

    Attributes
    ----------
    symbol : Symbol
    origin : str
        The op and its module, or the name of a leaf.
    shape : tuple of int
    """

    symbol: Symbol
    origin: str
    shape: Shape


@dataclass(frozen=True, slots=True)
class Factor:
    """One local derivative.

    Attributes
    ----------
    top, bottom : Symbol
        It is ∂top/∂bottom.
    argument : str
        The op's parameter, where `bottom` is given to the op more than once; else "".
    op, scope : str
        The op that computed `top`, and its module.
    shapes : tuple of two shapes
        Of `top` and of `bottom`.
    indices : tuple of two indices
        Of the entry that `formula` gives.
    formula : Formula
        The entry ∂top[…]/∂bottom[…]; this itself where `rule` is all that is known.
    rule : Formula
        The derivative as the op declares it: what becomes of g, the gradient of `top`.
    rule_latex : str
        The same as LaTeX, in the op's own letters.
    equation : str
        Its number in the text.
    norm : float or None
        The square root of the sum of its squared entries; None if there are too many.
    after : float
        The norm of the product down to and with this factor.
    """

    top: Symbol
    bottom: Symbol
    argument: str
    op: str
    scope: str
    shapes: tuple[Shape, Shape]
    indices: tuple[Index, Index]
    formula: Formula
    rule: Formula
    rule_latex: str
    equation: str
    norm: float | None
    after: float

    @property
    def is_known(self) -> bool:
        """Whether `formula` says more than what it is the derivative of."""
        first = self.formula.parts[0]
        return not (isinstance(first, str) and first.startswith("∂"))


@dataclass(frozen=True, slots=True)
class Layer:
    """The factors of one module, folded into one.

    Attributes
    ----------
    top, bottom : Symbol
    ops : tuple of str
        The ops on the way, from the input on; of a repeated one only the first.
    shapes : tuple of two shapes
    count : int
        How many local derivatives it stands for.
    after : float
        The norm of the product down to and with this layer.
    """

    top: Symbol
    bottom: Symbol
    ops: tuple[str, ...]
    shapes: tuple[Shape, Shape]
    count: int
    after: float


@dataclass(frozen=True, slots=True)
class Gap:
    """Factors that are left out of a chain too long to be shown.

    Attributes
    ----------
    count : int
        How many.
    after : float
        The norm of the product behind them.
    """

    count: int
    after: float


@dataclass(frozen=True, slots=True)
class SumLine:
    """One line of a sum that is factored where its paths meet.

    Attributes
    ----------
    bottom : Symbol
        The line is d top/d bottom, along all paths of the sum.
    terms : tuple
        Each the symbol whose own derivative is multiplied, and the factors from there down.
    more : int
        How many terms are left out.
    after : float
        The norm of the product down to there.
    """

    bottom: Symbol
    terms: tuple[tuple[Symbol, tuple[Item, ...]], ...]
    more: int
    after: float


@dataclass(frozen=True, slots=True)
class PathSum:
    """The sum over several paths between two quantities.

    Attributes
    ----------
    top, bottom : Symbol
    count : int
        How many paths there are.
    terms : tuple of tuple
        The factors of each path; empty if the sum is in `lines`.
    lines : tuple of SumLine
        The sum, factored, if there are too many paths; the last is the whole.
    more : int
        How many lines are left out, before the last.
    after : float
        The norm of the product down to and with this sum.
    """

    top: Symbol
    bottom: Symbol
    count: int
    terms: tuple[tuple[Item, ...], ...]
    lines: tuple[SumLine, ...]
    more: int
    after: float


Item: TypeAlias = Factor | Layer | Gap | PathSum
