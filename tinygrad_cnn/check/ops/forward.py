"""Properties of an op's forward, each a function that raises if it fails."""

from __future__ import annotations

import numpy as np

from tinygrad_cnn.check.calls import Call
from tinygrad_cnn.check.ops.probe import Probe, Properties, PropertyError, as_leaf, lister
from tinygrad_cnn.check.strategies.layouts import LAYOUTS
from tinygrad_cnn.core.graph import grad

FORWARD: Properties = {}
holds = lister(FORWARD)


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
    if not np.array_equal(raw, at.y.array, equal_nan=True):
        raise PropertyError("arrays in give other values than Tensors in")


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
        at.compare_result(y.array, f"the result {where}")
        at.compare_gradients(grad(y, leaves, gradient=at.u), where)
