"""The parts of Numba and llvmlite that are used and not documented.

Right for Numba 0.68 with llvmlite 0.50. No upper bound keeps newer ones out: if one lacks what
this file imports, `engine.fast.is_on` warns once, and NumPy computes everything. Options that it
does not know raise where a kernel is compiled.
"""

from __future__ import annotations

from typing import Any

from llvmlite.binding import ffi
from numba.core.caching import FunctionCache
from numba.core.ccallback import CFunc
from numba.core.errors import NumbaError

__all__ = [
    "NARROW",
    "WITHIN",
    "FunctionCache",
    "NumbaError",
    "is_uncachable",
    "llvm_lock",
    "was_kept",
]

llvm_lock: Any = ffi.lib._lock
"""The lock that each call of LLVM takes, such as the call that frees compiled code."""

CFunc.cache_hits  # noqa: B018  # read by `was_kept`

NARROW = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}
"""Options of a function that only compiled functions call: it has no other entry."""

WITHIN = {"forceinline": True}
"""Options of a function that LLVM inlines into its callers."""


def was_kept(function: Any) -> bool:
    """Return whether a compiled C function was read from disk."""
    return bool(function.cache_hits)


def is_uncachable(error: Exception) -> bool:
    """Return whether an error says that there is no folder to keep a function in."""
    return "cannot cache" in str(error)
