"""``tinygrad-cnn check``: verify the derivatives of ops."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.text import Text

from tinygrad_cnn.cli.display import ACCENT, FAINT, console
from tinygrad_cnn.core.op import OPS, Op
from tinygrad_cnn.support.modules import load_file
from tinygrad_cnn.support.text import aligned

__all__ = ["check"]

LEFT = 4  # the number of left-aligned columns, which hold text


def check(named: Sequence[str], examples: int | None, seed: int) -> int:
    """Check ops, print a table, and return the exit status.

    Parameters
    ----------
    named : sequence of str
        Names of ops, and files that declare some; all ops if empty.
    examples : int, optional
        Number of calls of each op to try.
    seed : int
        Seed of the random calls.
    """
    from tinygrad_cnn.check import check_op  # raises a clear error if Hypothesis is missing
    from tinygrad_cnn.check.cases import missing_calls
    from tinygrad_cnn.check.errors import OpCheckError
    from tinygrad_cnn.check.ops import EXAMPLES
    from tinygrad_cnn.check.report import COLUMNS

    ops = _chosen(named)
    out = console()
    widths = _widths(COLUMNS, ops)
    _print_row(out, COLUMNS, widths, FAINT)
    failures: list[str] = []
    unchecked = 0
    for op in ops:
        if missing := op.operands and missing_calls(op):  # its derivatives may be correct
            unchecked += 1
            _print_row(out, (op.name, *[""] * 3, "not checked"), widths, ACCENT)
            failures.append(missing)
            continue
        with out.status(f"checking {op.name}"):
            try:
                report = check_op(op, examples=examples or EXAMPLES, seed=seed)
            except (OpCheckError, ValueError) as error:
                failures.append(str(error))
                _print_row(out, (op.name, *[""] * 3, "wrong"), widths, ACCENT)
                continue
        for row in report.rows():
            _print_row(out, row, widths)
    for failure in failures:
        out.print(f"\n{failure}")
    right = len(ops) - len(failures)
    missing = f", {unchecked} not checked" if unchecked else ""
    out.print(f"\n{right} of {len(ops)} {'op is' if len(ops) == 1 else 'ops are'} correct{missing}")
    return 1 if failures else 0


def _chosen(named: Sequence[str]) -> list[Op[..., Any]]:
    """Return the named ops, and those declared in the named files."""
    if not named:
        return list(OPS.values())
    chosen: dict[str, Op[..., Any]] = {}
    for name in named:
        if name.endswith(".py"):
            before = set(OPS)
            load_file(name)
            declared = {n: op for n, op in OPS.items() if n not in before}
            if not declared:
                raise ValueError(f"{name}: registers no op")
            chosen |= declared
        elif name in OPS:
            chosen[name] = OPS[name]
        else:
            near = difflib.get_close_matches(name, OPS, n=1)
            hint = f"did you mean {near[0]}?" if near else f"expected one of {', '.join(OPS)}"
            raise ValueError(f"there is no op {name!r}; {hint}")
    return list(chosen.values())


def _widths(columns: Sequence[str], ops: Sequence[Op[..., Any]]) -> list[int]:
    """Return the column widths."""
    names = max((len(op.name) for op in ops), default=0)
    inputs = max((len(name) for op in ops for name in op.derivatives), default=0)
    least = (names, inputs, len("1 to 2"), len("complex"), 0, 0, 0, len("0.00 s"))
    return [max(len(title), width) for title, width in zip(columns, least, strict=True)]


def _print_row(out: Console, cells: Sequence[str], widths: Sequence[int], style: str = "") -> None:
    (line,) = aligned([cells], "<" * LEFT + ">", widths)
    out.print(Text(line, style))
