"""Type checkers see what users' code does: clean code passes, and mistakes are found.

The project's own run of mypy (pyproject.toml) includes user_code.py.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import tinygrad_cnn as tg
from tinygrad_cnn.ops import stub

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
PYRIGHT = shutil.which("pyright", path=str(Path(sys.executable).parent))


def test_the_stub_of_the_ops_is_current() -> None:
    current = Path(tg.ops.__file__).with_suffix(".pyi").read_text("utf-8")
    assert current == stub.stub(), (
        "run python -m tinygrad_cnn.ops.stub > tinygrad_cnn/ops/__init__.pyi"
    )


@pytest.fixture(scope="module")
def errors(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[tuple[int, str]]]:
    """Return pyright's errors under strict settings, as (line, message), by the file's name."""
    if PYRIGHT is None and os.environ.get("CI") != "true":
        pytest.skip("pyright is not installed")
    assert PYRIGHT is not None, "pyright is not installed"
    folder = tmp_path_factory.mktemp("typing")
    for file in [*ROOT.glob("examples/*.py"), *HERE.glob("*.py")]:
        if not file.name.startswith("test_"):
            shutil.copy(file, folder)
    settings = {"typeCheckingMode": "strict", "extraPaths": [str(Path(tg.__file__).parents[1])]}
    (folder / "pyrightconfig.json").write_text(json.dumps(settings))
    command = [PYRIGHT, "--outputjson", "--pythonpath", sys.executable]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    found: dict[str, list[tuple[int, str]]] = {file.name: [] for file in folder.glob("*.py")}
    diagnostics: list[dict[str, Any]] = json.loads(done.stdout)["generalDiagnostics"]
    for one in diagnostics:
        line = one["range"]["start"]["line"] + 1
        found[Path(one["file"]).name].append((line, one["message"]))
    return found


FILES = ["user_code.py", *sorted(file.name for file in ROOT.glob("examples/*.py"))]


@pytest.mark.parametrize("name", FILES)
def test_code_of_users_is_clean_under_pyright_strict(
    errors: dict[str, list[tuple[int, str]]], name: str
) -> None:
    assert errors[name] == []


def test_pyright_finds_every_mistake(errors: dict[str, list[tuple[int, str]]]) -> None:
    lines = (HERE / "mistakes.py").read_text("utf-8").splitlines()
    wrong = {number for number, line in enumerate(lines, 1) if "# wrong" in line}
    assert {line for line, _ in errors["mistakes.py"]} == wrong
