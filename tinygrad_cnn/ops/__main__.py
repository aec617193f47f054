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


Member = Op[..., object] | Composition


def families(*modules: str) -> dict[str, list[Member]]:
    """Return the ops, and functions made of ops, of the package and of `modules`, by module."""
    found: dict[str, list[Member]] = {}
    for op in OPS.values():
        if op.__module__.startswith("tinygrad_cnn.ops.") or op.__module__ in modules:
            found.setdefault(op.__module__, []).append(op)
    for made in COMPOSITIONS.values():
        found.setdefault(made.function.__module__, []).append(made)
    return dict(sorted(found.items()))


def facts(member: Member) -> list[tuple[str, str]]:
    """Return what is declared of a function and of each derivative, as pairs of what and formula.

    The first pair is the function's; its first part says whether its ops differentiate it.
    """
    if isinstance(member, Composition):
        return [("by its ops" if member.differentiable else "none", member.formula)]
    rules = member.derivatives.values()
    return [
        ("", _numbered(member.formula, member.equation)),
        *[(f"for {rule.of}", _numbered(rule.formula, rule.equation)) for rule in rules],
    ]


def table(*modules: str) -> str:
    """Return the page: a table of forwards and derivatives per family of ops.

    The families are the package's own, and `modules` that have been imported.
    """
    parts = [HEAD]
    for family, members in families(*modules).items():
        name = family.removeprefix("tinygrad_cnn.ops.")
        parts.append(f"\n## {name}\n\n{inspect.getdoc(sys.modules[family]) or ''}\n\n")
        parts.append("| op | computes | derivative | |\n| --- | --- | --- | --- |\n")
        for member in members:
            (derivative, computed), *rules = facts(member)
            parts.append(f"| `{_call(member)}` | {_cell(computed)} | {_padded(derivative)}| |\n")
            parts += [f"| | | {of} | {_cell(formula)} |\n" for of, formula in rules]
    return "".join(parts)


def _call(member: Member) -> str:
    if isinstance(member, Composition):
        parameters = inspect.signature(member.function).parameters
        return f"{member.function.__name__}({', '.join(parameters)})"
    return f"{member.name}({', '.join(member.parameters)})"


def _numbered(formula: str, equation: str) -> str:
    if not equation:
        return formula
    return f"{formula} (eq {equation})" if equation[0].isdigit() else f"{formula} ({equation})"


def _cell(formula: str) -> str:
    return formula.replace("|", "\\|")


def _padded(text: str) -> str:
    return f"{text} " if text else ""


if __name__ == "__main__":
    for module in sys.argv[1:]:
        import_module(module)
    sys.stdout.write(table(*sys.argv[1:]))
