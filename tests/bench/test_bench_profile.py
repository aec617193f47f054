"""What an op costs and moves, against counting by hand."""

from __future__ import annotations

import numpy as np

import tinygrad_cnn as tg
from tinygrad_cnn.bench.profile import OpCall, OpProfile, names


def profile_of(program) -> dict[tuple[str, str], OpCall]:
    with tg.observe(profile := OpProfile()):
        program()
    return {(call.op, call.direction): call for call in profile.calls}


def test_a_convolution_and_its_two_gradients() -> None:
    x = tg.Tensor(np.ones((2, 3, 8, 8), "f4"), requires_grad=True)
    w = tg.Tensor(np.ones((5, 3, 3, 3), "f4"), requires_grad=True)
    bias = tg.Tensor(np.zeros(5, "f4"), requires_grad=True)
    calls = profile_of(lambda: tg.conv2d(x, w, bias).sum().backward())
    products = 2 * 5 * 6 * 6 * 3 * 3 * 3
    x_bytes, w_bytes, y_bytes = 4 * 2 * 3 * 64, 4 * 5 * 27, 4 * 2 * 5 * 36
    forward, backward = calls["conv2d", "forward"], calls["conv2d", "backward"]
    assert forward.multiply_adds == products
    assert forward.bytes_moved == x_bytes + w_bytes + 4 * 5 + y_bytes
    assert forward.intensity == products / forward.bytes_moved
    assert backward.multiply_adds == 2 * products
    # reads x, w and the gradient; writes a gradient for x, w and the bias
    assert backward.bytes_moved == y_bytes + 2 * (x_bytes + w_bytes) + 4 * 5


def test_an_input_without_gradient_costs_nothing_backward() -> None:
    w = tg.Tensor(np.ones((4, 6), "f4"), requires_grad=True)
    calls = profile_of(lambda: tg.linear(np.ones((3, 6), "f4"), w).sum().backward())
    assert calls["linear", "forward"].multiply_adds == 3 * 4 * 6
    assert calls["linear", "backward"].multiply_adds == 3 * 4 * 6


def test_a_view_moves_nothing() -> None:
    x = tg.Tensor(np.ones((3, 4), "f4"), requires_grad=True)
    calls = profile_of(lambda: (x * 2).reshape(12).sum().backward())
    assert calls["reshape", "forward"].bytes_moved == 0
    assert calls["reshape", "backward"].bytes_moved == 0
    assert calls["reshape", "forward"].intensity == 0.0


def test_calls_without_a_graph_are_seen() -> None:
    with tg.no_grad():
        calls = profile_of(lambda: tg.relu(tg.Tensor([1.0, -1.0])))
    assert list(calls) == [("relu", "forward")]


def test_a_call_and_its_turn_in_the_sweep_have_one_name() -> None:
    w = tg.Tensor(np.ones((4, 4), "f4"), requires_grad=True)

    def program() -> None:
        y = tg.tanh(tg.linear(tg.tanh(tg.linear(np.ones((2, 4), "f4"), w)), w))
        y.sum().backward()

    with tg.observe(profile := OpProfile()):
        program()
    forward = ["linear 1", "tanh 1", "linear 2", "tanh 2", "sum"]
    assert names(profile.calls) == forward + forward[::-1]
