"""The only device, the dtypes and the shapes, under PyTorch's names."""

from __future__ import annotations

import math
from typing import Any, Self

import numpy as np


class dtype:  # PyTorch's name
    """A dtype that prints as PyTorch's, and is otherwise NumPy's: ``torch.float32``."""

    __slots__ = ("dtype",)

    dtype: np.dtype[Any]

    def __new__(cls, of: Any) -> Self:
        """Return the only object for a dtype of NumPy."""
        key = numpy_dtype(of)
        if key not in KINDS:
            KINDS[key] = object.__new__(cls)
            KINDS[key].dtype = key
        made: Self = KINDS[key]
        return made

    @property
    def is_floating_point(self) -> bool:
        """Whether it holds floats."""
        return bool(self.dtype.kind == "f")

    @property
    def is_complex(self) -> bool:
        """Whether it holds complex numbers."""
        return bool(self.dtype.kind == "c")

    def __getattr__(self, name: str) -> Any:
        return getattr(self.dtype, name)

    def __reduce__(self) -> Any:
        return dtype, (self.dtype,)

    def __eq__(self, other: object) -> bool:
        return bool(self.dtype == (other.dtype if isinstance(other, dtype) else other))

    def __hash__(self) -> int:
        return hash(self.dtype)

    def __repr__(self) -> str:
        return f"torch.{self.dtype}"


KINDS: dict[np.dtype[Any], Any] = {}
"""The dtypes by NumPy's."""


def numpy_dtype(value: Any) -> np.dtype[Any]:
    """Return NumPy's dtype of one of either kind."""
    return np.dtype(value.dtype if isinstance(value, dtype) else value)


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
"""PyTorch's names of dtypes, and NumPy's codes: ``torch.float32`` stands for "f4"."""


class Size(tuple[int, ...]):
    """A shape: a tuple of ints."""

    __slots__ = ()

    def numel(self) -> int:
        """Return the number of elements of a Tensor of this shape."""
        return math.prod(self)

    def __repr__(self) -> str:
        return f"torch.Size({list(self)})"


LEGACY = {"Float": "f4", "Double": "f8", "Half": "f2", "Long": "i8", "Int": "i4", "Short": "i2",
          "Byte": "u1", "Bool": "?"}  # fmt: skip


def legacy(tensor: Any, zeros: Any) -> dict[str, Any]:
    """Return the older constructors: ``FloatTensor([1, 2])`` or, for a shape, ``(2, 3)``."""

    def made(name: str, code: str) -> Any:
        def constructor(*data: Any) -> Any:
            if len(data) == 1 and not isinstance(data[0], int):
                return tensor(data[0], dtype=code)
            return zeros(*data, dtype=code)

        constructor.__name__ = constructor.__qualname__ = f"{name}Tensor"
        constructor.__doc__ = f"Return a Tensor of {np.dtype(code)}."
        vars(constructor)["dtype"] = dtype(code)
        return constructor

    return {f"{name}Tensor": made(name, code) for name, code in LEGACY.items()}


class device:  # PyTorch's name
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
        if isinstance(value, np.dtype | type | dtype):
            chosen = value
        elif hasattr(value, "dtype"):  # another Tensor
            chosen = value.dtype
        elif isinstance(value, str | device):
            check_device(value)
        elif value is not None and not isinstance(value, bool):  # non_blocking, copy
            raise TypeError(f"to: got {value!r}, expected a dtype, 'cpu' or a Tensor")
    return None if chosen is None else numpy_dtype(chosen)
