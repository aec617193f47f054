"""Data-parallel training on several processes or machines, by MPI.

Each *rank* is a process with a copy of the model. A global batch is divided among the ranks; their
gradients are summed, so that all take the same step as one process with the whole batch::

    mpiexec -n 4 python train.py

    model = tg.distributed.DataParallel(model)             # the same weights on all ranks
    sampler = tg.distributed.DistributedSampler(train)
    loader = DataLoader(train, batch_size=256, sampler=sampler)   # 256: the global batch
    for images, labels in loader:                          # this rank's part
        loss = tg.cross_entropy(model(images), labels)     # the mean over this part
        optimizer.zero_grad()
        loss.backward()                                    # sums the gradients
        optimizer.step()

It needs the extra ``mpi`` (mpi4py, and the MPI library MPICH). A program that was not started by
``mpiexec`` or another MPI launcher is one rank, and imports nothing of MPI.

- `rank`, `size`, `barrier`, `broadcast`, `all_gather`, `all_reduce`, `average`: communication of
  arrays and other values. `communicator` returns mpi4py's communicator for everything else.
- `DataParallel` wraps a model; `average_gradients` does it by hand. `Communication` counts bytes
  and seconds: `DataParallel.statistics`. `convert_sync_batchnorm` takes the statistics of batch
  norm over all ranks.
- `DistributedSampler` divides batches; `allow_empty` makes a loss accept an empty part.
  `distinct_generators` gives each rank other random numbers.

Import it first: from then on, a failure of one rank ends all, with its message. None waits longer
for another than `set_timeout` says. Where ranks differ, they raise `RankError`.

Results have the same bits in every run with the same number of ranks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tinygrad_cnn.distributed.ranks import watch_start
from tinygrad_cnn.support.modules import public

if TYPE_CHECKING:
    from tinygrad_cnn.distributed.data_parallel import DataParallel, distinct_generators
    from tinygrad_cnn.distributed.faults import RankError
    from tinygrad_cnn.distributed.gradients import Communication, allow_empty, average_gradients
    from tinygrad_cnn.distributed.ranks import (
        all_gather,
        all_reduce,
        average,
        barrier,
        broadcast,
        communicator,
        rank,
        set_timeout,
        size,
    )
    from tinygrad_cnn.distributed.sampler import DistributedSampler
    from tinygrad_cnn.distributed.sync_batch_norm import convert_sync_batchnorm

_MODULES = {
    "Communication": "gradients",
    "DataParallel": "data_parallel",
    "DistributedSampler": "sampler",
    "RankError": "faults",
    "all_gather": "ranks",
    "all_reduce": "ranks",
    "allow_empty": "gradients",
    "average": "ranks",
    "average_gradients": "gradients",
    "barrier": "ranks",
    "broadcast": "ranks",
    "communicator": "ranks",
    "convert_sync_batchnorm": "sync_batch_norm",
    "distinct_generators": "data_parallel",
    "rank": "ranks",
    "set_timeout": "ranks",
    "size": "ranks",
}

__all__ = [
    "Communication",
    "DataParallel",
    "DistributedSampler",
    "RankError",
    "all_gather",
    "all_reduce",
    "allow_empty",
    "average",
    "average_gradients",
    "barrier",
    "broadcast",
    "communicator",
    "convert_sync_batchnorm",
    "distinct_generators",
    "rank",
    "set_timeout",
    "size",
]

watch_start()
if not TYPE_CHECKING:
    __getattr__, __dir__ = public(__name__, _MODULES)
