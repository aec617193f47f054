"""ReLU as rows."""

from __future__ import annotations

from tinygrad_cnn.compiler.lowering.tape import Writer, elementwise_row, lowers
from tinygrad_cnn.compiler.program import ForwardCall, RuleCall
from tinygrad_cnn.engine.fast import elementwise
from tinygrad_cnn.engine.fast.relu import masked, relu_with_mask


@lowers("relu")
def relu(writer: Writer, call: ForwardCall) -> bool:
    """Write max(x, 0), and the mask that the derivative reads."""
    x, y = call.arguments["x"], call.result
    if call.arguments["at_zero"] != 1.0 or not writer.are_alike(x, y):
        return False
    if "slope" in call.kept:
        places = [writer.at(value) for value in (x, y, call.kept["slope"])]
        elementwise_row(writer, relu_with_mask, y, *places)
    else:
        elementwise_row(writer, elementwise.relu, y, writer.at(x), writer.at(y))
    return True


@lowers("relu", "x")
def relu_gradient(writer: Writer, rule: RuleCall) -> bool:
    """Write g where x ≥ 0."""
    (dx,), g, mask = rule.parts, rule.gradient, rule.call.kept.get("slope")
    if dx is None or mask is None or mask.dtype.char != "?" or not writer.are_alike(g, dx):
        return False
    if writer.order(mask) != writer.order(g):
        return False
    places = [writer.at(value) for value in (g, mask, dx)]
    elementwise_row(writer, masked, dx, *places)
    return True
