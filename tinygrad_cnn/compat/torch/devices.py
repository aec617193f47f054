"""The only device, the dtypes and the shapes, under PyTorch's names."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

DTYPES = {
    "bool": "?",
    "uint8": "u1",
    "int8": "i1",
    "int16": "i2",
    "short": "i2",
    "int32": "i4",
    "int": "i4",
    "int64": "i8",
    "long": "i8",
    "float16": "f2",
    "half": "f2",
    "float32": "f4",
    "float": "f4",
    "float64": "f8",
    "double": "f8",
    "complex64": "c8",
    "complex128": "c16",
}
"""PyTorch's names of dtypes, and NumPy's codes: ``torch.float32`` is ``numpy.dtype("f4")``."""


class Size(tuple[int, ...]):
    """A shape: a tuple of ints."""

    __slots__ = ()

    def numel(self) -> int:
        """Return the number of elements of a Tensor of this shape."""
        return math.prod(self)

    def __repr__(self) -> str:
        return f"torch.Size({list(self)})"


class device:  # noqa: N801  # PyTorch's name
    """Where Tensors are: always ``device("cpu")``.

    Raises
    ------
    RuntimeError
        If another device is asked for.
    """

    type = "cpu"
    index = None

    def __init__(self, type: Any = "cpu", index: int | None = None) -> None:
        if str(type).partition(":")[0] != "cpu":
            raise RuntimeError(
                f"torch.device: there is no device {str(type)!r} here, only 'cpu'; "
                'write torch.device("cuda" if torch.cuda.is_available() else "cpu")'
            )

    def __eq__(self, other: object) -> bool:
        return str(other) == "cpu"

    def __hash__(self) -> int:
        return hash("cpu")

    def __str__(self) -> str:
        return "cpu"

    def __repr__(self) -> str:
        return "device(type='cpu')"


def check_device(value: Any) -> None:
    """Raise RuntimeError if a ``device=`` is neither None nor the CPU."""
    if value is not None:
        device(value)


def target_of(*args: Any, **kwargs: Any) -> np.dtype[Any] | None:
    """Return the dtype among the arguments of ``to(...)``, after checking a device."""
    chosen = kwargs.get("dtype")
    check_device(kwargs.get("device"))
    for value in args:
        if isinstance(value, np.dtype | type):
            chosen = value
        elif hasattr(value, "dtype"):  # another Tensor
            chosen = value.dtype
        elif isinstance(value, str | device):
            check_device(value)
        elif value is not None and not isinstance(value, bool):  # non_blocking, copy
            raise TypeError(f"to: got {value!r}, expected a dtype, 'cpu' or a Tensor")
    return None if chosen is None else np.dtype(chosen)
