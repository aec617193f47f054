"""The branches of a computation, to distinguish kinks from wrong derivatives."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from tinygrad_cnn.core.observer import ForwardEvent, Observer, observe
from tinygrad_cnn.core.op import Op

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Branch:
    """A choice made in a call of an op: `call` names the call, `value` is the choice."""

    call: str
    value: Any

    def same(self, other: Branch) -> bool:
        """Return whether both branches are the same choice in the same call."""
        return self.call == other.call and _equal(self.value, other.value)


class BranchTrace(Observer):
    """The calls of a computation, as events, and the branches that they took.

    A branch is a residual of an op (a mask, an index), an argument without a derivative (a
    condition, labels, an index), or the choice of the op itself.
    """

    def __init__(self, branches: bool = True) -> None:
        self.events: list[ForwardEvent] = []
        self.branches: list[Branch] = []
        self._with_branches = branches

    def forward(self, event: ForwardEvent) -> None:
        """Record one call."""
        if event.output is None:
            return
        self.events.append(event)
        if not self._with_branches:
            return
        op = event.op
        call = f"{op.name} in {event.scope}" if event.scope else op.name
        self.branches.append(Branch(call, op.name))
        chosen = {
            name: value
            for name, value in event.arguments.items()
            if name not in op.derivatives and _discrete(value)
        }
        chosen |= op.branches(event.arguments, event.output)
        self.branches += [Branch(call, value) for value in chosen.values()]

    @property
    def ops(self) -> set[Op[..., Any]]:
        """The called ops."""
        return {event.op for event in self.events}

    @property
    def epsilon(self) -> float:
        """The machine epsilon of the coarsest dtype among the results."""
        dtypes = {e.output.dtype for e in self.events if e.output is not None}
        return max([float(np.finfo(d).eps) for d in dtypes if d.kind in "fc"], default=2.0**-52)


def traced(
    f: Callable[[], T], branches: bool = True, then: Observer | None = None
) -> tuple[T, BranchTrace]:
    """Return the result of ``f()`` and its trace; the observer `then` runs after the trace."""
    trace = BranchTrace(branches)
    with observe(trace), observe(then or Observer()):
        return f(), trace


def other_branch(here: Sequence[Branch], there: Sequence[Branch]) -> str:
    """Return the first call at which `there` differs from `here`; empty if none does."""
    for a, b in zip(here, there, strict=False):
        if not a.same(b):
            return a.call if a.call == b.call else f"{a.call} or {b.call}"
    if len(here) != len(there):
        return max(here, there, key=len)[min(len(here), len(there))].call
    return ""


def _discrete(value: Any) -> bool:
    """Return whether `value` is discrete, and not a number that can change smoothly."""
    if isinstance(value, tuple | list):
        return all(_discrete(part) for part in value)
    if isinstance(value, np.ndarray | np.generic):
        return value.dtype.kind in "biu"
    return not isinstance(value, float | complex)


def _equal(a: Any, b: Any) -> bool:
    if isinstance(a, tuple | list) and isinstance(b, tuple | list):
        return len(a) == len(b) and all(_equal(x, y) for x, y in zip(a, b, strict=True))
    if isinstance(a, np.ndarray) or isinstance(b, np.ndarray):
        return np.array_equal(a, b)
    return bool(a == b)
