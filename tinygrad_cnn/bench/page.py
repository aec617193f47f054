"""The results of a benchmark as a section of a Markdown page."""

from __future__ import annotations

import os
from pathlib import Path

from tinygrad_cnn.bench import tables
from tinygrad_cnn.bench.report import BenchmarkReport
from tinygrad_cnn.bench.sides import NUMPY, OURS
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
    """Return the results in Markdown: training steps and inference of all frameworks.

    These are the machine, the summary, the tables of times, of peak memory and of our ops, then the
    frameworks left out and the measurements that failed. The times of the small ops are shown on
    the terminal and in the JSON only.
    """
    machine = report.machine
    peers = [it for it in report.frameworks if it.name not in (OURS, NUMPY)]
    software = [f"Python {machine.python}", f"NumPy {machine.numpy}", machine.blas]
    software += [f"Numba {machine.numba}"] if machine.numba else []
    software += [f"{it.name} {it.version}" for it in peers]
    counts = sorted({comparison.threads for comparison in report.comparisons})
    load = "" if machine.load is None else f", load average {machine.load:g} before the run"
    cores = counted(machine.cores, "core")
    parts = [
        f"{report.date}, {machine.processor}, {cores}{load}; {', '.join(software)}:",
        f"```sh\n{report.command}\n```",
        *(f"Peak rates, {tables.format_peak_rates(roofs)}." for roofs in report.roofs),
        _markdown(tables.format_summary(report)),
        *(_markdown(_times(report, threads)) for threads in counts),
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


def _times(report: BenchmarkReport, threads: int) -> ReportTable:
    """Return the times of the networks at a number of threads."""
    compared = [each for each in report.comparisons if each.threads == threads]
    return tables.format_steps([each for each in compared if each.workload.network], threads)


def _markdown(table: ReportTable) -> str:
    rows = table.without_repeats()
    return markdown_table(table.header, rows, "<" * table.left + ">") if rows else ""
