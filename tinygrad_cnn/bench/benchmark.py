"""The benchmark: frameworks, roofs, steps, ops and memory, measured in turn."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import numpy as np

from tinygrad_cnn.bench.machine import cores, describe
from tinygrad_cnn.bench.process import RETURN_FREED, Worker, WorkerError
from tinygrad_cnn.bench.profile import OpCall
from tinygrad_cnn.bench.report import (
    BenchmarkReport,
    Memory,
    Profile,
    Roofs,
    Timing,
    WorkloadTimings,
)
from tinygrad_cnn.bench.sides import (
    COMPILED,
    EAGER,
    FAST,
    NUMPY,
    OURS,
    PEERS,
    TORCH_COMPILE,
    Framework,
    Side,
    default_ways,
    interpreter_of,
)
from tinygrad_cnn.bench.timing import Pace, Round, alternate
from tinygrad_cnn.bench.workloads import WORKLOADS, Workload
from tinygrad_cnn.support.text import counted

__all__ = ["PARTS", "BenchmarkPlan", "find_frameworks", "measure"]

PARTS = ("steps", "ops", "memory", "overhead")
"""The parts of a benchmark."""
PROFILED = ("lenet5-64", "vgg-64", "resnet20-64", "mobilenet-32", "unet-8")
GIVEN = ("layers", "input_shape", "loss", "classes", "target_shape")  # of a network, to a worker
CHECKED_LOGITS = 8
ALIKE = 1e-4  # relative difference of a forward pass from the same weights
ALIKE_LATER = 5e-3  # of the next losses: a near-tie in a maximum may go either way in float32
CHECKED_LOSSES = (ALIKE, ALIKE_LATER, ALIKE_LATER)
MEMORY_STEPS, CAPTURING_STEPS = 2, 2  # the first captures, the second is checked
STARTING, IMPORTING_PEERS, COMPILING = 1.0, 3.0, 8.0  # seconds, for the estimate of the time left
COMPILED_WITHIN = 120.0  # seconds; the limit of a first run, which may compile kernels

OnProgress = Callable[[str, float], None]
"""Progress callback: the part being measured, and how many of the estimated seconds are over."""


@dataclass(frozen=True, slots=True)
class BenchmarkPlan:
    """Settings of a benchmark.

    Attributes
    ----------
    workloads : sequence of Workload
    ours : tuple of str
        Some of `WAYS`, the variants of this package.
    peers : sequence of str
        Some of `PEERS`; missing ones are skipped and listed in the report.
    pythons : mapping of str to str
        Interpreter of each peer that is not installed in the running one.
    threads : tuple of int
        Thread counts to measure with, the same on all sides.
    parts : tuple of str
        Some of `PARTS`: training steps, ops of a step, peak memory, recording overhead.
    pace : Pace
    most : int or None
        Maximum number of workloads for ops and memory; None means all that apply.
    """

    workloads: Sequence[Workload] = WORKLOADS
    ours: tuple[str, ...] = field(default_factory=default_ways)
    peers: Sequence[str] = PEERS
    pythons: Mapping[str, str] = field(default_factory=dict)
    threads: tuple[int, ...] = field(default_factory=lambda: tuple(range(1, min(cores(), 2) + 1)))
    parts: tuple[str, ...] = PARTS
    pace: Pace = field(default_factory=Pace)
    most: int | None = None

    @property
    def networks(self) -> list[Workload]:
        """The network workloads, if whole steps are measured."""
        return [w for w in self.workloads if w.network is not None and "steps" in self.parts]

    @property
    def chains(self) -> list[Workload]:
        """The workloads that measure recording overhead, if it is measured."""
        return [w for w in self.workloads if w.network is None and "overhead" in self.parts]

    @property
    def steps(self) -> list[Workload]:
        """The training steps with more than one example; memory is measured on these."""
        return [w for w in self.workloads if w.mode == "step" and w.network and w.batch > 1]

    @property
    def profiled(self) -> list[Workload]:
        """The training steps to profile: the standard ones if selected, otherwise all."""
        if "ops" not in self.parts:
            return []
        return ([w for w in self.steps if w.name in PROFILED] or self.steps[:1])[: self.most]

    @property
    def weighed(self) -> list[Workload]:
        """The training steps whose peak memory is measured."""
        return self.steps[: self.most] if "memory" in self.parts else []

    @property
    def figures(self) -> set[tuple[str, int, str, str]]:
        """The figures of this package: workload, threads, variant, and "time" or "memory"."""
        networks = product(self.networks, self.threads, self.ours)
        weighed = product(self.weighed, self.ours)
        return {
            *((workload.name, count, way, "time") for workload, count, way in networks),
            *((workload.name, 1, EAGER, "time") for workload in self.chains),
            *((workload.name, max(self.threads), way, "memory") for workload, way in weighed),
        }


def find_frameworks(plan: BenchmarkPlan, report: BenchmarkReport) -> None:
    """Query every interpreter for its framework, and record in the report which are installed."""
    for name in (OURS, NUMPY, *plan.peers):
        python = interpreter_of(name, plan.pythons)
        try:
            with Worker(name, python, threads=1) as worker:
                answer = worker.ask("hello")
        except WorkerError as error:
            report.absent.append(str(error))
            continue
        if "missing" in answer:
            report.absent.append(f"{name} needs {answer['missing']}, which is not installed")
            continue
        if not answer.pop("installed"):
            package, *_ = name.split(".")
            report.absent.append(
                f"{name} is not installed for {python}: pip install {package}, or name an "
                f"interpreter that has it: --python {package}=PATH"
            )
            continue
        answer.pop("python")
        variants, kinds = tuple(answer.pop("variants")), answer.pop("kinds")
        if name == OURS:
            variants = plan.ours
        found = Framework(name, python, variants=variants, kinds=kinds and tuple(kinds), **answer)
        report.frameworks.append(found)
        skipped = sum(not _can_build(found, workload) for workload in plan.networks)
        if kinds and skipped:
            report.absent.append(
                f"{name} of {counted(skipped, 'workload')}: its side here builds {', '.join(kinds)}"
            )


def measure(
    plan: BenchmarkPlan,
    report: BenchmarkReport | None = None,
    on_progress: OnProgress = lambda what, behind: None,
) -> BenchmarkReport:
    """Run the benchmark and return the report.

    Parameters
    ----------
    plan : BenchmarkPlan
    report : BenchmarkReport, optional
        Filled in place, so that it holds all finished measurements after an interruption.
    on_progress : callable
        Progress callback: the current part, and how many of the `estimate` seconds are over.
    """
    if report is None:
        report = BenchmarkReport(describe())
    if not report.frameworks:
        find_frameworks(plan, report)
    measurement = _Measurement(plan, report, on_progress)
    for threads in plan.threads:
        measurement.roofs(threads)
        measurement.compare(plan.networks, threads)
    if plan.chains:
        measurement.compare(plan.chains, threads=1)
    for threads in plan.threads:
        measurement.profile(threads)
    measurement.weigh(max(plan.threads))
    return report


def estimate(plan: BenchmarkPlan, report: BenchmarkReport) -> float:
    """Estimate the seconds that `measure` takes."""
    each = _side_seconds(plan.pace)
    counts = len(plan.threads)
    total = counts * _roof_seconds(plan)
    for workload in plan.networks:
        sides = _sides(report, workload)
        total += counts * (each * len(sides) + COMPILING * _compiling(sides))
    for workload in plan.chains:
        total += each * len(_sides(report, workload))
    for workload in plan.weighed:
        total += IMPORTING_PEERS * len(_weighed(report, workload))
    return total + counts * len(plan.profiled) * _profile_seconds(plan)


def _side_seconds(pace: Pace) -> float:
    return pace.rounds * (pace.turn + pace.pause) + 0.5


def _compiling(sides: Iterable[Side]) -> int:
    """Return how many sides compile each workload for seconds."""
    return sum(side.framework == TORCH_COMPILE for side in sides)


def _roof_seconds(plan: BenchmarkPlan) -> float:
    return STARTING + 5 * plan.pace.turn * 2


def _profile_seconds(plan: BenchmarkPlan) -> float:
    return STARTING + plan.pace.rounds * 0.1


def _can_build(framework: Framework, workload: Workload) -> bool:
    """Return whether a framework's side can build a workload."""
    if workload.network is None:
        return framework.chain
    known = framework.kinds is None or workload.network.kinds <= set(framework.kinds)
    return framework.network and known


