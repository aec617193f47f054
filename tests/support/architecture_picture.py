"""The picture of the packages: ``python -m support.architecture_picture FILE.svg``."""

from __future__ import annotations

import ast
import sys
from graphlib import TopologicalSorter
from html import escape
from pathlib import Path
from textwrap import wrap

from support.packages import FLOORS, ROOT, imports
from tinygrad_cnn.drawing import palette
from tinygrad_cnn.drawing.graph import DrawnGraph
from tinygrad_cnn.drawing.layout import lay_out
from tinygrad_cnn.drawing.palette import Fill
from tinygrad_cnn.drawing.style import PLAIN
from tinygrad_cnn.drawing.svg import finished

FLOWS = {  # what passes between two packages: arguments down, results up
    ("core", "ops"): "declarations up, calls down",
    ("ops", "engine"): "arrays",
    ("nn", "core"): "Tensors",
    ("optim", "nn"): "parameters, gradients",
    ("train", "data"): "batches",
    ("train", "optim"): "steps",
    ("compiler", "optim"): "updates",
    ("onnx", "capture"): "captured calls",
    ("deployment", "onnx"): "files",
    ("check", "core"): "declarations, gradients",
    ("drawing", "core"): "events, declarations",
    ("derivation", "core"): "the graph, declarations",
    ("studio", "train"): "runs",
    ("experiments", "train"): "runs",
}
GROUPS: dict[str, tuple[Fill, tuple[str, ...]]] = {
    "applications": (palette.INPUT, ("cli", "studio", "experiments", "bench")),
    "looking inside": (palette.DIVERGING[5], ("check", "drawing", "derivation")),
    "files and names of others": (palette.MODULE, ("compat", "deployment", "onnx")),
    "training": (palette.CARD, ("train", "distributed", "optim", "compiler")),
    "parts of a program": (palette.CARD, ("data", "nn", "capture")),
    "the framework": (palette.PARAMETER, ("core", "ops", "support", "engine")),
}
"""The packages by what they are for, with the color of their boxes."""
TITLE = "The packages of tinygrad_cnn"


def edges() -> set[tuple[str, str]]:
    """Return the imports between packages: those with a flow, and those no path replaces."""
    found = {
        package: {
            other
            for file in (ROOT / package).rglob("*.py")
            for module in imports(file)
            if (other := module.partition(".")[0]) in FLOORS and other != package
        }
        for package in FLOORS
    }
    found["ops"].discard("core")  # they import each other: one arrow
    reached: dict[str, set[str]] = {}
    for package in TopologicalSorter(found).static_order():
        reached[package] = set().union(*(reached[other] | {other} for other in found[package]))
    kept = {
        (package, other)
        for package, others in found.items()
        for other in others
        if not any(other in reached[between] for between in others)
    }
    for package, other in FLOWS:
        assert other in found[package], f"{package} does not import {other}"
    return kept | FLOWS.keys()


def described(package: str) -> list[str]:
    """Return the first sentence of the package's docstring, in short lines."""
    tree = ast.parse((ROOT / package / "__init__.py").read_text("utf-8"))
    first = (ast.get_docstring(tree) or "").partition("\n")[0]
    return wrap(first.replace("`", "").rstrip("."), 30)


def source(rich: bool = True) -> str:
    """Return the picture as DOT, with HTML-like labels if `rich`."""
    lines = [
        f'digraph "{TITLE}" {{',
        '  graph [bgcolor="transparent" rankdir=TB nodesep=0.25 ranksep=0.35 pad=0.1]',
        f'  node [shape=box style="rounded,filled" fontname="{PLAIN.font}" fontsize=10 '
        f'margin="0.12,0.06" fontcolor="{palette.INK.light}"]',
        f'  edge [color="{palette.LINE.light}" fontcolor="{palette.FAINT.light}" '
        f'fontname="{PLAIN.font}" fontsize=9 arrowsize=0.6]',
    ]
    for fill, packages in GROUPS.values():
        for package in packages:
            words = [escape(line) for line in described(package)]
            text = "\\n".join([package, *words])
            label = f"<<B>{package}</B><BR/>{'<BR/>'.join(words)}>" if rich else f'"{text}"'
            lines.append(
                f'  {package} [id="{package}" label={label} fillcolor="{fill.area.light}" '
                f'color="{fill.border.light}"]'
            )
    for package, other in sorted(edges()):
        label = FLOWS.get((package, other), "")
        text = f' label="  {label}"' if label else ""
        both = " dir=both" if {package, other} == {"core", "ops"} else ""
        lines.append(f'  {package} -> {other} [id="{package}-{other}"{both}{text}]')
    return "\n".join([*lines, "}"]) + "\n"


def svg() -> str:
    """Return the picture as SVG, which adapts to dark pages."""
    drawn = lay_out(source, "svg").decode("utf-8")
    return finished(drawn, DrawnGraph(TITLE, (), (), ()), PLAIN)


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(svg(), encoding="utf-8")
