"""`check_op`: check that an op keeps the promises of its declaration."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from time import perf_counter
from typing import Any

from tinygrad_cnn.check.cases import Inputs, cases_of, missing_calls
from tinygrad_cnn.check.formula_properties import read_formulas
from tinygrad_cnn.check.inputs import check_count, check_method
from tinygrad_cnn.check.report import InputReport, OperandReport, OpReport
from tinygrad_cnn.check.search import Search, parameter_of
from tinygrad_cnn.core.op import Op

EXAMPLES = 50
"""The number of calls of an op to draw, divided among its cases."""


def check_op(
    op: Op[..., Any],
    inputs: Inputs | None = None,
    *,
    of: Sequence[str] | None = None,
    reference: Callable[..., Any] | None = None,
    order: int = 2,
    method: str = "auto",
    examples: int = EXAMPLES,
    seed: int | None = 0,
) -> OpReport:
    """Check that an op keeps the promises of its declaration.

    Hypothesis draws calls. On each, all `check.search.PROPERTIES` are checked, and
    `check_gradients` compares every derivative with the values of the forward.

    Parameters
    ----------
    op : Op
    inputs : strategy or mapping, optional
        How to draw the arguments: a strategy for the only operand, for a tuple of all operands, or
        for all arguments by name; or a mapping of parameters to strategies and plain values. By
        default, the example calls of the op's declaration (`Op.calls`).
    of : sequence of str, optional
        The operands to differentiate by; by default, all.
    reference : callable, optional
        Another implementation of the forward; it takes arrays by position and options by name.
    order : int
        The highest order of derivatives to check.
    method : {"auto", "complex", "central"}
        As for `check_gradients`.
    examples : int
        The number of calls to draw, divided among the op's cases; one in ten is large.
    seed : int, optional
        The seed of Hypothesis, for reproducible draws; None uses the Hypothesis profile.

    Returns
    -------
    OpReport

    Raises
    ------
    OpCheckError
        If a property fails, with the smallest failing call.
    OpGradientError
        If a derivative is wrong; also a `GradientMismatch`.
    FormulaError
        If a formula cannot be read; the message points at the character.
    TypeError
        If `op` is not an op.
    ValueError
        If `inputs` is not given and the op declares no calls, or an option is out of range.

    Examples
    --------
    >>> import numpy as np
    >>> import tinygrad_cnn as tg
    >>> from tinygrad_cnn.check import check_op
    >>> from tinygrad_cnn.check.strategies import arrays
    >>> @tg.op(formula="x·σ(x)", elementwise=True)
    ... def swish(x):
    ...     return x / (1 + np.exp(-x))
    >>> @swish.derivative("x", formula="g·(y + σ(x)·(1 − y))")
    ... def _(g, *, x, y):
    ...     return g * (y + tg.sigmoid(x) * (1 - y))
    >>> report = check_op(swish, arrays())
    >>> report.examples, report.worst < 1e-12
    (50, True)

    A rule with a missing term:

    >>> @swish.derivative("x", formula="g·σ(x)")
    ... def _(g, *, x):
    ...     return g * tg.sigmoid(x)
    >>> check_op(swish, arrays())  # doctest: +IGNORE_EXCEPTION_DETAIL
    Traceback (most recent call last):
    OpGradientError: swish breaks “backward is the derivative of the forward”, for x
    >>> del tg.OPS["swish"]
    """
    if not isinstance(op, Op):
        raise TypeError(f"check_op: op is {type(op).__name__}, expected an Op, such as tg.relu")
    check_method("check_op", method)
    check_count("check_op", "order", order, 1)
    check_count("check_op", "examples", examples, 1)
    if seed is not None:
        check_count("check_op", "seed", seed, 0)
    if isinstance(of, str):
        raise TypeError(f"check_op: of is {of!r}, expected a list of operands: [{of!r}]")
    if not op.operands:
        raise ValueError(f"check_op: {op.name} has no derivative")
    read_formulas(op)
    chosen = cases_of(op, inputs)
    if not chosen:
        raise ValueError(f"check_op: {missing_calls(op)}")
    if of is not None:
        chosen = [case for case in chosen if set(of) <= set(case.operands)]
        if not chosen or not of:
            known = ", ".join(op.operands) or "none"
            raise ValueError(f"check_op: {op.name} has no case for of={tuple(of)}, of {known}")
    started = perf_counter()
    searches = [Search(case, of, reference, order, method, seed) for case in chosen]
    asked = math.ceil(examples / len(searches))
    for search in searches:
        search(asked)
    seconds = perf_counter() - started
    rows = [row for search in searches for row in search.rows]
    names = list(dict.fromkeys(name for search in searches for name in search.of))
    found = tuple(_merged(name, [row for row in rows if parameter_of(row.input) == name])
                  for name in names)  # fmt: skip
    tried = sum(search.tried for search in searches)
    most = max(search.largest for search in searches)
    fewer = any(search.tried < asked for search in searches)
    return OpReport(op.name, found, tried, seconds, most, examples if fewer else None)


def _merged(name: str, rows: Sequence[InputReport]) -> OperandReport:
    methods = " and ".join(dict.fromkeys(row.method for row in rows))
    order = max((row.order for row in rows), default=0)
    worst = max((min(row.relative, row.absolute) for row in rows), default=0.0)
    return OperandReport(name, order, methods, worst)
