"""The arrays of safetensors files of any program, and the messages about other files."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn.train.errors import RunError

__all__ = ["DTYPES", "conversion", "decoded", "is_pickle", "other_kind"]

DTYPES = {
    "uint64": "U64", "int64": "I64", "float64": "F64", "float32": "F32", "uint32": "U32",
    "int32": "I32", "float16": "F16", "uint16": "U16", "int16": "I16", "int8": "I8", "uint8": "U8",
    "bool": "BOOL",
}  # fmt: skip
"""The types of arrays, as safetensors calls them, in its order: each array is aligned."""
_PLAIN = {kind: np.dtype(name).newbyteorder("<") for name, kind in DTYPES.items()}
_PLAIN["C64"] = np.dtype("<c8")  # read, but never written
PICKLES = {".pt", ".pth", ".bin", ".ckpt", ".pkl", ".pickle"}
"""Endings of files that PyTorch users write with torch.save."""


def _bfloat16(data: bytes) -> NDArray[Any]:
    """Return bfloat16, which is the first half of a float32, as float32: without loss."""
    return (np.frombuffer(data, "<u2").astype(np.uint32) << 16).view(np.float32)


def decoded(contents: bytes, name: str) -> dict[str, NDArray[Any]]:
    """Return the arrays of a safetensors file, bfloat16 as float32, with a warning.

    Raises SafetensorError for invalid contents, and RunError for 8-bit floats and other types
    that NumPy does not have.
    """
    from safetensors import deserialize

    arrays: dict[str, NDArray[Any]] = {}
    halves = 0
    for key, entry in deserialize(contents):  # type: ignore[no-untyped-call]
        kind, data = entry["dtype"], entry["data"]
        if kind in _PLAIN:
            flat = np.frombuffer(data, _PLAIN[kind])
        elif kind == "BF16":
            flat = _bfloat16(data)
            halves += 1
        else:
            raise RunError(
                f"{name}: {key} is of type {kind}, expected {', '.join((*_PLAIN, 'BF16'))}; "
                "convert it with PyTorch: tensor.float()"
            )
        arrays[key] = flat.reshape(entry["shape"])
    if halves:
        warnings.warn(
            f"{name}: {halves} of {len(arrays)} arrays are bfloat16, which NumPy does not have; "
            "read as float32, without loss",
            stacklevel=5,
        )
    return arrays


def other_kind(contents: bytes, name: str) -> str:
    """Return the message about a file that is not safetensors, or "" if the kind is unknown."""
    if is_pickle(contents, name):
        return (
            f"{name}: is a pickle, as torch.save writes it. Reading a pickle can run any code, so "
            f"that none is read; {conversion(name)}"
        )
    if contents.startswith(b"PK\x03\x04") and b".npy" in contents:
        return f"{name}: is a file of numpy.savez: read it by dict(numpy.load({name!r}))"
    if contents.startswith(b"\x89HDF\r\n"):
        return f"{name}: is an HDF5 file, expected a safetensors file"
    return ""


def is_pickle(contents: bytes, name: str) -> bool:
    """Return whether a file is a pickle: by its bytes, whatever it is called, or by its ending."""
    if _has_header(contents):
        return False
    if contents.startswith(b"PK\x03\x04"):  # the ZIP file of torch.save
        return b"data.pkl" in contents
    binary = contents[:1] == b"\x80" and contents[1:2] <= b"\x05"  # protocols up to 5
    return binary or Path(name).suffix.lower() in PICKLES


def _has_header(contents: bytes) -> bool:
    """Return whether the bytes begin as those of a safetensors file: a size, and JSON."""
    return contents[6:9] == b"\0\0{"


def conversion(name: str) -> str:
    """Return the lines that convert a file of torch.save."""
    new = Path(name).with_suffix(".safetensors").name
    return f"""\
convert it once where PyTorch is installed:
    import torch, safetensors.torch
    weights = torch.load({Path(name).name!r}, map_location="cpu", weights_only=True)
    safetensors.torch.save_file({{k: v.clone().contiguous() for k, v in weights.items()}}, {new!r})
A checkpoint has its weights under a key, such as weights["state_dict"] or weights["model"]."""
