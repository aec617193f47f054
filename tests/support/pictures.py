"""Reading DOT and SVG back, for tests of drawings."""

from __future__ import annotations

import re
import shutil
from importlib.util import find_spec
from xml.etree import ElementTree

import pytest

from support.machine import lacking
from tinygrad_cnn.drawing.layout import TooLargeError
from tinygrad_cnn.drawing.picture import GraphPicture

SVG = "{http://www.w3.org/2000/svg}"


def need_dot() -> None:
    """End a test that needs Graphviz's program where there is none."""
    if shutil.which("dot") is None:
        lacking("Graphviz (apt-get install graphviz)")


def need_extra(module: str) -> None:
    """End a test that needs a module of the extra ``render`` where it is not installed."""
    if find_spec(module) is None:
        lacking(f"{module} (the extra render)")


def refuse_larger(monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    """Let the layout of a graph of more than `most` nodes exceed any time limit, at once."""
    laid_out = GraphPicture._laid_out

    def limited(self: GraphPicture, form: str, seconds: float | None) -> bytes:
        if len(self.graph.nodes) > most:
            raise TooLargeError("the layout takes too long")
        return laid_out(self, form, seconds)

    monkeypatch.setattr(GraphPicture, "_laid_out", limited)


def places_of(svg: str) -> dict[str, tuple[float, float]]:
    """Return the center of each node of an SVG, by id; y grows downward."""
    found = {}
    for group in ElementTree.fromstring(svg).iter(f"{SVG}g"):
        if "node" not in group.get("class", "").split():
            continue
        corners = []
        for shape in group.iter():
            if shape.tag == f"{SVG}ellipse":
                corners.append((float(shape.get("cx", "")), float(shape.get("cy", ""))))
            drawn = shape.get("d") or shape.get("points") or ""
            corners += [
                (float(x), float(y)) for x, y in re.findall(r"(-?[\d.]+),(-?[\d.]+)", drawn)
            ]
        xs, ys = zip(*corners, strict=True)
        found[group.get("id", "")] = ((min(xs) + max(xs)) / 2, (min(ys) + max(ys)) / 2)
    return found


def edges_of(source: str) -> list[tuple[str, str]]:
    """Return the forward edges of DOT text, in order."""
    drawn = r'^ +(\w+) -> (\w+) \[id="\w+" class="forward"( dir=back)?'
    found = re.findall(drawn, source, re.MULTILINE)
    return [(head, tail) if turned else (tail, head) for tail, head, turned in found]


def statement(source: str, node: str) -> str:
    """Return the line of DOT text that declares a node."""
    (line,) = [line for line in source.splitlines() if line.startswith(f"  {node} [")]
    return line


def ids_of(svg: str) -> set[str]:
    """Return the ids of all elements of an SVG."""
    return {element.get("id", "") for element in ElementTree.fromstring(svg).iter()} - {""}


def texts_of(svg: str) -> list[str]:
    """Return the lines of text that an SVG shows."""
    root = ElementTree.fromstring(svg)
    return [" ".join((text.text or "").split()) for text in root.iter(f"{SVG}text")]
