"""A program for several ranks; rank 1 fails in the way that the argument names."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

import tinygrad_cnn as tg
from tinygrad_cnn import distributed
from tinygrad_cnn.data import DataLoader
from tinygrad_cnn.distributed import ranks
from tinygrad_cnn.distributed.faults import shared


def raises() -> None:
    raise ValueError("a fault")


def raises_as_all() -> None:
    """Raise an error that the other ranks raise as well, but catch."""
    raise shared(ValueError("a fault"))


def is_killed() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def is_stopped() -> None:
    os.kill(os.getpid(), signal.SIGSTOP)


def loops() -> None:
    while True:
        pass


class Broken:
    """A data set whose example 3 cannot be read."""

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> tuple[Any, int]:
        if index == 3:
            raise OSError("a fault of the disk")
        return np.zeros((1, 4), np.float32), 0


FAULTS: dict[str, Callable[[], Any]] = {
    "raises": raises,
    "exits": sys.exit,
    "exits with status 3": lambda: sys.exit(3),
    "is killed": is_killed,
    "crashes": os.abort,
    "is stopped": is_stopped,
    "loops": loops,
    "alone lets an error of all through": raises_as_all,
    "reads": lambda: list(DataLoader(Broken(), 2, num_workers=1)),
    "calls another collective": distributed.barrier,
    "sums another shape": lambda: distributed.all_reduce(np.zeros(3)),
}


def start(fault: str) -> None:
    """Have a fault before MPI is initialized."""
    if os.environ["PMI_RANK"] == "1":
        if fault == "raises at the start":
            raises()
        if fault == "exits at the start":
            sys.exit()
    if fault == "exits at the start":
        ranks.TIMEOUT = 1.0
    if fault.startswith("loops") or fault == "is stopped":
        distributed.set_timeout(1)


def train(fault: str) -> None:
    shape = (4, 8, 2) if fault != "has another model" or not distributed.rank() else (4, 9, 2)
    model = distributed.DataParallel(tg.nn.MLP(shape, rng=np.random.default_rng(0)))
    x, labels = np.ones((2, 4), np.float32), np.array([0, 1])
    for step in range(4):
        if fault == "steps less often" and distributed.rank() == 1 and step == 2:
            break
        if fault in FAULTS and distributed.rank() == 1 and step == 2:
            FAULTS[fault]()
        if fault == "sums another shape" and distributed.rank() == 0 and step == 2:
            distributed.all_reduce(np.zeros(4))
        if fault == "all raise" and step == 2:
            raises()
        tg.cross_entropy(model(tg.Tensor(x)), labels).backward()
    if fault == "loops at the end" and distributed.rank() == 1:
        loops()
    if fault == "ends late" and distributed.rank() == 1:
        sum(range(10**7))


if __name__ == "__main__":
    start(sys.argv[1])
    train(sys.argv[1])
    print(f"rank {distributed.rank()} has ended", flush=True)
