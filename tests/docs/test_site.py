"""The documentation site: every public name and every page is in it, and nothing is fetched."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest
from support.machine import in_ci
from support.pages import ROOT, urls

if not all(map(find_spec, ("sphinx_gallery", "nbclient", "ipykernel"))) and not in_ci():
    pytest.skip("needs the extra docs", allow_module_level=True)

import gallery
import reference
import repository_links
from figures import FIGURES
from support import api_page, first_picture, notebooks

DOCS = ROOT / "docs"
SITE = urls()["documentation"]
REPOSITORY = urls()["source"]


def test_every_public_package_is_in_the_list() -> None:
    """`tg` has the names of `compiler`; `cli` and `ops` have pages of their own."""
    public = {
        f"tinygrad_cnn.{path.parent.name}"
        for path in (ROOT / "tinygrad_cnn").glob("*/__init__.py")
        if "__all__" in path.read_text("utf-8")
    }
    apart = {f"tinygrad_cnn.{name}" for name in ("cli", "compiler", "ops")}
    assert public - apart <= {*api_page.PACKAGES}


def test_the_reference_has_every_public_name_once() -> None:
    text = "\n".join(reference.pages().values())
    entries = Counter(re.findall(r"^\.\. auto\w+:: (\S+)$", text, re.MULTILINE))
    plain = re.findall(r"^\.\. py:\w+:: (\S+)\n   :module: (\S+)$", text, re.MULTILINE)
    entries.update(f"{module}.{name}" for name, module in plain)
    for package in map(import_module, api_page.PACKAGES):
        assert {f"{package.__name__}.{name}" for name in package.__all__} <= entries.keys()
    assert max(entries.values()) == 1


def test_the_picture_of_the_first_page_is_what_its_program_draws() -> None:
    def texts(svg: str) -> list[str]:
        return re.findall(r"<text[^>]*>([^<]*)<", svg)

    drawn = first_picture.picture().svg()
    written = (DOCS / "pictures" / first_picture.NAME).read_text("utf-8")
    command = "PYTHONPATH=tests python -m support.first_picture docs/pictures"
    assert texts(written) == texts(drawn), f"run {command}"


@pytest.mark.parametrize("index", sorted(DOCS.glob("*/README.md")), ids=lambda p: p.parent.name)
def test_the_first_page_of_a_folder_links_to_all_its_pages(index: Path) -> None:
    linked = re.findall(r"\]\(([^)#]+\.md)", index.read_text("utf-8"))
    assert {page.name for page in index.parent.glob("*.md")} - {index.name} <= {*linked}


@pytest.mark.parametrize(
    ("page", "link", "expected"),
    [
        ("docs/start.md", "](../README.md#install)", "](overview.md#install)"),
        ("docs/how-to/a.md", "](../../examples/moons.py)", "](../examples/moons.rst)"),
        ("docs/how-to/a.md", "](../compile.md#the-tape)", "](../compile.md#the-tape)"),
        ("docs/a.md", "](../tests)", f"]({REPOSITORY}/tree/main/tests)"),
        ("docs/a.md", "](../tests/conftest.py)", f"]({REPOSITORY}/blob/main/tests/conftest.py)"),
        ("README.md", "](docs/start.md)", "](start.md)"),
        ("README.md", f"]({REPOSITORY}/blob/main/docs/start.md#images)", "](start.md#images)"),
        ("README.md", 'src="docs/pictures/lenet5.svg"', 'src="pictures/lenet5.svg"'),
        ("docs/a.md", "](https://keepachangelog.com)", "](https://keepachangelog.com)"),
    ],
)
def test_links_of_a_page_lead_to_pages_of_the_site(page: str, link: str, expected: str) -> None:
    assert repository_links.on_site(link, page) == expected


def test_each_example_is_in_the_gallery_with_a_figure(tmp_path: Path) -> None:
    gallery.copy_examples(tmp_path)
    programs = {path.stem: path.read_text("utf-8") for path in tmp_path.glob("*.py")}
    assert programs.keys() == FIGURES.keys() | {*gallery.NOT_RUN}
    for name, program in programs.items():
        compile(program, name, "exec")
        assert ("It is not run here" in program) == (name in gallery.NOT_RUN)
        assert "\n    results = main(" in program
    titles = [program.partition("\n")[0] for program in programs.values()]
    assert len({*titles}) == len(titles)


def test_the_site_is_built_without_a_warning_and_is_whole(tmp_path: Path) -> None:
    """One test, so that the site is built once. It is built from a copy, which it writes to."""
    for name in ("docs", "examples", "LICENSE", "README.md", "pyproject.toml"):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, tmp_path / name)
    for name in ("tinygrad_cnn", "tests"):
        (tmp_path / name).symlink_to(ROOT / name)
    site = tmp_path / "site"
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q"]
    command += ["-D", "plot_gallery=0", str(tmp_path / "docs"), str(site)]
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    every_page_is_built(site)
    every_tutorial_links_to_its_notebook(site)
    nothing_is_loaded_from_the_network(site)
    links_inside_lead_to_files(site)
    the_first_page_leads_to_pages_that_step_through_backprop(site)


def every_page_is_built(site: Path) -> None:
    for page in DOCS.rglob("*.md"):
        path = page.relative_to(DOCS)
        path = Path("slides", path.name) if "slides" in path.parts else path
        assert (site / path.with_suffix(".html")).is_file(), path


def every_tutorial_links_to_its_notebook(site: Path) -> None:
    for page in notebooks.PAGES:
        text = (site / page.relative_to(DOCS).with_suffix(".html")).read_text("utf-8")
        assert f"notebooks/{page.stem}.ipynb" in text, page


def pages_of(site: Path) -> list[Path]:
    return [path for path in site.rglob("*.html") if "_static" not in path.parts]


def nothing_is_loaded_from_the_network(site: Path) -> None:
    """Links may lead elsewhere; scripts, styles, fonts, pictures and frames may not."""
    loaded = re.compile(r"""<(?:script|img|iframe|source|video)[^>]+src=["'](?:https?:)?//""")
    sheets = set()
    for page in pages_of(site):
        text = page.read_text("utf-8")
        assert not loaded.search(text), page
        for link in re.findall(r"<link[^>]+stylesheet[^>]+>", text):
            href = re.findall(r"""href=["']([^"'?]+)""", link)[0]
            sheets.add((page.parent / href).resolve())
    assert sheets
    for sheet in sheets:  # of the site, so not from the network
        text = sheet.read_text("utf-8")
        assert not re.search(r"""(?:url\(|@import )["']?(?:https?:)?//""", text), sheet


def links_inside_lead_to_files(site: Path) -> None:
    """Sphinx checks the links between pages; this is for those to pages that it does not write."""
    for page in pages_of(site):
        for link in re.findall(r'<a [^>]*href="([^"#?:]+)["#?]', page.read_text("utf-8")):
            assert (page.parent / link).exists(), f"{page.relative_to(site)}: {link}"


def the_first_page_leads_to_pages_that_step_through_backprop(site: Path) -> None:
    links = re.findall(r'href="(stepping/[^"]+\.html)"', (site / "index.html").read_text("utf-8"))
    assert {"stepping/lenet5.html", "stepping/perceptron.html"} <= {*links}
    for link in links:
        assert '<script type="application/json" id="data">' in (site / link).read_text("utf-8")


def test_addresses_of_the_project_in_pages_are_those_that_it_declares() -> None:
    for page in DOCS.rglob("*.md"):
        for url in re.findall(r"https://[\w.-]*tinygrad[\w./-]*", page.read_text("utf-8")):
            assert url.startswith((SITE, REPOSITORY)), f"{page.name}: {url}"
