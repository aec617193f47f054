"""Python processes that import no module from the current folder.

With ``-c`` or ``-m``, as `multiprocessing` starts it, Python puts the current folder in front of
its path: a ``random.py`` there would be run in place of the standard library's.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

__all__ = ["SAFE_PATH", "environment", "leave_safe_path"]

_VARIABLE, _OURS = "PYTHONSAFEPATH", "tinygrad_cnn"

SAFE_PATH = {_VARIABLE: _OURS}
"""Environment in which Python starts as with ``-P``; versions before 3.11 ignore it."""


@contextmanager
def environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables for the processes that are started in this block.

    Examples
    --------
    >>> with environment({"TINYGRAD_CNN_EXAMPLE": "1"}):
    ...     os.environ["TINYGRAD_CNN_EXAMPLE"]
    '1'
    >>> "TINYGRAD_CNN_EXAMPLE" in os.environ
    False
    """
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def leave_safe_path() -> None:
    """Start the children of this process, which was started in ``SAFE_PATH``, as usual."""
    if os.environ.get(_VARIABLE) == _OURS:
        del os.environ[_VARIABLE]
