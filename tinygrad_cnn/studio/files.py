"""Static files of the front end, read and compressed once, when the server starts."""

from __future__ import annotations

import functools
import gzip
import hashlib
import posixpath
import re
from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import PurePosixPath

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

__all__ = ["MEDIA_TYPES", "StaticFiles"]

MEDIA_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
}
"""Media types by file suffix, independent of the system; other files are not served."""

PREFIX = "/static/"
PAGES = {"index.html": "/", "docs.html": "/docs"}

REVALIDATED = "no-cache"  # the browser asks each time; an unchanged file is not sent again
KEPT = "private, max-age=31536000, immutable"  # the address changes with the contents

PRELOADER = "js/preload.js"  # preloads the modules of the view that is opened first
VIEW = re.compile(r"js/(\w+)/view\.js")
STYLE = re.compile(r' *<link rel="stylesheet" href="/static/([^"]+)" />\n')
IMPORT = re.compile(r'^(?:(?:import|export)\b[^"();]*? from|import) "(\.[^"]+)"', re.MULTILINE)


@dataclass(frozen=True, slots=True)
class File:
    """A file in memory, with its compressed contents if they are smaller."""

    contents: bytes
    compressed: bytes | None
    media_type: str
    tag: str

    @classmethod
    def of(cls, name: str, contents: bytes) -> File:
        """Return the file of a name, whose suffix is one of ``MEDIA_TYPES``."""
        compressed = gzip.compress(contents, 9, mtime=0)
        return cls(
            contents,
            compressed if len(compressed) < len(contents) else None,
            MEDIA_TYPES[PurePosixPath(name).suffix],
            f'W/"{hashlib.sha256(contents).hexdigest()[:20]}"',  # weak: of both encodings
        )


class StaticFiles:
    """Serves files by name; a request's path is looked up, never opened.

    Each file has two addresses: ``/static/NAME``, revalidated by its ETag, and
    ``/static/DIGEST/NAME``, kept by the browser for good. Pages refer to the second, so modules of
    two versions never mix: the digest is that of all files. A page's style sheets are joined into
    one, and the modules that it opens with are preloaded.

    Parameters
    ----------
    *packages : str
        Names of packages with a folder ``static``.
    """

    def __init__(self, *packages: str) -> None:
        self.files, self.kept = _loaded(packages)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        path = scope["path"]
        file = self.files.get(path) or self.kept.get(path)
        if file is None:
            raise HTTPException(404, "no such address")
        if scope["method"] not in ("GET", "HEAD"):
            raise HTTPException(
                405, "a file can only be read: use GET or HEAD", headers={"Allow": "GET, HEAD"}
            )
        asked = Headers(scope=scope)
        headers = {
            "Cache-Control": KEPT if path in self.kept else REVALIDATED,
            "ETag": file.tag,
            "Vary": "Accept-Encoding",
        }
        if file.tag in map(str.strip, asked.get("if-none-match", "").split(",")):
            await Response(status_code=304, headers=headers)(scope, receive, send)
            return
        contents = file.contents
        if file.compressed is not None and "gzip" in asked.get("accept-encoding", ""):
            contents = file.compressed
            headers["Content-Encoding"] = "gzip"
        await Response(contents, headers=headers, media_type=file.media_type)(scope, receive, send)


@functools.cache
def _loaded(packages: tuple[str, ...]) -> tuple[dict[str, File], dict[str, File]]:
    """Return the files by path: those that are revalidated, and those that are kept."""
    found: dict[str, bytes] = {}
    for package in packages:
        _collect(resources.files(package) / "static", "", found)
    pages = {name: found.pop(name).decode() for name in PAGES if name in found}
    digest = hashlib.sha256()
    for name, contents in sorted(found.items()):
        digest.update(b"%s %d\n" % (name.encode(), len(contents)) + contents)
    kept = f"{PREFIX}{digest.hexdigest()[:20]}/"
    for name, page in pages.items():
        styles = [found[style] for style in STYLE.findall(page)]
        found[f"css/of-{PurePosixPath(name).stem}.css"] = b"\n".join(styles)
    files = {name: File.of(name, contents) for name, contents in found.items()}
    revalidated = {f"{PREFIX}{name}": file for name, file in files.items()}
    for name, page in pages.items():
        revalidated[PAGES[name]] = File.of(name, _page(name, page, kept, found).encode())
    return revalidated, {f"{kept}{name}": file for name, file in files.items()}


def _collect(folder: Traversable, prefix: str, found: dict[str, bytes]) -> None:
    for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
        name = prefix + entry.name
        if entry.is_dir():
            _collect(entry, f"{name}/", found)
        elif PurePosixPath(name).suffix in MEDIA_TYPES:
            found[name] = entry.read_bytes()


def _page(name: str, page: str, kept: str, found: dict[str, bytes]) -> str:
    """Return a page that refers to kept files, with one style sheet, and preloads its modules."""
    one = f'    <link rel="stylesheet" href="{PREFIX}css/of-{PurePosixPath(name).stem}.css" />\n'
    page = STYLE.sub("\0", page).replace("\0", one, 1).replace("\0", "")
    entries = re.findall(rf'<script type="module" src="{PREFIX}([^"]+)"', page)
    shell = _modules(entries, found)
    preloads = _links(shell - {PRELOADER})
    if PRELOADER in entries:
        for module in sorted(found):
            if view := VIEW.fullmatch(module):
                links = _links(_modules([module], found) - shell)
                preloads += f'    <template id="modules-{view[1]}">\n{links}    </template>\n'
    page = page.replace("    <script", f"{preloads}    <script", 1)
    return page.replace(f'"{PREFIX}', f'"{kept}')


def _links(modules: Set[str]) -> str:
    return "".join(
        f'    <link rel="modulepreload" href="{PREFIX}{module}" />\n' for module in sorted(modules)
    )


def _modules(entries: Iterable[str], found: Mapping[str, bytes]) -> Set[str]:
    """Return modules and all that they import."""
    modules: set[str] = set()
    waiting = list(entries)
    while waiting:
        module = waiting.pop()
        if module not in modules:
            modules.add(module)
            waiting += [
                posixpath.normpath(posixpath.join(module, "..", path))
                for path in IMPORT.findall(found[module].decode())
            ]
    return modules
