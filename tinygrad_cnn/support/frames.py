"""The frames and lines of user code that run within a function of this package."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

__all__ = ["PACKAGE", "call_user_code", "running_frames", "running_line"]

PACKAGE = f"{Path(__file__).parents[1]}{os.sep}"
"""How the file names of this package begin."""


def call_user_code(function: Callable[..., Any], args: Any, kwargs: Any) -> Any:
    """Call a function; frames outside of this call are not those of the function."""
    return function(*args, **kwargs)


def running_frames() -> Iterator[FrameType]:
    """Yield the running frames of user code, the innermost first."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_code is not call_user_code.__code__:
        if not frame.f_code.co_filename.startswith(PACKAGE):
            yield frame
        frame = frame.f_back


def running_line() -> str:
    """Return the file and line of user code that are running; "" if there are none."""
    for frame in running_frames():
        if frame.f_code.co_filename != "<string>":  # made of a table of names
            return f"{frame.f_code.co_filename}, line {frame.f_lineno}"
    return ""
