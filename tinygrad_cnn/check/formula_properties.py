"""The formulas of an op: each can be read, and those of elementwise ops agree with the values."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_cnn.check.formula import Elementwise, FormulaError, Tree, evaluate, parse
from tinygrad_cnn.check.probe import Probe, Properties, PropertyError, lister
from tinygrad_cnn.core.declaration import Prose
from tinygrad_cnn.core.op import Op
from tinygrad_cnn.engine.arrays import Array

QUANTITIES = ("n", "μ", "σ²", "x̂")
"""Letters besides the parameters: a count, a mean, a variance, and (x − μ) / √(σ² + ε)."""

CANCELLATION = 4 * float(np.finfo(np.float64).eps)
"""The rounding of a formula that adds to 1, relative to its inputs, as x·tanh(ln(1 + eˣ)) does."""

FORMULAS: Properties = {}
holds = lister(FORMULAS)


def read_formulas(op: Op[Any, Any]) -> dict[str, Tree]:
    """Return the formula of the forward, by "", and those of the rules, by parameter.

    Formulas in words, such as ``Prose("x reshaped")``, are left out.

    Raises
    ------
    FormulaError
        If a formula cannot be read.
    """
    names = {*op.parameters, *op.aliases.values(), "e"}
    if not op.elementwise:
        names |= {*QUANTITIES}
    declared = {"": op.formula, **{of: rule.formula for of, rule in op.derivatives.items()}}
    trees: dict[str, Tree] = {}
    for of, formula in declared.items():
        if not isinstance(formula, Prose):
            try:
                trees[of] = parse(formula, names | {"g", "y"} if of else names)
            except FormulaError as error:
                what = f"the formula of {op.name}" + (f" for {of}" if of else "")
                raise FormulaError(
                    formula,
                    error.place,
                    f"{what} cannot be read (docs/formulas.md; for words, declare "
                    f"formula=tg.Prose(...)): {error.reason}",
                ) from None
    return trees


@holds("forward and rules agree with their formulas")
def _(at: Probe) -> None:
    """Compare the entries of an elementwise op where its formulas are finite."""
    op = at.call.op
    values = at.call.with_defaults
    values |= {alias: values[name] for name, alias in op.aliases.items()}
    values |= {"g": at.u, "y": at.y._array}
    if not op.elementwise or not op.states(values):
        return
    if any(values[name] is None for name in op.parameters):
        return
    floor = CANCELLATION * max(1.0, *(_largest(values[name]) for name in at.call.of))
    for of, tree in read_formulas(op).items():
        if of and of not in at.call.of:
            continue
        formula = op.derivatives[of].formula if of else op.formula
        try:
            value = np.broadcast_to(evaluate(tree, Elementwise(values)), at.y.shape)
        except KeyError as error:
            raise PropertyError(
                f"the formula {formula} uses {error}, which is not elementwise; a product of "
                "elements is written a·b",
                of,
            ) from None
        if not of:
            at.compare_result(
                _or(value, at.y._array),
                f"the formula {formula}",
                dtype=np.float32,
                floor=floor,
            )
            continue
        i = at.call.of.index(of)
        expected = at.gradients[i]
        value = _or(_summed(value, expected.shape), expected)
        at.compare_gradient(
            i,
            value,
            f"by the formula {formula}",
            dtype=np.float32,
            floor=floor * max(1.0, float(np.abs(at.u).sum())),
        )


def _largest(value: Any) -> float:
    sizes = np.abs(np.asarray(value))
    return float(sizes.max(initial=0.0, where=np.isfinite(sizes)))


def _or(value: Array, other: Array) -> Array:
    """Return `value` where it is finite and `other` elsewhere."""
    return np.where(np.isfinite(value), value, other)


def _summed(value: Array, shape: tuple[int, ...]) -> Array:
    """Return `value` summed to a shape that was broadcast."""
    lead = value.ndim - len(shape)
    axes = tuple(k for k, n in enumerate((1,) * lead + shape) if n == 1)
    return np.asarray(value.sum(axes, keepdims=True)).reshape(shape)
