"""Estimates of the size of a result before it is computed: small files can ask for large arrays."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn.onnx.operator import Operator

__all__ = ["elements"]

_GROWING: dict[str, Callable[..., int]] = {}


def elements(node: Operator, arrays: list[NDArray[Any] | None]) -> int:
    """Return about how many elements the largest array has that computing a node needs.

    0 where the inputs do not tell, or fit no result: computing it then finds the error.
    """
    given = [array for array in arrays if isinstance(array, np.ndarray)]
    count = 0
    with suppress(ValueError):
        count = math.prod(np.broadcast_shapes(*(array.shape for array in given)))
    grow = _GROWING.get(node.op_type)
    if grow is not None:
        with suppress(ArithmeticError, IndexError, TypeError, ValueError):
            count = max(count, grow(node, *arrays))
    return count


def _growing(*op_types: str) -> Callable[[Callable[..., int]], None]:
    def declare(function: Callable[..., int]) -> None:
        _GROWING.update(dict.fromkeys(op_types, function))

    return declare


def _product(values: Any) -> int:
    return math.prod(max(int(value), 0) for value in np.ravel(values))


@_growing("ConstantOfShape", "RandomNormal", "RandomUniform")
def _(node: Operator, shape: Any = None) -> int:
    return _product(node.get("shape", ()) if shape is None else shape)


@_growing("Expand")
def _(node: Operator, x: Any, shape: Any) -> int:
    return _product(np.broadcast_shapes(x.shape, tuple(map(int, shape))))


@_growing("Tile")
def _(node: Operator, x: Any, repeats: Any, *rest: Any) -> int:
    return int(x.size) * _product(repeats)


@_growing("Pad")
def _(node: Operator, x: Any, pads: Any = None, *rest: Any) -> int:
    given = node.get("pads", node.get("paddings")) if pads is None else pads
    each = np.reshape(np.array(given, object), (2, -1)).sum(0)
    axes = rest[1] if len(rest) > 1 and rest[1] is not None else range(len(each))
    shape = list(x.shape)
    for axis, extra in zip(axes, each, strict=False):
        shape[axis] += extra
    return _product(np.array(shape, object))


@_growing("Resize", "Upsample")
def _(node: Operator, x: Any, *rest: Any) -> int:
    if len(rest) == 3 and rest[2] is not None and rest[2].size:
        sizes = rest[2]
        return _product(sizes) if len(sizes) == x.ndim else int(x.size) * _product(sizes)
    scales = node.get("scales") if not rest else rest[1] if len(rest) > 1 else rest[0]
    return int(x.size * math.prod(map(float, scales)))


@_growing("Range")
def _(node: Operator, start: Any, limit: Any, delta: Any) -> int:
    return int((float(limit.item()) - float(start.item())) / float(delta.item()))


@_growing("OneHot")
def _(node: Operator, indices: Any, depth: Any, values: Any) -> int:
    return int(indices.size) * int(depth.item())


@_growing("Gather")
def _(node: Operator, x: Any, indices: Any) -> int:
    return int(indices.size * x.size // max(x.shape[node.get("axis", 0)], 1))


@_growing("MatMul")
def _(node: Operator, a: Any, b: Any) -> int:
    left = a.shape if a.ndim > 1 else (1, *a.shape)
    right = b.shape if b.ndim > 1 else (*b.shape, 1)
    return math.prod(np.broadcast_shapes(left[:-2], right[:-2])) * int(left[-2] * right[-1])


@_growing("Gemm")
def _(node: Operator, a: Any, b: Any, *rest: Any) -> int:
    return int(a.shape[bool(node.get("transA"))] * b.shape[not node.get("transB")])


@_growing("Concat")
def _(node: Operator, *arrays: Any) -> int:
    return int(sum(array.size for array in arrays))


@_growing("Einsum")
def _(node: Operator, *arrays: Any) -> int:
    sizes: dict[str, int] = {}
    terms, _, result = node.get("equation", "").replace(" ", "").partition("->")
    for term, array in zip(terms.split(","), arrays, strict=True):
        sizes.update(zip(term, array.shape, strict=False))
    return math.prod(sizes.get(letter, 1) for letter in (result or "".join(sizes)))


@_growing("Conv", "MaxPool", "AveragePool", "LpPool")
def _(node: Operator, x: Any, w: Any = None, *rest: Any) -> int:
    pads = np.reshape(np.array(node.get("pads", [0] * 2 * (x.ndim - 2)), object), (2, -1)).sum(0)
    padded = _product(np.array(x.shape[2:], object) + pads)
    return int(padded * x.shape[0] * max(x.shape[1], 1 if w is None else w.shape[0]))


@_growing("ConvTranspose")
def _(node: Operator, x: Any, w: Any, *rest: Any) -> int:
    spatial = x.ndim - 2
    strides = node.get("strides", [1] * spatial)
    dilations = node.get("dilations", [1] * spatial)
    extra = node.get("output_padding", [0] * spatial)
    sizes = [
        (size - 1) * stride + (kernel - 1) * dilation + 1 + more
        for size, stride, kernel, dilation, more in zip(
            x.shape[2:], strides, w.shape[2:], dilations, extra, strict=True
        )
    ]
    largest = max(_product(sizes), _product(node.get("output_shape", [0])))
    return int(x.shape[0]) * int(w.shape[1]) * int(node.get("group", 1)) * largest


@_growing("AffineGrid")
def _(node: Operator, theta: Any, size: Any) -> int:
    return _product(size) * 4


@_growing("Col2Im")
def _(node: Operator, x: Any, image_shape: Any, block_shape: Any) -> int:
    pads = np.reshape(np.array(node.get("pads", [0] * 2 * len(image_shape)), object), (2, -1))
    padded = _product(np.array(image_shape.tolist(), object) + pads.sum(0))
    channels = x.shape[1] // max(_product(block_shape), 1)
    return int(x.shape[0] * max(channels, 1) * padded)


@_growing("CenterCropPad")
def _(node: Operator, x: Any, shape: Any) -> int:
    sizes = dict(enumerate(x.shape))
    sizes.update(zip(node.get("axes", range(x.ndim)), np.ravel(shape).tolist(), strict=True))
    return _product(list(sizes.values()))


@_growing("MaxUnpool")
def _(node: Operator, x: Any, places: Any, output_shape: Any = None) -> int:
    strides, kernel = node.get("strides", [1] * (x.ndim - 2)), node.get("kernel_shape", [])
    ends = zip(x.shape[2:], strides, kernel, strict=True)
    least = int(x.shape[0] * x.shape[1]) * _product([n * s + k for n, s, k in ends])
    return max(least, 0 if output_shape is None else _product(output_shape))


@_growing("RoiAlign")
def _(node: Operator, x: Any, boxes: Any, images: Any) -> int:
    size = _product([node.get("output_height", 1), node.get("output_width", 1)])
    each = max(int(node.get("sampling_ratio", 0)), 1) ** 2
    return int(len(images) * x.shape[1]) * size * each
