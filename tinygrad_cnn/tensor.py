"""The Tensor: an array, and the node of the call that computed it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from tinygrad_cnn import graph, ops
from tinygrad_cnn.graph import Variable, checksum_of
from tinygrad_cnn.ops.reduction import Axis
from tinygrad_cnn.ops.shape import plain_index

_default_dtype: ContextVar[np.dtype[Any]] = ContextVar("default_dtype", default=np.dtype("f4"))


class Tensor(Variable):
    """An array whose computation is recorded, so that it can be differentiated.

    Parameters
    ----------
    data : array_like
        Is copied. An array keeps its dtype; Python numbers become float32 (see `default_dtype`).
    requires_grad : bool
        Whether gradients are wanted of it.
    dtype : dtype_like, optional
        Of the copy.
    name : str, optional
        For messages and drawings.

    Attributes
    ----------
    grad : ndarray or None
        What `backward` has added up, for a leaf that requires a gradient.
    requires_grad : bool
    name : str or None
    node : Node or None
        The call that computed it; None for a leaf.

    Raises
    ------
    TypeError
        If `data` does not hold numbers, or a gradient is wanted of other than float32 or float64.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> x = tg.Tensor([1.0, 2.0, 3.0], requires_grad=True)
    >>> y = (x * x).sum()
    >>> y.backward()
    >>> x.grad
    array([2., 4., 6.], dtype=float32)
    """

    __slots__ = ()
    __array_ufunc__ = None  # so that `array * tensor` comes to Tensor.__rmul__

    def __init__(
        self,
        data: ArrayLike | Variable,
        requires_grad: bool = False,
        dtype: DTypeLike | None = None,
        name: str | None = None,
    ) -> None:
        source = data.array if isinstance(data, Variable) else data
        try:
            array = np.array(source)
        except ValueError as error:
            raise TypeError(f"Tensor: data is no array: {error}") from None
        if dtype is None and not isinstance(source, np.ndarray | np.generic):
            dtype = _default_dtype.get() if array.dtype.kind in "fiu" else None
        array = array.astype(array.dtype if dtype is None else dtype, order="C", copy=False)
        if array.dtype.kind not in "fiubc":
            raise TypeError(f"Tensor: data holds {array.dtype}, expected numbers")
        if requires_grad and array.dtype.char not in "fd":
            raise TypeError(
                f"Tensor: requires_grad needs float32 or float64, but data holds {array.dtype}"
            )
        self.array = array
        self.node = None
        self.origin = None
        self.requires_grad = requires_grad
        self.grad = None
        self.name = name
        self.version = 0
        self.checksum = None

    # --- looking in ------------------------------------------------------------------------------

    @property
    def data(self) -> np.ndarray[Any, Any]:
        """The array: a leaf's own, to read and write; of a computed Tensor a read-only view.

        Assigning copies into the leaf, so that ``p.data -= rate * p.grad`` is a training step.
        """
        if self.node is not None or self.origin is not None:
            view = self.array.view()
            view.flags.writeable = False
            return view
        if self.checksum is None:
            self.checksum = checksum_of(self.array)
        return self.array

    @data.setter
    def data(self, value: ArrayLike) -> None:
        if self.node is not None or self.origin is not None:
            raise RuntimeError("data: only a leaf can be assigned to; this Tensor was computed")
        array = np.array(value, dtype=self.dtype)
        if array.shape != self.shape:
            raise ValueError(f"data: got shape {array.shape}, expected {self.shape}")
        self.array = array
        self.checksum = None
        self.version += 1

    def numpy(self) -> np.ndarray[Any, Any]:
        """Return `data`."""
        return self.data

    def item(self) -> Any:
        """Return the only element as a Python number.

        Raises
        ------
        ValueError
            If there is more than one element, or none.
        """
        if self.size != 1:
            raise ValueError(f"item: the shape is {self.shape}, expected one element")
        return self.array.item()

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return self.array.ndim

    @property
    def size(self) -> int:
        """The number of elements."""
        return self.array.size

    @property
    def T(self) -> Tensor:  # noqa: N802
        """The transpose: all axes in reversed order."""
        return ops.transpose(self)

    def __repr__(self) -> str:
        values = np.array2string(self.array, separator=", ", prefix="Tensor(")
        extras = [] if self.dtype == "f4" else [f"dtype={self.dtype}"]
        if self.node is not None:
            extras.append(f"op={self.node.op.name}")
        elif self.requires_grad:
            extras.append("requires_grad=True")
        return f"Tensor({', '.join([values, *extras])})"

    def __len__(self) -> int:
        if self.ndim == 0:
            raise TypeError("len() of a Tensor without axes")
        return self.shape[0]

    def __iter__(self) -> Iterator[Tensor]:
        return (self[i] for i in range(len(self)))

    def __array__(
        self, dtype: DTypeLike | None = None, copy: bool | None = None
    ) -> np.ndarray[Any, Any]:
        return np.array(self.data, dtype=dtype, copy=copy)

    def __float__(self) -> float:
        return float(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __bool__(self) -> bool:
        return bool(self.item())

    # --- differentiating -------------------------------------------------------------------------

    def backward(self, gradient: ArrayLike | None = None, retain_graph: bool = False) -> None:
        """Add the gradient of this Tensor to ``.grad`` of every leaf it was computed from.

        Parameters
        ----------
        gradient : array_like, optional
            The gradient of the final quantity with respect to this Tensor, of its shape; needed
            unless it has one element.
        retain_graph : bool
            Keep the graph for another sweep instead of freeing it on the way.

        Raises
        ------
        ValueError
            If `gradient` is missing or has another shape.
        RuntimeError
            If nothing was recorded.
        GraphFreedError
            If an earlier sweep has freed the graph.
        ChangedInPlaceError
            If a saved value was overwritten. Nothing is added then, nor after any other error.

        Examples
        --------
        >>> import tinygrad_cnn as tg
        >>> w = tg.Tensor([3.0, 4.0], requires_grad=True)
        >>> (w * w).backward(gradient=[1.0, 10.0])
        >>> w.grad
        array([ 6., 80.], dtype=float32)
        """
        graph.backward(self, gradient, retain_graph)

    def detach(self) -> Tensor:
        """Return a copy of the value, without graph."""
        return Tensor(self.array)

    def requires_grad_(self, requires_grad: bool = True) -> Tensor:
        """Set whether gradients are wanted of this leaf, and return it."""
        if self.node is not None or (requires_grad and self.dtype.char not in "fd"):
            raise TypeError(f"requires_grad_: {self!r} is no leaf of float32 or float64")
        self.requires_grad = requires_grad
        return self

    # --- operators -------------------------------------------------------------------------------

    def __add__(self, other: Any) -> Tensor:
        return ops.add(self, other)

    def __radd__(self, other: Any) -> Tensor:
        return ops.add(other, self)

    def __sub__(self, other: Any) -> Tensor:
        return ops.sub(self, other)

    def __rsub__(self, other: Any) -> Tensor:
        return ops.sub(other, self)

    def __mul__(self, other: Any) -> Tensor:
        return ops.mul(self, other)

    def __rmul__(self, other: Any) -> Tensor:
        return ops.mul(other, self)

    def __truediv__(self, other: Any) -> Tensor:
        return ops.div(self, other)

    def __rtruediv__(self, other: Any) -> Tensor:
        return ops.div(other, self)

    def __pow__(self, other: Any) -> Tensor:
        return ops.pow(self, other)

    def __rpow__(self, other: Any) -> Tensor:
        return ops.pow(other, self)

    def __matmul__(self, other: Any) -> Tensor:
        return ops.matmul(self, other)

    def __rmatmul__(self, other: Any) -> Tensor:
        return ops.matmul(other, self)

    def __neg__(self) -> Tensor:
        return ops.neg(self)

    def __abs__(self) -> Tensor:
        return ops.abs(self)

    def __getitem__(self, index: Any) -> Tensor:
        return ops.getitem(self, plain_index(index))

    __hash__ = object.__hash__

    def __eq__(self, other: object) -> Tensor:  # type: ignore[override]  # elementwise, as NumPy's
        return self._compared(np.equal, other)

    def __ne__(self, other: object) -> Tensor:  # type: ignore[override]
        return self._compared(np.not_equal, other)

    def __lt__(self, other: Any) -> Tensor:
        return self._compared(np.less, other)

    def __le__(self, other: Any) -> Tensor:
        return self._compared(np.less_equal, other)

    def __gt__(self, other: Any) -> Tensor:
        return self._compared(np.greater, other)

    def __ge__(self, other: Any) -> Tensor:
        return self._compared(np.greater_equal, other)

    def _compared(self, comparison: Callable[..., Any], other: Any) -> Tensor:
        """Return a Tensor of bool, which has no derivative."""
        return Tensor(comparison(self.array, getattr(other, "array", other)))

    # --- the same ops as methods -----------------------------------------------------------------

    def sum(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        """Return `tinygrad_cnn.sum` of this Tensor."""
        return ops.sum(self, axis, keepdims)

    def mean(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        """Return `tinygrad_cnn.mean` of this Tensor."""
        return ops.mean(self, axis, keepdims)

    def max(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        """Return `tinygrad_cnn.max` of this Tensor."""
        return ops.max(self, axis, keepdims)

    def min(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        """Return `tinygrad_cnn.min` of this Tensor."""
        return ops.min(self, axis, keepdims)

    def reshape(self, *shape: int | Sequence[int]) -> Tensor:
        """Return `tinygrad_cnn.reshape` of this Tensor, to ``reshape(2, 3)`` or ``((2, 3))``."""
        return ops.reshape(self, shape[0] if len(shape) == 1 else shape)  # type: ignore[arg-type]

    def transpose(self, *axes: int) -> Tensor:
        """Return `tinygrad_cnn.transpose` of this Tensor."""
        return ops.transpose(self, axes or None)

    def astype(self, dtype: DTypeLike) -> Tensor:
        """Return `tinygrad_cnn.astype` of this Tensor."""
        return ops.astype(self, dtype)


Variable.tensor = Tensor


class Parameter(Tensor):
    """A Tensor that a model learns: a `Module` that has it as an attribute lists it.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> tg.nn.Parameter([0.0, 0.0]).requires_grad
    True
    """

    __slots__ = ()

    def __init__(
        self,
        data: ArrayLike | Variable,
        requires_grad: bool = True,
        dtype: DTypeLike | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(data, requires_grad, dtype, name)


@contextmanager
def default_dtype(dtype: DTypeLike) -> Iterator[None]:
    """Make Python numbers and new parameters `dtype` inside ``with default_dtype(dtype):``.

    Parameters
    ----------
    dtype : dtype_like
        float32 or float64.

    Raises
    ------
    TypeError
        If it is another.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> with tg.default_dtype("float64"):
    ...     tg.Tensor(1.0).dtype
    dtype('float64')
    """
    chosen = np.dtype(dtype)
    if chosen.char not in "fd":
        raise TypeError(f"default_dtype: dtype is {chosen}, expected float32 or float64")
    token = _default_dtype.set(chosen)
    try:
        yield
    finally:
        _default_dtype.reset(token)


def get_default_dtype() -> np.dtype[Any]:
    """Return the dtype that Python numbers and new parameters take."""
    return _default_dtype.get()
