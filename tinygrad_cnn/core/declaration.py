"""The declaration of an op: its forward and its local derivatives, in one place.

The backward pass, the labels of a drawn graph, printed derivations, gradient checks and the table
in the docs all read it.
"""

from __future__ import annotations

import copy
import functools
import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Generic, Literal, ParamSpec, TypeAlias, get_args

import numpy as np

from tinygrad_cnn.core.variable import Array, Variable

Integers: TypeAlias = Literal["converted", "widened", "kept"]
_PACKAGE = __name__.partition(".")[0] + "."

P = ParamSpec("P")
Rule = Callable[..., Any]
Reader = Callable[[list[Any], list[Any], Any], list[Any]]


@dataclass(frozen=True, slots=True)
class Derivative:
    """The local derivative of an op with respect to the parameter `of`.

    ``rule(g, **kept)`` maps `g`, the gradient of the result, to the gradient of the parameter.
    `needs` are its keyword-only names: the values it reads, and the only ones a call saves for it.
    `formula` and `latex` state it as mathematics; `equation` is its number in the text "CNNs From
    Scratch".
    """

    of: str
    rule: Rule
    needs: tuple[str, ...]
    formula: str
    latex: str
    equation: str


@dataclass(frozen=True, slots=True)
class Plan:
    """The cached plan for recording and differentiating one kind of call.

    Attributes
    ----------
    derivatives : tuple
        The derivatives to take, each with its position among the node's parents and a function
        that calls its rule with a gradient and the saved values.
    names : tuple of str
        The names of the saved values: the union of the rules' needs.
    read : callable
        Reads these values from the arguments of a call, their arrays and the result.
    """

    derivatives: tuple[tuple[int, Derivative, Callable[[Array, list[Any]], Any]], ...]
    names: tuple[str, ...]
    read: Reader


