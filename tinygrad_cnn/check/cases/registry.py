"""The registry of cases: the calls that each op is checked with, user ops included."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from hypothesis import strategies as st

from tinygrad_cnn.check.call import Call
from tinygrad_cnn.core.op import OPS, Op

Inputs: TypeAlias = st.SearchStrategy[Any] | Mapping[str, Any]
Arguments: TypeAlias = dict[str, Any]


@dataclass(frozen=True)
class Case:
    """One kind of call of an op.

    Attributes
    ----------
    op : str
    arguments : strategy
        The arguments of the op: by name, or as described in `register`.
    of : tuple of str, optional
        The operands to differentiate by; by default, every operand among the arguments.
    note : str
        Distinguishes the cases of an op.
    always : sequence
        Arguments that are always tried, before the drawn ones.
    large : sequence of strategy
        Large calls: one of each is tried. By default, calls from `arguments` are enlarged.
    """

    op: str
    arguments: st.SearchStrategy[Any]
    of: tuple[str, ...] | None = None
    note: str = ""
    always: Sequence[Arguments] = ()
    large: Sequence[st.SearchStrategy[Any]] = ()

    def __str__(self) -> str:
        return f"{self.op}-{self.note}" if self.note else self.op

    def operands(self, op: Op[Any]) -> tuple[str, ...]:
        """Return the operands that calls of `op` are differentiated by, if given."""
        return op.operands if self.of is None else self.of

    def call(self, op: Op[Any], drawn: Any) -> Call:
        """Return the call of `op` with the drawn arguments."""
        arguments = _by_name(op, drawn)
        unknown = [name for name in arguments if name not in op.parameters]
        if unknown:
            has = ", ".join(op.parameters)
            raise TypeError(f"{op.name}: inputs drew {unknown[0]!r}, which is none of {has}")
        found = [n for n in op.operands if arguments.get(n) is not None]
        return Call(op, arguments, tuple(found) if self.of is None else self.of)


CASES: dict[str, list[Case]] = {}
"""The cases, by op name."""


def register(
    op: Op[Any] | str,
    inputs: Inputs,
    *,
    of: Sequence[str] | None = None,
    note: str = "",
    always: Sequence[Arguments] = (),
    large: Sequence[Inputs] = (),
) -> None:
    """Register how to draw an op's arguments, so that checks of all ops include it.

    ``pytest --check-ops`` and ``tinygrad-cnn check`` fail for an op that is not registered.

    Parameters
    ----------
    op : Op or str
        An op or its name.
    inputs : strategy or mapping
        A strategy for the only operand, for a tuple of all operands, or for all arguments by
        name; or a mapping of parameters to strategies and plain values.
    of : sequence of str, optional
        The operands to differentiate by; by default, all in `inputs`.
    note : str
        Distinguishes several cases of an op; a case with the same note is replaced.
    always : sequence of dict
        Arguments that are always tried: corner cases and past failures.
    large : sequence of strategy or mapping
        Strategies for large calls, one for each algorithm that large calls select. By default, the
        axes of small calls are lengthened.

    Examples
    --------
    >>> import numpy as np
    >>> import tinygrad_cnn as tg
    >>> from tinygrad_cnn.check import register, strategies
    >>> @tg.op(formula="x·σ(x)", elementwise=True)
    ... def swish(x):
    ...     return x / (1 + np.exp(-x))
    >>> @swish.derivative("x", formula="g·(y + σ(x)·(1 − y))")
    ... def _(g, *, x, y):
    ...     return g * (y + tg.sigmoid(x) * (1 - y))
    >>> register(swish, strategies.arrays())

    >>> from tinygrad_cnn.check.cases.registry import CASES
    >>> CASES["swish"][0].of is None  # whatever it has a derivative for
    True
    >>> del tg.OPS["swish"], CASES["swish"]
    """
    name = op if isinstance(op, str) else op.name
    chosen = None if of is None else tuple(of)
    many = tuple(as_strategy(each) for each in large)
    made = Case(name, as_strategy(inputs), chosen, note, tuple(always), many)
    kept = [case for case in CASES.get(name, []) if case.note != note]
    CASES[name] = [*kept, made]


def case(
    *ops: str,
    of: Sequence[str] | None = None,
    note: str = "",
    always: Sequence[Arguments] = (),
    large: Sequence[Inputs] = (),
) -> Callable[[Callable[..., Arguments]], Callable[..., Arguments]]:
    """Register the decorated function for `ops`: it takes ``draw`` and returns named arguments."""

    def decorate(function: Callable[..., Arguments]) -> Callable[..., Arguments]:
        for op in ops:
            register(op, st.composite(function)(), of=of, note=note, always=always,
                     large=large)  # fmt: skip
        return function

    return decorate


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


def unchecked() -> list[tuple[str, str]]:
    """Return each op and operand in the op registry that no case differentiates by."""
    return [
        (name, operand)
        for name, op in OPS.items()
        for operand in op.operands
        if not any(case.of is None or operand in case.of for case in CASES.get(name, []))
    ]


def _by_name(op: Op[Any], drawn: Any) -> Arguments:
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
