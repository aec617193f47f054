"""The entries of local derivatives, ∂y[…]/∂x[…], as their ops declare them."""

from __future__ import annotations

import re

from tinygrad_cnn.derivation.paths import Edge
from tinygrad_cnn.derivation.symbols import asked, options_of
from tinygrad_cnn.ops.entries import Index, Letters, LocalEntry, at, shared_axes

__all__ = ["entry_of", "without_gradient"]


def entry_of(edge: Edge, y: Index, letters: Letters) -> LocalEntry | None:
    """Return the index of an edge's argument and the formula; None if the op declares none."""
    op, of = edge.node.op, edge.derivative.of
    if op.elementwise and of not in op.entries:
        x = shared_axes(y, edge.target.shape)
        if op.states(options_of(edge.node)):
            return x, without_gradient(edge.derivative.formula)
        return x, f"∂{at('y', y)}/∂{at(of, x)}"
    if of not in op.entries:
        return None
    function = op.entries[of]
    found: LocalEntry | None = function(y, letters, **asked(edge, function, after=2))
    return found


def without_gradient(formula: str) -> str:
    """Return the factor of g in the derivative of an elementwise op.

    Examples
    --------
    >>> without_gradient("g·y·(1 − y)"), without_gradient("−g·a / b²"), without_gradient("g")
    ('y·(1 − y)', '−a / b²', '1')
    """
    return re.sub(r"\bg\b", "1", re.sub(r"\bg·|·g\b", "", formula))
