"""``tinygrad-cnn bench``: benchmark this package beside the installed peers."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

from tinygrad_cnn.bench.benchmark import (
    PARTS,
    BenchmarkPlan,
    OnProgress,
    estimate,
    find_frameworks,
    measure,
)
from tinygrad_cnn.bench.figure import draw_roofline
from tinygrad_cnn.bench.machine import Machine, cores, describe
from tinygrad_cnn.bench.profile import OpCall, names
from tinygrad_cnn.bench.report import (
    OPS_OF_A_CHAIN,
    BenchmarkReport,
    Profile,
    Roofs,
    WorkloadTimings,
)
from tinygrad_cnn.bench.sides import NUMPY, OURS, parse_peers, parse_pythons
from tinygrad_cnn.bench.timing import Pace
from tinygrad_cnn.bench.workloads import select
from tinygrad_cnn.cli.display import ACCENT, FAINT, console
from tinygrad_cnn.cli.errors import INTERRUPTED
from tinygrad_cnn.support.modules import needs_extra
from tinygrad_cnn.support.text import aligned, counted, percent

__all__ = ["bench"]

QUICK = Pace(rounds=5, turn=0.1, patience=1.0, limit=5.0)
GIGA, MEGA = 1e9, 1e6


def bench(
    patterns: Sequence[str],
    against: str | None,
    pythons: Sequence[str],
    threads: str | None,
    parts: str | None,
    figure: Path | None,
    as_json: bool,
    quick: bool,
) -> int:
    """Run the benchmark, print tables or JSON, and return the exit status.

    Parameters
    ----------
    patterns : sequence of str
        Names of workloads; ``*`` is a wildcard. All if empty.
    against : str or None
        Comma-separated peers, or "none"; None means all installed ones.
    pythons : sequence of str
        ``peer=path``: the interpreter with that peer.
    threads, parts : str or None
        Comma-separated thread counts and parts.
    figure : Path or None
        Output file of the roofline figure.
    as_json, quick : bool
        Whether to print JSON, and whether to limit the benchmark to about a minute.

    Returns
    -------
    int
        0, or 130 if interrupted; the measurements so far are still printed.
    """
    plan = BenchmarkPlan(
        workloads=select(patterns, quick),
        peers=parse_peers(against),
        pythons=parse_pythons(pythons),
        threads=_threads(threads, quick),
        parts=_parts(parts),
        pace=QUICK if quick else Pace(),
        most=1 if quick else None,
    )
    if figure is not None:
        _check_figure(figure, plan)
    report = BenchmarkReport(describe())
    screen = Console(stderr=True) if as_json else console()
    status = 0
    try:
        with screen.status("looking for frameworks"):
            find_frameworks(plan, report)
        if not as_json:
            _show_machine(screen, report)
        with _progress(screen, estimate(plan, report)) as on_progress:
            measure(plan, report, on_progress)
    except KeyboardInterrupt:
        status = INTERRUPTED
    if as_json:
        print(json.dumps(report.to_json(), indent=1))
    else:
        _show(screen, report)
    if status:
        screen.print("\nInterrupted; above is what was measured so far.")
    if figure is not None and report.profiles:
        draw_roofline(report, figure)
        screen.print(f"\nThe roofline is in {figure}.")
    return status


def _check_figure(figure: Path, plan: BenchmarkPlan) -> None:
    """Raise before measuring if the roofline figure could not be drawn."""
    if figure.suffix.lower() != ".png":
        raise ValueError(f"bench: --figure is {str(figure)!r}, expected a file name with .png")
    if not plan.profiled:
        lacking = (
            "these workloads have no training step" if "ops" in plan.parts else "--parts lacks ops"
        )
        raise ValueError(f"bench: --figure {figure}: there is nothing to draw, as {lacking}")
    if not figure.parent.is_dir():
        raise FileNotFoundError(f"bench: --figure {figure}: there is no folder {figure.parent}")
    with needs_extra("plots", "drawing the roofline"):
        import matplotlib  # noqa: F401  # or raise


def _threads(text: str | None, quick: bool) -> tuple[int, ...]:
    """Return the thread counts: by default 1 and 2, or only the larger in a quick run."""
    if text is None:
        most = min(cores(), 2)
        return (most,) if quick else tuple(range(1, most + 1))
    counts = [part.strip() for part in text.split(",")]
    if not all(count.isdecimal() and int(count) for count in counts):
        raise ValueError(f"bench: --threads is {text!r}, expected integers >= 1, such as 1,2")
    return tuple(sorted({int(count) for count in counts}))


def _parts(text: str | None) -> tuple[str, ...]:
    if text is None:
        return PARTS
    wanted = [part.strip() for part in text.split(",")]
    for part in wanted:
        if part not in PARTS:
            raise ValueError(f"bench: --parts has {part!r}, expected some of {', '.join(PARTS)}")
    return tuple(part for part in PARTS if part in wanted)


@contextmanager
def _progress(screen: Console, seconds: float) -> Iterator[OnProgress]:
    """Show the current measurement and the remaining time on a terminal."""
    shown = Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=24, complete_style="cyan", finished_style="cyan"),
        TimeRemainingColumn(),
        console=screen,
        transient=True,
        refresh_per_second=4,
        disable=not screen.is_terminal,
    )
    task = shown.add_task("", total=seconds)
    with shown:
        yield lambda what, behind: shown.update(task, description=what, completed=behind)


def _show_machine(out: Console, report: BenchmarkReport) -> None:
    """Print the machine, the frameworks, and the missing peers."""
    machine: Machine = report.machine
    cores = counted(machine.cores, "core")
    out.print(f"{machine.processor}, {cores}, {machine.system}")
    kernel = f", kernel {machine.kernel}" if machine.kernel else ""
    out.print(f"Python {machine.python}, NumPy {machine.numpy}, {machine.blas}{kernel}")
    others = [f"{it.name} {it.version}" for it in report.frameworks if it.name not in (OURS, NUMPY)]
    out.print(f"compared with: {', '.join(others) or 'no other framework'}")
    for reason in report.absent:
        out.print(Text(f"left out: {reason}", FAINT))
    if machine.load is not None and machine.load > 0.5 * machine.cores:
        out.print(Text(f"load {machine.load:g}: the machine is busy, so timings will vary", FAINT))


def _show(out: Console, report: BenchmarkReport) -> None:
    for roofs in report.roofs:
        out.print(f"\nPeak rates, {counted(roofs.threads, 'thread')}: "
                  f"{roofs.multiply_adds / GIGA:.1f} G multiply-adds/s (sgemm), "
                  f"{roofs.bytes / GIGA:.1f} GB/s (copy)")  # fmt: skip
        compared = [c for c in report.comparisons if c.threads == roofs.threads]
        _show_steps(out, [c for c in compared if c.workload.network is not None], roofs.threads)
    _show_overhead(out, [c for c in report.comparisons if c.workload.network is None])
    for profile in report.profiles:
        _show_ops(out, profile, report.roofs_at(profile.threads))
    _show_memory(out, report)
    if report.failed:
        out.print()
    for reason in report.failed:
        out.print(Text(f"not measured: {reason}", FAINT))


def _show_steps(out: Console, comparisons: Sequence[WorkloadTimings], threads: int) -> None:
    """Print the time of each side, using each framework's fastest variant."""
    rows = []
    for comparison in comparisons:
        title = _title(comparison)
        for timing in comparison.fastest_variants():
            ours = timing.framework == OURS
            times = [1e3 * seconds for seconds in timing.seconds]
            against = "" if ours else _figures(comparison.ratio_to(timing))
            span = f"{_figures(min(times))} – {_figures(max(times))}"
            rows.append((title, timing.side, _figures(1e3 * timing.median), span, against))
            title = ""
    if rows:
        header = (
            f"step, {counted(threads, 'thread')}",
            "side",
            "median ms",
            "lowest – highest",
            "ours ÷ theirs",
        )
        _print_table(out, header, rows, left=2)


