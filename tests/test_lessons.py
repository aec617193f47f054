"""The lessons: plans that add up, slides for all of them, and pages that show what they say."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from support import pages
from support.browser import chromium
from support.machine import lacking, lengthy
from support.pictures import need_dot

from tinygrad_cnn.drawing.lessons import LESSON_PAGES, SLIDES, main

FOLDER = pages.ROOT / "docs" / "lessons"
PLANS = sorted(FOLDER.glob("[0-9]-*.md"))
PARTS = ["Before the lesson", "Timeline", "Exercise", "Common mistakes", "Hand in"]


def stem(path: Path) -> str:
    return path.stem


def part(plan: Path, title: str) -> str:
    """Return the section of a plan."""
    return plan.read_text("utf-8").split(f"\n## {title}\n")[1].split("\n## ")[0]


def slides(plan: Path) -> list[str]:
    """Return the titles of a lesson's slides; the first slide has the lesson's."""
    text = (FOLDER / "slides" / plan.name).read_text("utf-8")
    return re.findall(r"^##? (.+)$", re.sub(r"```.*?```", "", text, flags=re.DOTALL), re.MULTILINE)


@pytest.mark.parametrize("plan", PLANS, ids=stem)
def test_a_plan_has_all_parts_and_its_minutes_add_up(plan: Path) -> None:
    assert re.findall(r"^## (.+)$", plan.read_text("utf-8"), re.MULTILINE) == PARTS
    minutes = re.findall(r"^\| (\d+) \|", part(plan, "Timeline"), re.MULTILINE)
    assert sum(map(int, minutes)) == 90
    assert "<summary>Solution</summary>" in part(plan, "Exercise")


@pytest.mark.parametrize("plan", PLANS, ids=stem)
def test_the_timeline_shows_each_slide_once(plan: Path) -> None:
    shown: list[int] = []
    for words in re.findall(r"slides? [\d to and]*\d", part(plan, "Timeline")):
        numbers = [int(number) for number in re.findall(r"\d+", words)]
        shown += range(numbers[0], numbers[-1] + 1)
    titles = slides(plan)
    assert sorted(set(shown)) == list(range(2, len(titles) + 1))
    assert titles[-1] == "Exercise"


def test_the_index_names_every_plan_deck_and_page() -> None:
    text = (FOLDER / "README.md").read_text("utf-8")
    assert len(PLANS) == 6
    for plan in PLANS:
        assert f"]({plan.name})" in text
        assert f"/slides/{plan.stem}.html)" in text
    assert {*re.findall(r"/stepping/([\w-]+)\.html\)", text)} == LESSON_PAGES.keys()
    plans = "".join(plan.read_text("utf-8") for plan in PLANS)
    assert {name for name in LESSON_PAGES if f"`{name}.html`" in plans} == LESSON_PAGES.keys()


def test_the_claims_of_the_slides_are_those_that_were_measured() -> None:
    text = (FOLDER / "slides" / "5-training.md").read_text("utf-8")
    claims = re.findall(r"[\d.]+ %", text.split("\n## Claims, measured\n")[1].split("\n## ")[0])
    measured = (pages.ROOT / "docs" / "efficiency.md").read_text("utf-8")
    assert len(claims) == 3
    assert [claim for claim in claims if claim not in measured] == []


def test_every_page_is_written_and_small(tmp_path: Path) -> None:
    need_dot()
    written = main(tmp_path / "new" / "folder")
    assert [path.stem for path in written] == list(LESSON_PAGES)
    for path in written:
        assert path.read_bytes().startswith(b"<!DOCTYPE html>")
        assert path.stat().st_size < 2_000_000


@pytest.mark.parametrize("name", SLIDES)
def test_each_picture_of_the_slides_can_be_made_is_there_and_shown(name: str) -> None:
    drawing = SLIDES[name]()
    assert "rankdir=LR" in drawing.source
    assert (pages.ROOT / "docs" / "pictures" / f"{name}.svg").is_file()
    decks = "".join(deck.read_text("utf-8") for deck in (FOLDER / "slides").glob("*.md"))
    assert decks.count(f"(../../pictures/{name}.svg)") == 1


def test_the_gradient_of_the_page_on_vanishing_gradients_vanishes() -> None:
    drawing = LESSON_PAGES["vanishing-gradient"]()
    marks = {mark.name for marks in drawing.marks.values() for mark in marks}
    assert "vanishing" in marks


def test_lenet5_misreads_the_digit_of_its_page() -> None:
    drawing = LESSON_PAGES["lenet5"]()
    (loss,) = [node for node in drawing.graph.nodes if node.op == "cross_entropy"]
    assert loss.value is not None
    assert loss.value.mean > 0.6931  # more than ln 2: its label has less than half of the share


# --- slides ---------------------------------------------------------------------------------------

OVERFLOWS = """() => {
    const slide = Reveal.getCurrentSlide(), size = Reveal.getConfig(), scale = Reveal.getScale();
    const box = slide.getBoundingClientRect(), found = [];
    for (const element of slide.querySelectorAll('*:not(math *)')) {
        const inner = element.getBoundingClientRect();
        const low = (inner.bottom - box.top) / scale, right = (inner.right - box.left) / scale;
        const cut = element.scrollWidth > element.clientWidth + 2 && element.clientWidth;
        if (low > size.height + 1 || right > size.width + 1 || cut)
            found.push(element.tagName + ' ' + element.textContent.slice(0, 40));
    }
    return found;
}"""


@lengthy
def test_every_deck_builds_and_no_slide_overflows(tmp_path: Path) -> None:
    if find_spec("sphinx_revealjs") is None:
        lacking("sphinx-revealjs (the extra docs)")
    folder = tmp_path / "slides"
    program = pages.ROOT / "docs" / "extensions" / "slides.py"
    subprocess.run([sys.executable, program, folder], check=True, timeout=300)
    with chromium() as browser:
        page = browser.new_page(viewport={"width": 1280, "height": 720})
        requests: list[str] = []
        page.on("request", lambda request: requests.append(request.url))
        for plan in PLANS:
            page.goto((folder / f"{plan.stem}.html").as_uri())
            page.wait_for_function("Reveal.isReady()")
            assert page.evaluate("Reveal.getTotalSlides()") == len(slides(plan))
            for title in slides(plan):
                assert page.evaluate(OVERFLOWS) == [], f"{plan.stem}: {title}"
                page.evaluate("Reveal.next()")
        assert all(url.startswith(("file:", "data:")) for url in requests)
