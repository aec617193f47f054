"""A picture of a graph: folded, laid out, and as DOT or SVG."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Self

from tinygrad_cnn.drawing.build import Arrays
from tinygrad_cnn.drawing.dot import unframed, write_dot
from tinygrad_cnn.drawing.fold import fold
from tinygrad_cnn.drawing.graph import DrawnGraph, DrawnScope
from tinygrad_cnn.drawing.heat import HeatKind, Mark, heat_of, marks_of
from tinygrad_cnn.drawing.labels import Content
from tinygrad_cnn.drawing.layout import TIME_LIMIT, TooLargeError, lay_out
from tinygrad_cnn.drawing.palette import CARD
from tinygrad_cnn.drawing.repeat import Unfolded, fold_repeats
from tinygrad_cnn.drawing.scopes import ancestors
from tinygrad_cnn.drawing.sharing import per_call
from tinygrad_cnn.drawing.style import PLAIN, Style
from tinygrad_cnn.drawing.svg import finished
from tinygrad_cnn.support.arguments import whole

__all__ = ["GraphPicture", "checked_depth"]

LEAST = 2.0  # seconds for the simplest picture, so that a busy machine makes one, too
SECTIONS = 40  # nodes that a graph is folded to if its modules are not enough


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
    style : Style
        Direction, page, font, labels and colors.
    time_limit : float or None
        The time for the layout in seconds; None for no limit.
    note : str
        How the picture was simplified to be laid out in time.
    """

    full: DrawnGraph
    arrays: Arrays = field(repr=False)
    depth: int | None = None
    values: bool = False
    gradients: bool = False
    heat: HeatKind | None = None
    style: Style = PLAIN
    time_limit: float | None = TIME_LIMIT
    note: str = ""

    @cached_property
    def graph(self) -> DrawnGraph:
        """The displayed graph, folded to `depth`."""
        return self._folded[0]

    @cached_property
    def source(self) -> str:
        """The graph as DOT, the language of Graphviz; deterministic."""
        return self._dot("svg", rich=True)

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

    def svg(self, *, simplify: bool = True) -> str:
        """Return the drawing as an SVG element.

        Its elements have the ids of the nodes, edges and scopes of `graph`; the backward arrow of
        edge "e3" is "e3-gradient". Parallel edges at a folded module are one element, with the id
        of the first.

        Parameters
        ----------
        simplify : bool
            Whether a graph that cannot be laid out within the time limit is drawn without labels,
            then with modules folded. A line in the picture says so.

        Raises
        ------
        GraphvizMissingError
            If neither Graphviz nor the extra ``render`` is installed.
        TooLargeError
            If the graph cannot be laid out within the time limit.
        """
        picture, data = self._in_time("svg", simplify)
        return finished(data.decode("utf-8"), picture.graph, self.style)

    def laid_out(self, form: str) -> bytes:
        """Return the drawing as Graphviz lays it out, simplified if necessary: "png" or "pdf"."""
        return self._in_time(form, simplify=True)[1]

    def _in_time(self, form: str, simplify: bool) -> tuple[GraphPicture, bytes]:
        """Return a picture that can be laid out within the time limit, and its layout.

        The simpler pictures are tried in turn, each for half of the time that is left.
        """
        limit = self.time_limit
        if limit is None or not simplify:
            return self, self._laid_out(form, limit)
        end = time.monotonic() + limit
        pictures = list(self._simpler())
        for picture in pictures:
            left = max(end - time.monotonic(), 0.0)
            share = max(left, LEAST) if picture is pictures[-1] else left / 2
            try:
                return picture, picture._laid_out(form, share)
            except TooLargeError:
                continue
        nodes, edges = len(self.graph.nodes), len(self.graph.edges)
        raise TooLargeError(
            f"draw: {nodes:,} nodes and {edges:,} edges cannot be laid out within {limit:g} s, not "
            "even without labels and with modules folded: draw a part of the graph, or raise "
            "time_limit; .dot and .json have no limit"
        )

    def _laid_out(self, form: str, seconds: float | None) -> bytes:
        return lay_out(lambda rich: self._dot(form, rich), form, seconds, self.style.dpi)

    def _simpler(self) -> Iterator[GraphPicture]:
        """Yield this picture, then simpler ones: without labels, with modules folded, in sections.

        Sections are runs of consecutive calls, so that any graph becomes small.
        """
        yield self
        said = f"simplified, to be laid out within {self.time_limit:g} s: no labels"
        picture = replace(self, style=replace(self.style, labels=False), note=said)
        if self.style.labels:
            yield picture
        deepest = max(len(chain) for chain in ancestors(self.full.scopes).values())
        below = deepest + 1 if self.depth is None else min(self.depth, deepest + 1)
        for depth in range(below - 1, 0, -1):
            folded = replace(picture, depth=depth, note=f"{said}, modules folded to depth {depth}")
            if len(folded.graph.nodes) < len(picture.graph.nodes):
                picture = folded
                yield picture
        if sum(node.step is not None for node in picture.graph.nodes) > SECTIONS:
            sections, _ = fold(in_sections(picture.graph, SECTIONS), 1)
            said = f"{said}, consecutive calls folded"
            yield replace(picture, full=sections, arrays=Arrays(), depth=None, note=said)

    def _dot(self, form: str, rich: bool) -> str:
        auto = "transparent" if form == "svg" else "white"
        solid = {"auto": auto, "light": CARD.area.light, "dark": CARD.area.light}
        ground = solid[self.style.theme]  # `write_dot` makes it dark
        return write_dot(self.graph, self._content, background=ground, rich=rich)

    @cached_property
    def _per_call(self) -> tuple[DrawnGraph, Mapping[str, str]]:
        return per_call(self.full)

    @cached_property
    def _folded(self) -> tuple[DrawnGraph, Mapping[str, str]]:
        unfolded, originals = self._per_call
        if self.depth is None:
            return unfolded, {node.id: node.id for node in self.full.nodes}
        graph, places = fold(unfolded, self.depth)
        if not (self.values or self.gradients or self.heat):
            graph = fold_repeats(graph, Unfolded(unfolded, places, originals))
        return graph, places

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
            self.style,
            self.note,
        )

    def _apart(self, arrays: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the arrays of the nodes that are not folded away."""
        originals = self._per_call[1]
        known = {node.id: originals.get(node.id, node.id) for node in self.graph.nodes}
        return {own: arrays[key] for own, key in known.items() if key in arrays}


def in_sections(graph: DrawnGraph, count: int) -> DrawnGraph:
    """Return the graph with `count` scopes of consecutive calls; leaves are with their first use.

    As the calls are consecutive, folding the scopes creates no cycle.
    """
    calls = [node.id for node in graph.nodes if node.step is not None]
    length = -(-len(calls) // count)
    name: dict[str, str] = {}
    scopes = []
    for i in range(0, len(calls), length):
        part = calls[i : i + length]
        scopes.append(DrawnScope(f"p{i}", f"calls {i + 1} … {i + len(part)}", ""))
        name |= dict.fromkeys(part, scopes[-1].name)
    edges = tuple(edge for edge in graph.edges if not edge.loop)
    for edge in edges:
        name.setdefault(edge.source, name[edge.target])
    nodes = tuple(replace(node, scope=name.get(node.id, "")) for node in graph.nodes)
    return DrawnGraph(graph.title, nodes, edges, tuple(scopes))


def checked_depth(depth: int | None) -> int | None:
    """Return a folding depth; raise if it is not None or a whole number from 1 up."""
    return None if depth is None else whole("draw", "depth", depth)
