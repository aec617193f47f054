"""Plans beyond the measured machine: the model on faster interconnects, with up to 1,024 ranks."""

from __future__ import annotations

from dataclasses import dataclass

from tinygrad_cnn.bench.scaling.fit import ScalingFit
from tinygrad_cnn.bench.scaling.model import Interconnect, StepModel
from tinygrad_cnn.bench.scaling.workloads import NETWORKS

__all__ = [
    "EFFICIENT",
    "INTERCONNECTS",
    "PLANNED",
    "RANKS",
    "SHARED_BATCHES",
    "SPEEDS",
    "ScalingPlan",
    "plans",
]

RANKS: tuple[int, ...] = tuple(2**k for k in range(11))
PLANNED = (8, 64, 1024)
SHARED_BATCHES = (64, 512, 4096)  # images of all ranks together, for strong scaling
EFFICIENT = 0.9
SPEEDS = (1, 16)  # of a rank, in threads of the measured machine

INTERCONNECTS = {
    "10 Gbit/s": Interconnect(latency=30e-6, bandwidth=10e9 / 8),
    "100 Gbit/s": Interconnect(latency=3e-6, bandwidth=100e9 / 8),
}
"""The planned interconnects: bytes at the line's rate; the latency is an assumption."""


@dataclass(frozen=True, slots=True)
class ScalingPlan:
    """What the model says of a network on an interconnect, for each number of ranks in `PLANNED`.

    Attributes
    ----------
    network, interconnect : str
    speed : int
        How many times as fast as a thread of the measured machine each rank computes.
    efficiency, hidden : tuple of float
        With the network's batch for each rank: the efficiency, and the hidden communication.
    images : tuple of (int or None)
        The fewest images of a rank for an efficiency of `EFFICIENT`.
    most : tuple of int
        For each of `SHARED_BATCHES`, the most ranks of `RANKS` that share it out with an
        efficiency of `EFFICIENT`.
    """

    network: str
    interconnect: str
    speed: int
    efficiency: tuple[float, ...]
    hidden: tuple[float, ...]
    images: tuple[int | None, ...]
    most: tuple[int, ...]


def plans(fit: ScalingFit) -> list[ScalingPlan]:
    """Return the plans for all networks, speeds and interconnects."""
    return [
        ScalingPlan(
            network,
            name,
            speed,
            tuple(model.efficiency(own, n, link, 1 / speed) for n in PLANNED),
            tuple(model.step(own, n, link, 1 / speed).hidden for n in PLANNED),
            tuple(model.batch_for(EFFICIENT, n, link, 1 / speed) for n in PLANNED),
            tuple(_most_ranks(model, batch, link, 1 / speed) for batch in SHARED_BATCHES),
        )
        for network, model in fit.models.items()
        for own in [NETWORKS[network].batch]
        for speed in SPEEDS
        for name, link in INTERCONNECTS.items()
    ]


def _most_ranks(model: StepModel, batch: int, link: Interconnect, slowdown: float) -> int:
    efficient = [
        n
        for n in RANKS
        if n <= batch and model.strong_efficiency(batch, n, link, slowdown) >= EFFICIENT
    ]
    return max(efficient)
