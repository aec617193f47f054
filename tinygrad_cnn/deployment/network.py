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

from tinygrad_cnn.capture import CaptureError, Instruction, Operand, Origin, Program, captured
from tinygrad_cnn.core.op import Op
from tinygrad_cnn.core.recording import no_grad
from tinygrad_cnn.deployment.source import GIVEN, Source, of_op, resolved
from tinygrad_cnn.nn import Module

__all__ = ["Network", "network_source"]

WIDTH = 100
INDENT = "    "
BATCHES = (2, 3)
"""The batches that are captured: what differs between them depends on the number of images."""
DEPTH = 2
"""Modules down to this depth have a block of lines."""


@dataclass(frozen=True)
class Network:
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


@dataclass(frozen=True)
class _Count:
    """A number that depends on the number of images N: ``times · N + more``."""

    times: int
    more: int


def network_source(model: Module, input_shape: tuple[int, ...]) -> Network:
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
    image = rng.standard_normal((max(BATCHES), *input_shape)).astype(np.float32)
    named = chain(model.named_parameters(), model.named_buffers())
    names = {id(array._array): name for name, array in named}
    with no_grad():
        programs = [_folded(captured(model, {"x": image[:n]}, names)) for n in BATCHES]
    network = _Writer(*programs).network()
    for program in programs:
        _check(network, program)
    return network


def _check(network: Network, program: Program) -> None:
    """Raise CaptureError if the source computes something else."""
    expected = program.outputs[0].array
    try:
        came = network.run(program.inputs[0].array)
    except Exception as error:
        raise CaptureError(
            f"the NumPy source of an op fails: {type(error).__name__}: {error}"
        ) from error
    size = float(np.abs(expected).max(initial=1.0))
    if came.shape != expected.shape or not np.allclose(came, expected, 1e-3, 1e-4 * size, True):
        raise CaptureError("the NumPy source of the model does not return what the model does")


def _folded(program: Program) -> Program:
    """Return the program without calls of constants only, and without calls that are not needed."""
    calls: list[Instruction] = []
    replaced: dict[int, Operand] = {}

    def current(argument: Any) -> Any:
        if isinstance(argument, list):
            return [current(each) for each in argument]
        return replaced.get(id(argument), argument)

    for call in program.calls:
        arguments = {name: current(argument) for name, argument in call.arguments.items()}
        new = Instruction(call.array, call.op, arguments, call.scope)
        fixed = all(isinstance(o, Origin) and o.kind != "input" for o in new.operands())
        if fixed:
            replaced[id(call)] = Origin(call.array, "constant", call.name, call.scope)
        else:
            replaced[id(call)] = new
            calls.append(new)
    outputs = [current(output) for output in program.outputs]
    return Program(program.inputs, calls, outputs).without_dead_calls()