def _show_overhead(out: Console, comparisons: Sequence[WorkloadTimings]) -> None:
    """Print the time of a small op, and the overhead over bare NumPy calls."""
    rows = []
    for comparison in comparisons:
        title = _title(comparison)
        timings = comparison.fastest_variants()
        bare = next((timing.seconds for timing in timings if timing.framework == NUMPY), [])
        for timing in timings:
            each = [1e6 * seconds / OPS_OF_A_CHAIN for seconds in timing.seconds]
            median = 1e6 * timing.median / OPS_OF_A_CHAIN
            above = [a - 1e6 * b / OPS_OF_A_CHAIN for a, b in zip(each, bare, strict=False)]
            extra = f"{sorted(above)[len(above) // 2]:.2f}" if above and bare else ""
            extra = "" if timing.framework == NUMPY else extra
            span = f"{min(each):.2f} – {max(each):.2f}"
            rows.append((title, timing.side, f"{median:.2f}", span, extra))
            title = ""
    if rows:
        header = ("an op of 8 numbers", "side", "median µs", "lowest – highest", "over NumPy")
        out.print()
        _print_table(out, header, rows, left=2)


def _title(comparison: WorkloadTimings) -> str:
    """Return the title of a workload, marked if the machine was busy."""
    return comparison.workload.title + (" (busy)" if comparison.busy else "")


