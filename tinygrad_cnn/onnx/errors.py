"""The error of models that cannot be exported and files that cannot be loaded."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["OnnxError", "explained", "named"]

_PLAIN = (
    ArithmeticError, AssertionError, AttributeError, LookupError, MemoryError, NotImplementedError,
    RuntimeError, TypeError, ValueError,
)  # fmt: skip


class OnnxError(ValueError):
    """A model cannot be exported, or a file cannot be loaded; the message says what and where."""


def explained(error: Exception, where: object) -> Exception:
    """Return an OnnxError that says where, for an error of a computation; others as they are."""
    known = type(error).__module__ in ("builtins", "numpy.exceptions", "numpy._core._exceptions")
    if not known or not isinstance(error, _PLAIN):
        return error  # such as a NaNError: it has a meaning of its own
    text = str(error) or type(error).__name__
    if isinstance(error, MemoryError):
        text = f"out of memory{f': {error}' if str(error) else ''}"
    made = OnnxError(f"{where}: {text}")
    for note in getattr(error, "__notes__", ()):
        made.add_note(note)
    return made


@contextmanager
def named(where: object) -> Iterator[None]:
    """Raise `explained` errors of the block."""
    try:
        yield
    except Exception as error:
        made = explained(error, where)
        if made is error:
            raise
        raise made from error
