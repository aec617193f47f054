"""Cases of an op: the kinds of calls that its check draws, from its declaration."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from hypothesis import strategies as st

from tinygrad_cnn.check import strategies
from tinygrad_cnn.check.call import Call
from tinygrad_cnn.core.declaration import ExampleCalls
from tinygrad_cnn.core.op import Op

Inputs: TypeAlias = st.SearchStrategy[Any] | Mapping[str, Any]
"""A strategy for the only operand, for a tuple of all operands, or for all arguments by name; or a
mapping of parameters to strategies and plain values."""


@dataclass(frozen=True)
class Case:
    """One kind of call of an op.

    Attributes
    ----------
    op : Op
    arguments : strategy
        The arguments of the op, as `Declaration.calls` describes them.
    of : tuple of str, optional
        The operands to differentiate by; by default, every operand among the arguments.
    always : sequence
        Arguments that are always tried, before the drawn ones.
    large : sequence of strategy
        Large calls: one of each is tried. By default, calls from `arguments` are enlarged.
    """

    op: Op[..., Any]
    arguments: st.SearchStrategy[Any]
    of: tuple[str, ...] | None = None
    always: Sequence[Mapping[str, Any]] = ()
    large: Sequence[st.SearchStrategy[Any]] = ()

    @property
    def operands(self) -> tuple[str, ...]:
        """The operands that calls are differentiated by, if given."""
        return self.op.operands if self.of is None else self.of

    def call(self, drawn: Any) -> Call:
        """Return the call with the drawn arguments."""
        arguments = _by_name(self.op, drawn)
        unknown = [name for name in arguments if name not in self.op.parameters]
        if unknown:
            has = ", ".join(self.op.parameters)
            raise TypeError(f"{self.op.name}: inputs drew {unknown[0]!r}, which is none of {has}")
        found = tuple(name for name in self.operands if arguments.get(name) is not None)
        return Call(self.op, arguments, found)


def cases_of(op: Op[..., Any], inputs: Inputs | None = None) -> list[Case]:
    """Return the cases of an op: from `inputs` or else from its example calls.

    An elementwise op whose required parameters are all operands has a case without a declaration.
    There is no case for other ops without example calls.
    """
    if inputs is not None:
        return [Case(op, as_strategy(inputs))]
    if op.example_calls:
        return [_declared(op, calls) for calls in op.example_calls.values()]
    parameters = op.signature.parameters.items()
    required = [name for name, p in parameters if p.default is inspect.Parameter.empty]
    if not op.elementwise or not required or not set(required) <= set(op.operands):
        return []
    if len(required) == 1:
        return [Case(op, as_strategy({required[0]: strategies.arrays()}))]
    drawn = strategies.operands(len(required))
    return [Case(op, drawn.map(lambda values: dict(zip(required, values, strict=True))))]


def missing_calls(op: Op[..., Any]) -> str:
    """Return how to declare example calls for an op that has no case; empty if it has one."""
    if cases_of(op):
        return ""
    parts = []
    for name, parameter in op.signature.parameters.items():
        if name in op.operands or parameter.default is inspect.Parameter.empty:
            several = op.sequence and name == op.parameters[0]
            example = "s.arrays((2, 3))" if name in op.operands else "..."
            parts.append(f'"{name}": ' + (f"[draw({example})]" if several else f"draw({example})"))
    return (
        f"{op.name} was not checked: it declares no calls; add, with arguments that it takes:\n\n"
        f"@{op.name}.calls\ndef _(draw, s):  # s is tinygrad_cnn.check.strategies\n"
        f"    return {{{', '.join(parts)}}}"
    )


def as_strategy(inputs: Any) -> st.SearchStrategy[Any]:
    """Return the strategy for `Inputs`."""
    if isinstance(inputs, st.SearchStrategy):
        return inputs
    if not isinstance(inputs, Mapping):
        came = type(inputs).__name__
        raise TypeError(f"inputs is {came}, expected a strategy, or a mapping of strategies")
    return st.fixed_dictionaries(
        {k: v if isinstance(v, st.SearchStrategy) else st.just(v) for k, v in inputs.items()}
    )


def _declared(op: Op[..., Any], calls: ExampleCalls) -> Case:
    @st.composite
    def strategy(draw: st.DrawFn, /, **size: Any) -> Any:
        return calls.function(draw, strategies, **size)

    return Case(op, strategy(), calls.of, calls.always, [strategy(**each) for each in calls.large])


def _by_name(op: Op[..., Any], drawn: Any) -> dict[str, Any]:
    """Return drawn arguments by name."""
    if isinstance(drawn, Mapping):
        return dict(drawn)
    if op.sequence:
        return {op.parameters[0]: list(drawn)}
    values = drawn if isinstance(drawn, list | tuple) else [drawn]
    names = op.operands
    if len(values) != len(names):  # a derivative may be missing for one of the arrays
        names = tuple(name for name in op.parameters if name not in op.static)
    if len(values) != len(names):
        wanted = ", ".join(op.operands)
        raise TypeError(f"{op.name}: inputs drew {len(values)} value(s) for the operands {wanted}")
    return dict(zip(names, values, strict=True))
