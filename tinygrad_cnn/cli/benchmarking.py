"""``tinygrad-cnn bench``: benchmark this package against the installed frameworks."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

from tinygrad_cnn.bench import tables
from tinygrad_cnn.bench.benchmark import (
    PARTS,
    BenchmarkPlan,
    OnProgress,
    estimate,
    find_frameworks,
    measure,
)
from tinygrad_cnn.bench.comparison import changed_machine, compare, list_figures
from tinygrad_cnn.bench.figure import draw_roofline
from tinygrad_cnn.bench.machine import Machine, cores, describe
from tinygrad_cnn.bench.page import check_page, write_results
from tinygrad_cnn.bench.report import BenchmarkReport
from tinygrad_cnn.bench.sides import NUMPY, OURS, parse_peers, parse_pythons, parse_ways
from tinygrad_cnn.bench.timing import Pace
from tinygrad_cnn.bench.workloads import select
from tinygrad_cnn.cli.display import ACCENT, FAINT, console
from tinygrad_cnn.cli.errors import INTERRUPTED
from tinygrad_cnn.support.modules import needs_extra
from tinygrad_cnn.support.text import aligned, counted

__all__ = ["bench"]

QUICK = Pace(rounds=5, turn=0.1, patience=1.0, limit=5.0)
Earlier: TypeAlias = Mapping[str, Any]
"""A report as JSON."""


def bench(
    patterns: Sequence[str],
    ours: str | None,
    against: str | None,
    pythons: Sequence[str],
    threads: str | None,
    parts: str | None,
    figure: Path | None,
    page: Path | None,
    earlier: Path | None,
    as_json: bool,
    quick: bool,
) -> int:
    """Run the benchmark, print tables or JSON, and return the exit status.

    Parameters
    ----------
    patterns : sequence of str
        Names of workloads; ``*`` is a wildcard. All if empty.
    ours : str or None
        Comma-separated variants of this package; None means eager and the fastest available.
    against : str or None
        Comma-separated peers, or "none"; None means all installed ones.
    pythons : sequence of str
        ``peer=path``: the interpreter with that peer.
    threads, parts : str or None
        Comma-separated thread counts and parts.
    figure : Path or None
        Output file of the roofline figure.
    page : Path or None
        Markdown page in which to write the results.
    earlier : Path or None
        JSON of an earlier benchmark, to compare with.
    as_json, quick : bool
        Whether to print JSON, and whether to limit the benchmark to about a minute.

    Returns
    -------
    int
        0; 1 if something is slower than in `earlier`, if a selected figure of `earlier` is missing
        now, or if no figure could be judged; 130 if interrupted, when the measurements so far are
        still printed.
    """
    plan = BenchmarkPlan(
        workloads=select(patterns, quick),
        ours=parse_ways(ours),
        peers=parse_peers(against),
        pythons=parse_pythons(pythons),
        threads=_threads(threads, quick),
        parts=_parts(parts),
        pace=QUICK if quick else Pace(),
        most=1 if quick else None,
    )
    if figure is not None:
        _check_figure(figure, plan)
    if page is not None:
        check_page(page)
    before = None if earlier is None else _read(earlier)
    given = {"ours": ours, "against": against, "threads": threads, "parts": parts}
    command = _command(patterns, given, figure, quick)
    report = BenchmarkReport(describe(), command)
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
    if page is not None and not status:
        write_results(report, page)
        screen.print(f"\nThe results are in {page}.")
    if before is not None and earlier is not None and not status:
        status = _show_changes(screen, earlier, before, plan, report)
    return status


def _read(earlier: Path) -> Earlier:
    """Read an earlier report."""
    try:
        found = json.loads(earlier.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"bench: {earlier} is not the JSON of `bench --json`: {error}") from error
    if not isinstance(found, dict) or not isinstance(found.get("rows"), list):
        raise ValueError(f"bench: {earlier} is not the JSON of `bench --json`: it has no rows")
    try:  # comparing it with itself reads every field
        changed_machine(found, found)
        for change in compare(found, found):
            change.factor  # noqa: B018  # or raise
    except (ArithmeticError, AttributeError, LookupError, TypeError) as error:
        raise ValueError(
            f"bench: {earlier} is not the JSON of `bench --json`: a row or the machine is "
            f"malformed ({type(error).__name__}: {error})"
        ) from error
    return found


def _command(
    patterns: Sequence[str], given: Mapping[str, str | None], figure: Path | None, quick: bool
) -> str:
    """Return the command that measures the same elsewhere: without paths of this machine.

    So it has no --python: elsewhere, the peers may be installed in other interpreters.
    """
    words = ["tinygrad-cnn", "bench", *patterns]
    for option, value in given.items():
        words += [] if value is None else [f"--{option}", value]
    words += [] if figure is None else ["--figure", figure.name]
    return shlex.join([*words, *(["--quick"] if quick else [])])


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
        out.print(f"\nPeak rates, {tables.format_peak_rates(roofs)}")
        compared = [c for c in report.comparisons if c.threads == roofs.threads]
        networks = [c for c in compared if c.workload.network is not None]
        _print_table(out, tables.format_steps(networks, roofs.threads), gap=False)
    chains = [c for c in report.comparisons if c.workload.network is None]
    _print_table(out, tables.format_overhead(chains))
    for profile in report.profiles:
        title = f"{profile.workload.title}, {counted(profile.threads, 'thread')}"
        out.print(f"\n{title}: {tables.format_number(1e3 * profile.seconds)} ms, op by op")
        _print_table(out, tables.format_ops(profile, report.roofs_at(profile.threads)), gap=False)
    _print_table(out, tables.format_memory(report))
    _print_table(out, tables.format_summary(report))
    if report.failed:
        out.print()
    for reason in report.failed:
        out.print(Text(f"not measured: {reason}", FAINT))


def _show_changes(
    out: Console, path: Path, earlier: Earlier, plan: BenchmarkPlan, report: BenchmarkReport
) -> int:
    """Print what became slower or faster since an earlier report; return the exit status."""
    now = report.to_json()
    for difference in changed_machine(earlier, now):
        out.print(Text(f"another machine or library: {difference}", FAINT))
    then, since = list_figures(earlier), list_figures(now)
    for place, found, other in ((f"in {path}", then, since), ("in this run", since, then)):
        if only := {name for name, *_ in found} - {name for name, *_ in other}:
            out.print(Text(f"only {place}: {', '.join(sorted(only))}", FAINT))
    missing = sorted((then - since) & plan.figures)
    for name, threads, way, kind in missing:
        out.print(f"missing now: {kind} of {name}, {way}, {counted(threads, 'thread')}")
    changes = compare(earlier, now)
    rows = [
        (
            change.workload,
            change.variant,
            counted(change.threads, "thread"),
            change.what,
            tables.format_number(change.before),
            tables.format_number(change.after),
            f"{100 * (change.factor - 1):+.0f} %",
            "slower" if change.slower else "faster",
        )
        for change in sorted(changes, key=lambda change: -change.factor)
        if change.significant
    ]
    header = ("compared with " + path.name, "", "", "", "before", "now", "change", "")
    _print_table(out, tables.ReportTable(header, rows, left=4))
    slower = sum(change.slower for change in changes)
    judged = sum(not change.busy for change in changes)
    out.print(
        f"\n{counted(judged, 'figure')} compared with {path}, beyond their spread: "
        f"{slower} worse, {sum(change.faster for change in changes)} better."
    )
    if judged < len(changes):
        count = counted(len(changes) - judged, "figure")
        out.print(f"Not judged, as the machine was busy: {count}.")
    return int(slower > 0 or bool(missing) or not judged)


def _print_table(out: Console, table: tables.ReportTable, gap: bool = True) -> None:
    """Print a table, if it has rows, after an empty line: words to the left, numbers right."""
    if not table.rows:
        return
    if gap:
        out.print()
    lines = aligned([table.header, *table.without_repeats()], "<" * table.left + ">")
    for k, line in enumerate(lines):
        style = FAINT if k == 0 else ACCENT if _is_ours(table.rows[k - 1]) else ""
        out.print(Text(line.rstrip(), style))


def _is_ours(row: tuple[str, ...]) -> bool:
    return any(cell.startswith(OURS) for cell in row)
