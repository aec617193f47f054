"""The embedding: a table of vectors, looked up by number."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tinygrad_cnn import ops
from tinygrad_cnn.core.effects import constant, pure
from tinygrad_cnn.core.random import generator
from tinygrad_cnn.core.recording import recording
from tinygrad_cnn.core.tensor import Tensor
from tinygrad_cnn.core.variable import array_of
from tinygrad_cnn.nn.init import Initializer, standard_normal
from tinygrad_cnn.nn.layers.parameter import drawn
from tinygrad_cnn.nn.module import Module
from tinygrad_cnn.support.arguments import whole


class Embedding(Module):
    """A table of vectors, looked up by number, such as those of words.

    Parameters
    ----------
    num_embeddings : int
        The number of vectors.
    embedding_dim : int
        The length of each.
    padding_idx : int, optional
        The number of a vector that is initially 0 and gets no gradient; negative ones count from
        the end.
    rng : numpy.random.Generator, optional
        Source of the initial values; by default the generator that `manual_seed` sets.
    init : callable
        Initializer of the vectors: see `tinygrad_cnn.nn.init`.

    Attributes
    ----------
    weight : Parameter
        The vectors, of shape (num_embeddings, embedding_dim).

    Raises
    ------
    ValueError
        If an argument is out of range.
    TypeError
        If `rng` is not a generator, or `init` is not callable. On a call, if the numbers are not
        integers.
    IndexError
        On a call, if a number is out of range.

    Examples
    --------
    >>> import numpy as np
    >>> import tinygrad_cnn as tg
    >>> table = tg.nn.Embedding(10, 3, padding_idx=0)
    >>> table(np.array([[1, 2, 0, 0], [4, 3, 9, 0]])).shape
    (2, 4, 3)
    """

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        padding_idx: int | None = None,
        *,
        rng: np.random.Generator | None = None,
        init: Initializer = standard_normal,
    ) -> None:
        owner = type(self).__name__
        self.num_embeddings = whole(owner, "num_embeddings", num_embeddings)
        self.embedding_dim = whole(owner, "embedding_dim", embedding_dim)
        self.padding_idx = padding_idx
        shape = (self.num_embeddings, self.embedding_dim)
        self.weight = drawn(owner, "weight", init, shape, generator(owner, rng))
        if padding_idx is not None:
            if whole(owner, "padding_idx", padding_idx, -num_embeddings) >= num_embeddings:
                raise ValueError(
                    f"{owner}: padding_idx is {padding_idx}, expected less than {num_embeddings}"
                )
            self.padding_idx = padding_idx % num_embeddings
            self.weight._array[self.padding_idx] = 0.0

    def forward(self, x: ArrayLike | Tensor) -> Tensor:
        """Return the vectors of the numbers `x`, of its shape and an axis more."""
        owner, index = type(self).__name__, np.asarray(array_of(x))
        if index.dtype.kind not in "iu":
            raise TypeError(f"{owner}: x holds {index.dtype}, expected integers")
        if index.size and not 0 <= index.min() <= index.max() < self.num_embeddings:
            raise IndexError(
                f"{owner}: x holds {index.min()} to {index.max()}, expected 0 to "
                f"{self.num_embeddings - 1}"
            )
        if not isinstance(x, np.ndarray | Tensor):
            constant(index)
        vectors = ops.getitem(self.weight, index)
        if self.padding_idx is None or not recording.get().on:
            return vectors
        return ops.where(_is_padding(index, self.padding_idx), vectors.detach(), vectors)


@pure
def _is_padding(index: NDArray[Any], padding_idx: int) -> NDArray[Any]:
    return np.asarray((index == padding_idx)[..., np.newaxis])
