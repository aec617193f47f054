"""The source of a network as a function of NumPy arrays, from a captured program."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain, count
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn.capture import (
    CaptureError,
    Instruction,
    Operand,
    Origin,
    Program,
    Size,
    captured,
    compared,
    folded,
    parts,
)
from tinygrad_cnn.core.op import Op
from tinygrad_cnn.deployment import numpy_ops  # noqa: F401  # declares the sources of ops
from tinygrad_cnn.deployment.source import GIVEN, FunctionSource, of_op, resolved
from tinygrad_cnn.nn import Module
from tinygrad_cnn.train.evaluation import in_mode

__all__ = ["NumpyNetwork", "network_source"]

WIDTH = 100
INDENT = "    "
BATCHES = (2, 2, 3)
"""The batches that are captured: see `tinygrad_cnn.capture.compared`."""
UNPACKING = (".reshape", ".transpose")
"""The methods of arrays that take the numbers of a tuple as arguments."""
DEPTH = 2
"""Modules down to this depth have a block of lines."""


@dataclass(frozen=True)
class NumpyNetwork:
    """The source of a network.

    Attributes
    ----------
    functions : list of str
        The definitions that it uses.
    body : list of str
        The lines of a function of ``x`` that returns the output, with ``W["conv1.weight"]`` for an
        array.
    arrays : dict of str to ndarray
    imports : set of str
        Lines, beside that of NumPy.
    """

    functions: list[str]
    body: list[str]
    arrays: dict[str, NDArray[Any]]
    imports: set[str] = field(default_factory=set)

    def run(self, x: NDArray[Any]) -> NDArray[Any]:
        """Compute the output."""
        lines = [*sorted(self.imports), *self.functions, "def network(x):", *self.body]
        scope: dict[str, Any] = {"np": np, "W": self.arrays}
        exec(compile("\n".join(lines), "<network>", "exec"), scope)
        output: NDArray[Any] = scope["network"](x)
        return output


def network_source(model: Module, input_shape: tuple[int, ...]) -> NumpyNetwork:
    """Return the source of a model in eval mode, for batches of any size.

    Parameters
    ----------
    model : Module
        With one output.
    input_shape : tuple of int
        Of one example.

    Raises
    ------
    CaptureError
        If an op has no NumPy source, or the model reads values or depends on the number of images
        in a way that the source cannot express.
    """
    rng = np.random.default_rng(0)
    batches = [rng.standard_normal((n, *input_shape)).astype(np.float32) for n in BATCHES]
    names = {id(tensor._array): name for name, tensor in model._named_tensors()}
    with in_mode(model, training=False):
        programs = [captured(model, {"x": batch}, names) for batch in batches]
    outputs = [program.outputs[0].array for program in programs]
    network = _Writer(folded(compared(programs))).network()
    for batch, output in zip(batches, outputs, strict=True):
        _check(network, batch, output)
    return network


def _check(network: NumpyNetwork, x: NDArray[Any], expected: NDArray[Any]) -> None:
    """Raise CaptureError if the source computes something else."""
    try:
        came = network.run(x)
    except Exception as error:
        raise CaptureError(
            f"the NumPy source of an op fails: {type(error).__name__}: {error}"
        ) from error
    size = float(np.abs(expected).max(initial=1.0))
    if came.shape != expected.shape or not np.allclose(came, expected, 1e-3, 1e-4 * size, True):
        raise CaptureError("the NumPy source of the model does not return what the model does")


class _Writer:
    """Writes the source of a program."""

    def __init__(self, program: Program) -> None:
        if len(program.inputs) != 1 or len(program.outputs) != 1:
            raise CaptureError(
                f"the model has {len(program.outputs)} outputs, expected 1: a Tensor of logits"
            )
        self.program = program
        self.calls: dict[str, list[Instruction]] = {}
        for call in program.calls:
            call.arguments = {n: _simplest(call, n, v) for n, v in call.arguments.items()}
            self.calls.setdefault(call.name, []).append(call)
        self.sources = self._sources()
        self.shared = {
            name: source.knowing([self._known(call, source) for call in self.calls[name]])
            for name, source in self.sources.items()
        }
        self.defined: dict[str, FunctionSource] = {}
        self.arrays: dict[str, NDArray[Any]] = {}
        self.names: dict[Operand, str] = {}  # of the variables
        self.counts_images = False

    # --- what the calls have -----------------------------------------------------------------

    def _sources(self) -> dict[str, FunctionSource]:
        """Return the source of each op, for all its calls."""
        found, refused = {}, []
        for name, calls in self.calls.items():
            op = calls[0].op
            try:
                if isinstance(op, Op):
                    found[name] = of_op(op)
            except TypeError as error:
                refused.append(f"{error} (called in {calls[0].scope or 'the model'})")
        if refused:
            raise CaptureError("; ".join(refused))
        return found

    def _known(self, call: Instruction, source: FunctionSource) -> dict[str, Any]:
        """Return what is known of the arguments of a call, by parameter of the source."""
        known: dict[str, Any] = {}
        for parameter, value in zip(source.parameters, call.arguments.values(), strict=False):
            if next(parts(value, Operand), None) is not None:
                known[parameter] = GIVEN
            elif not isinstance(value, np.ndarray) and next(parts(value, Size), None) is None:
                known[parameter] = value
        return known

    # --- the lines ---------------------------------------------------------------------------

    def network(self) -> NumpyNetwork:
        """Return the source."""
        body = self._body()
        if self.counts_images:
            body.insert(0, f"{INDENT}N = len(x)")
        functions, numbers, imports = self._functions()
        lines = [f"{name} = {value!r}" for name, value in numbers.items()]
        return NumpyNetwork([*lines, *functions], body, self.arrays, imports)

    def _functions(self) -> tuple[list[str], dict[str, Any], set[str]]:
        """Return the definitions, those that others use first."""
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

        for source in self.defined.values():
            add(source)
        return [source.text for source in found.values()], numbers, imports - {"import numpy as np"}

    def _body(self) -> list[str]:
        calls = self.program.calls
        uses = Counter(operand for call in calls for operand in call.operands())
        uses.update(self.program.outputs)
        targets = self._targets()
        rows: list[_Row] = []
        for call in calls:
            row = _Row(call, targets[call])
            last = rows[-1] if rows else None
            inner: dict[Operand, ast.expr] = {}
            if (
                last
                and uses[last.call] == 1
                and last.call in call.operands()
                and _is_pointwise(call)
            ):
                inner = {last.call: last.value}
            row.value = self._expression(call, inner)
            if inner and len(row.text) <= WIDTH - 24:
                rows.pop()
            elif inner:
                row.value = self._expression(call)
            rows.append(row)
            self.names[call] = row.target
        output = self.program.outputs[0]
        if not rows or rows[-1].call is not output:
            raise CaptureError("the last op of the model does not compute its output")
        rows[-1].target = ""
        return [*_blocks(rows)]

    def _targets(self) -> dict[Operand, str]:
        """Return the variable of each result: that of an operand which is needed no more."""
        calls = self.program.calls
        last_use: dict[Operand, int] = {output: len(calls) for output in self.program.outputs}
        for i, call in reversed([*enumerate(calls)]):
            for operand in call.operands():
                last_use.setdefault(operand, i)
        pool = chain(["x", "h"], (f"h{i}" for i in count(1)))
        (x,) = self.program.inputs
        self.names[x] = next(pool)
        order = {self.names[x]: 0}
        held: dict[Operand, str] = {x: self.names[x]}
        free: list[str] = []
        targets: dict[Operand, str] = {}
        for i, call in enumerate(calls):
            for operand in call.operands():
                if operand in held and last_use[operand] == i:
                    free.append(held.pop(operand))
            if not free:
                free.append(next(pool))
                order[free[0]] = len(order)
            free.sort(key=order.__getitem__)
            held[call] = targets[call] = free.pop(0)
        return targets

    # --- expressions -------------------------------------------------------------------------

    def _expression(
        self, call: Instruction, inner: Mapping[Operand, ast.expr] | None = None
    ) -> ast.expr:
        """Return a call of an op, or its formula; with the expressions of operands in `inner`."""

        def node(parameter: str, value: Any) -> ast.expr:
            if isinstance(value, Operand):
                return (inner or {}).get(value) or self._operand(value, parameter, call.scope)
            if isinstance(value, list):
                return ast.List([node(f"{parameter}{i}", each) for i, each in enumerate(value)])
            return self._literal(value, parameter, call.scope)

        arguments = call.arguments
        if not isinstance(call.op, Op):
            function = ast.parse(f"np.{call.name}", mode="eval").body
            return ast.Call(function, [node(name, value) for name, value in arguments.items()], [])
        source = self.sources[call.name]
        by_parameter = dict(zip(source.parameters, arguments.values(), strict=False))
        own = source.knowing([self._known(call, source)])
        formula = own.formula()
        if formula is not None:
            values = {name: node(name, by_parameter[name]) for name in own.parameters}
            return _Substitution(values).visit(formula)  # type: ignore[no-any-return]
        shared = self.defined.setdefault(call.name, self.shared[call.name])
        positional: list[ast.expr] = []
        keywords: list[ast.keyword] = []
        for name, default in shared.parameters.items():
            value = by_parameter[name]
            written = node(name, value)
            if default is None or (isinstance(value, Operand) and not keywords):
                positional.append(written)
            elif ast.unparse(written) != ast.unparse(default):
                keywords.append(ast.keyword(name, written))
        return ast.Call(ast.Name(shared.name), positional, keywords)

    def _operand(self, value: Operand, parameter: str, scope: str) -> ast.expr:
        if value in self.names:
            return ast.Name(self.names[value])
        assert isinstance(value, Origin)
        if value.kind == "constant" and value.array.ndim == 0:
            return self._literal(value.array, parameter, scope)
        return self._array(value.array, parameter, value.scope or scope, value.name)

    def _array(self, value: NDArray[Any], parameter: str, scope: str, name: str = "") -> ast.expr:
        return _item(self._named(value, name or ".".join(filter(None, [scope, parameter]))))

    def _named(self, array: NDArray[Any], name: str) -> str:
        """Put an array among those of the network, and return its name there."""
        for number in count(1):
            free = name if number == 1 else f"{name}.{number}"
            if self.arrays.setdefault(free, array) is array:
                return free
        raise AssertionError

    def _literal(self, value: Any, parameter: str, scope: str) -> ast.expr:
        """Return an option as Python text."""
        if isinstance(value, tuple | list):
            parts = [self._literal(part, parameter, scope) for part in value]
            return ast.Tuple(parts) if isinstance(value, tuple) else ast.List(parts)
        if isinstance(value, slice):
            low, high, step = (
                None if part is None else self._literal(part, parameter, scope)
                for part in (value.start, value.stop, value.step)
            )
            return ast.Slice(low, high, step)
        if isinstance(value, Size):
            self.counts_images = True
            times = value.values[-1] - value.values[0]  # for one more image
            more = value.values[0] - times * BATCHES[0]
            sign = f" {'+' if more > 0 else '-'} {abs(more)}" if more else ""
            return ast.parse(f"{'' if times == 1 else f'{times} * '}N{sign}", mode="eval").body
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
            return ast.Constant(value)
        raise CaptureError(
            f"{parameter} is {type(value).__name__}, which the source cannot express"
        )


@dataclass
class _Row:
    """A line ``target = value``; ``return value`` without a target."""

    call: Instruction
    target: str
    value: ast.expr = field(default_factory=lambda: ast.Constant(None))

    @property
    def text(self) -> str:
        start = f"{self.target} =" if self.target else "return"
        return f"{INDENT}{start} {_text(self.value)}"


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


def _text(expression: ast.expr) -> str:
    """Return the text of an expression, with double quotes."""
    text = ast.unparse(ast.fix_missing_locations(expression))
    return text if '"' in text else text.replace("'", '"')


def _blocks(rows: list[_Row]) -> Iterator[str]:
    """Yield the lines, with a block for each module, and the shapes where they change."""
    scopes = {row.call.scope for row in rows}
    containers = {scope.rpartition(".")[0] for scope in scopes if "." in scope}
    blocks = [_block(row.call.scope, containers) for row in rows]
    last = {block: i for i, block in enumerate(blocks)}
    shape: tuple[int, ...] = ()
    before = ""
    for i, (row, block) in enumerate(zip(rows, blocks, strict=True)):
        if not block and last.get(before, 0) > i:
            block = before
        if block != before:
            if i:
                yield ""
            if block:
                yield f"{INDENT}# {block}"
        before = block
        text = row.text
        if row.call.shape != shape:
            shape = row.call.shape
            comment = f"  # ({', '.join(['N', *map(str, shape[1:])])})"
            text += comment if len(text) + len(comment) <= WIDTH else ""
        yield text


def _block(scope: str, containers: set[str]) -> str:
    """Return the module, at most `DEPTH` below the model, that has a line of this scope."""
    parts = scope.split(".")[:DEPTH]
    names = [".".join(parts[:n]) for n in range(len(parts), 0, -1)]
    inside = (n for n in names if any(c == n or c.startswith(f"{n}.") for c in containers))
    return next(inside, "")


def _simplest(call: Instruction, name: str, value: Any) -> Any:
    """Return one number for a pair of equal ones, such as a stride."""
    if isinstance(call.op, Op):
        annotation = str(call.op.signature.parameters[name].annotation)
        while annotation.startswith(("Pair", "Padding")) and isinstance(value, tuple | list):
            if any(part != value[0] for part in value):
                break
            value = value[0]
    return value


def _is_pointwise(call: Instruction) -> bool:
    return not isinstance(call.op, Op) or call.op.elementwise


def _item(name: str) -> ast.expr:
    return ast.Subscript(ast.Name("W"), ast.Constant(name))
