"""Linear units as layers: near x on the right, bent left."""

from __future__ import annotations

import math

import numpy as np

from tinygrad_cnn import ops
from tinygrad_cnn.core.dtypes import get_default_dtype
from tinygrad_cnn.core.tensor import A, Parameter, Tensor
from tinygrad_cnn.nn.module import Parameterless
from tinygrad_cnn.nn.sizes import SizedLayer
from tinygrad_cnn.support.arguments import choice, number, positive


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
    Tensor([-0.15865527,  0.8413447 ])
    """

    def __init__(self, approximate: str = "none") -> None:
        self.approximate = choice(type(self).__name__, "approximate", approximate, ("none", "tanh"))

    def forward(self, x: A) -> A:
        """Return x·Φ(x), of the shape of `x`."""
        return ops.gelu(x, self.approximate)


class SiLU(Parameterless):
    """`tinygrad_cnn.silu`, x·σ(x), of each value.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> tg.nn.SiLU()(tg.Tensor([-1.0, 1.0]))
    Tensor([-0.2689414,  0.7310586])
    """

    def forward(self, x: A) -> A:
        """Return the values, of the shape of `x`."""
        return ops.silu(x)


class Mish(Parameterless):
    """`tinygrad_cnn.mish`, x·tanh(softplus(x)), of each value.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> tg.nn.Mish()(tg.Tensor([-1.0, 1.0]))
    Tensor([-0.3034014,  0.8650984])
    """

    def forward(self, x: A) -> A:
        """Return the values, of the shape of `x`."""
        return ops.mish(x)


class ELU(Parameterless):
    """`tinygrad_cnn.elu`: x where x > 0, else α·(eˣ − 1).

    Parameters
    ----------
    alpha : float
        α, 0 or more.

    Raises
    ------
    ValueError
        If `alpha` is out of range.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> tg.nn.ELU(0.5)(tg.Tensor([-1000.0, 2.0]))
    Tensor([-0.5,  2. ])
    """

    def __init__(self, alpha: float = 1.0) -> None:
        self.alpha = number(type(self).__name__, "alpha", alpha)

    def forward(self, x: A) -> A:
        """Return the values, of the shape of `x`."""
        return ops.elu(x, self.alpha)


class CELU(Parameterless):
    """`tinygrad_cnn.celu`: x where x > 0, else α·(e^(x/α) − 1).

    Parameters
    ----------
    alpha : float
        α, above 0.

    Raises
    ------
    ValueError
        If `alpha` is out of range.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> tg.nn.CELU(0.5)(tg.Tensor([-1000.0, 2.0]))
    Tensor([-0.5,  2. ])
    """

    def __init__(self, alpha: float = 1.0) -> None:
        self.alpha = positive(type(self).__name__, "alpha", alpha)

    def forward(self, x: A) -> A:
        """Return the values, of the shape of `x`."""
        return ops.celu(x, self.alpha)


class SELU(Parameterless):
    """`tinygrad_cnn.selu`, which keeps mean 0 and variance 1 from layer to layer, of each value.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> tg.nn.SELU()(tg.Tensor([-1000.0, 2.0]))
    Tensor([-1.7580993,  2.101402 ])
    """

    def forward(self, x: A) -> A:
        """Return the values, of the shape of `x`."""
        return ops.selu(x)


class PReLU(SizedLayer):
    """`tinygrad_cnn.prelu`: x where x > 0, else w·x with a parameter w.

    Parameters
    ----------
    num_parameters : int or None
        1, or the number of channels, the entries of axis 1, for a value for each. With None, the
        number of channels of the first input.
    init : float
        The initial value of `weight`.

    Attributes
    ----------
    weight : Parameter
        w, of shape (num_parameters,).

    Raises
    ------
    ValueError
        If `num_parameters` is not a positive integer, or not that of the input's channels.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> layer = tg.nn.PReLU(2)
    >>> layer(tg.Tensor([[-1.0, 3.0]])).numpy()
    array([[-0.25,  3.  ]], dtype=float32)
    """

    inferred, input_axis = "num_parameters", 1

    def __init__(self, num_parameters: int | None = 1, init: float = 0.25) -> None:
        self.num_parameters = self._size(num_parameters)
        self.init = number(type(self).__name__, "init", init, least=-math.inf)
        self._when_sized(["weight"], self._make)

    def _make(self) -> None:
        values = np.full(self.num_parameters, self.init, get_default_dtype())
        self.weight = Parameter(values, name="weight")

    def forward(self, x: A) -> Tensor:
        """Return the values, of the shape of `x`."""
        return ops.prelu(x, self.weight)
