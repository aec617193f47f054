"""``torch.jit``: nothing is compiled, so its decorators return the function."""

from __future__ import annotations

from typing import Any, Final, TypeVar

from tinygrad_cnn.compat.torch import names

T = TypeVar("T")


def script(obj: T, *args: Any, **options: Any) -> T:
    """Return the function or module."""
    return obj


def trace(func: T, *args: Any, **options: Any) -> T:
    """Return the function or module."""
    return func


def ignore(fn: Any = None, **options: Any) -> Any:
    """Return the function, or a decorator that does."""
    return fn if callable(fn) else script


unused, export = ignore, script
_overload = _overload_method = script


def is_scripting() -> bool:
    """Return False."""
    return False


def is_tracing() -> bool:
    """Return False."""
    return False


__all__ = [
    "Final", "export", "ignore", "is_scripting", "is_tracing", "script", "trace", "unused",
]  # fmt: skip
__getattr__ = names.missing(__name__, "torch.jit", "torch.jit")
