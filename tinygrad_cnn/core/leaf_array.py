"""The ndarray subclass behind ``Tensor.data``: writes to it mark the leaf as changed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, SupportsIndex

import numpy as np

if TYPE_CHECKING:
    from tinygrad_cnn.core.variable import Variable


class LeafArray(np.ndarray):
    """A view of a leaf's memory, or of part of it, that reports writes to the leaf.

    Item assignment, in-place operators, ``fill`` and ufuncs with ``out=`` write to the leaf and
    mark it as changed. Other functions, such as ``np.copyto``, see read-only memory. Results
    computed from it are plain arrays; a copy belongs to no leaf.
    """

    __slots__ = ("_leaf",)

    _leaf: Variable | None

    @classmethod
    def of(cls, leaf: Variable) -> LeafArray:
        """Return a view of the whole memory of `leaf`."""
        view = leaf.array.view(cls)
        view.flags.writeable = False
        view._leaf = leaf
        return view

    def __array_finalize__(self, source: Any) -> None:
        """Let a view of a view belong to the same leaf, and a copy to none."""
        leaf = getattr(source, "_leaf", None)
        self._leaf = leaf if leaf is not None and np.may_share_memory(self, leaf.array) else None

    def _writable(self) -> np.ndarray[Any, Any]:
        """Return writable memory and mark the leaf as changed."""
        memory = self.view(np.ndarray)
        if self._leaf is not None:
            memory.flags.writeable = True
            self._leaf.mark_changed()
        return memory

    def __setitem__(self, index: Any, value: Any) -> None:
        self._writable()[index] = value

    def fill(self, value: Any) -> None:
        """Set every element to `value`."""
        self._writable().fill(value)

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

    def __reduce_ex__(self, protocol: SupportsIndex) -> str | tuple[Any, ...]:
        return np.array(self).__reduce_ex__(protocol)

    def __repr__(self) -> str:
        return repr(self.view(np.ndarray))
