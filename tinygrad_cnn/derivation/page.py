"""A derivation as a page of text, for a terminal."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence

from tinygrad_cnn.derivation.notation import Symbol
from tinygrad_cnn.derivation.parts import ChainRule, Factor, Gap, Item, Layer, PathSum, SumLine
from tinygrad_cnn.derivation.signs import DIGITS
from tinygrad_cnn.support.text import aligned, citation, number

__all__ = ["count", "factors_of", "page", "rows", "verdicts"]

Box = tuple[str, str, str]
"""Three lines of equal width: a fraction, or a sign in the middle line."""


def page(derivation: ChainRule, width: int = 100) -> str:
    """Return the page, in lines of at most about `width` characters."""
    parts = [
        _heading(derivation),
        "\n".join(_chains(derivation, width)),
        "where\n" + _columns([(str(q.symbol), str(q.shape), q.origin)
                            for q in derivation.quantities], "<<<"),
        _factors(derivation),
        _entries(derivation, width),
        _numbers(derivation),
    ]  # fmt: skip
    return "\n\n".join(filter(None, parts))


def _heading(derivation: ChainRule) -> str:
    wrt = str(derivation.wrt)
    known = "" if derivation.name in ("", wrt) else f" = {derivation.name}"
    paths = "1 path" if derivation.paths == 1 else f"{count(derivation.paths)} paths"
    return f"∂{derivation.loss}/∂{wrt} for {wrt}{known} of shape {derivation.shape}, along {paths}"


# --- the product, with fractions over three lines ------------------------------------------------


def _chains(derivation: ChainRule, width: int) -> list[str]:
    chains = [(str(derivation.wrt), derivation.product)]
    if derivation.layers:
        chains.insert(0, (derivation.name or str(derivation.wrt), derivation.layers))
    lines: list[str] = []
    for wrt, items in chains:
        left = [_fraction("∂", str(derivation.loss), wrt), _sign(" = ")]
        lines += [""] * bool(lines) + _laid_out(left, _product(items), width)
        for item in _sums(items):
            if item.lines:
                lines += ["", *_lines(item, width)]
    if any(_sums(derivation.product)):
        lines += ["", "On the right, each ∂ is of one op, with its other arguments fixed; a d "
                  "is along all paths." if any(s.lines for s in _sums(derivation.product)) else
                  "On the right, each ∂ is of one op, with its other arguments fixed."]  # fmt: skip
    return lines


def _fraction(sign: str, top: str, bottom: str, at: str = "") -> Box:
    over, under = f"{sign}{top}", f"{sign}{bottom}"
    size = max(len(over), len(under))
    mark = "│" if at else ""
    blank = " " * len(mark + at)
    return (
        over.center(size) + (mark + " " * len(at) if at else ""),
        "─" * size + (mark + " " * len(at) if at else ""),
        under.center(size) + (mark + at if at else blank),
    )


def _sign(text: str) -> Box:
    return " " * len(text), text, " " * len(text)


OPEN: Box = ("⎛ ", "⎜ ", "⎝ ")
CLOSE: Box = (" ⎞", " ⎟", " ⎠")
TIMES, PLUS = _sign(" · "), _sign(" + ")


def _product(items: Iterable[Item]) -> list[Box]:
    boxes: list[Box] = []
    for item in items:
        boxes += [TIMES] * bool(boxes)
        if isinstance(item, Gap):
            boxes.append(_sign(f"⋯ {count(item.count)} more ⋯"))
        elif isinstance(item, PathSum) and item.lines:
            boxes.append(_fraction("d", str(item.top), str(item.bottom)))
        elif isinstance(item, PathSum):
            inner: list[Box] = []
            for term in item.terms:
                inner += [PLUS] * bool(inner) + _product(term)
            boxes += [OPEN, *inner, CLOSE]
        else:
            at = item.argument if isinstance(item, Factor) else ""
            boxes.append(_fraction("∂", str(item.top), str(item.bottom), at))
    return boxes


def _lines(item: PathSum, width: int) -> list[str]:
    lines: list[str] = []
    for k, line in enumerate(item.lines):
        if item.more and k == len(item.lines) - 1:
            lines += [f"  ⋯ {count(item.more)} more lines ⋯", ""]
        boxes: list[Box] = []
        for above, factors in line.terms:
            boxes += [PLUS] * bool(boxes)
            if above != item.top:
                boxes += [_fraction("d", str(item.top), str(above)), TIMES]
            boxes += _product(factors)
        if line.more:
            boxes += [PLUS, _sign(f"⋯ {count(line.more)} more")]
        left = [_fraction("d", str(item.top), str(line.bottom)), _sign(" = ")]
        lines += [*_laid_out(left, boxes, width), ""]
    return lines[:-1]


def _laid_out(left: Sequence[Box], boxes: Sequence[Box], width: int) -> list[str]:
    """Return lines of boxes, broken before a sign where they are too long."""
    rows: list[list[Box]] = [[_sign("  "), *left]]
    indent = sum(len(box[0]) for box in rows[0])
    for k, box in enumerate(boxes):
        used = sum(len(b[0]) for b in rows[-1])
        ahead = len(box[0]) + (len(boxes[k + 1][0]) if k + 1 < len(boxes) else 0)
        if box in (TIMES, PLUS) and used + ahead > width:
            rows.append([_sign(" " * (indent - 2)), _sign(box[1].lstrip())])
        else:
            rows[-1].append(box)
    return ["".join(box[k] for box in row).rstrip() for row in rows for k in range(3)]


# --- factor by factor ----------------------------------------------------------------------------


def rows(items: Iterable[Item], level: int = 0) -> list[tuple[int, Item | SumLine]]:
    """Return all items with their depth, each sum after its parts."""
    found: list[tuple[int, Item | SumLine]] = []
    for item in items:
        if isinstance(item, PathSum):
            for term in item.terms:
                found += rows(term, level + 1)
            found += [(level + 1, line) for line in item.lines[:-1]]
        found.append((level, item))
    return found


def factors_of(items: Iterable[Item]) -> list[Factor]:
    """Return the factors in items, including those in sums, each once."""
    found: dict[tuple[Symbol, Symbol, str], Factor] = {}
    waiting = list(items)[::-1]
    while waiting:
        item = waiting.pop()
        if isinstance(item, PathSum):
            products = [*item.terms, *(factors for line in item.lines for _, factors in line.terms)]
            waiting += [inner for factors in products[::-1] for inner in factors[::-1]]
        elif isinstance(item, Factor):
            found.setdefault((item.top, item.bottom, item.argument), item)
    return list(found.values())


def _sums(items: Iterable[Item]) -> list[PathSum]:
    return [item for item in items if isinstance(item, PathSum)]


def _factors(derivation: ChainRule) -> str:
    lines = []
    for factor in factors_of(derivation.product):
        top, bottom = factor.indices
        at = f"|{factor.argument}" if factor.argument else ""
        left = f"∂{factor.top.text(top)}/∂{factor.bottom.text(bottom)}{at}"
        lines.append((left, f"= {_right(factor)}", citation(factor.equation)))
    if not lines or any(isinstance(item, Layer) for _, item in rows(derivation.product)):
        return ""
    notes = _notes("".join(right for _, right, _ in lines))
    return "\n".join(["Factor by factor", _columns(lines, "<<<"), *notes])


def _right(factor: Factor) -> str:
    """Return the entry of a factor, or else its rule in g."""
    return factor.formula.text() if factor.is_known else f"(g ↦ {factor.rule.text()})"


NOTES = {
    "(g ↦": "(g ↦ …) maps g, the derivative of E by the factor above, to the derivative below.",
    "[": "[c] is 1 where c holds, else 0.",
    " took ": "a took b: b is the maximum chosen for a.",
}


def _notes(shown: str) -> list[str]:
    """Return explanatory notes on the notation of these formulas."""
    notes = [note for sign, note in NOTES.items() if sign in shown]
    if re.search(r"\[[^\]=≥≤<>]* − \d+[,\]]", shown):
        notes.append("An entry outside its array is 0.")
    return [f"  {note}" for note in notes]


def _entries(derivation: ChainRule, width: int) -> str:
    written = derivation.written
    if written is None:
        return ""
    left = f"  ∂{derivation.loss}/∂{derivation.wrt.text(written.index)} = "
    tokens = written.formula.text().split(" · ")
    lines = [left + tokens[0]]
    for token in tokens[1:]:
        if len(lines[-1]) + len(token) + 3 > width:
            lines.append(" " * (len(left) - 2) + f"· {token}")
        else:
            lines[-1] += f" · {token}"
    return "Entry by entry\n" + "\n".join(lines)


# --- numbers -------------------------------------------------------------------------------------


def _numbers(derivation: ChainRule) -> str:
    lines = [("", "shape", "its norm", "norm of the product")]
    for level, item in rows(derivation.product):
        shape = " by ".join(map(str, item.shapes)) if isinstance(item, Factor | Layer) else ""
        lines.append(("  " * level + _title(item), shape, *_norms(item)))
    return "In numbers\n" + _columns(lines, "<<>>") + "\n" + "\n".join(verdicts(derivation))


def _title(item: Item | SumLine) -> str:
    if isinstance(item, SumLine):
        return f"down to {item.bottom}"
    if isinstance(item, Gap):
        return f"⋯ {count(item.count)} more factors"
    if isinstance(item, PathSum):
        return f"sum of {count(item.count)} paths, d{item.top}/d{item.bottom}"
    at = f"|{item.argument}" if isinstance(item, Factor) and item.argument else ""
    return f"∂{item.top}/∂{item.bottom}{at}"


def _norms(item: Item | SumLine) -> tuple[str, str]:
    own = item.norm if isinstance(item, Factor) else None
    return "" if own is None else number(own, 4), number(item.after, 4)


def verdicts(derivation: ChainRule) -> list[str]:
    """Return the comparisons of the product with other gradients, with their outcomes."""
    name = derivation.name or str(derivation.wrt)
    agrees = "yes" if derivation.agrees() else "NO"
    apart = f"{agrees} (largest difference {number(derivation.difference, 4)})"
    if derivation.held == derivation.difference:
        return [f"equals {name}.grad: {apart}"]
    lines = [f"equals the {name}.grad that backward() computes: {apart}"]
    if derivation.held is not None:
        lines.append(
            f"{name}.grad now differs (largest difference "
            f"{number(derivation.held, 4)}): it adds up over calls of backward()"
        )
    return lines


def count(many: int) -> str:
    """Return a count; a very large one as a power of ten.

    Examples
    --------
    >>> count(1000), count(2**100)
    ('1,000', 'about 10³⁰')
    """
    if many < 10**15:
        return f"{many:,}"
    return f"about 10{str(int(math.log10(many))).translate(DIGITS)}"


def _columns(lines: Sequence[Sequence[str]], align: str) -> str:
    return "\n".join(f"  {line}" for line in aligned(lines, align))
