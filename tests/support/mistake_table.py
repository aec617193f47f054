"""Prints the table of planted mistakes: what catches each, and after how many seconds.

PYTHONPATH=tests python -m support.mistake_table

"""

from __future__ import annotations

import re
from time import perf_counter

import pytest

from support.mistakes import MISTAKES
from support.planting import Mistake, caught


def main() -> None:
    print("| op | mistake | planted in | caught by | seconds |\n| --- | --- | --- | --- | --- |")
    for mistake in MISTAKES:
        started = perf_counter()
        by = catcher(mistake)
        seconds = perf_counter() - started
        print(f"| {mistake.checked} | {mistake.title} | `{mistake.where}` | {by} | {seconds:.1f} |")


def catcher(mistake: Mistake) -> str:
    """Return what catches a mistake."""
    try:
        error = caught(mistake)
    except pytest.fail.Exception:
        return "NOTHING"
    return mistake.convention or f"“{error.property}”{pattern(str(error))}"


def pattern(message: str) -> str:
    """Return what an error says of the wrong entries."""
    found = re.search(r"^  by itself.*?wrong: (.*)$", message, re.MULTILINE)
    return f": {found[1]}" if found else ""


if __name__ == "__main__":
    main()
