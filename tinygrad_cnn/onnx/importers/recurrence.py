"""Recurrent networks, unrolled: LSTM, GRU and RNN."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tinygrad_cnn import ops
from tinygrad_cnn.onnx.importers.values import refused
from tinygrad_cnn.onnx.operator import Operator, importer

RecurrentStep = Callable[..., tuple[Any, ...]]
"""Computes the next states of one step's input, of shape (N, gates·H), and the states."""

ACTIVATIONS: dict[str, Callable[[Any], Any]] = {
    "relu": ops.relu,
    "tanh": ops.tanh,
    "sigmoid": ops.sigmoid,
    "softsign": ops.softsign,
    "softplus": ops.softplus,
    "elu": ops.elu,
    "leakyrelu": ops.leaky_relu,
    "hardsigmoid": lambda x: ops.clip(0.2 * x + 0.5, 0.0, 1.0),
}


@importer("RNN")
def _(
    node: Operator, x: Any, w: Any, r: Any, bias: Any = None, lengths: Any = None, h: Any = None
) -> Any:
    def direction(r: Any, shift: Any, functions: list[Any], _: Any) -> RecurrentStep:
        def step(u: Any, h: Any) -> tuple[Any, ...]:
            return (functions[0](u + shift + h @ r),)

        return step

    return _unrolled(node, (x, w, r, bias), lengths, [h], 1, ["Tanh"], direction)


@importer("GRU")
def _(
    node: Operator, x: Any, w: Any, r: Any, bias: Any = None, lengths: Any = None, h: Any = None
) -> Any:
    size, before_reset = r.shape[-1], bool(node.get("linear_before_reset", 0))

    def direction(r: Any, shift: Any, functions: list[Any], _: Any) -> RecurrentStep:
        gates, candidate = r[:, : 2 * size], r[:, 2 * size :]
        gate, activation = functions

        def step(u: Any, h: Any) -> tuple[Any, ...]:
            zr = gate(u[:, : 2 * size] + h @ gates + shift[: 2 * size])
            z, reset = zr[:, :size], zr[:, size:]
            if before_reset:
                rest = reset * (h @ candidate + shift[2 * size :])
            else:
                rest = (reset * h) @ candidate + shift[2 * size :]
            new = activation(u[:, 2 * size :] + rest)
            return (new + z * (h - new),)

        return step

    return _unrolled(node, (x, w, r, bias), lengths, [h], 3, ["Sigmoid", "Tanh"], direction)


@importer("LSTM")
def _(
    node: Operator,
    x: Any,
    w: Any,
    r: Any,
    bias: Any = None,
    lengths: Any = None,
    h: Any = None,
    c: Any = None,
    peepholes: Any = None,
) -> Any:
    size, coupled = r.shape[-1], bool(node.get("input_forget", 0))

    def direction(r: Any, shift: Any, functions: list[Any], peephole: Any) -> RecurrentStep:
        gate, activation, output = functions

        def step(u: Any, h: Any, c: Any) -> tuple[Any, ...]:
            i, o, f, new = ops.split(u + h @ r + shift, 4, -1)
            if peephole is not None:
                i, f = i + c * peephole[:size], f + c * peephole[2 * size :]
            i = gate(i)
            f = 1.0 - i if coupled else gate(f)
            c = f * c + i * activation(new)
            if peephole is not None:
                o = o + c * peephole[size : 2 * size]
            return gate(o) * output(c), c

        return step

    defaults = ["Sigmoid", "Tanh", "Tanh"]
    return _unrolled(node, (x, w, r, bias), lengths, [h, c], 4, defaults, direction, peepholes)


