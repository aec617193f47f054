"""Gradients, Jacobians, Hessians and vector products of functions, built on `grad`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tinygrad_cnn import ops
from tinygrad_cnn.core.graph import grad
from tinygrad_cnn.core.recording import enable_grad
from tinygrad_cnn.core.tensor import Tensor, TensorLike
from tinygrad_cnn.core.variable import holds_gradient

Function = Callable[..., Tensor]
Map = Callable[[Tensor], Tensor]


def value_and_grad(f: Callable[..., Any], argnum: int | tuple[int, ...] = 0) -> Callable[..., Any]:
    """Return a function that computes the value of `f` and its gradient.

    `f` may be written with NumPy: its functions and operators on Tensors are recorded.

    Parameters
    ----------
    f : callable
        Its value has one element.
    argnum : int or tuple of int
        The argument, or the arguments, to differentiate with respect to. Each is an array, or a
        nested list, tuple or dict of arrays.

    Returns
    -------
    callable
        Takes the arguments of `f` and returns ``(value, gradient)``. The gradient has the structure
        of the argument; for a tuple `argnum` it is a tuple of gradients. Both are arrays; if an
        argument is a Tensor that requires a gradient, as in a gradient of a gradient, they are
        Tensors.

    Raises
    ------
    ValueError
        If the value has more than one element, or there is no argument `argnum`.
    TypeError
        If the value is not a Tensor, because it does not depend on the argument.

    Examples
    --------
    >>> import numpy as np
    >>> import tinygrad_cnn as tg
    >>> def loss(weights, x):
    ...     return np.mean(np.square(np.tanh(x @ weights["w"]) + weights["b"]))
    >>> weights = {"w": np.array([[1.0], [0.5]]), "b": np.zeros(1)}
    >>> value, gradient = tg.value_and_grad(loss)(weights, np.array([[0.0, 0.0]]))
    >>> value, gradient["b"]
    (array(0.), array([0.]))
    """
    places = argnum if isinstance(argnum, tuple) else (argnum,)

    def value_and_gradient(*args: Any, **options: Any) -> tuple[Any, Any]:
        given, leaves, dtype = list(args), list[Tensor](), _dtype_among(args)

        def leaf(x: Any) -> Tensor:
            leaves.append(_input(x, dtype))
            return leaves[-1]

        for place in places:
            if not -len(args) <= place < len(args):
                raise ValueError(
                    f"value_and_grad: argnum is {place}, but there are {len(args)} arguments"
                )
            given[place] = _mapped(args[place], leaf)
        if len({place % len(args) for place in places}) < len(places):
            raise ValueError(f"value_and_grad: argnum is {argnum}, which names an argument twice")
        y = _value("value_and_grad", f, given, options)
        if y._array.size != 1:
            raise ValueError(f"value_and_grad: the value has shape {y.shape}, expected one element")
        again = holds_gradient([*args, *options.values()])
        found = iter(_gradients(y, leaves, again))
        wholes = tuple(_mapped(given[place], lambda _: next(found)) for place in places)
        return y if again else y._array.copy(), wholes if isinstance(argnum, tuple) else wholes[0]

    return value_and_gradient


def grad_of(f: Callable[..., Any], argnum: int | tuple[int, ...] = 0) -> Callable[..., Any]:
    """Return a function that computes the gradient of `f`, whose value has one element.

    As `value_and_grad`, without the value. A gradient can be differentiated again.

    Examples
    --------
    >>> import numpy as np
    >>> import tinygrad_cnn as tg
    >>> slope = tg.grad_of(np.sin)
    >>> slope(0.0), tg.grad_of(slope)(np.pi / 2)
    (array(1., dtype=float32), array(-1., dtype=float32))
    """
    both = value_and_grad(f, argnum)
    return lambda *args, **options: both(*args, **options)[1]


@overload  # gives the argument of a lambda its type
def jacobian(f: Map, argnum: int = 0) -> Callable[..., NDArray[Any]]: ...


@overload
def jacobian(f: Function, argnum: int = 0) -> Callable[..., NDArray[Any]]: ...


def jacobian(f: Function, argnum: int = 0) -> Callable[..., NDArray[Any]]:
    """Return a function that computes the Jacobian of `f`.

    Parameters
    ----------
    f : callable
        Maps Tensors to one Tensor.
    argnum : int
        The argument to differentiate with respect to.

    Returns
    -------
    callable
        Takes the arguments of `f` (array_like or Tensors) and returns J, of shape
        ``y.shape + x.shape``: J[i, j] = ∂y_i/∂x_j. For the softmax, the matrix after eq 24.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> tg.jacobian(lambda x: x * x)([1.0, 2.0])
    array([[2., 0.],
           [0., 4.]], dtype=float32)
    """

    def jacobian_of_f(*args: Any) -> NDArray[Any]:
        x, y = _evaluate("jacobian", f, args, argnum)
        return _rows(y, x).reshape(y.shape + x.shape)

    return jacobian_of_f


@overload  # gives the argument of a lambda its type
def hessian(f: Map, argnum: int = 0) -> Callable[..., NDArray[Any]]: ...


@overload
def hessian(f: Function, argnum: int = 0) -> Callable[..., NDArray[Any]]: ...


def hessian(f: Function, argnum: int = 0) -> Callable[..., NDArray[Any]]:
    """Return a function that computes the Hessian of `f`, whose value has one element.

    The Hessian has shape ``x.shape + x.shape``. Parameters as for `jacobian`.

    Raises
    ------
    ValueError
        If the value of `f` has more than one element.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> tg.hessian(lambda x: (x**3).sum())([1.0, 2.0])
    array([[ 6.,  0.],
           [ 0., 12.]], dtype=float32)
    """

    def hessian_of_f(*args: Any) -> NDArray[Any]:
        x, y = _evaluate("hessian", f, args, argnum)
        if y._array.size != 1:
            raise ValueError(f"hessian: the value has shape {y.shape}, expected one element")
        if not y.requires_grad:
            return np.zeros(x.shape + x.shape, x.dtype)
        (dy,) = grad(y, x, create_graph=True)
        return _rows(dy, x).reshape(x.shape + x.shape)

    return hessian_of_f


def vjp(f: Function, *args: Any) -> tuple[NDArray[Any], Callable[[ArrayLike], list[Any]]]:
    """Return the value of `f` and the function u ↦ uᵀJ (vector-Jacobian products).

    Parameters
    ----------
    f : callable
        Maps Tensors to one Tensor.
    *args : array_like or Tensor
        The point to differentiate at.

    Returns
    -------
    value : ndarray
    pull_back : callable
        Maps an array of the shape of `value` to a list: one array per argument, of its shape.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> value, pull_back = tg.vjp(lambda a, b: a * b, [1.0, 2.0], [3.0, 4.0])
    >>> pull_back([1.0, 10.0])
    [array([ 3., 40.], dtype=float32), array([ 1., 20.], dtype=float32)]
    """
    inputs = [_leaf(arg) for arg in args]
    y = _value("vjp", f, inputs)

    def pull_back(u: ArrayLike) -> list[Any]:
        if not y.requires_grad:
            return [np.zeros(x.shape, x.dtype) for x in inputs]
        return grad(y, inputs, gradient=u, retain_graph=True)

    return y._array.copy(), pull_back


def jvp(f: Map, x: TensorLike, v: ArrayLike) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the value of `f` at `x` and the Jacobian-vector product J v.

    uᵀJ is linear in u, and its derivative with respect to u is J. So two reverse sweeps compute
    the forward-mode product.

    Parameters
    ----------
    f : callable
        Maps a Tensor to a Tensor.
    x : array_like or Tensor
        The point to differentiate at.
    v : array_like
        The direction, of the shape of `x`.

    Raises
    ------
    ValueError
        If `v` has another shape than `x`.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> tg.jvp(lambda x: x * x, [1.0, 2.0], [1.0, 10.0])
    (array([1., 4.], dtype=float32), array([ 2., 40.], dtype=float32))
    """
    leaf = _leaf(x)
    y = _value("jvp", f, [leaf])
    if np.shape(v) != leaf.shape:
        raise ValueError(f"jvp: v has shape {np.shape(v)}, but x has shape {leaf.shape}")
    if not y.requires_grad:
        return y._array.copy(), np.zeros(y.shape, y.dtype)
    u = Tensor(np.zeros(y.shape, y.dtype), requires_grad=True)
    (pulled,) = grad(y, leaf, gradient=u, create_graph=True)
    if not pulled.requires_grad:  # y does not depend on x
        return y._array.copy(), np.zeros(y.shape, y.dtype)
    return y._array.copy(), grad(pulled, u, gradient=v)[0]