def _sides(report: BenchmarkReport, workload: Workload) -> list[Side]:
    """Return the sides of a workload."""
    return [
        Side(framework.name, variant)
        for framework in report.frameworks
        if _can_build(framework, workload)
        for variant in _variants(framework, workload)
    ]


def _weighed(report: BenchmarkReport, workload: Workload) -> list[Side]:
    """Return the sides whose peak memory is measured: compiling would count as theirs."""
    return [side for side in _sides(report, workload) if side.framework != TORCH_COMPILE]


def _variants(framework: Framework, workload: Workload) -> tuple[str, ...]:
    """Return the variants that apply to a workload: layouts only to images, ours to networks."""
    if framework.name == OURS:
        return framework.variants if workload.network else (EAGER,)
    images = workload.network is not None and len(workload.network.input_shape) == 3
    return framework.variants if images else ("",)


def _fields(workload: Workload) -> dict[str, Any]:
    """Return the fields that describe a workload to a worker."""
    assert workload.network is not None
    network = workload.network
    given = {field: getattr(network, field) for field in GIVEN}
    return {**given, "batch": workload.batch, "mode": workload.mode}


def different(
    results: Mapping[Side, Sequence[float]], tolerance: float | Sequence[float] = ALIKE
) -> list[Side]:
    """Return the sides whose results are not those of the first side.

    Parameters
    ----------
    results : mapping
    tolerance : float or sequence of float
        Relative difference allowed: of the largest result, or of each.

    Examples
    --------
    >>> different({Side("tinygrad_cnn"): [2.31, 2.29], Side("torch"): [2.31, 2.24]})
    [Side(framework='torch', variant='')]
    """
    first = np.array(next(iter(results.values()), []))
    scale = np.abs(first) if np.ndim(tolerance) else np.max(np.abs(first), initial=0.0)
    allowed = scale * np.asarray(tolerance)
    return [side for side, found in results.items() if not np.all(np.abs(found - first) <= allowed)]


