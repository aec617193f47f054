"""An op: one forward and its local derivatives, declared together, once.

Everything that concerns an op is read from its declaration: the backward pass, the labels of a
drawn graph, printed derivations, gradient checks and the table in the docs.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter
from typing import Any, Generic, ParamSpec

import numpy as np

from tinygrad_cnn.graph import Array, ForwardEvent, Node, Variable, current_context

P = ParamSpec("P")
Reader = Callable[[list[Any], list[Any], Any], Any]  # (arguments, their arrays, y) -> a named value

OPS: dict[str, Op[Any]] = {}
"""Every op by its name, the user's own included."""

_MISSING = object()


@dataclass(frozen=True, slots=True)
class Derivative:
    """The local derivative of an op with respect to one parameter.

    Attributes
    ----------
    of : str
        The parameter.
    rule : callable
        ``rule(g, **kept)``: from `g`, the gradient of the result, the gradient of the parameter.
    needs : tuple of str
        The rule's keyword-only names: what it reads, and all that a call keeps for it.
    formula, latex : str
        The rule as mathematics.
    equation : str
        Its number in the text "CNNs From Scratch", if it has one.
    """

    of: str
    rule: Callable[..., Any]
    needs: tuple[str, ...]
    formula: str
    latex: str
    equation: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What a call keeps when a certain set of its parameters wants a gradient.

    Attributes
    ----------
    derivatives : tuple of (int, Derivative)
        The derivatives to take, each with its place among the node's parents.
    names : tuple of str
        What they need, together.
    readers : tuple of callable
        How to get each of `names` from a call.
    """

    derivatives: tuple[tuple[int, Derivative], ...]
    names: tuple[str, ...]
    readers: tuple[Reader, ...]


class Op(Generic[P]):
    """A differentiable function of arrays; make one with the decorator `op`.

    Called with arrays it computes; called with at least one Tensor it returns a Tensor, and records
    a node if a gradient is wanted. Beside a Tensor, a number or an array takes the Tensor's dtype.

    Attributes
    ----------
    name, formula, latex, equation : str
        As declared.
    forward : callable
        The computation, from arrays to an array.
    derivatives : dict of str to Derivative
        By parameter.
    residuals : dict of str to callable
        What rules may ask for beside arguments and result, computed only if one does.
    elementwise : bool
        Whether the arguments broadcast against each other; their gradients are summed back.
    complex_step : bool
        Whether `forward` is analytic in the sense of the complex-step method.
    sequence : bool
        Whether the first parameter is a sequence of arrays; its rule then returns a list.
    """

    def __init__(
        self,
        forward: Callable[P, Any],
        *,
        formula: str,
        latex: str = "",
        equation: str = "",
        elementwise: bool = False,
        complex_step: bool = True,
        sequence: bool = False,
    ) -> None:
        functools.update_wrapper(self, forward)
        self.name = forward.__name__.rstrip("_")
        self.forward = forward
        self.formula = formula
        self.latex = latex
        self.equation = equation
        self.elementwise = elementwise
        self.complex_step = complex_step
        self.sequence = sequence
        self.derivatives: dict[str, Derivative] = {}
        self.residuals: dict[str, Callable[..., Any]] = {}
        self.count_multiply_adds: Callable[..., int] | None = None
        self.signature = inspect.signature(forward)
        for parameter in self.signature.parameters.values():
            if parameter.kind is not parameter.POSITIONAL_OR_KEYWORD:
                raise TypeError(f"op {self.name}: parameter {parameter} must be a plain one")
            if parameter.name in {"g", "y"}:
                raise TypeError(f"op {self.name}: '{parameter.name}' is taken: y is the result, g "
                                "its gradient")  # fmt: skip
        self.parameters = tuple(self.signature.parameters)
        self._defaults = [
            _MISSING if p.default is p.empty else p.default
            for p in self.signature.parameters.values()
        ]
        self._plans: dict[tuple[bool, ...], Plan] = {}
        self._place_parameters()

    def __repr__(self) -> str:
        return f"<op {self.name}{self.signature}: {self.formula}>"

    # --- declaring -------------------------------------------------------------------------------

    def derivative(
        self, of: str, *, formula: str, latex: str = "", equation: str = ""
    ) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        """Declare the derivative with respect to the parameter `of`.

        The decorated rule takes `g`, the gradient of the result, and by keyword-only names what it
        needs: ``y`` the result, a parameter, ``<parameter>_shape``, ``y_shape``, or a residual.
        It is written with operators and ops, so that it serves arrays and Tensors alike.

        Raises
        ------
        TypeError
            If there is no such parameter, or the rule asks for a name that does not exist.
        """
        if of not in self.parameters:
            raise TypeError(f"op {self.name}: no parameter '{of}' in {self.signature}")

        def register(rule: Callable[..., Any]) -> Callable[..., Any]:
            flow, *kept = inspect.signature(rule).parameters.values()
            if flow.name != "g" or any(p.kind is not p.KEYWORD_ONLY for p in kept):
                raise TypeError(f"op {self.name}: a rule is declared as (g, *, names), "
                                f"not {inspect.signature(rule)}")  # fmt: skip
            needs = tuple(p.name for p in kept)
            for name in needs:
                self._reader(name)
            self.derivatives[of] = Derivative(of, rule, needs, formula, latex, equation)
            self._place_parameters()
            return rule

        return register

    def residual(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Declare a value that rules may ask for by the name of `function`.

        `function` names the parameters it reads, and ``y``. It must be constant almost everywhere
        (a mask, an index), for no derivative is taken through it: it says which branch the op took.
        """
        for name in inspect.signature(function).parameters:
            self._reader(name)
        self.residuals[function.__name__] = function
        return function

    def multiply_adds(self, function: Callable[..., int]) -> Callable[..., int]:
        """Declare how to count multiply-adds; `function` names what it reads, as a rule does."""
        for name in inspect.signature(function).parameters:
            self._reader(name)
        self.count_multiply_adds = function
        return function

    def cost(self, arguments: dict[str, Any], output: Array) -> int:
        """Return the multiply-adds of a call, 0 where none were declared."""
        if self.count_multiply_adds is None:
            return 0
        values = [arguments[name] for name in self.parameters]
        return int(_call_by_name(self.count_multiply_adds, self._reader, values, output))

    def _place_parameters(self) -> None:
        """Sort the parameters: operands (differentiable), other arrays (no default), static."""
        places = range(len(self.parameters))
        self._operands = [i for i in places if self.parameters[i] in self.derivatives]
        self._other_arrays = [
            i for i in places if i not in self._operands and self._defaults[i] is _MISSING
        ]
        self._static = [i for i in places if i not in self._operands + self._other_arrays]
        self.static = tuple(self.parameters[i] for i in self._static)
        self._plans.clear()

    def _reader(self, name: str) -> Reader:
        """Return how to get the value called `name` from a call."""
        if name == "y":
            return lambda values, arrays, y: y
        if name == "y_shape":
            return lambda values, arrays, y: y.shape
        if name in self.parameters:
            return functools.partial(_saved_argument, self.parameters.index(name))
        if name in self.residuals:
            function = self.residuals[name]
            return lambda values, arrays, y: _call_by_name(function, self._reader, arrays, y)
        parameter = name.removesuffix("_shape")
        if parameter in self.parameters:
            i = self.parameters.index(parameter)
            if self.sequence and i == 0:
                return lambda values, arrays, y: [np.shape(array) for array in arrays[0]]
            return lambda values, arrays, y: np.shape(arrays[i])
        known = ", ".join(["y", "y_shape", *self.parameters, *self.residuals])
        raise TypeError(f"op {self.name}: '{name}' is none of {known}, or one's _shape")

    def _plan(self, wanted: tuple[bool, ...]) -> Plan:
        """Return the plan for a call of which these operands want a gradient."""
        chosen = [
            (place, self.derivatives[self.parameters[i]])
            for place, i in enumerate(self._operands)
            if wanted[place]
        ]
        names = tuple(dict.fromkeys(name for _, rule in chosen for name in rule.needs))
        return Plan(tuple(chosen), names, tuple(self._reader(name) for name in names))

    # --- calling ---------------------------------------------------------------------------------

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Any:
        """Compute; with a Tensor among the arguments return one, and record if a gradient flows."""
        context = current_context.get()
        values = self._bind(args, kwargs)
        operands = self._operands_of(values)
        arrays = values.copy()
        has_tensor = any([isinstance(value, Variable) for value in operands])
        for i in self._other_arrays:
            value = values[i]
            if isinstance(value, Variable):
                has_tensor = True
                arrays[i] = value.array
                if value.requires_grad and context.recording:
                    raise TypeError(
                        f"{self.name} has no derivative with respect to {self.parameters[i]}, "
                        "which requires a gradient; pass its detach()"
                    )
        unwrapped = self._in_one_dtype(operands)
        if self.sequence:
            arrays[0] = unwrapped
        else:
            for i, array in zip(self._operands, unwrapped, strict=True):
                arrays[i] = array

        started = perf_counter() if context.observers else 0.0
        y = error = node = None
        try:
            y = self.forward(*arrays)  # type: ignore[call-arg]
        except Exception as raised:
            error = self._explained(raised, unwrapped, context.scope)
            if not (has_tensor and context.observers):
                raise error from None
        if not has_tensor:
            return y
        if error is None:
            y = np.asarray(y)
            if context.recording:
                node = self._record(values, operands, arrays, y, context.scope)
        if context.observers:
            seconds = perf_counter() - started
            arguments = dict(zip(self.parameters, arrays, strict=True))
            sources = tuple([v.node or v if isinstance(v, Variable) else None for v in operands])
            event = ForwardEvent(self, arguments, y, node, sources, context.scope, seconds, error)
            for observer in context.observers:
                observer.forward(event)
            if error is not None:
                raise error from None
        return Variable.tensor.of(y, node, _leaf_beneath(y, operands) if node else None)

    def _bind(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Any]:
        """Return one value for each parameter."""
        given = len(args)
        values = [*args, *self._defaults[given:]]
        known = True
        for name, value in kwargs.items():
            i = self.parameters.index(name) if name in self.parameters else -1
            known = known and i >= given
            if known:
                values[i] = value
        if not known or len(values) > len(self.parameters) or any(v is _MISSING for v in values):
            try:
                self.signature.bind(*args, **kwargs)
            except TypeError as error:
                raise TypeError(f"{self.name}{self.signature}: {error}") from None
        return values

    def _operands_of(self, values: list[Any]) -> list[Any]:
        """Return the arguments that a gradient may flow to, one for each parent of the node."""
        if not self.sequence:
            return [values[i] for i in self._operands]
        if not isinstance(values[0], list | tuple):
            raise TypeError(
                f"{self.name}: {self.parameters[0]} is {type(values[0]).__name__}, "
                "expected a list or tuple of arrays"
            )
        return list(values[0])

    def _in_one_dtype(self, operands: list[Any]) -> list[Any]:
        """Return the operands as arrays; beside a Tensor whatever is none takes its dtype."""
        arrays = [v.array if isinstance(v, Variable) else v for v in operands]
        kinds = {a.dtype if isinstance(a, np.ndarray) else type(a) for a in arrays}
        if len(kinds) == 1 and arrays and isinstance(arrays[0], np.ndarray):
            if arrays[0].dtype.kind in "fc":
                return arrays
        tensors = {v.dtype for v in operands if isinstance(v, Variable) and v.dtype.kind in "fc"}
        if len(tensors) > 1 and not any(dtype.kind == "c" for dtype in tensors):
            came = ", ".join(
                f"{self._label(k)} is {v.dtype}"
                for k, v in enumerate(operands)
                if isinstance(v, Variable)
            )
            raise TypeError(f"{self.name}: {came}; convert one with astype()")
        (dtype,) = tensors if len(tensors) == 1 else (None,)
        for k, array in enumerate(arrays):
            if array is None and self._may_be_none(k):
                continue
            array = np.asarray(array)
            if array.dtype.kind not in "fcbiu":
                came = type(arrays[k]).__name__ if array.dtype == object else array.dtype
                raise TypeError(f"{self.name}: {self._label(k)} is {came}, expected numbers")
            if dtype is not None and array.dtype.kind != "c":
                array = array.astype(dtype, copy=False)
            arrays[k] = array
        return arrays

    def _label(self, k: int) -> str:
        """Return what to call the operand at place `k` in a message."""
        return f"{self.parameters[0]}[{k}]" if self.sequence else self.parameters[self._operands[k]]

    def _may_be_none(self, k: int) -> bool:
        return not self.sequence and self._defaults[self._operands[k]] is None

    def _explained(self, error: Exception, arrays: list[Any], scope: str) -> Exception:
        """Return `error`, saying which shapes came where NumPy does not name op and argument."""
        if self.elementwise and isinstance(error, ValueError):
            shapes = [np.shape(array) for array in arrays]
            try:
                np.broadcast_shapes(*shapes)
            except ValueError:
                came = " and ".join(f"{self._label(k)} {shape}" for k, shape in enumerate(shapes))
                error = ValueError(f"{self.name}: shapes do not broadcast: {came}")
        if scope:
            error.add_note(f"in module {scope}")
        return error

    # --- recording and pulling back --------------------------------------------------------------

    def _record(
        self, values: list[Any], operands: list[Any], arrays: list[Any], y: Any, scope: str
    ) -> Node | None:
        """Return a node for this call, None if no operand wants a gradient."""
        parents = tuple(
            [(v.node or v) if isinstance(v, Variable) and v.requires_grad else None
             for v in operands]
        )  # fmt: skip
        wanted = tuple([parent is not None for parent in parents])
        if True not in wanted:
            return None
        if self.sequence:
            wanted = (True,)
        plan = self._plans.get(wanted)
        if plan is None:
            plan = self._plans[wanted] = self._plan(wanted)
        saved = [read(values, arrays, y) for read in plan.readers]
        watched = []
        for value in saved:
            if isinstance(value, Variable):
                leaf = value if value.node is None else value.origin
                if leaf is not None:
                    watched.append((leaf, leaf.current_version()))
        static = tuple([values[i] for i in self._static])
        return Node(self, plan, parents, saved, watched, static, y, scope)

    def pull_back(
        self, node: Node, gradient: Array, needed: set[Any] | None, create_graph: bool
    ) -> list[tuple[Node | Variable, Array]]:
        """Return the gradient for each parent of `node` (of those in `needed`, if that is given)."""
        parents = node.edges()
        node.check_unchanged()
        plan = node.plan
        kept = dict(zip(plan.names, node.saved, strict=True))
        if not create_graph:
            kept = {k: v.array if isinstance(v, Variable) else v for k, v in kept.items()}
        elif "y" in kept:
            kept["y"] = Variable.tensor.of(kept["y"], node)
        contributions: list[tuple[Node | Variable, Array]] = []
        for place, derivative in plan.derivatives:
            targets = parents if self.sequence else parents[place : place + 1]
            if needed is not None and needed.isdisjoint(targets):
                continue
            values = derivative.rule(gradient, **{name: kept[name] for name in derivative.needs})
            for parent, value in zip(targets, values if self.sequence else [values], strict=True):
                if parent is not None and (needed is None or parent in needed):
                    contributions.append((parent, self._fitted(derivative, value, parent)))
        return contributions

    def _fitted(self, derivative: Derivative, value: Array, parent: Node | Variable) -> Array:
        """Return `value` in the shape and dtype of what it is the gradient of."""
        if value.shape != parent.shape:
            if not self.elementwise:
                raise ValueError(
                    f"the derivative of {self.name} with respect to {derivative.of} has shape "
                    f"{value.shape}, expected {parent.shape}"
                )
            value = OPS["sum_to"](value, parent.shape)
        if value.dtype != parent.dtype:
            value = OPS["astype"](value, parent.dtype)
        return value


