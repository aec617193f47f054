"""The drawing of a captured step: its lines, and a map of the memory that they share."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from html import escape
from itertools import groupby
from pathlib import Path

from tinygrad_cnn.compiler.program import StepProgram
from tinygrad_cnn.drawing import palette
from tinygrad_cnn.drawing.convert import converted
from tinygrad_cnn.drawing.palette import Color, Fill
from tinygrad_cnn.drawing.step_map import MapLine, MapPiece, MapRegion, StepMap, step_map
from tinygrad_cnn.drawing.style import PLAIN, Style
from tinygrad_cnn.drawing.text import size as bytes_text
from tinygrad_cnn.support.files import write_by_suffix
from tinygrad_cnn.support.modules import needs_extra
from tinygrad_cnn.support.text import counted, shape_text

__all__ = ["StepDrawing"]

ROW, SPACE, TEXT, SMALL = 18.0, 17.0, 11.0, 9.5  # heights in pixels
LETTER, FIXED = 0.54, 0.602  # mean widths by height: of the style's font, and of a monospaced one
MARGIN, GAP = 14.0, 16.0
WIDTH = 460.0  # of the maps together, unless their words are wider
MONOSPACED = "ui-monospace,Menlo,Consolas,Liberation Mono,DejaVu Sans Mono,monospace"
FILLS: dict[str, tuple[Fill, Color]] = {
    "input": (palette.INPUT, palette.INPUT.border),
    "value": (palette.PARAMETER, palette.PARAMETER.border),
    "gradient": (palette.DIVERGING[5], palette.GRADIENT),
    "scratch": (palette.MODULE, palette.LINE),
}


@dataclass(frozen=True)
class StepDrawing:
    """A drawing of a captured step, from `tinygrad_cnn.draw`; notebooks display it.

    Each line is an instruction, from top to bottom as they run. Beside it is the memory: a box is a
    value, as wide as its bytes, from the line that computes it to the last that reads it. Boxes one
    below the other share memory.

    Attributes
    ----------
    program : StepProgram
    depth : int or None
        The depth to which modules are shown line by line; None for all.
    title : str
    style : Style

    Examples
    --------
    >>> import numpy as np
    >>> import tinygrad_cnn as tg
    >>> w = tg.Tensor(np.ones((3, 3), "f4"), requires_grad=True, name="w")
    >>> @tg.compile
    ... def step(x):
    ...     loss = tg.tanh(x @ w).sum()
    ...     loss.backward()
    ...     return loss
    >>> loss = step(np.ones((2, 3), "f4"))
    >>> drawing = tg.draw(step)
    >>> drawing.svg()[:4]
    '<svg'
    """

    program: StepProgram
    depth: int | None = None
    title: str = ""
    style: Style = PLAIN

    @cached_property
    def map(self) -> StepMap:
        """The lines and the memory that are drawn."""
        return step_map(self.program, self.depth)

    def svg(self) -> str:
        """Return the drawing as an SVG element."""
        text = "".join(_Picture(self.map, self.title, self.style).svg())
        return palette.darkened(text) if self.style.theme == "dark" else text

    def render(self, path: str | os.PathLike[str]) -> Path:
        """Write the drawing to a file, atomically.

        Parameters
        ----------
        path : path-like
            With suffix ".svg", or with the extra ``render`` ".png" or ".pdf".

        Raises
        ------
        ValueError
            If the suffix is not one of these.
        ModuleNotFoundError
            If the format needs the extra ``render``, which is not installed.
        OSError
            If the file cannot be written.
        """
        return write_by_suffix("render", path, FORMATS, self)

    def __repr__(self) -> str:
        lines, regions = self.map.lines, self.map.regions
        memory = sum(region.size for region in regions)
        said = f": {self.title}" if self.title else ""
        return f"<StepDrawing{said}: {counted(len(lines), 'line')}, {bytes_text(memory)}>"

    def _repr_svg_(self) -> str:
        return self.svg()


def _converter(form: str) -> Callable[[StepDrawing], bytes]:
    def write(drawing: StepDrawing) -> bytes:
        with needs_extra("render", f"a step as .{form}"):
            return converted(drawing.svg(), form, drawing.style.dpi)

    return write


FORMATS: dict[str, Callable[[StepDrawing], str | bytes]] = {
    ".svg": StepDrawing.svg,
    ".png": _converter("png"),
    ".pdf": _converter("pdf"),
}
"""The writers of `StepDrawing.render`, by file suffix."""


class _Picture:
    """The elements of one SVG."""

    def __init__(self, step: StepMap, title: str, style: Style) -> None:
        self.step, self.title, self.style = step, title, style
        self.top = MARGIN + (22.0 if title else 0.0) + 62.0
        self.tops, y = list[float](), self.top  # of the lines, and below the last
        for k, line in enumerate(step.lines):
            y += SPACE if k and line.phase != step.lines[k - 1].phase else 0.0
            self.tops.append(y)
            y += ROW
        self.tops.append(y)
        scopes = [line.scope for line in step.lines]
        self.scope_x = MARGIN + 14.0
        self.text_x = self.scope_x + max(_width(name) for name in ["", *scopes]) + GAP
        texts = [line.text for line in step.lines]
        self.shape_x = self.text_x + max(len(text) for text in ["", *texts]) * FIXED * TEXT + GAP
        shapes = [shape_text(line.shape) for line in step.lines if line.shape is not None]
        self.map_x = self.shape_x + max(_width(text, SMALL) for text in ["", *shapes]) + GAP
        self.height = self.tops[-1] + MARGIN
        self.maps = list(self._places())
        self.width = self.maps[-1][1] + self.maps[-1][2] + MARGIN if self.maps else self.map_x

    def _places(self) -> Iterator[tuple[MapRegion, float, float]]:
        """Yield each region with its left edge and width: as wide as its share of the bytes."""
        whole = sum(region.size for region in self.step.regions)
        x = self.map_x
        for region in self.step.regions:
            words = max(_width(region.title) + 8.0, _width(_amounts(region), SMALL))
            width = max(WIDTH * region.size / max(whole, 1), words)
            yield region, x, width
            x += width + GAP

    def svg(self) -> Iterator[str]:
        name = escape(self.title or "captured step")
        adapting = palette.style_sheet() if self.style.theme == "auto" else ""
        yield (
            f'<svg xmlns="http://www.w3.org/2000/svg" class="tinygrad-cnn" role="img" '
            f'aria-label="{name}" width="{self.width:.0f}" height="{self.height:.0f}" '
            f'viewBox="0 0 {self.width:.0f} {self.height:.0f}" '
            f'font-family="{escape(self.style.font)}" font-size="{TEXT:g}">\n'
            f"<style>.tinygrad-cnn{{max-width:100%;height:auto}}{adapting}</style>\n"
        )
        if self.style.theme != "auto":
            ground = palette.CARD.area
            yield _box(0.0, 0.0, self.width, self.height, ground, ground)
        yield from self._heading()
        yield from self._lines()
        for region, x, width in self.maps:
            yield from self._map(region, x, width)
        yield "</svg>\n"

    def _heading(self) -> Iterator[str]:
        y = MARGIN
        if self.title:
            y += 14.0
            yield _text(MARGIN, y, self.title, palette.INK, 'font-size="14" font-weight="bold"')
            y += 8.0
        y += 12.0
        x = MARGIN
        present = {piece.kind for region in self.step.regions for piece in region.pieces}
        for kind, (fill, border) in FILLS.items():
            if kind in present:
                yield _box(x, y - 9.0, 14.0, 11.0, fill.area, border)
                yield _text(x + 19.0, y, kind, palette.FAINT)
                x += 19.0 + _width(kind) + GAP
        if any(line.tape for line in self.step.lines):
            yield _box(x, y - 9.0, 5.0, 11.0, palette.LINE, palette.LINE)
            yield _text(x + 10.0, y, "a tape: one call computes these lines", palette.FAINT)
        yield _text(
            MARGIN, y + 18.0, "lines run downward; boxes below one another share memory",
            palette.FAINT, f'font-size="{SMALL:g}"',
        )  # fmt: skip

    def _lines(self) -> Iterator[str]:
        """Yield the lines: the number of a tape, module, text and shape."""
        lines = list(enumerate(self.step.lines))
        right = self.width - MARGIN
        for phase, members in groupby(lines, key=lambda pair: pair[1].phase):
            first, _ = next(members)
            y = self.tops[first]
            yield _line(MARGIN, y, right, y, palette.LINE)
            yield _text(self.scope_x, y - 4.0, phase, palette.FAINT, f'font-size="{SMALL:g}"')
        for (scope, _), members in groupby(lines, key=lambda pair: (pair[1].scope, pair[1].phase)):
            first, line = next(members)
            y = self.tops[first]
            if first and line.phase == self.step.lines[first - 1].phase:
                yield _line(self.scope_x, y, right, y, palette.FRAME)
            bold = 'font-weight="bold"'
            yield _text(self.scope_x, y + 0.7 * ROW, scope, palette.INK, bold)
        for tape, members in groupby(lines, key=lambda pair: pair[1].tape):
            if tape:
                first, *_, last = [k for k, _ in members for _ in range(2)]
                yield self._tape(tape, first, last)
        for k, line in lines:
            yield from self._line(k, line)

    def _line(self, k: int, line: MapLine) -> Iterator[str]:
        y = self.tops[k] + 0.7 * ROW
        color = palette.GRADIENT if line.phase == "backward" else palette.INK
        font = f'font-family="{MONOSPACED}" xml:space="preserve"'
        yield _text(self.text_x, y, line.text, color, font)
        if line.shape is not None:
            text = shape_text(line.shape)
            yield _text(self.shape_x, y, text, palette.FAINT, f'font-size="{SMALL:g}"')

    def _tape(self, number: int, first: int, last: int) -> str:
        """Return the bar beside the lines of a tape."""
        y, height = self.tops[first] + 2.0, self.tops[last] - self.tops[first] + ROW - 4.0
        bar = _box(MARGIN, y, 5.0, height, palette.LINE, palette.LINE)
        return f"<g><title>tape {number}: one call computes these lines</title>{bar}</g>"

    def _map(self, region: MapRegion, left: float, width: float) -> Iterator[str]:
        """Yield a region's memory: its axis in bytes, and a box for each piece."""
        scale = width / max(region.size, 1)
        bottom = self.tops[-1]
        small = f'font-size="{SMALL:g}"'
        yield _text(left, self.top - 40.0, region.title, palette.INK, 'font-weight="bold"')
        yield _text(left, self.top - 27.0, _amounts(region), palette.FAINT, small)
        for at in _ticks(region.size, width):
            x = left + at * scale
            yield _line(x, self.top - 4.0, x, bottom, palette.FRAME)
            label = bytes_text(int(at)) if at else "0"
            yield _text(x, self.top - 8.0, label, palette.FAINT, f'{small} text-anchor="middle"')
        for piece in sorted(region.pieces, key=lambda piece: (piece.first, piece.offset)):
            yield self._piece(region, piece, left + piece.offset * scale, piece.size * scale)

    def _piece(self, region: MapRegion, piece: MapPiece, x: float, width: float) -> str:
        fill, border = FILLS[piece.kind]
        y = self.tops[piece.first] + 1.5
        height = self.tops[piece.last] - self.tops[piece.first] + ROW - 3.0
        inside = ""
        name = ", ".join(piece.names)
        if name and _width(name, SMALL) + 4.0 <= width:
            middle = x + width / 2
            small = f'font-size="{SMALL:g}" text-anchor="middle"'
            inside = _text(middle, y + 11.0, name, fill.text, small)
            amount = bytes_text(piece.size)
            if height > 1.6 * ROW and _width(amount, SMALL) + 4.0 <= width:
                inside += _text(middle, y + 23.0, amount, fill.faint, small)
        box = _box(x + 0.5, y, max(width - 1.0, 0.8), height, fill.area, border, 'rx="2"')
        return f"<g><title>{escape(_described(region, piece))}</title>{box}{inside}</g>\n"


