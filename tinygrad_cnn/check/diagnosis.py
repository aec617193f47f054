"""Diagnosis of a wrong gradient: every call of the computation is checked separately."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygrad_cnn.check.branches import traced
from tinygrad_cnn.check.call import Call
from tinygrad_cnn.check.comparison import CheckOptions, InputComparison
from tinygrad_cnn.check.examination import Examination, compare_order, fit_method
from tinygrad_cnn.check.functional import Functional, functional
from tinygrad_cnn.check.patterns import Facts, describe
from tinygrad_cnn.core.observer import ForwardEvent
from tinygrad_cnn.core.op import Op
from tinygrad_cnn.engine.arrays import Array

CALLS = 200  # the most calls to check
JACOBIAN = 4096  # elements of the largest Jacobian computed to find missing parts

_IMAGES = ("image", "channel", "row", "column")
_KERNELS = ("output channel", "input channel", "kernel row", "kernel column")
FLOW = "g"


@dataclass(frozen=True)
class Fault:
    """A call whose own derivative is wrong at `order`, and the pattern of the error."""

    call: Call
    scope: str
    order: int
    comparison: InputComparison
    pattern: str

    @property
    def parameter(self) -> str:
        """The parameter whose rule is wrong, or all of them if unclear."""
        label = self.comparison.label
        if self.order == 1 and (self.call.op.sequence or label in self.call.of):
            return self.call.of[0] if self.call.op.sequence else label
        return ", ".join(dict.fromkeys(self.call.of))


def locate(
    whole: Functional, points: list[Array], order: int, options: CheckOptions
) -> Fault | None:
    """Return the first call that is wrong on its own, at the lowest order up to `order`."""
    _, trace = traced(lambda: whole.gradients(order, points), branches=False)
    calls = list(_calls(trace.events))[:CALLS]
    for k in range(1, order + 1):
        for call, event in calls:
            fault = _fault(call, event, k, options)
            if fault is not None:
                return fault
    return None


def _calls(events: Iterable[ForwardEvent]) -> Iterable[tuple[Call, ForwardEvent]]:
    """Yield the recorded calls; of equal calls, only the first."""
    seen = set()
    for event in events:
        if event.node is None:
            continue
        op, given = event.op, event.arguments
        of: tuple[str, ...] = op.parameters[:1]
        if not op.sequence:
            of = tuple(n for n, s in zip(op.operands, event.sources, strict=True) if s is not None)
        shapes = [np.shape(given[name]) for name in of] if not op.sequence else [event.node.shape]
        key = (op.name, of, str(shapes), str(event.node.static), event.scope)
        if key not in seen:
            seen.add(key)
            yield Call(op, given, of), event


def _fault(call: Call, event: ForwardEvent, order: int, options: CheckOptions) -> Fault | None:
    """Return the fault of a call on its own, at orders up to `order`; None if it is right."""
    assert event.output is not None
    alone = [Call(call.op, call.arguments, (name,)) for name in call.of]
    tried = alone if order > 1 and len(alone) > 1 else []  # each alone finds the rule
    for one in (*tried, call):
        made, points = functional(one, one.inputs, event.output.shape, order, options.seed)
        by = fit_method(options, made, order, points)
        labels = [*one.labels, FLOW]
        for k in range(1, order + 1):
            compared = compare_order(made, points, labels, k, by)
            for i, comparison in enumerate(compared):
                if comparison.failed:
                    pattern = describe(
                        comparison.gradient, comparison.reference, comparison.wrong,
                        facts_of(one, comparison.label, event.output.size),
                    )  # fmt: skip
                    if not pattern and k == 1 and i < len(one.inputs):
                        pattern = _in_jacobian(made, points, i, by)
                    return Fault(one, event.scope, k, comparison, pattern)
    return None


def facts_of(call: Call, label: str, size: int) -> Facts:
    """Return the known facts about the gradient for the operand `label` of a call."""
    op: Op[..., Any] = call.op
    given = call.arguments
    options = {
        name: float(given[name])
        for name in op.static
        if isinstance(given.get(name), int | float) and not isinstance(given.get(name), bool)
    }
    counts: dict[str, float] = {}
    if "kernel_size" in given:
        cells = np.prod(np.broadcast_to(given["kernel_size"], 2))
        counts["the number of cells of a window"] = float(cells)
    for name, x in zip(call.labels, call.inputs, strict=True):
        counts[f"the number of elements of {name}"] = x.size
        counts |= {f"the length of axis {axis} of {name}": n for axis, n in enumerate(x.shape)}
    counts["the number of elements of the result"] = size
    axes: tuple[str, ...] = ()
    shapes = dict(zip(call.labels, (x.shape for x in call.inputs), strict=True))
    if {"stride", "padding"} & set(op.parameters) and len(shapes.get(label, ())) == 4:
        axes = _KERNELS if label == "w" else _IMAGES
    strided = bool(np.any(np.asarray(given.get("stride") or 1) != 1)) or "kernel_size" in given
    return Facts(axes, options, counts, strided)


def _in_jacobian(made: Functional, points: list[Array], i: int, options: CheckOptions) -> str:
    """Return the error pattern of the Jacobian for input `i`; sums over outputs may hide it."""
    *inputs, u = points
    if u.size < 2 or u.size * inputs[i].size > JACOBIAN:
        return ""
    rows = []
    for k in range(u.size):
        unit = np.zeros(u.shape)
        unit.flat[k] = 1.0
        row = Examination(made, [*inputs, unit], 1, options).compare(i, "")
        rows.append((row.gradient.ravel(), row.reference.ravel()))
    got, reference = (np.stack(part) for part in zip(*rows, strict=True))
    if got.shape[0] != got.shape[1]:
        return ""
    if np.allclose(got, np.diag(np.diag(reference)), 1e-6, 1e-9):
        return "only the diagonal of the Jacobian: the dependence on other inputs is missing"
    if np.allclose(got, reference.T, 1e-6, 1e-9):
        return "the Jacobian transposed"
    return ""
