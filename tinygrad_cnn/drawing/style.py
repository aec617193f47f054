"""The style of a drawing: direction, page, font, resolution, labels and colors."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

from tinygrad_cnn.support.arguments import choice, flag, positive, whole

__all__ = ["PAGES", "PLAIN", "RANKDIRS", "THEMES", "Style"]

PAGES: Mapping[str, tuple[float, float]] = {"slide": (13.33, 7.5), "column": (3.35, 9.0)}
"""Width and height in inches: a 16:9 slide, and one column of a two-column paper."""

RANKDIRS: Mapping[str, tuple[str, str]] = {
    "TB": ("down", "up"),
    "LR": ("right", "left"),
    "BT": ("up", "down"),
    "RL": ("left", "right"),
}
"""The directions of values and of gradients."""

THEMES = ("auto", "light", "dark")

Page: TypeAlias = Literal["slide", "column"] | tuple[float, float]


@dataclass(frozen=True, slots=True)
class Style:
    """The appearance of a drawing, for `tinygrad_cnn.draw`.

    Parameters
    ----------
    rankdir : {"TB", "LR", "BT", "RL"}
        The direction of the forward pass, as in Graphviz: "TB" from top to bottom, "LR" from left
        to right.
    page : {"slide", "column"} or tuple of float, optional
        The largest width and height, in inches: a larger drawing is scaled down to fit. "slide" is
        13.33 × 7.5, "column" 3.35 × 9. By default, the drawing keeps its size.
    font : str
        A font, or a comma-separated list of them.
    dpi : int
        Pixels per inch of a ".png" file.
    labels : bool
        If False, nodes show their names and problems only, and arrows no text.
    theme : {"auto", "light", "dark"}
        "auto" is transparent and adapts to dark pages as SVG, and has a white background in other
        formats; "light" and "dark" have a background of their own.

    Raises
    ------
    ValueError
        If an argument is out of range.
    TypeError
        If the font is not a str.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> x = tg.Tensor([1.0, 2.0], requires_grad=True, name="x")
    >>> drawing = tg.draw(tg.tanh(x).sum(), style=Style(rankdir="LR", page="slide"))
    >>> 'rankdir=LR size="13.33,7.5"' in drawing.source
    True
    """

    rankdir: Literal["TB", "LR", "BT", "RL"] = "TB"
    page: Page | None = None
    font: str = "Helvetica,Arial,sans-serif"
    dpi: int = 96
    labels: bool = True
    theme: Literal["auto", "light", "dark"] = "auto"

    def __post_init__(self) -> None:
        owner = type(self).__name__
        choice(owner, "rankdir", self.rankdir, RANKDIRS)
        if isinstance(self.page, tuple | list) and len(self.page) == 2:
            for side, value in zip(("width", "height"), self.page, strict=True):
                positive(owner, f"page {side}", value)
        elif self.page is not None and not (isinstance(self.page, str) and self.page in PAGES):
            known = ", ".join(map(repr, PAGES))
            raise ValueError(
                f"{owner}: page is {self.page!r}, expected None, {known} or (width, height) in "
                "inches"
            )
        if not isinstance(self.font, str):
            raise TypeError(f"{owner}: font is {type(self.font).__name__}, expected str")
        if not re.fullmatch(r"[\w ,.'-]+", self.font):
            raise ValueError(f"{owner}: font is {self.font!r}, expected names of fonts")
        whole(owner, "dpi", self.dpi)
        flag(owner, "labels", self.labels)
        choice(owner, "theme", self.theme, THEMES)

    @property
    def size(self) -> tuple[float, float] | None:
        """The largest width and height in inches; None if there is no limit."""
        return PAGES[self.page] if isinstance(self.page, str) else self.page


PLAIN = Style()
"""The style of a drawing by default."""
