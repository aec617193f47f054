"""Trained models in and out: NumPy programs, ONNX files and weights.

The commands ``tinygrad-cnn export`` and ``import`` are made of these functions.
"""

from typing import TYPE_CHECKING

from tinygrad_cnn.support.modules import public

if TYPE_CHECKING:
    from tinygrad_cnn.deployment.formats import (
        write_npz,
        write_onnx,
        write_program,
        write_safetensors,
    )
    from tinygrad_cnn.deployment.importing import import_run
    from tinygrad_cnn.deployment.network import NumpyNetwork, network_source
    from tinygrad_cnn.deployment.source import numpy_source

__all__ = [
    "NumpyNetwork",
    "import_run",
    "network_source",
    "numpy_source",
    "write_npz",
    "write_onnx",
    "write_program",
    "write_safetensors",
]

if not TYPE_CHECKING:
    __getattr__, __dir__ = public(
        __name__,
        {
            "NumpyNetwork": "network",
            "import_run": "importing",
            "network_source": "network",
            "numpy_source": "source",
            "write_npz": "formats",
            "write_onnx": "formats",
            "write_program": "formats",
            "write_safetensors": "formats",
        },
    )
