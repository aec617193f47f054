"""The notebooks of the tutorials, made at build time, and a link to each on its page."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from support.notebooks import PAGES, ROOT, write

if TYPE_CHECKING:
    from sphinx.application import Sphinx
    from sphinx.util.typing import ExtensionMetadata

FOLDER = "notebooks"
DOCUMENTS = {page.relative_to(ROOT / "docs").with_suffix("").as_posix() for page in PAGES}


def add_link(app: Sphinx, name: str, source: list[str]) -> None:
    """Put a link to the notebook below the title of its page."""
    if name in DOCUMENTS and app.builder.format == "html":
        title, rest = source[0].split("\n", 1)
        path = "../" * name.count("/") + f"{FOLDER}/{Path(name).name}.ipynb"
        link = f'<a class="notebook" href="{path}" download>Download as a notebook</a>'
        source[0] = f"{title}\n\n{link}\n{rest}"


def write_all(app: Sphinx, error: Exception | None) -> None:
    """Write the notebooks into the folder notebooks/ of the site."""
    if error is None and app.builder.format == "html":
        write(Path(app.outdir, FOLDER))


def setup(app: Sphinx) -> ExtensionMetadata:
    """Add the links as pages are read; make the notebooks when the pages are finished."""
    app.connect("source-read", add_link)
    app.connect("build-finished", write_all)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
