"""The entries of local derivatives, ∂y[…]/∂x[…], as their ops declare them."""

from __future__ import annotations

import inspect
import re
from typing import Any

import numpy as np

from tinygrad_cnn.derivation.paths import Edge
from tinygrad_cnn.derivation.symbols import arrays_of, options_of
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
    names = [*inspect.signature(op.entries[of]).parameters][2:]
    found: LocalEntry | None = op.entries[of](y, letters, **{n: _value(edge, n) for n in names})
    return found


def without_gradient(formula: str) -> str:
    """Return the factor of g in the derivative of an elementwise op.

    Examples
    --------
    >>> without_gradient("g·y·(1 − y)"), without_gradient("−g·a / b²"), without_gradient("g")
    ('y·(1 − y)', '−a / b²', '1')
    """
    return re.sub(r"\bg\b", "1", re.sub(r"\bg·|·g\b", "", formula))


def _value(edge: Edge, name: str) -> Any:
    """Return the value that an entry's function asks for by `name`."""
    node, of = edge.node, edge.derivative.of
    options = options_of(node)
    known: dict[str, Any] = {
        "static": options,
        "position": edge.number,
        "y_shape": node.shape,
        f"{of}_shape": edge.target.shape,
        **options,
        **arrays_of(node),
    }
    if name in known:
        return known[name]
    parameter = name.removesuffix("_shape")
    if parameter == name or parameter not in known:
        raise TypeError(
            f"op {node.op.name}: the entry of the derivative with respect to {of} asks for "
            f"{name!r}, expected one of {', '.join(known)}, or the shape of one"
        )
    return np.shape(known[parameter])
