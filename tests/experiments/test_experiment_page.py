"""The page, its figures and its tables belong together, and the page is made from the tables.

Whether the sentences follow from the tables is tested for each experiment by itself, on tables made
by hand: test_finding_*.py.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from support.tiny_experiment import SOURCE, own

from tinygrad_cnn.experiments.gallery import NAMES, find
from tinygrad_cnn.experiments.page import (
    FOLDER,
    PAGE,
    draw_figure,
    render_page,
    write_page,
)
from tinygrad_cnn.experiments.results import Results
from tinygrad_cnn.experiments.running import perform
from tinygrad_cnn.experiments.runs import FinishedRuns
from tinygrad_cnn.support.files import digest

DOCS = Path(__file__).parents[2] / "docs"


def test_the_page_is_up_to_date() -> None:
    assert (DOCS / PAGE).read_text(encoding="utf-8") == render_page(DOCS / FOLDER)


def test_each_experiment_of_the_page_has_its_table_and_figure() -> None:
    tables = {path.stem for path in (DOCS / FOLDER).glob("*.csv")}
    assert tables <= set(NAMES)
    assert {path.stem for path in (DOCS / FOLDER).glob("*.svg")} == tables


@pytest.mark.parametrize("table", sorted((DOCS / FOLDER).glob("*.csv")), ids=lambda path: path.stem)
def test_a_figure_is_drawn_from_the_table_beside_it(table: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="needs the extra plots")
    figure = table.with_suffix(".svg")
    again = draw_figure(find(table.stem), Path(shutil.copy(table, tmp_path)))
    assert drawn(figure) == drawn(again)
    assert digest(table) in figure.read_text(encoding="utf-8")
    results = Results.from_csv(table)
    assert results.experiment == table.stem
    assert set(results.variants) <= set(find(table.stem).labels)
    assert results.provenance.keys() == {
        "tinygrad_cnn", "python", "numpy", "blas", "machine", "code",
    }  # fmt: skip


def drawn(figure: Path) -> tuple[list[str], set[str]]:
    """Return the texts and the colors of an SVG file.

    Another version of Matplotlib may place lines elsewhere, by fractions of a point.
    """
    text = figure.read_text(encoding="utf-8")
    return sorted(re.findall("<!-- (.*?) -->", text)), set(re.findall("#[0-9a-f]{6}", text))


def test_a_page_is_written_of_what_is_done(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="needs the extra plots")
    experiment, runs = find(str(own(tmp_path))), FinishedRuns(tmp_path / "out")
    folder = tmp_path / "docs"
    folder.mkdir()
    perform(runs.missing(experiment, seeds=1), runs)
    lines = write_page([experiment], runs, folder)
    assert lines[0] == "tiny: left out, 3 of 9 runs are done"
    assert not (folder / FOLDER).exists()
    write_page([experiment], runs, folder, seeds=1)
    table = folder / FOLDER / "tiny.csv"
    page = (folder / PAGE).read_text(encoding="utf-8")
    assert "## Does it go on?\n\n12 rows.\n\n![Does it go on?](efficiency/tiny.svg)\n" in page
    assert "| it goes on | holds | 4 steps | [tiny](#tiny) |" in page.partition("## ")[0]
    assert "One seed; [all numbers](efficiency/tiny.csv); command: `tiny" in page
    assert "changed since" not in page
    assert "Rounds left out" not in page
    changed = find(str(own(tmp_path, source=SOURCE.replace("10 * factor", "11 * factor"))))
    assert "tiny`. Its code has changed since." in render_page(folder / FOLDER, [changed])
    before = table.with_suffix(".svg").read_bytes()
    assert digest(table).encode() in before
    write_page([experiment], runs, folder, seeds=1)
    assert table.with_suffix(".svg").read_bytes() == before  # the same runs, the same bytes
    changed = shutil.copy(table, tmp_path / "tiny.csv")
    Path(changed).write_text(table.read_text(encoding="utf-8") + "\n", encoding="utf-8")
    assert digest(Path(changed)).encode() not in before
    with table.open("a", encoding="utf-8") as file:
        file.write("tiny,1 factor,0,5,other load,0.5\n")
    assert "busy: 1." in render_page(folder / FOLDER, [experiment])
