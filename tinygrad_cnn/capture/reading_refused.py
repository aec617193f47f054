"""Tensors whose values cannot be read during a capture."""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from functools import cache
from typing import Any, NoReturn

import numpy as np

from tinygrad_cnn.capture.program import CaptureError
from tinygrad_cnn.core.observer import is_functional
from tinygrad_cnn.core.recording import recording
from tinygrad_cnn.core.tensor import Tensor
from tinygrad_cnn.ops.arithmetic import astype
from tinygrad_cnn.support.frames import running_line

__all__ = ["traced"]

READERS = {
    "item": ".item()", "tolist": ".tolist()", "numpy": ".numpy()", "__bool__": "bool()",
    "__float__": "float()", "__int__": "int()", "__index__": "its use as an index",
    "__array__": "a function of NumPy", "__contains__": "in", "__format__": "a format",
}  # fmt: skip
"""The methods that read values, as messages name them."""


@cache
def traced(kind: type[Tensor]) -> type[Tensor]:
    """Return the class of Tensors whose values cannot be read during a capture.

    Afterwards, its Tensors are like those of `kind`: a model or a hook may have kept some.
    """
    if kind.__name__.startswith("Traced"):
        return kind
    returns_tensor = kind is not Tensor  # in `compat.torch`
    members: dict[str, Any] = {
        name: _refusing(getattr(kind, name), what)
        for name, what in READERS.items()
        if hasattr(kind, name)
    }
    members |= {
        "__slots__": (),
        "__repr__": _described(kind.__repr__),
        "__deepcopy__": lambda self, memo: astype(_plain(self), self._array.dtype),
        "__reduce_ex__": _refusing(lambda self, _: (copy, (_plain(self),)), "pickle"),
        "_read": lambda self, what: _refuse(what) if is_functional() else self._array,
        "data": _property(kind, "data", None if returns_tensor else ".data"),
        "detach": lambda self: self if is_functional() else kind.detach(self),
        # no leaf, so that in-place operators return a new Tensor
        "is_leaf": property(lambda self: not is_functional() and kind.is_leaf.fget(self)),  # type: ignore[attr-defined]
    }
    if not returns_tensor:
        members["__getattr__"] = _missing
    made: type[Tensor] = type(f"Traced{kind.__name__}", (kind,), members)
    made._tensor = made if kind._tensor is kind else traced(kind._tensor)  # type: ignore[arg-type]
    return made


def _refuse(what: str) -> NoReturn:
    raise CaptureError(
        f"{what} reads a value that depends on the input, so the calls that follow may differ "
        f"from input to input; compute it with ops, such as tg.where ({_place()})"
    )


def _refusing(method: Callable[..., Any], what: str) -> Callable[..., Any]:
    """Return a method that refuses to read values during a capture."""

    def reading(self: Tensor, *args: Any, **kwargs: Any) -> Any:
        return _refuse(what) if is_functional() else method(self, *args, **kwargs)

    return reading


def _property(kind: Any, name: str, what: str | None) -> property:
    """Return a property that refuses to be read during a capture, or is the Tensor itself."""
    own = getattr(kind, name)

    def read(self: Tensor) -> Any:
        if not is_functional():
            return own.fget(self)
        return self if what is None else _refuse(what)

    return property(read, own.fset)


def _described(method: Callable[..., str]) -> Callable[..., str]:
    """Return a method that shows no values during a capture."""

    def describe(self: Tensor) -> str:
        if not is_functional():
            return method(self)
        return f"Tensor(shape={tuple(self.shape)}, dtype={self._array.dtype}, captured)"

    return describe


def _missing(self: Tensor, name: str) -> NoReturn:
    """Raise: an index or a mask, an array in other runs, has no method of this name here."""
    if not name.startswith("_") and hasattr(np.ndarray, name) and is_functional():
        raise CaptureError(
            f".{name} of an array that depends on the input, which is a Tensor here, is not "
            f"supported; compute it with ops ({_place()})"
        )
    raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")


def _plain(self: Tensor) -> Tensor:
    """Return the Tensor as one of the class that it has outside of captures."""
    kind: Any = type(self).__bases__[0]
    plain: Tensor = kind._of(self._array, self.node, self._origin)
    plain.name, plain.requires_grad = self.name, self.requires_grad
    return plain


def _place() -> str:
    """Return the module and the line that are running, for a message."""
    scope = recording.get().scope
    return ", ".join(filter(None, [f"in module {scope}" if scope else "", running_line()]))
