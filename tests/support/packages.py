"""The packages in their order, and the imports of a file."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import tinygrad_cnn as tg

ROOT = Path(tg.__file__).parent
ORDER = [
    {"engine"},
    {"support"},
    {"core", "ops"},  # a Tensor's methods are ops, and ops are declared by the core
    {"data", "nn", "capture"},
    {"optim"},
    {"compiler"},
    {"distributed"},
    {"onnx"},
    {"train"},
    {"compat"},
    {"deployment"},
    {"check"},
    {"drawing"},
    {"derivation"},
    {"bench"},
    {"experiments"},
    {"studio"},
    {"cli"},
]
FLOORS = {package: floor for floor, packages in enumerate(ORDER) for package in packages}


@cache
def imports(file: Path) -> tuple[str, ...]:
    """Return the modules of the package that a file imports, as "nn.layers.linear"; "" is its root.

    Type-only imports and those inside functions count.
    """
    found = []
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = [*file.relative_to(ROOT.parent).parts[: -node.level]] if node.level else []
            base += [node.module] if node.module else []
            names = [".".join([*base, alias.name]) for alias in node.names]
        else:
            continue
        for name in names:
            top, _, rest = name.partition(".")
            if top == ROOT.name:
                found.append(module_of(rest))
    return tuple(found)


def module_of(name: str) -> str:
    """Return the module that `name`, of a module or of something in one, stands for."""
    parts = name.split(".")
    while parts and not (
        (ROOT.joinpath(*parts)).is_dir() or ROOT.joinpath(*parts).with_suffix(".py").is_file()
    ):
        parts.pop()
    return ".".join(parts)
