"""The functions that are compiled for the calls of an op, and its plans for recording them."""

from __future__ import annotations

import copy
import inspect
import linecache
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygrad_cnn.core.declaration import Declaration, Derivative, P, names_of
from tinygrad_cnn.core.variable import Array, Variable

Reader = Callable[[list[Any], list[Any], Any, dict[str, Any]], list[Any]]


@dataclass(frozen=True, slots=True)
class Plan:
    """The cached plan for recording and differentiating one kind of call.

    Attributes
    ----------
    derivatives : tuple
        The derivatives to take, each with its position among the node's parents and a function
        that calls its rule with a gradient and the saved values.
    names : tuple of str
        The names of the saved values: all that the rules need, and the inputs of intermediates.
    read : callable
        Reads these values from the arguments of a call, their arrays, the result and the
        intermediates.
    intermediates : tuple
        The intermediates that the rules need, each after those that it is computed from: the name,
        the function and the names of its arguments.
    of_gradient : tuple
        The intermediates that depend on the gradient: the name, and a function of the gradient and
        the values known so far.
    """

    derivatives: tuple[tuple[int, Derivative, Callable[[Array, list[Any]], Any]], ...]
    names: tuple[str, ...]
    read: Reader
    intermediates: tuple[tuple[str, Callable[..., Any], tuple[str, ...]], ...]
    of_gradient: tuple[tuple[str, Callable[[Array, list[Any]], Any]], ...]


