"""`load`: the `Module` of an ONNX file."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import Any

from tinygrad_cnn.onnx.assembly import Parts, without_identities
from tinygrad_cnn.onnx.calls import GraphReader, in_order, needed, opsets
from tinygrad_cnn.onnx.errors import OnnxError, named
from tinygrad_cnn.onnx.folding import Folding
from tinygrad_cnn.onnx.module import OnnxModule
from tinygrad_cnn.onnx.operator import IMPORTERS
from tinygrad_cnn.onnx.reading import input_of, of_zeros, read_model, with_shapes
from tinygrad_cnn.onnx.tensors import TensorReader

__all__ = ["load"]


def load(
    path: str | os.PathLike[str] | bytes | Any,
    input_shapes: Mapping[str, Sequence[int | None]] | None = None,
) -> OnnxModule:
    """Return the Module of an ONNX file, in eval mode.

    Parameters
    ----------
    path : str, path-like, bytes or ModelProto
        The file. Values in data files are read from its folder, if it is given as a path.
    input_shapes : mapping of str to sequence of int, optional
        Shapes of inputs, by name, where the file leaves sizes open; None for a size that stays
        open. With all sizes known, arithmetic with shapes is computed at loading.

    Returns
    -------
    OnnxModule
        Its parameters and buffers have the names of the file.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    OnnxError
        If the file is damaged, or has operators that cannot be loaded: all are named. A ValueError.

    Notes
    -----
    A floating initializer is a parameter if it has axes, or is the weight of an operator such as
    Conv, and a gradient can reach it; so is the value of a Constant node with more than one
    element. The running mean and variance of BatchNormalization are buffers. float16 and bfloat16
    become float32.

    Examples
    --------
    >>> import onnx
    >>> import tinygrad_cnn as tg
    >>> from onnx.parser import parse_model
    >>> text = '''<ir_version: 8, opset_import: ["" : 17]>
    ... line (float[N, 2] x) => (float[N, 1] y) <float[2, 1] weight = {3, 5}> {
    ...     y = MatMul(x, weight)
    ... }'''
    >>> model = tg.onnx.load(parse_model(text))
    >>> model([[1.0, 2.0]])
    Tensor([[13.]], op=matmul)
    >>> [name for name, _ in model.named_parameters()]
    ['weight']
    """
    proto, folder, name = read_model(path)
    with named(f"load: {name}"):
        try:
            return _loaded(proto, folder, input_shapes or {})
        except OnnxError as error:
            raise OnnxError(f"load: {name}: {error}") from error.__cause__


@cache
def _declare_importers() -> None:
    """Fill the table of importers."""
    from tinygrad_cnn.onnx import importers

    own = dict(IMPORTERS)  # of a user, perhaps instead of one here
    for module in iter_modules(importers.__path__):
        import_module(f"{importers.__name__}.{module.name}")
    IMPORTERS.update(own)


def _loaded(proto: Any, folder: Path | None, shapes: Mapping[str, Any]) -> OnnxModule:
    _declare_importers()
    version = opsets(proto.opset_import, "the file").get("", 0)
    body = GraphReader(proto, TensorReader(folder)).body(proto.graph)
    inputs = [input_of(info) for info in body.inputs]
    given = [each.name for each in inputs]
    if len(set(given)) < len(given) or "" in given:
        raise OnnxError(f"the inputs are named {', '.join(map(repr, given))}: each needs its own")
    with_shapes(inputs, shapes)
    calls = needed(in_order(body.calls, {*given, *body.constants}), body.outputs)
    names = list(body.outputs)
    body.calls = calls
    body = body.merged({})
    body.calls, outputs = without_identities(
        body.calls, dict(zip(names, body.outputs, strict=True))
    )
    body.outputs = list(outputs.values())
    folding = Folding()
    zeros = {each.name: of_zeros(each) for each in inputs}
    folding.samples = {name: array for name, array in zeros.items() if array is not None}
    refused = folding.run(body)
    if refused:
        raise OnnxError("these operators cannot be loaded: " + "; ".join(refused))
    calls, outputs = without_identities(needed(folding.calls, body.outputs), outputs)
    parameters, buffers = folding.parameters, folding.buffers
    held = folding.known.keys() | parameters.keys() | buffers.keys()
    known = {*given, *held, *(name for call in calls for name in call.outputs)}
    missing = [output for output, name in outputs.items() if name not in known]
    if missing or not outputs:
        raise OnnxError(f"nothing computes the outputs {', '.join(map(repr, missing))}" if missing
                        else "the graph has no outputs")  # fmt: skip
    results = [(name, outputs[name]) for name in names]
    parts = Parts(calls, folding.known, parameters, buffers, inputs, results, version)
    return parts.module().eval()
