"""A picture of a graph: folded, laid out, and as DOT or SVG."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Self

from tinygrad_cnn.drawing.build import Arrays
from tinygrad_cnn.drawing.dot import unframed, write_dot
from tinygrad_cnn.drawing.fold import fold
from tinygrad_cnn.drawing.graph import DrawnGraph
from tinygrad_cnn.drawing.heat import HeatKind, Mark, heat_of, marks_of
from tinygrad_cnn.drawing.labels import Content
from tinygrad_cnn.drawing.layout import TooLargeError, lay_out
from tinygrad_cnn.drawing.repeat import fold_repeats
from tinygrad_cnn.drawing.sharing import per_call
from tinygrad_cnn.drawing.svg import finished
from tinygrad_cnn.support.arguments import whole

__all__ = ["GraphPicture", "checked_depth"]

MOST = 2000  # nodes and edges: Graphviz takes about 10 s for these, minutes for twice as many


@dataclass(frozen=True)
class GraphPicture:
    """A picture of a graph, which `page` and every other format of a `Drawing` are made from.

    Attributes
    ----------
    full : DrawnGraph
        The unfolded graph.
    arrays : Arrays
        The known values and gradients, by the ids of `full`.
    depth : int or None
        The depth to which modules are shown; None for all.
    values, gradients : bool
        Whether they are shown.
    heat : {"gradient", "time", "memory"} or None
        The quantity that colors the nodes.
    """

    full: DrawnGraph
    arrays: Arrays = field(repr=False)
    depth: int | None = None
    values: bool = False
    gradients: bool = False
    heat: HeatKind | None = None

    @cached_property
    def graph(self) -> DrawnGraph:
        """The displayed graph, folded to `depth`."""
        return self._folded[0]

    @cached_property
    def source(self) -> str:
        """The graph as DOT, the language of Graphviz; deterministic."""
        return self._dot("transparent", rich=True)

    @cached_property
    def marks(self) -> Mapping[str, tuple[Mark, ...]]:
        """The marks of the nodes of `graph`, by id; a module has the marks of all its nodes.

        Marks are: vanishing or exploding gradient, dead ReLU, saturated sigmoid, NaN. Each has a
        ``name`` and a ``meaning``.
        """
        found: dict[str, tuple[Mark, ...]] = {}
        for key, marks in marks_of(self.full).items():
            place = self._folded[1][key]
            found[place] = tuple(dict.fromkeys((*found.get(place, ()), *marks)))
        return found

    def fold(self, depth: int | None) -> Self:
        """Return this drawing folded to another depth.

        Parameters
        ----------
        depth : int or None
            At least 1; None shows everything.
        """
        return replace(self, depth=checked_depth(depth))

    def svg(self) -> str:
        """Return the drawing as an SVG element.

        Its elements have the ids of the nodes, edges and scopes of `graph`; the backward arrow of
        edge "e3" is "e3-gradient".

        Raises
        ------
        GraphvizMissingError
            If neither Graphviz nor the extra ``render`` is installed.
        TooLargeError
            If there are too many nodes to lay out.
        """
        return finished(self.laid_out("svg").decode("utf-8"), self.graph)

    def laid_out(self, form: str) -> bytes:
        """Return the drawing as Graphviz lays it out: "svg", "png" or "pdf"."""
        graph = self.graph
        if len(graph.nodes) + len(graph.edges) > MOST:
            deepest = "depth=1" if self.depth is None else f"a depth below {self.depth}"
            fold = f"fold its modules with {deepest}" if self.full.scopes else "draw a part of it"
            raise TooLargeError(
                f"draw: {len(graph.nodes):,} nodes and {len(graph.edges):,} edges are too many "
                f"for Graphviz (together {MOST:,}): {fold}; .dot and .json take any number"
            )
        ground = "transparent" if form == "svg" else "white"
        return lay_out(lambda rich: self._dot(ground, rich), form)

    def _dot(self, background: str, rich: bool) -> str:
        return write_dot(self.graph, self._content, background=background, rich=rich)

    @cached_property
    def _per_call(self) -> tuple[DrawnGraph, Mapping[str, str]]:
        return per_call(self.full)

    @cached_property
    def _folded(self) -> tuple[DrawnGraph, Mapping[str, str]]:
        graph = self._per_call[0]
        if self.depth is None:
            return graph, {node.id: node.id for node in self.full.nodes}
        graph, places = fold(graph, self.depth)
        measured = self.values or self.gradients or self.heat
        return (graph if measured else fold_repeats(graph)), places

    @cached_property
    def _content(self) -> Content:
        graph, arrays = self.graph, self.arrays
        arrivals: dict[str, list[str]] = {}
        for edge in graph.edges:
            if edge.gradient is not None:
                arrivals.setdefault(edge.source, []).append(edge.id)
        return Content(
            self.values,
            self.gradients,
            None if self.heat is None else heat_of(graph, self.heat, self.marks),
            self._apart(arrays.values),
            self._apart(arrays.gradients),
            arrays.contributions,
            arrivals,
            Counter(edge.target for edge in graph.edges if not edge.loop),
            unframed(graph),
        )

    def _apart(self, arrays: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the arrays of the nodes that are not folded away."""
        originals = self._per_call[1]
        known = {node.id: originals.get(node.id, node.id) for node in self.graph.nodes}
        return {own: arrays[key] for own, key in known.items() if key in arrays}


def checked_depth(depth: int | None) -> int | None:
    """Return a folding depth; raise if it is not None or a whole number from 1 up."""
    return None if depth is None else whole("draw", "depth", depth)
