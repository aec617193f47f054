"""The text's perceptron."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn.core.random import generator
from tinygrad_cnn.core.tensor import Tensor
from tinygrad_cnn.nn.init import Initializer, zeros
from tinygrad_cnn.nn.layers import Flatten, Linear, Softmax
from tinygrad_cnn.nn.layers.linear import Bias
from tinygrad_cnn.nn.models.activations import ACTIVATIONS
from tinygrad_cnn.nn.module import Module
from tinygrad_cnn.support.arguments import choice, wholes


class MLP(Module):
    """The text's fully connected perceptron, with any number of hidden layers (section 0.3).

    Parameters
    ----------
    sizes : sequence of int
        n⁰, n¹, ..., nˡ⁺¹ of the text: the number of inputs, the width of each of the l hidden
        layers, and the number of outputs.
    activation : str
        A key of `tinygrad_cnn.nn.ACTIVATIONS`: the activation of the hidden layers (eq 15).
    output : {None, "softmax"}
        The output activation: None returns logits, for `cross_entropy`; "softmax" (eq 16) is for
        `squared_error`.
    bias : bool or "per_connection"
        As for `Linear`; the text has one per connection (eq 25).
    init, bias_init : callable, optional
        Initializers of weights and biases: see `tinygrad_cnn.nn.init`. By default that of the
        activation in `ACTIVATIONS` (He's or Glorot's), and zero biases. To initialize as the text
        and Nielsen's book do, pass `standard_normal` for both.
    rng : numpy.random.Generator, optional
        Source of the initial values; by default the generator that `manual_seed` sets.

    Attributes
    ----------
    fc : list of Linear
        The layers: ``fc[k].weight`` is w of layer k + 1, of shape (nᵏ⁺¹, nᵏ).

    Raises
    ------
    ValueError
        If an argument is out of range.
    TypeError
        If `rng` is not a generator, or an initializer is not callable.

    Examples
    --------
    >>> import numpy as np
    >>> import tinygrad_cnn as tg
    >>> model = tg.nn.MLP((784, 30, 10))
    >>> model(np.zeros((32, 1, 28, 28), "f4")).shape
    (32, 10)
    """

    def __init__(
        self,
        sizes: Sequence[int],
        activation: str = "sigmoid",
        output: str | None = None,
        bias: Bias = True,
        init: Initializer | None = None,
        bias_init: Initializer = zeros,
        *,
        rng: np.random.Generator | None = None,
    ) -> None:
        owner = type(self).__name__
        self.sizes = wholes(owner, "sizes", sizes)
        if len(self.sizes) < 2:
            raise ValueError(f"{owner}: sizes is {sizes!r}, expected at least (inputs, outputs)")
        self.activation = choice(owner, "activation", activation, ACTIVATIONS)
        self.output = choice(owner, "output", output, (None, "softmax"))
        function = ACTIVATIONS[activation]
        options: dict[str, Any] = {
            "bias": bias,
            "rng": generator(owner, rng),
            "init": function.init if init is None else init,
            "bias_init": bias_init,
        }
        self.flatten = Flatten()
        self.fc = [Linear(a, b, **options) for a, b in pairwise(self.sizes)]
        self.activations = [function.make() for _ in self.sizes[1:-1]]
        if output == "softmax":
            self.softmax = Softmax()

    @property
    def input_shape(self) -> tuple[int, ...]:
        """The shape of one example, flattened."""
        return self.sizes[:1]

    def forward(self, x: Tensor | NDArray[Any]) -> Tensor:
        """Return Y or the last z, of shape (N, outputs), for `x` of shape (N, ...)."""
        x = self.flatten(x)
        for layer, activation in zip(self.fc, self.activations, strict=False):
            x = activation(layer(x))
        y = self.fc[-1](x)
        return y if self.output is None else self.softmax(y)
