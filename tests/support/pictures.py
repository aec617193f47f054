"""Reading DOT and SVG back, for tests of drawings."""

from __future__ import annotations

import re
import shutil
from importlib.util import find_spec
from xml.etree import ElementTree

from support.machine import lacking

SVG = "{http://www.w3.org/2000/svg}"


def need_dot() -> None:
    """End a test that needs Graphviz's program where there is none."""
    if shutil.which("dot") is None:
        lacking("Graphviz (apt-get install graphviz)")


def need_extra(module: str) -> None:
    """End a test that needs a module of the extra ``render`` where it is not installed."""
    if find_spec(module) is None:
        lacking(f"{module} (the extra render)")


def edges_of(source: str) -> list[tuple[str, str]]:
    """Return the forward edges of DOT text, in order."""
    return re.findall(r'^ +(\w+) -> (\w+) \[id="\w+" class="forward"', source, re.MULTILINE)


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