def _numbers(values: Sequence[float]) -> str:
    return ", ".join(f"{value:.5g}" for value in values)


def _timings(
    workload: Workload, threads: int, sides: Iterable[Side], rounds: Sequence[Round[Side]]
) -> WorkloadTimings:
    """Return the timings of the quiet rounds, or of all if none was quiet."""
    quiet = [each for each in rounds if not each.busy]
    timings = tuple(
        Timing(
            side.framework,
            side.variant,
            [each.seconds[side] for each in quiet or rounds if side in each.seconds],
        )
        for side in sides
    )
    return WorkloadTimings(workload, threads, timings, busy=bool(rounds) and not quiet)


class _Measurement:
    """The parts of a benchmark; each adds to the same report."""

    def __init__(
        self, plan: BenchmarkPlan, report: BenchmarkReport, on_progress: OnProgress
    ) -> None:
        self.plan = plan
        self.report = report
        self.behind = 0.0
        self.on_progress = on_progress
        self.pythons = {framework.name: framework.python for framework in report.frameworks}

    @contextmanager
    def part(self, what: str, seconds: float) -> Iterator[Callable[[float], None]]:
        """Report the start and end of a part; yields a callback for the share done.

        If a worker fails, skip the rest of the part and record the failure in the report.
        """

        def progress(share: float) -> None:
            self.on_progress(what, self.behind + share * seconds)

        progress(0.0)
        try:
            yield progress
        except WorkerError as error:
            self.report.failed.append(f"{what}: {error}")
        self.behind += seconds
        self.on_progress(what, self.behind)

    def worker(
        self, framework: str, threads: int, environment: Mapping[str, str] | None = None
    ) -> Worker:
        """Start a worker."""
        python = self.pythons.get(framework, sys.executable)
        return Worker(framework, python, threads, environment)

    def roofs(self, threads: int) -> None:
        """Measure the peak rates of the machine."""
        seconds = self.plan.pace.turn * 2
        with (
            self.part(f"the machine, {counted(threads, 'thread')}", _roof_seconds(self.plan)),
            Worker(NUMPY, sys.executable, threads=1) as worker,  # BLAS runs one thread in each
        ):
            found = worker.ask("roofs", threads=threads, seconds=seconds)["roofs"]
            self.report.roofs.append(Roofs(threads, **found))

    def compare(self, workloads: Sequence[Workload], threads: int) -> None:
        """Alternate all sides on each workload; a side that fails is dropped for that workload."""
        with ExitStack() as stack:
            workers: dict[Side, Worker] = {}
            for workload in workloads:
                sides = _sides(self.report, workload)
                pace = self.plan.pace
                seconds = _side_seconds(pace) * len(sides) + COMPILING * _compiling(sides)
                with self.part(
                    f"{workload.title}, {counted(threads, 'thread')}", seconds
                ) as progress:
                    ready: dict[Side, Worker] = {}
                    results: dict[Side, list[float]] = {}
                    for side in sides:
                        try:
                            if side not in workers:
                                made = self.worker(side.framework, threads)
                                workers[side] = stack.enter_context(made)
                            self.prepare(workers[side], side, workload, threads)
                            results[side] = self.first_results(workers[side], side, workload)
                            ready[side] = workers[side]
                        except WorkerError as error:
                            workers.pop(side, None)  # the next workload gets a new one
                            self.report.failed.append(f"{workload.title}: {error}")
                    stepped = workload.network is not None and workload.mode == "step"
                    for side in different(results, CHECKED_LOSSES if stepped else ALIKE):
                        del ready[side]
                        self.report.failed.append(
                            f"{workload.title}: {side} computes {_numbers(results[side])}, "
                            f"but {next(iter(results))} {_numbers(next(iter(results.values())))}"
                        )
                    rounds: list[Round[Side]] = []
                    try:
                        rounds.extend(alternate(ready, pace, progress))
                    finally:
                        self.report.comparisons.append(_timings(workload, threads, ready, rounds))

    def first_results(self, worker: Worker, side: Side, workload: Workload) -> list[float]:
        """Return the losses of the first steps, or some logits; this also warms up the side."""
        limit, found = self.plan.pace.limit, list[float]()
        first = max(limit, COMPILED_WITHIN) if side.framework == OURS else limit
        if workload.network is None:
            worker.ask("run", limit, times=1)
        elif workload.mode == "inference":
            found = worker.ask("logits", first, count=CHECKED_LOGITS)["logits"]
        else:
            for k, _ in enumerate(CHECKED_LOSSES):
                found += worker.ask("losses", limit if k else first, steps=1)["losses"]
        return found

    def prepare(self, worker: Worker, side: Side, workload: Workload, threads: int) -> None:
        """Send a workload to a worker to build."""
        if workload.network is None:
            worker.ask("chain", mode=workload.mode)
        else:
            worker.ask("build", threads=threads, variant=side.variant, **_fields(workload))

    def profile(self, threads: int) -> None:
        """Profile each op of our training steps."""
        for workload in self.plan.profiled:
            with (
                self.part(f"ops of {workload.title}", _profile_seconds(self.plan)),
                self.worker(OURS, threads) as worker,
            ):
                eager = next((way for way in self.plan.ours if way.startswith(EAGER)), EAGER)
                self.prepare(worker, Side(OURS, eager), workload, threads)
                found = worker.ask("profile", steps=self.plan.pace.rounds)["calls"]
                calls = tuple(OpCall(**call) for call in found)
                self.report.profiles.append(Profile(workload, threads, calls))

    def weigh(self, threads: int) -> None:
        """Measure peak memory, each side in a fresh process warmed up on one example.

        Of a compiled step, it is the peak of replays, with the memory that they keep. Freed blocks
        go back to the system, or the peak would also count those that the C library keeps, which
        depend on the sizes freed before.
        """
        for workload in self.plan.weighed:
            for side in _weighed(self.report, workload):
                what = f"memory of {workload.title}, {side}"
                with (
                    self.part(what, IMPORTING_PEERS),
                    self.worker(side.framework, threads, RETURN_FREED) as it,
                ):
                    fields = {**_fields(workload), "threads": threads, "variant": side.variant}
                    limit = self.plan.pace.limit
                    it.ask("build", **fields | {"batch": 1})
                    it.ask("run", limit, times=1)
                    it.ask("build", **fields)
                    captures = CAPTURING_STEPS if side.variant in (COMPILED, FAST) else 0
                    if captures:  # it has loaded kernels, which are not memory of a step
                        it.ask("run", max(limit, COMPILED_WITHIN), times=1)
                        it.ask("build", **fields)
                    given = {"steps": MEMORY_STEPS, "before": captures}
                    size = it.ask("memory", limit * (MEMORY_STEPS + captures), **given)["bytes"]
                    self.report.memory.append(
                        Memory(workload, threads, side.framework, side.variant, size)
                    )
