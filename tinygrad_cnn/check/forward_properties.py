"""Properties of an op's forward, each a function that raises if it fails."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

import numpy as np

from tinygrad_cnn.check.call import Call
from tinygrad_cnn.check.probe import Probe, Properties, PropertyError, as_leaf, lister
from tinygrad_cnn.check.strategies.layouts import LAYOUTS
from tinygrad_cnn.core.graph import grad
from tinygrad_cnn.engine.arrays import Array

FIRST_OF_FORWARD: Properties = {}
"""The properties checked first: each names a cause that would break many others."""
FORWARD: Properties = {}
holds_first, holds = lister(FIRST_OF_FORWARD), lister(FORWARD)


@holds_first("the forward does not write to its arguments")
def _(at: Probe) -> None:
    given = at.call.arrays([x.copy() for x in at.call.inputs])
    before = {name: value.copy() for name, value in given.items()}
    inputs = [given[label] for label in at.call.labels]
    at.call(*inputs)
    at.call(*[as_leaf(x) for x in inputs])
    for name, value in given.items():
        if not np.array_equal(value, before[name], equal_nan=True):
            raise PropertyError(f"{name} was written to", name)


@holds_first("the forward depends only on its arguments")
def _(at: Probe) -> None:
    inputs = at.call.inputs
    for given, other in ((inputs, moved(inputs)), (moved(inputs), inputs)):
        try:
            at.call(*given)
        except Exception:
            if given is inputs:
                raise
            continue  # outside the op's domain
        check_function("forward", partial(_results, at, given), partial(at.call, *other))


def _results(at: Probe, given: Sequence[Array]) -> list[Array]:
    return [np.array(at.call(*[x.copy() for x in given]))]


@holds_first("every float input of the result has a derivative")
def _(at: Probe) -> None:
    for name, value in at.call.arrays(at.call.inputs).items():
        if not at.every or name in at.call.labels or value.dtype.kind != "f":
            continue
        other = {**at.call.constants, name: value * (1.0 + 2.0**-20) + 2.0**-20}
        for inputs in (at.call.inputs, moved(at.call.inputs)):  # a 0 may hide its factor
            given = at.call.named(inputs)
            try:
                a, b = (at.call.op(**given, **rest) for rest in (at.call.constants, other))
            except Exception:  # outside the op's domain
                continue
            if not _same([a], [b]):
                raise PropertyError(
                    f"the result depends on {name}, which has no derivative: declare one with "
                    f"@{at.call.op.name}.derivative({name!r}, ...), or list the operands that have "
                    "one in of=[...]",
                    name,
                )


@holds("the forward agrees with its reference")
def _(at: Probe) -> None:
    if at.reference is not None:
        positional, named = at.call.split()
        expected = np.asarray(at.reference(*positional, **named))
        if expected.shape != at.y.shape:
            raise PropertyError(f"the result has shape {at.y.shape}, not {expected.shape}")
        # the reference may round more, as log(sum(exp(x))) does: only another function is wrong
        at.compare_result(expected, "the reference gives", "the op gives", dtype=np.float32)


@holds("arrays and Tensors give the same")
def _(at: Probe) -> None:
    raw = at.call(*at.call.inputs)
    if not isinstance(raw, np.ndarray | np.generic):
        raise PropertyError(f"given arrays, it returns {type(raw).__name__}")
    if not np.array_equal(raw, at.y._array, equal_nan=True):
        raise PropertyError("arrays give another result than Tensors")


@holds("the complex forward continues the real one")
def _(at: Probe) -> None:
    """Otherwise, the complex step would check the derivative of another function."""
    if not at.call.op.complex_step:
        return
    with np.errstate(all="ignore"):
        y = np.asarray(at.call(*[np.asarray(x, complex) for x in at.call.inputs]))
    try:
        if np.any(np.imag(y)):
            raise PropertyError("real values given as complex ones get an imaginary part")
        # complex arithmetic may also round more
        at.compare_result(np.real(y), "the result for complex values", dtype=np.float32)
    except PropertyError as error:
        hint = "; write the forward for complex arrays, or declare complex_step=False"
        raise PropertyError(f"{error}{hint}") from None


@holds("memory layout does not matter")
def _(at: Probe) -> None:
    for layout in LAYOUTS:
        constants = {
            name: layout(value) if isinstance(value, np.ndarray) else value
            for name, value in at.call.constants.items()
        }
        moved = Call(at.call.op, {**at.call.arguments, **constants}, at.call.of)
        leaves = [as_leaf(layout(x)) for x in at.call.inputs]
        y = moved(*leaves)
        where = f"of inputs in {layout.__name__}"
        at.compare_result(y._array, f"the result {where}")
        at.compare_gradients(grad(y, leaves, gradient=at.u), where)


def moved(inputs: Sequence[Array]) -> list[Array]:
    """Return other inputs of the same shapes, few of them 0."""
    return [np.asarray(x * 0.75 + 0.0625) for x in inputs]


def check_function(
    what: str, results: Callable[[], list[Array]], elsewhere: Callable[[], Any]
) -> None:
    """Raise unless `results` is reproducible, also after using the `what` `elsewhere`."""
    state = np.random.get_state(legacy=False)  # noqa: NPY002  # to detect draws
    first, second = results(), results()
    if not _same_state(state, np.random.get_state(legacy=False)):  # noqa: NPY002  # likewise
        raise PropertyError(
            f"the {what} draws random numbers from np.random: take them as an argument"
        )
    if not _same(first, second):
        raise PropertyError(
            f"the {what} gives other values when it is called again with the same arguments: it "
            "draws random numbers, or keeps state between calls; take both as arguments"
        )
    with suppress(Exception):  # the op may not take other numbers
        elsewhere()
    if not _same(first, results()):
        raise PropertyError(
            f"the {what} gives other values after a call with other numbers: it keeps state "
            "between calls; compute all from the arguments"
        )


def _same(a: Sequence[Any], b: Sequence[Any]) -> bool:
    return all(np.array_equal(x, y, equal_nan=True) for x, y in zip(a, b, strict=True))


def _same_state(a: Any, b: Any) -> bool:
    return bool(
        a["state"]["pos"] == b["state"]["pos"]
        and np.array_equal(a["state"]["key"], b["state"]["key"])
    )
