"""A drawing: a graph, its arrays and its output formats."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tinygrad_cnn.drawing.build import Arrays, build
from tinygrad_cnn.drawing.dot import unframed, write_dot
from tinygrad_cnn.drawing.fold import fold
from tinygrad_cnn.drawing.graph import DrawnGraph
from tinygrad_cnn.drawing.heat import HEATS, HeatKind, Mark, heat_of, marks_of
from tinygrad_cnn.drawing.labels import Content
from tinygrad_cnn.drawing.layout import TooLargeError, lay_out
from tinygrad_cnn.drawing.names import Names
from tinygrad_cnn.drawing.repeat import fold_repeats
from tinygrad_cnn.drawing.svg import finished
from tinygrad_cnn.support.arguments import choice, flag, whole
from tinygrad_cnn.support.files import atomic_write

if TYPE_CHECKING:
    from tinygrad_cnn.drawing.steps import Step
    from tinygrad_cnn.drawing.trace import Trace

__all__ = ["FORMATS", "Drawing", "drawing_of"]

FORMATS = (".svg", ".png", ".pdf", ".dot", ".json", ".html")
"""The formats of `Drawing.render`, by file suffix."""

MOST = 2000  # nodes and edges: Graphviz takes about 10 s for these, minutes for twice as many


@dataclass(frozen=True)
class Drawing:
    """A drawing of a graph, from `tinygrad_cnn.draw`; notebooks display it.

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

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> w = tg.Tensor([1.0, 2.0], requires_grad=True, name="w")
    >>> drawing = tg.draw((w * w).sum())
    >>> drawing
    <Drawing: 3 nodes, 3 edges>
    >>> drawing.source.splitlines()[0]
    'digraph "graph" {'
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

    def fold(self, depth: int | None) -> Drawing:
        """Return this drawing folded to another depth.

        Parameters
        ----------
        depth : int or None
            At least 1; None shows everything.
        """
        return replace(self, depth=_depth(depth))

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
        return finished(self._laid_out("svg").decode("utf-8"), self.graph)

    def render(self, path: str | os.PathLike[str]) -> Path:
        """Write the drawing to a file, atomically.

        Parameters
        ----------
        path : path-like
            With suffix ".svg", ".png", ".pdf", ".dot", ".json" (the graph, see
            `DrawnGraph.to_json`) or ".html" (a page that steps through forward and backward).

        Returns
        -------
        Path
            The path of the file.

        Raises
        ------
        ValueError
            If the suffix is not one of these.
        GraphvizMissingError
            If the format needs Graphviz and it is not installed.
        TooLargeError
            If there are too many nodes to lay out.
        OSError
            If the file cannot be written.
        """
        target = Path(path)
        suffix = target.suffix.lower()
        if suffix not in FORMATS:
            raise ValueError(
                f"render: path is {str(path)!r}, expected one ending in {', '.join(FORMATS)}"
            )
        contents = self._written(suffix)
        with atomic_write(target) as file:
            file.write(contents)
        return target

    def __repr__(self) -> str:
        nodes, edges = len(self.graph.nodes), len(self.graph.edges)
        said = f": {self.graph.title}" if self.graph.title else ""
        return f"<Drawing{said}: {nodes} nodes, {edges} edges>"

    def _repr_svg_(self) -> str:
        return self.svg()

    def _written(self, suffix: str) -> bytes:
        if suffix == ".dot":
            return self.source.encode()
        if suffix == ".json":
            return (json.dumps(self.graph.to_json(), ensure_ascii=False, indent=1) + "\n").encode()
        if suffix == ".html":
            from tinygrad_cnn.drawing.page import page

            return page(self).encode()
        return self.svg().encode() if suffix == ".svg" else self._laid_out(suffix[1:])

    def _laid_out(self, form: str) -> bytes:
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
    def _folded(self) -> tuple[DrawnGraph, Mapping[str, str]]:
        if self.depth is None:
            return self.full, {node.id: node.id for node in self.full.nodes}
        graph, places = fold(self.full, self.depth)
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
            _apart(arrays.values, graph),
            _apart(arrays.gradients, graph),
            arrays.contributions,
            arrivals,
            Counter(edge.target for edge in graph.edges),
            unframed(graph),
        )


def _apart(arrays: Mapping[str, Any], graph: DrawnGraph) -> Mapping[str, Any]:
    """Return the arrays of the nodes that are not folded away."""
    return {node.id: arrays[node.id] for node in graph.nodes if node.id in arrays}


def drawing_of(
    steps: list[Step],
    last: Step | None,
    trace: Trace | None,
    *,
    depth: int | None = None,
    values: bool = False,
    gradients: bool | None = None,
    heat: HeatKind | None = None,
    names: Names | None = None,
    title: str = "",
) -> Drawing:
    """Return the drawing of `steps`, or of the computation of `last`: see `draw`."""
    choice("draw", "heat", heat, (None, *HEATS))
    flag("draw", "values", values)
    choice("draw", "gradients", gradients, (None, True, False))
    depth = _depth(depth)
    if not isinstance(title, str):
        raise TypeError(f"draw: title is {type(title).__name__}, expected str")
    graph, arrays = build(steps, last, names, {} if trace is None else trace.modules, title)
    _check_known(graph, values, gradients is True or heat == "gradient", heat)
    shown = bool(arrays.contributions) and heat is None if gradients is None else gradients
    return Drawing(graph, arrays, depth, values, shown, heat)


def _depth(depth: int | None) -> int | None:
    return None if depth is None else whole("draw", "depth", depth)


def _check_known(graph: DrawnGraph, values: bool, gradients: bool, heat: HeatKind | None) -> None:
    """Raise ValueError if the data to show was not recorded."""
    calls = [node for node in graph.nodes if node.kind == "op" and not node.error]
    traced = "draw a trace: `with tg.trace() as trace:` around forward and backward, trace.draw()"
    missing = next((node for node in calls if node.value is None), None)
    if values and missing is not None:
        raise ValueError(
            f"draw: values are not known of {missing.name} of shape {missing.shape}: a graph "
            f"keeps only what its derivatives need; {traced}"
        )
    if gradients and not any(node.gradient for node in calls):
        raise ValueError(f"draw: no gradient has flowed here; call backward() inside, and {traced}")
    if heat in ("time", "memory") and not any(node.seconds is not None for node in calls):
        raise ValueError(f"draw: heat is {heat!r}, but nobody measured; {traced}")
