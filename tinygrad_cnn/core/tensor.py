"""The Tensor: an array that records its computation."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeAlias, TypeVar, cast

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from tinygrad_cnn import ops
from tinygrad_cnn.core import graph
from tinygrad_cnn.core.dtypes import float_dtype
from tinygrad_cnn.core.graph import Node
from tinygrad_cnn.core.hooks import GradientHooks, HookHandle
from tinygrad_cnn.core.leaf_array import LeafArray
from tinygrad_cnn.core.numpy_dispatch import call_function, call_ufunc, discrete, floor_divide, mod
from tinygrad_cnn.core.observer import observed_class
from tinygrad_cnn.core.operators import discrete_operators, in_place_operator, method, operators
from tinygrad_cnn.core.promotion import cut_off
from tinygrad_cnn.core.recording import recording
from tinygrad_cnn.core.step_observer import reads
from tinygrad_cnn.core.variable import Variable, array_of, holds_gradient
from tinygrad_cnn.engine.arrays import read_only
from tinygrad_cnn.ops.indexing import plain_index
from tinygrad_cnn.support.arguments import native
from tinygrad_cnn.support.modules import set_by

TensorLike: TypeAlias = "Tensor | ArrayLike"
"""A Tensor, or anything that NumPy converts to an array."""

A = TypeVar("A", "Tensor", NDArray[Any], "Tensor | NDArray[Any]")  # result like argument


class Tensor(Variable):
    """An array that records its computation for differentiation.

    Parameters
    ----------
    data : array_like
        The values, which are copied. An array keeps its dtype; Python numbers become float32 (see
        `default_dtype`).
    requires_grad : bool
        Whether to compute its gradient.
    dtype : dtype_like, optional
        The dtype of the copy.
    name : str, optional
        The name shown in messages and drawings.

    Attributes
    ----------
    grad : ndarray or None
        The accumulated gradient of a leaf that requires one; see `backward`. Of a result only
        after `retain_grad`; a Tensor after ``backward(create_graph=True)``.
    requires_grad : bool
    name : str or None
    node : Node or None
        The call that computed it; None for a leaf.

    Raises
    ------
    TypeError
        If `data` does not hold numbers, or requires a gradient but is not float32 or float64.

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
    draw: ClassVar[Callable[..., Any]] = set_by("tinygrad_cnn.drawing")

    def __init__(
        self,
        data: ArrayLike | Variable,
        requires_grad: bool = False,
        dtype: DTypeLike | None = None,
        name: str | None = None,
    ) -> None:
        source = array_of(data)
        if not isinstance(source, np.ndarray) and holds_gradient(data):
            raise TypeError(cut_off("Tensor", "data"))
        try:
            array = np.array(source)
        except ValueError as error:
            raise TypeError(f"Tensor: data cannot be converted to an array: {error}") from None
        if dtype is None and not isinstance(source, np.ndarray | np.generic):
            dtype = float_dtype.get() if array.dtype.kind in "fiu" else None
        array = native(array.astype(array.dtype if dtype is None else dtype, order="C", copy=False))
        if array.dtype.kind not in "fiubc":
            raise TypeError(f"Tensor: data holds {array.dtype}, expected numbers")
        if requires_grad and array.dtype.char not in "fd":
            raise TypeError(
                f"Tensor: requires_grad needs float32 or float64, but data holds {array.dtype}"
            )
        self._array = array
        self.node = None
        self._origin = None
        self._unrecorded = False
        self.requires_grad = requires_grad
        self._grad = None
        self.name = name
        self._changed = 0
        self._hooks = None
        for observer in recording.get().observers:
            observer.copied(source, array)
        if isinstance(data, Variable):
            self.__class__ = observed_class(type(self), array)

    @classmethod
    def _of(
        cls, array: NDArray[Any], node: Node | None = None, origin: Variable | None = None
    ) -> Self:
        """Wrap `array` without copy or check; for use inside the package."""
        self = cls.__new__(cls)
        self._array = array
        self.node = node
        self._origin = origin
        self.requires_grad = node is not None
        self._grad = None
        self.name = None
        self._changed = 0
        self._hooks = None
        self._unrecorded = False
        return self

    # --- values ----------------------------------------------------------------------------------

    @property
    def data(self) -> NDArray[Any]:
        """The array: writable for a leaf, read-only for a computed Tensor.

        Item assignment, in-place operators, ``fill`` and a ufunc's ``out`` write to it, or to
        a view of it, and mark the leaf as changed (`LeafArray`). Other NumPy functions only read
        it. Assigning ``data`` copies into the leaf: ``p.data -= rate * p.grad`` is a training step.
        """
        array = self._read(".data")
        return LeafArray._of(self) if self.is_leaf else read_only(array)

    @data.setter
    def data(self, value: ArrayLike) -> None:
        reads(self, "assignment to .data")
        if not self.is_leaf:
            raise RuntimeError(
                "data: only a leaf can be assigned to; this Tensor was computed: assign to a copy, "
                "its detach()"
            )
        if isinstance(value, LeafArray) and value.base is self._array:
            return  # written in place, as by ``p.data -= 1``
        array = np.asarray(value)
        if array.shape != self.shape:
            raise ValueError(f"data: got shape {array.shape}, expected {self.shape}")
        if not np.can_cast(array.dtype, self.dtype, "same_kind"):
            raise TypeError(
                f"data: got {array.dtype}, which {self.dtype} cannot hold; convert it first"
            )
        self._array = np.array(array, self.dtype)
        self._mark_changed()

    def numpy(self) -> NDArray[Any]:
        """Return `data`."""
        return self.data

    def item(self) -> Any:
        """Return the only element as a Python number.

        Raises
        ------
        ValueError
            If the size is not 1.
        """
        if self._array.size != 1:
            raise ValueError(f"item: the shape is {self.shape}, expected one element")
        return self._read(".item()").item()

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return self._array.ndim

    @property
    def size(self) -> int:
        """The number of elements."""
        return self._array.size

    @property
    def T(self) -> Tensor:  # noqa: N802  # as in NumPy
        """The transpose: all axes in reversed order."""
        return ops.transpose(self)

    def __repr__(self) -> str:
        values = np.array2string(self._read("repr()"), separator=", ", prefix="Tensor(")
        extras = [] if self.dtype == "f4" else [f"dtype={self.dtype}"]
        if self.node is not None:
            extras.append(f"op={self.node.op.name}")
        elif self.requires_grad:
            extras.append("requires_grad=True")
        return f"Tensor({', '.join([values, *extras])})"

    def __len__(self) -> int:
        if self.ndim == 0:
            raise TypeError("len: the Tensor has no axes, expected one or more")
        return self.shape[0]

    def __iter__(self) -> Iterator[Tensor]:
        if self.ndim == 0:
            raise TypeError("iter: the Tensor has no axes, expected one or more")
        return (self[i] for i in range(len(self)))

    def __contains__(self, value: Any) -> bool:
        return bool(np.any(self._read("in") == array_of(value)))

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
        return call_ufunc(ufunc, method, inputs, options)

    def __array_function__(
        self, function: Any, types: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        return call_function(function, args, kwargs)

    def __setitem__(self, index: Any, value: TensorLike) -> None:
        """Write to part of a leaf, under `no_grad`."""
        if not self.is_leaf or (self.requires_grad and recording.get().on):
            raise RuntimeError(
                f"setitem: {self.name or 'this Tensor'} "
                f"{'requires a gradient' if self.is_leaf else 'was computed'}; "
                "index_put(x, index, values) returns a new Tensor; write to a leaf under "
                "no_grad(), or through its data, as in p.data[0] = 1"
            )
        given = value._read("item assignment") if isinstance(value, Variable) else value
        self.data[plain_index(index)] = np.asarray(given)

    def __getstate__(self) -> tuple[Any, dict[str, Any]]:
        """Return the state for copy and pickle: private memory, no graph and no hooks."""
        if self.node is not None:
            raise RuntimeError(
                f"copy: {self.name or 'a Tensor'} of shape {self.shape} was computed and has a "
                "graph, which is not copied or pickled; copy its detach()"
            )
        attributes, slots = cast(Any, super()).__getstate__()
        grad: Any = self._grad
        grad = grad.detach() if isinstance(grad, Tensor) else copy.copy(grad)
        own = {"_array": self._array.copy(), "_grad": grad, "_changed": 0, "_hooks": None}
        return attributes, {**slots, **own, "_origin": None, "_unrecorded": False}

    if not TYPE_CHECKING:  # or a checker takes `array * tensor` for an array, and np.exp(tensor)

        def __array__(self, dtype=None, copy=None):
            return np.array(self.data, dtype=dtype, copy=copy)

    def __float__(self) -> float:
        return float(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __index__(self) -> int:
        if self._array.dtype.kind not in "iu":
            raise TypeError(f"index: got {self.dtype} of shape {self.shape}, expected an integer")
        return int(self.item())

    def __format__(self, spec: str) -> str:
        return format(self.item(), spec) if spec else repr(self)

    def __bool__(self) -> bool:
        return bool(self.item())

    # --- differentiating -------------------------------------------------------------------------

    def backward(
        self,
        gradient: TensorLike | None = None,
        retain_graph: bool | None = None,
        create_graph: bool = False,
    ) -> None:
        """Add the gradient of this Tensor to ``.grad`` of every leaf it was computed from.

        Parameters
        ----------
        gradient : array_like, optional
            The gradient flowing in, of this Tensor's shape; required unless it has one element.
        retain_graph : bool, optional
            Keep the graph for another sweep instead of freeing it. Defaults to `create_graph`.
        create_graph : bool
            Record the sweep: ``.grad`` becomes a Tensor that can be differentiated. Set it to None
            afterwards, because its graph and the leaf refer to each other; `grad` returns
            gradients without touching ``.grad``.

        Raises
        ------
        ValueError
            If `gradient` is missing or has another shape.
        RuntimeError
            If nothing was recorded.
        GraphFreedError
            If an earlier sweep has freed the graph.
        ChangedInPlaceError
            If a saved value was modified in place. After any error, no gradient is added.

        Examples
        --------
        >>> import tinygrad_cnn as tg
        >>> w = tg.Tensor([3.0, 4.0], requires_grad=True)
        >>> (w * w).backward(gradient=[1.0, 10.0])
        >>> w.grad
        array([ 6., 80.], dtype=float32)
        >>> x = tg.Tensor(3.0, requires_grad=True)
        >>> (x**3).backward(create_graph=True)
        >>> x.grad, tg.grad(x.grad, x)[0].item()
        (Tensor(27., op=mul), 18.0)
        """
        graph.backward(self, gradient, retain_graph, create_graph)

    def register_hook(self, hook: Callable[[Any], Any]) -> HookHandle:
        """Call ``hook(gradient)`` whenever a sweep has computed the gradient of this Tensor.

        Parameters
        ----------
        hook : callable
            Takes the whole gradient of a sweep, a read-only array (a Tensor if the sweep is
            recorded: `create_graph`). It returns None, or a gradient of the same shape that
            replaces it: the sweep continues with it, and ``.grad`` gets it.

        Returns
        -------
        HookHandle
            Its ``remove()`` removes the hook; also a context manager.

        Raises
        ------
        RuntimeError
            If this Tensor does not require a gradient.

        Notes
        -----
        Hooks run in the order in which they were registered. An error in one ends the sweep, and
        no gradient is added. A copy or pickle of a Tensor has no hooks, and a freed graph drops
        those of its results.

        Examples
        --------
        >>> import numpy as np
        >>> import tinygrad_cnn as tg
        >>> x = tg.Tensor([1.0, 2.0, 3.0], requires_grad=True)
        >>> handle = x.register_hook(lambda g: np.clip(g, -3, 3))
        >>> (x * x).sum().backward()
        >>> x.grad
        array([2., 3., 3.], dtype=float32)
        """
        if not callable(hook):
            raise TypeError(f"register_hook: hook is {hook!r}, expected a function")
        return HookHandle(self._gradient_hooks("register_hook").functions, hook)

    def retain_grad(self) -> None:
        """Keep the gradient of this result in ``.grad``, as that of a leaf; after all hooks.

        Raises
        ------
        RuntimeError
            If this Tensor does not require a gradient.

        Examples
        --------
        >>> import tinygrad_cnn as tg
        >>> x = tg.Tensor([1.0, 2.0], requires_grad=True)
        >>> y = x * x
        >>> y.retain_grad()
        >>> y.sum().backward()
        >>> y.grad
        array([1., 1.], dtype=float32)
        """
        hooks = self._gradient_hooks("retain_grad")
        if self.node is not None:
            hooks.keep(self)

    def _gradient_hooks(self, function: str) -> GradientHooks:
        reads(self, f"{function}()")
        if not self.requires_grad:
            raise RuntimeError(f"{function}: {self!r} does not require a gradient, so it gets none")
        return GradientHooks.of(self.node or self)

    def detach(self) -> Tensor:
        """Return a copy of the value, without a graph."""
        return self._tensor(self._array)

    def requires_grad_(self, requires_grad: bool = True) -> Tensor:
        """Set `requires_grad` of this leaf, and return the leaf."""
        if self.node is not None or (requires_grad and self.dtype.char not in "fd"):
            raise TypeError(f"requires_grad_: {self!r} is not a leaf of float32 or float64")
        self.requires_grad = requires_grad
        return self

    # --- operators and methods -------------------------------------------------------------------

    __add__, __radd__ = operators(ops.add)
    __sub__, __rsub__ = operators(ops.sub)
    __mul__, __rmul__ = operators(ops.mul)
    __truediv__, __rtruediv__ = operators(ops.div)
    __pow__, __rpow__ = operators(ops.pow)
    __matmul__, __rmatmul__ = operators(ops.matmul)
    __iadd__, __isub__ = in_place_operator(ops.add), in_place_operator(ops.sub)
    __imul__, __itruediv__ = in_place_operator(ops.mul), in_place_operator(ops.div)
    __floordiv__, __rfloordiv__ = operators(floor_divide)
    __mod__, __rmod__ = operators(mod)
    __neg__ = method(ops.neg)
    __abs__ = method(ops.abs)
    __lt__, __gt__ = discrete_operators(np.less)
    __le__, __ge__ = discrete_operators(np.less_equal)
    __eq__ = discrete_operators(np.equal)[0]  # type: ignore[assignment]  # object's returns a bool
    __ne__ = discrete_operators(np.not_equal)[0]  # type: ignore[assignment]  # object's returns a bool
    __and__, __rand__ = discrete_operators(np.bitwise_and)
    __or__, __ror__ = discrete_operators(np.bitwise_or)
    __xor__, __rxor__ = discrete_operators(np.bitwise_xor)
    __hash__ = object.__hash__

    sum = method(ops.sum)
    mean = method(ops.mean)
    exp = method(ops.exp)
    log = method(ops.log)
    sqrt = method(ops.sqrt)
    max = method(ops.max)
    min = method(ops.min)
    var = method(ops.var)
    std = method(ops.std)
    prod = method(ops.prod)
    cumsum = method(ops.cumsum)
    any = method(ops.any)
    all = method(ops.all)
    argmax = method(ops.argmax)
    argmin = method(ops.argmin)
    argsort = method(ops.argsort)
    astype = method(ops.astype)
    clip = method(ops.clip)
    round = method(ops.round)
    squeeze = method(ops.squeeze)
    flatten = method(ops.flatten)
    ravel = method(ops.ravel)
    swapaxes = method(ops.swapaxes)
    repeat = method(ops.repeat)
    diagonal = method(ops.diagonal)
    take = method(ops.take)
    dot = method(ops.dot)

    def __pos__(self) -> Tensor:
        return self

    def __round__(self, decimals: int = 0) -> Tensor:
        return ops.round(self, decimals)

    def __invert__(self) -> Tensor:
        return cast(Tensor, discrete(np.invert, self))

    def __getitem__(self, index: Any) -> Tensor:
        return ops.getitem(self, plain_index(index))

    def reshape(self, *shape: Any) -> Tensor:
        """Return `tinygrad_cnn.reshape` of this Tensor: ``reshape(2, 3)`` or a tuple."""
        return ops.reshape(self, shape[0] if len(shape) == 1 else shape)

    def tolist(self) -> Any:
        """Return the values as Python numbers, in nested lists."""
        return self._read(".tolist()").tolist()

    def transpose(self, *axes: Any) -> Tensor:
        """Return `tinygrad_cnn.transpose` of this Tensor: ``transpose(1, 0)`` or a tuple."""
        return ops.transpose(self, axes[0] if len(axes) == 1 else axes or None)


Variable._tensor = Tensor


class Parameter(Tensor):
    """A Tensor that a model learns; a `Module` registers it when set as an attribute.

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
