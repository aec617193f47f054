"""The lines of a network: an assignment for each step, in a block for each module."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass

from tinygrad_cnn.capture import Instruction

__all__ = ["INDENT", "WIDTH", "NetworkLine", "lines"]

WIDTH = 100
INDENT = "    "
DEPTH = 2
"""Modules down to this depth have a block of lines."""
COMMENT = 24
"""Columns of a line with several calls that are left for the shape."""


@dataclass
class NetworkLine:
    """A line ``target = value``; ``return value`` without a target."""

    call: Instruction
    target: str
    value: ast.expr

    @property
    def text(self) -> str:
        """The line, without the shape."""
        start = f"{self.target} =" if self.target else "return"
        return f"{INDENT}{start} {_text(self.value)}"

    @property
    def is_short(self) -> bool:
        """Whether several calls can be on this line."""
        return len(self.text) <= WIDTH - COMMENT


def lines(rows: list[NetworkLine]) -> Iterator[str]:
    """Yield the lines, with a block for each module, and the shapes where they change."""
    shape: tuple[int, ...] = ()
    before = ""
    for i, (row, block) in enumerate(zip(rows, _blocks(rows), strict=True)):
        if block != before:
            if i:
                yield ""
            if block:
                yield f"{INDENT}# {''.join(c if c.isprintable() else '_' for c in block)}"
        before = block
        text = row.text
        if row.call.shape != shape:
            shape = row.call.shape
            comment = f"  # ({', '.join(['N', *map(str, shape[1:])])})"
            text += comment if len(text) + len(comment) <= WIDTH else ""
        yield text


def _blocks(rows: list[NetworkLine]) -> Iterator[str]:
    """Yield the module of each row's block: a row between two of a block is in it, too."""
    scopes = {row.call.scope for row in rows}
    containers = {scope.rpartition(".")[0] for scope in scopes if "." in scope}
    blocks = [_block(row.call.scope, containers) for row in rows]
    last = {block: i for i, block in enumerate(blocks)}
    before = ""
    for i, block in enumerate(blocks):
        if block or last.get(before, 0) <= i:
            before = block
        yield before


def _block(scope: str, containers: set[str]) -> str:
    """Return the module, at most `DEPTH` below the model, that has a line of this scope."""
    parts = scope.split(".")[:DEPTH]
    names = [".".join(parts[:n]) for n in range(len(parts), 0, -1)]
    inside = (n for n in names if any(c == n or c.startswith(f"{n}.") for c in containers))
    return next(inside, "")


def _text(expression: ast.expr) -> str:
    """Return the text of an expression, with double quotes."""
    text = ast.unparse(ast.fix_missing_locations(expression))
    return text if '"' in text else text.replace("'", '"')
