"""The tables of a benchmark report, as rows of text, for a terminal and for a page."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tinygrad_cnn.bench.profile import OpCall, by_op, names
from tinygrad_cnn.bench.report import (
    OPS_OF_A_CHAIN,
    BenchmarkReport,
    Profile,
    Roofs,
    WorkloadTimings,
)
from tinygrad_cnn.bench.sides import NUMPY, OURS, WAYS, Side
from tinygrad_cnn.support.text import counted, percent

__all__ = [
    "ReportTable",
    "format_memory",
    "format_number",
    "format_ops",
    "format_overhead",
    "format_peak_rates",
    "format_steps",
    "format_summary",
]

GIGA, MEGA = 1e9, 1e6
MOST_CALLS = 40  # a step with more is shown by op, not call by call


@dataclass(frozen=True, slots=True)
class ReportTable:
    """A table: a header and rows of as many cells; the first `left` columns hold words."""

    header: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    left: int = 2

    def without_repeats(self) -> list[tuple[str, ...]]:
        """Return the rows, with the first cell blank where it repeats that of the row above."""
        above = ["", *(row[0] for row in self.rows)]
        pairs = zip(self.rows, above, strict=False)
        return [("", *row[1:]) if row[0] == before else row for row, before in pairs]


def format_peak_rates(roofs: Roofs) -> str:
    """Return the machine's peak rates in a line."""
    return (
        f"{counted(roofs.threads, 'thread')}: {roofs.multiply_adds / GIGA:.1f} G multiply-adds/s "
        f"(sgemm), {roofs.bytes / GIGA:.1f} GB/s (copy)"
    )


def format_summary(report: BenchmarkReport) -> ReportTable:
    """Return our figures divided by PyTorch's, a row for each workload."""
    counts = sorted({comparison.threads for comparison in report.comparisons})
    rows = [
        (
            line.workload.title,
            line.variant,
            *(format_number(line.times.get(count, math.nan)) for count in counts),
            "" if line.memory is None else format_number(line.memory),
        )
        for line in report.summary()
        if line.workload.network is not None
    ]
    threads = [counted(count, "thread") for count in counts]
    return ReportTable(("ours ÷ PyTorch's", "ours", *threads, "peak memory"), rows)


def format_steps(comparisons: Iterable[WorkloadTimings], threads: int) -> ReportTable:
    """Return the time of each side, peers in their fastest variant, and of ours divided by it."""
    compared = list(comparisons)
    ways = [way for way in WAYS if any(way in comparison.ours for comparison in compared)]
    rows = []
    for comparison in compared:
        for timing in comparison.fastest_variants():
            times = [1e3 * seconds for seconds in timing.seconds]
            ratios = comparison.ratios_to(timing)
            if timing.framework == OURS:
                ratios.pop(timing.variant)
            against = [format_number(ratios[way]) if way in ratios else "" for way in ways]
            span = f"{format_number(min(times))} – {format_number(max(times))}"
            median = format_number(1e3 * timing.median)
            rows.append((_title(comparison), timing.side, median, span, *against))
    header = (f"step, {counted(threads, 'thread')}", "side", "median ms", "lowest – highest")
    return ReportTable((*header, *(f"{way} ÷ it" for way in ways)), rows)


def format_overhead(comparisons: Iterable[WorkloadTimings]) -> ReportTable:
    """Return the time of a small op, and the overhead over bare NumPy calls."""
    rows = []
    for comparison in comparisons:
        timings = comparison.fastest_variants()
        bare = next((timing.seconds for timing in timings if timing.framework == NUMPY), [])
        for timing in timings:
            each = [1e6 * seconds / OPS_OF_A_CHAIN for seconds in timing.seconds]
            median = 1e6 * timing.median / OPS_OF_A_CHAIN
            above = [a - 1e6 * b / OPS_OF_A_CHAIN for a, b in zip(each, bare, strict=False)]
            extra = f"{sorted(above)[len(above) // 2]:.2f}" if above and bare else ""
            extra = "" if timing.framework == NUMPY else extra
            span = f"{min(each):.2f} – {max(each):.2f}"
            rows.append((_title(comparison), timing.side, f"{median:.2f}", span, extra))
    header = ("an op of 8 numbers", "side", "median µs", "lowest – highest", "over NumPy")
    return ReportTable(header, rows)


def format_ops(profile: Profile, roofs: Roofs | None) -> ReportTable:
    """Return the time of each op of a step, and its share of the machine's peak rate.

    A step of many calls is summed by op and direction.
    """
    whole = profile.seconds
    if len(profile.calls) > MOST_CALLS:
        named = [(f"{call.op} ×{count}", call) for count, call in by_op(profile.calls)]
    else:
        named = list(zip(names(profile.calls), profile.calls, strict=True))
    rows = []
    for name, call in named:
        row = [name, call.direction, f"{1e3 * call.seconds:.3f}", percent(call.seconds / whole)]
        if call.multiply_adds:
            row += [f"{call.multiply_adds / MEGA:.2f}", f"{call.intensity:.1f}"]
            row += [f"{call.rate / GIGA:.1f} G/s"]
        else:
            row += ["", "", f"{call.bandwidth / GIGA:.1f} GB/s" if call.bytes_moved else ""]
        rows.append((*row, _share(call, roofs)))
    header = ("op", "", "ms", "of step", "M mult-adds", "per byte", "rate", "share")
    return ReportTable(header, rows)


def format_memory(report: BenchmarkReport) -> ReportTable:
    """Return the peak memory growth of a process during a step."""
    found = {peak.variant for peak in report.memory if peak.framework == OURS}
    ways = [way for way in WAYS if way in found]
    rows = []
    for peak in report.memory:
        same = [each for each in report.memory if each.workload is peak.workload]
        ours = {each.variant: each.bytes for each in same if each.framework == OURS}
        known = "not known" if peak.bytes is None else f"{peak.bytes / MEGA:.1f}"
        if peak.framework == OURS:
            ours.pop(peak.variant)
        against = [
            format_number(own / peak.bytes) if (own := ours.get(way)) and peak.bytes else ""
            for way in ways
        ]
        side = str(Side(peak.framework, peak.variant))
        rows.append((peak.workload.title, side, known, *against))
    threads = counted(report.memory[0].threads, "thread") if report.memory else ""
    header = (f"peak of a step, {threads}", "side", "MB besides data and weights")
    return ReportTable((*header, *(f"{way} ÷ it" for way in ways)), rows)


def format_number(value: float) -> str:
    """Return a positive number with three significant digits.

    Examples
    --------
    >>> [format_number(value) for value in (0.01234, 1.5, 27.44, 1966.2)]
    ['0.0123', '1.50', '27.4', '1966']
    """
    if not value > 0 or math.isinf(value):
        return "–"
    return f"{value:.{max(2 - math.floor(math.log10(value)), 0)}f}"


def _title(comparison: WorkloadTimings) -> str:
    """Return the title of a workload, marked if the machine was busy."""
    return comparison.workload.title + (" (busy)" if comparison.busy else "")


def _share(call: OpCall, roofs: Roofs | None) -> str:
    """Return an op's share of the sgemm rate, or else of the memory bandwidth."""
    if roofs is None or not call.bytes_moved:
        return ""
    if call.multiply_adds:
        return f"{percent(call.rate / roofs.multiply_adds)} of sgemm"
    return f"{percent(call.bandwidth / roofs.bytes)} of copy "
