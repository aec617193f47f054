"""PyTorch with `torch.compile`, in both of its memory layouts (compilation is not timed)."""

from __future__ import annotations

import os
import shutil

from .task import Calls, Task
from .with_torch import KINDS, VARIANTS, limit_threads
from .with_torch import build as build_torch

__all__ = ["KINDS", "VARIANTS", "build", "limit_threads", "missing"]


def missing() -> str:
    """Return what compiling needs besides PyTorch and is not there; empty if nothing."""
    compiler = os.environ.get("CXX", "g++")
    return "" if shutil.which(compiler) else f"the C++ compiler {compiler}"


def build(task: Task) -> Calls:
    """Return the calls of a task, compiled."""
    return build_torch(task, compiled=True)
