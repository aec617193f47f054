"""Names and words of the package: unique names of classes and types, plain English."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from pathlib import Path

import tinygrad_cnn as tg

ROOT = Path(tg.__file__).parent


BOTH = {"Array"}  # of the engine: an ndarray; of ops: also a Tensor, with the same code


def named_type(node: ast.stmt) -> str:
    """Return the name of the class or type alias that a statement defines; "" if it does not."""
    if isinstance(node, ast.ClassDef):
        return node.name
    target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
    if not isinstance(target, ast.Name) or isinstance(getattr(node, "value", None), ast.Call):
        return ""
    return target.id if target.id[0].isupper() and not target.id.isupper() else ""


def test_no_two_classes_or_type_aliases_have_the_same_name() -> None:
    places = defaultdict(list)
    for file in sorted(ROOT.rglob("*.py")):
        if file.relative_to(ROOT).parts[0] == "compat":  # has the names of another framework
            continue
        for node in ast.parse(file.read_text(encoding="utf-8")).body:
            if (name := named_type(node)) and not name.startswith("_"):
                places[name].append(str(file.relative_to(ROOT)))
    assert {name for name, files in places.items() if len(files) > 1} == BOTH


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
