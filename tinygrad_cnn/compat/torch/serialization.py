"""``torch.save`` and ``torch.load``: safetensors and JSON in one file, never pickle."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from tinygrad_cnn.compat.torch.devices import check_device
from tinygrad_cnn.compat.torch.nn.module import Module
from tinygrad_cnn.compat.torch.tensor import wrapped
from tinygrad_cnn.core.variable import Variable, array_of
from tinygrad_cnn.train import state
from tinygrad_cnn.train.weight_files import conversion, is_pickle


def save(obj: Any, f: str | os.PathLike[str], **options: Any) -> None:
    """Write Tensors, numbers and texts, also in dicts and lists, to a file.

    A dict of Tensors, such as a model's ``state_dict()``, becomes a plain safetensors file.

    Raises
    ------
    TypeError
        If `f` is not a path, or `obj` is a module or holds something else.
    """
    if not isinstance(f, str | os.PathLike):
        raise TypeError(f"torch.save: f is {type(f).__name__}, expected a path")
    if isinstance(obj, Module):
        raise TypeError(
            f"torch.save: a {type(obj).__name__} cannot be saved; save its state_dict()"
        )
    flat = isinstance(obj, Mapping) and len(obj) > 0
    if flat and all(isinstance(k, str) and isinstance(v, Variable) for k, v in obj.items()):
        state.write_arrays(f, {name: array_of(tensor) for name, tensor in obj.items()})
    else:
        state.save(f, obj=obj)


def load(
    f: str | os.PathLike[str], map_location: Any = None, weights_only: bool = True, **options: Any
) -> Any:
    """Read what `save` has written, or any safetensors file; arrays become Tensors.

    Raises
    ------
    RuntimeError
        If the file is one of PyTorch's: it is a pickle, which could run code.
    """
    if not callable(map_location):
        check_device(map_location)
    if not isinstance(f, str | os.PathLike):
        raise TypeError(f"torch.load: f is {type(f).__name__}, expected a path")
    if os.path.isfile(f):
        name = os.fspath(f)
        with open(f, "rb") as file:
            beginning = file.read(9)
        if beginning.startswith(b"PK\x03\x04") or is_pickle(beginning, name):
            raise RuntimeError(f"torch.load: {name} was written by PyTorch; {conversion(name)}")
    found = state.load(f)
    return _tensors(found["obj"] if [*found] == ["obj"] else found)


def _tensors(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _tensors(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(map(_tensors, value))
    return wrapped(value)