def _amounts(region: MapRegion) -> str:
    return f"{bytes_text(region.size)}; without sharing {bytes_text(region.unshared)}"


def _described(region: MapRegion, piece: MapPiece) -> str:
    """Return what a piece of memory holds, and what else is in it at other times."""
    words = [", ".join(piece.names) or "scratch"]
    if piece.shape is not None:
        words.append(shape_text(piece.shape))
    words.append(bytes_text(piece.size))
    others = [
        other.names[0]
        for other in region.pieces
        if other is not piece and other.names and other.shares_with(piece)
    ]
    if others:
        words.append(f"shares memory with {', '.join(others)}")
    return "; ".join(words)


def _ticks(size: int, width: float) -> list[float]:
    """Return round numbers of bytes from 0 to `size`, at least 60 pixels apart."""
    if not size:
        return [0.0]
    least = size * 60.0 / width
    unit = 10.0 ** math.floor(math.log10(least))
    step = next(unit * k for k in (1, 2, 5, 10) if unit * k >= least)
    return [step * k for k in range(int(size / step) + 1)]


def _width(text: str, height: float = TEXT) -> float:
    """Return about how wide a text is."""
    return len(text) * LETTER * height


def _text(x: float, y: float, text: str, color: Color, more: str = "") -> str:
    given = f" {more}" if more else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" fill="{color.light}"{given}>{escape(text)}</text>\n'


def _box(
    x: float, y: float, width: float, height: float, area: Color, border: Color, more: str = ""
) -> str:
    given = f" {more}" if more else ""
    return (
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" '
        f'fill="{area.light}" stroke="{border.light}"{given}/>'
    )


def _line(x1: float, y1: float, x2: float, y2: float, color: Color) -> str:
    return (
        f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" '
        f'stroke="{color.light}" stroke-width="0.7"/>\n'
    )
