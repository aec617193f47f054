"""The source of a network as a function of NumPy arrays, from a captured program."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import chain, count
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn.capture import (
    CaptureError,
    Instruction,
    Operand,
    Program,
    captured,
    compared,
    folded,
)
from tinygrad_cnn.core.op import Op
from tinygrad_cnn.core.recording import no_grad
from tinygrad_cnn.core.tensor import Tensor
from tinygrad_cnn.core.variable import array_of
from tinygrad_cnn.deployment.expressions import FEWEST, Expressions, is_number_of_images
from tinygrad_cnn.deployment.layout import INDENT, NetworkLine, lines
from tinygrad_cnn.deployment.source import SOURCES
from tinygrad_cnn.nn import Module
from tinygrad_cnn.train.evaluation import in_mode

__all__ = ["NumpyNetwork", "network_of", "network_source"]

BATCHES = (FEWEST, FEWEST, FEWEST + 1)
"""The batches that are captured: see `tinygrad_cnn.capture.compared`."""
ANOTHER = 5
"""A batch that only the check has."""
TOLERANCE = 1e-4
"""The difference that the check allows, as a share of the largest output."""


@dataclass(frozen=True)
class NumpyNetwork:
    """The source of a network, from `network_source`.

    Attributes
    ----------
    functions : list of str
        The definitions that it uses.
    body : list of str
        The lines of a function of ``x`` that returns the output, with ``W["conv1.weight"]`` for an
        array.
    arrays : dict of str to ndarray
    imports : set of str
        Import lines, besides that of NumPy.
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

    Examples
    --------
    >>> from tinygrad_cnn import nn
    >>> network = network_source(nn.Sequential(nn.Linear(2, 1), nn.ReLU()), (2,))
    >>> print(network.body[0].strip())
    return relu(x @ W["0.weight"].T + W["0.bias"])  # (N, 1)
    >>> network.run(np.ones((3, 2), np.float32)).shape
    (3, 1)
    """
    rng = np.random.default_rng(0)
    batches = [
        rng.standard_normal((n, *input_shape)).astype(np.float32) for n in (*BATCHES, ANOTHER)
    ]
    return network_of(model, batches[:-1], batches[-1:])


def network_of(
    model: Module, batches: Sequence[NDArray[Any]], others: Sequence[NDArray[Any]] = ()
) -> NumpyNetwork:
    """Return the source of a model, captured on these batches and checked on the others, too."""
    names = {id(tensor._array): name for name, tensor in model._named_tensors()}
    with in_mode(model, training=False), np.errstate(all="ignore"):
        programs = [captured(model, {"x": batch}, names, SOURCES) for batch in batches]
        outputs = [program.outputs[0].array for program in programs]
        network = _written(folded(compared(programs)))
        with no_grad():
            outputs += [np.asarray(array_of(model(Tensor._of(batch)))) for batch in others]
    for batch, output in zip([*batches, *others], outputs, strict=True):
        _check(network, batch, output)
    return network


def _check(network: NumpyNetwork, x: NDArray[Any], expected: NDArray[Any]) -> None:
    """Raise CaptureError if the source computes something else."""
    try:
        with np.errstate(all="ignore"):
            came = network.run(x)
    except Exception as error:
        raise CaptureError(
            f"the NumPy source of an op fails: {type(error).__name__}: {error}"
        ) from error
    largest = float(np.abs(expected[np.isfinite(expected)]).max(initial=1.0))
    if came.shape != expected.shape or not np.allclose(
        came, expected, rtol=0, atol=TOLERANCE * largest, equal_nan=True
    ):
        raise CaptureError(
            f"the NumPy source of the model does not return what the model does, for {len(x)} "
            "images"
        )


def _written(program: Program) -> NumpyNetwork:
    """Return the source of a program."""
    if len(program.outputs) != 1:
        raise CaptureError(
            f"the model has {len(program.outputs)} outputs, expected 1: a Tensor of logits"
        )
    ((x,), (output,)) = program.inputs, program.outputs
    program.calls, numbers = (
        [call for call in program.calls if is_number_of_images(call) is counts]
        for counts in (False, True)
    )
    expressions = Expressions(program.calls)
    if output is x:
        body = [f"{INDENT}return x"]
    elif not isinstance(output, Instruction) or output in numbers:
        raise CaptureError("the output of the model does not depend on the values of its input")
    else:
        body = [*lines(_rows(program, expressions))]
    if expressions.counts_images:
        body.insert(0, f"{INDENT}N = len(x)")
    functions, constants, imports = expressions.functions()
    assigned = [f"{name} = {value!r}" for name, value in constants.items()]
    return NumpyNetwork([*assigned, *functions], body, expressions.arrays, imports)


def _rows(program: Program, expressions: Expressions) -> list[NetworkLine]:
    """Return a row for each call, or for two of which the second alone needs the first."""
    uses = Counter(operand for call in program.calls for operand in call.operands())
    uses.update(program.outputs)
    targets = _targets(program)
    (x,) = program.inputs
    expressions.variables[x] = targets.pop(x)
    rows: list[NetworkLine] = []
    for call, target in targets.items():
        assert isinstance(call, Instruction)
        row = NetworkLine(call, target, expressions.of(call))
        last = rows[-1] if rows else None
        if last and _is_pointwise(call) and last.call in call.operands() and uses[last.call] == 1:
            joined = NetworkLine(call, target, expressions.of(call, {last.call: last.value}))
            if joined.is_short:
                row = joined
                rows.pop()
        rows.append(row)
        expressions.variables[call] = target
    rows[-1].target = ""
    return rows


def _targets(program: Program) -> dict[Operand, str]:
    """Return the variables of the input and of each result: one whose value is needed no more."""
    calls = program.calls
    last_use: dict[Operand, int] = {output: len(calls) for output in program.outputs}
    for i, call in reversed([*enumerate(calls)]):
        for operand in call.operands():
            last_use.setdefault(operand, i)
    names = chain(["x", "h"], (f"h{i}" for i in count(1)))
    (x,) = program.inputs
    targets: dict[Operand, str] = {x: next(names)}
    order = {targets[x]: 0}
    held = dict(targets)
    free: list[str] = []
    for i, call in enumerate(calls):
        for operand in call.operands():
            if operand in held and last_use[operand] == i:
                free.append(held.pop(operand))
        if not free:
            free.append(next(names))
            order[free[0]] = len(order)
        free.sort(key=order.__getitem__)
        held[call] = targets[call] = free.pop(0)
    return targets


def _is_pointwise(call: Instruction) -> bool:
    return isinstance(call.op, np.ufunc) or (isinstance(call.op, Op) and call.op.elementwise)
