"""A derivation as LaTeX, and as Markdown with formulas for notebooks."""

from __future__ import annotations

from collections.abc import Iterable

from tinygrad_cnn.derivation.notation import Entry, Formula, Symbol, fraction
from tinygrad_cnn.derivation.page import count, factors_of, rows, verdicts
from tinygrad_cnn.derivation.parts import ChainRule, Factor, Gap, Item, Layer, PathSum, SumLine
from tinygrad_cnn.derivation.signs import latex_text
from tinygrad_cnn.derivation.written import SUM
from tinygrad_cnn.support.text import citation, markdown_table, number

__all__ = ["formulas", "latex", "markdown"]

IN_A_LINE = 6
"""The number of factors per line."""


def latex(derivation: ChainRule) -> str:
    """Return the product, its factors, and the derivative entry by entry, aligned."""
    lines = [rf"{left} &= {right}" for left, right in formulas(derivation)]
    return "\n".join([r"\begin{aligned}", " \\\\\n".join(lines), r"\end{aligned}"])


def formulas(derivation: ChainRule) -> list[tuple[str, str]]:
    """Return both sides of each equation; long right sides span several lines."""
    loss = derivation.loss.latex()
    found = _products(derivation)
    if any(isinstance(item, Layer) for _, item in rows(derivation.product)):
        return found
    for factor in factors_of(derivation.product):
        top, bottom = factor.indices
        left = _marked(fraction(factor.top.latex(top), factor.bottom.latex(bottom)), _at(factor))
        found.append((left, _right(factor)))
    if derivation.written is not None:
        factors = [_factor(factor) for factor in derivation.written.formula.factors()]
        left = fraction(loss, derivation.wrt.latex(derivation.written.index))
        found.append((left, _multiplied(factors)))
    return found


def _products(derivation: ChainRule) -> list[tuple[str, str]]:
    left = fraction(derivation.loss.latex(), derivation.wrt.latex())
    found = [(left, _product(derivation.product))]
    for item in derivation.product:
        if isinstance(item, PathSum):
            found += [(_whole(item.top, line.bottom), _line(item, line)) for line in item.lines]
    return found


def _product(items: Iterable[Item]) -> str:
    return _multiplied([_sign(item) for item in items])


def _multiplied(factors: list[str]) -> str:
    lines = (factors[k : k + IN_A_LINE] for k in range(0, len(factors), IN_A_LINE))
    return " \\\\\n&\\quad \\cdot ".join(r" \cdot ".join(line) for line in lines)


def _sign(item: Item) -> str:
    if isinstance(item, Gap):
        return r"\cdots"
    if isinstance(item, PathSum):
        if item.lines:
            return _whole(item.top, item.bottom)
        terms = (r" \cdot ".join(map(_sign, term)) for term in item.terms)
        return rf"\left({' + '.join(terms)}\right)"
    at = _at(item) if isinstance(item, Factor) else ""
    return _marked(fraction(item.top.latex(), item.bottom.latex()), at)


def _factor(factor: Formula) -> str:
    """Return a factor of a product; a fraction needs no parentheses."""
    sums = [part for part in factor.parts[:1] if isinstance(part, Entry)]
    if sums and sums[0].symbol == SUM and len(factor.parts) > 1:
        return f"{Formula((sums[0],)).latex()} {_factor(Formula(factor.parts[1:]).trimmed())}"
    bare = factor.stripped().latex()
    return bare if bare.startswith(r"\frac") else factor.latex()


def _at(factor: Factor) -> str:
    return rf"_{{{latex_text(factor.argument)}}}" if factor.argument else ""


def _marked(derivative: str, at: str) -> str:
    """Return a derivative with the argument that it is of, if there are several."""
    return rf"\left.{derivative}\right\vert{at}" if at else derivative


def _whole(top: Symbol, bottom: Symbol) -> str:
    """Return a total derivative, along all paths."""
    return rf"\frac{{\mathrm{{d}} {top.latex()}}}{{\mathrm{{d}} {bottom.latex()}}}"


def _line(item: PathSum, line: SumLine) -> str:
    terms = []
    for above, factors in line.terms:
        product = r" \cdot ".join(map(_sign, factors))
        whole = "" if above == item.top else _whole(item.top, above) + r" \cdot "
        terms.append(whole + product)
    return " + ".join([*terms, *[r"\cdots"] * (line.more > 0)])


def _right(factor: Factor) -> str:
    if factor.is_known:
        return factor.formula.latex()
    return rf"\left(g \mapsto {factor.rule_latex or factor.rule.latex()}\right)"


# --- Markdown ------------------------------------------------------------------------------------


def markdown(derivation: ChainRule) -> str:
    """Return the page as Markdown."""
    wrt = derivation.wrt.latex()
    known = "" if derivation.name in ("", str(derivation.wrt)) else f" = `{derivation.name}`"
    paths = "1 path" if derivation.paths == 1 else f"{count(derivation.paths)} paths"
    parts = [
        f"**∂{derivation.loss}/∂{derivation.wrt}** for ${wrt}${known} of shape "
        f"{derivation.shape}, along {paths}",
        *(_display(left, right) for left, right in _products(derivation)),
        markdown_table(
            ["", "is", "shape"],
            [[f"${q.symbol.latex()}$", f"`{q.origin}`", str(q.shape)]
             for q in derivation.quantities],
            "-",
        ),
        markdown_table(
            ["factor", "is", "shape", "equation", "its norm", "norm of the product"],
            [_row(level, item) for level, item in rows(derivation.product)],
            "-",
        ),
    ]  # fmt: skip
    if derivation.written is not None:
        parts.append("Entry by entry:")
        parts.append(_display(*formulas(derivation)[-1]))
    return "\n\n".join([*parts, "; ".join(verdicts(derivation)) + "."]) + "\n"


def _display(left: str, right: str) -> str:
    return "$$\n\\begin{aligned}\n" + rf"{left} &= {right}" + "\n\\end{aligned}\n$$"


def _row(level: int, item: Item | SumLine) -> list[str]:
    deeper = "↳ " * level
    after = number(item.after, 4)
    if isinstance(item, Gap):
        return [f"{deeper}⋯ {count(item.count)} more", "", "", "", "", after]
    if isinstance(item, SumLine):
        return [f"{deeper}down to ${item.bottom.latex()}$", "", "", "", "", after]
    if isinstance(item, PathSum):
        whole = f"${_whole(item.top, item.bottom)}$"
        return [f"{deeper}{whole}", f"sum of {count(item.count)} paths", "", "", "", after]
    shape = " by ".join(map(str, item.shapes))
    left = deeper + f"${_sign(item)}$"
    if isinstance(item, Layer):
        return [left, ", ".join(f"`{op}`" for op in item.ops), shape, "", "", after]
    norm = "" if item.norm is None else number(item.norm, 4)
    return [left, f"${_right(item)}$", shape, citation(item.equation), norm, after]
