"""The errors of checks, and the message of a wrong gradient."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygrad_cnn.check.call import Call
from tinygrad_cnn.check.comparison import CheckOptions, InputComparison
from tinygrad_cnn.check.diagnosis import FLOW, Fault
from tinygrad_cnn.check.patterns import Facts, describe
from tinygrad_cnn.check.reproduction import as_lambda, name_of, reproduction
from tinygrad_cnn.core.calculus import Function
from tinygrad_cnn.core.op import Op
from tinygrad_cnn.engine.arrays import Array

METHODS = {"complex": "complex step", "central": "central differences"}
ORDINALS = {1: "gradient", 2: "second derivative", 3: "third derivative"}


class GradientMismatch(AssertionError):  # noqa: N818  # it says what was found
    """Backward's gradient differs from the numerical derivative.

    Attributes
    ----------
    order : int
        The order that is wrong; lower orders are right.
    input : str
        The input whose gradient has the largest error.
    entry : tuple of int or None
        Its entry with the largest error; None if only a random direction shows the error.
    pattern : str
        The pattern of the error: which part is wrong, and how; empty if there is no simple pattern.
    op, parameter : str
        The op whose own derivative is wrong, and its parameter; empty if every op is right.
    arrays : tuple of ndarray
        The inputs that show the error.
    """

    order: int
    input: str
    entry: tuple[int, ...] | None
    pattern: str
    op: str
    parameter: str
    arrays: tuple[Array, ...]


class OpCheckError(AssertionError):
    """An op breaks a promise of its declaration.

    Attributes
    ----------
    op : str
        The name of the op.
    property : str
        The property that fails.
    parameter : str
        The input concerned; empty if none in particular.
    example : str
        The smallest failing call found.
    """

    op: str
    parameter: str

    def __init__(self, call: Call, broken: str, parameter: str, message: str) -> None:
        self.op = call.op.name
        self.property = broken
        self.parameter = parameter
        self.example = str(call)
        for_one = f", for {parameter}" if parameter else ""
        super().__init__(
            f"{self.op} breaks “{broken}”{for_one}\n\n{message}\n\nexample: {self.example}"
        )


class OpGradientError(OpCheckError, GradientMismatch):
    """A derivative of an op is wrong; also has the attributes of a `GradientMismatch`."""


def mismatch(
    f: Function,
    arrays: Sequence[Array],
    compared: Sequence[InputComparison],
    fault: Fault | None,
    options: CheckOptions,
) -> GradientMismatch:
    """Return the error for comparisons, some of them failed."""
    failed = [made for made in compared if made.failed]
    worst = max(failed, key=_severity)
    pattern = _pattern(worst)
    shown = fault.call.inputs if fault else tuple(arrays)
    function = as_lambda(fault.call) if fault else name_of(f)
    order = fault.order if fault else worst.order
    line, shown = reproduction(fault.call if fault else f, function, shown, order, options)
    lines = [
        f"the {_ordinal(worst.order)} for {_named(worst.label)} does not match the values of f",
        *_rows(_found(worst, pattern, [made.label for made in failed if made is not worst])),
        *(_blamed(fault) if fault else _innocent()),
        *_rows([("see again", line)]),
    ]
    error = GradientMismatch("\n".join(lines))
    error.order, error.input, error.entry = worst.order, worst.label, worst.worst
    error.pattern = fault.pattern if fault and fault.pattern else pattern
    error.op = fault.call.op.name if fault else ""
    error.parameter = fault.parameter if fault else ""
    error.arrays = shown
    return error


def _severity(made: InputComparison) -> float:
    entry = made.worst
    if entry is None:
        return 0.0
    error = abs(float(made.gradient[entry]) - float(made.reference[entry]))
    return float(np.nan_to_num(error / (abs(made.reference[entry]) + 1e-300), nan=np.inf))


def _pattern(made: InputComparison) -> str:
    return describe(made.gradient, made.reference, made.wrong, Facts())


def _ordinal(order: int) -> str:
    return ORDINALS.get(order, f"derivative of order {order}")


def _named(label: str) -> str:
    return "the gradient that flows in" if label == FLOW else label


def _found(made: InputComparison, pattern: str, others: list[str]) -> list[tuple[str, str]]:
    """Return the message lines about the input with the largest error."""
    rows = []
    entry = made.worst
    method = METHODS[made.method]
    if entry is None:
        answer = max(made.directions, key=lambda answer: abs(answer.got - answer.reference))
        rows += [("along", "a random direction of all entries; no single one was found")]
        values = (answer.got, answer.reference, answer.tolerance)
    else:
        rows += [("entry", str(entry) if entry else "the only one")]
        values = (made.gradient[entry], made.reference[entry], made.tolerance[entry])
    backward, reference = _apart(float(values[0]), float(values[1]))
    rows += [
        ("backward", backward),
        ("values", f"{reference}  ({method}, tolerance {values[2]:.1e})"),
    ]
    if entry is not None:
        rows += [("wrong", _how_many(made) + (f": {pattern}" if pattern else ""))]
    if others:
        rows += [("also wrong", ", ".join(map(_named, others)))]
    if made.kinks:
        rows += [("on a kink", f"{len(made.kinks)} entries, not compared")]
    return rows


def _apart(a: float, b: float) -> tuple[str, str]:
    """Return two numbers with two digits more than needed to show that they differ."""
    for digits in range(4, 16):
        if f"{a:.{digits}g}" != f"{b:.{digits}g}":
            return f"{a:.{digits + 2}g}", f"{b:.{digits + 2}g}"
    return f"{a:.17g}", f"{b:.17g}"


def _how_many(made: InputComparison) -> str:
    known, size = int(made.known.sum()), made.gradient.size
    of = f"{size}" if known == size else f"{known} looked at, of {size}"
    return f"{int(made.wrong.sum())} of {of} entries"


def _blamed(fault: Fault) -> list[str]:
    """Return the message lines about the wrong rule."""
    op: Op[..., Any] = fault.call.op
    within = f", called in `{fault.scope}`" if fault.scope else ""
    rules = [op.derivatives[name] for name in fault.call.of]
    if fault.parameter in op.derivatives:
        rules = [op.derivatives[fault.parameter]]
    what = " or ".join(rule.of for rule in rules)
    again = "" if fault.order == 1 else f" when it is differentiated again (order {fault.order})"
    rows = [("forward", op.formula + _equation(op.equation))]
    rows += [(f"∂/∂{rule.of}", rule.formula + _equation(rule.equation)) for rule in rules]
    how = f": {fault.pattern}" if fault.pattern else ""
    rows += [("by itself", _how_many(fault.comparison) + " wrong" + how)]
    return [f"the rule of `{op.name}` for {what} is at fault{again}{within}", *_rows(rows)]


def _equation(number: str) -> str:
    return f"  (eq {number})" if number else ""


def _innocent() -> list[str]:
    return [
        "each op on the way is correct by itself: f depends on its inputs outside the graph "
        "(detach(), data, no_grad()), or a derivative is lost between the ops"
    ]


def _rows(rows: list[tuple[str, str]]) -> list[str]:
    return [f"  {name:<10} {text}" for name, text in rows]
