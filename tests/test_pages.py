"""README and docs: every program prints what stands there, every link leads somewhere."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path

import pytest
from support import api_page, pages

import tinygrad_cnn as tg
from tinygrad_cnn.ops.__main__ import table

PAGES = [pages.ROOT / "README.md", *sorted((pages.ROOT / "docs").rglob("*.md"))]
WITH_PROGRAMS = [page for page in PAGES if pages.programs(page.read_text("utf-8")).strip()]


def name(page: Path) -> str:
    return str(page.relative_to(pages.ROOT))


@pytest.fixture(autouse=True)
def _ops_restored():
    before = dict(tg.OPS)
    yield
    tg.OPS.clear()
    tg.OPS.update(before)


@pytest.mark.parametrize("page", WITH_PROGRAMS, ids=name)
def test_programs_print_what_stands_in_the_page(page: Path):
    attempted, report = pages.run(page)
    assert attempted > 10
    assert report == ""


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_somewhere(page: Path):
    text = page.read_text("utf-8")
    links = re.findall(r"\]\(([^)\s]+)\)", re.sub(r"```.*?```|\$\$.*?\$\$", "", text, flags=re.S))
    for link in links:
        path, _, anchor = link.partition("#")
        if link.startswith(("https://", "http://")):
            continue
        target = (page.parent / path) if path else page
        assert target.exists(), link
        if anchor:
            there = target.read_text("utf-8")
            headings = re.findall(r"^#+ (.+)$", there, re.MULTILINE)
            named = re.findall(r'<a id="([^"]+)"></a>', there)
            assert anchor in {*map(slug, headings), *named}, link


def slug(heading: str) -> str:
    """Return the anchor that GitHub gives a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


@pytest.mark.parametrize("package", ["nn", "nn.init", "optim", "data", "distributed", "train"])
def test_every_public_name_is_used_in_a_page(package: str):
    lists = {"api.md", "changelog.md"}
    texts = [page.read_text("utf-8") for page in PAGES if page.name not in lists]
    words = set(re.findall(r"\w+", "\n".join(texts)))
    names = import_module(f"tinygrad_cnn.{package}").__all__
    assert [name for name in names if name not in words] == []


def test_the_table_of_ops_is_what_the_declarations_say():
    assert (pages.ROOT / "docs" / "ops.md").read_text("utf-8") == table()


def test_the_page_of_public_names_is_what_the_docstrings_say():
    text = api_page.page()
    written = (pages.ROOT / "docs" / "api.md").read_text("utf-8")
    assert written == text, "run python tests/support/api_page.py > docs/api.md"
    assert "|  |" not in text  # a name without a docstring
