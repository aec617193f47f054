"""Dropout of values and of channels."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn import ops
from tinygrad_cnn.core.effects import effect, writes
from tinygrad_cnn.core.random import own_generator
from tinygrad_cnn.core.tensor import A
from tinygrad_cnn.core.variable import array_of
from tinygrad_cnn.engine.arrays import Shape
from tinygrad_cnn.nn.module import Parameterless
from tinygrad_cnn.support.arguments import share


class Dropout(Parameterless):
    """Dropout: in train mode, zero random values and scale the rest to keep the mean.

    Each value is zeroed independently with probability `p`; the others are divided by 1 − p. In
    eval mode values pass unchanged.

    Parameters
    ----------
    p : float
        From 0 to 1. With 1, every value is zeroed.
    rng : numpy.random.Generator, optional
        Source of the decisions. By default the layer keeps a generator of its own, seeded once from
        the one that `manual_seed` sets: it is copied, pickled and saved with the layer.

    Raises
    ------
    ValueError
        If `p` is out of range.
    TypeError
        If `rng` is not a generator.

    Notes
    -----
    Srivastava et al., "Dropout: a simple way to prevent neural networks from overfitting", 2014.

    Examples
    --------
    >>> import numpy as np
    >>> import tinygrad_cnn as tg
    >>> layer = tg.nn.Dropout(0.5, rng=np.random.default_rng(0))
    >>> layer(tg.Tensor([1.0, 2.0, 3.0, 4.0]))
    Tensor([2., 4., 6., 0.])
    >>> layer.eval()(tg.Tensor([1.0, 2.0, 3.0, 4.0]))
    Tensor([1., 2., 3., 4.])
    """

    def __init__(self, p: float = 0.5, *, rng: np.random.Generator | None = None) -> None:
        owner = type(self).__name__
        self.p = share(owner, "p", p)
        self.rng = own_generator(owner, rng)

    def forward(self, x: A) -> A:
        """Return `x` with values dropped, in the same shape."""
        if not self.training or self.p == 0.0:
            return x
        return ops.dropout(x, self._kept(self._dropped(np.shape(array_of(x)))), self.p)

    @effect
    @writes()
    def _kept(self, shape: Shape) -> NDArray[Any]:
        """Draw which values are kept."""
        # float32 draws are multiples of 2⁻²⁴, too coarse for a p near that
        return self.rng.random(shape, np.float32 if self.p > 1e-3 else np.float64) >= self.p

    def _dropped(self, shape: Shape) -> Shape:
        """Return the shape of the decisions for an input of `shape`."""
        return shape


class Dropout1d(Dropout):
    """Dropout of whole channels of sequences, of shape (N, C, L) or (C, L).

    Parameters
    ----------
    p, rng
        As for `Dropout`: `p` is the probability of zeroing a channel of an example.

    Examples
    --------
    >>> import numpy as np
    >>> import tinygrad_cnn as tg
    >>> layer = tg.nn.Dropout1d(0.5, rng=np.random.default_rng(0))
    >>> layer(tg.Tensor([[[1.0, 2.0], [3.0, 4.0], [5.0, 6.0], [7.0, 8.0]]])).numpy()[0]
    array([[ 2.,  4.],
           [ 6.,  8.],
           [10., 12.],
           [ 0.,  0.]], dtype=float32)
    """

    _dims, _expected = 1, "(N, C, L) or (C, L)"

    def _dropped(self, shape: Shape) -> Shape:
        if len(shape) not in (self._dims + 1, self._dims + 2):
            raise ValueError(
                f"{type(self).__name__}: x has shape {shape}, expected {self._expected}"
            )
        return shape[: -self._dims] + (1,) * self._dims


class Dropout2d(Dropout1d):
    """Dropout of whole channels of images, of shape (N, C, H, W) or (C, H, W).

    Parameters
    ----------
    p, rng
        As for `Dropout`: `p` is the probability of zeroing a channel of an example.

    Notes
    -----
    Tompson et al., "Efficient object localization using convolutional networks", 2015.

    Examples
    --------
    >>> import numpy as np
    >>> import tinygrad_cnn as tg
    >>> layer = tg.nn.Dropout2d(0.5, rng=np.random.default_rng(0))
    >>> layer(np.ones((1, 4, 3, 3))).sum((2, 3))
    array([[18., 18., 18.,  0.]])
    """

    _dims, _expected = 2, "(N, C, H, W) or (C, H, W)"
