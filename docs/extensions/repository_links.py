"""Links of Markdown pages, made for a reader of the repository, as links of the site.

A page of docs/ links to files beside it and, by ``../``, to files of the repository. On the site, a
link to an example leads to its page in the gallery, one to the README to the page "Overview", and
one to any other file to the repository's address, which pyproject.toml declares.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from docutils import nodes
from sphinx.transforms import SphinxTransform
from support.pages import ROOT, urls

if TYPE_CHECKING:
    from sphinx.application import Sphinx
    from sphinx.util.typing import ExtensionMetadata

LINK = re.compile(r'(\]\(|src=")([^)\s"#]+)((?:#[^)\s"]*)?[)"])')
ANCHOR = re.compile(r'<a id="([^"]+)">')
README = "overview"
"""The page of the site that shows the README."""


def on_site(text: str, page: str) -> str:
    """Return a page's text with its links replaced.

    Parameters
    ----------
    text : str
        Markdown.
    page : str
        The path of its file in the repository, such as "docs/how-to/deploy.md".
    """

    def replaced(match: re.Match[str]) -> str:
        return match[1] + _link(match[2], page) + match[3]

    return LINK.sub(replaced, text)


def _link(target: str, page: str) -> str:
    folder = posixpath.dirname(page)
    blob = re.match(re.escape(urls()["source"]) + "/(?:blob|tree|raw)/[^/]+/(.*)", target)
    if blob:
        path = blob[1]
    elif ":" in target:
        return target
    else:
        path = posixpath.normpath(posixpath.join(folder, target))
    file = PurePosixPath(path)
    if not (ROOT / file).exists():
        return target
    if path == "README.md":
        path = f"docs/{README}.md"
    elif file.parent == PurePosixPath("examples") and file.suffix == ".py":
        path = f"docs/examples/{file.stem}.rst"
    elif (ROOT / file / "README.md").exists():
        path += "/README.md"
    elif file.parts[0] != "docs" or (ROOT / file).is_dir():
        kind = "tree" if (ROOT / file).is_dir() else "blob"
        return f"{urls()['source']}/{kind}/main/{path}"
    return posixpath.relpath(path, "docs" if page == "README.md" else folder)


def read(app: Sphinx, docname: str, source: list[str]) -> None:
    """Replace the links of a Markdown page, before it is parsed."""
    if docname == README:
        app.env.note_dependency(str(ROOT / "README.md"))
        source[0] = on_site((ROOT / "README.md").read_text("utf-8"), "README.md")
    elif app.env.doc2path(docname).suffix == ".md":
        source[0] = on_site(source[0], f"docs/{docname}.md")


class KeepAnchors(SphinxTransform):
    """Let links find the anchors that a page writes as HTML."""

    default_priority = 800  # before MyST resolves the links inside a page, at 879

    def apply(self, **_: object) -> None:
        """Add the anchors to those of headings."""
        known = self.env.metadata[self.env.docname].get("myst_slugs", {})  # MyST's own dict
        for node in self.document.findall(nodes.raw):
            for anchor in ANCHOR.findall(node.astext()):
                known[anchor] = (node.line or 0, anchor, anchor)


def stay_on_site(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Make links to the site's own address relative, so that they work wherever it is served."""
    home = urls()["documentation"] + "/"
    up = "../" * docname.count("/")
    for node in doctree.findall(nodes.reference):
        if node.get("refuri", "").startswith(home):
            node["refuri"] = up + node["refuri"].removeprefix(home)


def setup(app: Sphinx) -> ExtensionMetadata:
    """Connect the steps with the events of a build."""
    app.connect("source-read", read)
    app.add_transform(KeepAnchors)
    app.connect("doctree-resolved", stay_on_site)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