class _Writer:
    """Writes the source of a program, which was captured for two batches."""

    def __init__(self, program: Program, other: Program) -> None:
        if len(program.inputs) != 1 or len(program.outputs) != 1:
            raise CaptureError(
                f"the model has {len(program.outputs)} outputs, expected 1: a Tensor of logits"
            )
        pairs = [*zip(program.calls, other.calls, strict=False)]
        if len(program.calls) != len(other.calls) or any(a.name != b.name for a, b in pairs):
            raise CaptureError("the model calls other ops for another number of images")
        self.program = program
        self.calls = {id(a): self._arguments(a, b) for a, b in pairs}
        self.sources = self._sources()
        self.arrays: dict[str, NDArray[Any]] = {}
        self.names: dict[int, str] = {}  # of arrays and variables, by id of the operand
        self.counts_images = False

    # --- what the calls have -----------------------------------------------------------------

    def _arguments(self, call: Instruction, other: Instruction) -> dict[str, Any]:
        return {
            name: _joined(call.name, value, other.arguments[name])
            for name, value in call.arguments.items()
        }

    def _sources(self) -> dict[str, Source]:
        """Return the source of each op, for all its calls."""
        ops = {call.name: call.op for call in self.program.calls}
        try:
            return {n: of_op(o) for n, o in ops.items() if isinstance(o, Op)}
        except TypeError as error:
            raise CaptureError(str(error)) from error

    def _known(self, call: Instruction, source: Source) -> dict[str, Any]:
        """Return what is known of the arguments of a call, by parameter of the source."""
        known: dict[str, Any] = {}
        for parameter, value in zip(source.parameters, self.calls[id(call)].values(), strict=False):
            if isinstance(value, Operand) or (isinstance(value, list) and call.op.sequence):
                known[parameter] = GIVEN
            elif not isinstance(value, np.ndarray) and not _counts(value):
                known[parameter] = value
        return known

    # --- the lines ---------------------------------------------------------------------------

    def network(self) -> Network:
        """Return the source."""
        body = self._body()
        if self.counts_images:
            body.insert(0, f"{INDENT}N = len(x)")
        functions, numbers, imports = self._functions()
        lines = [f"{name} = {value!r}" for name, value in numbers.items()]
        return Network([*lines, *functions], body, self.arrays, imports)

    def _functions(self) -> tuple[list[str], dict[str, Any], set[str]]:
        """Return the definitions, those that others use first."""
        found: dict[str, Source] = {}
        numbers: dict[str, Any] = {}
        imports: set[str] = set()

        def add(source: Source) -> None:
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
        by_op: dict[str, list[Instruction]] = {}
        for call in calls:
            by_op.setdefault(call.name, []).append(call)
        self.shared = {
            name: source.knowing([self._known(call, source) for call in by_op[name]])
            for name, source in self.sources.items()
        }
        self.defined: dict[str, Source] = {}
        uses = Counter(id(o) for call in calls for o in call.operands())
        uses[id(self.program.outputs[0])] += 1
        targets = self._targets()
        rows: list[_Row] = []
        for call in calls:
            row = _Row(call, targets[id(call)])
            last = rows[-1] if rows else None
            inner = None
            if (
                last
                and uses[id(last.call)] == 1
                and last.call in call.operands()
                and _is_pointwise(call)
            ):
                inner = {id(last.call): last.value}
            row.value = self._expression(call, inner)
            if inner and len(row.text) <= WIDTH - 24:
                rows.pop()
            elif inner:
                row.value = self._expression(call)
            rows.append(row)
            self.names[id(call)] = row.target
        output = self.program.outputs[0]
        if not rows or rows[-1].call is not output:
            raise CaptureError("the last op of the model does not compute its output")
        rows[-1].target = ""
        return [*_blocks(rows)]

    def _targets(self) -> dict[int, str]:
        """Return the variable of each result: that of an operand which is needed no more."""
        last_use: dict[int, int] = {id(self.program.outputs[0]): len(self.program.calls)}
        for i, call in reversed([*enumerate(self.program.calls)]):
            for operand in call.operands():
                last_use.setdefault(id(operand), i)
        pool, order = _variables(), {}
        self.names[id(self.program.inputs[0])] = x = next(pool)
        order[x] = 0
        held, free, targets = {id(self.program.inputs[0]): x}, list[str](), {}
        for i, call in enumerate(self.program.calls):
            for operand in {id(o): o for o in call.operands()}:
                if operand in held and last_use[operand] == i:
                    free.append(held.pop(operand))
            if not free:
                free.append(next(pool))
                order[free[0]] = len(order)
            free.sort(key=order.__getitem__)
            held[id(call)] = targets[id(call)] = free.pop(0)
        return targets

    # --- expressions -------------------------------------------------------------------------

    def _expression(
        self, call: Instruction, inner: Mapping[int, ast.expr] | None = None
    ) -> ast.expr:
        """Return a call of an op, or its formula; with the expressions of operands in `inner`."""
        arguments = self.calls[id(call)]

        def node(parameter: str, value: Any) -> ast.expr:
            if isinstance(value, list):
                return ast.List([node(f"{parameter}{i}", each) for i, each in enumerate(value)])
            if isinstance(value, Operand):
                return (inner or {}).get(id(value)) or self._operand(value, parameter, call.scope)
            if isinstance(value, np.ndarray) and value.ndim:
                return self._array(value, parameter, call.scope)
            return self._literal(value, parameter, call.scope)

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
        if isinstance(value, Instruction) or (isinstance(value, Origin) and value.kind == "input"):
            return ast.Name(self.names[id(value)])
        assert isinstance(value, Origin)
        if value.kind == "constant" and value.array.ndim == 0:
            return self._literal(value.array, parameter, scope)
        if id(value) not in self.names:
            own = ".".join(filter(None, [value.scope or scope, value.name or parameter]))
            self.names[id(value)] = self._named(
                value.array, value.name if value.kind == "parameter" else own
            )
        return _item(self.names[id(value)])

    def _array(self, value: NDArray[Any], parameter: str, scope: str) -> ast.expr:
        return _item(self._named(value, ".".join(filter(None, [scope, parameter]))))

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
        if isinstance(value, _Count):
            self.counts_images = True
            times = "N" if value.times == 1 else f"{value.times} * N"
            sign = f" {'+' if value.more > 0 else '-'} {abs(value.more)}" if value.more else ""
            return ast.parse(times + sign, mode="eval").body
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

    def visit_Starred(self, node: ast.Starred) -> list[ast.expr]:
        """Return the parts of a tuple in place of ``*shape``."""
        value = self.visit(node.value)
        return value.elts if isinstance(value, ast.Tuple) else [value]


