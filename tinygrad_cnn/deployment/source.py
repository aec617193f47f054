"""The source of NumPy functions, cut down to what the calls of a program need."""

from __future__ import annotations

import ast
import inspect
import math
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import CodeType, FunctionType, ModuleType
from typing import Any, TypeVar

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from tinygrad_cnn.core.op import OPS, Op
from tinygrad_cnn.deployment.unwritten import UNWRITTEN

__all__ = ["GIVEN", "SOURCES", "FunctionSource", "numpy_source"]

F = TypeVar("F", bound=Callable[..., Any])

GIVEN = object()
"""What is known of an array: that it is not None."""

SOURCES: dict[str, Callable[..., Any]] = {}
"""The NumPy function of each op, by the op's name: see `numpy_source`."""

PLAIN = (
    ast.BinOp, ast.UnaryOp, ast.Subscript, ast.Attribute, ast.Call, ast.Name, ast.keyword,
    ast.operator, ast.unaryop, ast.expr_context, ast.Constant,
)  # fmt: skip
"""The parts of a formula."""

WRITTEN = "tinygrad_cnn.deployment.numpy_"
"""The modules of this package whose functions programs may have."""

IMPORTS: dict[Any, str] = {
    np: "import numpy as np",
    math: "import math",
    sliding_window_view: "from numpy.lib.stride_tricks import sliding_window_view",
}


def numpy_source(op: Op[..., Any] | str) -> Callable[[F], F]:
    """Declare the NumPy function that stands for an op in NumPy programs.

    An op whose forward is plain NumPy needs none: the program has the source of its forward. The
    function takes the arguments of the op in the same order, perhaps under other names. It uses
    NumPy, the module `math` and other plain functions and numbers of its file. Of an ``if`` that
    only depends on options that all calls of a program share, or on whether an array is None, the
    program has the branch that is taken.

    Examples
    --------
    >>> import numpy as np
    >>> import tinygrad_cnn as tg
    >>> @tg.deployment.numpy_source("floor")
    ... def floor(x):
    ...     return np.floor(x)
    """

    def declare(function: F) -> F:
        SOURCES[op if isinstance(op, str) else op.name] = function
        return function

    return declare


