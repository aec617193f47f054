"""Static files of the front end, from a list made when the server starts."""

from __future__ import annotations

from pathlib import Path

from starlette import staticfiles
from starlette.exceptions import HTTPException
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
PAGES = {"/": "index.html", "/docs": "docs.html"}


class StaticFiles:
    """Serves files by name; a request's path is looked up, never opened.

    Parameters
    ----------
    *packages : str
        Names of packages with a folder ``static``.
    """

    def __init__(self, *packages: str) -> None:
        self.files = staticfiles.StaticFiles(packages=[(name, "static") for name in packages])
        names = [
            path.relative_to(folder).as_posix()
            for folder in map(Path, self.files.all_directories)
            for path in sorted(folder.rglob("*"))
            if path.suffix in MEDIA_TYPES and path.is_file()
        ]
        self.names = PAGES | {
            f"{PREFIX}{name}": name for name in names if name not in PAGES.values()
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        name = self.names.get(scope["path"])
        if name is None:
            raise HTTPException(404, "no such address")
        if scope["method"] not in ("GET", "HEAD"):
            raise HTTPException(
                405, "a file can only be read: use GET or HEAD", headers={"Allow": "GET, HEAD"}
            )
        response = await self.files.get_response(name, scope)
        response.headers["Cache-Control"] = "no-cache"  # the browser revalidates each time
        if response.status_code == 200:
            response.headers["Content-Type"] = MEDIA_TYPES[Path(name).suffix]
        await response(scope, receive, send)
