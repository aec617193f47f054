"""The text's two-layer network with a bias per connection: Δw and Δb by autograd and by hand.

The network is eq 46's: p runs over inputs, j over hidden values (sigmoid), i and k over outputs. It
is built from plain Tensors, w and b being matrices. What autograd finds is compared with loops over
the indices, in Python's own arithmetic: eq 27, 28, 49 and 53 in the situations in which they hold,
and the full sums over the outputs in all others.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import tinygrad_cnn as tg

close = partial(np.testing.assert_allclose, rtol=1e-10, atol=1e-14)
Array = np.ndarray


@dataclass(frozen=True)
class Network:
    """Values of inputs, weights, biases (out, in) and one-hot labels."""

    x: Array
    w1: Array
    b1: Array
    w2: Array
    b2: Array
    y: Array

    @property
    def outputs(self) -> range:
        return range(len(self.y))

    def indices(self, layer: int) -> list[tuple[int, int]]:
        return list(np.ndindex((self.w1 if layer == 1 else self.w2).shape))


@st.composite
def networks(draw: st.DrawFn, outputs: st.SearchStrategy[int] | None = None) -> Network:
    """Draw sizes, then values; the softmax has at least two outputs."""
    inputs, hidden = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    classes = draw(st.integers(2, 4) if outputs is None else outputs)

    def values(*shape: int) -> Array:
        # thirds are not short binary fractions, so rounding takes part
        return draw(arrays(np.float64, shape, elements=st.integers(-6, 6))) / 3

    y = np.zeros(classes)
    y[draw(st.integers(0, classes - 1))] = 1.0
    return Network(
        values(inputs),
        values(hidden, inputs),
        values(hidden, inputs),
        values(classes, hidden),
        values(classes, hidden),
        y,
    )


# --- by hand -------------------------------------------------------------------------------------


def sigmoid(z: float) -> float:
    return 1 / (1 + math.exp(-z))


def layer(x: list[float], w: Array, b: Array) -> list[float]:
    """Return z_i = Σ_p (x_p w_ip + b_ip)."""
    return [
        math.fsum(x[p] * w[i, p] + b[i, p] for p in range(w.shape[1])) for i in range(w.shape[0])
    ]


@dataclass(frozen=True)
class Forward:
    """What the network computes: hidden values, then predictions."""

    alpha: list[float]
    Y: list[float]


def forward(net: Network, output: str = "softmax") -> Forward:
    alpha = [sigmoid(z) for z in layer(list(net.x), net.w1, net.b1)]
    z2 = layer(alpha, net.w2, net.b2)
    if output == "sigmoid":
        return Forward(alpha, [sigmoid(z) for z in z2])
    powers = [math.exp(z) for z in z2]
    return Forward(alpha, [power / math.fsum(powers) for power in powers])


def eq_28(net: Network, at: Forward, i: int) -> float:
    """Return ∂E_i/∂b_ij = (Y_i − y_i) · S(z_i)(1 − S(z_i))."""
    return (at.Y[i] - net.y[i]) * at.Y[i] * (1 - at.Y[i])


def eq_27(net: Network, at: Forward, i: int, j: int) -> float:
    return eq_28(net, at, i) * at.alpha[j]


def eq_53(net: Network, at: Forward, i: int, j: int) -> float:
    """Return (Y_i − y_i) · S(z_i)(1 − S(z_i)) · w_ij · σ(z_j)(1 − σ(z_j))."""
    return eq_28(net, at, i) * net.w2[i, j] * at.alpha[j] * (1 - at.alpha[j])


def eq_49(net: Network, at: Forward, i: int, j: int, p: int) -> float:
    return eq_53(net, at, i, j) * net.x[p]


def softmax_slope(at: Forward, i: int, k: int) -> float:
    """Return ∂S(z_i)/∂z_k, off the diagonal too."""
    return at.Y[i] * ((1 - at.Y[i]) if i == k else -at.Y[k])


def full_output(net: Network, at: Forward, i: int, k: int) -> float:
    """Return ∂E_i/∂z_k, which is ∂E_i/∂b_kj: eq 28, and what it leaves out for k ≠ i."""
    return (at.Y[i] - net.y[i]) * softmax_slope(at, i, k)


def full_hidden(net: Network, at: Forward, i: int, j: int) -> float:
    """Return ∂E_i/∂b_jp, the sum over every output k that hidden value j leads to."""
    paths = math.fsum(full_output(net, at, i, k) * net.w2[k, j] for k in net.outputs)
    return paths * at.alpha[j] * (1 - at.alpha[j])


# --- by autograd ---------------------------------------------------------------------------------


class Recorded:
    """The same network of Tensors."""

    def __init__(self, net: Network, output: str = "softmax", through: int | None = None) -> None:
        self.w1 = tg.Tensor(net.w1, requires_grad=True)
        self.b1 = tg.Tensor(net.b1, requires_grad=True)
        self.w2 = tg.Tensor(net.w2, requires_grad=True)
        self.b2 = tg.Tensor(net.b2, requires_grad=True)
        alpha = tg.sigmoid((tg.Tensor(net.x) * self.w1 + self.b1).sum(axis=1))
        z2 = (alpha * self.w2 + self.b2).sum(axis=1)
        if through is not None:  # every z_k but this one is taken as a constant
            z2 = tg.where(np.arange(len(net.y)) == through, z2, z2.detach())
        self.Y = tg.sigmoid(z2) if output == "sigmoid" else tg.softmax(z2)
        self.E = tg.squared_error(self.Y, net.y, reduction="none")

    def gradients(self, error: tg.Tensor) -> list[Array]:
        """Return those of w1, b1, w2 and b2."""
        return tg.grad(error, [self.w1, self.b1, self.w2, self.b2], retain_graph=True)


@given(networks())
def test_prediction_and_error_are_those_of_the_loops(net: Network) -> None:
    at, recorded = forward(net), Recorded(net)
    close(recorded.Y.numpy(), at.Y)
    close(recorded.E.numpy(), [(Y - y) ** 2 / 2 for Y, y in zip(at.Y, net.y, strict=True)])


# --- the output layer ----------------------------------------------------------------------------


@given(networks())
def test_eq_27_and_28_hold_for_one_error_and_the_weights_into_its_output(net: Network) -> None:
    at, recorded = forward(net), Recorded(net)
    for i in net.outputs:
        _, _, w2, b2 = recorded.gradients(recorded.E[i])
        for j in range(len(at.alpha)):
            close(w2[i, j], eq_27(net, at, i, j))
            close(b2[i, j], eq_28(net, at, i))


@given(networks())
def test_one_error_also_depends_on_the_weights_into_other_outputs(net: Network) -> None:
    at, recorded = forward(net), Recorded(net)
    for i in net.outputs:
        _, _, w2, b2 = recorded.gradients(recorded.E[i])
        for k, j in net.indices(2):
            close(w2[k, j], full_output(net, at, i, k) * at.alpha[j])
            close(b2[k, j], full_output(net, at, i, k))


@given(networks())
def test_whole_error_needs_the_sum_over_outputs(net: Network) -> None:
    at, recorded = forward(net), Recorded(net)
    _, _, w2, b2 = recorded.gradients(recorded.E.sum())
    for k, j in net.indices(2):
        total = math.fsum(full_output(net, at, i, k) for i in net.outputs)
        close(w2[k, j], total * at.alpha[j])
        close(b2[k, j], total)


@given(networks(outputs=st.just(2)))
def test_with_two_classes_eq_27_and_28_are_half_of_the_whole(net: Network) -> None:
    at, recorded = forward(net), Recorded(net)
    _, _, w2, b2 = recorded.gradients(recorded.E.sum())
    for i, j in net.indices(2):
        close(w2[i, j], 2 * eq_27(net, at, i, j))
        close(b2[i, j], 2 * eq_28(net, at, i))


# --- the hidden layer ----------------------------------------------------------------------------


@given(networks())
def test_eq_49_and_53_hold_along_the_path_through_one_output(net: Network) -> None:
    at = forward(net)
    for i in net.outputs:
        recorded = Recorded(net, through=i)
        w1, b1, _, _ = recorded.gradients(recorded.E[i])
        for j, p in net.indices(1):
            close(w1[j, p], eq_49(net, at, i, j, p))
            close(b1[j, p], eq_53(net, at, i, j))


@given(networks(), st.data())
def test_eq_49_and_53_hold_where_hidden_values_lead_to_one_output_only(
    net: Network, data: st.DataObject
) -> None:
    i = data.draw(st.sampled_from(net.outputs))
    only = np.zeros_like(net.w2)
    only[i] = net.w2[i]
    net = replace(net, w2=only)
    at, recorded = forward(net), Recorded(net)
    w1, b1, _, _ = recorded.gradients(recorded.E[i])
    for j, p in net.indices(1):
        close(w1[j, p], eq_49(net, at, i, j, p))
        close(b1[j, p], eq_53(net, at, i, j))


@given(networks())
def test_one_error_needs_the_sum_over_the_outputs_above(net: Network) -> None:
    at, recorded = forward(net), Recorded(net)
    for i in net.outputs:
        w1, b1, _, _ = recorded.gradients(recorded.E[i])
        for j, p in net.indices(1):
            close(w1[j, p], full_hidden(net, at, i, j) * net.x[p])
            close(b1[j, p], full_hidden(net, at, i, j))


@given(networks())
def test_whole_error_needs_both_sums(net: Network) -> None:
    at, recorded = forward(net), Recorded(net)
    w1, b1, _, _ = recorded.gradients(recorded.E.sum())
    for j, p in net.indices(1):
        total = math.fsum(full_hidden(net, at, i, j) for i in net.outputs)
        close(w1[j, p], total * net.x[p])
        close(b1[j, p], total)


# --- outputs that do not depend on each other ----------------------------------------------------


@given(networks(outputs=st.integers(1, 4)))
def test_with_a_sigmoid_for_each_output_all_four_hold_for_one_error(net: Network) -> None:
    at, recorded = forward(net, "sigmoid"), Recorded(net, "sigmoid")
    for i in net.outputs:
        w1, b1, w2, b2 = recorded.gradients(recorded.E[i])
        for k, j in net.indices(2):
            close(w2[k, j], eq_27(net, at, i, j) if k == i else 0.0)
            close(b2[k, j], eq_28(net, at, i) if k == i else 0.0)
        for j, p in net.indices(1):
            close(w1[j, p], eq_49(net, at, i, j, p))
            close(b1[j, p], eq_53(net, at, i, j))


@given(networks(outputs=st.integers(1, 4)))
def test_with_a_sigmoid_for_each_output_27_and_28_hold_for_the_whole_error(net: Network) -> None:
    at, recorded = forward(net, "sigmoid"), Recorded(net, "sigmoid")
    w1, b1, w2, b2 = recorded.gradients(recorded.E.sum())
    for i, j in net.indices(2):
        close(w2[i, j], eq_27(net, at, i, j))
        close(b2[i, j], eq_28(net, at, i))
    for j, p in net.indices(1):  # and 49 and 53 are to be summed
        close(w1[j, p], math.fsum(eq_49(net, at, i, j, p) for i in net.outputs))
        close(b1[j, p], math.fsum(eq_53(net, at, i, j) for i in net.outputs))
