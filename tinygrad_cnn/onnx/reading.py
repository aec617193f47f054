"""Reading an ONNX file: its bytes, and the inputs that it declares."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn.core.tensor import Tensor
from tinygrad_cnn.core.variable import Variable, array_of
from tinygrad_cnn.onnx.errors import OnnxError
from tinygrad_cnn.onnx.operator import short
from tinygrad_cnn.onnx.tensors import checked_shape, dtype_of
from tinygrad_cnn.support.modules import needs_extra

__all__ = ["InputInfo", "input_of", "read_model", "with_shapes"]

LARGEST = (1 << 31) - 1
"""The most bytes of a file without its data files: protobuf has no more."""


def read_model(source: Any) -> tuple[Any, Path | None, str]:
    """Return the ModelProto of a path, bytes or a ModelProto; its folder, and its name.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    OnnxError
        If it holds no model.
    """
    with needs_extra("onnx", "onnx.load"):
        import onnx
    if isinstance(source, onnx.ModelProto):
        return source, None, "the model"
    if isinstance(source, bytes | bytearray | memoryview):
        contents, folder, name = bytes(source), None, "the bytes"
    elif isinstance(source, str | os.PathLike):
        path = Path(source)
        contents, folder, name = _contents(path), path.parent, path.name
    else:
        raise TypeError(f"load: got {type(source).__name__}, expected a path, bytes or ModelProto")
    try:
        model = onnx.ModelProto.FromString(contents)
    except Exception:  # protobuf's DecodeError, and others
        model = onnx.ModelProto()
    if not model.HasField("graph"):
        raise OnnxError(f"load: {name}: this is not an ONNX file, or a damaged one")
    return model, folder, name


def _contents(path: Path) -> bytes:
    try:
        status = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        raise FileNotFoundError(f"load: {path}: there is no such file") from None
    except (OSError, ValueError) as error:  # such as too long a name
        reason = getattr(error, "strerror", None) or error
        raise OnnxError(f"load: {short(str(path))}: cannot be read: {reason}") from None
    if not stat.S_ISREG(status.st_mode):
        raise OnnxError(f"load: {path}: this is not a regular file")
    if status.st_size > LARGEST:
        raise OnnxError(f"load: {path}: the file has {status.st_size:,} bytes, expected at most "
                        f"{LARGEST:,}; larger weights lie in a file of their own")  # fmt: skip
    return path.read_bytes()


@dataclass(slots=True)
class InputInfo:
    """An input of a model.

    Attributes
    ----------
    name : str
    dtype : dtype
    shape : tuple of int, str or None, or None
        A name stands for a size that calls choose, alike wherever it stands; None for any size,
        or, as the whole shape, for any shape.
    """

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int | str | None, ...] | None

    def __str__(self) -> str:
        if self.shape is None:
            return f"{self.dtype} of any shape"
        sizes = ["?" if size is None else str(size) for size in self.shape]
        return f"{self.dtype} ({', '.join(sizes)}{',' if len(sizes) == 1 else ''})"

    def value(self, given: Any, sizes: dict[str, int]) -> Any:
        """Return the value for an argument: a Tensor of floats, or an array.

        Raises
        ------
        OnnxError
            If dtype or shape do not fit; `sizes` are those of the names so far.
        """
        array = array_of(given)
        if not isinstance(array, np.ndarray):
            array = np.array(array, self.dtype if self.dtype.kind == "f" else None)
        wanted, came = self.dtype.kind, array.dtype.kind
        known = {name: size for name, size in sizes.items() if name in (self.shape or ())}
        fits = came in {"f": "f", "O": "OUST"}.get(wanted, wanted if wanted == "b" else "iu")
        if not fits or not self._takes(array.shape, sizes):
            said = f", with {', '.join(f'{n} = {s}' for n, s in known.items())}" if known else ""
            raise OnnxError(
                f"input {self.name!r} is {array.dtype} {array.shape}, expected {self}{said}"
            )
        if wanted in "iu":
            self._check_range(array)
        if wanted == "f":
            if isinstance(given, Variable):
                return given
            return Tensor(array.astype(np.float32) if array.dtype.char == "e" else array)
        return array if wanted == "O" else array.astype(self.dtype, copy=False)

    def _check_range(self, array: NDArray[Any]) -> None:
        """Raise OnnxError if the dtype lacks one of the integers."""
        limits = np.iinfo(self.dtype)
        if np.can_cast(array.dtype, self.dtype) or not array.size:
            return
        low, high = int(array.min()), int(array.max())
        if low < limits.min or high > limits.max:
            raise OnnxError(f"input {self.name!r} has values from {low} to {high}, expected "
                            f"{self.dtype}: from {limits.min} to {limits.max}")  # fmt: skip

    def _takes(self, shape: tuple[int, ...], sizes: dict[str, int]) -> bool:
        if self.shape is None:
            return True
        if len(shape) != len(self.shape):
            return False
        for came, wanted in zip(shape, self.shape, strict=True):
            if isinstance(wanted, str):
                wanted = sizes.setdefault(wanted, came)
            if wanted is not None and came != wanted:
                return False
        return True


def input_of(info: Any) -> InputInfo:
    """Return what a ValueInfoProto declares.

    Raises
    ------
    OnnxError
        If it is not a tensor.
    """
    kind = info.type.WhichOneof("value")
    where = f"input {info.name!r}"
    if kind != "tensor_type":
        raise OnnxError(f"{where} is {kind or 'of no type'}, expected a tensor")
    declared = info.type.tensor_type
    dtype = dtype_of(declared.elem_type, where)
    if not declared.HasField("shape"):
        return InputInfo(info.name, dtype, None)
    shape: list[int | str | None] = []
    for dim in declared.shape.dim:
        if dim.HasField("dim_value") and dim.dim_value >= 0:
            shape.append(dim.dim_value)
        else:
            named = dim.dim_param.replace("_", "").replace(".", "").isalnum()
            shape.append(dim.dim_param if named else None)
    checked_shape([size if isinstance(size, int) else 1 for size in shape], where)
    return InputInfo(info.name, dtype, tuple(shape))


def with_shapes(inputs: list[InputInfo], shapes: Mapping[str, Sequence[int | None]]) -> None:
    """Set the sizes of inputs that a caller chose.

    Raises
    ------
    OnnxError
        If there is no such input, or the file declares another size.
    """
    by_name = {each.name: each for each in inputs}
    sizes: dict[str, int] = {}
    for name, given in shapes.items():
        if name not in by_name:
            raise OnnxError(f"input_shapes: there is no input {name!r}, expected "
                            f"{', '.join(map(repr, by_name))}")  # fmt: skip
        found = by_name[name]
        wanted = tuple(given) if isinstance(given, Sequence) else (given,)
        declared = (None,) * len(wanted) if found.shape is None else found.shape
        if len(declared) != len(wanted) or not all(map(_agree, declared, wanted)):
            raise OnnxError(f"input_shapes: {name!r} is {given!r}, expected {found}")
        found.shape = tuple(
            a if b is None else int(b) for a, b in zip(declared, wanted, strict=True)
        )
        for a, b in zip(declared, wanted, strict=True):
            if isinstance(a, str) and b is not None and sizes.setdefault(a, b) != b:
                raise OnnxError(f"input_shapes: {a} is both {sizes[a]} and {b}")
    for each in inputs:
        if each.shape is not None:
            each.shape = tuple(
                sizes.get(size, size) if isinstance(size, str) else size for size in each.shape
            )


def _agree(declared: int | str | None, wanted: Any) -> bool:
    """Return whether a size that a caller chose is one that the file allows."""
    if wanted is None:
        return True
    if not isinstance(wanted, int | np.integer) or isinstance(wanted, bool) or wanted < 0:
        return False
    return not isinstance(declared, int) or declared == wanted


def of_zeros(each: InputInfo) -> NDArray[Any] | None:
    """Return an array of zeros of an input's shape; None if that is not known."""
    shape = each.shape
    if shape is None or not all(isinstance(size, int) for size in shape):
        return None
    return np.broadcast_to(np.zeros((), each.dtype), shape)  # type: ignore[arg-type]  # all int
