"""The numbers of a derivation: the norms of the factors and of the gradient along the paths."""

from __future__ import annotations

import math
from dataclasses import dataclass
from inspect import Parameter
from typing import Any

import numpy as np

from tinygrad_cnn.core.graph import Node
from tinygrad_cnn.core.pullback import pull_back
from tinygrad_cnn.derivation.letters import AFFINE
from tinygrad_cnn.derivation.paths import Bundle, Edge, EdgePath, Paths, Place
from tinygrad_cnn.derivation.symbols import arrays_of, options_of
from tinygrad_cnn.engine.arrays import Array

__all__ = ["Flow", "flow", "local_norm", "norm"]


MOST_ROWS = 1024
"""Local derivatives with more rows than this are not computed row by row."""
MOST_ENTRIES = 1 << 24


@dataclass(frozen=True, slots=True)
class Flow:
    """The results of a backward pass along the paths.

    Attributes
    ----------
    reached : dict
        The norm of the gradient at each node or leaf: of the product down to there.
    along : dict of EdgePath to list of float
        The norm of the product after each factor, for each path of a sum.
    gradient : ndarray
        The gradient at the end.
    """

    reached: dict[Place, float]
    along: dict[EdgePath, list[float]]
    gradient: Array


def flow(paths: Paths, seed: Array) -> Flow:
    """Multiply the local derivatives from the top down, and add them where paths meet.

    This follows the edges of the paths with the declared rules of the ops, independently of
    `tinygrad_cnn.grad`, whose result it is compared with.
    """
    root, end = paths.places[0], paths.places[-1]
    pending: dict[Place, Array] = {root: seed}
    found = Flow({}, {}, seed)
    bundles = {step.top: step for step in paths.steps if isinstance(step, Bundle)}
    for place in paths.places[:-1]:
        assert isinstance(place, Node)
        gradient = pending.pop(place)
        found.reached[place] = norm(gradient)
        for term in (bundles[place].terms or ()) if place in bundles else ():
            found.along[term] = _along(term, gradient)
        edges = paths.leaving[place]
        for edge, contribution in zip(edges, _pulled(edges, gradient), strict=True):
            earlier = pending.get(edge.target)
            pending[edge.target] = contribution if earlier is None else earlier + contribution
    gradient = pending.pop(end)
    found.reached[end] = norm(gradient)
    return Flow(found.reached, found.along, gradient)


def _along(term: EdgePath, gradient: Array) -> list[float]:
    norms = []
    for edge in term:
        gradient = _one(edge, gradient)
        norms.append(norm(gradient))
    return norms


def _pulled(edges: list[Edge], gradient: Array) -> list[Array]:
    """Return the gradients that the outgoing edges of a node send on."""
    node = edges[0].node
    sent = pull_back(
        node, node.values(), gradient, {edge.target for edge in edges}, create_graph=False
    )
    return [array for _, array in sent]


def _one(edge: Edge, gradient: Array) -> Array:
    """Return the gradient that one edge sends on."""
    node = edge.node
    sent = pull_back(node, node.values(), gradient, {edge.target}, create_graph=False)
    numbers = [
        number
        for place, *_ in node.plan.derivatives
        for number in (range(len(node.parents)) if node.op.sequence else (place,))
        if node.parents[number] is edge.target
    ]
    found: Array = sent[numbers.index(edge.number)][1]
    return found


def norm(array: Array) -> float:
    """Return the square root of the sum of squares, without overflow; NaN stays NaN."""
    flat = np.abs(array).astype(np.float64).reshape(-1)
    largest = float(flat.max(initial=0.0))
    if largest == 0.0 or not math.isfinite(largest):
        return largest
    flat /= largest
    return largest * math.sqrt(float(flat @ flat))


def local_norm(edge: Edge) -> float | None:
    """Return the norm of a local derivative: the square root of the sum of its squared entries.

    Returns
    -------
    float or None
        None if it requires a row-by-row computation with too many rows.
    """
    node = edge.node
    op = node.op
    ones = np.ones(node.shape, node.dtype)
    if op.elementwise:  # one entry per entry of the result
        arrays = arrays_of(node)
        needs = {name: arrays[name] for name in edge.derivative.needs}
        return norm(np.broadcast_to(edge.derivative.rule(ones, **needs), node.shape))
    factors = [name for name in edge.derivative.needs if name in op.operands]
    if op.role in ("affine", "product") and factors:
        return math.sqrt(float(_squares(edge, factors).sum(dtype=np.float64)))
    reads = [name for name in edge.derivative.needs if not name.endswith("_shape")]
    is_bias = op.role in AFFINE and edge.number > 0 and not reads
    if op.selecting or is_bias:
        return math.sqrt(float(_one(edge, ones).sum(dtype=np.float64)))
    size = math.prod(node.shape)
    if size > MOST_ROWS or size * math.prod(edge.target.shape) > MOST_ENTRIES:
        return None
    rows = []
    for i in range(size):
        unit = np.zeros(size, node.dtype)
        unit[i] = 1
        rows.append(norm(_one(edge, unit.reshape(node.shape))))
    return norm(np.array(rows))


def _squares(edge: Edge, factors: list[str]) -> Array:
    """Return the sum of squared derivatives for each entry of a bilinear op's result.

    Each derivative is an entry of the other factor, so the sum is the op of 1 and its squares.
    """
    node = edge.node
    arrays = arrays_of(node)
    parents = dict(zip(node.op.operands, node.parents, strict=True))
    arguments: dict[str, Any] = {  # a bias adds nothing
        name: np.zeros(() if parent is None else parent.shape, node.dtype)
        for name, parent in parents.items()
        if node.op.signature.parameters[name].default is Parameter.empty
    }
    arguments |= {name: np.asarray(arrays[name]) ** 2 for name in factors}
    arguments[edge.derivative.of] = np.ones(edge.target.shape, node.dtype)
    result: Array = node.op.forward(**arguments, **options_of(node))
    return result
