"""Windows put back into images, and convolution with windows of any form."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinygrad_cnn import ops
from tinygrad_cnn.onnx.importers.geometry import SpatialAxis, numbers, spatial
from tinygrad_cnn.onnx.importers.values import refused
from tinygrad_cnn.onnx.operator import Operator, importer
from tinygrad_cnn.ops.sampling import linear_cells, read_cells


@importer("Col2Im")
def _(node: Operator, x: Any, image_shape: Any, block_shape: Any) -> Any:
    """Add windows (N, C·cells, windows) up to images."""
    sizes, kernel = (np.ravel(np.asarray(v)).tolist() for v in (image_shape, block_shape))
    rank = len(sizes)
    strides, dilations = numbers(node, "strides", rank, 1), numbers(node, "dilations", rank, 1)
    pads = numbers(node, "pads", 2 * rank, 0)
    rows = zip(sizes, kernel, strides, dilations, pads[:rank], pads[rank:], strict=True)
    axes = [SpatialAxis(*row) for row in rows]
    count = [at.windows for at in axes]
    if x.ndim != 3 or x.shape[1] % math.prod(kernel) or x.shape[2] != math.prod(count):
        raise refused(node, f"x has shape {x.shape}, expected (N, C·{kernel}, {count})")
    n, channels = x.shape[0], x.shape[1] // math.prod(kernel)
    index: list[Any] = [slice(None), slice(None)]
    for k, at in enumerate(axes):  # cells of the padded axis, of shape (kernel..., windows...)
        shape = [1] * 2 * rank
        shape[k], shape[rank + k] = at.kernel, at.windows
        index.append(at.cells().T.reshape(shape))
    padded = [at.before + at.size + at.after for at in axes]
    y = ops.put(x.reshape((n, channels, *kernel, *count)), tuple(index), (n, channels, *padded))
    return ops.getitem(y, (..., *(slice(at.before, at.before + at.size) for at in axes)))


@importer("DeformConv")
def _(node: Operator, x: Any, w: Any, offset: Any, bias: Any = None, mask: Any = None) -> Any:
    """Convolve images with windows whose cells are moved by `offset` and weighted by `mask`."""
    axes, groups = spatial(node, x, w.shape[2:]), node.get("group", 1)
    parts = node.get("offset_group", 1)
    if len(axes) != 2 or x.shape[1] % parts or x.shape[1] % groups:
        raise refused(node, f"x has shape {x.shape}, expected (N, C, H, W)")
    n, channels = x.shape[:2]
    count, kernel = [at.windows for at in axes], tuple(w.shape[2:])
    size = math.prod(kernel)
    moves = ops.swapaxes(offset.reshape((n * parts, size, 2, *count)), 1, 2)
    moves = moves.reshape((n * parts, 2, size * count[0], count[1]))
    cells = []
    for k, at in enumerate(axes):
        shape = [1, 1, 1, 1]
        shape[k], shape[2 + k] = at.kernel, at.windows
        place = np.broadcast_to((at.cells().T - at.before).reshape(shape), (*kernel, *count))
        place = place.reshape((1, size * count[0], count[1])).astype(x.dtype)
        cells.append(linear_cells(moves[:, k] + place))
    values = read_cells(x.reshape((n * parts, channels // parts, *x.shape[2:])), cells)
    values = values.reshape((n, parts, -1, size, *count))
    if mask is not None:
        values = values * mask.reshape((n, parts, 1, size, *count))
    # (N, groups, C / groups·cells, windows), and kernels (groups, OC / groups, C / groups·cells)
    values = values.reshape((n, groups, channels // groups * size, math.prod(count)))
    y = ops.matmul(w.reshape((groups, w.shape[0] // groups, -1)), values)
    y = y.reshape((n, w.shape[0], *count))
    return y if bias is None else y + bias.reshape((-1, 1, 1))