class CompiledDeclaration(Declaration[P]):
    """A declaration with functions compiled for it, which look up no names in a call.

    Attributes
    ----------
    to_compute : list of (str, callable, callable)
        The intermediates of the forward: the name, the function, and what reads its arguments.
    """

    _plans: dict[int, Plan]
    _compiled: dict[str, Callable[..., Any]]

    def _sort_parameters(self) -> None:
        super()._sort_parameters()
        self._plans, self._compiled = {}, {}
        self._bind = self._binder()
        self.to_compute = [
            (name, function, self._reader(name, names_of(function)))
            for name, function in self.intermediates.items()
            if name not in self._of_gradient
        ]

    def cost(self, arguments: dict[str, Any], output: Array) -> int:
        """Return the number of multiply-adds of a call; 0 if no count was declared."""
        return int(self._called("cost", self._cost, arguments, output))

    def branches(self, arguments: dict[str, Any], output: Array) -> dict[str, Any]:
        """Return the residuals of a call: which branches it took."""
        return {
            name: self._called("branch", f, arguments, output) for name, f in self.residuals.items()
        }

    def _called(
        self, label: str, function: Callable[..., Any], arguments: dict[str, Any], y: Array
    ) -> Any:
        """Call `function` with the values of a call that its parameters name."""
        read = self._reader(label, names_of(function))
        return function(*read([], [arguments[name] for name in self.parameters], y, {}))

    def source(self) -> str:
        """Return the Python source of the functions that were compiled for this op.

        They bind the arguments of a call, read the values to save for the derivatives that are
        wanted, and call the rules, without looking up names. A traceback shows their lines as of
        the file ``<op name>``.

        Examples
        --------
        >>> import tinygrad_cnn as tg
        >>> @tg.op(formula="x³", elementwise=True)
        ... def cube(x):
        ...     return x * x * x
        >>> @cube.derivative("x", formula="g·3x²")
        ... def _(g, *, x):
        ...     return g * (3.0 * x * x)
        >>> print(cube.source())
        def bind(x):
            return [x], [x]
        <BLANKLINE>
        def read_for_x(arguments, arrays, y, shared):
            return [kept(arguments[0], arrays[0])]
        <BLANKLINE>
        def derivative_x(g, kept):
            return rule(g, x=kept[0])
        >>> del tg.OPS["cube"]
        """
        if self.operands:
            self._plan(-1)  # for all of them
        return "\n\n".join(self._compiled)

    def _compile(self, name: str, parameters: Sequence[str], value: str, **known: Any) -> Any:
        """Return a function of `parameters` that returns the expression `value`."""
        text = f"def {name}({', '.join(parameters)}):\n    return {value}"
        if text not in self._compiled:
            file, line = f"<op {self.name}>", 3 * len(self._compiled)
            exec(compile("\n" * line + text, file, "exec"), known)
            self._compiled[text] = known[name]
            lines = "\n\n".join(self._compiled).splitlines(keepends=True)
            linecache.cache[file] = (0, None, lines, file)  # for tracebacks
        return self._compiled[text]

    def _binder(self) -> Callable[..., tuple[list[Any], list[Any]]]:
        """Return a function of the op's parameters that returns their values and the operands.

        Python binds arguments fastest.
        """
        value = f"[{', '.join(self.parameters)}], [{', '.join(self.operands)}]"
        binder: Callable[..., tuple[list[Any], list[Any]]]
        binder = self._compile("bind", self.parameters, value)
        binder.__defaults__ = tuple(d for d in self._defaults if d is not inspect.Parameter.empty)
        binder.__qualname__ = self.name  # names the op in Python's TypeError
        return binder

    def _reader(self, label: str, names: Sequence[str], kept: bool = False) -> Reader:
        """Return a function that reads `names` from a call, as values to save if `kept`."""
        values = ", ".join([self._read(name, kept) for name in names])
        parameters = ("arguments", "arrays", "y", "shared")
        known = {"residuals": self.residuals, "shape": np.shape, "kept": _kept, "owned": _owned}
        reader: Reader = self._compile(f"read_for_{label}", parameters, f"[{values}]", **known)
        return reader

    def _read(self, name: str, kept: bool) -> str:
        """Return the expression for `name`, of the parameters of a reader."""
        if name == "y":
            return "y"
        if name == "y_shape":
            return "y.shape"
        if name == "static":
            options = [f"{self.parameters[i]!r}: arrays[{i}]" for i in self._static]
            return f"{{{', '.join(options)}}}"
        if name in self.residuals:
            reads = inspect.signature(self.residuals[name]).parameters
            return f"residuals[{name!r}]({', '.join([self._read(n, False) for n in reads])})"
        if name in self.intermediates:
            return f"owned(shared[{name!r}], arrays)" if kept else f"shared[{name!r}]"
        parameter = name if name in self.parameters else name.removesuffix("_shape")
        i = self.parameters.index(parameter)
        several = self.sequence and i == 0
        if parameter != name:
            if several:
                return f"[a.shape for a in arrays[{i}]]"
            is_array = i in self._operands and self._defaults[i] is not None
            return f"arrays[{i}].shape" if is_array else f"shape(arrays[{i}])"
        if not kept:
            return f"arrays[{i}]"
        if several:
            return f"[kept(v, a) for v, a in zip(arguments[{i}], arrays[{i}], strict=True)]"
        return f"kept(arguments[{i}], arrays[{i}])"

    def _plan(self, wanted: int) -> Plan:
        """Make and cache the plan for a bit mask of the operands that require a gradient."""
        rules = [self.derivatives[name] for name in self.operands]
        chosen = [(k, rule) for k, rule in enumerate(rules) if self.sequence or wanted >> k & 1]
        asked = [name for _, rule in chosen for name in rule.needs]
        reads = set().union(*[self.reads(rule.of) for _, rule in chosen])
        of_gradient = {n: f for n, f in self._of_gradient.items() if n in reads}
        asked += [name for function in of_gradient.values() for name in names_of(function)[1:]]
        of_call = (self.intermediates.keys() - self._of_gradient) & reads
        again = tuple([(n, f, names_of(f)) for n, f in self.intermediates.items() if n in of_call])
        inputs = [n for *_, names in again for n in names if n not in self.intermediates]
        names = tuple([n for n in dict.fromkeys([*asked, *inputs]) if n not in of_gradient])
        label = "_".join([rule.of for _, rule in chosen])
        read = self._reader(label, names, kept=True)
        known = (*names, *of_gradient)
        derivatives = tuple(
            [
                (k, rule, self._applied(f"derivative_{rule.of}", rule.rule, rule.needs, known))
                for k, rule in chosen
            ]
        )
        shared = tuple(
            [(n, self._applied(n, f, names_of(f)[1:], known)) for n, f in of_gradient.items()]
        )
        plan = self._plans[wanted] = Plan(derivatives, names, read, again, shared)
        return plan

    def _applied(
        self, label: str, rule: Callable[..., Any], needs: Sequence[str], names: Sequence[str]
    ) -> Callable[[Array, list[Any]], Any]:
        """Return a function that calls `rule` with a gradient and the values of `names`."""
        values = [f"{name}=kept[{names.index(name)}]" for name in needs]
        value = f"rule({', '.join(['g', *values])})"
        applied: Callable[[Array, list[Any]], Any]
        applied = self._compile(label, ("g", "kept"), value, rule=rule)
        return applied


def _owned(value: Array, arrays: list[Any]) -> Array:
    """Return an intermediate, copied if it is part of an argument, which its owner may change."""
    is_view = value.base is not None
    for array in arrays:
        for part in array if type(array) is list else (array,):
            within = is_view and isinstance(part, np.ndarray)
            if value is part or (within and np.may_share_memory(value, part)):
                return value.copy()
    return value


def _kept(value: Any, array: Any) -> Any:
    """Return the value to save for backward: the Tensor, or a private copy."""
    if isinstance(value, Variable):
        return value if array is value._array else array
    if value is None or isinstance(value, (int, float, str)):
        return array
    if isinstance(array, np.ndarray):
        return array.copy()
    return copy.deepcopy(array)  # NumPy may have made `array` a view of `value`