class Declaration(Generic[P]):
    """The static description of an op; `Op` adds the call.

    Attributes
    ----------
    name, formula, latex, equation, elementwise, complex_step, sequence, integers
        As declared with `op`.
    forward : callable
        The computation, from arrays to an array.
    parameters, operands, static : tuple of str
        The names of all parameters, of the differentiable ones and of the non-array options, each
        in the order of the signature.
    guarded : bool
        Whether forward and rules get read-only views of arrays, as ops outside the package do.
    derivatives : dict of str to Derivative
        The derivative of each differentiable parameter.
    residuals : dict of str to callable
        Extra values that rules may use, computed only if a rule asks for them.
    """

    def __init__(
        self,
        forward: Callable[P, Any],
        formula: str,
        latex: str,
        equation: str,
        elementwise: bool,
        complex_step: bool | None,
        sequence: bool,
        integers: Integers,
    ) -> None:
        functools.update_wrapper(self, forward)  # type: ignore[arg-type]  # an Op is callable
        self.name = forward.__name__
        self.forward = forward
        self.formula = formula
        self.latex = latex
        self.equation = equation
        self.elementwise = elementwise
        self.sequence = sequence
        self.integers = integers
        self.derivatives: dict[str, Derivative] = {}
        self.residuals: dict[str, Callable[..., Any]] = {}
        self._cost: Callable[..., int] = lambda: 0
        self.signature = inspect.signature(forward)
        for parameter in self.signature.parameters.values():
            reserved = parameter.name in ("g", "y", "static")
            if reserved or parameter.kind is not parameter.POSITIONAL_OR_KEYWORD:
                raise TypeError(
                    f"op {self.name}: parameter {parameter} must be a plain one, and not be named "
                    "g, y or static: rules know the gradient, the result and the options by these"
                )
        if integers not in get_args(Integers):
            known = ", ".join(map(repr, get_args(Integers)))
            raise ValueError(f"op {self.name}: integers is {integers!r}, expected one of {known}")
        self.parameters = tuple(self.signature.parameters)
        own = forward.__module__.startswith(_PACKAGE)
        self.complex_step = own if complex_step is None else complex_step
        self.guarded = not own
        self._defaults = [p.default for p in self.signature.parameters.values()]
        self._plans: dict[int, Plan] = {}
        self._sort_parameters()

    def __repr__(self) -> str:
        return f"<op {self.name}{self.signature}: {self.formula}>"

    # --- declaring -------------------------------------------------------------------------------

    def derivative(
        self, of: str, *, formula: str, latex: str = "", equation: str = ""
    ) -> Callable[[Rule], Rule]:
        """Declare the derivative with respect to the parameter `of`.

        The decorated rule takes `g`, the gradient of the result, and keyword-only arguments: ``y``
        (the result), a parameter, ``<parameter>_shape``, ``y_shape``, a residual, or ``static``,
        the dict of static arguments. Write it with operators and ops, so that it works for arrays
        and for Tensors.

        Raises
        ------
        TypeError
            If `of` is not a parameter, or the rule asks for an unknown name.
        """

        def register(rule: Rule) -> Rule:
            came = inspect.signature(rule)
            flow, kept = [*came.parameters][:1], [*came.parameters.values()][1:]
            if flow != ["g"] or any(p.kind is not p.KEYWORD_ONLY for p in kept):
                raise TypeError(f"op {self.name}: a rule takes (g, *, names), not {came}")
            needs = tuple(p.name for p in kept)
            self._reader(needs)
            self.derivatives[of] = Derivative(of, rule, needs, formula, latex, equation)
            self._sort_parameters()
            return rule

        if of not in self.parameters:
            raise TypeError(f"op {self.name}: no parameter '{of}' in {self.signature}")
        return register

    def residual(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Declare a value that rules request by the name of `function`.

        The arguments of `function` are parameters of the op, or ``y``. Its value must be constant
        almost everywhere (a mask, an index), because no derivative is taken through it: it says
        which branch the op took.
        """
        self._reader(inspect.signature(function).parameters)
        self.residuals[function.__name__] = function
        return function

    def multiply_adds(self, function: Callable[..., int]) -> Callable[..., int]:
        """Declare the multiply-add count; `function` names its inputs as a rule does."""
        self._reader(inspect.signature(function).parameters)
        self._cost = function
        return function

    def cost(self, arguments: dict[str, Any], output: Array) -> int:
        """Return the number of multiply-adds of a call; 0 if no count was declared."""
        return int(self._called(self._cost, arguments, output))

    def branches(self, arguments: dict[str, Any], output: Array) -> dict[str, Any]:
        """Return the residuals of a call: which branches it took."""
        return {name: self._called(f, arguments, output) for name, f in self.residuals.items()}

    def _sort_parameters(self) -> None:
        """Sort the parameters: operands (differentiable), other arrays (no default), static."""
        places = range(len(self.parameters))
        self._operands = [i for i in places if self.parameters[i] in self.derivatives]
        required = [i for i in places if self._defaults[i] is inspect.Parameter.empty]
        self._other_arrays = [i for i in required if i not in self._operands]
        self._static = [i for i in places if i not in self._operands + required]
        self.operands = tuple(self.parameters[i] for i in self._operands)
        self.static = tuple(self.parameters[i] for i in self._static)
        self._constants = self._other_arrays + self._static
        self._bind = _binder(self.name, self.signature, self._operands)
        self._beside = _joiner(len(self.parameters), self._operands, self.sequence)
        self._plans.clear()

    def _reader(self, names: Iterable[str], kept: bool = False) -> Reader:
        """Return a function that reads `names` from a call, as values to save if `kept`.

        It is compiled once per plan, so that reading needs no lookups.
        """
        values = ", ".join([self._read(name, kept) for name in names])
        known = {"residuals": self.residuals, "shape": np.shape, "kept": _kept}
        reader: Reader = eval(f"lambda arguments, arrays, y: [{values}]", known)
        return reader

    def _read(self, name: str, kept: bool) -> str:
        """Return the expression that reads `name` from ``arguments``, ``arrays`` and ``y``."""
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
        parameter = name if name in self.parameters else name.removesuffix("_shape")
        if parameter not in self.parameters:
            known = ", ".join(["y", "static", *self.parameters, *self.residuals])
            raise TypeError(f"op {self.name}: '{name}' is none of {known}, nor one's _shape")
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

    def _called(self, function: Callable[..., Any], arguments: dict[str, Any], y: Array) -> Any:
        """Call `function` with the values of a call that its parameters name."""
        read = self._reader(inspect.signature(function).parameters)
        return function(*read([], [arguments[name] for name in self.parameters], y))

    def _plan(self, wanted: int) -> Plan:
        """Make and cache the plan for a bit mask of the operands that require a gradient."""
        rules = [self.derivatives[name] for name in self.operands]
        chosen = [(k, rule) for k, rule in enumerate(rules) if self.sequence or wanted >> k & 1]
        names = tuple(dict.fromkeys(name for _, rule in chosen for name in rule.needs))
        derivatives = tuple((k, rule, _applied(rule, names)) for k, rule in chosen)
        plan = self._plans[wanted] = Plan(derivatives, names, self._reader(names, kept=True))
        return plan


def _binder(
    name: str, signature: inspect.Signature, operands: list[int]
) -> Callable[..., tuple[list[Any], list[Any]]]:
    """Return a function with `signature` that returns all arguments and the operands, as lists.

    Python binds arguments fastest: the function is compiled once and inspects nothing per call.
    """
    defaults = {name: p.default for name, p in signature.parameters.items()}
    taken = [n if d is inspect.Parameter.empty else f"{n}=_['{n}']" for n, d in defaults.items()]
    chosen = [list(defaults)[i] for i in operands]
    source = f"lambda {', '.join(taken)}: ([{', '.join(defaults)}], [{', '.join(chosen)}])"
    binder: Callable[..., tuple[list[Any], list[Any]]] = eval(source, {"_": defaults})
    binder.__qualname__ = name  # names the op in Python's TypeError
    return binder


def _joiner(
    count: int, operands: list[int], sequence: bool
) -> Callable[[list[Any], list[Any]], list[Any]]:
    """Return a function that replaces the operands among a call's arguments by their arrays."""
    parts = [f"arguments[{i}]" for i in range(count)]
    for k, i in enumerate(operands):
        parts[i] = f"arrays[{k}]"
    if sequence:
        parts[0] = "arrays"
    join: Callable[[list[Any], list[Any]], list[Any]]
    join = eval(f"lambda arguments, arrays: [{', '.join(parts)}]")
    return join


def _applied(derivative: Derivative, names: tuple[str, ...]) -> Callable[[Array, list[Any]], Any]:
    """Return a function that calls the rule with a gradient and the saved values of `names`."""
    needs = [f"{name}=kept[{names.index(name)}]" for name in derivative.needs]
    source = f"lambda g, kept: rule({', '.join(['g', *needs])})"
    applied: Callable[[Array, list[Any]], Any] = eval(source, {"rule": derivative.rule})
    return applied


def _kept(value: Any, array: Any) -> Any:
    """Return the value to save for backward: the Tensor, or a private copy."""
    if isinstance(value, Variable):
        return value if array is value.array else array
    if value is None or isinstance(value, int | float | str):
        return array
    if isinstance(array, np.ndarray):
        return array.copy()
    return copy.deepcopy(array)  # NumPy may have made `array` a view of `value`
