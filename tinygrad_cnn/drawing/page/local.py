"""Numeric local derivatives of one op with respect to one argument."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn.core.calculus import jacobian
from tinygrad_cnn.core.graph import grad
from tinygrad_cnn.core.op import Op
from tinygrad_cnn.core.recording import changed_recording
from tinygrad_cnn.core.tensor import Tensor

__all__ = ["EntryKind", "local_derivative"]

EntryKind: TypeAlias = Literal["elementwise", "jacobian", "share"]

_ENTRIES = 4096  # the most entries of a Jacobian
_ROWS = 64  # the most rows of a Jacobian: each takes a backward pass


def local_derivative(
    op: Op[..., Any],
    argument: str,
    given: Mapping[str, NDArray[Any]],
    options: Mapping[str, Any],
    result: NDArray[Any],
) -> tuple[EntryKind, NDArray[Any]] | None:
    """Return the local derivative of a call in its most detailed form; None if there is none.

    Parameters
    ----------
    op : Op
    argument : str
        The parameter to differentiate with respect to.
    given : mapping of str to ndarray
        The array arguments of the call, by parameter.
    options : mapping of str to object
        Its other arguments.
    result : ndarray
        The result of the call. A call that is not reproducible bit for bit has no local derivative
        here.

    Returns
    -------
    kind : {"elementwise", "jacobian", "share"}
        ∂y/∂x entry by entry; the matrix of all ∂y_i/∂x_j, if small; or, if the rule reads no array,
        Σ_i ∂y_i/∂x_j, the weight of each entry of x, as in pooling.
    array : ndarray

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> x = np.array([0.0, 1.0])
    >>> local_derivative(tg.tanh, "x", {"x": x}, {}, np.tanh(x))
    ('elementwise', array([1. , 0.41997434]))
    >>> local_derivative(tg.softmax, "x", {"x": x}, {}, tg.softmax(x))[1].round(2)
    array([[ 0.2, -0.2],
           [-0.2, 0.2]])
    """
    x = given[argument]
    if op.sequence or x.dtype.char not in "fd":
        return None

    def call(value: Tensor) -> Tensor:
        arrays = {name: given[name] for name in op.parameters if name in given}
        y: Tensor = op(**{**arrays, **options, argument: value})
        return y

    small = x.size * result.size <= _ENTRIES and 0 < result.size <= _ROWS
    reads = {"y", *given} & op.reads(argument)
    with changed_recording(on=True, observers=(), scope=""):
        try:
            again = call(Tensor(x))._array
            if not np.array_equal(again, result, equal_nan=True):
                return None
            if op.elementwise:
                return "elementwise", _pulled_back(call, np.broadcast_to(x, result.shape))
            if small:
                return "jacobian", jacobian(call)(x).reshape(result.size, x.size)
            if not reads:
                share = _pulled_back(call, x)
                return ("share", share) if np.unique(share).size > 1 else None
        except (TypeError, ValueError, IndexError):
            return None  # an option that is not a plain value is text in the graph
    return None


def _pulled_back(call: Any, x: NDArray[Any]) -> NDArray[Any]:
    """Return the pullback of ones: Σ_i ∂y_i/∂x_j."""
    value = Tensor(x, requires_grad=True)
    y = call(value)
    gradient: NDArray[Any] = grad(y, value, gradient=np.ones(y.shape, y.dtype))[0]
    return gradient
