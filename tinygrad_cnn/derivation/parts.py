"""The parts of a derivation: factors, sums and layers, with their formulas and numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn.derivation.notation import Formula, Symbol
from tinygrad_cnn.derivation.written import Written
from tinygrad_cnn.engine.arrays import Shape
from tinygrad_cnn.ops.entries import Index

__all__ = ["ChainRule", "Factor", "Gap", "Item", "Layer", "PathSum", "Quantity", "SumLine"]


@dataclass(frozen=True, slots=True)
class Quantity:
    """The quantity of a symbol.

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
        The factor is ∂top/∂bottom.
    argument : str
        The op's parameter, if `bottom` is given to the op more than once; else "".
    op, scope : str
        The op that computed `top`, and its module.
    shapes : tuple of two shapes
        The shapes of `top` and `bottom`.
    indices : tuple of two indices
        The indices of the entry in `formula`.
    formula : Formula
        The entry ∂top[…]/∂bottom[…]; this text itself if only `rule` is known.
    rule : Formula
        The op's declared derivative, as a function of g, the gradient of `top`.
    rule_latex : str
        The rule as LaTeX, in the op's own letters.
    equation : str
        The number of the equation in the text.
    norm : float or None
        The square root of the sum of squared entries; None if there are too many.
    after : float
        The norm of the product down to this factor, inclusive.
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
        """Whether `formula` is more than the symbol ∂top[…]/∂bottom[…]."""
        first = self.formula.parts[0]
        return not (isinstance(first, str) and first.startswith("∂"))


@dataclass(frozen=True, slots=True)
class Layer:
    """The factors of one module, folded into one.

    Attributes
    ----------
    top, bottom : Symbol
    ops : tuple of str
        The ops on the path, from the input on, without repeats.
    shapes : tuple of two shapes
    count : int
        The number of local derivatives in it.
    after : float
        The norm of the product down to this layer, inclusive.
    """

    top: Symbol
    bottom: Symbol
    ops: tuple[str, ...]
    shapes: tuple[Shape, Shape]
    count: int
    after: float


@dataclass(frozen=True, slots=True)
class Gap:
    """Factors omitted from a chain that is too long to show.

    Attributes
    ----------
    count : int
        The number of factors.
    after : float
        The norm of the product after them.
    """

    count: int
    after: float


@dataclass(frozen=True, slots=True)
class SumLine:
    """One line of a sum, factored where its paths meet.

    Attributes
    ----------
    bottom : Symbol
        The line is d top/d bottom, along all paths of the sum.
    terms : tuple
        Each is the symbol whose total derivative is multiplied, and the factors from there down.
    more : int
        The number of omitted terms.
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
        The number of paths.
    terms : tuple of tuple
        The factors of each path; empty if the sum is given by `lines`.
    lines : tuple of SumLine
        The factored sum, if there are too many paths; the last line is the whole sum.
    more : int
        The number of lines omitted before the last.
    after : float
        The norm of the product down to this sum, inclusive.
    """

    top: Symbol
    bottom: Symbol
    count: int
    terms: tuple[tuple[Item, ...], ...]
    lines: tuple[SumLine, ...]
    more: int
    after: float


Item: TypeAlias = Factor | Layer | Gap | PathSum


@dataclass(frozen=True, slots=True)
class ChainRule:
    """The chain rule for the gradient of a loss with respect to one Tensor, with its numbers.

    Attributes
    ----------
    loss, wrt : Symbol
        The derivation is of ∂loss/∂wrt.
    name : str
        The name of `wrt` in the model, such as ``"fc1.weight"``.
    shape : tuple of int
        The shape of `wrt`.
    paths : int
        The number of paths from the loss to `wrt`.
    product : tuple
        The factors, from the loss down: each a `Factor`, `PathSum`, `Layer` or `Gap`.
    layers : tuple
        The product folded by module; empty if there are no modules or `product` is folded.
    quantities : tuple of Quantity
        The quantities of the symbols.
    written : Written or None
        The derivative entry by entry; None if too long.
    gradient : ndarray
        The product of the factors.
    difference : float
        The largest difference between `gradient` and what ``backward()`` adds to ``wrt.grad``.
    held : float or None
        The largest difference between `gradient` and ``wrt.grad``; None if that is not set.
    """

    loss: Symbol
    wrt: Symbol
    name: str
    shape: tuple[int, ...]
    paths: int
    product: tuple[Item, ...]
    layers: tuple[Item, ...]
    quantities: tuple[Quantity, ...]
    written: Written | None
    gradient: NDArray[Any]
    difference: float
    held: float | None

    def agrees(self) -> bool:
        """Return whether the product equals the gradient of ``backward()``, up to rounding."""
        return self.difference <= _tolerance(self.gradient)


def _tolerance(gradient: NDArray[Any]) -> float:
    """Return the largest difference that another order of addition may cause."""
    finite = np.abs(gradient[np.isfinite(gradient)])
    return 1e3 * float(np.finfo(gradient.dtype).eps) * float(finite.max(initial=0.0))
