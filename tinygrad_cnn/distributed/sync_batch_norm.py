"""Batch normalization with the statistics of all ranks."""

from __future__ import annotations

import os
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn.distributed.faults import RankError
from tinygrad_cnn.distributed.ranks import communicator, guard
from tinygrad_cnn.nn import Module

if TYPE_CHECKING:
    from mpi4py.MPI import Intracomm, Request

__all__ = ["AllRanks", "convert_sync_batchnorm"]

M = TypeVar("M", bound=Module)

_unfinished: list[Request] = []  # of ranks that differed: MPI may still write to their arrays


class AllRanks:
    """All ranks of the program, as a `tinygrad_cnn.ops.ranks.Ranks`.

    Parameters
    ----------
    layer : int
        The number of the batch norm in its model: it must be the same on all ranks.
    """

    def __init__(self, layer: int = 0) -> None:
        self._layer = layer

    def average(self, values: NDArray[Any], weight: float) -> tuple[NDArray[Any], float]:
        """Return the weighted average over the ranks, and the sum of the weights; a collective.

        Raises
        ------
        RankError
            On all ranks, if they are at different points.
        """
        wide = np.result_type(values, np.float64)
        packed = np.zeros(values.size + 1, wide)
        if weight:
            np.multiply(values.reshape(-1), weight, out=packed[:-1])
            packed[-1] = weight
        if guard().size > 1:
            _sum(packed, f"synchronized batch norm {self._layer}, {values.size} values")
        total = float(packed[-1].real)
        return (packed[:-1] / (total or 1.0)).reshape(values.shape), total

    def __repr__(self) -> str:
        return "AllRanks()"


def _sum(packed: NDArray[Any], where: str) -> None:
    """Sum an array over the ranks, in place, if all are at the same point."""
    from mpi4py import MPI

    request = _communicator(os.getpid()).Iallreduce(MPI.IN_PLACE, packed)
    try:
        guard().exchange(where)  # while the sum is in flight
    except RankError:
        _unfinished.append(request)
        _communicator.cache_clear()
        raise
    with guard().waiting(where):
        request.Wait()


@cache
def _communicator(process: int) -> Intracomm:
    """Return a duplicate of the communicator, for batch norm alone; a collective."""
    guard().exchange("the first synchronized batch norm")
    comm = communicator()
    assert comm is not None
    return comm.Dup()


def convert_sync_batchnorm(model: M) -> M:
    """Let the batch norms of a model take mean and variance over the examples of all ranks.

    Then a model of several ranks is trained as one with the whole batch, whatever the size of the
    parts: forward, gradients and running statistics. Each layer waits for the other ranks, in train
    mode: twice in the forward and once in the backward. All ranks must call the same layers in the
    same order; they raise `RankError` where they do not.

    Parameters
    ----------
    model : Module
        The ``ranks`` of each `BatchNorm1d` and `BatchNorm2d` in it is set, in place.

    Returns
    -------
    Module
        `model`.

    Notes
    -----
    The gradients of a layer are those of the mean loss over the examples of all ranks, where each
    rank's loss is the mean over its own; as `DataParallel` averages them.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> model = tg.nn.Sequential(tg.nn.Conv2d(1, 4, 3), tg.nn.BatchNorm2d(4))
    >>> convert_sync_batchnorm(model)[1].ranks
    AllRanks()
    """
    # Only our batch norms have such an attribute.
    norms = (module for module in model.modules() if getattr(type(module), "ranks", model) is None)
    for layer, norm in enumerate(norms):
        vars(norm)["ranks"] = AllRanks(layer)
    return model
