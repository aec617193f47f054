"""The tutorials: their notebooks have the outputs of the pages, and PyTorch prints its numbers."""

from __future__ import annotations

import doctest
import os
import re
import subprocess
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from support import notebooks, pages
from support.machine import LENGTHY, lacking

PYTHON = os.environ.get("TINYGRAD_CNN_PYTHON_TORCH")
FLAGS = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
PORTED = pages.ROOT / "docs" / "tutorials" / "5-port-a-pytorch-model.md"
RUN = notebooks.PAGES if LENGTHY else notebooks.PAGES[1:2]  # the whole set takes half a minute


@pytest.fixture
def _notebook_packages() -> None:
    if not all(map(find_spec, ("nbformat", "nbclient", "ipykernel"))):
        lacking('notebooks: pip install "tinygrad_cnn[docs]"')


def shown(cell: Any) -> str:
    """Return the text that a cell printed, and its value's."""
    texts = [
        output.get("text") or output.get("data", {}).get("text/plain", "")
        for output in cell.outputs
    ]
    return "".join(texts)


@pytest.mark.usefixtures("_notebook_packages")
@pytest.mark.parametrize("page", RUN, ids=lambda page: page.stem)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the notebook's libraries
def test_a_notebook_shows_what_stands_in_its_page(page: Path) -> None:
    cells = [cell for cell in notebooks.executed(page).cells if cell.cell_type == "code"]
    programs = [
        part for is_program, part in notebooks.blocks(page.read_text("utf-8")) if is_program
    ]
    groups = [group for program in programs for group in notebooks.groups(program)]
    checker = pages.OutputChecker()
    for cell, group in zip(cells, groups, strict=True):
        if "skip-execution" in cell.metadata.tags:
            continue  # its extra is not installed
        wanted, options = group[-1].want, group[-1].options
        flags = FLAGS | sum(flag for flag, is_on in options.items() if is_on)
        assert checker.check_output(wanted, shown(cell) + "\n" * bool(wanted), flags), cell.source


@pytest.mark.usefixtures("_notebook_packages")
@pytest.mark.parametrize("page", notebooks.PAGES, ids=lambda page: page.stem)
def test_a_notebook_is_complete_in_itself(page: Path) -> None:
    made = notebooks.notebook(page)
    text = "\n".join(cell.source for cell in made.cells if cell.cell_type == "markdown")
    assert not re.search(
        r"\]\((?!https://|data:image/|#)", text
    )  # neither a file nor a page beside it
    code = "\n".join(cell.source for cell in made.cells if cell.cell_type == "code")
    compile(code, page.name, "exec")
    assert "doctest:" not in code
    assert ">>>" not in code


@pytest.mark.skipif(not PYTHON, reason="set TINYGRAD_CNN_PYTHON_TORCH")
def test_pytorch_prints_the_numbers_of_the_page(tmp_path: Path) -> None:
    text = PORTED.read_text("utf-8")
    (program,) = re.findall(r"```py\n(.*?)```", text, re.DOTALL)
    (printed,) = re.findall(r"```text\n(.*?)```", text, re.DOTALL)
    run = subprocess.run([str(PYTHON), "-c", program], cwd=tmp_path, capture_output=True, text=True)
    assert run.stderr == ""
    number = r"-?\d+\.\d+"
    found, expected = (list(map(float, re.findall(number, each))) for each in (run.stdout, printed))
    assert found == pytest.approx(expected, abs=1e-4)
