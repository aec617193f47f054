"""Assembly of the page: one self-contained HTML file."""

from __future__ import annotations

import html
import json
import re
from importlib.resources import files
from string import Template
from typing import Any

from tinygrad_cnn.drawing.page.contents import contents
from tinygrad_cnn.drawing.page.folds import FoldedPicture, folds
from tinygrad_cnn.drawing.page.policy import content_security_policy
from tinygrad_cnn.drawing.picture import GraphPicture

__all__ = ["page"]

_STATIC = files(__package__) / "static"
_SHARED = files("tinygrad_cnn.support") / "static/shared"
_MODULES = ("elements.js", "numbers.js")
_SCRIPTS = ("arrays.js", "figures.js", "panel.js", "graph.js", "player.js")  # in dependency order
_STYLES = ("page.css", "graph.css", "panel.css", "player.css", "windows.css")

_STYLE = re.compile(r"<style>(.*?)</style>", re.DOTALL)


def page(drawing: GraphPicture) -> str:
    """Return a drawing as an HTML page that steps through forward and backward.

    The page is self-contained: it fetches nothing, and its policy forbids fetching. To include
    values and gradients, record forward and backward inside ``with tg.trace() as trace:``.

    Parameters
    ----------
    drawing : Drawing or GraphPicture

    Returns
    -------
    str

    Raises
    ------
    TypeError
        If `drawing` is not a Drawing.
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
    >>> text = page(trace.draw())
    >>> text[:15], "http" in text.replace("http-equiv", "").replace("http://www.w3.org", "")
    ('<!DOCTYPE html>', False)
    """
    if not isinstance(drawing, GraphPicture):
        raise TypeError(f"page: drawing is {type(drawing).__name__}, expected a Drawing")
    drawn = folds(drawing)
    shown = next((i for i, fold in enumerate(drawn) if fold.depth == drawing.depth), len(drawn) - 1)
    data: dict[str, Any] = contents(drawing.full, drawing.arrays)
    data["depths"] = [
        {
            "label": fold.label,
            "places": {key: place for key, place in fold.places.items() if key != place},
            "copies": fold.copies,
            "edges": list(fold.edges),
            "base": fold.base,
            "opened": fold.opened,
        }
        for fold in drawn
    ]
    data["scopes"] = {scope.id: scope.name for scope in drawing.full.scopes}
    data["depth"] = shown
    own = dict.fromkeys(text for fold in drawn for text in _styles(fold))
    style = "\n".join([*map(_static, _STYLES), *own])
    script = "\n".join(['"use strict";', *map(_module, _MODULES), *map(_static, _SCRIPTS)])
    title = html.escape(drawing.full.title or "Backprop, step by step")
    return Template(_static("page.html")).substitute(
        policy=content_security_policy([script], [style]),
        title=title,
        summary=html.escape(_summary(drawing)),
        style=style,
        drawing=_plain(drawn[shown]),
        templates="\n".join(
            f'<template data-depth="{place}">{_plain(fold)}</template>'
            for place, fold in enumerate(drawn)
            if place != shown
        ),
        data=_as_json(data),
        script=script,
    )


def _static(name: str) -> str:
    return (_STATIC / name).read_text("utf-8")


def _module(name: str) -> str:
    """Return a module for use in a plain script, where its names are global."""
    return re.sub("^export ", "", (_SHARED / name).read_text("utf-8"), flags=re.MULTILINE)


def _styles(fold: FoldedPicture) -> list[str]:
    return _STYLE.findall(fold.svg)


def _plain(fold: FoldedPicture) -> str:
    """Return the SVG without its style, which the page has once."""
    return _STYLE.sub("", fold.svg)


def _as_json(data: dict[str, Any]) -> str:
    """Return JSON escaped so that no text can end the element around it."""
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c")


def _summary(drawing: GraphPicture) -> str:
    """Return a one-line summary of the drawing."""
    nodes = drawing.full.nodes
    calls = sum(node.step is not None for node in nodes)
    learned = sum(node.parameters for node in nodes)
    parts = [f"{calls:,} calls", f"{learned:,} parameters"]
    last = [node for node in nodes if node.step is not None][-1:]
    for node in last:
        value = drawing.arrays.values.get(node.id)
        if value is not None and value.size == 1:
            parts.append(f"E = {value.item():.4g}")
    return " · ".join(parts)
