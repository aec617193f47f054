"""The results of a benchmark as a section of a Markdown page."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from tinygrad_cnn.bench import tables
from tinygrad_cnn.bench.report import BenchmarkReport, WorkloadTimings
from tinygrad_cnn.bench.sides import OURS, TORCH
from tinygrad_cnn.bench.tables import ReportTable, format_number
from tinygrad_cnn.support.files import atomic_write
from tinygrad_cnn.support.text import counted, markdown_table

__all__ = ["BEGIN", "END", "check_page", "results_section", "write_results"]

BEGIN, END = "<!-- results: written by `tinygrad-cnn bench --page` -->", "<!-- end of results -->"


def write_results(report: BenchmarkReport, path: str | os.PathLike[str]) -> None:
    """Write the results between two comments of a page; a new page has nothing else.

    Raises
    ------
    ValueError
        If `check_page` refuses the page.
    OSError
        If the file cannot be written.
    """
    before, after = check_page(path)
    section = results_section(report)
    with atomic_write(path) as file:
        file.write(f"{before}{BEGIN}\n\n{section}\n\n{END}{after}".encode())


def check_page(path: str | os.PathLike[str]) -> tuple[str, str]:
    """Return the text before and after the results of a page, empty for a new page.

    Raises
    ------
    ValueError
        If the file is not named .md, or exists, but has no such comments.
    OSError
        If the page cannot be read, or its folder is missing.
    """
    page = Path(path)
    if page.suffix.lower() != ".md":
        raise ValueError(f"bench: --page is {str(page)!r}, expected a file name with .md")
    if not page.parent.is_dir():
        raise FileNotFoundError(f"bench: --page {page}: there is no folder {page.parent}")
    try:
        text = page.read_text(encoding="utf-8") if page.exists() else f"{BEGIN}\n{END}\n"
    except UnicodeDecodeError as error:
        raise ValueError(f"bench: --page {page} is not a text in UTF-8: {error}") from error
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"bench: --page {page} has no line {BEGIN!r} with a line {END!r} below it")
    return before, after


def results_section(report: BenchmarkReport) -> str:
    """Return the results in Markdown: ours and PyTorch's training steps and inference.

    These are the machine, the summary, the tables of times, of peak memory (all frameworks) and of
    our ops, then the frameworks left out and the measurements that failed. The times of the small
    ops, and those of other frameworks, are shown on the terminal and in the JSON only.
    """
    machine = report.machine
    versions = [f"{it.name} {it.version}" for it in report.frameworks if it.name == TORCH]
    software = ", ".join(
        [f"Python {machine.python}", f"NumPy {machine.numpy}", machine.blas, *versions]
    )
    load = "" if machine.load is None else f", load average {machine.load:g} before the run"
    parts = [
        f"{report.date}, {machine.processor}, {counted(machine.cores, 'core')}{load}; {software}:",
        f"```sh\n{report.command}\n```",
        *(f"Peak rates, {tables.format_peak_rates(roofs)}." for roofs in report.roofs),
        _markdown(tables.format_summary(report)),
        _markdown(_times(report.comparisons)),
        _markdown(tables.format_memory(report)),
    ]
    for profile in report.profiles:
        of_it = f"{profile.workload.title}, {counted(profile.threads, 'thread')}"
        parts.append(f"{of_it}: {format_number(1e3 * profile.seconds)} ms, op by op")
        parts.append(_markdown(tables.format_ops(profile, report.roofs_at(profile.threads))))
    left_out = [f"Left out: {reason}" for reason in report.absent]
    left_out += [f"Not measured: {reason}" for reason in report.failed]
    parts.append("\n".join(f"- {' '.join(line.split())}" for line in left_out))
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
            span = f"{format_number(min(times))} – {format_number(max(times))}" if times else ""
            row += [format_number(1e3 * timing.median) if timing else "", span]
        ratio = comparison.ratio_to(best[TORCH]) if TORCH in best else 0.0
        rows.append((*row, format_number(ratio)))
    header = ("step", "threads", "ours, median ms", "lowest – highest", "PyTorch's layout",
              "PyTorch, median ms", "lowest – highest", "ours ÷ PyTorch's")  # fmt: skip
    return ReportTable(header, rows, left=1)


def _markdown(table: ReportTable) -> str:
    return markdown_table(table.header, table.rows, "<" * table.left + ">") if table.rows else ""
