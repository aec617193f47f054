"""The data of the page's script: the graph, its arrays and the steps to play."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from tinygrad_cnn.core.op import OPS
from tinygrad_cnn.drawing.build import Arrays
from tinygrad_cnn.drawing.graph import DrawnEdge, DrawnGraph, DrawnNode
from tinygrad_cnn.drawing.page.embedding import EmbeddedArrays
from tinygrad_cnn.drawing.page.local import EntryKind, local_derivative
from tinygrad_cnn.drawing.text import option
from tinygrad_cnn.support.text import citation

__all__ = ["contents"]


def contents(graph: DrawnGraph, arrays: Arrays) -> dict[str, Any]:
    """Return the nodes, edges, steps and arrays of an unfolded graph, as JSON values.

    Nodes and edges refer to arrays by index in the list ``"arrays"``, or by None.

    Parameters
    ----------
    graph : DrawnGraph
    arrays : Arrays
        The known values and gradients of its nodes and edges.

    Returns
    -------
    dict
        ``"nodes"`` and ``"edges"`` are as in the graph, with the ids of a node's edges. An edge has
        its ``"local"`` derivative (see `local_derivative`), or else the arrays that it ``"reads"``.
        ``"steps"`` name a phase ("forward", "backward", "result") and a node; ``"arrays"`` come
        from `EmbeddedArrays`.
    """
    embedding = EmbeddedArrays()
    inputs: dict[str, list[DrawnEdge]] = {node.id: [] for node in graph.nodes}
    outputs: dict[str, list[DrawnEdge]] = {node.id: [] for node in graph.nodes}
    for edge in graph.edges:
        inputs[edge.target].append(edge)
        outputs[edge.source].append(edge)
    nodes = [
        _node(node, inputs[node.id], outputs[node.id], arrays, embedding) for node in graph.nodes
    ]
    edges = [
        _edge(edge, node, inputs[node.id], arrays, embedding)
        for node in graph.nodes
        for edge in inputs[node.id]
    ]
    return {
        "nodes": nodes,
        "edges": edges,
        "steps": _steps(graph),
        "arrays": embedding.encoded,
    }


def _node(
    node: DrawnNode,
    inputs: list[DrawnEdge],
    outputs: list[DrawnEdge],
    arrays: Arrays,
    embedding: EmbeddedArrays,
) -> dict[str, Any]:
    return {
        "id": node.id,
        "kind": node.kind,
        "name": node.name,
        "op": node.op,
        "scope": node.scope,
        "shape": node.shape,
        "formula": node.formula,
        "equation": citation(node.equation),
        "options": [option(name, value) for name, value in node.options.items()],
        "value": embedding.add(arrays.values.get(node.id)),
        "gradient": embedding.add(arrays.gradients.get(node.id)),
        "inputs": [edge.id for edge in inputs],
        "outputs": [edge.id for edge in outputs],
        "error": node.error,
    }


def _edge(
    edge: DrawnEdge,
    call: DrawnNode,
    siblings: list[DrawnEdge],
    arrays: Arrays,
    embedding: EmbeddedArrays,
) -> dict[str, Any]:
    sent = arrays.contributions.get(edge.id)
    local, reads = (None, []) if sent is None else _explained(edge, call, siblings, arrays)
    return {
        "id": edge.id,
        "source": edge.source,
        "target": edge.target,
        "argument": edge.argument,
        "formula": edge.formula,
        "equation": citation(edge.equation),
        "gradient": embedding.add(sent),
        "local": local and {"kind": local[0], "array": embedding.add(local[1])},
        "reads": [{"name": name, "array": embedding.add(array)} for name, array in reads],
    }


def _explained(
    edge: DrawnEdge, call: DrawnNode, siblings: list[DrawnEdge], arrays: Arrays
) -> tuple[tuple[EntryKind, NDArray[Any]] | None, list[tuple[str, NDArray[Any]]]]:
    """Return the local derivative of a call, or else the arrays that it reads."""
    op = OPS.get(call.op)
    result = arrays.values.get(call.id)
    known = {
        other.argument: arrays.values[other.source]
        for other in siblings
        if other.source in arrays.values
    }
    if op is None or result is None or edge.argument not in known:
        return None, []
    local = local_derivative(op, edge.argument, known, call.options, result)
    if local is not None or edge.argument not in op.derivatives:  # not for list arguments
        return local, []
    known["y"] = result
    reads = op.reads(edge.argument)
    return None, [(name, value) for name, value in known.items() if name in reads]


def _steps(graph: DrawnGraph) -> list[dict[str, Any]]:
    """Return the steps: calls in order, their backward steps, and the result."""
    ahead = sorted((n for n in graph.nodes if n.step is not None), key=lambda n: n.step or 0)
    back = sorted(
        (n for n in graph.nodes if n.backward_step is not None), key=lambda n: n.backward_step or 0
    )
    steps: list[dict[str, Any]] = []
    for phase, nodes in (("forward", ahead), ("backward", back)):
        steps += [
            {"phase": phase, "node": node.id, "number": number, "of": len(nodes)}
            for number, node in enumerate(nodes, start=1)
        ]
    return [*steps, {"phase": "result"}] if back else steps
