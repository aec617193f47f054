"""Exporters of `tinygrad_cnn.ops.convolution`."""

from __future__ import annotations

from typing import Any

from tinygrad_cnn import ops
from tinygrad_cnn.engine.windows import Padding, Pair, Windows, windows
from tinygrad_cnn.onnx.exporters.values import both, int64, like, on_batches
from tinygrad_cnn.onnx.graph import Graph, Reference, exporter

__all__ = ["bordered", "is_refused", "pads_of", "window_attributes"]


def window_attributes(
    shape: tuple[Any, ...], kernel: tuple[int, int], stride: Pair, padding: Padding, dilation: Pair
) -> dict[str, Any]:
    """Return the attributes of the windows on images of `shape`, of convolution and pooling."""
    steps = both(stride)
    sizes = (1, 1) if steps == (1, 1) else shape[-2:]  # the border does not depend on the size
    if padding != "same":
        (top, bottom), (left, right) = _sides(0 if padding == "valid" else padding)
        border: dict[str, Any] = {"pads": [top, left, bottom, right]}
    elif all(isinstance(n, int) for n in sizes):
        border = {"pads": pads_of(windows("", sizes, kernel, steps, padding, dilation))}
    else:
        border = {"auto_pad": "SAME_UPPER"}
    return {
        "kernel_shape": list(kernel),
        "strides": list(steps),
        "dilations": list(both(dilation)),
        **border,
    }


def _sides(padding: Any) -> tuple[tuple[int, int], tuple[int, int]]:
    rows, columns = padding if isinstance(padding, tuple | list) else (padding, padding)
    return both(rows), both(columns)


def pads_of(at: Windows) -> list[int]:
    """Return the border of windows in the standard's order."""
    return [at.rows.before, at.columns.before, at.rows.after, at.columns.after]


def is_refused(at: dict[str, Any]) -> bool:
    """Return whether onnxruntime refuses the windows: a border that varies, and a dilation."""
    return "pads" not in at and at["dilations"] != [1, 1]


def bordered(graph: Graph, images: Any, at: dict[str, Any], value: Any) -> Any:
    """Return a batch of images with the border that the attributes of their windows ask for."""
    if "pads" in at:
        return graph.node(
            "Pad", images, int64([0, 0, *at["pads"][:2], 0, 0, *at["pads"][2:]]), value
        )
    steps = int64(at["strides"])
    reach = [(k - 1) * d + 1 for k, d in zip(at["kernel_shape"], at["dilations"], strict=True)]
    # As much as the windows, one for each step of the image, reach beyond it.
    size = graph.node("Shape", images, start=2)
    before_last = graph.node("Div", graph.node("Sub", size, int64([1])), steps)
    end = graph.node("Add", graph.node("Mul", before_last, steps), int64(reach))
    border = graph.node("Max", graph.node("Sub", end, size), int64([0]))
    first = graph.node("Div", border, int64([2]))
    rest = graph.node("Sub", border, first)
    none = int64([0, 0])
    return graph.node("Pad", images, graph.node("Concat", none, first, none, rest, axis=0), value)


@exporter(ops.conv2d)
def _(
    graph: Graph,
    x: Reference,
    w: Reference,
    bias: Reference | None = None,
    stride: Pair = 1,
    padding: Padding = 0,
    dilation: Pair = 1,
    groups: int = 1,
) -> Any:
    attributes = window_attributes(x.shape, w.shape[2:], stride, padding, dilation)

    def compute(images: Any) -> Any:
        own = attributes
        if is_refused(own):
            images = bordered(graph, images, own, like(x, 0))
            own = {name: v for name, v in own.items() if name != "auto_pad"}
        return graph.node("Conv", images, w, bias, group=int(groups), **own)

    return on_batches(graph, x, 4, compute)


@exporter(ops.conv_transpose2d)
def _(
    graph: Graph,
    x: Reference,
    w: Reference,
    bias: Reference | None = None,
    stride: Pair = 1,
    padding: Pair = 0,
    output_padding: Pair = 0,
    groups: int = 1,
    dilation: Pair = 1,
) -> Any:
    attributes = window_attributes(x.shape, w.shape[2:], stride, padding, dilation)
    extra = both(output_padding)
    # The standard wants less output padding than a stride: rows of zeros take the place of more.
    rows, columns = (e // s for e, s in zip(extra, attributes["strides"], strict=True))
    rest = [e % s for e, s in zip(extra, attributes["strides"], strict=True)]

    def compute(image: Any) -> Any:
        if rows or columns:
            ends = int64([0, 0, 0, 0, 0, 0, rows, columns])
            image = graph.node("Pad", image, ends, like(x, 0))
        return graph.node("ConvTranspose", image, w, bias, group=int(groups),
                          output_padding=rest, **attributes)  # fmt: skip

    return on_batches(graph, x, 4, compute)
