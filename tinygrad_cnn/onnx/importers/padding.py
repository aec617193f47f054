"""Borders: added, or with negative widths cut off."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_cnn import ops
from tinygrad_cnn.onnx.importers.geometry import axes_of, numbers
from tinygrad_cnn.onnx.importers.values import plain, refused
from tinygrad_cnn.onnx.operator import Operator, importer

MODES = ("constant", "reflect", "edge", "wrap")


@importer("Pad")
def _(node: Operator, x: Any, pads: Any = None, value: Any = None, axes: Any = None) -> Any:
    if node.opset < 11:
        attribute = "pads" if node.opset >= 2 else "paddings"
        pads, value = numbers(node, attribute, 2 * x.ndim), node.get("value", 0.0)
    chosen = list(range(x.ndim)) if axes is None else axes_of(node, axes, x.ndim)
    widths = np.ravel(np.asarray(pads)).tolist()
    if len(widths) != 2 * len(chosen):
        raise refused(node, f"pads are {widths}, expected {2 * len(chosen)} numbers")
    border = [(0, 0)] * x.ndim
    pairs = zip(widths[: len(chosen)], widths[len(chosen) :], strict=True)
    for axis, (before, after) in zip(chosen, pairs, strict=True):
        border[axis] = before, after
    mode = node.get("mode", "constant")
    if mode not in MODES:
        raise refused(node, f"mode is {mode!r}, expected one of {MODES}")
    return _bordered(x, border, mode, 0 if value is None else plain(value).item())


@importer("CenterCropPad")
def _(node: Operator, x: Any, shape: Any) -> Any:
    axes = axes_of(node, node.get("axes", range(x.ndim)), x.ndim)
    sizes = np.ravel(np.asarray(shape)).tolist()
    if len(sizes) != len(axes):
        raise refused(node, f"shape is {sizes}, expected {len(axes)} numbers")
    border = [(0, 0)] * x.ndim
    for axis, size in zip(axes, sizes, strict=True):
        more = size - x.shape[axis]  # of an odd number, one more at the end
        before = more // 2 if more > 0 else -(-more // 2)
        border[axis] = before, more - before
    return _bordered(x, border, "constant", 0)


def _bordered(x: Any, border: list[tuple[int, int]], mode: str, value: float) -> Any:
    """Return `x` with a border, after cutting off where a width is negative."""
    if any(min(pair) < 0 for pair in border):
        kept = []
        for size, (before, after) in zip(x.shape, border, strict=True):
            kept.append(slice(max(-before, 0), max(size + min(after, 0), 0)))
        x = ops.getitem(x, tuple(kept))
        border = [(max(before, 0), max(after, 0)) for before, after in border]
    return ops.pad(x, border, mode, value) if any(map(any, border)) else x
