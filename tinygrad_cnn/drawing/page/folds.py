"""The drawings of one graph at each folding depth, and with one more module open."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, replace

from tinygrad_cnn.drawing.arrangement import bundles
from tinygrad_cnn.drawing.build import Arrays
from tinygrad_cnn.drawing.fold import fold
from tinygrad_cnn.drawing.layout import TooLargeError
from tinygrad_cnn.drawing.picture import GraphPicture
from tinygrad_cnn.drawing.scopes import ancestors
from tinygrad_cnn.drawing.sharing import per_call

__all__ = ["FoldedPicture", "folds"]

OPENED = 24
"""The most drawings with one more module open; from deeper ones a click opens the next depth."""

OPENED_LENGTH = 3_000_000
"""The most characters of these drawings."""


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
    copies : dict of str to str
        The id of a shared parameter, by the id of the element of each further call's copy.
    base : int or None
        For a drawing with one more module open: the index of the drawing at its depth.
    opened : tuple of str
        The ids of the scopes that are open beyond that depth, the innermost last.
    """

    depth: int | None
    label: str
    svg: str
    places: dict[str, str]
    edges: dict[str, str]
    copies: dict[str, str]
    base: int | None = None
    opened: tuple[str, ...] = ()


def folds(drawing: GraphPicture) -> list[FoldedPicture]:
    """Return the drawings that can be laid out: every depth, then with one more module open.

    Every depth comes before its next. The drawings with a module open start from the most folded;
    there are at most `OPENED`, and fewer of a large graph (`OPENED_LENGTH`).

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
    return [*made, *_opened(drawing, made)]


def _opened(drawing: GraphPicture, made: list[FoldedPicture]) -> list[FoldedPicture]:
    """Return the drawings that show one module of a folded drawing open."""
    graph = drawing.full
    chains = ancestors(graph.scopes)
    by_name = {scope.name: scope.id for scope in graph.scopes}
    sizes = Counter(name for node in graph.nodes for name in chains[node.scope])
    wanted = [
        (base, chain[min(fold.depth, len(chain)) - 1 :])
        for base, fold in enumerate(made)
        if fold.depth is not None
        for name, chain in sorted(chains.items(), key=lambda item: len(item[1]))
        if sizes[name] > 1 and (len(chain) >= fold.depth or by_name[name] in fold.places.values())
    ]
    found: list[FoldedPicture] = []
    length = 0
    for base, chain in wanted[:OPENED]:
        depth = made[base].depth
        try:
            fold = _fold(drawing, depth, 0, chain)
        except TooLargeError:
            continue
        length += len(fold.svg)
        if length > OPENED_LENGTH:
            break
        opened = tuple(by_name[name] for name in chain)
        found.append(replace(fold, base=base, opened=opened))
    return found


def _fold(
    drawing: GraphPicture, depth: int | None, deepest: int, opened: tuple[str, ...] = ()
) -> FoldedPicture:
    graph = drawing.full
    folded, places = (
        (graph, {n.id: n.id for n in graph.nodes}) if depth is None else fold(graph, depth, opened)
    )
    label = "calls" if depth is None else "layers" if deepest == 1 else f"depth {depth}"
    picture = GraphPicture(folded, Arrays(), style=drawing.style, time_limit=drawing.time_limit)
    svg = picture.svg(simplify=False)
    edges = {edge.id: bundle[0].id for bundle in bundles(folded) for edge in bundle}
    drawn = re.sub(r"<title>.*?</title>", "", svg[svg.index("<svg") :])  # the card says more
    return FoldedPicture(depth, label, drawn, dict(places), edges, per_call(folded)[1])
