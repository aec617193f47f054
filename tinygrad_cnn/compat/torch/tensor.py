"""`Tensor` with PyTorch's attributes and methods, and what changes it in place.

The methods that are only other names or other arguments are made from the table (`table`); those
written here need the inside of a Tensor.

In place, there are two cases. Without a gradient, the values are written to the memory, and the
leaf that owns it is marked, so that a graph that saved the old values notices. With a gradient, the
object becomes the result: it takes the array and the node of the result, and the graph so far keeps
the old ones.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from weakref import ref

import numpy as np
from numpy.typing import DTypeLike, NDArray

from tinygrad_cnn import ops
from tinygrad_cnn.compat.torch import names
from tinygrad_cnn.compat.torch.devices import Size, check_device, device, dtype
from tinygrad_cnn.core import tensor as core
from tinygrad_cnn.core.dtypes import float_dtype
from tinygrad_cnn.core.hooks import HookHandle
from tinygrad_cnn.core.leaf_array import LeafArray
from tinygrad_cnn.core.observer import is_functional, observed_class
from tinygrad_cnn.core.recording import recording
from tinygrad_cnn.core.step_observer import reads
from tinygrad_cnn.core.variable import Variable, array_of, clear_gradient
from tinygrad_cnn.engine.arrays import read_only
from tinygrad_cnn.ops.indexing import plain_index


class Tensor(core.Tensor):
    """A `tinygrad_cnn.Tensor` with PyTorch's methods.

    ``Tensor(2, 3)`` has this shape, ``Tensor([1, 2])`` these values as floats. Other ways to make
    one: ``torch.tensor``, ``torch.zeros`` and so on.

    Examples
    --------
    >>> import tinygrad_cnn.compat.torch as torch
    >>> x = torch.ones(2, 3, requires_grad=True)
    >>> x.view(-1).sum(dim=0).backward()
    >>> x.grad.size()
    torch.Size([2, 3])
    """

    _base: Callable[[], Tensor | None] | None = None  # returns what this is a view of, while alive
    _same_view: Callable[[Tensor], Tensor]  # returns the same view of another Tensor
    _fixed = False  # whether writing would be lost

    def __init__(
        self,
        *data: Any,
        requires_grad: bool = False,
        dtype: DTypeLike | None = None,
        name: str | None = None,
        device: Any = None,
    ) -> None:
        check_device(device)
        if len(data) == 1 and not isinstance(data[0], int | Size):
            values = data[0]
        else:
            shape = data[0] if len(data) == 1 and isinstance(data[0], Size) else data
            values = np.zeros(shape if data else 0, float_dtype.get())
        super().__init__(values, requires_grad, dtype, name)

    # --- memory ----------------------------------------------------------------------------------

    @property
    def _owner(self) -> Variable | None:
        if self._origin is not None:
            return self._origin
        return self if self.node is None else None

    def _mark_changed(self) -> None:
        super()._mark_changed()
        if self._origin is not None:
            self._origin._mark_changed()

    def __getstate__(self) -> tuple[Any, dict[str, Any]]:
        attributes, slots = super().__getstate__()
        kept = {
            name: v
            for name, v in (attributes or {}).items()
            if name not in ("_base", "_fixed", "_same_view")
        }
        return kept, slots

    @property
    def is_leaf(self) -> bool:
        """Whether no recorded op computed it."""
        return self.node is None

    @property
    def grad(self) -> Any:
        """The gradient: a Tensor of the same memory, or None."""
        found: Any = self._grad
        if found is None or isinstance(found, Tensor):
            return found
        return Tensor._of(array_of(found), getattr(found, "node", None))

    @grad.setter
    def grad(self, value: Any) -> None:
        if value is None:
            clear_gradient(self)
            return
        reads(self, "assignment to .grad")
        kept = value if getattr(value, "node", None) is not None else array_of(value)
        self._grad = kept

    @property
    def data(self) -> Any:
        """A Tensor of the same memory without a graph. Assigning replaces the values."""
        view = self.detach()
        view._fixed = self._owner is None
        return view

    @data.setter
    def data(self, value: Any) -> None:
        array = np.asarray(array_of(value))
        shared = isinstance(value, Variable) and value.node is None and array.flags.writeable
        self._array = array if shared else array.copy()
        self._origin = value._owner if shared and value._owner is not self else None
        self._mark_changed()

    def detach(self) -> Tensor:
        """Return a Tensor of the same values without a graph, which shares a leaf's memory.

        That of a computed Tensor is copied when the result is changed in place.
        """
        if self._owner is None:
            return Tensor._of(read_only(self._array))
        return Tensor._of(self._array, None, self._owner)

    def detach_(self) -> Tensor:
        """Forget the graph that computed this Tensor."""
        if self.node is not None:
            self._array = self._array.copy()
        self.node, self.requires_grad = None, False
        return self

    def numpy(self) -> NDArray[Any]:
        """Return the array; writing to it changes a leaf.

        Raises
        ------
        RuntimeError
            If this Tensor requires a gradient.
        """
        if self.requires_grad:
            raise RuntimeError("numpy: this Tensor requires a gradient; use detach().numpy()")
        owner = self._owner
        if owner is None or not self._array.flags.writeable:
            return self._array.copy()
        view = self._array.view(LeafArray)
        view.flags.writeable = False
        view._leaf = owner
        return view

    def register_hook(self, hook: Callable[[Any], Any]) -> HookHandle:
        """Call ``hook(gradient)`` in a sweep; what it returns replaces the gradient."""
        return super().register_hook(lambda gradient: hook(wrapped(gradient)))

    def requires_grad_(self, requires_grad: bool = True) -> Tensor:
        """Set `requires_grad` of this leaf, and return the leaf."""
        super().requires_grad_(requires_grad)
        return self

    # --- in place --------------------------------------------------------------------------------

    def _before_change(self, name: str) -> Tensor:
        """Return this Tensor as another object, from which to compute what it becomes.

        Raises
        ------
        RuntimeError
            If this is a leaf whose gradient is recorded.
        """
        if self.requires_grad and self.node is None and recording.get().on:
            raise RuntimeError(
                f"{name}: this leaf requires a gradient; change it under torch.no_grad(), or "
                "through its data, as in p.data.add_(...)"
            )
        before = Tensor._of(self._array, self.node, self._origin)
        before.requires_grad = self.requires_grad
        return before

    def _become(self, name: str, result: Any) -> Tensor:
        """Take the value of `result`, and its graph if it has one."""
        array = array_of(result)
        if np.shape(array) != self._array.shape:
            raise RuntimeError(
                f"{name}: the result has shape {np.shape(array)}, expected {self._array.shape}, "
                "that of the Tensor to change"
            )
        if not np.can_cast(array.dtype, self.dtype, "same_kind"):
            raise RuntimeError(
                f"{name}: the result is {array.dtype}, which this {self.dtype} Tensor cannot hold"
            )
        if is_functional():
            result = result if isinstance(result, Variable) else Tensor._of(np.array(array))
        elif getattr(result, "node", None) is None:
            if self.node is None or not recording.get().on:
                return self._write(name, ..., array)
            given = np.asarray(array, self._array.dtype)
            result = ops.index_put(self._before_change(name), ..., given)  # cuts old gradients off
        base = self._living_base()
        if base is not None:
            base[self._places_in(base)] = result
        result = result if result.dtype == self.dtype else ops.astype(result, self.dtype)
        self._array, self.node = result._array, result.node
        self.requires_grad = result.requires_grad
        self._origin, self._base = result._origin, None
        if is_functional():
            self.__class__ = observed_class(type(self), self._array)
        return self

    def _view_of(self, base: Tensor, same_view: Callable[[Tensor], Tensor]) -> None:
        """Remember the base, and keep it alive where only this Tensor leads to its memory."""
        between = base._living_base() is not None or base._fixed or self._array.ndim == 0
        self._base, self._same_view = (lambda: base) if between else ref(base), same_view

    def _places_in(self, base: Tensor) -> Any:
        """Return the index of the entries of this view in its base."""
        shape = base._array.shape
        numbers = Tensor._of(np.arange(base._array.size).reshape(shape))
        return np.unravel_index(self._same_view(numbers)._array, shape)

    def _living_base(self) -> Tensor | None:
        """Return the Tensor that this is a view of, if it is still alive."""
        return None if self._base is None else self._base()

    def _write(self, name: str, index: Any, value: Any) -> Tensor:
        """Write values to the memory, and mark the leaf that owns it."""
        fixed, base = self._fixed, self._living_base()
        above = base
        while above is not None and not fixed:
            fixed, above = above._owner is None, above._living_base()
        if fixed:
            raise RuntimeError(
                f"{name}: this is the data of a computed Tensor, which its graph needs; change a "
                "clone() of it"
            )
        if self._owner is None or not self._array.flags.writeable:
            self._array, self._origin = self._array.copy(), None  # the graph keeps the old one
        self._array[index] = value
        self._mark_changed()
        if base is not None and not np.may_share_memory(base._array, self._array):
            base._write(name, self._places_in(base), self._array)  # a single entry is a copy
        return self

    def __getitem__(self, index: Any) -> Tensor:
        part: Any = super().__getitem__(index)
        if _is_plain(index):
            part._view_of(self, lambda other: other[index])
        return part  # type: ignore[no-any-return]

    def __setitem__(self, index: Any, value: Any) -> None:
        before, index = self._before_change("setitem"), plain_index(index)
        requires = before.requires_grad or getattr(value, "requires_grad", False)
        if not (recording.get().on and requires) and not is_functional():
            self._write("setitem", index, np.asarray(array_of(value)))
            return
        given: Any = value if isinstance(value, Variable) else np.asarray(value, self._array.dtype)
        self._become("setitem", ops.index_put(before, index, given))

    # --- shape and kind --------------------------------------------------------------------------

    @property
    def shape(self) -> Size:
        """The shape."""
        return Size(self._array.shape)

    @property
    def dtype(self) -> Any:
        """The dtype; ``torch.float32`` and so on."""
        return dtype(self._array.dtype)

    def size(self, dim: int | None = None) -> Any:  # type: ignore[override]  # a method there
        """Return the shape, or its entry `dim`."""
        return self.shape if dim is None else self._array.shape[dim]

    @property
    def device(self) -> device:
        """``torch.device("cpu")``."""
        return device()

    @property
    def is_cuda(self) -> bool:
        """False."""
        return False

    @property
    def mT(self) -> Tensor:  # PyTorch's name
        """The last two axes exchanged."""
        return wrapped(ops.swapaxes(self, -1, -2))  # type: ignore[no-any-return]

    @property
    def grad_fn(self) -> Any:
        """The `Node` of the call that computed it; None for a leaf."""
        return self.node

    def tolist(self) -> Any:
        """Return the values as Python numbers, in nested lists."""
        return self._array.tolist()

    def __repr__(self) -> str:
        values = np.array2string(self._array, separator=", ", prefix="tensor(")
        plain = (float_dtype.get(), np.dtype("i8"), np.dtype("?"))
        extras = [] if self.dtype in plain else [f"dtype={self.dtype}"]
        if self.node is not None:
            extras.append(f"grad_fn=<{self.node.op.name}>")
        elif self.requires_grad:
            extras.append("requires_grad=True")
        return f"tensor({', '.join([values, *extras])})"

    if not TYPE_CHECKING:

        def __array__(self, dtype=None, copy=None):
            return np.array(read_only(self._array), dtype=dtype, copy=copy)

        def __getattr__(self, name):
            if name.startswith("__"):
                raise AttributeError(name)
            raise names.MissingNameError("Tensor", name, lambda: dir(Tensor), "torch.Tensor")

    def __index__(self) -> int:
        return int(self._array.item()).__index__()


def _is_plain(index: Any) -> bool:
    """Return whether NumPy returns a view for this index."""
    parts = index if isinstance(index, tuple) else (index,)
    kinds = int | np.integer | slice | type(None) | type(...)
    return all(isinstance(part, kinds) and not isinstance(part, bool) for part in parts)


Tensor._tensor = Tensor


class Parameter(Tensor, core.Parameter):
    """A Tensor that a module learns.

    It shares the memory of a Tensor that it is made from.
    """

    def __init__(
        self, data: Any = None, requires_grad: bool = True, name: str | None = None
    ) -> None:
        if isinstance(data, Variable) and data.node is None and data._array.flags.writeable:
            super().__init__(np.zeros(0, data.dtype), requires_grad=requires_grad, name=name)
            self._array = data._array
        else:
            values = np.zeros(0, float_dtype.get()) if data is None else data
            super().__init__(values, requires_grad=requires_grad, name=name)


def wrapped(value: Any) -> Any:
    """Return arrays and Tensors, also those in a list or tuple, as this package's Tensors."""
    if isinstance(value, Tensor):
        return value
    if isinstance(value, core.Tensor):
        kind = observed_class(Tensor, value._array)
        own = kind._of(value._array, value.node, value._origin)
        own.requires_grad, own._unrecorded = value.requires_grad, value._unrecorded
        return own
    if isinstance(value, np.ndarray | np.generic):
        array = np.asarray(value)
        return observed_class(Tensor, array)._of(array)
    if type(value) in (list, tuple):
        return type(value)(map(wrapped, value))
    return value


def values_of(value: Any) -> Any:
    """Return the array of a Tensor, to read its values; any other value unchanged."""
    if not isinstance(value, Variable):
        return value
    return value._read(f"torch.{sys._getframe(1).f_code.co_name}")


def in_place(function: Callable[..., Any], name: str = "") -> Callable[..., Tensor]:
    """Return the method that gives a Tensor the value of `function` of it."""
    name = name or f"{function.__name__}_"

    @functools.wraps(function)
    def method(self: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        return self._become(name, function(self._before_change(name), *args, **kwargs))

    method.__name__, method.__qualname__ = name, f"Tensor.{name}"
    method.__doc__ = f"Change this Tensor in place to `{function.__name__}` of it; return it."
    return method
