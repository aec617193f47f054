"""`OnnxModule`: the network of an ONNX file."""

from __future__ import annotations

from typing import Any

from tinygrad_cnn.nn import Module

__all__ = ["OnnxModule"]


class OnnxModule(Module):
    """The network of an ONNX file; see `load`."""

    def forward(self, *inputs: Any) -> Any:
        """Compute the outputs."""
        raise NotImplementedError
