"""What a machine may lack: there tests skip, but in continuous integration they fail."""

from __future__ import annotations

import os
from typing import NoReturn

import pytest


def in_ci() -> bool:
    """Return whether this is continuous integration."""
    return os.environ.get("CI", "").lower() in {"1", "true"}


def lacking(wanted: str) -> NoReturn:
    """End a test that needs what the machine lacks."""
    if in_ci():
        pytest.fail(f"the test needs {wanted}")
    pytest.skip(f"needs {wanted}")


LENGTHY = "TINYGRAD_CNN_LENGTHY" in os.environ


def repeats(usual: int, lengthy: int) -> int:
    """Return how often a test repeats something: more where TINYGRAD_CNN_LENGTHY is set."""
    return lengthy if LENGTHY else usual


lengthy = pytest.mark.skipif(not LENGTHY, reason="takes long: set TINYGRAD_CNN_LENGTHY=1")
"""Mark of a test that takes long and whose property others hold at less cost."""