def _show_ops(out: Console, profile: Profile, roofs: Roofs | None) -> None:
    """Print the time of each op of a step, and its share of the machine's peak rate."""
    whole = sum(call.seconds for call in profile.calls)
    rows = []
    for name, call in zip(names(profile.calls), profile.calls, strict=True):
        row = [name, call.direction, f"{1e3 * call.seconds:.3f}", percent(call.seconds / whole)]
        if call.multiply_adds:
            row += [f"{call.multiply_adds / MEGA:.2f}", f"{call.intensity:.1f}"]
            row += [f"{call.rate / GIGA:.1f} G/s"]
        else:
            row += ["", "", f"{call.bandwidth / GIGA:.1f} GB/s" if call.bytes_moved else ""]
        rows.append((*row, _share(call, roofs)))
    header = ("op", "", "ms", "of step", "M mult-adds", "per byte", "rate", "share")
    out.print(f"\n{profile.workload.title}, {counted(profile.threads, 'thread')}: "
              f"{_figures(1e3 * whole)} ms, op by op")  # fmt: skip
    _print_table(out, header, rows, left=2)


def _share(call: OpCall, roofs: Roofs | None) -> str:
    """Return an op's share of the sgemm rate, or else of the memory bandwidth."""
    if roofs is None or not call.bytes_moved:
        return ""
    if call.multiply_adds:
        return f"{percent(call.rate / roofs.multiply_adds)} of sgemm"
    return f"{percent(call.bandwidth / roofs.bytes)} of copy "


def _show_memory(out: Console, report: BenchmarkReport) -> None:
    """Print the peak memory growth of a process during a step."""
    rows = []
    for memory in report.memory:
        ours = next(
            (m.bytes for m in report.memory
             if m.framework == OURS and m.workload is memory.workload), None
        )  # fmt: skip
        known = "not known" if memory.bytes is None else f"{memory.bytes / MEGA:.1f}"
        against = ""
        if ours and memory.bytes and memory.framework != OURS:
            against = _figures(ours / memory.bytes)
        side = f"{memory.framework} {memory.variant}".rstrip()
        rows.append((memory.workload.title, side, known, against))
    if rows:
        header = (f"peak of a step, {counted(report.memory[0].threads, 'thread')}", "side",
                  "MB besides data and weights", "ours ÷ theirs")  # fmt: skip
        out.print()
        _print_table(out, header, _without_repeats(rows), left=2)


def _without_repeats(rows: Sequence[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """Return the rows, with the first cell blank where it repeats the row above."""
    before = ["", *(row[0] for row in rows)]
    return [
        ("", *row[1:]) if row[0] == above else row for row, above in zip(rows, before, strict=False)
    ]


def _print_table(
    out: Console, header: Sequence[str], rows: Sequence[Sequence[str]], left: int
) -> None:
    """Print a table with the first columns left-aligned, the others right-aligned."""
    for k, line in enumerate(aligned([header, *rows], "<" * left + ">")):
        style = FAINT if k == 0 else ACCENT if OURS in rows[k - 1] else ""
        out.print(Text(line, style))


def _figures(value: float) -> str:
    """Return a positive number with three significant digits.

    Examples
    --------
    >>> [_figures(value) for value in (0.01234, 1.5, 27.44, 1966.2)]
    ['0.0123', '1.50', '27.4', '1966']
    """
    if not value > 0 or math.isinf(value):
        return "–"
    return f"{value:.{max(2 - math.floor(math.log10(value)), 0)}f}"
