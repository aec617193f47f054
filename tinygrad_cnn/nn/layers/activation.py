"""Activation functions as layers."""

from __future__ import annotations

from tinygrad_cnn import ops
from tinygrad_cnn.core.tensor import A
from tinygrad_cnn.nn.module import Parameterless
from tinygrad_cnn.support.arguments import choice, number, positive


class Sigmoid(Parameterless):
    """`tinygrad_cnn.sigmoid`, 1 / (1 + e⁻ˣ), of each value (eq 15).

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> tg.nn.Sigmoid()(tg.Tensor([0.0]))
    Tensor([0.5])
    """

    def forward(self, x: A) -> A:
        """Return σ(x), of the shape of `x`."""
        return ops.sigmoid(x)


class Tanh(Parameterless):
    """`tinygrad_cnn.tanh` of each value.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> tg.nn.Tanh()(tg.Tensor([0.0]))
    Tensor([0.])
    """

    def forward(self, x: A) -> A:
        """Return tanh x, of the shape of `x`."""
        return ops.tanh(x)


class ReLU(Parameterless):
    """`tinygrad_cnn.relu`, max(0, x), of each value.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> tg.nn.ReLU()(tg.Tensor([-1.0, 2.0]))
    Tensor([0., 2.])
    """

    def forward(self, x: A) -> A:
        """Return max(0, x), of the shape of `x`."""
        return ops.relu(x)


class LeakyReLU(Parameterless):
    """`tinygrad_cnn.leaky_relu`: x where x ≥ 0, else negative_slope · x.

    Parameters
    ----------
    negative_slope : float
        0 or more.

    Raises
    ------
    ValueError
        If `negative_slope` is out of range.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> tg.nn.LeakyReLU(0.1)(tg.Tensor([-1.0, 2.0]))
    Tensor([-0.1,  2. ])
    """

    def __init__(self, negative_slope: float = 0.01) -> None:
        self.negative_slope = number(type(self).__name__, "negative_slope", negative_slope)

    def forward(self, x: A) -> A:
        """Return the values, of the shape of `x`."""
        return ops.leaky_relu(x, self.negative_slope)


class GELU(Parameterless):
    """`tinygrad_cnn.gelu`, x·Φ(x), of each value.

    Parameters
    ----------
    approximate : {"none", "tanh"}
        With ``"tanh"``, Φ is approximated by a hyperbolic tangent.

    Raises
    ------
    ValueError
        If `approximate` is neither.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> tg.nn.GELU()(tg.Tensor([-1.0, 1.0]))
    Tensor([-0.15865526,  0.8413447 ])
    """

    def __init__(self, approximate: str = "none") -> None:
        self.approximate = choice(type(self).__name__, "approximate", approximate, ("none", "tanh"))

    def forward(self, x: A) -> A:
        """Return x·Φ(x), of the shape of `x`."""
        return ops.gelu(x, self.approximate)


class Softmax(Parameterless):
    """`tinygrad_cnn.softmax`, e^(x_i/T) / Σ_j e^(x_j/T), along an axis (eq 16; with T, eq 36).

    Parameters
    ----------
    dim : int
        The axis along which the result sums to 1.
    temperature : float
        T, above 0.

    Raises
    ------
    ValueError
        If an argument is out of range.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> tg.nn.Softmax(temperature=2.0)(tg.Tensor([1.0, 1.0]))
    Tensor([0.5, 0.5])
    """

    def __init__(self, dim: int = -1, temperature: float = 1.0) -> None:
        if not isinstance(dim, int) or isinstance(dim, bool):
            raise ValueError(f"{type(self).__name__}: dim is {dim!r}, expected an integer")
        self.dim = dim
        self.temperature = positive(type(self).__name__, "temperature", temperature)

    def forward(self, x: A) -> A:
        """Return the softmax, of the shape of `x`."""
        return ops.softmax(x, self.dim, self.temperature)
