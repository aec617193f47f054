"""The gallery: each program of examples/, run, with what it prints and a figure.

An example is a plain script. sphinx-gallery wants a docstring in reStructuredText with a title, and
finds results among global names; so it gets copies, in build/examples/, which have both.
"""

from __future__ import annotations

import ast
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from figures import FIGURES

if TYPE_CHECKING:
    from sphinx.application import Sphinx
    from sphinx.util.typing import ExtensionMetadata

ROOT = Path(__file__).parents[2]
COPIES = ROOT / "build" / "examples"
NOT_RUN = {
    "own_experiment": "it starts processes of its own",
    "text_direction": "it needs a file to download",
}
"""The examples that are shown only, and why."""
RUN = rf"/(?!{'|'.join(NOT_RUN)})\w+\.py$"
"""The pattern of the examples that are run."""
HEADER = """\
Gallery
=======

Every example with its output and a figure. The page :doc:`Examples </examples>` lists them by
subject. Each page has the program, to download and change.
"""


def copy_examples(folder: Path = COPIES) -> None:
    """Write the copies of all examples, without what earlier ones have written beside them."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "GALLERY_HEADER.rst").write_text(HEADER, "utf-8")
    for path in sorted((ROOT / "examples").glob("*.py")):
        text = prepared(path.read_text("utf-8"), NOT_RUN.get(path.stem, ""))
        (folder / path.name).write_text(text, "utf-8")


def prepared(program: str, reason: str = "") -> str:
    """Return a program with a docstring for the gallery, and its results in a global name.

    A `reason` not to run it is added to the docstring.
    """
    tree = ast.parse(program)
    first, docstring = tree.body[0], ast.get_docstring(tree) or ""
    title = re.split(r"[:,.](?=\s)|(?<=\?)", docstring)[0]
    text = f"{title}\n{'=' * len(title)}\n\n{as_rst(docstring)}\n"
    if reason:
        text += f"\n.. note::\n   It is not run here, because {reason}.\n"
    rest = "\n".join(program.splitlines()[first.end_lineno :])
    rest = re.sub(r"^    main\(", "    results = main(", rest, flags=re.MULTILINE)
    return '"""' + text.replace("\\", "\\\\") + '"""\n' + rest + "\n"


def as_rst(text: str) -> str:
    """Return plain text as reStructuredText: indented commands are literal blocks."""
    text = text.replace("|", "\\|").replace("*", "\\*")
    return re.sub(r"(\n\n)(    \S)", r"\1::\n\n\2", text)


def scraper(block: tuple[str, str, int], block_vars: dict[str, Any], conf: dict[str, Any]) -> str:
    """Draw the figure of an example from what it computed, and return it as sphinx-gallery does."""
    from sphinx_gallery.scrapers import matplotlib_scraper

    values = block_vars["example_globals"]
    if "results" in values:
        FIGURES[Path(block_vars["src_file"]).stem](values["results"], values)
    return str(matplotlib_scraper(block, block_vars, conf))


def setup(app: Sphinx) -> ExtensionMetadata:
    """Write the copies before sphinx-gallery looks for them."""
    app.connect("config-inited", lambda *_: copy_examples(), priority=1)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
