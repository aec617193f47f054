"""A drawing and its file formats."""

from __future__ import annotations

import html
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path

from tinygrad_cnn.drawing.build import build
from tinygrad_cnn.drawing.graph import DrawnGraph
from tinygrad_cnn.drawing.heat import HEATS, HeatKind
from tinygrad_cnn.drawing.layout import TIME_LIMIT
from tinygrad_cnn.drawing.names import Names
from tinygrad_cnn.drawing.page import page
from tinygrad_cnn.drawing.picture import GraphPicture, checked_depth
from tinygrad_cnn.drawing.steps import Step
from tinygrad_cnn.drawing.style import PLAIN, Style
from tinygrad_cnn.drawing.text import size
from tinygrad_cnn.nn import Module
from tinygrad_cnn.support.arguments import choice, flag, positive, whole
from tinygrad_cnn.support.files import write_by_suffix

__all__ = ["FORMATS", "Drawing", "EmbeddedPage", "drawing_of"]


def _json(picture: GraphPicture) -> str:
    return json.dumps(picture.graph.to_json(), ensure_ascii=False, indent=1) + "\n"


FORMATS: dict[str, Callable[[GraphPicture], str | bytes]] = {
    ".svg": GraphPicture.svg,
    ".png": lambda picture: picture.laid_out("png"),
    ".pdf": lambda picture: picture.laid_out("pdf"),
    ".dot": attrgetter("source"),
    ".json": _json,
    ".html": page,
}
"""The writers of `Drawing.render`, by file suffix."""


@dataclass(frozen=True)
class EmbeddedPage:
    """The step-through page for a notebook cell, from `Drawing.show`.

    Attributes
    ----------
    html : str
        The page.
    height : int
        The height of its frame, in pixels.
    """

    html: str
    height: int

    def _repr_html_(self) -> str:
        return (
            f'<iframe sandbox="allow-scripts" title="Backprop, step by step" width="100%" '
            f'height="{self.height}" style="border:0" srcdoc="{html.escape(self.html)}"></iframe>'
        )

    def __repr__(self) -> str:
        return f"<EmbeddedPage: {size(len(self.html.encode()))}>"


class Drawing(GraphPicture):
    """A drawing of a graph, from `tinygrad_cnn.draw`; notebooks display it.

    The attributes are those of `GraphPicture`.

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
            If even the simplest picture cannot be laid out within the time limit.
        OSError
            If the file cannot be written.
        """
        return write_by_suffix("render", path, FORMATS, self)

    def show(self, height: int = 640) -> EmbeddedPage:
        """Return the page that steps through forward and backward, for a notebook cell.

        The cell shows it in a sandboxed frame; `render` with ".html" writes the same page.

        Parameters
        ----------
        height : int, default 640
            In pixels.

        Raises
        ------
        TooLargeError
            If even the most folded drawing is too large to lay out.
        GraphvizMissingError
            If Graphviz is not installed.

        Examples
        --------
        >>> import tinygrad_cnn as tg
        >>> x = tg.Tensor(3.0, requires_grad=True, name="x")
        >>> with tg.trace() as trace:
        ...     (x * x).backward()
        >>> trace.draw().show()
        <EmbeddedPage: ... kB>
        """
        return EmbeddedPage(page(self), whole("show", "height", height))

    def __repr__(self) -> str:
        nodes, edges = len(self.graph.nodes), len(self.graph.edges)
        said = f": {self.graph.title}" if self.graph.title else ""
        return f"<Drawing{said}: {nodes} nodes, {edges} edges>"

    def _repr_svg_(self) -> str:
        return self.svg()


def drawing_of(
    steps: list[Step],
    last: Step | None,
    modules: Mapping[str, Module],
    *,
    depth: int | None = None,
    values: bool = False,
    gradients: bool | None = None,
    heat: HeatKind | None = None,
    names: Names | None = None,
    title: str = "",
    style: Style | None = None,
    time_limit: float | None = TIME_LIMIT,
) -> Drawing:
    """Return the drawing of `steps`, or of the computation of `last`: see `draw`."""
    choice("draw", "heat", heat, (None, *HEATS))
    flag("draw", "values", values)
    choice("draw", "gradients", gradients, (None, True, False))
    depth = checked_depth(depth)
    if not isinstance(title, str):
        raise TypeError(f"draw: title is {type(title).__name__}, expected str")
    if style is not None and not isinstance(style, Style):
        raise TypeError(f"draw: style is {type(style).__name__}, expected a Style")
    if time_limit is not None:
        time_limit = positive("draw", "time_limit", time_limit)
    graph, arrays = build(steps, last, names, modules, title)
    _check_known(graph, values, gradients is True or heat == "gradient", heat)
    shown = bool(arrays.contributions) and heat is None if gradients is None else gradients
    return Drawing(graph, arrays, depth, values, shown, heat, style or PLAIN, time_limit)


def _check_known(graph: DrawnGraph, values: bool, gradients: bool, heat: HeatKind | None) -> None:
    """Raise ValueError if the data to show was not recorded."""
    calls = [node for node in graph.nodes if node.kind == "op" and not node.error]
    traced = "draw a trace: `with tg.trace() as trace:` around forward and backward, trace.draw()"
    missing = next((node for node in calls if node.value is None), None)
    if values and missing is not None:
        raise ValueError(
            f"draw: there are no values of {missing.name} of shape {missing.shape}: a graph "
            f"keeps only what its derivatives need; {traced}"
        )
    if gradients and not any(node.gradient for node in calls):
        raise ValueError(f"draw: there are no gradients; call backward() inside, and {traced}")
    if heat in ("time", "memory") and not any(node.seconds is not None for node in calls):
        raise ValueError(f"draw: heat is {heat!r}, which was not measured; {traced}")
