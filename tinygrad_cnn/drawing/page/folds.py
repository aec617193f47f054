"""The drawings of one graph at each folding depth, with the places of its nodes and edges."""

from __future__ import annotations

from dataclasses import dataclass, replace

from tinygrad_cnn.drawing.arrangement import bundles
from tinygrad_cnn.drawing.build import Arrays
from tinygrad_cnn.drawing.fold import fold
from tinygrad_cnn.drawing.layout import TooLargeError
from tinygrad_cnn.drawing.picture import GraphPicture
from tinygrad_cnn.drawing.scopes import ancestors

__all__ = ["FoldedPicture", "folds"]


@dataclass(frozen=True)
class FoldedPicture:
    """A drawing of the graph with modules folded at one depth.

    Attributes
    ----------
    depth : int or None
        The folding depth; None if nothing is folded.
    label : str
    svg : str
        An SVG element for HTML.
    places : dict of str to str
        The id of the element that shows each node, by the node's id in the unfolded graph.
    edges : dict of str to str
        The same for edges; edges inside a folded module are missing.
    """

    depth: int | None
    label: str
    svg: str
    places: dict[str, str]
    edges: dict[str, str]


def folds(drawing: GraphPicture) -> list[FoldedPicture]:
    """Return the drawings that can be laid out, the most folded first.

    Raises
    ------
    TooLargeError
        If even the most folded drawing cannot be laid out within the time limit.
    """
    drawing = replace(
        drawing,
        full=replace(drawing.full, title=""),
        style=replace(drawing.style, page=None, theme="auto"),
    )
    graph = drawing.full
    deepest = max(len(chain) for chain in ancestors(graph.scopes).values())
    made: list[FoldedPicture] = []
    for depth in [*range(1, deepest + 1), None]:
        try:
            made.append(_fold(drawing, depth, deepest))
        except TooLargeError:
            if not made:
                raise
            break
    return made


def _fold(drawing: GraphPicture, depth: int | None, deepest: int) -> FoldedPicture:
    graph = drawing.full
    folded, places = (
        (graph, {n.id: n.id for n in graph.nodes}) if depth is None else fold(graph, depth)
    )
    label = "calls" if depth is None else "layers" if deepest == 1 else f"depth {depth}"
    picture = GraphPicture(folded, Arrays(), style=drawing.style, time_limit=drawing.time_limit)
    svg = picture.svg(simplify=False)
    edges = {edge.id: bundle[0].id for bundle in bundles(folded) for edge in bundle}
    return FoldedPicture(depth, label, svg[svg.index("<svg") :], dict(places), edges)