@dataclass(frozen=True)
class FunctionSource:
    """The source of a function.

    Attributes
    ----------
    name : str
    text : str
        With its signature, without decorators.
    namespace : dict
        The globals that the function sees.
    """

    name: str
    text: str
    namespace: Mapping[str, Any]

    @classmethod
    def of(cls, function: Callable[..., Any]) -> FunctionSource:
        """Return the source of a function; OSError or TypeError if there is none."""
        function = inspect.unwrap(function)
        if not isinstance(function, FunctionType):
            raise TypeError(f"{function!r} is not a Python function")
        text = textwrap.dedent("".join(inspect.getsourcelines(function)[0]))
        (definition,) = ast.parse(text).body
        if not isinstance(definition, ast.FunctionDef):
            raise TypeError(f"{function.__qualname__} is not a function with a name")
        lines = text.splitlines()[definition.lineno - 1 :]  # without decorators
        known = function.__globals__
        namespace = {name: known[name] for name in _names(function.__code__) if name in known}
        namespace |= inspect.getclosurevars(function).nonlocals
        return cls(definition.name, "\n".join(lines), namespace).tidied()

    @property
    def definition(self) -> ast.FunctionDef:
        """The parsed text."""
        (found,) = ast.parse(self.text).body
        assert isinstance(found, ast.FunctionDef)
        return found

    @property
    def parameters(self) -> dict[str, ast.expr | None]:
        """The parameters with their defaults."""
        arguments = self.definition.args
        each = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
        first: list[ast.expr | None] = [None] * (len(each) - len(arguments.kwonlyargs))
        if arguments.defaults:
            first[-len(arguments.defaults) :] = arguments.defaults
        defaults = [*first, *arguments.kw_defaults]
        return {each.arg: default for each, default in zip(each, defaults, strict=True)}

    @property
    def names(self) -> set[str]:
        """The names that the body reads."""
        body = ast.Module(self.definition.body, [])
        return {node.id for node in ast.walk(body) if isinstance(node, ast.Name)}

    def reads(self, parameter: str) -> bool:
        """Return whether the body reads a parameter, rather than assigns to it first."""
        definition = self.definition
        nodes = [n for n in ast.walk(definition) if isinstance(n, ast.Name)]
        own = [n for n in nodes if n.id == parameter]
        replaced = [
            (statement.lineno, statement.end_lineno)
            for statement in definition.body
            if isinstance(statement, ast.Assign) and any(n in statement.targets for n in own)
        ]
        if not own or not replaced:
            return bool(own)
        first, last = replaced[0]
        return any(n.lineno <= (last or first) and isinstance(n.ctx, ast.Load) for n in own)

    def uses(self) -> dict[str, Any]:
        """Return the globals that the body reads."""
        return {name: self.namespace[name] for name in sorted(self.names & self.namespace.keys())}

    def tidied(self) -> FunctionSource:
        """Return the source without annotations, with the first line of the docstring."""
        definition, lines = self.definition, self.text.splitlines()
        first = definition.body[0]
        body = lines[first.lineno - 1 :]
        said = ast.get_docstring(definition)
        if said is not None:
            assert first.end_lineno is not None
            body = lines[first.end_lineno :]
            body.insert(0, f'    """{said.splitlines()[0]}"""')
        elif first.lineno == definition.lineno:
            raise TypeError(f"{self.name} is written on one line, expected a body below")
        return FunctionSource(
            self.name, "\n".join([self._signature(self.parameters), *body]), self.namespace
        )

    def _signature(self, parameters: Mapping[str, ast.expr | None]) -> str:
        each = [n if d is None else f"{n}={ast.unparse(d)}" for n, d in parameters.items()]
        return f"def {self.name}({', '.join(each)}):"

    def knowing(self, calls: Sequence[Mapping[str, Any]]) -> FunctionSource:
        """Return the source for some calls, of which arguments are known: values, or `GIVEN`.

        A statement ``if`` that holds in all calls, or in none, gives way to its branch. A parameter
        that is then without use is left out, and so is the default of one that is always given.
        """
        lines = self.text.splitlines()
        for statement in reversed(self.definition.body):
            if not isinstance(statement, ast.If):
                continue
            results = {_decided(statement.test, known) for known in calls}
            if len(results) > 1 or None in results:
                continue
            (holds,) = results
            branch = statement.body if holds else statement.orelse
            end = statement.end_lineno
            if branch and isinstance(branch[-1], ast.Return | ast.Raise):
                end = len(lines)
            lines[statement.lineno - 1 : end] = _lines(lines, branch)
        shorter = FunctionSource(self.name, "\n".join(lines), self.namespace)
        kept = {
            name: None if all(known.get(name) is GIVEN for known in calls) else default
            for name, default in self.parameters.items()
            if shorter.reads(name)
        }
        ordered = dict(sorted(kept.items(), key=lambda item: item[1] is not None))
        body = shorter.text.splitlines()[1:]
        return FunctionSource(
            self.name, "\n".join([self._signature(ordered), *body]), self.namespace
        )

    def formula(self) -> ast.expr | None:
        """Return the expression of a function that is one operation on its parameters, or None.

        Such as ``x @ w.T + bias`` or ``np.concatenate(arrays, axis)``.
        """
        value = _returned(self.definition)
        if value is None or not _is_one_operation(value):
            return None
        names = [node.id for node in ast.walk(value) if isinstance(node, ast.Name)]
        each_once = all(names.count(name) == 1 for name in self.parameters)
        numpy = {name for name, value in self.uses().items() if value is np}
        return value if each_once and {*names} <= {*self.parameters} | numpy else None


