"""Convolution and its two gradients; `algorithm` chooses how each is computed."""

from tinygrad_cnn.engine.convolution.directions import forward, input_gradient, weight_gradient

__all__ = ["forward", "input_gradient", "weight_gradient"]