def _text(expression: ast.expr) -> str:
    """Return the text of an expression, with double quotes."""
    text = ast.unparse(ast.fix_missing_locations(expression))
    return text if '"' in text else text.replace("'", '"')


def _blocks(rows: list[_Row]) -> Iterator[str]:
    """Yield the lines, with a block for each module, and the shapes where they change."""
    containers = {
        scope.rpartition(".")[0] for scope in (row.call.scope for row in rows) if "." in scope
    }
    shape: tuple[int, ...] = ()
    before: str | None = None
    for row in rows:
        parts = row.call.scope.split(".")[:DEPTH]
        prefixes = [".".join(parts[:n]) for n in range(len(parts), 0, -1)]
        block = next(
            (p for p in prefixes if any(c == p or c.startswith(f"{p}.") for c in containers)), ""
        )
        if before is not None and block != before:
            yield ""
            if block:
                yield f"{INDENT}# {block}"
        elif before is None and block:
            yield f"{INDENT}# {block}"
        before = block
        text = row.text
        if row.call.shape != shape:
            shape = row.call.shape
            comment = f"  # ({', '.join(['N', *map(str, shape[1:])])})"
            text += comment if len(text) + len(comment) <= WIDTH else ""
        yield text


def _variables() -> Iterator[str]:
    """Yield the names of variables."""
    return chain(["x", "h"], (f"h{i}" for i in count(1)))


def _is_pointwise(call: Instruction) -> bool:
    return not isinstance(call.op, Op) or call.op.elementwise


def _item(name: str) -> ast.expr:
    return ast.Subscript(ast.Name("W"), ast.Constant(name))


def _counts(value: Any) -> bool:
    """Return whether an option depends on the number of images."""
    return "_Count(" in repr(value)


def _joined(name: str, value: Any, other: Any) -> Any:
    """Return an argument for any number of images, from those for the two batches."""
    if isinstance(value, Instruction) or (isinstance(value, Origin) and value.kind == "input"):
        return value
    if isinstance(value, Origin):
        if not isinstance(other, Origin) or not _same(value.array, other.array):
            raise CaptureError(f"{name} gets an array that depends on the number of images")
        return value
    if isinstance(value, tuple | list) and len(value) == len(other):
        return type(value)(_joined(name, *pair) for pair in zip(value, other, strict=True))
    if isinstance(value, slice):
        parts = ("start", "stop", "step")
        return slice(*(_joined(name, getattr(value, p), getattr(other, p)) for p in parts))
    if isinstance(value, int | np.integer) and not isinstance(value, bool) and value != other:
        times = int(other) - int(value)
        return _Count(times, int(value) - times * BATCHES[0])
    if not _same(value, other):
        raise CaptureError(f"{name} gets {value!r}, which depends on the number of images")
    return value


def _same(value: Any, other: Any) -> bool:
    if isinstance(value, np.ndarray):
        return isinstance(other, np.ndarray) and np.array_equal(
            value, other, value.dtype.kind in "fc"
        )
    return bool(value is other or value == other)
