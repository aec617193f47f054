"""Notes on exceptions of a training: the epoch and batch, and the line of the user's program."""

from __future__ import annotations

import linecache
import os
import sysconfig
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from traceback import walk_tb

from tinygrad_cnn.data.errors import DataError

__all__ = ["noted", "user_line"]

NOT_USER = (
    str(Path(__file__).resolve().parents[1]),
    *(os.path.realpath(sysconfig.get_path(name)) for name in ("stdlib", "purelib", "platlib")),
)


@contextmanager
def noted(owner: str, place: Callable[[], str]) -> Iterator[None]:
    """Add a note to an exception inside: the place, and the line of the user's program.

    Parameters
    ----------
    owner : str
        The function that raises it.
    place : callable
        Returns the place, such as "epoch 3, batch 7".
    """
    try:
        yield
    except Exception as error:
        where = place()
        says_so = isinstance(error, DataError | FloatingPointError) and where in str(error)
        if not says_so:
            line = user_line(error)
            known = any(line in note for note in getattr(error, "__notes__", ()))
            at = f", at {line}" if line and not known else ""
            error.add_note(f"{owner}: raised in {where}{at}")
        raise


def user_line(error: BaseException) -> str:
    """Return the innermost line of the traceback that is neither ours nor a library's, or ""."""
    found = ""
    for frame, number in walk_tb(error.__traceback__):
        name = frame.f_code.co_filename
        if not name.startswith("<") and not os.path.realpath(name).startswith(NOT_USER):
            source = linecache.getline(name, number).strip()
            found = f"{name}:{number}, in {frame.f_code.co_name}{f': {source}' if source else ''}"
    return found
