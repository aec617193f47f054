"""What was measured, as data."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any

from tinygrad_cnn.bench.machine import Machine
from tinygrad_cnn.bench.profile import OpCall
from tinygrad_cnn.bench.rounds import ratio
from tinygrad_cnn.bench.sides import OURS, Framework
from tinygrad_cnn.bench.worker.task import OPS_PER_REPEAT, REPEATS
from tinygrad_cnn.bench.workloads import Workload

__all__ = ["Comparison", "Memory", "Profile", "Report", "Roofs", "Timing"]

OPS_OF_A_CHAIN = REPEATS * OPS_PER_REPEAT


@dataclass(slots=True)
class Timing:
    """How long a side takes for a workload: a figure for each round."""

    framework: str
    variant: str
    seconds: list[float] = field(default_factory=list)

    @property
    def side(self) -> str:
        """The framework, with its variant."""
        return f"{self.framework} {self.variant}".rstrip()

    @property
    def median(self) -> float:
        """The median of the rounds."""
        return median(self.seconds) if self.seconds else math.nan


@dataclass(frozen=True, slots=True)
class Comparison:
    """The sides of one workload, with the same number of threads, in the same rounds."""

    workload: Workload
    threads: int
    timings: tuple[Timing, ...]

    @property
    def ours(self) -> Timing | None:
        """Our own timing; None if we took no part."""
        return next((timing for timing in self.timings if timing.framework == OURS), None)

    def fastest_variants(self) -> list[Timing]:
        """Return the timings, of each framework only the variant with the lowest median."""
        best: dict[str, Timing] = {}
        for timing in self.timings:
            if timing.seconds:
                rival = best.get(timing.framework)
                if rival is None or timing.median < rival.median:
                    best[timing.framework] = timing
        return list(best.values())

    def ratio_to(self, other: Timing) -> float:
        """Return our time over another's; nan if we took no part."""
        return ratio(self.ours.seconds, other.seconds) if self.ours else math.nan


@dataclass(frozen=True, slots=True)
class Roofs:
    """What the machine can do at best with a number of threads, per second."""

    threads: int
    multiply_adds: float
    bytes: float


@dataclass(frozen=True, slots=True)
class Profile:
    """The ops of a training step, then the update, then what is left: the graph."""

    workload: Workload
    threads: int
    calls: tuple[OpCall, ...]


@dataclass(frozen=True, slots=True)
class Memory:
    """By how many bytes a process grows at the peak of a training step; None if not known."""

    workload: Workload
    threads: int
    framework: str
    variant: str
    bytes: int | None


@dataclass(slots=True)
class Report:
    """All that was measured, in the order in which it was.

    Attributes
    ----------
    machine : Machine
    frameworks : list of Framework
        Who took part.
    absent, failed : list of str
        Peers that are not installed, and what could not be measured, each with the reason.
    """

    machine: Machine
    frameworks: list[Framework] = field(default_factory=list)
    absent: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    roofs: list[Roofs] = field(default_factory=list)
    comparisons: list[Comparison] = field(default_factory=list)
    profiles: list[Profile] = field(default_factory=list)
    memory: list[Memory] = field(default_factory=list)

    def roofs_at(self, threads: int) -> Roofs | None:
        """Return the roofs for a number of threads, if they were measured."""
        return next((roofs for roofs in self.roofs if roofs.threads == threads), None)

    def to_json(self) -> dict[str, Any]:
        """Return the report as plain data: the machine, and rows that say what they are of."""
        return {
            "machine": asdict(self.machine),
            "frameworks": [asdict(framework) for framework in self.frameworks],
            "absent": self.absent,
            "failed": self.failed,
            "rows": [
                *({"kind": "roofs", **asdict(roofs)} for roofs in self.roofs),
                *(row for comparison in self.comparisons for row in _rows(comparison)),
                *(
                    {**_named("op", profile.workload, profile.threads), **asdict(call)}
                    for profile in self.profiles
                    for call in profile.calls
                ),
                *(
                    {
                        **_named("memory", memory.workload, memory.threads),
                        "framework": memory.framework,
                        "variant": memory.variant,
                        "bytes": memory.bytes,
                    }
                    for memory in self.memory
                ),
            ],
        }


def _rows(comparison: Comparison) -> Sequence[dict[str, Any]]:
    return [
        {
            **_named("time", comparison.workload, comparison.threads),
            "framework": timing.framework,
            "variant": timing.variant,
            "seconds": timing.seconds,
            "median": timing.median,
            "lowest": min(timing.seconds),
            "highest": max(timing.seconds),
            "ours_over_this": comparison.ratio_to(timing) if comparison.ours else None,
        }
        for timing in comparison.timings
        if timing.seconds
    ]


def _named(kind: str, workload: Workload, threads: int) -> dict[str, Any]:
    return {
        "kind": kind,
        "workload": workload.name,
        "mode": workload.mode,
        "batch": workload.batch,
        "threads": threads,
    }
