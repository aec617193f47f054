"""Trained models for use without this package: NumPy programs, ONNX files and weights."""

from typing import TYPE_CHECKING

from tinygrad_cnn.deployment.network import Network, network_source
from tinygrad_cnn.deployment.source import numpy_source
from tinygrad_cnn.support.modules import public

__all__ = ["Network", "network_source", "numpy_source"]

if not TYPE_CHECKING:
    __getattr__, __dir__ = public(__name__)
