"""Names and words of the package: unique class names, plain English."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from pathlib import Path

import tinygrad_cnn as tg

ROOT = Path(tg.__file__).parent


def test_no_two_classes_have_the_same_name() -> None:
    places = defaultdict(list)
    for file in sorted(ROOT.rglob("*.py")):
        for node in ast.parse(file.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places[node.name].append(str(file.relative_to(ROOT)))
    assert {name: files for name, files in places.items() if len(files) > 1} == {}


def test_no_file_contains_words_of_odd_prose() -> None:
    words = re.compile(r"\b(whoever|nobody|somebody|anew|lest|told)\b", re.IGNORECASE)
    files = [file for file in ROOT.rglob("*") if file.suffix in {".py", ".js", ".css", ".html"}]
    found = {
        f"{file.relative_to(ROOT)}:{number}": line.strip()
        for file in files
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1)
        if words.search(line)
    }
    assert found == {}
