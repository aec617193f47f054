"""Activation functions made of lines, and shrinking ones, as layers."""

from __future__ import annotations

import math

from tinygrad_cnn import ops
from tinygrad_cnn.core.tensor import A
from tinygrad_cnn.nn.module import Parameterless
from tinygrad_cnn.support.arguments import number


class Hardtanh(Parameterless):
    """`tinygrad_cnn.hardtanh`: each value limited to an interval.

    Parameters
    ----------
    min_val, max_val : float
        The interval.

    Raises
    ------
    ValueError
        If `min_val` is not below `max_val`.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> tg.nn.Hardtanh(-1.0, 2.0)(tg.Tensor([-2.0, 0.5, 9.0]))
    Tensor([-1. ,  0.5,  2. ])
    """

    def __init__(self, min_val: float = -1.0, max_val: float = 1.0) -> None:
        owner = type(self).__name__
        self.min_val = number(owner, "min_val", min_val, least=-math.inf)
        self.max_val = number(owner, "max_val", max_val, least=math.nextafter(min_val, math.inf))

    def forward(self, x: A) -> A:
        """Return the values, of the shape of `x`."""
        return ops.hardtanh(x, self.min_val, self.max_val)


class ReLU6(Parameterless):
    """`tinygrad_cnn.relu6`, min(max(0, x), 6), of each value.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> tg.nn.ReLU6()(tg.Tensor([-2.0, 0.5, 9.0]))
    Tensor([0. , 0.5, 6. ])
    """

    def forward(self, x: A) -> A:
        """Return the values, of the shape of `x`."""
        return ops.relu6(x)


class Hardsigmoid(Parameterless):
    """`tinygrad_cnn.hardsigmoid`, min(max(0, x + 3), 6) / 6, of each value.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> tg.nn.Hardsigmoid()(tg.Tensor([-4.0, 0.0, 4.0]))
    Tensor([0. , 0.5, 1. ])
    """

    def forward(self, x: A) -> A:
        """Return the values, of the shape of `x`."""
        return ops.hardsigmoid(x)


class Hardswish(Parameterless):
    """`tinygrad_cnn.hardswish`, x·hardsigmoid(x), of each value.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> tg.nn.Hardswish()(tg.Tensor([-4.0, -1.5, 4.0]))
    Tensor([-0.   , -0.375,  4.   ])
    """

    def forward(self, x: A) -> A:
        """Return the values, of the shape of `x`."""
        return ops.hardswish(x)


class Tanhshrink(Parameterless):
    """`tinygrad_cnn.tanhshrink`, x − tanh x, of each value.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> tg.nn.Tanhshrink()(tg.Tensor([0.0, 10.0]))
    Tensor([0., 9.])
    """

    def forward(self, x: A) -> A:
        """Return the values, of the shape of `x`."""
        return ops.tanhshrink(x)
