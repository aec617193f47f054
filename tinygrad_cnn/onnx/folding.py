"""Constant folding: results that are the same for all inputs are computed at loading."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn.core.recording import no_grad
from tinygrad_cnn.core.tensor import Tensor
from tinygrad_cnn.core.variable import array_of
from tinygrad_cnn.onnx.calls import MOST_CALLS, Body, NodeCall
from tinygrad_cnn.onnx.errors import OnnxError, named
from tinygrad_cnn.onnx.operator import IMPORTERS, Operator, check_inputs, short
from tinygrad_cnn.onnx.sizes import cost, decides
from tinygrad_cnn.onnx.weights import own_statistics, weights

__all__ = ["Folding"]

LIMIT = 1 << 31
"""The most bytes of all the constants that are computed at loading."""

MOST_WORK = 1 << 38
"""The most products of two numbers to compute at loading; what takes more is left to each run."""

LARGEST_SAMPLE = 1 << 27
"""The most elements of an input for which the shapes of a model are found by running it."""

_SHAPES = ("Shape", "Size")
_WIDEST = 8  # bytes of an element
_RANDOM = {
    "Bernoulli", "Dropout", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform",
    "RandomUniformLike",
}  # fmt: skip
_REASONS = {
    "If": ", as the condition is not known at loading; input_shapes may settle it",
    "Loop": ", as the number of rounds may depend on the input",
    "Scan": ", as the number of rounds may depend on the input",
}


@dataclass
class Folding:
    """Folds the calls of a graph.

    Attributes
    ----------
    known : dict of str to ndarray
        The constants, which folding adds to.
    parameters, buffers : dict of str to ndarray
        Their shapes are known, their values may change. Folding adds those of branches.
    samples : dict of str to ndarray
        Values with the shapes and dtypes that the model has in a run; their values say nothing.
        Without those of the inputs, no shape is found.
    calls : list of NodeCall
        What remains.
    """

    known: dict[str, NDArray[Any]] = field(default_factory=dict)
    parameters: dict[str, NDArray[Any]] = field(default_factory=dict)
    buffers: dict[str, NDArray[Any]] = field(default_factory=dict)
    samples: dict[str, NDArray[Any]] = field(default_factory=dict)
    calls: list[NodeCall] = field(default_factory=list)
    _spent: int = 0  # bytes
    _work: int = 0
    _names: dict[int, str] = field(default_factory=dict)

    def run(self, body: Body) -> list[str]:
        """Fold the calls of `body`; return the reasons why some cannot be loaded."""
        refused: dict[str, list[str]] = {}
        defined = {*body.defines(), *body.arguments}
        body = self._add(body, defined)
        todo = deque(body.calls)
        shapes = _count(todo)
        with np.errstate(all="ignore"), no_grad():
            while todo:
                call = todo.popleft()
                op_type = call.operator.op_type
                shapes -= op_type in _SHAPES
                if op_type == "If" and len(call.inputs) == 1 and call.inputs[0] in self.known:
                    inlined = self._branch(call, defined)
                    shapes += _count(inlined)
                    if len(self.calls) + len(todo) + len(inlined) > MOST_CALLS:
                        raise OnnxError(f"more than {MOST_CALLS:,} nodes, with those of branches")
                    todo.extendleft(reversed(inlined))
                    continue
                if op_type not in IMPORTERS:
                    for inner in call.nested():
                        operator = inner.operator
                        if operator.op_type not in IMPORTERS:
                            refused.setdefault(operator.op_type, []).append(operator.name)
                    continue
                check_inputs(call)
                if not self._fold(call):
                    self.calls.append(call)
                    if shapes:
                        self._sample(call)
        return [
            f"{short(op_type)[1:-1]} ({_listed(names)}){_REASONS.get(op_type, '')}"
            for op_type, names in refused.items()
        ]

    def _fold(self, call: NodeCall) -> bool:
        """Compute a call if it is the same for all inputs; return whether it is."""
        inputs, op_type = list(filter(None, call.inputs)), call.operator.op_type
        values: dict[str, Any] = self.known
        if op_type in _SHAPES and inputs[:1] and inputs[0] in self.samples:
            values = self.samples
        if op_type in _RANDOM or not all(name in values for name in inputs):
            return False
        arguments = [values[name] if name else None for name in call.inputs]
        count, work, is_known = cost(call.operator, arguments)
        if self._spent + count * _WIDEST > LIMIT:
            if not is_known:
                return False
            raise OnnxError(f"{call.operator}: its constant result takes about "
                            f"{count * _WIDEST:,} bytes, which exceeds the limit of {LIMIT:,} for "
                            "all")  # fmt: skip
        if self._work + work > MOST_WORK:
            return False
        self._work += work
        for name, value in zip(call.outputs, computed(call, arguments), strict=False):
            array = array_of(value)
            if name:
                self._spent += array.nbytes
                self.known[name] = array
        if self._spent > LIMIT:
            raise OnnxError(f"{call.operator}: constants exceed the limit of {LIMIT:,} bytes")
        return True

    def _sample(self, call: NodeCall) -> None:
        """Find the shapes of the results, if values of inputs do not decide them."""
        for i, name in enumerate(call.inputs):
            if name and name not in self.known:
                sample = self.samples.get(name)
                if sample is None or decides(call.operator.op_type, i, sample.dtype):
                    return
        count, work, _ = cost(call.operator, [self._value(name) for name in call.inputs])
        if count > LARGEST_SAMPLE or self._work + work > MOST_WORK:
            return
        self._work += work
        arguments = [self._argument(name) if name else None for name in call.inputs]
        try:
            results = computed(call, arguments)
        except OnnxError:  # zeros do not suit it; the values of a run may
            return
        for name, value in zip(call.outputs, results, strict=False):
            if name:
                self.samples[name] = _shaped(array_of(value))

    def _value(self, name: str) -> NDArray[Any] | None:
        """Return a constant, or a sample, which takes no memory."""
        return self.known[name] if name in self.known else self.samples.get(name)

    def _argument(self, name: str) -> Any:
        if name in self.known:
            return self.known[name]
        sample = self.samples[name]
        made = np.zeros(sample.shape, sample.dtype)
        return Tensor._of(made) if made.dtype.kind == "f" else made

    def _add(self, body: Body, defined: set[str]) -> Body:
        """Add the constants of a graph; return it with one name for those that are the same."""
        body = body.merged(self._names)
        count = sum(array.nbytes for array in body.constants.values())
        body = own_statistics(body, defined, LIMIT - self._spent)
        self._spent += sum(array.nbytes for array in body.constants.values()) - count
        parameters, buffers = weights(body)
        self.parameters |= parameters
        self.buffers |= buffers
        self.samples.update({n: _shaped(array) for n, array in (parameters | buffers).items()})
        kept = parameters.keys() | buffers.keys()
        self.known.update({n: array for n, array in body.constants.items() if n not in kept})
        return body

    def _branch(self, call: NodeCall, defined: set[str]) -> list[NodeCall]:
        """Return the calls of the branch of an If that is taken."""
        condition = self.known[call.inputs[0]]
        if condition.size != 1 or condition.dtype.kind != "b":
            raise OnnxError(f"{call.operator}: its condition is {condition.dtype} "
                            f"{condition.shape}, expected one bool")  # fmt: skip
        key = "then_branch" if condition.item() else "else_branch"
        body = call.operator.get(key)
        if not isinstance(body, Body) or body.inputs or len(body.outputs) < len(call.outputs):
            raise OnnxError(
                f"{call.operator}: {key} is not a graph without inputs and with "
                f"{len(call.outputs)} outputs"
            )
        here = set(body.defines())
        names = {}
        for name in here & defined:
            numbers = itertools.count(2)
            new = f"{call.operator.name}/{name}"
            while new in defined or new in here:
                new = f"{call.operator.name}_{next(numbers)}/{name}"
            names[name] = new
            here.add(new)
        body = body.renamed(names)
        defined.update(body.defines())
        body = self._add(body, defined)
        ends = [
            NodeCall(Operator("Identity", output, call.operator.opset), (inner,), (output,))
            for inner, output in zip(body.outputs, call.outputs, strict=False)
            if output
        ]
        return [*body.calls, *ends]


def computed(call: NodeCall, arguments: list[Any]) -> tuple[Any, ...]:
    """Return the results of a call."""
    with named(call.operator):
        result = IMPORTERS[call.operator.op_type](call.operator, *arguments)
    results = result if isinstance(result, tuple) else (result,)
    if len(results) < call.operator.outputs:
        raise OnnxError(f"{call.operator}: has {call.operator.outputs} outputs, expected "
                        f"{len(results)}")  # fmt: skip
    return results


def _shaped(array: NDArray[Any]) -> NDArray[Any]:
    """Return an array of the same shape and dtype without memory of its own."""
    return np.broadcast_to(np.zeros((), array.dtype), array.shape)


def _count(calls: Iterable[NodeCall]) -> int:
    """Return the number of calls that ask for a shape, also in graphs."""
    return sum(inner.operator.op_type in _SHAPES for call in calls for inner in call.nested())


def _listed(names: list[str]) -> str:
    shown = ", ".join(map(short, names[:5]))
    return f"{len(names)} nodes: {shown}{', ...' if len(names) > 5 else ''}" if names[1:] else shown
