"""What is used of Numba and llvmlite beyond their documented interfaces.

Right for Numba 0.68 with llvmlite 0.50. No upper bound keeps newer ones out: if one lacks a name of
this file, `engine.fast.is_on` warns once, and NumPy computes everything.
"""

from __future__ import annotations

from typing import Any

from llvmlite.binding import ffi
from numba.core.caching import FunctionCache
from numba.core.errors import NumbaError

__all__ = [
    "NARROW",
    "WITHIN",
    "FunctionCache",
    "NumbaError",
    "is_uncachable",
    "llvm_lock",
    "signature_of",
    "was_kept",
]

llvm_lock: Any = ffi.lib._lock
"""That of each call of LLVM, such as to free what it made."""

NARROW = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}
"""Options of a function that only compiled functions call: it has no other entry."""

WITHIN = {"forceinline": True}
"""Options of a function that LLVM makes a part of each that calls it."""


def signature_of(function: Any) -> Any:
    """Return the signature of a compiled C function."""
    return function._sig


def was_kept(function: Any) -> bool:
    """Return whether a compiled C function was read from disk."""
    return bool(function.cache_hits)


def is_uncachable(error: Exception) -> bool:
    """Return whether an error says that there is no folder to keep a function in."""
    return "cannot cache" in str(error)
