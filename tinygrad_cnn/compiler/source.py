"""The Python source of a step: one line an instruction, which calls forwards and rules directly."""

from __future__ import annotations

import inspect
import linecache
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from typing import Any
from weakref import finalize

import numpy as np

from tinygrad_cnn.compiler import replay
from tinygrad_cnn.compiler.naming import ValueNames
from tinygrad_cnn.compiler.program import (
    AddGradients,
    ConstantValue,
    Effect,
    ForwardCall,
    FunctionCall,
    GradientStore,
    InputValue,
    LeafValue,
    NumberValue,
    RuleCall,
    SharedCall,
    StepInstruction,
    StepProgram,
    StepValue,
    StoreGradient,
    StoreInputGradient,
    TapeCall,
    values_in,
)
from tinygrad_cnn.core.declaration import names_of
from tinygrad_cnn.core.op import Op
from tinygrad_cnn.core.tensor import Tensor
from tinygrad_cnn.core.variable import Variable
from tinygrad_cnn.ops.arithmetic import astype
from tinygrad_cnn.ops.shape import sum_to

SMALL = 1 << 10  # bytes: smaller arrays are left to the end of the function
_numbers = count(1)


@dataclass(slots=True)
class StepSource:
    """A step as a Python function.

    Attributes
    ----------
    text : str
    run : callable
        Takes the arrays of the inputs, then the Tensors of those whose gradient is stored; and
        returns what the step returns.
    file : str
        In tracebacks.
    instructions : dict of int to StepInstruction
        By line.
    """

    text: str
    run: Callable[..., Any]
    file: str
    instructions: dict[int, StepInstruction]


def source_of(
    program: StepProgram, returned: Any, name: str = "step", watch: Any = None
) -> StepSource:
    """Return the source of a program.

    Parameters
    ----------
    program : StepProgram
    returned : object
        What the function returned in the captured run: for the classes of Tensors.
    name : str
        The name of the function.
    watch : callable, optional
        ``watch(name, array)`` is called with each computed value.
    """
    writer = _Writer(program, watch)
    text = writer.write(name, returned)
    file = f"<compiled {name} {next(_numbers)}>"
    exec(compile(text, file, "exec"), writer.known)
    linecache.cache[file] = len(text), None, text.splitlines(keepends=True), file
    made = StepSource(text, writer.known[name], file, writer.instructions)
    finalize(made.run, linecache.cache.pop, file, None).atexit = False
    return made


