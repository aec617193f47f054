"""The table of ops in the docs, from their declarations: ``python -m tinygrad_cnn.ops``.

Modules with ops of your own may follow: ``python -m tinygrad_cnn.ops my_ops``.
"""

from __future__ import annotations

import inspect
import sys
from importlib import import_module

from tinygrad_cnn.core.composition import COMPOSITIONS, Composition
from tinygrad_cnn.core.op import OPS, Op

HEAD = """\
# The ops

Generated from the declarations by `python -m tinygrad_cnn.ops > docs/ops.md`. In a derivative, g is
the gradient flowing in and y the result; eq numbers are those of the text. The docstring of an op,
such as `tg.conv2d.__doc__`, has shapes, errors and an example.
"""


def table(*modules: str) -> str:
    """Return the page: a table of forwards and derivatives per family of ops.

    The families are the package's own, and `modules` that have been imported.
    """
    families: dict[str, list[Op[..., object]]] = {}
    for op in OPS.values():
        if op.__module__.startswith("tinygrad_cnn.ops.") or op.__module__ in modules:
            families.setdefault(op.__module__, []).append(op)
    parts = [HEAD]
    composed: dict[str, list[Composition]] = {}
    for made in COMPOSITIONS.values():
        composed.setdefault(made.function.__module__, []).append(made)
    for family in sorted({*families, *composed}):
        name = family.removeprefix("tinygrad_cnn.ops.")
        parts.append(f"\n## {name}\n\n{inspect.getdoc(sys.modules[family]) or ''}\n\n")
        parts.append("| op | computes | derivative | |\n| --- | --- | --- | --- |\n")
        for op in families.get(family, []):
            call = f"`{op.name}({', '.join(op.parameters)})`"
            parts.append(f"| {call} | {_cell(op.formula, op.equation)} | | |\n")
            for rule in op.derivatives.values():
                parts.append(f"| | | for {rule.of} | {_cell(rule.formula, rule.equation)} |\n")
        for made in composed.get(family, []):
            called = ", ".join(inspect.signature(made.function).parameters)
            call = f"`{made.function.__name__}({called})`"
            derivative = "by its ops" if made.differentiable else "none"
            parts.append(f"| {call} | {_cell(made.formula, '')} | {derivative} | |\n")
    return "".join(parts)


def _cell(formula: str, equation: str) -> str:
    shown = formula.replace("|", "\\|")
    if not equation:
        return shown
    return f"{shown} (eq {equation})" if equation[0].isdigit() else f"{shown} ({equation})"


if __name__ == "__main__":
    for module in sys.argv[1:]:
        import_module(module)
    sys.stdout.write(table(*sys.argv[1:]))
