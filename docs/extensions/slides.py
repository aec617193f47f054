"""The slides of the lessons: ``python docs/extensions/slides.py FOLDER``.

sphinx-revealjs makes a deck of each Markdown file in docs/lessons/slides/, a slide of each section.
A deck loads only files of its folder, which is slides/ on the site.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sphinx.application import Sphinx
    from sphinx.util.typing import ExtensionMetadata

SOURCES = Path(__file__).parents[1] / "lessons" / "slides"
SETTINGS: dict[str, Any] = {
    "project": "tinygrad_cnn",
    "language": "en",
    "extensions": ["myst_parser", "sphinx_revealjs", "mathml"],
    "myst_enable_extensions": ["dollarmath"],
    "html_math_renderer": "mathml",
    "html_copy_source": False,
    "suppress_warnings": ["toc.not_included"],  # each deck stands alone
    "revealjs_style_theme": "white",
    "revealjs_static_path": ["static"],
    "revealjs_css_files": ["slides.css"],
    "revealjs_script_conf": {
        "width": 1280,
        "height": 720,
        "margin": 0.02,
        "center": False,
        "hash": True,
        "slideNumber": "c/t",
        "transition": "none",
    },
}


def build(folder: Path) -> None:
    """Write all decks to a folder; a warning is an error."""
    from sphinx.application import Sphinx

    with TemporaryDirectory() as trees:
        made = Sphinx(
            SOURCES, None, folder, Path(trees), "revealjs", SETTINGS, None, warningiserror=True
        )
        made.build()
    if made.statuscode:
        raise SystemExit(made.statuscode)


def write(app: Sphinx, error: Exception | None) -> None:
    """Write the decks of the site, in a process of its own: docutils has global state."""
    if error is None and app.builder.name == "html":
        folder = Path(app.outdir, "slides")
        subprocess.run([sys.executable, __file__, str(folder)], check=True)


def setup(app: Sphinx) -> ExtensionMetadata:
    """Write the decks when the pages are finished."""
    app.connect("build-finished", write)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


if __name__ == "__main__":
    build(Path(sys.argv[1]))
