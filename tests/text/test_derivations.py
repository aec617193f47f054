"""The pages of docs/derivations: no equation is missing, and each is compared with its formula.

The text ends at (53); (54) and what follows are the chapters that it announces.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from support import pages

import tinygrad_cnn as tg

FOLDER = pages.ROOT / "docs" / "derivations"
PAGES = sorted(FOLDER.glob("[1-9]*-*.md"), key=lambda page: int(page.name.split("-")[0]))
EQUATIONS = range(1, 115)
CHAPTERS = PAGES[6:]  # the first six are about the text
DEFINITIONS = range(1, 14)  # these stand in a table, which one program follows
SECTION = re.compile(r"^### \((\d+)\) .+$", re.MULTILINE)


def sections() -> dict[int, str]:
    """Return what stands under the heading of each numbered equation."""
    found = {}
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        headings = list(SECTION.finditer(text))
        for heading in headings:
            rest = text[heading.end() :]
            following = re.search(r"^##", rest, re.MULTILINE)
            number = int(heading[1])
            assert number not in found, f"({number}) has two sections"
            found[number] = rest[: following.start()] if following else rest
    return found


def test_every_equation_has_its_place_in_order() -> None:
    first = PAGES[0].read_text(encoding="utf-8")
    table = [int(number) for number in re.findall(r"^\| \((\d+)\) \|", first, re.MULTILINE)]
    assert table + list(sections()) == list(EQUATIONS)


@pytest.mark.parametrize("number", [n for n in EQUATIONS if n not in DEFINITIONS])
def test_equation_has_formula_working_form_and_a_comparison(number: int) -> None:
    section = sections()[number]
    assert rf"\tag{{{number}}}$$" in section
    assert "\nWorking form: " in section
    assert re.search(r"^(>>>|\.\.\.) +(equal|same|near)\(", pages.programs(section), re.MULTILINE)


def test_ops_that_cite_an_equation_are_named_under_it() -> None:
    text = sections()
    cited = [
        (int(number), op.name)
        for op in tg.OPS.values()
        for cites in [op.equation, *(rule.equation for rule in op.derivatives.values())]
        if "after" not in cites  # R and R′ have no number
        for number in re.findall(r"\d+", cites)
    ]
    assert len(cited) > 10
    missing = [(number, name) for number, name in cited if f"`tg.{name}" not in text[number]]
    assert missing == []


@pytest.mark.parametrize("page", CHAPTERS, ids=lambda page: page.stem)
def test_a_chapter_has_exercises_with_solutions_and_a_place_in_the_studio(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    exercises = text.partition("## Exercises")[2].partition("<details>")
    assert re.findall(r"^(\d)\. ", exercises[0], re.MULTILINE) == list("12345")
    assert re.findall(r"^(\d)\\\. ", exercises[2], re.MULTILINE) == list("12345")
    assert "\n**Try it in the studio.** " in text
    assert pages.programs(exercises[2]).count(">>>") >= 4


def test_mistakes_are_numbered_listed_and_proven() -> None:
    text = (FOLDER / "6-mistakes.md").read_text(encoding="utf-8")
    listed = [int(number) for number in re.findall(r"^\| \[(\d+)\]", text, re.MULTILINE)]
    parts = re.split(r"^## (\d+)\. .+$", text, flags=re.MULTILINE)[1:]
    numbers = [int(number) for number in parts[::2]]
    assert listed == numbers == list(range(1, len(numbers) + 1))
    assert len(numbers) >= 10
    for number, section in zip(numbers, parts[1::2], strict=True):
        assert ">>> " in section, f"mistake {number} has no program"
        assert re.search(r"^\*(Wrong|Incomplete|Loose|Notation)\b", section.lstrip()), number
