"""What decides the size of a result, and how large it gets, for each operator of the standard.

Small files can ask for huge arrays. `cost` in `tinygrad_cnn.onnx.sizes` reads the table `SIZES`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any, TypeAlias

import numpy as np

from tinygrad_cnn.onnx.operator import SIZES, Operator, SizeRule

__all__ = ["PER_ELEMENT"]

PER_ELEMENT = 32
"""Products of numbers that take as long as to compute an element."""

_PER_STEP = 1 << 22  # and as a step of Python, such as of a recurrent network
_Cost: TypeAlias = int | tuple[int, int]


# --- results that are no larger than the inputs --------------------------------------------------


def _reduced(shape: Sequence[int]) -> int:
    """Return the elements that an array has at most after sums along axes, also empty ones."""
    return math.prod(max(n, 1) for n in shape)


def _broadcast(node: Operator, *arrays: Any) -> int:
    given = [array.shape for array in arrays if array is not None]
    with suppress(ValueError):
        return _reduced(np.broadcast_shapes(*given))
    return sum(map(_reduced, given))


def _together(node: Operator, *arrays: Any) -> int:
    return sum(_reduced(array.shape) for array in arrays if array is not None)


def _by_channel(node: Operator, x: Any, *parts: Any) -> int:
    """Return the size for numbers of each channel."""
    most = max([part.size for part in parts if part is not None], default=1)
    return _reduced(x.shape) * (1 if most <= x.shape[1] else most)


def _by_axis(node: Operator, x: Any, *parts: Any) -> int:
    """Return the size for scales and zero points along an axis."""
    most = max([part.size for part in parts if part is not None], default=1)
    n = x.shape[node.get("axis", 1)] if most > 1 and x.ndim else 1
    return int(x.size if most <= n else max(x.size, 1) * most if parts[0].ndim < 2 else
               x.size + most * max(int(node.get("block_size", 0)), 1))  # fmt: skip


def _declare(
    names: Iterable[str], sized_by: Sequence[int] | None, elements: Callable[..., _Cost]
) -> None:
    for name in names:
        SIZES.setdefault(name, SizeRule(None if sized_by is None else tuple(sized_by), elements))


_ELEMENTWISE = """
    Abs Acos Acosh Add And Asin Asinh Atan Atanh BitShift BitwiseAnd BitwiseNot BitwiseOr BitwiseXor
    Cast Ceil Celu Clip Cos Cosh Div Elu Equal Erf Exp Floor Gelu Greater GreaterOrEqual HardSigmoid
    HardSwish Identity IsInf IsNaN LayerNormalization LeakyRelu Less LessOrEqual Log Max Mean Min
    Mish Mod Mul Neg Not Or PRelu Pow RMSNormalization Reciprocal Relu Round Selu Shrink Sigmoid
    Sign Sin Sinh Softplus Softsign Sqrt Sub Sum Swish Tan Tanh ThresholdedRelu Where Xor
"""
_declare(_ELEMENTWISE.split(), (), _broadcast)

_NO_LARGER = """
    ArgMax ArgMin BitCast CastLike Concat CumProd CumSum DepthToSpace Det Dropout
    DynamicQuantizeLinear EyeLike Flatten GatherElements GlobalAveragePool GlobalLpPool
    GlobalMaxPool Hardmax LRN LogSoftmax LpNormalization MeanVarianceNormalization
    NegativeLogLikelihoodLoss Scatter ScatterElements Softmax SoftmaxCrossEntropyLoss
    SpaceToDepth SwiGLU Transpose Trilu
