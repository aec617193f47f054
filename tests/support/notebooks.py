"""The tutorials as notebooks, executed.

PYTHONPATH=tests python -m support.notebooks FOLDER

A page is the source. Its text becomes cells of Markdown, its programs cells of code without the
prompts; what a cell shows comes from running it. Needs ipykernel, nbclient and nbformat: the
extra `docs` has them.
"""

from __future__ import annotations

import doctest
import posixpath
import re
import sys
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from support.pages import ROOT, is_left_out, urls

if TYPE_CHECKING:
    from nbformat import NotebookNode

PAGES = (ROOT / "docs" / "start.md", *sorted((ROOT / "docs" / "tutorials").glob("[0-9]*.md")))
"""The pages that are notebooks, too."""
SECONDS = 300
LINK = re.compile(r"(!?)\[((?:[^\]`]|`[^`]*`)*)\]\(([^)\s]+)\)")
OPTIONS = re.compile(r"\s*# doctest: .*$", re.MULTILINE)
HEADER = "*This is a page of the [documentation]({}) of tinygrad_cnn, as a notebook.*"


def blocks(text: str) -> Iterator[tuple[bool, str]]:
    """Yield the parts of a page in order, each with whether it is a program with prompts."""
    parts = re.split(r"^```python\n(.*?)^```$", text, flags=re.DOTALL | re.MULTILINE)
    yield from ((k % 2 == 1, part) for k, part in enumerate(parts) if part.strip())


def groups(program: str) -> Iterator[list[doctest.Example]]:
    """Yield the examples of each cell: it ends with the first that shows something."""
    group: list[doctest.Example] = []
    for example in doctest.DocTestParser().get_examples(program):
        group.append(example)
        if example.want:
            yield group
            group = []
    if group:
        yield group


def notebook(page: Path) -> NotebookNode:
    """Return the notebook of a page, not yet executed."""
    from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

    cells = []
    for is_program, part in blocks(page.read_text("utf-8")):
        if not is_program:
            cells.append(new_markdown_cell(linked(part.strip(), page)))
            continue
        for group in groups(part):
            source = OPTIONS.sub("", "".join(example.source for example in group)).rstrip("\n")
            cells.append(new_code_cell(source, metadata={"tags": tags(group)}))
    site = address("documentation", page.relative_to(ROOT / "docs").with_suffix(".html").as_posix())
    cells[0].source += f"\n\n{HEADER.format(site)}"
    for k, cell in enumerate(cells):
        cell.id = f"cell-{k}"  # the same in each build
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    return new_notebook(cells=cells, metadata={"kernelspec": kernel})


def tags(group: list[doctest.Example]) -> list[str]:
    """Return the tag of a cell that should not be run."""
    return ["skip-execution"] * any(map(is_left_out, group))


def linked(text: str, page: Path) -> str:
    """Return Markdown whose links lead to the site and whose pictures are part of it."""

    def replaced(match: re.Match[str]) -> str:
        mark, label, target = match.groups()
        if ":" in target or target.startswith("#"):
            return match[0]
        path, _, anchor = target.partition("#")
        place = posixpath.normpath((page.parent.relative_to(ROOT) / path).as_posix())
        if mark:
            kind = "svg+xml" if path.endswith(".svg") else "png"
            data = b64encode((ROOT / place).read_bytes()).decode()
            return f"![{label}](data:image/{kind};base64,{data})"
        if place.startswith("docs/") and place.endswith(".md"):
            address_of_page = address("documentation", f"{place[5:-3]}.html")
        else:
            address_of_page = address("source", f"blob/main/{place}")
        return f"[{label}]({address_of_page}{'#' * bool(anchor)}{anchor})"

    return LINK.sub(replaced, text)


def address(name: str, path: str) -> str:
    """Return the address of a file under one of the project's addresses."""
    return f"{urls()[name]}/{path}"


def executed(page: Path) -> NotebookNode:
    """Return the notebook of a page with its outputs; it runs in an empty folder.

    Raises
    ------
    nbclient.exceptions.CellExecutionError
        If a cell raises an exception that the page does not show.
    """
    from nbclient import NotebookClient

    made: Any = notebook(page)
    with TemporaryDirectory() as folder:
        NotebookClient(
            made,
            timeout=SECONDS,
            kernel_name="python3",
            record_timing=False,
            resources={"metadata": {"path": folder}},
        ).execute()
    return made


def write(folder: Path) -> list[Path]:
    """Write the executed notebooks of all pages, and return their paths."""
    import nbformat

    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for page in PAGES:
        path = folder / f"{page.stem}.ipynb"
        nbformat.write(executed(page), path)
        written.append(path)
    return written


if __name__ == "__main__":
    for path in write(Path(sys.argv[1])):
        print(path)
