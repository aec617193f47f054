"""Activation functions of models, by name."""

from __future__ import annotations

from tinygrad_cnn.nn.init import Initializer, kaiming_uniform, xavier_uniform
from tinygrad_cnn.nn.layers import ReLU, Sigmoid, Tanh
from tinygrad_cnn.nn.module import Module

ACTIVATIONS: dict[str, tuple[type[Module], Initializer]] = {
    "sigmoid": (Sigmoid, xavier_uniform),
    "tanh": (Tanh, xavier_uniform),
    "relu": (ReLU, kaiming_uniform),
}
"""By name, each with its default initializer."""
