"""The table of ops in the docs, from their declarations: ``python -m tinygrad_cnn.ops``."""

from __future__ import annotations

import inspect
import sys

import tinygrad_cnn as tg
from tinygrad_cnn.core.op import Op

HEAD = """\
# The ops

Made from the declarations by `python -m tinygrad_cnn.ops > docs/ops.md`. In a derivative, g is the
gradient that flows in and y the result; numbers are those of the text's equations. The docstring of
an op, such as `tg.conv2d.__doc__`, has shapes, errors and an example.
"""


def table() -> str:
    """Return the page: a table of forwards and derivatives per family of ops."""
    families: dict[str, list[Op[..., object]]] = {}
    for op in tg.OPS.values():
        if op.__module__.startswith("tinygrad_cnn.ops."):
            families.setdefault(op.__module__.removeprefix("tinygrad_cnn.ops."), []).append(op)
    parts = [HEAD]
    for family in sorted(families):
        module = sys.modules[f"tinygrad_cnn.ops.{family}"]
        parts.append(f"\n## {family}\n\n{inspect.getdoc(module)}\n\n")
        parts.append("| op | computes | derivative | |\n| --- | --- | --- | --- |\n")
        for op in families[family]:
            name = f"`{op.name}({', '.join(op.parameters)})`"
            parts.append(f"| {name} | {_cell(op.formula, op.equation)} | | |\n")
            for rule in op.derivatives.values():
                parts.append(f"| | | for {rule.of} | {_cell(rule.formula, rule.equation)} |\n")
    return "".join(parts)


def _cell(formula: str, equation: str) -> str:
    shown = formula.replace("|", "\\|")
    if not equation:
        return shown
    return f"{shown} (eq {equation})" if equation[0].isdigit() else f"{shown} ({equation})"


if __name__ == "__main__":
    sys.stdout.write(table())
