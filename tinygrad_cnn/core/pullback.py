"""One step of a reverse sweep: the gradients that a call sends to its arguments."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tinygrad_cnn.core.variable import Array, Variable
from tinygrad_cnn.engine.arrays import read_only

if TYPE_CHECKING:
    from tinygrad_cnn.core.declaration import Derivative
    from tinygrad_cnn.core.graph import Node


class Report:
    """What `pull_back` found on its way.

    Attributes
    ----------
    returned : list of (Derivative, object)
        What the rules returned, in the order of their calls.
    shared : dict of str to object
        The intermediates of the gradient.
    """

    def __init__(self) -> None:
        self.returned: list[tuple[Derivative, Any]] = []
        self.shared: dict[str, Any] = {}


WRITES = "writes to one of its input arrays; make it work on a copy"


def pull_back(
    node: Node,
    values: list[Any],
    gradient: Array,
    needed: set[Any] | None,
    create_graph: bool,
    report: Report | None = None,
) -> list[tuple[Node | Variable, Array]]:
    """Return the gradient of each parent of `node`, restricted to `needed` if given.

    `values` are the saved values, from ``node.values()``. The last argument's gradient is computed
    first: what a weight gradient allocates meanwhile is free again before the gradient of the data.
    What happened on the way is added to `report`.
    """
    op, plan, parents = node.op, node.plan, node.parents
    kept = own = values
    if op.guarded:
        kept = own = read_only(kept)
        gradient = read_only(gradient)
    if create_graph:
        kept, own = _differentiable(node), []
    if plan.of_gradient:
        kept = with_shared(node, gradient, kept)
        if report is not None:
            names = [name for name, _ in plan.of_gradient]
            report.shared.update(zip(names, kept[-len(names) :], strict=True))
    contributions: list[tuple[Node | Variable, Array]] = []
    try:
        for place, derivative, apply in reversed(plan.derivatives):
            if not op.sequence:
                parent = parents[place]
                if parent is not None and (needed is None or parent in needed):
                    value = apply(gradient, kept)
                    if report is not None:
                        report.returned.append((derivative, value))
                    value = _fitted(node, derivative, value, parent, own)
                    contributions.append((parent, value))
            elif needed is None or not needed.isdisjoint(parents):
                values = apply(gradient, kept)
                if report is not None:
                    report.returned.append((derivative, values))
                for parent, value in zip(parents, values, strict=True):
                    if parent is not None and (needed is None or parent in needed):
                        value = _fitted(node, derivative, value, parent, own)
                        contributions.append((parent, value))
    except ValueError as error:
        if "read-only" not in str(error):
            raise
        raise ValueError(f"{_of(node, derivative)} {WRITES}") from error
    return contributions if op.sequence else contributions[::-1]


def with_shared(node: Node, gradient: Array, kept: list[Any]) -> list[Any]:
    """Return `kept`, then the intermediates that depend on the gradient."""
    for name, function in node.plan.of_gradient:
        where = f"the intermediate {name} of {node.op.name}"
        try:
            value = function(gradient, kept)
        except ValueError as error:
            if "read-only" not in str(error):
                raise
            raise ValueError(f"{where} {WRITES}") from error
        parts = list(value) if type(value) is tuple else [value]
        for part in parts:
            if not isinstance(part, np.ndarray | np.generic | Variable):
                raise TypeError(f"{where} is {type(part).__name__}, expected an array")
        if node.op.guarded:
            value = read_only(parts) if type(value) is tuple else read_only(value)
        kept = [*kept, value]
    return kept


def _differentiable(node: Node) -> list[Any]:
    """Return the saved values: y as the result of `node`, and intermediates recorded again."""
    kept = dict(zip(node.plan.names, node.kept(), strict=True))
    if "y" in kept:
        kept["y"] = Variable._tensor._of(kept["y"], node)
    for name, function, names in node.plan.intermediates:
        kept[name] = function(*[kept[n] for n in names])
    return [kept[name] for name in node.plan.names]


def _fitted(
    node: Node, derivative: Derivative, value: Array, parent: Node | Variable, own: list[Any]
) -> Array:
    """Return the gradient `value` in the shape and dtype of `parent`.

    A saved value (one of `own`) is copied, never handed out.
    """
    for kept in own:
        if value is kept:
            value = value.copy()
    like = parent._array if isinstance(parent, Variable) else parent
    if type(value) is np.ndarray and value.dtype == like.dtype:
        if value.shape == like.shape:
            return value
    elif not isinstance(value, np.ndarray | np.generic | Variable):
        came = type(value).__name__
        raise TypeError(f"{_of(node, derivative)} is {came}, expected an array")
    from tinygrad_cnn import ops  # ops are declared by the core

    if value.shape != parent.shape:
        if not node.op.elementwise:
            raise ValueError(
                f"{_of(node, derivative)} has shape {value.shape}, expected {parent.shape}"
            )
        value = ops.sum_to(value, parent.shape)
    return value if value.dtype == parent.dtype else ops.astype(value, parent.dtype)


def _of(node: Node, derivative: Derivative) -> str:
    return f"the derivative of {node.op.name} with respect to {derivative.of}"