class _Writer:
    """Writes the lines of one program."""

    def __init__(self, program: StepProgram, watch: Any) -> None:
        self._program, self._watch = program, watch
        self.known: dict[str, Any] = {}
        self.instructions: dict[int, StepInstruction] = {}
        self._lines: list[str] = []
        self._names = ValueNames()
        self._bound: dict[int, str] = {}
        self._objects: list[Any] = []
        self._loaded: set[LeafValue] = set()
        self._written: dict[StepValue, str] = {}
        for value in _all_values(program):
            self._written[value] = self._names.unique(value.name)

    def write(self, name: str, returned: Any) -> str:
        """Return the text of the function."""
        ends = self._last_uses()
        stored = [i.leaf for i in self._program.instructions if isinstance(i, StoreInputGradient)]
        parameters = [self._written[value] for value in self._program.inputs]
        parameters += [f"{self._written[value]}_tensor" for value in dict.fromkeys(stored)]
        self._names.unique(name)  # so that no op is bound to it
        self._lines.append(f"def {name}({', '.join(parameters)}):")
        is_locked = False
        for index, instruction in enumerate(self._program.instructions):
            self._load(instruction)
            is_store = isinstance(instruction, GradientStore)
            if is_store and not is_locked:
                self._line(f"with {self._bind('graph', replay.graph)}._accumulating:", instruction)
            is_locked = is_store
            for line in self._statements(instruction):
                self._line(f"    {line}" if is_store else line, instruction)
            if self._watch is not None:
                for value in instruction.results():
                    watching = self._bind("watch", self._watch)
                    self._line(f"{watching}({value.name!r}, {self._written[value]})", instruction)
            if type(instruction) is Effect or isinstance(instruction, TapeCall):
                self._loaded.clear()  # it may have replaced their arrays
            if ends[index]:
                line = f"del {', '.join(ends[index])}"
                self._line(f"    {line}" if is_store else line, None)
        for value in values_in(self._program.result):
            if isinstance(value, LeafValue):
                self._load_leaf(value, None)
        self._line(f"return {self._returned(self._program.result, returned)}", None)
        return "\n".join(self._lines) + "\n"

    def _line(self, text: str, instruction: StepInstruction | None) -> None:
        self._lines.append(f"    {text}")
        if instruction is not None:
            self.instructions[len(self._lines)] = instruction

    def _last_uses(self) -> list[list[str]]:
        """Return, for each instruction, the names of large values that it is the last to use."""
        instructions = self._program.instructions
        found: list[list[str]] = [[] for _ in instructions]
        seen = set(values_in(self._program.result))
        for index in reversed(range(len(instructions))):
            for value in [*instructions[index].reads(), *instructions[index].results()]:
                if value in seen or isinstance(value, InputValue | LeafValue | ConstantValue):
                    continue
                seen.add(value)
                if math.prod(value.shape) * value.dtype.itemsize >= SMALL:
                    found[index].append(self._written[value])
        return found

    # --- names -----------------------------------------------------------------------------------

    def _bind(self, label: str, value: Any) -> str:
        """Return a name of the function's globals for an object."""
        if id(value) not in self._bound:
            self._bound[id(value)] = name = self._names.unique(label)
            self.known[name] = value
            self._objects.append(value)
        return self._bound[id(value)]

    def _load(self, instruction: StepInstruction) -> None:
        for value in instruction.reads():
            if isinstance(value, LeafValue):
                self._load_leaf(value, instruction)

    def _load_leaf(self, value: LeafValue, instruction: StepInstruction | None) -> None:
        """Read the array of a leaf, unless it was read since the last effect."""
        if value not in self._loaded:
            self._loaded.add(value)
            self._line(f"{self._written[value]} = {self._tensor(value)}._array", instruction)

    def _tensor(self, leaf: LeafValue) -> str:
        return self._bind(f"{self._written[leaf]}_tensor", leaf.tensor)

    def _expression(self, value: Any, label: str = "option") -> str:
        """Return the expression of an argument."""
        if isinstance(value, StepValue):
            if isinstance(value, ConstantValue) and self._written[value] not in self.known:
                self.known[self._written[value]] = value.array
            return self._written[value]
        if next(values_in(value), None) is not None:
            if isinstance(value, dict):
                pairs = [f"{k!r}: {self._expression(v, label)}" for k, v in value.items()]
                return f"{{{', '.join(pairs)}}}"
            if isinstance(value, list):
                return f"[{', '.join([self._expression(v, label) for v in value])}]"
            if isinstance(value, slice):
                bounds = [value.start, value.stop, value.step]
                parts = ", ".join([self._expression(v, label) for v in bounds])
                return f"{self._bind('slice', slice)}({parts})"
            if hasattr(value, "_fields"):
                fields = ", ".join([self._expression(v, label) for v in value])
                return f"{self._bind(type(value).__name__, type(value))}({fields})"
            if isinstance(value, tuple):
                return f"({''.join([f'{self._expression(v, label)}, ' for v in value]).rstrip()})"
        if _is_literal(value):
            return repr(value)
        return self._bind(label, value)

    def _comment(self, value: StepValue, formula: str) -> str:
        dtype = "" if value.dtype == np.float32 else f"{value.dtype} "
        return f"  # {dtype}{value.shape}" + (f"  {formula}" if formula else "")

    # --- instructions ----------------------------------------------------------------------------

    def _statements(self, instruction: StepInstruction) -> Iterator[str]:
        if isinstance(instruction, ForwardCall):
            yield from self._forward(instruction)
        elif isinstance(instruction, SharedCall):
            function = instruction.call.op.intermediates[instruction.name]
            label = f"{instruction.call.op.name}_{instruction.name}"
            names = names_of(function)[1:]
            call = self._rule(instruction, label, function, names, {})
            targets = ", ".join([self._written[part] for part in instruction.parts])
            yield f"{targets}{',' if instruction.is_tuple else ''} = {call}"
        elif isinstance(instruction, RuleCall):
            yield self._rule_call(instruction)
        elif isinstance(instruction, AddGradients):
            left, right, total = map(
                self._expression, (instruction.left, instruction.right, instruction.result)
            )
            yield f"{total} = {left} + {right}{self._comment(instruction.result, '')}"
        elif isinstance(instruction, GradientStore):
            function = replay.store_copy if instruction.copies else replay.store
            tensor = (
                self._tensor(instruction.leaf)
                if isinstance(instruction, StoreGradient)
                else f"{self._written[instruction.leaf]}_tensor"
            )
            store = self._bind(function.__name__, function)
            yield f"{store}({tensor}, {self._expression(instruction.gradient)})"
        elif isinstance(instruction, Effect):
            yield self._effect(instruction)
        elif isinstance(instruction, TapeCall):
            arrays = ", ".join([self._expression(value) for value in instruction.inputs])
            targets = "".join([f"{self._written[value]}, " for value in instruction.outputs])
            tape = self._bind("tape", instruction.function)
            yield f"{targets.strip()}{' = ' if targets else ''}{tape}({arrays})"
        else:
            raise TypeError(f"no source for {type(instruction).__name__}")

    def _forward(self, call: ForwardCall) -> Iterator[str]:
        op, y = call.op, self._written[call.result]
        values = list(call.arguments.values())
        while not op.guarded and len(values) > 1 and _is_default(op, values):
            values.pop()
        given = [self._expression(value, op.name) for value in values]
        comment = self._comment(call.result, op.formula)
        if op.guarded:
            shared = ", shared" if call.shared else ""
            if shared:
                yield "shared = {}"
            computed = self._bind(op.name, op.compute)
            array = self._bind("asarray", np.asarray)
            yield f"{y} = {array}({computed}([{', '.join(given)}]{shared})){comment}"
            for name, part in call.shared.items():
                yield f"{self._written[part]} = shared[{name!r}]"
        elif op in (astype, sum_to) and _kind(call.arguments["x"]) not in "fd":
            yield f"{y} = {self._bind(op.name, op)}({', '.join(given)}){comment}"
        else:
            asked = {}
            for name, function, _ in op.to_compute:
                if name in call.shared or name in op.asked:
                    asked[name] = self._intermediate(call, name)
                    yield f"{asked[name]} = {self._intermediate_call(call, name, function, asked)}"
            given += [f"{name}={asked[name]}" for name in op.asked]
            text = f"{self._bind(op.name, op.forward)}({', '.join(given)})"
            if call.is_number:
                text = f"{self._bind('asarray', np.asarray)}({text})"
            yield f"{y} = {text}{comment}"
        for name, kept in call.residuals().items():
            function = op.residuals[name]
            read = [self._named(call, each) for each in inspect.signature(function).parameters]
            bound = self._bind(f"{op.name}_{name}", function)
            yield f"{self._written[kept]} = {bound}({', '.join(read)})"

    def _intermediate(self, call: ForwardCall, name: str) -> str:
        if name in call.shared:
            return self._written[call.shared[name]]
        return f"{self._written[call.result]}_{name}"

    def _intermediate_call(
        self, call: ForwardCall, name: str, function: Any, known: dict[str, str]
    ) -> str:
        read = [known.get(each) or self._named(call, each) for each in names_of(function)]
        text = f"{self._bind(f'{call.op.name}_{name}', function)}({', '.join(read)})"
        value = call.shared.get(name)
        is_array = value is not None and value.shape
        return text if is_array else f"{self._bind('asarray', np.asarray)}({text})"

    def _named(self, call: ForwardCall, name: str) -> str:
        value = call.named(name)
        return self._expression(value, f"{call.op.name}_{name}")

    def _rule(
        self,
        instruction: SharedCall | RuleCall,
        label: str,
        function: Any,
        names: tuple[str, ...],
        shared: dict[str, SharedCall],
    ) -> str:
        """Return the call of a rule, or of an intermediate of the gradient."""
        call = instruction.call
        read = {}
        for name in names:
            found = shared.get(name)
            if found is None:
                read[name] = self._named(call, name)
            else:
                parts = [self._written[part] for part in found.parts]
                read[name] = f"({', '.join(parts)},)" if found.is_tuple else parts[0]
        g = self._expression(instruction.gradient)
        bound = self._bind(label, function)
        values = ", ".join([g, *[f"{name}={value}" for name, value in read.items()]])
        if not call.op.guarded:
            return f"{bound}({values})"
        guarded = self._bind("guarded", replay.guarded)
        return f"{guarded}({', '.join([bound, repr(label), values])})"

    def _rule_call(self, rule: RuleCall) -> str:
        of = rule.derivative
        label = f"{rule.call.op.name}_{of.of}"
        call = self._rule(rule, label, of.rule, of.needs, rule.shared)
        if not rule.call.op.sequence:
            (part,) = rule.parts
            assert part is not None
            return f"{self._written[part]} = {call}{self._comment(part, of.formula)}"
        targets = [("_" if part is None else self._written[part]) for part in rule.parts]
        return f"[{', '.join(targets)}] = {call}"

    def _effect(self, effect: Effect) -> str:
        function = effect.function
        label = getattr(function, "__qualname__", type(function).__name__).replace(".<locals>", "")
        call = f"{self._bind(label, function)}({', '.join(self._passed(effect))})"
        targets = [self._written[part] for part in effect.parts]
        if not targets:
            return call
        plain = (
            isinstance(effect, FunctionCall)
            and not effect.is_tuple
            and not (hasattr(function, "__wrapped__") or inspect.isfunction(function))
        )
        if not plain and not any(isinstance(part, NumberValue) for part in effect.parts):
            helper = replay.arrays if effect.is_tuple else replay.array
            call = f"{self._bind(helper.__name__, helper)}({call})"
        comment = self._comment(effect.parts[0], "")
        return f"{', '.join(targets)}{',' if effect.is_tuple else ''} = {call}{comment}"

    def _passed(self, effect: Effect) -> Iterator[str]:
        """Yield the arguments of an effect as its signature takes them."""
        try:
            parameters = inspect.signature(effect.function).parameters
        except (TypeError, ValueError):
            parameters = {}  # type: ignore[assignment]  # none are known
        is_numbered = "0" in effect.arguments
        for name, value in effect.arguments.items():
            if is_numbered:  # by position, then by name
                written = self._expression(value)
                yield written if name.isdigit() else f"{name}={written}"
                continue
            parameter = parameters.get(name)
            written = self._expression(value, name if name != "self" else type(value).__name__)
            if parameter is None or parameter.kind in (
                parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD,
            ):  # fmt: skip
                yield written
            elif parameter.kind is parameter.VAR_POSITIONAL:
                yield f"*{written}"
            elif parameter.kind is parameter.VAR_KEYWORD:
                yield f"**{written}"
            else:
                yield f"{name}={written}"

    # --- the result ------------------------------------------------------------------------------

    def _returned(self, value: Any, returned: Any) -> str:
        """Return the expression of what the function returns."""
        if isinstance(value, StepValue):
            if isinstance(value, LeafValue) and isinstance(returned, Variable):
                return self._tensor(value)
            written = self._expression(value)
            if isinstance(value, ConstantValue):
                written = f"{written}.copy()"
            if isinstance(returned, Variable):
                kind: Any = returned._tensor
                label = "tensor" if kind is Tensor else kind.__name__
                make = self._bind(label, replay.detached_as(kind))
                return f"{make}({written})"
            return written
        if isinstance(value, tuple) and hasattr(value, "_fields"):
            fields = ", ".join(map(self._returned, value, returned))
            return f"{self._bind(type(value).__name__, type(value))}({fields})"
        if isinstance(value, list):
            return f"[{', '.join(map(self._returned, value, returned))}]"
        if isinstance(value, tuple):
            parts = [f"{self._returned(*pair)}, " for pair in zip(value, returned, strict=True)]
            return f"({''.join(parts).rstrip()})"
        if isinstance(value, dict):
            pairs = [f"{k!r}: {self._returned(v, returned[k])}" for k, v in value.items()]
            return f"{{{', '.join(pairs)}}}"
        return self._expression(value, "returned")


def _all_values(program: StepProgram) -> Iterator[StepValue]:
    seen: dict[StepValue, None] = dict.fromkeys(program.inputs)
    for instruction in program.instructions:
        seen.update(dict.fromkeys([*instruction.reads(), *instruction.results()]))
        if isinstance(instruction, StoreGradient):
            seen[instruction.leaf] = None
    seen.update(dict.fromkeys(values_in(program.result)))
    yield from seen


def _is_literal(value: Any) -> bool:
    if type(value) is float:
        return math.isfinite(value)
    if type(value) in (int, bool, str, type(None)):
        return True
    return type(value) is tuple and len(value) < 9 and all(map(_is_literal, value))


def _is_default(op: Op[..., Any], values: list[Any]) -> bool:
    """Return whether the last of these arguments is the default."""
    default = op.signature.parameters[op.parameters[len(values) - 1]].default
    return type(default) is type(values[-1]) and _is_literal(default) and default == values[-1]


def _kind(value: Any) -> str:
    return value.dtype.char if isinstance(value, StepValue) else "O"