def _leaf(x: Any) -> Tensor:
    """Return `x` as a fresh leaf that requires a gradient."""
    kind = x._tensor if isinstance(x, Tensor) else Tensor
    return kind(x, requires_grad=True)


def _input(x: Any, dtype: Any) -> Tensor:
    """Return `x` as a leaf or, if it requires a gradient itself, as a node of its own.

    A Python number takes the `dtype` of the arrays beside it.
    """
    if isinstance(x, Tensor) and x.requires_grad:
        return ops.reshape(x, x.shape)
    return _leaf(np.array(x, dtype) if isinstance(x, int | float) and dtype else x)


def _dtype_among(value: Any) -> Any:
    """Return the dtype of the first floating array in a nested structure, or None."""
    if isinstance(value, dict | list | tuple):
        parts = value.values() if isinstance(value, dict) else value
        return next((dtype for dtype in map(_dtype_among, parts) if dtype is not None), None)
    dtype = getattr(value, "dtype", None)
    return dtype if dtype is not None and dtype.kind == "f" else None


def _mapped(value: Any, function: Callable[[Any], Any]) -> Any:
    """Return a nested list, tuple or dict with `function` applied to its arrays."""
    if isinstance(value, dict):
        return {name: _mapped(part, function) for name, part in value.items()}
    if isinstance(value, list | tuple):
        parts = [_mapped(part, function) for part in value]
        return type(value)(*parts) if hasattr(value, "_fields") else type(value)(parts)
    return function(value)


