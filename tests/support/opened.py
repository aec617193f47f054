"""The files that a process opens."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_watches: list[list[str]] = []


@contextmanager
def watched() -> Iterator[list[str]]:
    """Yield a list, to which the path of each file is added that is opened inside the block."""
    files: list[str] = []
    _watches.append(files)
    try:
        yield files
    finally:
        _watches.remove(files)


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "open" and not isinstance(arguments[0], int):  # not a file that is open already
        for files in _watches:
            files.append(str(arguments[0]))


sys.addaudithook(_audit)  # it stays: a hook cannot be removed
