"""``tinygrad-cnn draw``: draw a model's forward and backward graph."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.text import Text

from tinygrad_cnn import ops
from tinygrad_cnn.cli.display import ACCENT, FAINT, console
from tinygrad_cnn.cli.inputs import model_and_images
from tinygrad_cnn.drawing import trace
from tinygrad_cnn.drawing.drawing import FORMATS, Drawing
from tinygrad_cnn.support.text import number

__all__ = ["draw"]


def draw(
    model: str,
    source: str | None,
    images: int,
    seed: int,
    out: Path | None,
    options: dict[str, Any],
) -> int:
    """Run a batch forward and backward, write the drawing, and return the exit status.

    Parameters
    ----------
    model, source, images, seed
        See `model_and_images`.
    out : Path or None
        The output file; by default an SVG with the model's name.
    options : dict
        Options of `Trace.draw`.
    """
    name = Path(model).name.rpartition(":")[2]
    path = Path(f"{name}.svg") if out is None else out
    if path.suffix.lower() not in FORMATS:
        raise ValueError(
            f"draw: --out is {str(path)!r}, expected a file name with one of {', '.join(FORMATS)}"
        )
    network, x, labels = model_and_images(model, source, images, seed)
    with trace() as watched:
        ops.cross_entropy(network(x), labels).backward()
    drawing = watched.draw(names=network, title=name, **options)
    drawing.render(path)
    screen = console()
    nodes, edges = len(drawing.graph.nodes), len(drawing.graph.edges)
    screen.print(Text.assemble((str(path), ACCENT), f"  {nodes:,} nodes, {edges:,} edges"))
    for line in _marked(drawing):
        screen.print(line)
    return 0


def _marked(drawing: Drawing) -> list[Text]:
    """Return a line for each node with a problem."""
    lines = []
    for node in drawing.graph.nodes:
        for mark in drawing.marks.get(node.id, ()):
            norm = f", gradient norm {number(node.gradient.norm)}" if node.gradient else ""
            said = f"  {mark.sign} {mark.name}  ", (f"{mark.meaning}{norm}", FAINT)
            lines.append(Text.assemble("  ", (node.name, ACCENT), *said))
    return lines
