"""ONNX files: `export` writes a model to one, `load` makes a `Module` of one.

The extra ``onnx`` is needed. How an op is exported stands in `tinygrad_cnn.onnx.exporters`, one
function an op, in the families of `tinygrad_cnn.ops`; how an ONNX operator is computed stands in
`tinygrad_cnn.onnx.importers`. `exporter` adds your own op, `importer` an operator.
"""

from typing import TYPE_CHECKING

from tinygrad_cnn.onnx.errors import OnnxError
from tinygrad_cnn.onnx.export import export
from tinygrad_cnn.onnx.graph import Graph, Reference, exporter
from tinygrad_cnn.onnx.load import load
from tinygrad_cnn.onnx.module import OnnxModule
from tinygrad_cnn.onnx.operator import Operator, importer
from tinygrad_cnn.support.modules import public

__all__ = [
    "Graph",
    "OnnxError",
    "OnnxModule",
    "Operator",
    "Reference",
    "export",
    "exporter",
    "importer",
    "load",
]

if not TYPE_CHECKING:
    __getattr__, __dir__ = public(__name__)
