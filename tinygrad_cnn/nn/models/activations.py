"""Activation functions of models, by name."""

from __future__ import annotations

from tinygrad_cnn.nn.init import Initializer, glorot_uniform, he_uniform
from tinygrad_cnn.nn.layers import ReLU, Sigmoid, Tanh
from tinygrad_cnn.nn.module import Module

ACTIVATIONS: dict[str, tuple[type[Module], Initializer]] = {
    "sigmoid": (Sigmoid, glorot_uniform),
    "tanh": (Tanh, glorot_uniform),
    "relu": (ReLU, he_uniform),
}
"""By name, each with its default initializer."""
