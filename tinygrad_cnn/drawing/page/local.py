"""Local derivatives in numbers: what one op does to a small change of one argument."""

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

__all__ = ["Kind", "local_derivative"]

Kind: TypeAlias = Literal["elementwise", "jacobian", "share"]

_ENTRIES = 4096  # of a Jacobian that is written out
_ROWS = 64  # of it: each takes a sweep


def local_derivative(
    op: Op[Any],
    argument: str,
    given: Mapping[str, NDArray[Any]],
    options: Mapping[str, Any],
    result: NDArray[Any],
) -> tuple[Kind, NDArray[Any]] | None:
    """Return the local derivative of a call in the form that says most; None if there is none.

    Parameters
    ----------
    op : Op
    argument : str
        The parameter to differentiate with respect to.
    given : mapping of str to ndarray
        The arrays that the op was called with, by parameter.
    options : mapping of str to object
        Its other arguments.
    result : ndarray
        What the call returned. A call that cannot be made again to the same bits has no local
        derivative here.

    Returns
    -------
    kind : {"elementwise", "jacobian", "share"}
        ∂y/∂x entry by entry; the matrix of all ∂y_i/∂x_j, where it is small; or, where the rule
        reads no array, Σ_i ∂y_i/∂x_j: in how far each entry of x counts, as in pooling.
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
        return op(**{**arrays, **options, argument: value})

    small = x.size * result.size <= _ENTRIES and 0 < result.size <= _ROWS
    reads = {"y", *given}.intersection(op.derivatives[argument].needs)
    with changed_recording(on=True, observers=(), scope=""):
        try:
            again = call(Tensor(x)).array
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
            return None  # an option that is no plain value: in the graph it stands as text
    return None


def _pulled_back(call: Any, x: NDArray[Any]) -> NDArray[Any]:
    """Return the pull-back of ones: Σ_i ∂y_i/∂x_j."""
    value = Tensor(x, requires_grad=True)
    y = call(value)
    gradient: NDArray[Any] = grad(y, value, gradient=np.ones(y.shape, y.dtype))[0]
    return gradient
