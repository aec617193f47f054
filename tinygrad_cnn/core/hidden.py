"""Arrays and numbers of a captured run that ops may use and the program may not read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tinygrad_cnn.core.step_observer import reads, step_observers
from tinygrad_cnn.support.nested import mapped, parts

__all__ = ["HiddenArray", "HiddenNumber", "hide", "holds_hidden", "plain"]


class HiddenArray(np.ndarray):
    """An array whose shape and dtype can be read, and whose values only ops read.

    During a capture, whatever else reads or changes them is reported to the step's observer
    (`reads`), which refuses it. Afterwards it is an array like others.
    """

    __slots__ = ()

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
        """Compute with plain arrays, unless an observer refuses; leave Tensors to their ops."""
        if any(hasattr(x, "__array_ufunc__") and not isinstance(x, np.ndarray) for x in inputs):
            return NotImplemented
        reads(self, f"np.{ufunc.__name__}")
        return getattr(ufunc, method)(*plain(inputs), **plain(options))

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        """Compute with plain arrays, unless an observer refuses; shapes can be read."""
        if function not in OF_SHAPES:
            reads(self, f"np.{function.__name__}")
        return function(*plain(args), **plain(kwargs))

    def __repr__(self) -> str:
        return f"array(shape={self.shape}, dtype={self.dtype})"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return repr(self)


OF_SHAPES = {
    np.shape, np.ndim, np.size, np.result_type, np.can_cast, np.iscomplexobj, np.isrealobj,
    np.zeros_like, np.ones_like, np.empty_like,
}  # fmt: skip
"""The functions that read no values."""

UNREAD = {
    "base", "device", "dtype", "flags", "itemsize", "nbytes", "ndim", "shape", "size", "strides",
}  # fmt: skip
"""The attributes of arrays that do not depend on values."""


def _method(name: str) -> Callable[..., Any]:
    """Return the method `name` of ndarray, which reports that it reads values."""

    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        reads(self, SHOWN.get(name, f".{name}()"))
        return getattr(plain(self), name)(*plain(args), **plain(kwargs))

    method.__name__ = name
    return method


def _layout(name: str) -> Callable[..., Any]:
    """Return the method `name` of ndarray, which selects, moves or converts values.

    An observer may take the call, and hide its result.
    """
    function = getattr(np.ndarray, name)

    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        result = function(plain(self), *plain(args), **plain(kwargs))
        if type(result) is not np.ndarray:
            reads(self, SHOWN.get(name, f".{name}()"))
        for observer in step_observers():
            result = observer.computed(function, (self, *args), kwargs, result)
        return result

    method.__name__ = name
    return method


def _property(name: str) -> property:
    """Return the property `name` of ndarray, which reports that it reads values."""

    def get(self: Any) -> Any:
        reads(self, f".{name}")
        return getattr(plain(self), name)

    return property(get)


SHOWN = {
    "__getitem__": "an index", "__setitem__": "item assignment", "__bool__": "bool()",
    "__float__": "float()", "__int__": "int()", "__index__": "its use as an index",
    "__contains__": "in", "__iter__": "iteration",
}  # fmt: skip
"""The methods that read values, as messages name them."""

LAYOUTS = (
    "__getitem__", "astype", "copy", "ravel", "reshape", "squeeze", "swapaxes", "transpose",
)  # fmt: skip
"""The methods that a replay can call again."""

PROTOCOLS = (
    "__array__", "__array_interface__", "__array_struct__", "__buffer__", "__complex__", "__copy__",
    "__deepcopy__", "__dlpack__", "__reduce__", "__reduce_ex__",
)  # fmt: skip

for _name in dir(np.ndarray):  # operators are ufuncs
    _is_reader = not _name.startswith("_") or _name in SHOWN or _name in PROTOCOLS
    if _is_reader and _name not in UNREAD:
        _made: Any = _method if callable(getattr(np.ndarray, _name)) else _property
        setattr(HiddenArray, _name, (_layout if _name in LAYOUTS else _made)(_name))
HiddenArray.T = property(lambda self: self.transpose())  # type: ignore[method-assign, assignment]


class HiddenNumber(float):
    """A number that a captured run may return, but not compute with."""

    __slots__ = ()


def _of_number(name: str) -> Callable[..., Any]:
    """Return the method `name` of float, which reports that it reads the value."""

    def method(self: HiddenNumber, *args: Any) -> Any:
        reads(self, SHOWN.get(name, name.strip("_")))
        return getattr(float(float.__pos__(self)), name)(*args)

    method.__name__ = name
    return method


OPERATIONS = (
    "abs", "add", "bool", "divmod", "eq", "float", "floordiv", "format", "ge", "gt", "int", "le",
    "lt", "mod", "mul", "ne", "neg", "pow", "radd", "rdivmod", "repr", "rfloordiv", "rmod", "rmul",
    "round", "rpow", "rsub", "rtruediv", "str", "sub", "truediv", "trunc",
)  # fmt: skip

for _name in OPERATIONS:
    setattr(HiddenNumber, f"__{_name}__", _of_number(f"__{_name}__"))
HiddenNumber.__hash__ = None  # type: ignore[assignment]  # its value cannot be read


def hide(array: np.ndarray[Any, Any]) -> HiddenArray:
    """Return a view of `array` that hides its values."""
    return array.view(HiddenArray)


def holds_hidden(value: Any) -> bool:
    """Return whether `value` is a hidden array, or contains one."""
    return next(parts(value, HiddenArray), None) is not None


def plain(value: Any) -> Any:
    """Return `value` with hidden arrays as plain views, at any depth of lists, tuples and dicts."""
    return mapped(value, _plain)


def _plain(value: Any) -> Any:
    if type(value) is HiddenArray:
        return np.ndarray.view(value, np.ndarray)
    return float.__pos__(value) if type(value) is HiddenNumber else value
