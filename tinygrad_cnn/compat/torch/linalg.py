"""``torch.linalg``: norms of vectors and matrices."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tinygrad_cnn.compat.torch import functions, names


def norm(A: Any, ord: Any = None, dim: Any = None, keepdim: bool = False) -> Any:
    """Return the norm of all values, or along `dim`: of order 2 by default."""
    return functions.norm(A, 2 if ord is None else ord, dim, keepdim)


def vector_norm(x: Any, ord: Any = 2, dim: Any = None, keepdim: bool = False) -> Any:
    """Return the norm of all values, or along `dim`."""
    return functions.norm(x, ord, dim, keepdim)


if not TYPE_CHECKING:
    __getattr__ = names.missing(__name__, "torch.linalg", "torch.linalg")
