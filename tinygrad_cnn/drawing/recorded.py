"""Steps from the recorded graph of a result, with the values that its nodes saved."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinygrad_cnn.core.graph import GraphFreedError, Node, grad, nodes_of
from tinygrad_cnn.core.observer import BackwardEvent, Observer
from tinygrad_cnn.core.pullback import pull_back
from tinygrad_cnn.core.recording import changed_recording
from tinygrad_cnn.core.tensor import Tensor
from tinygrad_cnn.core.variable import Variable, array_of
from tinygrad_cnn.drawing.steps import Argument, Leaf, Step, StepOrLeaf, operands, options_of
from tinygrad_cnn.drawing.trace import leaf_of, take_turn

__all__ = ["recorded", "sweep"]


def recorded(y: Tensor) -> list[Step]:
    """Return the calls that computed `y`, in order.

    Raises
    ------
    TypeError
        If `y` is not a Tensor.
    ValueError
        If `y` has no graph.
    """
    if not isinstance(y, Variable):
        raise TypeError(f"draw: y is {type(y).__name__}, expected Tensor")
    if y.node is None:
        raise ValueError(
            f"draw: the Tensor {y.name or 'y'} of shape {y.shape} has no graph: it is a leaf, "
            "nothing it was computed from requires a gradient, or it was computed under no_grad(); "
            "`with tg.trace() as trace:` around the computation draws it all the same"
        )
    steps: dict[Node, Step] = {}
    leaves: dict[Any, Leaf] = {}
    for node in nodes_of(y.node):
        steps[node] = _step(node, steps, leaves)
    steps[y.node].array = y._array
    return list(steps.values())


def sweep(y: Tensor, steps: list[Step]) -> None:
    """Add the gradients of `y` to its steps, by a backward pass without other side effects.

    Raises
    ------
    ValueError
        If `y` has more than one element.
    GraphFreedError
        If its graph was freed.
    """
    if y._array.size != 1:
        raise ValueError(
            f"draw: y has shape {y.shape}, but gradients need one element: draw its sum(), "
            "or the loss"
        )
    sources = [argument.source for step in steps for argument in step.arguments]
    leaves = [
        source.origin
        for source in sources
        if isinstance(source, Leaf) and isinstance(source.origin, Variable) and source.learned
    ]
    watching = _Sweep(steps)
    with changed_recording(observers=(watching,)):  # hide this sweep from others
        try:
            grad(y, list(dict.fromkeys(leaves)), retain_graph=True)
        except GraphFreedError as error:
            raise GraphFreedError(
                f"draw: {error}, or draw a trace: `with tg.trace() as trace:` around forward and "
                "backward, then trace.draw()"
            ) from None


class _Sweep(Observer):
    """Store the gradients of one backward pass in the steps of a recorded graph."""

    def __init__(self, steps: list[Step]) -> None:
        self.steps = {step.origin: step for step in steps}
        self.turns = 0

    def backward(self, event: BackwardEvent) -> None:
        take_turn(self.steps[event.node], event, self.turns)
        self.turns += 1


def _step(node: Node, steps: dict[Node, Step], leaves: dict[Any, Leaf]) -> Step:
    op = node.op
    kept = {} if node.saved is None else dict(zip(node.plan.names, node.saved, strict=True))
    known = kept | kept.get("static", {}) | dict(zip(op.static, node.static, strict=True))
    step = Step(op, node.scope, node, shape=node.shape, dtype=node.dtype)
    parents = node.parents
    for (name, derivative), parent in zip(operands(op, len(parents)), parents, strict=True):
        value = known.pop(name, None)
        if isinstance(parent, Node):
            source: StepOrLeaf | None = steps[parent]
            if isinstance(value, Variable) and value.node is parent:
                steps[parent].array = value._array
        else:
            source = _leaf(value if parent is None else parent, node.scope, leaves, False)
        if source is not None:
            step.arguments.append(Argument(name, source, derivative))
    if op.sequence:
        known.pop(op.parameters[0], None)
    for name in [name for name in op.parameters if name in known]:
        source = _leaf(known[name], node.scope, leaves, True)
        if source is not None:
            step.arguments.append(Argument(name, source, None))
            del known[name]
    step.options = options_of(op, {n: v for n, v in known.items() if n in op.parameters})
    if isinstance(kept.get("y"), np.ndarray):
        step.array = kept["y"]
    if op.dead_at_zero and node.saved is not None and math.prod(node.shape):
        saved = list(map(array_of, node.saved))
        ones = np.ones(node.shape, node.dtype)
        (_, slopes), *_ = pull_back(node, saved, ones, None, create_graph=False)
        step.dead = 1.0 - int(np.count_nonzero(slopes)) / slopes.size
    return step


def _leaf(value: Any, scope: str, leaves: dict[Any, Leaf], is_auxiliary: bool) -> Leaf | None:
    """Return the leaf of a Tensor or array; None for anything else."""
    origin = value if isinstance(value, Variable) else None
    array = array_of(value)
    if not isinstance(array, np.ndarray):
        return None
    key = id(array) if origin is None else origin
    if key not in leaves:
        leaves[key] = leaf_of(origin, array, scope, is_auxiliary)
    return leaves[key]
