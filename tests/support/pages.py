"""The programs on a Markdown page, and what they print."""

from __future__ import annotations

import doctest
import math
import re
import tomllib
from collections.abc import Callable
from contextlib import chdir
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from tinygrad_cnn.engine import fast

ROOT = Path(__file__).parents[2]
NEEDS: dict[int, Callable[[], bool]] = {
    doctest.register_optionflag("NEEDS_FAST"): fast.is_on,
    doctest.register_optionflag("NEEDS_MPI"): lambda: find_spec("mpi4py") is not None,
}
"""Options of examples that need an extra, and whether it is there: left out without it."""
VARIES = doctest.register_optionflag("VARIES")
"""The option of an example whose numbers depend a little on the processor."""
NUMBER = r"\s*(-?\d+(?:\.\d+)?(?:e[+-]\d+)?)"


class OutputChecker(doctest.OutputChecker):
    """Compares outputs; where they vary, the text between the numbers, and the numbers nearly."""

    def check_output(self, want: str, got: str, optionflags: int) -> bool:
        if optionflags & VARIES:
            if not are_near(re.findall(NUMBER, want), re.findall(NUMBER, got)):
                return False
            want, got = (re.sub(NUMBER, " 0", text) for text in (want, got))
        return super().check_output(want, got, optionflags)


def are_near(wanted: list[str], found: list[str]) -> bool:
    """Return whether numbers differ by a fifth at most, or by 0.05 (whole numbers: by 4)."""
    return len(wanted) == len(found) and all(
        math.isclose(
            float(a), float(b), rel_tol=0.2, abs_tol=4 if a.lstrip("-").isdigit() else 0.05
        )
        for a, b in zip(wanted, found, strict=True)
    )


def is_left_out(example: doctest.Example) -> bool:
    """Return whether an example is skipped, or needs an extra that is not installed."""
    options = example.options
    return bool(options.get(doctest.SKIP)) or any(
        options.get(need) and not is_here() for need, is_here in NEEDS.items()
    )


@cache
def urls() -> dict[str, str]:
    """Return the project's addresses, which pyproject.toml declares, by lower-case name."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    return {name.lower(): url.rstrip("/") for name, url in project["urls"].items()}


def programs(text: str) -> str:
    """Return the ```python blocks of a page, everything else blank: line numbers stay right."""
    inside = False
    kept = []
    for line in text.splitlines():
        if line.startswith("```"):
            inside = line == "```python"
            line = ""
        kept.append(line if inside else "")
    return "\n".join(kept) + "\n"


def run(page: Path) -> tuple[int, str]:
    """Return how many examples of a page ran, in order, and a report of those that failed.

    They run in a temporary folder, so that they can write files.
    """
    text = programs(page.read_text(encoding="utf-8"))
    names = {"__name__": page.stem}
    test = doctest.DocTestParser().get_doctest(text, names, page.name, str(page), 0)
    for example in test.examples:
        if is_left_out(example):
            example.options[doctest.SKIP] = True
    report: list[str] = []
    flags = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
    with (
        np.printoptions(),  # a page may set its own
        TemporaryDirectory() as folder,
        chdir(folder),
    ):
        runner = doctest.DocTestRunner(OutputChecker(), optionflags=flags)
        outcome = runner.run(test, out=report.append)
    return outcome.attempted, "".join(report)
