"""Captured calls as Python expressions, and the functions and arrays that these use."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping
from itertools import count
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn.capture import CaptureError, Instruction, Operand, Origin, Size
from tinygrad_cnn.core.op import Op
from tinygrad_cnn.deployment import numpy_ops, numpy_windows  # noqa: F401  # declare sources
from tinygrad_cnn.deployment.source import GIVEN, SOURCES, FunctionSource, of_op, resolved
from tinygrad_cnn.ops.shape import reshape
from tinygrad_cnn.support.nested import parts

__all__ = ["FEWEST", "Expressions", "is_number_of_images"]

FEWEST = 2
"""The images of the captured run; another run has one more."""
UNPACKING = (".reshape", ".transpose")
"""The methods of arrays that take the numbers of a tuple as arguments."""


class Expressions:
    """Writes the calls of a program as expressions.

    Parameters
    ----------
    calls : iterable of Instruction

    Attributes
    ----------
    variables : dict of Operand to str
        The variable that has each value; the caller sets it.
    arrays : dict of str to ndarray
        Those that expressions have used.
    counts_images : bool
        Whether one has used ``N``, the number of images.

    Raises
    ------
    CaptureError
        If ops have no NumPy source.
    """

    def __init__(self, calls: Iterable[Instruction]) -> None:
        self.variables: dict[Operand, str] = {}
        self.arrays: dict[str, NDArray[Any]] = {}
        self.counts_images = False
        by_op: dict[str, list[Instruction]] = {}
        for call in calls:
            call.arguments = {n: _simplest(call, n, v) for n, v in call.arguments.items()}
            by_op.setdefault(call.name, []).append(call)
        self._sources = _sources(by_op)
        self._shared = {
            name: source.knowing([_known(call, source) for call in by_op[name]])
            for name, source in self._sources.items()
        }
        self._defined: dict[str, FunctionSource] = {}

    def of(self, call: Instruction, inner: Mapping[Operand, ast.expr] | None = None) -> ast.expr:
        """Return a call of an op, or its formula; with the expressions of operands in `inner`."""

        def node(parameter: str, value: Any) -> ast.expr:
            if isinstance(value, Operand):
                return (inner or {}).get(value) or self._operand(value, parameter, call.scope)
            if isinstance(value, list):
                return ast.List([node(f"{parameter}{i}", each) for i, each in enumerate(value)])
            return self._literal(value, parameter, call.scope)

        arguments = call.arguments
        if isinstance(call.op, np.ufunc):
            function = ast.parse(f"np.{call.name}", mode="eval").body
            return ast.Call(function, [node(name, value) for name, value in arguments.items()], [])
        source = self._sources[call.name]
        by_parameter = dict(zip(source.parameters, arguments.values(), strict=False))
        own = source.knowing([_known(call, source)])
        formula = own.formula()
        if formula is not None:
            values = {name: node(name, by_parameter[name]) for name in own.parameters}
            return _Substitution(values).visit(formula)  # type: ignore[no-any-return]
        shared = self._defined.setdefault(call.name, self._shared[call.name])
        positional: list[ast.expr] = []
        keywords: list[ast.keyword] = []
        for name, default in shared.parameters.items():
            value = by_parameter[name]
            written = _argument(node(name, value))
            if default is None or (isinstance(value, Operand) and not keywords):
                positional.append(written)
            elif ast.unparse(written) != ast.unparse(default):
                keywords.append(ast.keyword(name, written))
        return ast.Call(ast.Name(shared.name), positional, keywords)

    def functions(self) -> tuple[list[str], dict[str, Any], set[str]]:
        """Return the definitions, those that others use first; the numbers; and the imports."""
        found: dict[str, FunctionSource] = {}
        numbers: dict[str, Any] = {}
        imports: set[str] = set()

        def add(source: FunctionSource) -> None:
            needed, constants, lines = resolved(source)
            for each in needed.values():
                if each.name != source.name and each.name not in found:
                    add(each)
            numbers.update(constants)
            imports.update(lines)
            earlier = found.setdefault(source.name, source)
            if earlier.text != source.text:
                raise CaptureError(f"two NumPy functions have the name {source.name}")

        for source in self._defined.values():
            add(source)
        return [source.text for source in found.values()], numbers, imports - {"import numpy as np"}

    # --- values ------------------------------------------------------------------------------

    def _operand(self, value: Operand, parameter: str, scope: str) -> ast.expr:
        if value in self.variables:
            return ast.Name(self.variables[value])
        if isinstance(value, Instruction) and is_number_of_images(value):
            return self._number_of_images(value)
        assert isinstance(value, Origin)
        if value.kind == "constant" and value.array.ndim == 0:
            return self._literal(value.array, parameter, scope)
        return self._array(value.array, parameter, value.scope or scope, value.name)

    def _number_of_images(self, call: Instruction) -> ast.expr:
        number = self._size(call.arguments["size"])
        if call.arguments["reciprocal"]:
            number = ast.parse(f"1 / max({ast.unparse(number)}, 1)", mode="eval").body
        if call.array.ndim:
            text = f"np.full({call.shape}, {ast.unparse(number)}, {call.dtype.name!r})"
            number = ast.parse(text, mode="eval").body
        return number

    def _size(self, size: Size) -> ast.expr:
        """Return a whole number that grows with the number of images."""
        self.counts_images = True
        times = size.values[-1] - size.values[0]
        more = size.values[0] - times * FEWEST
        sign = f" {'+' if more > 0 else '-'} {abs(more)}" if more else ""
        return ast.parse(f"{'' if times == 1 else f'{times} * '}N{sign}", mode="eval").body

    def _array(self, value: NDArray[Any], parameter: str, scope: str, name: str = "") -> ast.expr:
        """Put an array among those of the network, and return its item there."""
        name = name or ".".join(filter(None, [scope, parameter]))
        for number in count(1):
            free = name if number == 1 else f"{name}.{number}"
            if self.arrays.setdefault(free, value) is value:
                break
        return ast.Subscript(ast.Name("W"), ast.Constant(free))

    def _literal(self, value: Any, parameter: str, scope: str) -> ast.expr:
        """Return an option as an expression."""
        if isinstance(value, tuple | list):
            items = [self._literal(each, parameter, scope) for each in value]
            return ast.Tuple(items) if isinstance(value, tuple) else ast.List(items)
        if isinstance(value, slice):
            low, high, step = (
                None if part is None else self._literal(part, parameter, scope)
                for part in (value.start, value.stop, value.step)
            )
            return ast.Slice(low, high, step)
        if isinstance(value, Size):
            return self._size(value)
        if isinstance(value, Operand):
            return self._operand(value, parameter, scope)
        if isinstance(value, np.ndarray) and value.ndim:
            return self._array(value, parameter, scope)
        if isinstance(value, np.ndarray | np.generic):
            kind = value.dtype.kind
            value = float(str(value)) if kind == "f" else value.item()  # the shortest text
        if isinstance(value, np.dtype) or (
            isinstance(value, type) and issubclass(value, np.generic)
        ):
            return ast.Constant(np.dtype(value).name)
        if isinstance(value, float) and not np.isfinite(value):
            text = "np.nan" if value != value else "np.inf" if value > 0 else "-np.inf"
            return ast.parse(text, mode="eval").body
        if value is None or value is Ellipsis or isinstance(value, bool | int | float | str):
            return ast.parse(repr(value), mode="eval").body  # a negative number has an operator
        raise CaptureError(
            f"{parameter} is {type(value).__name__}, which the source cannot express"
        )


class _Substitution(ast.NodeTransformer):
    """Puts expressions in the place of names."""

    def __init__(self, values: Mapping[str, ast.expr]) -> None:
        self.values = values

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return self.values.get(node.id, node)

    def visit_Call(self, node: ast.Call) -> ast.expr:
        """Return ``x.reshape(N, 400)`` for ``x.reshape((N, 400))``."""
        self.generic_visit(node)
        given = node.args[0] if len(node.args) == 1 else None
        if isinstance(given, ast.Tuple) and ast.unparse(node.func).endswith(UNPACKING):
            node.args = given.elts or [given]
        return node


def is_number_of_images(call: Instruction) -> bool:
    """Return whether a call stands for a number that varies with the number of images."""
    return call.op == "size"


def _sources(by_op: Mapping[str, list[Instruction]]) -> dict[str, FunctionSource]:
    """Return the source of each op, for all its calls."""
    found, refused = {}, []
    for name, calls in by_op.items():
        op = calls[0].op
        try:
            if isinstance(op, Op):
                found[name] = of_op(op)
            elif isinstance(op, str):
                found[name] = FunctionSource.of(SOURCES[op])
        except TypeError as error:
            refused.append(f"{error} (called in {calls[0].scope or 'the model'})")
    if refused:
        raise CaptureError("; ".join(refused))
    return found


def _known(call: Instruction, source: FunctionSource) -> dict[str, Any]:
    """Return what is known of the arguments of a call, by parameter of the source."""
    known: dict[str, Any] = {}
    for parameter, value in zip(source.parameters, call.arguments.values(), strict=False):
        if next(parts(value, Operand), None) is not None:
            known[parameter] = GIVEN
        elif not isinstance(value, np.ndarray) and next(parts(value, Size), None) is None:
            known[parameter] = value
    return known


def _simplest(call: Instruction, name: str, value: Any) -> Any:
    """Return one number for equal ones, such as those of a stride; a shape without −1."""
    if not isinstance(call.op, Op):
        return value
    if call.op is reshape and name == "shape" and call.sizes is not None:
        return call.sizes  # also of an empty batch, for which −1 is undefined
    annotation = str(call.op.signature.parameters[name].annotation)
    if annotation.startswith(("Pair", "Padding")) and isinstance(value, tuple | list):
        first, *others = np.ravel(value).tolist()
        return value if any(each != first for each in others) else first
    return value


def _argument(expression: ast.expr) -> ast.expr:
    """Return an expression as an argument: an index with slices as ``np.s_[1:, 0]``."""
    if any(isinstance(node, ast.Slice) for node in _outside_of_items(expression)):
        return ast.Subscript(ast.parse("np.s_", mode="eval").body, expression)
    return expression


def _outside_of_items(expression: ast.expr) -> list[ast.expr]:
    return [expression, *(expression.elts if isinstance(expression, ast.Tuple) else [])]
