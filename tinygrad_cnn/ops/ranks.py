"""Averages over the ranks of data-parallel training, for synchronized batch normalization."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn.core.declaration import Draw, Prose, Strategies
from tinygrad_cnn.core.op import op
from tinygrad_cnn.core.variable import Array
from tinygrad_cnn.engine.normalization import is_near


class Ranks(Protocol):
    """The processes that an average is taken over; see `tinygrad_cnn.distributed`.

    Each call of an op keeps a copy.
    """

    def average(self, values: NDArray[Any], weight: float) -> tuple[NDArray[Any], float]:
        """Return Σ wᵣ·xᵣ / Σ wᵣ over the ranks r, in float64, and Σ wᵣ: the same on all ranks.

        Values with weight 0 are ignored. The average is 0 if all are.
        """


class SingleProcess:
    """One process: each average is the value. Checks use it in place of ranks."""

    def average(self, values: NDArray[Any], weight: float) -> tuple[NDArray[Any], float]:
        """Return `values` and `weight`."""
        return values.astype(np.result_type(values, np.float64)), weight


@op(
    formula=Prose("Σ wᵣ·xᵣ / Σ wᵣ over the ranks r"),
    latex=r"\sum_r w_r x_r \,/ \sum_r w_r",
)
def rank_average(x: Array, weight: float = 1.0, ranks: Ranks | None = None) -> Array:
    """Return the weighted average of `x` over the ranks: the same on all of them.

    Parameters
    ----------
    x : Tensor or array_like
        Of one shape on all ranks.
    weight : float
        w, such as the number of this rank's examples; 0 or more.
    ranks : Ranks, optional
        None for this process alone.

    Notes
    -----
    The loss is the average of the ranks' losses, with the same weights. Then the op is its own
    adjoint: on each rank, ∂x = Σ wᵣ·gᵣ / Σ wᵣ is the gradient of this rank's part of the loss.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> tg.rank_average(tg.Tensor([1.0, 2.0]), weight=64)
    Tensor([1., 2.])
    """
    return x if ranks is None else ranks.average(x, weight)[0].astype(x.dtype)


@rank_average.derivative(
    "x",
    formula=Prose("Σ wᵣ·gᵣ / Σ wᵣ over the ranks r"),
    latex=r"\sum_r w_r g_r \,/ \sum_r w_r",
)
def _(g: Array, *, weight: float, ranks: Any) -> Array:
    return rank_average(g, weight, ranks)


@rank_average.calls
def _(draw: Draw, s: Strategies) -> Any:
    weight = draw(s.sampled_from([1.0, 32.0]))
    ranks = draw(s.sampled_from([None, SingleProcess()]))
    return {"x": draw(s.arrays(draw(s.shapes()))), "weight": weight, "ranks": ranks}


def average_statistics(found: Array, count: int, eps: float, ranks: Ranks) -> Array:
    """Return the statistics of all ranks' values, from those of each (`engine.statistics`).

    Parameters
    ----------
    found : ndarray, shape (4, ...)
        Of this rank, with ε = 0.
    count : int
        The number of values that each is of; 0 if this rank has no example.
    eps : float
    ranks : Ranks

    Returns
    -------
    ndarray, shape (5, ...)
        Mean, deviation, variance, the number of values of all ranks, and the flag.
    """
    wide = np.result_type(found, np.float64)
    mean, deviation = found[0].astype(wide), found[1].astype(wide)
    center, total = ranks.average(mean, count)
    variance, _ = ranks.average(deviation * deviation + np.square(mean - center), count)
    result = np.empty((5, *center.shape), found.dtype)
    with np.errstate(over="ignore"):
        result[0], result[1], result[2] = center, np.sqrt(variance + eps), variance
    result[3], result[4] = total, found.item(-1) or not is_near(center, variance, found.dtype)
    return result