def _gradients(y: Tensor, leaves: list[Tensor], create_graph: bool) -> list[Any]:
    """Return the gradients of `y`; zeros if it depends on no leaf."""
    if y.requires_grad:
        return grad(y, leaves, create_graph=create_graph)
    zeros = [np.zeros(leaf.shape, leaf.dtype) for leaf in leaves]
    return [Tensor(zero) for zero in zeros] if create_graph else zeros


def _evaluate(name: str, f: Function, args: tuple[Any, ...], argnum: int) -> tuple[Tensor, Tensor]:
    """Return the argument `argnum` as a leaf, and the value of `f`."""
    if not -len(args) <= argnum < len(args):
        raise ValueError(f"{name}: argnum is {argnum}, but there are {len(args)} arguments")
    inputs = [arg if isinstance(arg, Tensor) else Tensor(arg) for arg in args]
    x = inputs[argnum] = _leaf(args[argnum])
    return x, _value(name, f, inputs)


def _value(
    name: str,
    f: Callable[..., Any],
    inputs: Sequence[Any],
    options: Mapping[str, Any] | None = None,
) -> Tensor:
    """Evaluate `f`, an argument of the function `name`, with recording on."""
    with enable_grad():
        y = f(*inputs, **(options or {}))
    if not isinstance(y, Tensor):
        raise TypeError(f"{name}: f returned {type(y).__name__}, expected one Tensor")
    return y


def _rows(y: Tensor, x: Tensor) -> NDArray[Any]:
    """Return the gradients of the elements of `y`, stacked as rows."""
    rows = np.zeros((y._array.size, *x.shape), x.dtype)
    if y.requires_grad:
        for i in range(y._array.size):
            unit = np.zeros(y._array.size, y.dtype)
            unit[i] = 1
            (rows[i],) = grad(y, x, gradient=unit.reshape(y.shape), retain_graph=True)
    return rows
