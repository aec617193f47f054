"""The results of a benchmark as a section of a Markdown page."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from tinygrad_cnn.bench import tables
from tinygrad_cnn.bench.report import BenchmarkReport, WorkloadTimings
from tinygrad_cnn.bench.sides import OURS, TORCH
from tinygrad_cnn.bench.tables import ReportTable, figures
from tinygrad_cnn.support.files import atomic_write
from tinygrad_cnn.support.text import counted, markdown_table

__all__ = ["BEGIN", "END", "results_section", "write_results"]

BEGIN, END = "<!-- results: written by `tinygrad-cnn bench --page` -->", "<!-- end of results -->"


def write_results(report: BenchmarkReport, path: str | os.PathLike[str]) -> None:
    """Write the results between two comments of a page; a new page has nothing else.

    Raises
    ------
    ValueError
        If the page exists, but has no such comments.
    OSError
        If the file cannot be written.
    """
    page = Path(path)
    text = page.read_text(encoding="utf-8") if page.exists() else f"{BEGIN}\n{END}\n"
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"bench: {page} has no line {BEGIN!r} with a line {END!r} below it")
    section = results_section(report)
    with atomic_write(page) as file:
        file.write(f"{before}{BEGIN}\n\n{section}\n\n{END}{after}".encode())


def results_section(report: BenchmarkReport) -> str:
    """Return the results in Markdown: the machine, the summary, and all tables."""
    machine = report.machine
    versions = [f"{it.name} {it.version}" for it in report.frameworks if it.name == TORCH]
    software = ", ".join(
        [f"Python {machine.python}", f"NumPy {machine.numpy}", machine.blas, *versions]
    )
    load = "" if machine.load is None else f", load average {machine.load:g} before the run"
    parts = [
        f"{report.date}, {machine.processor}, {counted(machine.cores, 'core')}{load}; {software}:",
        f"```sh\n{report.command}\n```",
        *(f"Peak rates, {tables.peak_rates(roofs)}." for roofs in report.roofs),
        _markdown(tables.summary(report)),
        _markdown(_times(report.comparisons)),
        _markdown(tables.memory(report)),
    ]
    for profile in report.profiles:
        of_it = f"{profile.workload.title}, {counted(profile.threads, 'thread')}"
        parts.append(f"{of_it}: {figures(1e3 * profile.seconds)} ms, op by op")
        parts.append(_markdown(tables.ops(profile, report.roofs_at(profile.threads))))
    return "\n\n".join(part for part in parts if part)


def _times(comparisons: Sequence[WorkloadTimings]) -> ReportTable:
    """Return a row for each workload and number of threads: both sides and their ratio."""
    rows = []
    for comparison in comparisons:
        best = {timing.framework: timing for timing in comparison.fastest_variants()}
        if OURS not in best or comparison.workload.network is None:
            continue
        busy = " (busy)" if comparison.busy else ""
        row = [comparison.workload.title + busy, str(comparison.threads)]
        for name in (OURS, TORCH):
            timing = best.get(name)
            times = [1e3 * seconds for seconds in timing.seconds] if timing else []
            if timing and name == TORCH:
                row.append(timing.variant)
            elif name == TORCH:
                row.append("")
            span = f"{figures(min(times))} – {figures(max(times))}" if times else ""
            row += [figures(1e3 * timing.median) if timing else "", span]
        ratio = comparison.ratio_to(best[TORCH]) if TORCH in best else 0.0
        rows.append((*row, figures(ratio)))
    header = ("step", "threads", "ours, median ms", "lowest – highest", "PyTorch's layout",
              "PyTorch, median ms", "lowest – highest", "ours ÷ PyTorch's")  # fmt: skip
    return ReportTable(header, rows, left=1)


def _markdown(table: ReportTable) -> str:
    return markdown_table(table.header, table.rows, "<" * table.left + ">") if table.rows else ""
