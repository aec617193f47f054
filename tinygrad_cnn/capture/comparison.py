"""`compared`: what several runs of a function have in common, and what varies with the sizes."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn.capture.equations import fitted_size
from tinygrad_cnn.capture.program import (
    CaptureError,
    Instruction,
    Operand,
    Origin,
    Output,
    Program,
    Size,
    SizeError,
)
from tinygrad_cnn.ops.shape import broadcast_to
from tinygrad_cnn.support.nested import mapped, parts

__all__ = ["compared", "folded"]


def compared(programs: Sequence[Program]) -> Program:
    """Return the first program, with a `Size` in place of each number that varies with the sizes.

    Parameters
    ----------
    programs : sequence of Program
        Runs of one function. The inputs of the second have other values and the same sizes as those
        of the first; those of the others have other sizes.

    Raises
    ------
    CaptureError
        If the calls or constants depend on the values, or on the sizes in a way that no `Size` can
        state. The message names the op and the module.
    """
    comparison = _Comparison(programs)
    return comparison.result()


def folded(program: Program, kept: Collection[str] = ()) -> Program:
    """Return the program with the calls that depend on no input replaced by their results.

    Parameters
    ----------
    program : Program
    kept : collection of str
        The ops that stay calls where other calls read the result and all they get is a parameter,
        which keeps its name so.
    """
    moved: set[Operand] = set()
    new: dict[Operand, Operand] = {}
    calls = []

    def constant(value: Operand) -> bool:
        given = isinstance(new.get(value, value), Origin)
        return value in moved or (given and getattr(value, "kind", "") != "input")

    def learned(value: Operand) -> bool:
        return value in moved or (isinstance(value, Origin) and value.kind == "parameter")

    for call in program.calls:
        results: list[Operand] = [*call.results] or [call]
        numbers = [*call.arguments.values(), *(result.sizes for result in results)]
        fixed = next(parts(numbers, Size), None) is None
        if fixed and all(map(constant, call.operands())):
            if call.name in kept and all(map(learned, call.operands())):
                moved.add(call)
                calls.append(call)
                continue
            for result in results:
                new[result] = Origin(result.array, "constant", "", call.scope)
                new[result].sizes = result.sizes
            continue
        call.arguments = {k: _replaced(v, new) for k, v in call.arguments.items()}
        calls.append(call)
    outputs = [new.get(value, value) for value in program.outputs]
    return Program(program.inputs, calls, outputs, program.names).without_dead_calls()


def _replaced(value: Any, new: dict[Operand, Operand]) -> Any:
    return mapped(value, lambda v: new.get(v, v) if isinstance(v, Operand) else v)


class _Comparison:
    """Compares the runs call by call."""

    def __init__(self, programs: Sequence[Program]) -> None:
        self.programs = programs
        self.first = programs[0]
        self.calls: list[Instruction] = []
        self.call = self.first.calls[0] if self.first.calls else None  # the one at hand
        self.keys: list[dict[Operand, Any]] = [{} for _ in programs]
        self.lengths: dict[Operand, list[tuple[int, ...]]] = {}  # of each axis, in all runs
        self.added: dict[Operand, Operand] = {}

    def result(self) -> Program:
        for number, inputs in enumerate(zip(*(p.inputs for p in self.programs), strict=True)):
            self.same_value(inputs, number)
        for number, calls in enumerate(zip(*(p.calls for p in self.programs), strict=False)):
            self.call = first = calls[0]
            self.same_calls(calls)
            first.arguments = {
                name: self.merged([call.arguments[name] for call in calls], name)
                for name in first.arguments
            }
            self.calls.append(first)
            self.same_value(calls, number)
            for outputs in zip(*(call.results for call in calls), strict=True):
                self.same_value(outputs, (number, outputs[0].index))
        if len({len(p.calls) for p in self.programs}) > 1:
            self.differs("the number of calls", [len(p.calls) for p in self.programs])
        if len({len(p.outputs) for p in self.programs}) > 1:
            self.differs("the number of outputs", [len(p.outputs) for p in self.programs])
        merged = zip(*(p.outputs for p in self.programs), strict=True)
        last = [self.merged(list(values), "the output") for values in merged]
        return Program(self.first.inputs, self.calls, last, self.first.names)

    def same_calls(self, calls: Sequence[Instruction]) -> None:
        names = [call.place for call in calls]
        if any(call.op is not calls[0].op and call.name != calls[0].name for call in calls):
            self.differs("the call", names)
        if any(call.arguments.keys() != calls[0].arguments.keys() for call in calls):
            self.differs("the arguments of the call", names)
        if any(len(call.results) != len(calls[0].results) for call in calls):
            self.differs("the number of results", [len(call.results) for call in calls])

    def same_value(self, values: Sequence[Operand], key: Any) -> None:
        """Note that these are the same value in all runs, and which of its lengths vary."""
        first = values[0]
        for keys, value in zip(self.keys, values, strict=True):
            keys[value] = key if isinstance(value, Instruction | Output) else ("input", key)
        self.set_sizes(values)
        if len({value.dtype for value in values}) > 1:
            self.differs("the dtype", [value.dtype for value in values])
        self.lengths[first] = list(zip(*(value.shape for value in values), strict=True))

    def set_sizes(self, values: Sequence[Operand]) -> None:
        first, shapes = values[0], [value.shape for value in values]
        if len({len(shape) for shape in shapes}) > 1:
            self.differs("the number of axes", shapes)
        first.sizes = tuple(
            lengths[0] if len({*lengths}) == 1 else Size(((first, axis),), values=lengths)
            for axis, lengths in enumerate(zip(*shapes, strict=True))
        )

    def merged(self, values: list[Any], name: str) -> Any:
        """Return an argument in all runs, with a `Size` for a number that varies with the sizes."""
        first = values[0]
        kinds = {type(value) for value in values}
        if isinstance(first, Operand):
            return self.merged_operand(values, name)
        if len(kinds) > 1 and not all(isinstance(v, int | np.integer) for v in values):
            self.differs(name, values)
        if isinstance(first, slice):
            return slice(*(
                self.merged([getattr(v, part) for v in values], name)
                for part in ("start", "stop", "step")
            ))  # fmt: skip
        if isinstance(first, list | tuple):
            if len({len(value) for value in values}) > 1:
                self.differs(name, values)
            found = [self.merged(list(column), name) for column in zip(*values, strict=True)]
            return found if isinstance(first, list) else tuple(found)
        if isinstance(first, np.ndarray):
            if not all(_equal(first, value) for value in values):
                return self.expanded([Origin(value, "constant") for value in values], name)
            return first
        if isinstance(first, int | np.integer) and not isinstance(first, bool | np.bool_):
            return first if len({*values}) == 1 else self.fitted([int(v) for v in values], name)
        if any(value != first and not (value != value and first != first) for value in values):
            self.differs(name, values)
        return first

    def merged_operand(self, values: list[Any], name: str) -> Operand:
        first: Operand = values[0]
        if not all(isinstance(value, Operand) for value in values):
            self.differs(name, values)
        keys = [keys.get(value) for keys, value in zip(self.keys, values, strict=True)]
        if any(key != keys[0] for key in keys):
            self.differs(name, ["another value of the program"])
        if keys[0] is not None:
            return self.added.get(first, first)
        named = [(value.kind, value.name) for value in values]
        if len({*named}) > 1:
            self.differs(name, [f"{kind} {name}" for kind, name in named])
        if all(_equal(first.array, value.array) for value in values):
            first.sizes = first.shape
            return first
        return self.expanded(values, name)

    def expanded(self, values: list[Operand], name: str) -> Operand:
        """Return a constant whose shape varies with the sizes: it must have one value."""
        first = values[0]
        if first in self.added:
            return self.added[first]
        entries = np.concatenate([value.array.reshape(-1)[:1] for value in values])
        uniform = len(entries) == len(values) and all(
            _equal(value.array, np.full(value.shape, entry))
            for value, entry in zip(values, entries, strict=True)
        )
        if not self.by_sizes([value.array.shape for value in values]) or not uniform:
            return self.numbered(values, name)
        if len({*entries.tolist()}) > 1:
            return self.scalar(values, entries, name)
        self.set_sizes(values)
        shape = tuple(
            n if isinstance(n, int) else self.fitted([v.shape[axis] for v in values], name)
            for axis, n in enumerate(first.sizes or ())
        )
        scalar = Origin(np.array(entries[0]), "constant", "", getattr(first, "scope", ""))
        scalar.sizes = ()
        scope = self.call.scope if self.call else ""
        call = Instruction(first.array, broadcast_to, {"x": scalar, "shape": shape}, scope)
        call.sizes = tuple(
            Size(((call, axis),), values=n.values) if isinstance(n, Size) else n
            for axis, n in enumerate(first.sizes or ())
        )
        self.calls.append(call)
        self.added[first] = call
        return call

    def numbered(self, values: list[Operand], name: str) -> Operand:
        """Return the numbers from 0 on along an axis whose length varies, as of ``arange(n)``."""
        first, what = values[0], f"{name}, a constant,"
        arrays = [value.array for value in values]
        counts = [array.size for array in arrays]
        along = {tuple(a for a, n in enumerate(array.shape) if n > 1) for array in arrays} - {()}
        if not self.by_sizes(counts) or len(along) != 1 or not all(map(_is_numbered, arrays)):
            self.differs(what, arrays)
        (axes,) = along
        if len(axes) != 1:
            self.differs(what, arrays)
        size = self.fitted(counts, what)
        shape = tuple(size if axis in axes else 1 for axis in range(len(first.shape)))
        scope = self.call.scope if self.call else ""
        call = Instruction(first.array, "arange", {"shape": shape, "like": first}, scope)
        call.sizes = first.sizes = tuple(
            Size(((call, axis),), values=size.values) if axis in axes else 1
            for axis in range(len(first.shape))
        )
        self.calls.append(call)
        self.added[first] = call
        return call

    def scalar(self, values: list[Operand], entries: Any, name: str) -> Operand:
        """Return a single number that is a size, or 1 divided by one."""
        first = values[0]
        for reciprocal in (False, True) if self.by_sizes(entries) else ():
            with np.errstate(divide="ignore"):
                exact = 1 / entries.astype(np.float64) if reciprocal else entries
            rounded = np.round(np.clip(np.nan_to_num(exact), 0, 2**31)).astype(np.int64)
            again = (1 / np.maximum(rounded, 1) if reciprocal else rounded).astype(entries.dtype)
            if first.array.size == 1 and first.shape == values[-1].shape and _equal(again, entries):
                size = self.fitted(rounded.tolist(), f"{name}, a constant,")
                arguments = {"size": size, "reciprocal": reciprocal, "like": first}
                scope = self.call.scope if self.call else ""
                call = Instruction(first.array, "size", arguments, scope)
                call.sizes = first.sizes = first.shape
                self.calls.append(call)
                self.added[first] = call
                return call
        return self.differs(f"{name}, a constant,", [value.array for value in values])

    # --- numbers that vary with the sizes --------------------------------------------------------

    def fitted(self, numbers: list[int], name: str) -> Size:
        """Return the `Size` that has these values in the runs."""
        if not self.by_sizes(numbers):
            self.differs(name, numbers)
        own = [*self.axes(self.call.operands() if self.call else [])]
        inputs, every = [*self.axes(self.first.inputs)], [*self.axes(self.lengths)]
        found = fitted_size(inputs, own, every, numbers)
        return found if found is not None else self.differs(name, numbers)

    def axes(self, values: Any) -> Iterator[tuple[tuple[Operand, int], tuple[int, ...]]]:
        """Yield the axes whose length varies, one for each pattern of lengths."""
        seen = set()
        for value in values:
            for axis, lengths in enumerate(self.lengths.get(value, ())):
                if len({*lengths}) > 1 and lengths not in seen:
                    seen.add(lengths)
                    yield (value, axis), lengths

    def by_sizes(self, values: Sequence[Any]) -> bool:
        """Return whether runs on inputs of the same sizes agree."""
        return bool(values[0] == values[1])

    def differs(self, what: str, values: Sequence[Any]) -> NoReturn:
        """Raise CaptureError: `what` is not the same in all runs."""
        place = self.call.place if self.call else "the program"
        at_line = self.call.at_line if self.call else ""
        others = [v for v in values[1:] if not _equal(values[0], v)]
        shown = f"{_short(values[0])}, then {_short(others[0])}" if others else _short(values[0])
        if len(values) > 1 and not _equal(values[0], values[1]):
            raise CaptureError(
                f"{place}: {what} differs between two inputs of the same sizes ({shown}): it "
                "depends on values that NumPy or Python read, or on random numbers; compute it "
                f"with ops of Tensors{at_line}"
            )
        raise SizeError(
            f"{place}: {what} depends on the size of the input ({shown}) in a way that the "
            f"program cannot state{at_line}"
        )


def _is_numbered(array: NDArray[Any]) -> bool:
    """Return whether an array has the entries 0, 1, 2, ..."""
    return array.dtype.kind in "iuf" and bool(np.all(array.reshape(-1) == np.arange(array.size)))


def _equal(a: Any, b: Any) -> bool:
    if isinstance(a, np.ndarray) or isinstance(b, np.ndarray):
        a, b = np.asarray(a), np.asarray(b)
        return a.dtype == b.dtype and np.array_equal(a, b, equal_nan=a.dtype.kind == "f")
    return bool(a == b)


def _short(value: Any) -> str:
    if isinstance(value, np.ndarray) and value.size > 4:
        return f"an array of shape {value.shape}"
    return str(value)
