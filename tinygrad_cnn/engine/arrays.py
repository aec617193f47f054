"""Types of arrays and shapes."""

from __future__ import annotations

from typing import Any, TypeAlias

from numpy.typing import NDArray

Array: TypeAlias = NDArray[Any]  # that of ops, `core.variable.Array`, may also be a Tensor
Shape: TypeAlias = tuple[int, ...]
