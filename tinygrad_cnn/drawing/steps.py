"""The steps of a computation: calls and leaves, linked by their arguments.

They come from a `Trace` (`tinygrad_cnn.drawing.trace`) or from the recorded graph of a result
(`tinygrad_cnn.drawing.recorded`).
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn.core.declaration import Derivative
from tinygrad_cnn.core.graph import Node
from tinygrad_cnn.core.op import Op
from tinygrad_cnn.core.variable import Variable
from tinygrad_cnn.support.text import printable

__all__ = ["Argument", "Leaf", "Step", "StepOrLeaf", "operands", "options_of", "with_sources"]


@dataclass(eq=False, slots=True)
class Leaf:
    """An array that is not the result of a step.

    Attributes
    ----------
    origin : Node, Variable or None
        The leaf in the recorded graph, or a call from before the trace.
    array : ndarray or None
        The value at its first use.
    shape, dtype
        Of the array.
    learned : bool
        Whether it requires a gradient.
    scope, name : str
        The scope that it belongs to and its name there; empty if unknown.
    gradient : ndarray or None
        The sum of the gradients sent to it, or its ``.grad`` after the last sweep.
    differs : bool
        Whether that is not the sum.
    """

    origin: Node | Variable | None
    array: NDArray[Any] | None
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    learned: bool
    scope: str = ""
    name: str = ""
    gradient: NDArray[Any] | None = None
    differs: bool = False
    scale: float = 0.0


@dataclass(eq=False, slots=True)
class Argument:
    """An array argument of a step.

    Attributes
    ----------
    name : str
        The op's parameter; with an index if it is a list.
    source : Step or Leaf
    derivative : Derivative or None
        The op's derivative with respect to it.
    gradient : ndarray or None
        The sum of the gradients that the step sent back to `source` for it.
    """

    name: str
    source: StepOrLeaf
    derivative: Derivative | None
    gradient: NDArray[Any] | None = None


@dataclass(eq=False, slots=True)
class Step:
    """One call of an op; other attributes are as in `drawing.graph.DrawnNode`.

    Attributes
    ----------
    op : Op or None
        None for an error outside any op.
    origin : Node or None
        The recorded node of the call.
    array : ndarray or None
        The result, if known.
    """

    op: Op[..., Any] | None
    scope: str
    origin: Node | None = None
    arguments: list[Argument] = field(default_factory=list)
    options: dict[str, Any] = field(default_factory=dict)
    array: NDArray[Any] | None = None
    shape: tuple[int, ...] | None = None
    dtype: np.dtype[Any] | None = None
    gradient: NDArray[Any] | None = None
    scale: float = 0.0
    dead: float | None = None
    seconds: float | None = None
    backward_seconds: float | None = None
    backward_step: int | None = None
    bytes: int | None = None
    error: str = ""


StepOrLeaf: TypeAlias = Step | Leaf


def operands(op: Op[..., Any], count: int) -> list[tuple[str, Derivative]]:
    """Return the name and derivative of each differentiable argument of a call."""
    if op.sequence:
        name = op.parameters[0]
        return [(f"{name}[{i}]", op.derivatives[name]) for i in range(count)]
    return [(name, op.derivatives[name]) for name in op.operands]


def options_of(op: Op[..., Any], values: dict[str, Any]) -> dict[str, Any]:
    """Return the `values` that differ from their defaults, as JSON values."""
    parameters = op.signature.parameters
    plain = {name: _plain(value) for name, value in values.items()}
    return {
        name: value
        for name, value in plain.items()
        if parameters[name].default is inspect.Parameter.empty
        or value != _plain(parameters[name].default)
    }


def with_sources(steps: list[Step], last: Step | None = None) -> Iterator[StepOrLeaf]:
    """Yield steps in order, each after its new leaves; each once.

    With `last`, yield only `last` and its ancestors.
    """
    wanted = set(map(id, steps)) if last is None else _leading_to(last)
    seen: set[int] = set()
    for step in steps:
        if id(step) not in wanted:
            continue
        for argument in step.arguments:
            if isinstance(argument.source, Leaf) and id(argument.source) not in seen:
                seen.add(id(argument.source))
                yield argument.source
        yield step


def _leading_to(last: Step) -> set[int]:
    found = {id(last)}
    stack = [last]
    while stack:
        for argument in stack.pop().arguments:
            source = argument.source
            if isinstance(source, Step) and id(source) not in found:
                found.add(id(source))
                stack.append(source)
    return found


def _plain(value: Any) -> Any:
    """Return a static argument as a JSON value; other types become text."""
    if isinstance(value, str):
        return printable(value)
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, np.bool_ | np.integer):
        return value.item()
    if isinstance(value, float | np.floating):
        return float(value) if np.isfinite(value) else str(value)
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, slice):
        parts = ("" if part is None else str(part) for part in (value.start, value.stop))
        return ":".join(parts) + ("" if value.step is None else f":{value.step}")
    if value is Ellipsis:
        return "..."
    if isinstance(value, np.ndarray):
        return f"{value.dtype} array of shape {value.shape}"
    if isinstance(value, np.dtype | type):
        return np.dtype(value).name if not isinstance(value, type) else value.__name__
    return type(value).__name__
