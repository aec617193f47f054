"""What steps may be refused for: arrays that are computed beside the ops."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from hypothesis import reject

import tinygrad_cnn as tg

REFUSED = {"grid_sample"}
"""The functions made of ops that compute with NumPy on values: places in an image."""


@contextmanager
def unless_refused() -> Iterator[None]:
    """Leave out an example with arrays that only an object holds, or that a function makes."""
    try:
        yield
    except tg.compiler.CompileError as error:
        if "neither" not in str(error):
            raise
        reject()
