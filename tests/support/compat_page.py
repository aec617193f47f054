"""The page for people who know PyTorch, made from the tables of `tinygrad_cnn.compat.torch`.

python tests/support/compat_page.py > docs/how-to/coming-from-pytorch.md
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterable
from pathlib import Path

from tinygrad_cnn.compat import torch
from tinygrad_cnn.compat.torch import creation, functions, methods, names, table
from tinygrad_cnn.compat.torch.nn import functional
from tinygrad_cnn.compat.torch.nn import table as layers

HEAD = Path(__file__).with_suffix(".md")
"""What stands before the tables."""


def page() -> str:
    """Return the page."""
    parts = [HEAD.read_text(encoding="utf-8")]
    for title, text in (
        ("In `torch` and as methods of a Tensor", table.EVERYWHERE + table.VIEWS),
        ("Methods of a Tensor only", table.VIEW_METHODS + table.METHODS),
        ("In `torch` only", table.TORCH),
        ("In `torch.nn.functional`", table.FUNCTIONAL),
        ("Layers without parameters, in `torch.nn`", layers.LAYERS + layers.LOSSES),
    ):
        parts.append(f"\n### {title}\n\n| PyTorch | here |\n| --- | --- |\n")
        parts += [f"| `{left}` | `{right}` |\n" for left, right in table.rows(text)]
    parts.append("\n### More names\n\n")
    changes = [f"{name}_" for name in methods.in_place_names()]
    for title, found in (
        ("Functions that are not one call here", _defined(functions, "torch")),
        ("New Tensors", _defined(creation, "torch")),
        ("Further functions of `torch.nn.functional`", _defined(functional, "torch.nn.functional")),
        ("Layers with parameters", _classes(vars(torch.nn).values())),
        ("Layers of several inputs", [line.partition("(")[0] for line in layers.OTHERS]),
        ("Optimizers", _classes(vars(torch.optim).values())),
        ("Schedules", _classes(vars(torch.optim.lr_scheduler).values())),
        ("Data", _classes(vars(torch.utils.data).values())),
        ("Methods that change a Tensor in place", changes),
    ):
        parts.append(f"- {title}: {', '.join(f'`{name}`' for name in sorted(found))}.\n")
    parts.append("\n### Missing, and what to use instead\n\n| PyTorch | here |\n| --- | --- |\n")
    parts += [f"| `{name}` | {advice} |\n" for name, advice in names.INSTEAD.items()]
    return "".join(parts)


def _defined(module: object, owner: str) -> list[str]:
    """Return the functions of PyTorch that a module defines itself."""
    return [
        name
        for name, value in vars(module).items()
        if inspect.isfunction(value)
        and name in names.known()[owner]
        and value.__module__ == module.__name__  # type: ignore[attr-defined]
        and inspect.getsourcefile(inspect.unwrap(value)) == module.__file__  # type: ignore[attr-defined]
    ]


def _classes(values: Iterable[object]) -> set[str]:
    """Return the names of classes that the tables have not made."""
    made = {line.partition("(")[0] for line, _ in table.rows(layers.LAYERS + layers.LOSSES)}
    return {
        value.__name__
        for value in values
        if isinstance(value, type) and value.__module__.startswith("tinygrad_cnn.")
    } - {*made, *(line.partition("(")[0] for line in layers.OTHERS)}


if __name__ == "__main__":
    sys.stdout.write(page())