def _names(code: CodeType) -> set[str]:
    """Return the global names, and those of attributes, in a function and in those inside it."""
    inner = (part for part in code.co_consts if isinstance(part, CodeType))
    return {*code.co_names}.union(*map(_names, inner))


def _returned(function: ast.FunctionDef) -> ast.expr | None:
    """Return what a function of one statement, ``return``, returns; None for another function."""
    body = function.body if ast.get_docstring(function) is None else function.body[1:]
    if len(body) == 1 and isinstance(body[0], ast.Return):
        return body[0].value
    return None


def _is_one_operation(value: ast.expr) -> bool:
    """Return whether an expression has operators or one call, and no numbers or texts."""
    nodes = [*ast.walk(value)]
    constants = [node.value for node in nodes if isinstance(node, ast.Constant)]
    return (
        all(isinstance(node, PLAIN) for node in nodes)
        and all(isinstance(constant, bool) for constant in constants)
        and sum(isinstance(node, ast.Call) for node in nodes) <= 1
        and not isinstance(value, ast.Name)
    )


def _decided(test: ast.expr, known: Mapping[str, Any]) -> bool | None:
    """Return whether a test holds, or None if that is not known."""
    names = {node.id for node in ast.walk(test) if isinstance(node, ast.Name)} - {
        "isinstance",
        "int",
        "str",
    }
    if not names <= known.keys():
        return None
    if any(known[name] is GIVEN for name in names):
        comparison = isinstance(test, ast.Compare) and isinstance(test.ops[0], ast.Is | ast.IsNot)
        if not comparison:
            return None
    expression = ast.fix_missing_locations(ast.Expression(test))
    return bool(eval(compile(expression, "<test>", "eval"), {}, dict(known)))


def _lines(lines: list[str], branch: list[ast.stmt]) -> list[str]:
    """Return the lines of a branch, one level to the left."""
    if not branch:
        return []
    return [line[4:] for line in lines[branch[0].lineno - 1 : branch[-1].end_lineno]]


def resolved(source: FunctionSource) -> tuple[dict[str, FunctionSource], dict[str, Any], set[str]]:
    """Return what a source needs: functions, numbers and imports.

    Raises
    ------
    TypeError
        If it uses something else.
    """
    functions: dict[str, FunctionSource] = {}
    numbers: dict[str, Any] = {}
    imports: set[str] = set()
    for name, value in source.uses().items():
        if (isinstance(value, ModuleType) or callable(value)) and value in IMPORTS:
            imports.add(IMPORTS[value])
        elif isinstance(value, bool | int | float | str | tuple):
            numbers[name] = value
        elif isinstance(value, Op):
            functions[name] = of_op(value)
        elif isinstance(value, FunctionType) and not _is_internal(value):
            functions[name] = FunctionSource.of(value)
        else:
            raise TypeError(f"it uses {name}")
    return functions, numbers, imports


def of_op(op: Op[..., Any]) -> FunctionSource:
    """Return the source of an op: its NumPy function, or else its forward.

    Raises
    ------
    TypeError
        If it has no NumPy function, and its forward is not plain NumPy; or it is `UNWRITTEN`.
    """
    declared = SOURCES.get(op.name)
    if declared is None and op.name in UNWRITTEN and OPS.get(op.name) is op:
        raise TypeError(f"{op.name} is not written: {UNWRITTEN[op.name]}")
    try:
        source = FunctionSource.of(op.forward if declared is None else declared)
        resolved(source)
    except (TypeError, OSError, SyntaxError) as error:
        raise TypeError(
            f"{op.name} has no NumPy source: {error}; declare one by "
            f"@tg.deployment.numpy_source({op.name!r})"
        ) from error
    return source


def _is_internal(function: FunctionType) -> bool:
    """Return whether a function is one of this package's that programs cannot have."""
    module = function.__module__
    return module.startswith("tinygrad_cnn.") and not module.startswith(WRITTEN)
