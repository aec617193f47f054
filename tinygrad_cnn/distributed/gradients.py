"""Sums of gradients over the ranks."""

from __future__ import annotations

import functools
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from tinygrad_cnn import ops
from tinygrad_cnn.core.effects import effect
from tinygrad_cnn.core.tensor import Tensor
from tinygrad_cnn.core.variable import array_of
from tinygrad_cnn.distributed.buckets import LIMIT, Bucket, divided
from tinygrad_cnn.distributed.ranks import communicator, guard
from tinygrad_cnn.support.arguments import whole

if TYPE_CHECKING:
    from mpi4py.MPI import Intracomm

    from tinygrad_cnn.core.variable import Variable

__all__ = ["Communication", "Summation", "allow_empty", "average_gradients"]


@dataclass(slots=True)
class Communication:
    """Counts of the communication of gradients by this rank, since the start or `reset`.

    Attributes
    ----------
    sweeps : int
        The backward passes after which gradients were summed.
    messages : int
        The all-reduces of gradients, one for each bucket.
    bytes : int
        The bytes of these buckets. An all-reduce over n ranks sends and receives 2(n − 1)/n times
        as many bytes.
    in_flight : float
        The seconds from the start of the first message of a sweep to the end of the last one.
    waiting : float
        The seconds in which this rank only waited for messages, for other ranks included.
    working : float
        The seconds spent on copies, and on calls of MPI that do not wait.

    Examples
    --------
    >>> Communication(in_flight=0.5, waiting=0.125).hidden
    0.75
    """

    sweeps: int = 0
    messages: int = 0
    bytes: int = 0
    in_flight: float = 0.0
    waiting: float = 0.0
    working: float = 0.0

    @property
    def hidden(self) -> float:
        """The share of the time in flight during which this rank computed; 1 if there is none."""
        return 1.0 - self.waiting / self.in_flight if self.in_flight else 1.0

    def reset(self) -> None:
        """Set all counts to 0."""
        self.sweeps = self.messages = self.bytes = 0
        self.in_flight = self.waiting = self.working = 0.0


class Summation:
    """Sums the gradients of some parameters over the ranks, in buckets.

    A bucket is sent once it and all before it are full, so that all ranks send them in one order.
    """

    def __init__(
        self,
        parameters: Sequence[Variable],
        comm: Intracomm,
        statistics: Communication,
        limit: int = LIMIT,
    ) -> None:
        self._comm, self._statistics = comm, statistics
        self.buckets = divided(parameters, limit)
        self._places: dict[Variable, tuple[Bucket, int]] = {
            parameter: (bucket, place)
            for bucket in self.buckets
            for place, parameter in enumerate(bucket.parameters)
        }
        self._missing = set(self._places)
        self._started = self._done = 0
        self._since = 0.0

    def put(
        self,
        parameter: Variable,
        gradient: NDArray[Any] | None,
        weight: float,
        share: NDArray[Any] | None = None,
    ) -> None:
        """Take ``weight * gradient + share`` of this rank; start the buckets that are full."""
        started = perf_counter()
        bucket, place = self._places[parameter]
        bucket.put(place, gradient, weight)
        if share is not None:
            bucket.add(place, share)
        self._missing.discard(parameter)
        self._send()
        if self._done < self._started and self.buckets[self._done].is_done():
            self._done += 1
        self._statistics.working += perf_counter() - started

    def missing(self) -> list[Variable]:
        """Return the parameters that `put` was not called for."""
        return [p for bucket in self.buckets for p in bucket.parameters if p in self._missing]

    def _send(self) -> None:
        while self._started < len(self.buckets) and self.buckets[self._started].is_full:
            bucket = self.buckets[self._started]
            if self._started == 0:
                self._since = perf_counter()
            bucket.start(self._comm)
            self._started += 1
            self._statistics.messages += 1
            self._statistics.bytes += bucket.buffer.nbytes

    def finish(self) -> Iterator[tuple[Variable, NDArray[Any] | None]]:
        """Wait, and yield each parameter and its sum; None if no rank has a gradient."""
        statistics = self._statistics
        for bucket in self.buckets:
            started = perf_counter()
            with guard().waiting("the sum of the gradients"):
                bucket.wait()
            ended = perf_counter()
            statistics.waiting += ended - started
            yield from bucket.sums()
            statistics.working += perf_counter() - ended
        if self.buckets:
            statistics.in_flight += ended - self._since
        statistics.sweeps += 1
        self._missing = set(self._places)
        self._started = self._done = 0


def allow_empty(loss: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Return `loss`, but 0 for a batch without examples, whose mean has no value.

    A rank gets such a batch if there are fewer examples than ranks. It must call forward and
    backward like the others.

    Parameters
    ----------
    loss : callable
        ``loss(outputs, targets)``: the mean over a batch.

    Examples
    --------
    >>> import numpy as np
    >>> import tinygrad_cnn as tg
    >>> loss = allow_empty(tg.cross_entropy)
    >>> loss(tg.Tensor(np.zeros((0, 10))), np.zeros(0, int)).item()
    0.0
    """

    @functools.wraps(loss)
    def allowing(outputs: Any, *targets: Any, **options: Any) -> Tensor:
        if 0 in outputs.shape[:1]:
            nothing: Tensor = ops.sum(outputs)
            return nothing
        return loss(outputs, *targets, **options)

    return allowing


@effect
def average_gradients(parameters: Iterable[Tensor] | Tensor, examples: int | None = None) -> None:
    """Replace each ``.grad`` by the mean over the ranks: call it between backward and step.

    `DataParallel` does the same during the backward. Do not use both.

    Parameters
    ----------
    parameters : Tensor or iterable of Tensor
        The same, in the same order, on all ranks. One that has a gradient on no rank keeps None.
    examples : int, optional
        The number of examples that this rank's loss is the mean of. The gradients are weighted by
        it: the mean over all examples results. By default all ranks count the same.

    Raises
    ------
    TypeError
        If a gradient has a graph, as after ``backward(create_graph=True)``.
    ValueError
        If `examples` is negative.
    RankError
        If number, shapes or dtypes of the parameters differ between ranks; on all ranks.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> w = tg.Tensor([1.0, 2.0], requires_grad=True)
    >>> (w * w).sum().backward()
    >>> average_gradients(w, examples=1)
    >>> w.grad
    array([2., 4.], dtype=float32)
    """
    leaves = [parameters] if isinstance(parameters, Tensor) else list(dict.fromkeys(parameters))
    count = None if examples is None else whole("average_gradients", "examples", examples, 0)
    comm = communicator()
    for leaf in leaves:
        if isinstance(leaf._grad, Tensor):
            raise TypeError(
                f"average_gradients: the gradient of {leaf.name or 'a parameter'} has a graph, "
                "which does not reach other ranks"
            )
    if comm is None or comm.size == 1:
        return
    kinds = zlib.crc32(repr([(leaf.shape, leaf.dtype.str) for leaf in leaves]).encode())
    where = f"average_gradients() of {len(leaves)} parameters, shapes {kinds:08x}"
    total = guard().exchange(where, 1 if count is None else count)[0]
    weight = (1 if count is None else count) / total if total else 1.0 / comm.size
    summation = Summation(leaves, comm, Communication())
    for leaf in reversed(leaves):
        summation.put(leaf, array_of(leaf._grad), weight)
    for parameter, mean in summation.finish():
        parameter._grad = mean