"""
_declare(_NO_LARGER.split(), (), _together)
_REDUCTIONS = "L1 L2 LogSum LogSumExp Max Mean Min Prod Sum SumSquare"
_declare((f"Reduce{name}" for name in _REDUCTIONS.split()), (1,), _together)
_declare(("Compress", "Reshape", "Split", "Squeeze", "TopK", "Unsqueeze"), (1,), _together)
_declare(("Slice",), (1, 2, 3, 4), _together)
_declare(("Unique",), (0,), _together)
_declare(("BatchNormalization", "GroupNormalization", "InstanceNormalization"), (), _by_channel)
_declare(("QuantizeLinear", "DequantizeLinear"), (), _by_axis)


# --- results that are larger ---------------------------------------------------------------------


def _of(
    *op_types: str, sized_by: Sequence[int] = ()
) -> Callable[[Callable[..., _Cost]], Callable[..., _Cost]]:
    """Declare how large results of operators get, and the inputs that decide it."""

    def declare(function: Callable[..., _Cost]) -> Callable[..., _Cost]:
        _declare(op_types, sized_by, function)
        return function

    return declare


def _product(values: Any) -> int:
    return math.prod(max(int(value), 0) for value in np.ravel(values).tolist())


@_of("Shape", "Size")
def _(node: Operator, x: Any) -> _Cost:
    return max(int(x.ndim), 1)


@_of("ConstantOfShape", sized_by=[0])
def _(node: Operator, shape: Any) -> _Cost:
    return _product(shape)


@_of("Expand", sized_by=[1])
def _(node: Operator, x: Any, shape: Any) -> _Cost:
    return _product(np.array(np.broadcast_shapes(x.shape, tuple(map(int, shape))), object))


@_of("Tile", sized_by=[1, 2])
def _(node: Operator, x: Any, repeats: Any, *rest: Any) -> _Cost:
    return int(x.size) * _product(repeats)


@_of("Pad", sized_by=[1, 3])
def _(node: Operator, x: Any, pads: Any = None, *rest: Any) -> _Cost:
    given = node.get("pads", node.get("paddings")) if pads is None else pads
    each = np.reshape(np.array(np.ravel(given).tolist(), object), (2, -1)).sum(0)
    axes = rest[1] if len(rest) > 1 and rest[1] is not None else range(len(each))
    shape = list(x.shape)
    for axis, extra in zip(axes, each, strict=False):
        shape[axis] += extra
    return _product(np.array(shape, object))


@_of("CenterCropPad", sized_by=[1])
def _(node: Operator, x: Any, shape: Any) -> _Cost:
    sizes = list(x.shape)
    for axis, n in zip(node.get("axes", range(x.ndim)), np.ravel(shape).tolist(), strict=True):
        sizes[axis] = max(n, sizes[axis])
    return int(math.prod(sizes))


def _resized(node: Operator, x: Any, roi: Any, scales: Any, sizes: Any) -> _Cost:
    from tinygrad_cnn.onnx.importers.resampling import resized_axes

    count = most = int(x.size)
    taps = 1
    for axis in resized_axes(node, x, roi, scales, sizes):  # one is resized after the other
        count = count // max(axis.old, 1) * axis.new
        if node.get("antialias", 0) and axis.scale < 1:
            taps = max(taps, math.ceil(5 / axis.scale))
            most = max(most, axis.new * math.ceil(5 / axis.scale))
        most = max(most, count)
    return most, most * taps


@_of("Resize", sized_by=[1, 2, 3])
def _(node: Operator, x: Any, roi: Any = None, scales: Any = None, sizes: Any = None) -> _Cost:
    if node.opset < 11:
        return _resized(node, x, None, roi, None)
    return _resized(node, x, roi, scales, sizes)


@_of("Upsample", sized_by=[1])
def _(node: Operator, x: Any, scales: Any = None) -> _Cost:
    if node.opset < 9:
        scales = node.get("scales")
        if scales is None:
            scales = 1, 1, node.get("height_scale", 1), node.get("width_scale", 1)
    return _resized(node, x, None, scales, None)


@_of("Range", sized_by=[0, 1, 2])
def _(node: Operator, start: Any, limit: Any, delta: Any) -> _Cost:
    first, last, step = (value.item() for value in (start, limit, delta))
    count: int = math.ceil((last - first) / step)
    return max(count, 0)


@_of("HannWindow", "HammingWindow", "BlackmanWindow", sized_by=[0])
def _(node: Operator, size: Any) -> _Cost:
    return 6 * _product(size)  # with those of angles and terms


@_of("MelWeightMatrix", sized_by=[0, 1])
def _(node: Operator, bins: Any, length: Any, *rest: Any) -> _Cost:
    return 8 * _product(bins) * (_product(length) // 2 + 1)


@_of("DFT", sized_by=[1, 2])
def _(node: Operator, x: Any, length: Any = None, axis: Any = None) -> _Cost:
    at = node.get("axis", 1) if node.opset < 20 else -2 if axis is None else int(axis.item())
    n = x.shape[at] if length is None else int(length.item())
    if length is None and node.get("inverse", 0) and node.get("onesided", 0):
        n *= 2
    most = max(x.size, 2 * x.size // max(x.shape[at], 1) * max(n, 0), min(n, 1 << 13) ** 2)
    return most, most * max(x.shape[at], 1)


@_of("STFT", sized_by=[1, 3])
def _(node: Operator, x: Any, step: Any, window: Any = None, length: Any = None) -> _Cost:
    n = x.shape[1] if window is None else window.shape[0]
    n = n if length is None else int(length.item())
    frames = (x.shape[1] - n) // int(step.item()) + 1
    most = max(int(x.size // max(x.shape[1], 1)) * frames * n * 2, n * n)
    return most, most * n


# --- indices -------------------------------------------------------------------------------------


@_of("Gather")
def _(node: Operator, x: Any, indices: Any) -> _Cost:
    return int(indices.size * x.size // max(x.shape[node.get("axis", 0)], 1))


@_of("GatherND")
def _(node: Operator, x: Any, indices: Any) -> _Cost:
    inner = x.shape[node.get("batch_dims", 0) + indices.shape[-1] :]
    return int(max(math.prod(indices.shape[:-1]) * math.prod(inner), indices.size))


@_of("ScatterND")
def _(node: Operator, x: Any, indices: Any, updates: Any) -> _Cost:
    written = math.prod(indices.shape[:-1]) * math.prod(x.shape[indices.shape[-1] :])
    return int(max(x.size, written, _together(node, x, indices, updates)))


@_of("ReverseSequence")
def _(node: Operator, x: Any, lengths: Any) -> _Cost:
    return int(x.size + x.shape[node.get("time_axis", 0)] * lengths.size)


@_of("OneHot", sized_by=[1])
def _(node: Operator, indices: Any, depth: Any, values: Any) -> _Cost:
    return int(indices.size) * _product(depth)


@_of("NonZero", sized_by=[0])
def _(node: Operator, x: Any) -> _Cost:
    return int(x.size * max(x.ndim, 1))


@_of("NonMaxSuppression", sized_by=[0, 1, 2, 3, 4])
def _(node: Operator, boxes: Any, scores: Any, *rest: Any) -> _Cost:
    return 3 * int(scores.size), int(scores.size) * (_PER_STEP // 16 + scores.shape[-1])


# --- products ------------------------------------------------------------------------------------


def _matmul(a: Any, b: Any) -> _Cost:
    left = a.shape if a.ndim > 1 else (1, *a.shape)
    right = b.shape if b.ndim > 1 else (*b.shape, 1)
    size = math.prod(np.broadcast_shapes(left[:-2], right[:-2])) * left[-2] * right[-1]
    return size, size * left[-1]


@_of("MatMul")
def _(node: Operator, a: Any, b: Any) -> _Cost:
    return _matmul(a, b)


@_of("MatMulInteger")
def _(node: Operator, a: Any, b: Any, *zeros: Any) -> _Cost:
    return _with_zeros(_matmul(a, b), (a, *zeros[:1]), (b, *zeros[1:]))


@_of("QLinearMatMul")
def _(node: Operator, a: Any, a_scale: Any, a_zero: Any, b: Any, *rest: Any) -> _Cost:
    return _with_zeros(_matmul(a, b), (a, a_zero, a_scale), (b, *rest[:2]), (a, *rest[2:]))


def _with_zeros(product: _Cost, *each: Sequence[Any]) -> _Cost:
    """Return the cost of a product of arrays with their zero points and scales."""
    size, work = product if isinstance(product, tuple) else (product, 0)
    for x, *parts in each:
        most = max([part.size for part in parts if part is not None], default=1)
        size = max(size, x.size * (1 if most <= max(x.shape, default=1) else most))
    return size, work


@_of("Gemm")
def _(node: Operator, a: Any, b: Any, *rest: Any) -> _Cost:
    rows, inner = a.shape[:: -1 if node.get("transA") else 1]
    size = rows * b.shape[not node.get("transB")]
    return size, size * inner


@_of("Einsum")
def _(node: Operator, *arrays: Any) -> _Cost:
    equation, _, result = node.get("equation", "").replace(" ", "").partition("->")
    sizes: dict[str, int] = {}
    widest = ""
    for term, array in zip(equation.split(","), arrays, strict=True):
        open_axes = "9876543210"[10 - max(array.ndim - len(term.replace("...", "")), 0) :]
        widest = max(widest, open_axes, key=len)
        for letter, n in zip(term.replace("...", open_axes), array.shape, strict=True):
            sizes[letter] = max(sizes.get(letter, 0), n)
    all_together = math.prod(sizes.values())
    if len(arrays) > 2 or not result:
        return all_together, all_together
    return math.prod(sizes[letter] for letter in result.replace("...", widest)), all_together


# --- windows -------------------------------------------------------------------------------------


def _windows(node: Operator, x: Any, kernel: Any = None) -> tuple[int, int, int]:
    """Return the numbers of cells with padding, of windows and of the cells of a window."""
    from tinygrad_cnn.onnx.importers.geometry import spatial

    axes = spatial(node, x, kernel)
    return (
        math.prod(max(at.before, 0) + at.size + max(at.after, 0) for at in axes),
        math.prod(max(at.windows, 0) for at in axes),
        math.prod(at.kernel for at in axes),
    )


def _convolution(node: Operator, x: Any, w: Any) -> _Cost:
    padded, windows, _ = _windows(node, x, w.shape[2:])
    most = max(x.shape[1] * padded, w.shape[0] * windows)
    return x.shape[0] * most, x.shape[0] * windows * int(w.size)


@_of("Conv")
def _(node: Operator, x: Any, w: Any, *rest: Any) -> _Cost:
    return _convolution(node, x, w)


@_of("ConvInteger")
def _(node: Operator, x: Any, w: Any, *zeros: Any) -> _Cost:
    return _with_zeros(_convolution(node, x, w), (x, *zeros[:1]), (w, *zeros[1:]))


@_of("QLinearConv")
def _(node: Operator, x: Any, x_scale: Any, x_zero: Any, w: Any, *rest: Any) -> _Cost:
    given = (x, x_scale, x_zero), (w, *rest[:2]), (x, *rest[2:4])
    return _with_zeros(_convolution(node, x, w), *given)


@_of("CausalConvWithState")
def _(node: Operator, x: Any, w: Any, *rest: Any) -> _Cost:
    size = _together(node, x, w, *rest)
    return size, size * w.shape[-1]


@_of("DeformConv")
def _(node: Operator, x: Any, w: Any, offset: Any, *rest: Any) -> _Cost:
    padded, windows, cells = _windows(node, x, w.shape[2:])
    groups = int(node.get("group", 1))
    size = x.shape[0] * max(x.shape[1] * max(padded, 4 * windows * cells), w.shape[0] * windows)
    return size, size * w.shape[0] // max(groups, 1)


@_of("ConvTranspose")
def _(node: Operator, x: Any, w: Any, *rest: Any) -> _Cost:
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
    stated = node.get("output_shape", [0] * spatial)[-spatial:]
    pads = np.reshape(np.array(node.get("pads", [0] * 2 * spatial), object), (2, -1))
    cut = [-min(a, 0) - min(b, 0) for a, b in pads.T.tolist()]
    largest = math.prod(max(a + c, b) for a, b, c in zip(sizes, stated, cut, strict=True))
    channels = int(w.shape[1]) * int(node.get("group", 1))
    return int(x.shape[0]) * channels * largest, int(x.size) * int(w.size) // max(w.shape[0], 1)


@_of("MaxPool")
def _(node: Operator, x: Any) -> _Cost:
    padded, windows, cells = _windows(node, x)
    images = x.shape[0] * x.shape[1]
    listed = cells if node.outputs > 1 else 1  # where it was found: of all windows at once
    return images * max(padded, windows * listed), images * windows * cells


@_of("AveragePool")
def _(node: Operator, x: Any) -> _Cost:
    padded, windows, cells = _windows(node, x)
    images = x.shape[0] * x.shape[1]
    listed = cells if max(node.get("dilations") or [1]) > 1 else 1
    return images * max(padded, windows * listed), images * windows * cells


@_of("LpPool")
def _(node: Operator, x: Any) -> _Cost:
    padded, windows, cells = _windows(node, x)
    return int(x.shape[0] * x.shape[1] * max(padded, windows * cells))


@_of("MaxUnpool", sized_by=[2])
def _(node: Operator, x: Any, places: Any, output_shape: Any = None) -> _Cost:
    spatial = x.ndim - 2
    strides, kernel = node.get("strides", [1] * spatial), node.get("kernel_shape", [])
    pads = np.reshape(np.array(node.get("pads", [0] * 2 * spatial), object), (2, -1)).sum(0)
    ends = zip(x.shape[2:], strides, kernel, pads.tolist(), strict=True)
    least = int(x.shape[0] * x.shape[1]) * _product([(n - 1) * s + k - p for n, s, k, p in ends])
    return max(least, 0 if output_shape is None else _product(output_shape))


@_of("Col2Im", sized_by=[1, 2])
def _(node: Operator, x: Any, image_shape: Any, block_shape: Any) -> _Cost:
    pads = np.reshape(np.array(node.get("pads", [0] * 2 * len(image_shape)), object), (2, -1))
    padded = _product(np.array(image_shape.tolist(), object) + pads.sum(0))
    channels = x.shape[1] // max(_product(block_shape), 1)
    return int(max(x.shape[0] * max(channels, 1) * padded, x.size))


# --- points of images ----------------------------------------------------------------------------


@_of("AffineGrid", sized_by=[1])
def _(node: Operator, theta: Any, size: Any) -> _Cost:
    n, _, *sizes = size.tolist()
    return 4 * _product([n, *sizes])


@_of("GridSample")
def _(node: Operator, x: Any, grid: Any) -> _Cost:
    cells = (4 if node.get("mode", "linear") in ("cubic", "bicubic") else 2) ** (x.ndim - 2)
    count = x.shape[0] * x.shape[1] * math.prod(grid.shape[1:-1])
    return max(2 * count, _together(node, x, grid)), count * cells * PER_ELEMENT


@_of("RoiAlign")
def _(node: Operator, x: Any, boxes: Any, images: Any) -> _Cost:
    sizes = [int(node.get("output_height", 1)), int(node.get("output_width", 1))]
    samples = int(node.get("sampling_ratio", 0))
    extent = 2 * math.ceil(float(np.abs(boxes).max(initial=1)) * node.get("spatial_scale", 1.0))
    rows = [n * samples if samples else n + max(extent, n) for n in sizes]
    result = len(images) * x.shape[1] * _product(sizes)
    each = max(n * size for n, size in zip(rows, x.shape[2:], strict=True))
    return max(result, each, x.shape[1] * sizes[0] * x.shape[3]), len(images) * _PER_STEP // 8


# --- sequences -----------------------------------------------------------------------------------


@_of("RNN", "GRU", "LSTM")
def _(node: Operator, x: Any, w: Any, r: Any, *rest: Any) -> _Cost:
    steps = x.shape[0] * x.shape[1] * w.shape[0] * w.shape[1]  # all gates of all directions
    length = x.shape[1 if node.get("layout", 0) else 0]
    work = steps * (w.shape[2] + r.shape[2]) + w.shape[0] * length * _PER_STEP
    return max(steps, _together(node, x, w, r, *rest)), work


@_of("Attention")
def _(
    node: Operator, q: Any, k: Any, v: Any, mask: Any = None, past: Any = None, *rest: Any
) -> _Cost:
    heads = q.shape[1] if q.ndim == 4 else int(node.get("q_num_heads", 0))
    kept = k.shape[1] if k.ndim == 4 else int(node.get("kv_num_heads", 0))
    columns = k.shape[-2] + (0 if past is None else past.shape[2])
    products = q.shape[0], heads, q.shape[-2], columns
    if mask is not None and mask.shape[-1] <= columns:
        wide = (*mask.shape[:-1], columns if mask.shape[-1] > 1 else mask.shape[-1])
        products = np.broadcast_shapes(products, wide)
    size = math.prod(products)
    repeated = _together(node, q, k, v, past, *rest) * max(heads // max(kept, 1), 1)
    width = (k.size + v.size) // max(k.shape[0] * k.shape[-2] * max(kept, 1), 1)
    return max(size, repeated), size * width


@_of("LinearAttention")
def _(node: Operator, q: Any, k: Any, v: Any, *rest: Any) -> _Cost:
    heads, length = max(int(node.get("kv_num_heads", 1)), 1), k.shape[1]
    state = k.shape[0] * k.shape[2] * v.shape[2] // heads
    repeats = max(int(node.get("q_num_heads", heads)) // heads, 1)
    size = max(state * repeats, _together(node, q, k, v, *rest) * repeats)
    return size, length * (3 * state * repeats + _PER_STEP)


@_of("RotaryEmbedding")
def _(node: Operator, x: Any, cosines: Any, sines: Any, places: Any = None) -> _Cost:
    angles = cosines.size if places is None else places.size * cosines.shape[-1]
    rows = x.shape[0] * x.shape[-2]
    return int(x.size if angles <= rows * max(cosines.shape[-1], 1) else x.size * angles)
