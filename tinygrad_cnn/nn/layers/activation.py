"""Activation functions as layers."""

from __future__ import annotations

from tinygrad_cnn import ops
from tinygrad_cnn.core.tensor import A
from tinygrad_cnn.nn.module import Parameterless
from tinygrad_cnn.support.arguments import number, positive, share


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

    Parameters
    ----------
    at_zero : float
        The derivative at 0, from 0 to 1: 1 as the text defines it, 0 as in PyTorch.

    Raises
    ------
    ValueError
        If `at_zero` is out of range.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> tg.nn.ReLU()(tg.Tensor([-1.0, 2.0]))
    Tensor([0., 2.])
    """

    def __init__(self, *, at_zero: float = 1.0) -> None:
        self.at_zero = share(type(self).__name__, "at_zero", at_zero)

    def forward(self, x: A) -> A:
        """Return max(0, x), of the shape of `x`."""
        return ops.relu(x, self.at_zero)


class LeakyReLU(Parameterless):
    """`tinygrad_cnn.leaky_relu`: x where x ≥ 0, else negative_slope · x.

    Parameters
    ----------
    negative_slope : float
        0 or more.
    at_zero : float
        The derivative at 0, from 0 to 1 or `negative_slope`, which PyTorch has.

    Raises
    ------
    ValueError
        If an argument is out of range.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> tg.nn.LeakyReLU(0.1)(tg.Tensor([-1.0, 2.0]))
    Tensor([-0.1,  2. ])
    """

    def __init__(self, negative_slope: float = 0.01, *, at_zero: float = 1.0) -> None:
        owner = type(self).__name__
        self.negative_slope = number(owner, "negative_slope", negative_slope)
        same = at_zero == self.negative_slope
        self.at_zero = self.negative_slope if same else share(owner, "at_zero", at_zero)

    def forward(self, x: A) -> A:
        """Return the values, of the shape of `x`."""
        return ops.leaky_relu(x, self.negative_slope, self.at_zero)


class Softplus(Parameterless):
    """`tinygrad_cnn.softplus`, ln(1 + e^(β·x)) / β, of each value.

    Parameters
    ----------
    beta : float
        β, above 0.
    threshold : float
        Where β·x is above it, the result is `x`, which it equals to nearly all digits.

    Raises
    ------
    ValueError
        If an argument is out of range.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> tg.nn.Softplus(beta=2.0)(tg.Tensor([0.0, 1000.0]))
    Tensor([3.465736e-01, 1.000000e+03])
    """

    def __init__(self, beta: float = 1.0, threshold: float = 20.0) -> None:
        self.beta = positive(type(self).__name__, "beta", beta)
        self.threshold = number(type(self).__name__, "threshold", threshold)

    def forward(self, x: A) -> A:
        """Return ln(1 + e^(β·x)) / β, of the shape of `x`."""
        scaled = ops.mul(x, self.beta)
        smooth = ops.div(ops.softplus(scaled), self.beta)
        return ops.where(scaled > self.threshold, x, smooth)


class LogSigmoid(Parameterless):
    """`tinygrad_cnn.logsigmoid`, ln σ(x), of each value.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> tg.nn.LogSigmoid()(tg.Tensor([-1000.0, 0.0]))
    Tensor([-1.000000e+03, -6.931472e-01])
    """

    def forward(self, x: A) -> A:
        """Return ln σ(x), of the shape of `x`."""
        return ops.logsigmoid(x)


class Softsign(Parameterless):
    """`tinygrad_cnn.softsign`, x / (1 + |x|), of each value.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> tg.nn.Softsign()(tg.Tensor([-1.0, 3.0]))
    Tensor([-0.5 ,  0.75])
    """

    def forward(self, x: A) -> A:
        """Return x / (1 + |x|), of the shape of `x`."""
        return ops.softsign(x)


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


class LogSoftmax(Softmax):
    """`tinygrad_cnn.log_softmax`, the logarithm of `Softmax`, exact where it underflows.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> tg.nn.LogSoftmax(1)(tg.Tensor([[0.0, 1000.0]]))
    Tensor([[-1000.,     0.]])
    """

    def forward(self, x: A) -> A:
        """Return the logarithm of the softmax, of the shape of `x`."""
        return ops.log_softmax(x, self.dim, self.temperature)
