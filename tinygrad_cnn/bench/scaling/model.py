r"""A cost model of data-parallel training: seconds of a step from compute, bytes and latency.

Each of n ranks computes the gradients of its own b images. Backward finishes the gradients of the
last layers first; they are summed in buckets while those of earlier layers are still computed:

.. code-block:: text

    compute   c = a₀ + a₁·b                        forward and backward
    bucket k  T_k = m(n)·α + 2(n − 1)/n · s_k/β    s_k bytes in m(n) messages, one after another
              e_k = max(r_k·c, e_{k−1}) + T_k      when it ends; its gradients are ready at r_k·c
    step      t = max(c + w, e_K) + 2o·⌈log₂ n⌉·α + p·Σs_k + u    u: the update

α is the latency of a message, β the bandwidth of a rank in each direction. An all-reduce that moves
the fewest bytes sends 2(n − 1)/n of its data from each rank. The number of messages depends on the
algorithm: m = 2(n − 1) in a ring (Patarasuk and Yuan, "Bandwidth optimal all-reduce algorithms for
clusters of workstations", 2009), m = 2⌈log₂ n⌉ with recursive halving and doubling (Thakur,
Rabenseifner and Gropp, "Optimization of collective communication operations in MPICH", 2005).
p is the time to copy a byte of a gradient into its bucket and back. o small all-reduces, of the
numbers of examples and of the statistics of synchronized batch normalization, block all ranks.

w is the wait for the slowest rank. If the compute of a rank varies from step to step with a
standard deviation of σ·c, the slowest of n takes about σ·c·Φ⁻¹((n − 0.375)/(n + 0.25)) longer than
the mean (Blom, "Statistical estimates and transformed beta-variables", 1958).

Ranks on one machine have no network card that works beside them: the cores copy the messages
themselves, in time of their own: t = c + w + ΣT_k + 2o·⌈log₂ n⌉·α + p·Σs_k + u.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike

__all__ = [
    "ALGORITHMS",
    "Interconnect",
    "SentBucket",
    "StepModel",
    "StepTime",
    "least_squares",
    "slowest",
]

ALGORITHMS: dict[str, Callable[[int], int]] = {
    "ring": lambda ranks: 2 * (ranks - 1),
    "halving": lambda ranks: 2 * math.ceil(math.log2(ranks)),
}
"""The number of messages of an all-reduce that follow one another, by algorithm."""

MOST_IMAGES = 2**20  # of a rank


@dataclass(frozen=True, slots=True, kw_only=True)
class Interconnect:
    """What connects the ranks.

    Attributes
    ----------
    latency : float
        Seconds of an empty message.
    bandwidth : float
        Bytes per second that a rank sends while it receives as many.
    algorithm : str
        A key of `ALGORITHMS`.
    beside : bool
        Whether messages travel beside the computation, as a network card sends them; otherwise the
        cores stop to copy them.
    """

    latency: float
    bandwidth: float
    algorithm: str = "halving"
    beside: bool = True

    def all_reduce(self, size: float, ranks: int) -> float:
        """Return the seconds of an all-reduce.

        Parameters
        ----------
        size : float
            Bytes of the array that each rank has.
        ranks : int

        Examples
        --------
        >>> ethernet = Interconnect(latency=20e-6, bandwidth=1.25e9, algorithm="ring")
        >>> [f"{1e3 * ethernet.all_reduce(4e6, ranks):.2f} ms" for ranks in (1, 2, 4, 1024)]
        ['0.00 ms', '3.24 ms', '4.92 ms', '47.31 ms']
        """
        sent = 2 * (ranks - 1) / ranks * size
        return ALGORITHMS[self.algorithm](ranks) * self.latency + sent / self.bandwidth

    def by(self, algorithm: str) -> Interconnect:
        """Return the same interconnect with another algorithm."""
        return replace(self, algorithm=algorithm)


@dataclass(frozen=True, slots=True)
class SentBucket:
    """Gradients that are summed by one all-reduce.

    Attributes
    ----------
    size : float
        Bytes.
    ready : float
        The share of forward and backward after which all of them are computed.
    """

    size: float
    ready: float


@dataclass(frozen=True, slots=True)
class StepTime:
    """The predicted seconds of a step.

    Attributes
    ----------
    compute : float
        Forward, backward and update.
    waiting : float
        For the slowest rank, and for small all-reduces.
    copying : float
        Gradients into buckets and back.
    communication : float
        The sum over all buckets, hidden or not.
    exposed : float
        The part of it that computation does not hide.
    """

    compute: float
    waiting: float
    copying: float
    communication: float
    exposed: float

    @property
    def total(self) -> float:
        """The seconds of the whole step."""
        return self.compute + self.waiting + self.copying + self.exposed

    @property
    def hidden(self) -> float:
        """The share of the communication that is hidden; NaN if there is none."""
        return 1 - self.exposed / self.communication if self.communication else math.nan


@dataclass(frozen=True, slots=True, kw_only=True)
class StepModel:
    """The cost of a network's training step.

    Attributes
    ----------
    per_step : float
        a₀: seconds of forward and backward that do not depend on the batch.
    per_image : float
        a₁: seconds of forward and backward for one more image.
    update : float
        u: seconds of the update.
    buckets : tuple of SentBucket
    messages : int
        o: the number of small all-reduces of a step.
    per_byte : float
        p: seconds to copy a byte of a gradient into its bucket and back.
    variation : float
        σ: the standard deviation of a rank's compute, as a share of it.
    """

    per_step: float
    per_image: float
    update: float
    buckets: tuple[SentBucket, ...]
    messages: int = 1
    per_byte: float = 0.0
    variation: float = 0.0

    @property
    def size(self) -> float:
        """The bytes of all gradients."""
        return sum(bucket.size for bucket in self.buckets)

    def step(
        self, batch: float, ranks: int, interconnect: Interconnect, slowdown: float = 1.0
    ) -> StepTime:
        """Return the seconds of a step.

        Parameters
        ----------
        batch : float
            Images of each rank.
        ranks : int
        interconnect : Interconnect
        slowdown : float
            The factor of all that the cores do, where ranks share cores or memory.

        Examples
        --------
        >>> model = StepModel(per_step=0.01, per_image=0.001, update=0.002,
        ...                   buckets=(SentBucket(4e6, 0.6), SentBucket(1e6, 1.0)))
        >>> ethernet = Interconnect(latency=20e-6, bandwidth=1.25e9)
        >>> time = model.step(64, 8, ethernet)
        >>> print(f"{1e3 * time.total:.1f} ms, {time.hidden:.0%} of the communication hidden")
        77.6 ms, 79% of the communication hidden
        """
        compute = slowdown * (self.per_step + self.per_image * batch)
        waiting = self.variation * compute * slowest(ranks)
        communication, ended = 0.0, 0.0
        for bucket in self.buckets:
            each = interconnect.all_reduce(bucket.size, ranks)
            communication += each
            ended = max(bucket.ready * compute, ended) + each
        exposed = communication
        if interconnect.beside:
            exposed = min(max(ended - compute - waiting, 0.0), communication)
        waiting += self.messages * ALGORITHMS["halving"](ranks) * interconnect.latency
        copying = slowdown * self.per_byte * self.size if ranks > 1 else 0.0
        update = slowdown * self.update
        return StepTime(compute + update, waiting, copying, communication, exposed)

    def efficiency(
        self, batch: float, ranks: int, interconnect: Interconnect, slowdown: float = 1.0
    ) -> float:
        """Return the efficiency of weak scaling: one rank's seconds of a step over those of each.

        Parameters
        ----------
        batch : float
            Images of each rank.
        ranks : int
        interconnect : Interconnect
        slowdown : float
            As in `step`, for one rank too.
        """
        alone = self.step(batch, 1, interconnect, slowdown).total
        return alone / self.step(batch, ranks, interconnect, slowdown).total

    def strong_efficiency(
        self, batch: float, ranks: int, interconnect: Interconnect, slowdown: float = 1.0
    ) -> float:
        """Return the efficiency of strong scaling, where all ranks share out a batch."""
        alone = self.step(batch, 1, interconnect, slowdown).total
        return alone / (ranks * self.step(batch / ranks, ranks, interconnect, slowdown).total)

    def batch_for(
        self, efficiency: float, ranks: int, interconnect: Interconnect, slowdown: float = 1.0
    ) -> int | None:
        """Return the fewest images of a rank for an efficiency; None if no number is enough.

        Examples
        --------
        >>> model = StepModel(per_step=0.0, per_image=0.001, update=0.002,
        ...                   buckets=(SentBucket(4e6, 0.6), SentBucket(1e6, 1.0)))
        >>> ethernet = Interconnect(latency=20e-6, bandwidth=1.25e9)
        >>> [model.batch_for(0.9, ranks, ethernet) for ranks in (2, 8, 1024)]
        [8, 14, 20]
        """
        found = 1 + bisect_left(
            range(1, MOST_IMAGES), True,
            key=lambda batch: self.efficiency(batch, ranks, interconnect, slowdown) >= efficiency,
        )  # fmt: skip
        return found if found < MOST_IMAGES else None


def slowest(ranks: int) -> float:
    """Return about the mean of the largest of n numbers from the normal distribution N(0, 1).

    Examples
    --------
    >>> [round(slowest(ranks), 2) for ranks in (1, 2, 4, 1024)]
    [0.0, 0.59, 1.05, 3.23]
    """
    return NormalDist().inv_cdf((ranks - 0.375) / (ranks + 0.25))


def least_squares(
    columns: Sequence[ArrayLike], seconds: ArrayLike, known: ArrayLike = 0.0
) -> list[float]:
    """Return the non-negative factors of columns whose sum is nearest to measured seconds.

    Nearest are those with the least sum of squared relative errors, so that short times count as
    much as long ones. A column whose factor would be negative is left out: its factor is 0.

    Parameters
    ----------
    columns : sequence of array-like, shape (n,)
    seconds : array-like, shape (n,)
        All above 0.
    known : array-like
        The part of the seconds that the columns do not explain.

    Examples
    --------
    >>> batches = [16, 32, 64]
    >>> least_squares([[1, 1, 1], batches], [0.010 + 0.001 * b for b in batches])
    [0.01, 0.001]
    """
    y = np.asarray(seconds, np.float64)
    x = np.column_stack([np.asarray(column, np.float64) for column in columns])
    found = np.zeros(x.shape[1])
    kept = list(range(x.shape[1]))
    while kept:
        factors, *_ = np.linalg.lstsq(x[:, kept] / y[:, None], 1 - np.asarray(known) / y)
        if factors.min() >= 0:
            found[kept] = factors
            break
        del kept[int(factors.argmin())]
    return [float(f"{each:.12g}") for each in found]
