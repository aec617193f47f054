"""Per-op profile of a training step: work, bytes moved and time, from an `Observer`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np

from tinygrad_cnn.core.graph import Node
from tinygrad_cnn.core.observer import BackwardEvent, ForwardEvent, Observer
from tinygrad_cnn.core.variable import Variable

__all__ = ["OpCall", "OpProfile", "by_op", "medians", "names"]


@dataclass(frozen=True, slots=True)
class OpCall:
    """One op call of a step, forward or backward.

    Attributes
    ----------
    op : str
        Its name.
    scope : str
        The module that called it.
    direction : {"forward", "backward", "update"}
    multiply_adds : int
        As the op declares them; 0 for an op that only compares, adds or moves data.
    bytes_moved : int
        Total size of all arrays read and written, each counted once: a lower bound on traffic.
    seconds : float
    """

    op: str
    scope: str
    direction: str
    multiply_adds: int
    bytes_moved: int
    seconds: float

    @property
    def intensity(self) -> float:
        """Multiply-adds per byte moved; 0 if no bytes are moved."""
        return self.multiply_adds / self.bytes_moved if self.bytes_moved else 0.0

    @property
    def rate(self) -> float:
        """Multiply-adds per second."""
        return self.multiply_adds / self.seconds if self.seconds else 0.0

    @property
    def bandwidth(self) -> float:
        """Bytes per second."""
        return self.bytes_moved / self.seconds if self.seconds else 0.0


class OpProfile(Observer):
    """Observer that records the ops of a step, forward and backward.

    Attributes
    ----------
    calls : list of OpCall
        In execution order.
    seconds : float
        Overhead of recording, included in the observed step's time.

    Notes
    -----
    The gradient of a product with respect to one factor costs as many multiply-adds as the product.
    So an op's backward costs its forward times the number of factors that need a gradient; a bias
    gradient is only a sum. A result that is a view of an argument moves no bytes.

    Examples
    --------
    >>> import numpy as np
    >>> import tinygrad_cnn as tg
    >>> w = tg.Tensor(np.ones((8, 16), "f4"), requires_grad=True)
    >>> with tg.observe(profile := OpProfile()):
    ...     tg.relu(tg.linear(np.ones((32, 16), "f4"), w)).sum().backward()
    >>> for call in profile.calls[:3]:
    ...     print(call.direction, call.op, call.multiply_adds, call.bytes_moved)
    forward linear 4096 3584
    forward relu 0 2048
    forward sum 0 1028
    """

    def __init__(self) -> None:
        self.calls: list[OpCall] = []
        self.seconds = 0.0
        self._recorded: dict[Node, tuple[int, int]] = {}

    def forward(self, event: ForwardEvent) -> None:
        """Record one op call."""
        started = perf_counter()
        if event.output is not None:
            self._write_call(event, event.output)
        self.seconds += perf_counter() - started

    def backward(self, event: BackwardEvent) -> None:
        """Record the backward of one node."""
        started = perf_counter()
        self._write_turn(event)
        self.seconds += perf_counter() - started

    def _write_call(self, event: ForwardEvent, output: np.ndarray[Any, Any]) -> None:
        cost = event.op.cost(event.arguments, output)
        arrays = list(_arrays(event.arguments.values()))
        moved = _bytes(output, arrays)
        self.calls.append(OpCall(event.op.name, event.scope, "forward", cost, moved, event.seconds))
        if event.node is not None:
            factors = [
                source
                for name, source in zip(event.op.operands, event.sources, strict=False)
                if name != "bias" and (not isinstance(source, Variable) or source.requires_grad)
            ]
            wanted = sum(source is not None for source in factors)
            kept = sum(array.nbytes for array in _arrays(event.node.kept()))
            self._recorded[event.node] = cost * wanted, kept

    def _write_turn(self, event: BackwardEvent) -> None:
        cost, kept = self._recorded.pop(event.node, (0, 0))
        own = list(_arrays([event.gradient]))
        results = list(_arrays(value for _, value in event.contributions))
        new = [value for value in results if not _shares(value, own)]
        moved = kept + sum(array.nbytes for array in [*own, *new]) if new else 0
        self.calls.append(
            OpCall(event.node.op.name, event.node.scope, "backward", cost, moved, event.seconds)
        )


def medians(steps: Sequence[Sequence[OpCall]]) -> list[OpCall]:
    """Return the calls of a step, each with its median time over repeated `steps`.

    Raises
    ------
    ValueError
        If the steps do not contain the same calls.

    Examples
    --------
    >>> steps = [[OpCall("relu", "", "forward", 0, 8, seconds)] for seconds in (1.0, 9.0, 2.0)]
    >>> medians(steps)[0].seconds
    2.0
    """
    return [
        replace(calls[0], seconds=median(call.seconds for call in calls))
        for calls in zip(*steps, strict=True)
    ]


def by_op(calls: Sequence[OpCall], alike: bool = False) -> list[tuple[int, OpCall]]:
    """Return the sum of the calls of each op and direction, with their number, the longest first.

    With `alike`, only calls of the same work and the same bytes are added.

    Examples
    --------
    >>> calls = [OpCall("relu", scope, "forward", 0, 8, 0.5) for scope in "ab"]
    >>> [(count, call.op, call.bytes_moved, call.seconds) for count, call in by_op(calls)]
    [(2, 'relu', 16, 1.0)]
    """
    groups: dict[tuple[str, str, int, int], list[OpCall]] = {}
    for call in calls:
        work = (call.multiply_adds, call.bytes_moved) if alike else (0, 0)
        groups.setdefault((call.op, call.direction, *work), []).append(call)
    sums = [
        (
            len(group),
            OpCall(
                op, "", direction,
                sum(call.multiply_adds for call in group),
                sum(call.bytes_moved for call in group),
                sum(call.seconds for call in group),
            ),
        )
        for (op, direction, *_), group in groups.items()
    ]  # fmt: skip
    return sorted(sums, key=lambda item: -item[1].seconds)


def names(calls: Sequence[OpCall]) -> list[str]:
    """Return a name for each call: the op's, numbered if it is called more than once.

    The forward and backward of a call share a name.

    Examples
    --------
    >>> calls = [OpCall("relu", s, d, 0, 0, 0.0) for d in ("forward", "backward") for s in "ab"]
    >>> names(calls)
    ['relu 1', 'relu 2', 'relu 1', 'relu 2']
    """
    often = Counter(call.op for call in calls if call.direction == "forward")
    seen: Counter[str] = Counter()
    open_calls: dict[tuple[str, str], list[str]] = {}
    found = []
    for call in calls:
        key = call.op, call.scope
        if call.direction == "forward":
            seen[call.op] += 1
            name = f"{call.op} {seen[call.op]}" if often[call.op] > 1 else call.op
            open_calls.setdefault(key, []).append(name)
        else:  # backward runs in reverse order
            name = open_calls[key].pop() if open_calls.get(key) else call.op
        found.append(name)
    return found


def _arrays(values: Iterable[Any]) -> Iterable[np.ndarray[Any, Any]]:
    """Yield the arrays among values, including Tensors and nested lists."""
    for value in values:
        if isinstance(value, Variable):
            yield value._array
        elif isinstance(value, np.ndarray):
            yield value
        elif isinstance(value, list | tuple):
            yield from _arrays(value)


def _bytes(output: np.ndarray[Any, Any], read: list[np.ndarray[Any, Any]]) -> int:
    return 0 if _shares(output, read) else output.nbytes + sum(array.nbytes for array in read)


def _shares(array: np.ndarray[Any, Any], others: list[np.ndarray[Any, Any]]) -> bool:
    return any(np.may_share_memory(array, other) for other in others)
