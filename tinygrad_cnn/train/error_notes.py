"""Notes on exceptions of a training: the epoch and batch, and the line of the user's program."""

from __future__ import annotations

import linecache
import os
import sysconfig
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from traceback import walk_tb

from tinygrad_cnn.data.errors import DataError

__all__ = ["noted", "user_line"]


@contextmanager
def noted(owner: str, place: Callable[[], str], *unless: type[Exception]) -> Iterator[None]:
    """Add a note to an exception inside: the place, and the line of the user's program.

    Parameters
    ----------
    owner : str
        The function that raises it.
    place : callable
        Returns the place, such as "in epoch 3, batch 7"; "" for none.
    *unless : type
        Exceptions that get no note.
    """
    try:
        yield
    except Exception as error:
        where = place()
        says_so = isinstance(error, DataError) and where.removeprefix("in ") in str(error)
        if where and not says_so and not isinstance(error, unless):
            line = user_line(error)
            known = any(line in note for note in getattr(error, "__notes__", ()))
            at = f", at {line}" if line and not known else ""
            error.add_note(f"{owner}: raised {where}{at}")
        raise


def user_line(error: BaseException) -> str:
    """Return the innermost line of the traceback that is neither ours nor a library's, or ""."""
    found, others = "", _folders_of_others()
    for frame, number in walk_tb(error.__traceback__):
        name = frame.f_code.co_filename
        inside = name.startswith(("<frozen ", "<__array_function__"))  # of Python, of NumPy
        if not inside and not os.path.realpath(name).startswith(others):
            source = linecache.getline(name, number).strip()
            found = f"{name}:{number}, in {frame.f_code.co_name}{f': {source}' if source else ''}"
    return found


@cache
def _folders_of_others() -> tuple[str, ...]:
    libraries = [sysconfig.get_paths()[name] for name in ("stdlib", "purelib", "platlib")]
    ours = str(Path(__file__).parents[1])
    return tuple(os.path.join(os.path.realpath(folder), "") for folder in (ours, *libraries))
