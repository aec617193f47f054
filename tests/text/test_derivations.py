"""The pages of docs/derivations: every program prints what stands there, no equation is missing."""

from __future__ import annotations

import doctest
import re
from pathlib import Path

import numpy as np
import pytest

import tinygrad_cnn as tg

FOLDER = Path(__file__).parents[2] / "docs" / "derivations"
PAGES = sorted(FOLDER.glob("[1-9]-*.md"))
EQUATIONS = range(1, 54)
DEFINITIONS = range(1, 14)  # these stand in a table, which one program follows
SECTION = re.compile(r"^### \((\d+)\) .+$", re.MULTILINE)


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


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_programs_print_what_stands_in_the_page(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    test = doctest.DocTestParser().get_doctest(programs(text), {}, page.name, str(page), 0)
    report: list[str] = []
    flags = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
    with np.printoptions():  # a page may set its own
        outcome = doctest.DocTestRunner(optionflags=flags).run(test, out=report.append)
    assert outcome.attempted > 10
    assert outcome.failed == 0, "".join(report)


def test_every_equation_has_its_place_in_order() -> None:
    first = PAGES[0].read_text(encoding="utf-8")
    table = [int(number) for number in re.findall(r"^\| \((\d+)\) \|", first, re.MULTILINE)]
    assert table + list(sections()) == list(EQUATIONS)


@pytest.mark.parametrize("number", [n for n in EQUATIONS if n not in DEFINITIONS])
def test_equation_has_formula_working_form_and_a_comparison(number: int) -> None:
    section = sections()[number]
    assert rf"\tag{{{number}}}$$" in section
    assert "\nWorking form: " in section
    assert re.search(r"^>>> (equal|same)\(", programs(section), re.MULTILINE)


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


def slug(heading: str) -> str:
    """Return the anchor that GitHub gives a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


@pytest.mark.parametrize("page", sorted(FOLDER.glob("*.md")), ids=lambda page: page.stem)
def test_links_lead_somewhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    links = re.findall(r"\]\(([^)\s]+)\)", re.sub(r"```.*?```|\$\$.*?\$\$", "", text, flags=re.S))
    for link in links:
        name, _, anchor = link.partition("#")
        target = (page.parent / name) if name else page
        assert target.exists(), link
        if anchor:
            headings = re.findall(r"^#+ (.+)$", target.read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor in {slug(heading) for heading in headings}, link
