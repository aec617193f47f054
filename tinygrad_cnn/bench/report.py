"""The benchmark report, as data."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any

from tinygrad_cnn.bench.machine import Machine
from tinygrad_cnn.bench.profile import OpCall
from tinygrad_cnn.bench.sides import OURS, Framework
from tinygrad_cnn.bench.timing import ratio
from tinygrad_cnn.bench.worker.task import OPS_PER_REPEAT, REPEATS
from tinygrad_cnn.bench.workloads import Workload

__all__ = ["BenchmarkReport", "Memory", "Profile", "Roofs", "Timing", "WorkloadTimings"]

OPS_OF_A_CHAIN = REPEATS * OPS_PER_REPEAT


@dataclass(slots=True)
class Timing:
    """Timings of one side on one workload: a value per round."""

    framework: str
    variant: str
    seconds: list[float] = field(default_factory=list)

    @property
    def side(self) -> str:
        """The framework name, with its variant."""
        return f"{self.framework} {self.variant}".rstrip()

    @property
    def median(self) -> float:
        """The median of the rounds."""
        return median(self.seconds) if self.seconds else math.nan


@dataclass(frozen=True, slots=True)
class WorkloadTimings:
    """Timings of all sides on one workload, with equal thread counts, in the same rounds.

    Rounds in which the machine was busy are left out; if it always was, `busy` is true.
    """

    workload: Workload
    threads: int
    timings: tuple[Timing, ...]
    busy: bool = False

    @property
    def ours(self) -> Timing | None:
        """Our own timing; None if missing."""
        return next((timing for timing in self.timings if timing.framework == OURS), None)

    def fastest_variants(self) -> list[Timing]:
        """Return the timings, keeping only the fastest variant (by median) of each framework."""
        best: dict[str, Timing] = {}
        for timing in self.timings:
            if timing.seconds:
                rival = best.get(timing.framework)
                if rival is None or timing.median < rival.median:
                    best[timing.framework] = timing
        return list(best.values())

    def ratio_to(self, other: Timing) -> float:
        """Return our time divided by another's; NaN if ours is missing."""
        return ratio(self.ours.seconds, other.seconds) if self.ours else math.nan


@dataclass(frozen=True, slots=True)
class Roofs:
    """Peak rates of the machine at a thread count, per second."""

    threads: int
    multiply_adds: float
    bytes: float


@dataclass(frozen=True, slots=True)
class Profile:
    """Profile of a training step: its ops, the update, and the remaining graph overhead."""

    workload: Workload
    threads: int
    calls: tuple[OpCall, ...]


@dataclass(frozen=True, slots=True)
class Memory:
    """Peak memory growth of a process during a training step, in bytes; None if unknown."""

    workload: Workload
    threads: int
    framework: str
    variant: str
    bytes: int | None


@dataclass(slots=True)
class BenchmarkReport:
    """All measurements, in the order taken.

    Attributes
    ----------
    machine : Machine
    frameworks : list of Framework
        The frameworks that were measured.
    absent, failed : list of str
        Peers that are not installed, and measurements that failed, each with the reason.
    """

    machine: Machine
    frameworks: list[Framework] = field(default_factory=list)
    absent: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    roofs: list[Roofs] = field(default_factory=list)
    comparisons: list[WorkloadTimings] = field(default_factory=list)
    profiles: list[Profile] = field(default_factory=list)
    memory: list[Memory] = field(default_factory=list)

    def roofs_at(self, threads: int) -> Roofs | None:
        """Return the roofs at a thread count, or None if not measured."""
        return next((roofs for roofs in self.roofs if roofs.threads == threads), None)

    def to_json(self) -> dict[str, Any]:
        """Return the report as plain data: the machine, and self-describing rows."""
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


def _rows(comparison: WorkloadTimings) -> Sequence[dict[str, Any]]:
    return [
        {
            **_named("time", comparison.workload, comparison.threads),
            "framework": timing.framework,
            "variant": timing.variant,
            "seconds": timing.seconds,
            "busy": comparison.busy,
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
