"""The ndarray subclass behind ``Tensor.data``: writes to it mark the leaf as changed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, SupportsIndex

import numpy as np

if TYPE_CHECKING:
    from tinygrad_cnn.core.variable import Variable


class LeafArray(np.ndarray):
    """A view of a leaf's memory, or of part of it, that reports writes to the leaf.

    Item assignment, in-place operators, methods such as ``sort``, functions such as ``np.copyto``
    and any ``out=`` write to the leaf and mark it as changed. Code that NumPy does not dispatch
    (``np.asarray(p.data)[...] = v``, ``rng.shuffle``) finds read-only memory and raises. Results
    computed from it are plain arrays; a copy belongs to no leaf.
    """

    __slots__ = ("_leaf",)

    _leaf: Variable | None

    @classmethod
    def _of(cls, leaf: Variable) -> LeafArray:
        """Return a view of the whole memory of `leaf`."""
        view = leaf._array.view(cls)
        view.flags.writeable = False
        view._leaf = leaf
        return view

    def __array_finalize__(self, source: Any) -> None:
        """Let a view of a view belong to the same leaf, and a copy to none."""
        leaf = getattr(source, "_leaf", None)
        memory = self.view(np.ndarray)
        self._leaf = leaf if leaf is not None and np.may_share_memory(memory, leaf._array) else None

    def _writable(self) -> np.ndarray[Any, Any]:
        """Return writable memory and mark the leaf as changed."""
        memory = self.view(np.ndarray)
        if self._leaf is not None:
            memory.flags.writeable = True
            self._leaf._mark_changed()
        return memory

    def __setitem__(self, index: Any, value: Any) -> None:
        self._writable()[index] = value

    def __array_ufunc__(
        self, ufunc: np.ufunc, method: str, *inputs: Any, out: tuple[Any, ...] = (), **options: Any
    ) -> Any:
        """Compute with plain arrays; write to ``out`` as `__setitem__` does."""
        plain = [v.view(np.ndarray) if isinstance(v, LeafArray) else v for v in inputs]
        if method == "at" and isinstance(inputs[0], LeafArray):
            plain[0] = inputs[0]._writable()
        if not out:
            return getattr(ufunc, method)(*plain, **options)
        targets = tuple([v._writable() if isinstance(v, LeafArray) else v for v in out])
        result = getattr(ufunc, method)(*plain, out=targets, **options)
        return out[0] if len(out) == 1 else result

    def __array_function__(
        self, function: Any, types: Any, args: Iterable[Any], kwargs: Mapping[str, Any]
    ) -> Any:
        """Let NumPy's functions write to the arrays that they are meant to write to."""
        args = tuple(args)
        if function in WRITERS and args and isinstance(args[0], LeafArray):
            args = (args[0]._writable(), *args[1:])
        out = kwargs.get("out")
        if isinstance(out, LeafArray):
            super().__array_function__(function, types, args, {**kwargs, "out": out._writable()})
            return out
        return super().__array_function__(function, types, args, kwargs)

    def __reduce_ex__(self, protocol: SupportsIndex) -> str | tuple[Any, ...]:
        return np.array(self).__reduce_ex__(protocol)

    def __repr__(self) -> str:
        return repr(self.view(np.ndarray))


WRITERS = {np.copyto, np.put, np.place, np.putmask, np.fill_diagonal}
"""The functions that write to their first argument; others assign items or have an ``out``."""


def _writing(name: str) -> Callable[..., Any]:
    """Return the method `name` of ndarray, writing to the leaf."""

    def method(self: LeafArray, *args: Any, **kwargs: Any) -> Any:
        return getattr(self._writable(), name)(*args, **kwargs)

    method.__name__ = name
    method.__doc__ = f"Call `numpy.ndarray.{name}`, and mark the leaf as changed."
    return method


for _name in ("fill", "put", "sort", "partition", "setfield"):
    setattr(LeafArray, _name, _writing(_name))
