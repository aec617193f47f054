"""The fully connected layer."""

from __future__ import annotations

from typing import Literal, TypeAlias

import numpy as np

from tinygrad_cnn import ops
from tinygrad_cnn.core.random import generator
from tinygrad_cnn.core.tensor import Tensor, TensorLike
from tinygrad_cnn.engine.arrays import Shape
from tinygrad_cnn.nn.init import Initializer, kaiming_uniform, zeros
from tinygrad_cnn.nn.layers.parameter import drawn
from tinygrad_cnn.nn.sizes import SizedLayer
from tinygrad_cnn.support.arguments import choice, whole

Bias: TypeAlias = bool | Literal["per_connection"]


class Linear(SizedLayer):
    """A fully connected layer: z_i = Σ_p x_p w_ip + b_i.

    Parameters
    ----------
    in_features, out_features : int
        The number of inputs and of outputs. The first input determines `in_features` if it is None.
    bias : bool or "per_connection"
        Whether to add a bias b_i to each output. ``"per_connection"`` adds the text's b_ip for each
        connection instead: z_i = Σ_p (x_p w_ip + b_ip) (eq 25). Only the sum of an output's biases
        matters, so the model is no more expressive; but each bias takes the whole gradient step,
        so the sum moves `in_features` times as far (eq 28).
    rng : numpy.random.Generator, optional
        Source of the initial values; by default the generator that `manual_seed` sets.
    init, bias_init : callable
        Initializers of the weights and the biases: see `tinygrad_cnn.nn.init`.

    Attributes
    ----------
    weight : Parameter
        Of shape (out, in): ``weight[i, p]`` connects input p to output i.
    bias : Parameter or None
        Of shape (out,), or (out, in) for one per connection.

    Raises
    ------
    ValueError
        If an argument is out of range. On a call, if `x` does not have the shape (..., in).
    TypeError
        If `rng` is not a generator, or an initializer is not callable.

    Examples
    --------
    >>> import numpy as np
    >>> import tinygrad_cnn as tg
    >>> layer = tg.nn.Linear(784, 10)
    >>> layer(tg.Tensor(np.zeros((32, 784), "f4"))).shape
    (32, 10)
    """

    inferred, input_axis = "in_features", -1

    def __init__(
        self,
        in_features: int | None,
        out_features: int,
        bias: Bias = True,
        *,
        rng: np.random.Generator | None = None,
        init: Initializer = kaiming_uniform,
        bias_init: Initializer = zeros,
    ) -> None:
        owner = type(self).__name__
        self.in_features = self._size(in_features)
        self.out_features = whole(owner, "out_features", out_features)
        choice(owner, "bias", bias, (True, False, "per_connection"))
        names = ["weight", "bias"] if bias else ["weight"]
        self._when_sized(names, self._draw, bias, generator(owner, rng), init, bias_init)

    def _draw(
        self, bias: Bias, rng: np.random.Generator, init: Initializer, bias_init: Initializer
    ) -> None:
        """Initialize weights and biases."""
        owner = type(self).__name__
        shape = (self.out_features, self.in_features)
        self.weight = drawn(owner, "weight", init, shape, rng)
        self.bias = None
        if bias:
            bias_shape = shape if bias == "per_connection" else shape[:1]
            self.bias = drawn(owner, "bias", bias_init, bias_shape, rng)

    def _size_in(self, weight: Shape) -> int:
        return weight[1]

    def forward(self, x: TensorLike) -> Tensor:
        """Return z, of shape (..., out), for `x` of shape (..., in)."""
        bias = self.bias
        if bias is not None and bias.ndim == 2:
            return ops.linear(x, self.weight, bias.sum(axis=1))
        return ops.linear(x, self.weight, bias)

    def extra_repr(self) -> str:
        """Return the arguments to show."""
        per_connection = isinstance(self.bias, Tensor) and self.bias.ndim == 2
        return super().extra_repr() + (", bias='per_connection'" if per_connection else "")
