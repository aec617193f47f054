"""The table of the activation functions that models refer to by name."""

from __future__ import annotations

from dataclasses import dataclass

from tinygrad_cnn.nn.init import Initializer, kaiming_uniform, xavier_uniform
from tinygrad_cnn.nn.layers import GELU, LeakyReLU, ReLU, Sigmoid, Tanh
from tinygrad_cnn.support.choices import Choice


@dataclass(frozen=True)
class ActivationChoice(Choice):
    """An activation function, and the default initializer of the weights before it."""

    init: Initializer = xavier_uniform


AT_ZERO = ("at_zero",)  # a convention of the derivative, which no run needs to choose

ACTIVATIONS: dict[str, ActivationChoice] = {
    "sigmoid": ActivationChoice("Sigmoid", Sigmoid),
    "tanh": ActivationChoice("Tanh", Tanh),
    "relu": ActivationChoice("ReLU", ReLU, arguments=AT_ZERO, init=kaiming_uniform),
    "leaky_relu": ActivationChoice(
        "Leaky ReLU", LeakyReLU, arguments=AT_ZERO, init=kaiming_uniform
    ),
    "gelu": ActivationChoice("GELU", GELU, init=kaiming_uniform),
}
"""Activation functions by name."""
