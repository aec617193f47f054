"""Files that only their owner can read."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

__all__ = ["make_private"]

OTHERS = 0o077
"""The permissions of the group and of all other users."""


def make_private(path: Path) -> None:
    """Create a file, empty, if it is missing, and let only its owner read it.

    So is its folder, if it is new or empty, or has held the file before; another may hold files for
    others.

    The files that SQLite keeps beside a database lose the same permissions; SQLite creates them
    with those of the database. On systems without such permissions only the file is created.
    """
    folder = path.parent
    folder.mkdir(mode=0o777 & ~OTHERS, parents=True, exist_ok=True)
    folders = [folder] if path.exists() or not any(folder.iterdir()) else []
    os.close(os.open(path, os.O_RDONLY | os.O_CREAT, 0o666 & ~OTHERS))
    for each in (*folders, *folder.glob(f"{path.name}*")):
        with suppress(OSError):  # not the owner, or no such permissions
            mode = each.stat().st_mode
            if mode & OTHERS:
                each.chmod(mode & ~OTHERS)
