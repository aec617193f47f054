"""The process of one rank, started by `tinygrad_cnn.bench.scaling.measurement` with mpiexec.

Each case is measured in two blocks of steps that take turns: all ranks at the same time, but each
by itself, so that they share cores and memory and send nothing; and all ranks together. Rank 0
prints the rows as JSON.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from statistics import fmean, median, stdev
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

import tinygrad_cnn as tg
from tinygrad_cnn.bench.scaling.measurement import AllReduceRow, StepRow
from tinygrad_cnn.bench.scaling.model import SentBucket
from tinygrad_cnn.bench.scaling.workloads import NETWORKS, ScaledNetwork
from tinygrad_cnn.bench.worker.clock import settle_allocator
from tinygrad_cnn.core.observer import BackwardEvent, Observer
from tinygrad_cnn.core.variable import Variable
from tinygrad_cnn.distributed import (
    Communication,
    DataParallel,
    communicator,
    convert_sync_batchnorm,
)
from tinygrad_cnn.distributed.buckets import divided
from tinygrad_cnn.nn import BatchNorm2d

WARM_UP = 2
REPEATS = 15  # of each all-reduce
SIZES = tuple(4**k for k in range(5, 13))  # bytes of all-reduces: 1 KiB to 16 MiB
SYNCHRONIZED = 3  # all-reduces of a batch normalization: two in the forward, one in the backward
RARELY = 4  # a network of one rank only is measured in every fourth round


class StepSeconds(NamedTuple):
    """The seconds of a step: forward and backward with its communication, and the update.

    `waited` and `in_flight` are those of `Communication`, whose `reduced` bytes were summed.
    """

    gradients: float
    update: float
    waited: float
    in_flight: float
    reduced: int

    @property
    def total(self) -> float:
        """The seconds of the step."""
        return self.gradients + self.update


class Trainer:
    """A network that trains on one batch, by itself or with the other ranks."""

    def __init__(self, network: ScaledNetwork, batch: int, together: bool) -> None:
        rng = np.random.default_rng(tg.distributed.rank())
        self.model = network.build()
        if together and network.synchronized:
            convert_sync_batchnorm(self.model)
        self.called = DataParallel(self.model) if together else self.model
        self.images = tg.Tensor(rng.standard_normal((batch, *network.input_shape), np.float32))
        self.labels = rng.integers(network.classes, size=batch)
        self.optimizer = tg.optim.SGD(self.model.parameters(), 0.001, momentum=0.9)

    def step(self) -> StepSeconds:
        """Train for one step."""
        sent = self.called.statistics if isinstance(self.called, DataParallel) else Communication()
        sent.reset()
        began = perf_counter()
        loss = tg.cross_entropy(self.called(self.images), self.labels)
        self.optimizer.zero_grad()
        loss.backward()
        computed = perf_counter()
        self.optimizer.step()
        update = perf_counter() - computed
        return StepSeconds(computed - began, update, sent.waiting, sent.in_flight, sent.bytes)


class Readiness(Observer):
    """Observer that notes when the gradient of each leaf is complete."""

    def __init__(self) -> None:
        self.began = perf_counter()
        self.ready: dict[Variable, float] = {}

    def backward(self, event: BackwardEvent) -> None:
        """Note the time of each leaf that gets a contribution; the last one counts."""
        for parent, _ in event.contributions:
            if isinstance(parent, Variable):
                self.ready[parent] = perf_counter() - self.began


def messages_of(network: ScaledNetwork) -> dict[str, Any]:
    """Return what a step sends: the buckets of gradients, and the number of small all-reduces."""
    trainer = Trainer(network, network.batch, together=False)
    for _ in range(WARM_UP):
        trainer.step()
    with tg.observe(seen := Readiness()):
        whole = trainer.step().gradients
    buckets = [
        SentBucket(
            bucket.buffer.nbytes,
            round(max(min(seen.ready[each] / whole, 1.0) for each in bucket.parameters), 4),
        )
        for bucket in divided(list(trainer.model.parameters()))
    ]
    norms = sum(isinstance(module, BatchNorm2d) for module in trainer.model.modules())
    small = 1 + SYNCHRONIZED * norms * network.synchronized
    return {"buckets": [asdict(bucket) for bucket in buckets], "small": small}


def measure_case(name: str, batch: int, number: int, steps: int) -> StepRow:
    """Measure one network with one batch in a round."""
    network = NETWORKS[name]
    trainers = {False: Trainer(network, batch, together=False)}
    if network.ranks:
        trainers[True] = Trainer(network, batch, together=True)
    for trainer in trainers.values():
        for _ in range(WARM_UP):
            trainer.step()
    found: dict[bool, list[StepSeconds]] = {}
    for together in sorted(trainers, reverse=number % 2 == 0):
        tg.distributed.barrier()
        found[together] = [trainers[together].step() for _ in range(steps)]
    found.setdefault(True, found[False])
    at_once = _at_once(trainers[False].model)
    everyone = tg.distributed.all_gather((found, at_once))
    alone = [steps_[False] for steps_, _ in everyone]
    summed = [step for steps_, _ in everyone for step in steps_[True]]
    return StepRow(
        network=name,
        ranks=len(everyone),
        batch=batch,
        round=number,
        alone=fmean(median(step.total for step in each) for each in alone),
        update=fmean(median(step.update for step in each) for each in alone),
        variation=fmean(_variation([step.gradients for step in each]) for each in alone),
        together=median(step.total for step in summed),
        waited=median(step.waited for step in summed),
        in_flight=median(step.in_flight for step in summed),
        at_once=median(seconds for _, seconds in everyone),
        reduced=summed[0].reduced,
    )


def _variation(seconds: Sequence[float]) -> float:
    """Return the standard deviation as a share of the mean."""
    return stdev(seconds) / fmean(seconds)


def _at_once(model: tg.nn.Module) -> float:
    """Return the seconds of the all-reduces of a step one after another."""
    return _timed(
        partial(_all_reduce, *(bucket.buffer for bucket in divided(list(model.parameters()))))
    )


def _all_reduce(*arrays: NDArray[Any]) -> None:
    """Sum arrays over the ranks, by the call that sums a bucket."""
    comm = communicator()
    if comm is not None:
        from mpi4py import MPI

        for array in arrays:
            comm.Iallreduce(MPI.IN_PLACE, array).Wait()


def _library() -> str:
    """Return the name and version of the MPI library."""
    from mpi4py import MPI

    return " ".join(MPI.Get_library_version().split("\n")[0].replace("Version:", "").split())


def _timed(call: Callable[[], Any]) -> float:
    """Return the median seconds of a call that all ranks start at the same time."""
    seconds = []
    for _ in range(REPEATS):
        tg.distributed.barrier()
        began = perf_counter()
        call()
        seconds.append(perf_counter() - began)
    return median(seconds[1:])


def measure_all_reduces(number: int) -> list[AllReduceRow]:
    """Measure all-reduces of several sizes in a round."""
    return [
        AllReduceRow(
            ranks=tg.distributed.size(),
            round=number,
            size=size,
            seconds=_timed(partial(_all_reduce, np.zeros(size // 4, np.float32))),
        )
        for size in SIZES
    ]


def main(number: int, steps: int) -> None:
    """Measure all cases for this number of ranks in a round, and print the rows."""
    settle_allocator()
    ranks = tg.distributed.size()
    rows = [
        measure_case(name, batch, number, steps)
        for name, network in NETWORKS.items()
        if network.ranks or number % RARELY == 0
        for batch in network.batches(ranks)
    ]
    all_reduces = measure_all_reduces(number) if ranks > 1 else []
    if tg.distributed.rank() == 0:
        answer = {
            "mpi": _library(),
            "steps": [asdict(row) for row in rows],
            "all_reduces": [asdict(row) for row in all_reduces],
            "messages": {
                name: messages_of(network)
                for name, network in NETWORKS.items()
                if ranks == 1 and number == 0
            },
        }
        print(json.dumps(answer))


if __name__ == "__main__":
    with tg.num_threads(1):
        main(**json.loads(sys.argv[1]))