def _unrolled(
    node: Operator,
    given: tuple[Any, Any, Any, Any],
    lengths: Any,
    states: list[Any],
    gates: int,
    defaults: list[str],
    direction: Callable[..., RecurrentStep],
    peepholes: Any = None,
) -> Any:
    """Return the outputs of all steps, and the last states.

    Parameters
    ----------
    node : Operator
    given : tuple
        Inputs (L, N, C), and of each direction the kernels (gates·H, C) and (gates·H, H), and
        two biases of gates·H, one behind the other, if any.
    lengths : array, optional
        Of the N sequences.
    states : list
        The first states, of shape (directions, N, H); None for 0.
    gates : int
    defaults : list of str
        The activation functions of a direction.
    direction : callable
        Makes the step of a direction, of its kernel (H, gates·H), its second bias, its activation
        functions and its peepholes.
    peepholes : array, optional
    """
    x, w, r, bias = given
    way, batch_first = node.get("direction", "forward"), bool(node.get("layout", 0))
    ways = {"forward": [False], "reverse": [True], "bidirectional": [False, True]}.get(way)
    if ways is None or not len(ways) == w.shape[0] == r.shape[0]:
        raise refused(node, f"direction is {way!r}, w has shape {w.shape}")
    if x.ndim != 3 or r.shape[1] != gates * r.shape[2]:
        raise refused(node, f"x has shape {x.shape} and r {r.shape}")
    if node.get("clip") is not None:
        raise refused(node, f"clip={node.get('clip')} is not supported")
    if batch_first:
        x = ops.swapaxes(x, 0, 1)
        states = [None if state is None else ops.swapaxes(state, 0, 1) for state in states]
    functions, width = _functions(node, defaults, len(ways)), r.shape[1]
    zero = np.zeros((x.shape[1], r.shape[2]), x.dtype)
    outputs, ends = [], []
    for k, is_reversed in enumerate(ways):
        shift = np.zeros(width, x.dtype) if bias is None else bias[k, width:]
        step = direction(
            ops.transpose(r[k]), shift, functions[k], None if peepholes is None else peepholes[k]
        )
        # the products with the inputs of all steps at once: (L, N, C) → (L, N, gates·H)
        u = ops.linear(x, w[k], None if bias is None else bias[k, :width])
        first = [zero if state is None else state[k] for state in states]
        steps, last = _steps(u, lengths, first, step, is_reversed)
        outputs.append(steps)
        ends.append(last)
    y = ops.stack(outputs, 1)  # (L, directions, N, H)
    finals = [ops.stack(list(column)) for column in zip(*ends, strict=True)]
    if batch_first:
        y = ops.transpose(y, (2, 0, 1, 3))
        finals = [ops.swapaxes(state, 0, 1) for state in finals]
    return (y, *finals)


def _steps(
    u: Any, lengths: Any, states: list[Any], step: RecurrentStep, is_reversed: bool
) -> tuple[Any, list[Any]]:
    """Return the outputs of all steps, 0 after the end of a sequence, and the last states."""
    count = u.shape[0]
    outputs: list[Any] = [None] * count
    for t in reversed(range(count)) if is_reversed else range(count):
        new = list(step(u[t], *states))
        output = new[0]
        if lengths is not None and t >= np.min(lengths):
            runs = (t < np.asarray(lengths))[:, np.newaxis]
            output = ops.where(runs, output, np.zeros((), u.dtype))
            new = [ops.where(runs, a, b) for a, b in zip(new, states, strict=True)]
        outputs[t], states = output, new
    return ops.stack(outputs), states


def _functions(node: Operator, defaults: list[str], directions: int) -> list[list[Any]]:
    """Return the activation functions of each direction."""
    names = node.get("activations") or defaults * directions
    if len(names) != len(defaults) * directions or node.get("activation_alpha"):
        raise refused(node, f"activations are {names}, with parameters or too few")
    unknown = [name for name in names if name.lower() not in ACTIVATIONS]
    if unknown:
        raise refused(node, f"the activation {unknown[0]} is not supported")
    found = [ACTIVATIONS[name.lower()] for name in names]
    return [found[k : k + len(defaults)] for k in range(0, len(found), len(defaults))]
