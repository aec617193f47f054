"""Draws the picture of the site's first page: ``python -m support.first_picture docs/pictures``.

It is the variable `picture` of the program on that page, so it shows what the program draws.
"""

from __future__ import annotations

import doctest
import sys
from pathlib import Path

from support.pages import ROOT, programs
from tinygrad_cnn.drawing import Drawing

PAGE = ROOT / "docs" / "index.md"
NAME = "first-page.svg"


def picture() -> Drawing:
    """Return the drawing that the program of the page makes."""
    names: dict[str, object] = {}
    text = programs(PAGE.read_text("utf-8"))
    exec(doctest.script_from_examples(text), names)
    drawing = names["picture"]
    assert isinstance(drawing, Drawing)
    return drawing


if __name__ == "__main__":
    print(picture().render(Path(sys.argv[1]) / NAME))
