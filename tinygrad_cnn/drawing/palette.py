"""The colors of a drawing, each for light and dark pages.

Both scales work for all kinds of color blindness. No information relies on color alone: a shape, a
border or a word shows it as well.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

__all__ = [
    "CARD",
    "DIVERGING",
    "FAINT",
    "FRAME",
    "GRADIENT",
    "INK",
    "INPUT",
    "LINE",
    "MODULE",
    "PARAMETER",
    "SEQUENTIAL",
    "TROUBLE",
    "UNKNOWN",
    "Color",
    "Fill",
    "darkened",
    "style_sheet",
]


@dataclass(frozen=True, slots=True)
class Color:
    """A color as "#rrggbb", for light and for dark pages."""

    light: str
    dark: str


@dataclass(frozen=True, slots=True)
class Fill:
    """The colors of a box: fill, border and text."""

    area: Color
    border: Color
    text: Color
    faint: Color


INK = Color("#1f2328", "#e6edf3")
FAINT = Color("#59636e", "#9aa4af")
LINE = Color("#6e7781", "#8b949e")  # edges: visible on light and dark pages
FRAME = Color("#c9d1d9", "#3d444d")  # module frames
GRADIENT = Color("#b35900", "#f0a04b")
TROUBLE = Color("#a40e26", "#ff9492")
WHITE = Color("#fefefe", "#fdfdfd")  # text on fills that are dark in both schemes
_PALE = Color("#f4f4f4", "#f5f5f5")


def _fill(light: str, dark: str, border: Color, faint: Color = FAINT) -> Fill:
    return Fill(Color(light, dark), border, INK, faint)


def _deep(light: str, dark: str) -> Fill:
    return Fill(Color(light, dark), INK, WHITE, _PALE)


CARD = _fill("#ffffff", "#161b22", LINE)
MODULE = _fill("#f3f5f7", "#21262d", LINE)
PARAMETER = _fill("#e4effa", "#12304f", Color("#3b78b5", "#5e9fe0"))
INPUT = _fill("#e7f3e8", "#17351f", Color("#4a8a57", "#63b078"))
UNKNOWN = _fill("#fafafa", "#1b2027", FRAME)  # nodes without heat data

DIVERGING = (
    _deep("#08306b", "#0a4fb0"),
    _deep("#21629f", "#1f5c96"),
    _fill("#8fbfe0", "#1d4568", LINE, INK),
    _fill("#cfe2f1", "#1c3147", LINE),
    _fill("#f7f7f4", "#25292f", LINE),
    _fill("#fbdfc0", "#463322", LINE),
    _fill("#f4b173", "#6a441c", LINE, INK),
    _deep("#a54d06", "#9a4b0b"),
    _deep("#6f2c04", "#b34d0c"),
)
"""From far below to far above the median; the median is in the middle."""

SEQUENTIAL = (
    _fill("#f8f7f3", "#24282e", LINE),
    _fill("#f5e6c4", "#40371f", LINE),
    _fill("#f0c46b", "#66501c", LINE, INK),
    _deep("#8f5406", "#85530a"),
    _deep("#5c2503", "#b04a0a"),
)
"""From low to high."""


def darkened(source: str) -> str:
    """Return DOT text with every color replaced by its dark value."""
    dark = {color.light: color.dark for color in _colors()}
    return re.sub(r'(?<==")#[0-9a-f]{6}(?=")', lambda match: dark.get(match[0], match[0]), source)


def style_sheet() -> str:
    """Return CSS that switches every color to its dark value on a dark page."""
    rules = [
        f'.tinygrad-cnn [{property}="{color.light}"]{{{property}:{color.dark}}}'
        for color in _colors()
        for property in ("fill", "stroke")
    ]
    return "@media (prefers-color-scheme:dark){" + "".join(rules) + "}"


def _colors() -> list[Color]:
    fills = (CARD, MODULE, PARAMETER, INPUT, UNKNOWN, *DIVERGING, *SEQUENTIAL)
    colors = dict.fromkeys((INK, FAINT, LINE, FRAME, GRADIENT, TROUBLE, WHITE, _PALE))
    for fill in fills:
        colors |= dict.fromkeys((fill.area, fill.border))
    return list(colors)
