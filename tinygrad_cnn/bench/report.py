"""The benchmark report, as data."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import date
from statistics import median
from typing import Any

from tinygrad_cnn.bench.machine import Machine
from tinygrad_cnn.bench.profile import OpCall
from tinygrad_cnn.bench.sides import OURS, TORCH, Framework, Side
from tinygrad_cnn.bench.timing import ratio
from tinygrad_cnn.bench.worker.task import OPS_PER_REPEAT, REPEATS
from tinygrad_cnn.bench.workloads import Workload

__all__ = ["BenchmarkReport", "BenchmarkSummary", "Memory", "Profile", "Roofs", "Timing",
           "WorkloadTimings"]  # fmt: skip

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
        return str(Side(self.framework, self.variant))

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
    def ours(self) -> dict[str, Timing]:
        """Our own timings, by variant."""
        ours = [timing for timing in self.timings if timing.framework == OURS and timing.seconds]
        return {timing.variant: timing for timing in ours}

    def fastest_variants(self) -> list[Timing]:
        """Return the timings: all variants of ours, the fastest (by median) of each peer."""
        best: dict[str, Timing] = {}
        for timing in self.timings:
            if timing.seconds:
                name = timing.side if timing.framework == OURS else timing.framework
                rival = best.get(name)
                if rival is None or timing.median < rival.median:
                    best[name] = timing
        return list(best.values())

    def ratios_to(self, other: Timing) -> dict[str, float]:
        """Return our times divided by another's, by variant."""
        return {way: ratio(ours.seconds, other.seconds) for way, ours in self.ours.items()}


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

    @property
    def seconds(self) -> float:
        """The time of all calls."""
        return sum(call.seconds for call in self.calls)


@dataclass(frozen=True, slots=True)
class Memory:
    """Peak memory growth of a process during a training step, in bytes; None if unknown."""

    workload: Workload
    threads: int
    framework: str
    variant: str
    bytes: int | None


@dataclass(frozen=True, slots=True)
class BenchmarkSummary:
    """One workload compared with PyTorch: our figures divided by its lowest over both layouts.

    Attributes
    ----------
    workload : Workload
    variant : str
        Of ours: one of `WAYS`.
    times : dict of int to float
        Ratio of the times by number of threads; the layout is the faster by median.
    memory : float or None
        Ratio of the peaks of a step; None if not measured.
    """

    workload: Workload
    variant: str
    times: dict[int, float]
    memory: float | None


@dataclass(slots=True)
class BenchmarkReport:
    """All measurements, in the order taken.

    Attributes
    ----------
    machine : Machine
    command : str
        The command that measures this.
    date : str
        The day, as YYYY-MM-DD.
    frameworks : list of Framework
        The frameworks that were measured.
    absent, failed : list of str
        Peers that are not installed, and measurements that failed, each with the reason.
    """

    machine: Machine
    command: str = ""
    date: str = field(default_factory=lambda: date.today().isoformat())
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

    def summary(self) -> list[BenchmarkSummary]:
        """Return our variants on each workload that PyTorch was timed on, as measured."""
        found: dict[tuple[str, str], BenchmarkSummary] = {}
        for comparison in self.comparisons:
            theirs = [t for t in comparison.fastest_variants() if t.framework == TORCH]
            for way, ratio_to in comparison.ratios_to(theirs[0]).items() if theirs else ():
                workload = comparison.workload
                empty = BenchmarkSummary(workload, way, {}, self._memory_ratio(workload.name, way))
                line = found.setdefault((workload.name, way), empty)
                line.times[comparison.threads] = ratio_to
        return list(found.values())

    def _memory_ratio(self, name: str, way: str) -> float | None:
        peaks = {
            (memory.framework, memory.variant): memory.bytes
            for memory in self.memory
            if memory.workload.name == name and memory.bytes
        }
        theirs = [size for (framework, _), size in peaks.items() if framework == TORCH]
        ours = peaks.get((OURS, way))
        return ours / min(theirs) if ours and theirs else None

    def to_json(self) -> dict[str, Any]:
        """Return the report as plain data: the machine, and self-describing rows."""
        return {
            "date": self.date,
            "command": self.command,
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
            "ours_over_this": comparison.ratios_to(timing),
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
