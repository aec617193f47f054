"""Blocks of pixels moved to channels, and back."""

from __future__ import annotations

from typing import Any

from tinygrad_cnn import ops
from tinygrad_cnn.onnx.importers.values import refused
from tinygrad_cnn.onnx.operator import Operator, importer


@importer("DepthToSpace")
def _(node: Operator, x: Any) -> Any:
    n, channels, height, width = _image(node, x)
    size, rest = _size(node), channels // _size(node) ** 2
    if channels % size**2:
        raise refused(node, f"x has {channels} channels, expected a multiple of {size}²")
    # the rows and columns of a block come before the channel (DCR), or after it (CRD)
    if node.get("mode", "DCR") == "DCR":
        parts, order = (n, size, size, rest, height, width), (0, 3, 4, 1, 5, 2)
    else:
        parts, order = (n, rest, size, size, height, width), (0, 1, 4, 2, 5, 3)
    y = ops.transpose(x.reshape(parts), order)
    return y.reshape((n, rest, height * size, width * size))


@importer("SpaceToDepth")
def _(node: Operator, x: Any) -> Any:
    n, channels, height, width = _image(node, x)
    size = _size(node)
    if height % size or width % size:
        raise refused(node, f"x is {height} x {width}, expected multiples of blocksize={size}")
    height, width = height // size, width // size
    order = (0, 3, 5, 1, 2, 4) if node.get("mode", "DCR") == "DCR" else (0, 1, 3, 5, 2, 4)
    y = ops.transpose(x.reshape((n, channels, height, size, width, size)), order)
    return y.reshape((n, channels * size**2, height, width))


def _image(node: Operator, x: Any) -> tuple[int, int, int, int]:
    if x.ndim != 4:
        raise refused(node, f"x has shape {x.shape}, expected (N, C, H, W)")
    n, channels, height, width = x.shape
    return n, channels, height, width


def _size(node: Operator) -> int:
    size = int(node.get("blocksize", 0))
    if size < 1:
        raise refused(node, f"blocksize is {size}, expected 1 or more")
    return size
