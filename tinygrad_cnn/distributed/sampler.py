"""`DistributedSampler`: divides each batch among the ranks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn.data import Sampler
from tinygrad_cnn.distributed import ranks
from tinygrad_cnn.support.arguments import flag, whole

__all__ = ["DistributedSampler"]


class DistributedSampler(Sampler):
    """Divide each batch of a `DataLoader` among the ranks.

    The loader's ``batch_size`` is that of the global batch. All ranks together see the batches of
    one process with the same ``seed``, in the same order. A batch that cannot be divided evenly
    gives the first ranks one example more; if there are fewer examples than ranks, the last get an
    empty batch (see `allow_empty`). Transforms draw other random numbers on each rank.

    Parameters
    ----------
    source : data set or Sampler
        The data set of the loader, or the sampler that one process would have.
    shuffle : bool
        Whether to draw a new order of a data set every epoch. A `Sampler` has its own order.
    num_replicas, rank : int, optional
        The number of ranks, and this one; by default those of the program.

    Raises
    ------
    ValueError
        If `rank` is not below `num_replicas`.
    TypeError
        If `source` has no length.

    Examples
    --------
    >>> from tinygrad_cnn.data import DataLoader
    >>> images = np.arange(10)
    >>> for rank in (0, 1):
    ...     sampler = DistributedSampler(images, shuffle=False, num_replicas=2, rank=rank)
    ...     [batch.tolist() for batch in DataLoader(images, batch_size=4, sampler=sampler)]
    [[0, 1], [4, 5], [8]]
    [[2, 3], [6, 7], [9]]
    """

    def __init__(
        self,
        source: Any,
        shuffle: bool = True,
        *,
        num_replicas: int | None = None,
        rank: int | None = None,
    ) -> None:
        owner = "DistributedSampler"
        count = ranks.size() if num_replicas is None else whole(owner, "num_replicas", num_replicas)
        own = ranks.rank() if rank is None else whole(owner, "rank", rank, 0)
        if own >= count:
            raise ValueError(f"{owner}: rank is {own}, expected 0 to {count - 1}")
        self.part = own, count
        self.shuffle = flag(owner, "shuffle", shuffle)
        self._sampler = source if isinstance(source, Sampler) else None
        self._count = _length(source)

    def __len__(self) -> int:
        return self._count if self._sampler is None else len(self._sampler)

    def draw(self, rng: np.random.Generator) -> NDArray[np.integer[Any]]:
        """Return the indices of an epoch, of all ranks."""
        if self._sampler is not None:
            return self._sampler.draw(rng)
        return rng.permutation(self._count) if self.shuffle else np.arange(self._count)

    def __repr__(self) -> str:
        return f"DistributedSampler({len(self)} examples, part={self.part}, shuffle={self.shuffle})"


def _length(source: Any) -> int:
    """Return the number of examples, as a `DataLoader` counts them."""
    if isinstance(source, Mapping):
        source = tuple(source.values())
    if isinstance(source, tuple) and source and not hasattr(source, "_make"):
        source = source[0]
    if not hasattr(source, "__len__"):
        raise TypeError(
            f"DistributedSampler: source is {type(source).__name__}, expected a data set or Sampler"
        )
    return len(source)
