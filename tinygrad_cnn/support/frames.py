"""The frames and lines of user code that run within a function of this package."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

__all__ = ["PACKAGE", "call_user_code", "running_frames", "running_line"]

PACKAGE = f"{Path(__file__).parents[1]}{os.sep}"
"""How the file names of this package begin."""


def call_user_code(function: Callable[..., Any], args: Any, kwargs: Any) -> Any:
    """Call a function; frames outside of this call are not those of the function."""
    return function(*args, **kwargs)


def running_frames() -> list[FrameType]:
    """Return the running frames of user code, the innermost first; none outside a call of it."""
    frames: list[FrameType] = []
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if frame.f_code is call_user_code.__code__:
            return frames
        if not frame.f_code.co_filename.startswith(PACKAGE):
            frames.append(frame)
        frame = frame.f_back
    return []


def running_line() -> str:
    """Return the file and line of user code that are running; "" if there are none."""
    frames = running_frames()
    return f"{frames[0].f_code.co_filename}, line {frames[0].f_lineno}" if frames else ""
