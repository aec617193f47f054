"""Files that only their owner can read."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

__all__ = ["make_private"]

OTHERS = 0o077
"""The permissions of the group and of all other users."""


def make_private(path: Path) -> None:
    """Create a file, empty, if it is missing, and let only its owner read it and its folder.

    The files that SQLite keeps beside a database lose the same permissions; SQLite creates them
    with those of the database. On systems without such permissions only the file is created.
    """
    folder = path.parent
    folder.mkdir(mode=0o777 & ~OTHERS, parents=True, exist_ok=True)
    os.close(os.open(path, os.O_RDONLY | os.O_CREAT, 0o666 & ~OTHERS))
    for each in (folder, *folder.glob(f"{path.name}*")):
        with suppress(OSError):  # not the owner, or no such permissions
            mode = each.stat().st_mode
            if mode & OTHERS:
                each.chmod(mode & ~OTHERS)
