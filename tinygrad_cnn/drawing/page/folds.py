"""The drawings of one graph, folded to each depth, and where in them its nodes and edges are."""

from __future__ import annotations

from dataclasses import dataclass, replace

from tinygrad_cnn.drawing.build import Arrays
from tinygrad_cnn.drawing.drawing import Drawing
from tinygrad_cnn.drawing.fold import fold
from tinygrad_cnn.drawing.graph import Graph
from tinygrad_cnn.drawing.layout import TooLargeError
from tinygrad_cnn.drawing.scopes import ancestors

__all__ = ["Fold", "folds"]


@dataclass(frozen=True)
class Fold:
    """A drawing of the graph in which modules from a depth on are one node each.

    Attributes
    ----------
    depth : int or None
        None if nothing is folded.
    label : str
    svg : str
        An element, as it stands in HTML.
    places : dict of str to str
        By the id of each node of the unfolded graph, that of the element which shows it.
    edges : dict of str to str
        The same for edges; those inside a folded module are not there.
    """

    depth: int | None
    label: str
    svg: str
    places: dict[str, str]
    edges: dict[str, str]


def folds(drawing: Drawing) -> list[Fold]:
    """Return the drawings from the most folded one on, as far as they can be laid out.

    Raises
    ------
    TooLargeError
        If not even the most folded one can.
    """
    graph = replace(drawing.full, title="")
    deepest = max(len(chain) for chain in ancestors(graph.scopes).values())
    made: list[Fold] = []
    for depth in [*range(1, deepest + 1), None]:
        try:
            made.append(_fold(graph, depth, deepest))
        except TooLargeError:
            if not made:
                raise
            break
    return made


def _fold(graph: Graph, depth: int | None, deepest: int) -> Fold:
    folded, places = (
        (graph, {n.id: n.id for n in graph.nodes}) if depth is None else fold(graph, depth)
    )
    label = "calls" if depth is None else "layers" if deepest == 1 else f"depth {depth}"
    svg = Drawing(folded, Arrays()).svg()
    edges = {edge.id: edge.id for edge in folded.edges}
    return Fold(depth, label, svg[svg.index("<svg") :], dict(places), edges)
