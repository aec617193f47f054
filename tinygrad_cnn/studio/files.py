"""The front end's files: those that lie in the package when the server starts, and no others."""

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
"""By the ends of the names, whatever the system thinks; what ends otherwise is not given away."""

PREFIX = "/static/"
PAGES = {"/": "index.html", "/docs": "docs.html"}


class StaticFiles:
    """Answers with files by name; the name is looked up, and never becomes a path.

    Parameters
    ----------
    folder : Path
    """

    def __init__(self, folder: Path) -> None:
        names = [
            path.relative_to(folder).as_posix()
            for path in sorted(folder.rglob("*"))
            if path.suffix in MEDIA_TYPES and path.is_file()
        ]
        self.names = PAGES | {
            f"{PREFIX}{name}": name for name in names if name not in PAGES.values()
        }
        self.files = staticfiles.StaticFiles(directory=folder)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        name = self.names.get(scope["path"])
        if name is None:
            raise HTTPException(404, "there is no such address")
        if scope["method"] not in ("GET", "HEAD"):
            raise HTTPException(405, "a file can only be read", headers={"Allow": "GET, HEAD"})
        response = await self.files.get_response(name, scope)
        response.headers["Cache-Control"] = "no-cache"  # a browser asks whether it has changed
        if response.status_code == 200:
            response.headers["Content-Type"] = MEDIA_TYPES[Path(name).suffix]
        await response(scope, receive, send)