def op(
    *,
    formula: str,
    latex: str = "",
    equation: str = "",
    elementwise: bool = False,
    complex_step: bool = True,
    sequence: bool = False,
) -> Callable[[Callable[P, Any]], Op[P]]:
    """Declare an op: the decorated function is its forward, on arrays.

    Parameters
    ----------
    formula, latex : str
        The forward as mathematics.
    equation : str
        Its number in the text "CNNs From Scratch", such as ``"15"``.
    elementwise : bool
        Whether the arguments broadcast against each other.
    complex_step : bool
        Whether the forward takes complex arrays, analytic, and branches on the real part.
    sequence : bool
        Whether the first parameter is a list of arrays.

    Returns
    -------
    callable
        A decorator that returns an `Op` and registers it in `OPS` under the function's name.

    Raises
    ------
    ValueError
        If another module has registered that name.

    Examples
    --------
    >>> import numpy as np
    >>> import tinygrad_cnn as tg
    >>> @tg.op(formula="x³", elementwise=True)
    ... def cube(x):
    ...     return x * x * x
    >>> @cube.derivative("x", formula="g·3x²")
    ... def _(g, *, x):
    ...     return g * (3 * x * x)
    >>> x = tg.Tensor(2.0, requires_grad=True)
    >>> tg.grad(cube(x), x)[0].item()
    12.0
    >>> del tg.OPS["cube"]
    """

    def declare(forward: Callable[P, Any]) -> Op[P]:
        made = Op(
            forward,
            formula=formula,
            latex=latex,
            equation=equation,
            elementwise=elementwise,
            complex_step=complex_step,
            sequence=sequence,
        )
        earlier = OPS.get(made.name)
        if earlier is not None and earlier.__module__ != made.__module__:
            raise ValueError(f"op {made.name} exists already, in {earlier.__module__}")
        OPS[made.name] = made
        return made

    return declare


def _saved_argument(i: int, values: list[Any], arrays: list[Any], y: Any) -> Any:
    """Read the argument at `i`: the Tensor where it is one, else an array nobody can write to."""
    value, array = values[i], arrays[i]
    if isinstance(value, Variable):
        return value if array is value.array else array
    if isinstance(value, np.ndarray) and array is value:
        return array.copy()
    return array


def _call_by_name(
    function: Callable[..., Any], reader: Callable[[str], Reader], arrays: list[Any], y: Any
) -> Any:
    """Call `function` with what its parameters name."""
    names = inspect.signature(function).parameters
    return function(**{name: reader(name)(arrays, arrays, y) for name in names})


def _leaf_beneath(y: np.ndarray[Any, Any], operands: list[Any]) -> Variable | None:
    """Return the leaf whose memory `y` is a view of, if there is one."""
    if y.base is None:
        return None
    for value in operands:
        if isinstance(value, Variable):
            leaf = value if value.node is None else value.origin
            if leaf is not None and np.may_share_memory(y, leaf.array):
                return leaf
    return None
