"""``torch.nn.init``: set the values of parameters in place."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinygrad_cnn.compat.torch import names
from tinygrad_cnn.compat.torch.creation import Generator, rng_of
from tinygrad_cnn.compat.torch.tensor import Tensor
from tinygrad_cnn.nn import init

GAINS = {
    "linear": 1.0, "conv1d": 1.0, "conv2d": 1.0, "sigmoid": 1.0, "conv_transpose2d": 1.0,
    "tanh": 5.0 / 3.0, "relu": math.sqrt(2.0), "selu": 0.75,
}  # fmt: skip


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """Return the factor that keeps the variance after an activation function."""
    if nonlinearity == "leaky_relu":
        slope = 0.01 if param is None else param
        return math.sqrt(2.0 / (1 + slope**2))
    if nonlinearity not in GAINS:
        raise ValueError(
            f"calculate_gain: nonlinearity is {nonlinearity!r}, expected 'leaky_relu' or one of "
            f"{', '.join(map(repr, GAINS))}"
        )
    return GAINS[nonlinearity]


def fans(tensor: Any) -> tuple[int, int]:
    """Return fan_in and fan_out of weights of shape (out, in, ...)."""
    return init.fans(tuple(tensor.shape))


_calculate_fan_in_and_fan_out = fans


def _fan(tensor: Any, mode: str) -> int:
    if mode not in ("fan_in", "fan_out"):
        raise ValueError(f"init: mode is {mode!r}, expected 'fan_in' or 'fan_out'")
    return fans(tensor)[mode == "fan_out"]


def _set(tensor: Any, values: Any) -> Any:
    """Write values to a parameter, also while its gradient is recorded."""
    if not isinstance(tensor, Tensor):
        raise TypeError(f"init: got {type(tensor).__name__}, expected a Tensor")
    return tensor._write("init", ..., values)


# --- constant ------------------------------------------------------------------------------------


def constant_(tensor: Any, val: float) -> Any:
    """Set all values to `val`."""
    return _set(tensor, val)


def zeros_(tensor: Any) -> Any:
    """Set all values to 0."""
    return _set(tensor, 0)


def ones_(tensor: Any) -> Any:
    """Set all values to 1."""
    return _set(tensor, 1)


def eye_(tensor: Any) -> Any:
    """Set a matrix to the identity."""
    return _set(tensor, np.eye(*tensor.shape))


def dirac_(tensor: Any, groups: int = 1) -> Any:
    """Set kernels so that a convolution keeps as many channels as it can."""
    values = np.zeros(tensor.shape)
    outs, ins = values.shape[0] // groups, values.shape[1]
    center = tuple(n // 2 for n in values.shape[2:])
    for group in range(groups):
        for channel in range(min(outs, ins)):
            values[(group * outs + channel, channel, *center)] = 1.0
    return _set(tensor, values)


# --- random --------------------------------------------------------------------------------------


def uniform_(
    tensor: Any, a: float = 0.0, b: float = 1.0, generator: Generator | None = None
) -> Any:
    """Draw all values from a ≤ x < b."""
    return _set(tensor, rng_of(generator).uniform(a, b, tensor.shape))


def normal_(
    tensor: Any, mean: float = 0.0, std: float = 1.0, generator: Generator | None = None
) -> Any:
    """Draw all values from a normal distribution."""
    return _set(tensor, rng_of(generator).normal(mean, std, tensor.shape))


def trunc_normal_(
    tensor: Any,
    mean: float = 0.0,
    std: float = 1.0,
    a: float = -2.0,
    b: float = 2.0,
    generator: Generator | None = None,
) -> Any:
    """Draw all values from a normal distribution, again where outside of a ≤ x ≤ b."""
    rng, values = rng_of(generator), np.full(tensor.shape, np.nan)
    for _ in range(1000):
        outside = ~((values >= a) & (values <= b))
        if not outside.any():
            return _set(tensor, values)
        values[outside] = rng.normal(mean, std, outside.sum())
    raise ValueError(f"trunc_normal_: no values of mean {mean} and std {std} in [{a}, {b}]")


def xavier_uniform_(tensor: Any, gain: float = 1.0, generator: Generator | None = None) -> Any:
    """Draw from −a ≤ x < a, of variance 2 · gain² / (fan_in + fan_out)."""
    return _uniform(tensor, gain * math.sqrt(2.0 / sum(fans(tensor))), generator)


def xavier_normal_(tensor: Any, gain: float = 1.0, generator: Generator | None = None) -> Any:
    """Draw from a normal distribution of variance 2 · gain² / (fan_in + fan_out)."""
    return normal_(tensor, 0.0, gain * math.sqrt(2.0 / sum(fans(tensor))), generator)


def kaiming_uniform_(
    tensor: Any,
    a: float = 0.0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Generator | None = None,
) -> Any:
    """Draw from −b ≤ x < b, of variance gain² / fan."""
    std = calculate_gain(nonlinearity, a) / math.sqrt(_fan(tensor, mode))
    return _uniform(tensor, std, generator)


def kaiming_normal_(
    tensor: Any,
    a: float = 0.0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Generator | None = None,
) -> Any:
    """Draw from a normal distribution of variance gain² / fan."""
    std = calculate_gain(nonlinearity, a) / math.sqrt(_fan(tensor, mode))
    return normal_(tensor, 0.0, std, generator)


def orthogonal_(tensor: Any, gain: float = 1.0, generator: Generator | None = None) -> Any:
    """Draw a matrix with orthonormal rows or columns, times `gain`."""
    shape = tuple(tensor.shape)
    rows, columns = shape[0], int(np.prod(shape[1:]))
    drawn = rng_of(generator).normal(size=(max(rows, columns), min(rows, columns)))
    q, r = np.linalg.qr(drawn)
    q *= np.sign(np.diag(r))
    return _set(tensor, gain * (q.T if rows < columns else q).reshape(shape))


def _uniform(tensor: Any, std: float, generator: Generator | None) -> Any:
    bound = math.sqrt(3.0) * std
    return uniform_(tensor, -bound, bound, generator)


# older names
xavier_uniform, xavier_normal, constant = xavier_uniform_, xavier_normal_, constant_
kaiming_uniform, kaiming_normal, normal = kaiming_uniform_, kaiming_normal_, normal_
uniform, orthogonal = uniform_, orthogonal_

__getattr__ = names.missing(__name__, "torch.nn.init", "torch.nn.init")
