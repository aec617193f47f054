"""Conversion of Graphviz's SVG for pages: dark mode, element names, stable output."""

from __future__ import annotations

import re
from collections.abc import Mapping
from html import escape

from tinygrad_cnn.drawing.graph import DrawnGraph, DrawnNode
from tinygrad_cnn.drawing.palette import style_sheet
from tinygrad_cnn.drawing.style import Style
from tinygrad_cnn.support.text import shape_text

__all__ = ["finished"]


def finished(svg: str, graph: DrawnGraph, style: Style) -> str:
    """Return Graphviz's SVG as one element, for a file or a page.

    Its elements have the ids of the graph's nodes, edges and scopes. Their titles, which browsers
    show on hover and screen readers read out, are words instead of Graphviz's names. The version of
    Graphviz is removed.
    """
    body = svg[svg.index("<svg") :]
    body = re.sub(r"<!--.*?-->\n?", "", body, flags=re.DOTALL)
    name = escape(graph.title or "computation graph")
    adapting = style_sheet() if style.theme == "auto" else ""
    body = re.sub(
        r"<svg ([^>]*)>",
        lambda match: (
            f'<svg class="tinygrad-cnn" role="img" aria-label="{name}" {match[1]}>\n'
            f"<style>.tinygrad-cnn{{max-width:100%;height:auto}}{adapting}</style>"
        ),
        body,
        count=1,
    )
    titles = _titles(graph)

    def titled(match: re.Match[str]) -> str:
        title = titles.get(match[2])
        return f"{match[1]}<title>{escape(title)}</title>" if title else match[1]

    return re.sub(r'(<g id="([^"]+)" class="[^"]*"[^>]*>\s*)<title>[^<]*</title>', titled, body)


def _titles(graph: DrawnGraph) -> Mapping[str, str]:
    nodes = {node.id: _described(node) for node in graph.nodes}
    titles = dict(nodes)
    names = {node.id: node.name or node.kind for node in graph.nodes}
    for edge in graph.edges:
        way = f"{names[edge.source]} to {names[edge.target]}"
        titles[edge.id] = f"{way}, as {edge.argument}" if edge.argument else way
        back = f"gradient from {names[edge.target]} back to {names[edge.source]}"
        titles[f"{edge.id}-gradient"] = back
    for scope in graph.scopes:
        titles[scope.id] = " ".join(filter(None, [scope.kind, scope.name]))
    return titles


def _described(node: DrawnNode) -> str:
    words = [node.op if node.kind in ("op", "module") else node.kind, node.name]
    words = list(dict.fromkeys(filter(None, words)))
    if node.shape is not None:
        words.append(shape_text(node.shape))
    return ", ".join(words)
