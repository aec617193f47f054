"""Buckets: groups of gradients that are summed over the ranks by one message."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from mpi4py.MPI import Intracomm, Request

    from tinygrad_cnn.core.variable import Variable

__all__ = ["Bucket", "divided"]

# A message costs some 50 µs, and 1.5 µs for each KB. So larger buckets save little; and the last,
# with the gradients of the first layers, is not hidden: all its time counts.
LIMIT = 1 << 20  # bytes
FIRST = 4  # the first bucket has this fraction of them, to be sent early


class Bucket:
    """The gradients of some parameters, one after the other in one array.

    A number for each parameter follows, 1 where the rank has a gradient: the sum is the number of
    ranks that have one.

    Parameters
    ----------
    parameters : sequence of Tensor
        Of one dtype.
    """

    def __init__(self, parameters: Sequence[Variable]) -> None:
        self.parameters = list(parameters)
        sizes = [math.prod(p.shape) for p in self.parameters]
        self.buffer = np.zeros(sum(sizes) + len(sizes), self.parameters[0].dtype)
        ends = np.cumsum([0, *sizes]).tolist()
        self._views = [
            self.buffer[start:end].reshape(p.shape)
            for p, start, end in zip(self.parameters, ends[:-1], ends[1:], strict=True)
        ]
        self._counts = self.buffer[ends[-1] :]
        self._missing = len(sizes)
        self._request: Request | None = None

    @property
    def is_full(self) -> bool:
        """Whether `put` was called for each parameter."""
        return self._missing == 0

    def put(self, place: int, gradient: NDArray[Any] | None, weight: float) -> None:
        """Set the gradient of a parameter, times `weight`; None for a rank that has none.

        With a weight of 0 it is 0, even if the gradient is NaN, as a mean of no examples is.
        """
        view = self._views[place]
        if gradient is None or weight == 0:
            view[...] = 0
        else:
            np.multiply(gradient, view.dtype.type(weight), out=view)
        self._counts[place] = gradient is not None
        self._missing -= 1

    def add(self, place: int, share: NDArray[Any]) -> None:
        """Add to the gradient of a parameter, after `put`."""
        self._views[place][...] += share
        self._counts[place] = 1

    def start(self, comm: Intracomm) -> None:
        """Start to sum the bucket over the ranks."""
        from mpi4py import MPI

        self._request = comm.Iallreduce(MPI.IN_PLACE, self.buffer)

    def is_done(self) -> bool:
        """Let MPI work, and return whether the sum is complete."""
        return self._request is None or bool(self._request.Test())

    def wait(self) -> None:
        """Wait for the sum."""
        if self._request is not None:
            self._request.Wait()
        self._request = None
        self._missing = len(self.parameters)

    def sums(self) -> Iterator[tuple[Variable, NDArray[Any] | None]]:
        """Yield the parameters and new arrays of their sums; None if no rank has a gradient."""
        for parameter, view, count in zip(self.parameters, self._views, self._counts, strict=True):
            total = None
            if count:
                total = np.empty_like(parameter._array)
                total[...] = view
            yield parameter, total


def divided(parameters: Sequence[Variable], limit: int = LIMIT) -> list[Bucket]:
    """Return the buckets of `parameters`, the last parameter in the first bucket.

    Parameters
    ----------
    parameters : sequence of Tensor
        In the order of the forward; their gradients come in about the reverse order.
    limit : int
        The bytes of a bucket; a quarter of them for the first. A parameter may have more.
    """
    groups: list[list[Variable]] = []
    room: dict[Any, tuple[list[Variable], int]] = {}  # by dtype: the open group, bytes left
    for parameter in reversed(parameters):
        size = parameter._array.nbytes
        group, left = room.get(parameter.dtype, ([], 0))
        if not group or size > left:
            group, left = [], limit if groups else limit // FIRST
            groups.append(group)
        group.append(parameter)
        room[parameter.dtype] = group, left - size
    return [Bucket(group) for group in groups]
