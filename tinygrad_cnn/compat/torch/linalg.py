"""``torch.linalg``: norms of vectors, and the Frobenius norm."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tinygrad_cnn.compat.torch import functions, names


def norm(A: Any, ord: Any = None, dim: Any = None, keepdim: bool = False) -> Any:
    """Return the norm of all values, or along `dim`: of order 2 by default."""
    axes = A.dim() if dim is None else len(dim) if isinstance(dim, tuple | list) else 1
    if ord not in (None, "fro") and axes > 1:
        raise NotImplementedError(
            f"linalg.norm: ord={ord!r} of a matrix is not here; use vector_norm for its entries"
        )
    return functions.norm(A, 2 if ord is None else ord, dim, keepdim)


def vector_norm(x: Any, ord: Any = 2, dim: Any = None, keepdim: bool = False) -> Any:
    """Return the norm of all values, or along `dim`."""
    return functions.norm(x, ord, dim, keepdim)


if not TYPE_CHECKING:
    __getattr__ = names.missing(__name__, "torch.linalg", "torch.linalg")
