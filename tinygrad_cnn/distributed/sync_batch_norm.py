"""Batch normalization with the statistics of all ranks."""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn.distributed.ranks import communicator, guard
from tinygrad_cnn.nn import Module

__all__ = ["AllRanks", "convert_sync_batchnorm"]

M = TypeVar("M", bound=Module)


class AllRanks:
    """All ranks of the program, as a `tinygrad_cnn.ops.ranks.Ranks`. Copies are equal."""

    def average(self, values: NDArray[Any], weight: float) -> tuple[NDArray[Any], float]:
        """Return the weighted average over the ranks, and the sum of the weights; a collective."""
        wide = np.result_type(values, np.float64)
        packed = np.zeros(values.size + 1, wide)
        if weight:
            np.multiply(values.reshape(-1), weight, out=packed[:-1])
            packed[-1] = weight
        comm = communicator()
        if comm is not None and comm.size > 1:
            from mpi4py import MPI

            with guard().waiting("synchronized batch norm"):
                comm.Allreduce(MPI.IN_PLACE, packed)
        total = float(packed[-1].real)
        return (packed[:-1] / (total or 1.0)).reshape(values.shape), total

    def __repr__(self) -> str:
        return "AllRanks()"


def convert_sync_batchnorm(model: M) -> M:
    """Let the batch norms of a model take mean and variance over the examples of all ranks.

    Then a model of several ranks is trained as one with the whole batch, whatever the size of the
    parts: forward, gradients and running statistics. Each layer waits for the other ranks, in train
    mode: twice in the forward and once in the backward.

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
    for module in model.modules():
        if getattr(type(module), "ranks", module) is None:  # as in our batch norms
            vars(module)["ranks"] = AllRanks()
    return model
