"""The page of all public names: ``python tests/support/api_page.py > docs/api.md``."""

from __future__ import annotations

import ast
import inspect
import sys
from importlib import import_module
from itertools import pairwise
from types import ModuleType
from typing import Any

PACKAGES = (
    "tinygrad_cnn", "tinygrad_cnn.nn", "tinygrad_cnn.nn.init", "tinygrad_cnn.nn.models",
    "tinygrad_cnn.optim", "tinygrad_cnn.data", "tinygrad_cnn.train", "tinygrad_cnn.check",
    "tinygrad_cnn.drawing", "tinygrad_cnn.derivation",
    "tinygrad_cnn.engine", "tinygrad_cnn.capture", "tinygrad_cnn.onnx", "tinygrad_cnn.deployment",
    "tinygrad_cnn.distributed", "tinygrad_cnn.bench", "tinygrad_cnn.studio",
)  # fmt: skip
HEAD = """\
# All public names

Generated from the docstrings by `python tests/support/api_page.py > docs/api.md`: the first
sentence of each. `help(tg.nn.Conv2d)` shows the rest: parameters, errors and an example.
"""


def page() -> str:
    """Return the page: a table of names for each public package."""
    parts = [HEAD]
    for package in map(import_module, PACKAGES):
        parts.append(f"\n## {package.__name__}\n\n{first_paragraph(package.__doc__)}\n\n")
        parts.append("| name | |\n| --- | --- |\n")
        parts += [f"| `{name}` | {sentence(package, name)} |\n" for name in package.__all__]
    return "".join(parts)


def sentence(package: ModuleType, name: str) -> str:
    value = getattr(package, name)
    defined_in = getattr(value, "__module__", None) or getattr(value, "__name__", "")
    own = defined_in.startswith("tinygrad_cnn")
    return first_paragraph(value.__doc__ if own else _of_constant(name, value)).replace("|", "\\|")


def first_paragraph(docstring: str | None) -> str:
    """Return the first paragraph on one line, as Markdown."""
    return " ".join((docstring or "").partition("\n\n")[0].split()).replace("``", "`")


def _of_constant(name: str, value: Any) -> str:
    """Return the string below the assignment of a constant or type alias."""
    for module in [m for key, m in sys.modules.items() if key.startswith("tinygrad_cnn.")]:
        if vars(module).get(name) is value and module.__file__:
            body = ast.parse(inspect.getsource(module)).body
            for node, after in pairwise(body):
                targets = getattr(node, "targets", [getattr(node, "target", None)])
                if name in [getattr(target, "id", "") for target in targets]:
                    text = getattr(getattr(after, "value", None), "value", None)
                    if isinstance(text, str):
                        return text
    raise ValueError(f"{name}: has no docstring; write one below its assignment")


if __name__ == "__main__":
    sys.stdout.write(page())
