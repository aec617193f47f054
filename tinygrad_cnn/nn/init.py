"""Initializers: functions that return the initial values of a parameter.

Each is called as ``initializer(shape, rng, dtype)`` and returns a new array. Numbers are drawn in
float64 and rounded to `dtype`, so that float32 and float64 models of one seed agree up to rounding.
The scale preserves the variance of activations or gradients across layers. It depends on fan_in and
fan_out, the inputs per output and the outputs per input (`fans`):

============  ========================  =========================================================
LeCun         variance 1 / fan_in       LeCun et al., "Efficient BackProp", 1998, eq 16
Glorot        2 / (fan_in + fan_out)    Glorot and Bengio, "Understanding the difficulty of
                                        training deep feedforward neural networks", 2010, eq 12, 16
He            2 / fan_in                He et al., "Delving Deep into Rectifiers", 2015, eq 10
============  ========================  =========================================================

A uniform distribution on [−a, a) has the variance a²/3.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from tinygrad_cnn.core.dtypes import get_default_dtype
from tinygrad_cnn.core.random import generator
from tinygrad_cnn.engine.arrays import Shape
from tinygrad_cnn.support.arguments import number

__all__ = [
    "Initializer",
    "constant",
    "fans",
    "kaiming_normal",
    "kaiming_uniform",
    "lecun_normal",
    "lecun_uniform",
    "normal",
    "standard_normal",
    "xavier_normal",
    "xavier_uniform",
    "zeros",
]

Initializer: TypeAlias = Callable[[Shape, np.random.Generator, DTypeLike], NDArray[Any]]
"""A function ``(shape, rng, dtype)`` that returns the initial values of a parameter."""


def fans(shape: Shape) -> tuple[int, int]:
    """Return (fan_in, fan_out) of weights of shape (out, in) or (OC, C, KH, KW).

    For a convolution, fan_in = C · KH · KW and, at stride 1, fan_out = OC · KH · KW. For a grouped
    convolution, pass the shape of one group's kernels, (OC / groups, C / groups, KH, KW): layers
    initialize one group at a time.

    Raises
    ------
    ValueError
        If there are fewer than two axes, or one is 0.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> tg.nn.init.fans((16, 6, 5, 5))
    (150, 400)
    """
    if len(shape) < 2 or 0 in shape:
        raise ValueError(f"fans: shape is {shape}, expected (out, in, ...), none of them 0")
    window = math.prod(shape[2:])
    return shape[1] * window, shape[0] * window


def lecun_normal(
    shape: Shape, rng: np.random.Generator | None = None, dtype: DTypeLike | None = None
) -> NDArray[Any]:
    """Draw from the normal distribution with variance 1 / fan_in (LeCun et al. 1998).

    Parameters
    ----------
    shape : tuple of int
        The shape of the weights; see `fans`.
    rng : numpy.random.Generator, optional
        By default the generator that `manual_seed` sets.
    dtype : dtype_like, optional
        Defaults to `get_default_dtype()`.

    Returns
    -------
    ndarray

    Raises
    ------
    ValueError
        If `shape` has no fans (see `fans`).
    TypeError
        If `rng` is not a generator.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> tg.nn.init.lecun_normal((2, 3)).dtype
    dtype('float32')
    """
    return _normal(1 / fans(shape)[0], shape, rng, dtype)


def lecun_uniform(
    shape: Shape, rng: np.random.Generator | None = None, dtype: DTypeLike | None = None
) -> NDArray[Any]:
    """Draw from [−a, a) with a = √(3 / fan_in); otherwise as `lecun_normal`."""
    return _uniform(1 / fans(shape)[0], shape, rng, dtype)


def xavier_normal(
    shape: Shape, rng: np.random.Generator | None = None, dtype: DTypeLike | None = None
) -> NDArray[Any]:
    """Draw from the normal distribution with variance 2 / (fan_in + fan_out); see `lecun_normal`.

    For layers followed by a sigmoid or tanh (Glorot and Bengio 2010).
    """
    return _normal(2 / sum(fans(shape)), shape, rng, dtype)


def xavier_uniform(
    shape: Shape, rng: np.random.Generator | None = None, dtype: DTypeLike | None = None
) -> NDArray[Any]:
    """Draw from [−a, a) with a = √(6 / (fan_in + fan_out)); otherwise as `xavier_normal`."""
    return _uniform(2 / sum(fans(shape)), shape, rng, dtype)


def kaiming_normal(
    shape: Shape, rng: np.random.Generator | None = None, dtype: DTypeLike | None = None
) -> NDArray[Any]:
    """Draw from the normal distribution with variance 2 / fan_in; see `lecun_normal`.

    For layers followed by a ReLU, which halves the variance (He et al. 2015).
    """
    return _normal(2 / fans(shape)[0], shape, rng, dtype)


def kaiming_uniform(
    shape: Shape, rng: np.random.Generator | None = None, dtype: DTypeLike | None = None
) -> NDArray[Any]:
    """Draw from [−a, a) with a = √(6 / fan_in): the default of most layers.

    Uniform numbers are computed exactly from the generator's bits, so a seed gives the same values
    on every machine. Otherwise as `kaiming_normal`.
    """
    return _uniform(2 / fans(shape)[0], shape, rng, dtype)


def standard_normal(
    shape: Shape, rng: np.random.Generator | None = None, dtype: DTypeLike | None = None
) -> NDArray[Any]:
    """Draw from the normal distribution with variance 1, for parameters of any shape.

    The simplest reading of the text's "random values" (section 0.3.1.1), used by the first network
    in Nielsen, "Neural Networks and Deep Learning", 2015, chapter 1. It saturates wide layers.
    """
    return _normal(1.0, shape, rng, dtype)


def normal(std: float) -> Initializer:
    """Return an initializer that draws from the normal distribution with mean 0.

    Parameters
    ----------
    std : float
        The standard deviation.

    Raises
    ------
    ValueError
        If `std` is negative or not finite.

    Examples
    --------
    >>> import numpy as np
    >>> init = normal(0.5)
    >>> bool(np.array_equal(init((2, 3), np.random.default_rng(0), "f8"),
    ...                     np.random.default_rng(0).normal(0.0, 0.5, (2, 3))))
    True
    """
    variance = number("init", "std", std) ** 2

    def initializer(
        shape: Shape, rng: np.random.Generator | None = None, dtype: DTypeLike | None = None
    ) -> NDArray[Any]:
        return _normal(variance, shape, rng, dtype)

    return initializer


def zeros(
    shape: Shape, rng: np.random.Generator | None = None, dtype: DTypeLike | None = None
) -> NDArray[Any]:
    """Return zeros, for parameters of any shape: the default of biases."""
    return np.zeros(shape, get_default_dtype() if dtype is None else dtype)


def constant(value: ArrayLike) -> Initializer:
    """Return an initializer that fills a parameter with `value`, a number or an array to broadcast.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> tg.nn.Linear(2, 2, init=tg.nn.init.constant([0.0, 1.0])).weight.numpy()
    array([[0., 1.],
           [0., 1.]], dtype=float32)
    """

    def fill(
        shape: Shape, rng: np.random.Generator | None = None, dtype: DTypeLike | None = None
    ) -> NDArray[Any]:
        filled = zeros(shape, rng, dtype)
        filled[...] = value
        return filled

    return fill


def _normal(
    variance: float, shape: Shape, rng: np.random.Generator | None, dtype: DTypeLike | None
) -> NDArray[Any]:
    drawn = generator("init", rng).normal(0.0, math.sqrt(variance), shape)
    return drawn.astype(get_default_dtype() if dtype is None else dtype)


def _uniform(
    variance: float, shape: Shape, rng: np.random.Generator | None, dtype: DTypeLike | None
) -> NDArray[Any]:
    limit = math.sqrt(3.0 * variance)
    drawn = generator("init", rng).uniform(-limit, limit, shape)
    return drawn.astype(get_default_dtype() if dtype is None else dtype)
