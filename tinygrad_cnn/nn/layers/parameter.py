"""Initialization of parameters."""

from __future__ import annotations

import numpy as np

from tinygrad_cnn.core.dtypes import get_default_dtype
from tinygrad_cnn.core.tensor import Parameter
from tinygrad_cnn.engine.arrays import Shape
from tinygrad_cnn.nn.init import Initializer


def drawn(
    owner: str, name: str, init: Initializer, shape: Shape, rng: np.random.Generator
) -> Parameter:
    """Return the Parameter `name`, of `shape` and the default dtype, filled by `init`.

    Raises
    ------
    TypeError
        If `init` is not callable.
    ValueError
        If its result does not match.
    """
    argument = "init" if name == "weight" else f"{name}_init"
    dtype = get_default_dtype()
    if not callable(init):
        raise TypeError(
            f"{owner}: {argument} is {init!r}, expected a function of (shape, rng, dtype), such as "
            "nn.init.kaiming_uniform"
        )
    array = init(shape, rng, dtype)
    if not isinstance(array, np.ndarray) or (array.shape, array.dtype) != (shape, dtype):
        came = f"{getattr(array, 'dtype', type(array).__name__)} of shape {np.shape(array)}"
        raise ValueError(f"{owner}: {argument} returned {came}, expected {dtype} of shape {shape}")
    return Parameter(array, name=name)
