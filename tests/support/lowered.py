"""Single calls and rules run by their lowerings, on poisoned memory, and by NumPy."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from tinygrad_cnn.compiler.lowering.tape import BACKWARD, FORWARD, SHARED, Writer, images_last
from tinygrad_cnn.compiler.program import ForwardCall, RuleCall, SharedCall, StepValue
from tinygrad_cnn.core.declaration import names_of
from tinygrad_cnn.core.op import Op
from tinygrad_cnn.engine.fast.kernel import Kernel
from tinygrad_cnn.engine.fast.machine import KernelCall, Tape
from tinygrad_cnn.engine.planes import Order


class ArrayWriter(Writer):
    """A writer whose values are arrays of their own, with the images last."""

    def __init__(self) -> None:
        self.rows: list[KernelCall] = []
        self.arrays: list[NDArray[Any]] = []
        self.numbers: list[float] = []
        self.given: dict[StepValue, NDArray[Any]] = {}
        self._of_values: dict[StepValue, int] = {}

    def at(self, value: StepValue) -> int:
        if value not in self._of_values:
            shape = [value.shape[axis] for axis in self.order(value)]
            memory = _poisoned(shape, value.dtype)
            if value in self.given:
                memory[...] = self.given[value].transpose(self.order(value))
            self._of_values[value] = self.source(memory)
        return self._of_values[value]

    def order(self, value: StepValue) -> Order:
        return images_last(len(value.shape))

    def has(self, value: StepValue) -> bool:
        """Return False: no result has a place before."""
        return False

    def alias(self, result: StepValue, source: StepValue, order: Order | None = None) -> None:
        assert order is None
        self._of_values[result] = self.at(source)

    def source(self, source: Any) -> int:
        self.arrays.append(source)
        return len(self.arrays) - 1

    def temporary(self, count: int, dtype: DTypeLike) -> int:
        return self.source(_poisoned([count], np.dtype(dtype)))

    def number(self, read: Callable[[], float] | float) -> int:
        self.numbers.append(read() if callable(read) else read)
        return len(self.numbers) - 1

    def row(self, kernel: Kernel, dtype: DTypeLike, *operands: int, **sizes: int) -> None:
        super().row(kernel, dtype, *operands, **sizes | {"work": 1 << 30})

    def run(self) -> None:
        """Run the rows so far."""
        tape = Tape(self.rows, len(self.arrays), len(self.numbers))
        tape.at[:] = [array.ctypes.data for array in self.arrays]
        tape.numbers[:] = self.numbers
        tape.run()
        self.rows = []

    def array(self, value: StepValue) -> NDArray[Any]:
        """Return a computed value in its shape."""
        order = self.order(value)
        memory = self.arrays[self.at(value)]
        turned = memory.reshape([value.shape[axis] for axis in order])
        return turned.transpose([order.index(axis) for axis in range(len(order))])


def _poisoned(shape: list[int], dtype: np.dtype[Any]) -> NDArray[Any]:
    return np.full(shape, np.nan if dtype.kind == "f" else 99 if dtype.kind != "b" else 1, dtype)


Compared = tuple[str, NDArray[Any], NDArray[Any]]


class LoweredCall:
    """A call of an op, and what NumPy computes for it."""

    def __init__(self, op: Op[..., Any], arguments: dict[str, Any]) -> None:
        self.op, self.writer, self._count = op, ArrayWriter(), 0
        bound = op.signature.bind(**arguments)
        bound.apply_defaults()
        self.known: dict[str, Any] = dict(bound.arguments)
        self.values: dict[str, Any] = {}
        for name in op.parameters:
            if name in op.operands or isinstance(self.known[name], np.ndarray):
                self.values[name] = self._value(self.known[name])
        for name, function in op.intermediates.items():
            if "g" not in names_of(function):
                self.known[name] = np.asarray(self._called(function))
        self.known["y"] = np.asarray(self._called(op.forward))
        for name, function in op.residuals.items():
            self.known[name] = np.asarray(self._called(function))
        of_call = [n for n in op.intermediates if n in self.known]
        for name in (*of_call, "y", *op.residuals):
            self.values[name] = self._value(self.known[name], given=False)
        self.call = ForwardCall(
            op,
            {name: self.values.get(name, self.known[name]) for name in op.parameters},
            self.values["y"],
            {name: self.values[name] for name in of_call},
            {name: self.values[name] for name in op.residuals},
        )

    def _called(self, function: Callable[..., Any]) -> Any:
        positional, named = [], {}
        for name, parameter in inspect.signature(function).parameters.items():
            if parameter.kind is parameter.KEYWORD_ONLY:
                named[name] = self._named(name)
            else:
                positional.append(self._named(name))
        return function(*positional, **named)

    def _named(self, name: str) -> Any:
        if name == "static":
            return {key: self.known[key] for key in self.op.static}
        if name in self.known:
            return self.known[name]
        value = self.known[name.removesuffix("_shape")]
        return [np.shape(v) for v in value] if isinstance(value, list) else np.shape(value)

    def _value(self, array: Any, given: bool = True) -> Any:
        if array is None:
            return None
        if isinstance(array, list):
            return [self._value(part) for part in array]
        array = np.asarray(array)
        self._count += 1
        value = StepValue(f"v{self._count}", array.shape, array.dtype, array.strides)
        if given:
            self.writer.given[value] = array
        return value

    def compared(self, rng: np.random.Generator) -> Iterator[Compared]:
        """Yield the name, our array and NumPy's of all that the lowerings compute.

        What no lowering takes is yielded by name only, with empty arrays.
        """
        op, writer = self.op, self.writer
        if FORWARD[op.name](writer, self.call):
            writer.run()
            for name in ("y", *self.call.shared, *self.call.kept):
                yield name, writer.array(self.values[name]), self.known[name]
        else:
            yield "left", np.empty(0), np.empty(0)
            writer.rows = []
        for name in (*self.call.shared, *self.call.kept):  # the rules read those of NumPy
            value = self.values[name] = self._value(self.known[name])
            of = self.call.shared if name in self.call.shared else self.call.kept
            of[name] = value
        y = self.known["y"]
        self.known["g"] = rng.standard_normal(y.shape).astype(y.dtype)
        gradient = self._value(self.known["g"])
        shared: dict[str, SharedCall] = {}
        for name, function in op.intermediates.items():
            if "g" in names_of(function):
                parts = self._called(function)
                several = list(parts) if isinstance(parts, tuple) else [parts]
                self.known[name] = parts
                computed = SharedCall(
                    self.call, name, gradient, [self._value(p, False) for p in several], False
                )
                if (op.name, name) in SHARED and SHARED[op.name, name](writer, computed):
                    writer.run()
                    for value, part in zip(computed.parts, several, strict=True):
                        yield name, writer.array(value), part
                shared[name] = SharedCall(
                    self.call, name, gradient, [self._value(p) for p in several], False
                )
        for of, derivative in op.derivatives.items():
            if (op.name, of) not in BACKWARD or self.known[of] is None:
                continue
            needed = {name: self._named(name) for name in derivative.needs}
            expected = derivative.rule(self.known["g"], **needed)
            several = expected if isinstance(expected, list) else [expected]
            results = [self._value(part, False) for part in several]
            read = {name: shared[name] for name in derivative.needs if name in shared}
            rule = RuleCall(self.call, derivative, gradient, read, results)
            if BACKWARD[op.name, of](writer, rule):
                writer.run()
                for value, part in zip(results, several, strict=True):
                    yield f"∂{of}", writer.array(value), part
            else:
                yield f"left ∂{of}", np.empty(0), np.empty(0)
                writer.rows = []
