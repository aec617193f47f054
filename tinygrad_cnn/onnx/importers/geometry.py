"""Windows along the spatial axes, as the attributes of convolution and pooling state them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn import ops
from tinygrad_cnn.onnx.importers.values import refused
from tinygrad_cnn.onnx.operator import Operator

__all__ = ["SpatialAxis", "axes_of", "borders", "numbers", "spatial"]


@dataclass(frozen=True, slots=True)
class SpatialAxis:
    """The windows along one spatial axis.

    Attributes
    ----------
    size, kernel, stride, dilation : int
    before, after : int
        The padding at both ends.
    ceil : bool
        Whether to include a last window that extends beyond the edge.
    """

    size: int
    kernel: int = 1
    stride: int = 1
    dilation: int = 1
    before: int = 0
    after: int = 0
    ceil: bool = False

    @property
    def reach(self) -> int:
        """The cells from the first to the last one of a window."""
        return self.dilation * (self.kernel - 1) + 1

    @property
    def border(self) -> tuple[int, int]:
        """The padding at both ends."""
        return self.before, self.after

    @property
    def windows(self) -> int:
        """The number of windows; one more with `ceil`, if it starts on the image."""
        room = self.size + self.before + self.after - self.reach
        count = room // self.stride + 1
        more = self.ceil and room % self.stride and count * self.stride < self.size + self.before
        return count + bool(more)

    def cells(self) -> NDArray[np.intp]:
        """Return the cells of each window on the padded axis, of shape (windows, kernel)."""
        starts = np.arange(self.windows) * self.stride
        return starts[:, np.newaxis] + np.arange(self.kernel) * self.dilation

    def gather(self, x: Any, axis: int, fill: float = 0.0) -> Any:
        """Return `x` with its windows: an axis becomes two, of windows and of their cells."""
        if self.windows < 1:
            raise ValueError(f"a kernel of {self.kernel} does not fit an axis of {self.size}")
        beyond = (self.windows - 1) * self.stride + self.reach - self.before - self.size
        if self.before or beyond > 0:
            border = [(0, 0)] * x.ndim
            border[axis] = self.before, max(beyond, 0)
            x = ops.pad(x, border, value=fill)
        return ops.getitem(x, (*(slice(None),) * axis, self.cells()))


def borders(axes: Sequence[SpatialAxis]) -> Any:
    """Return the padding of each axis: pairs, or numbers if all are the same at both ends."""
    pairs = [axis.border for axis in axes]
    is_even = all(before == after for before, after in pairs)
    return tuple(before for before, _ in pairs) if is_even else tuple(pairs)


def spatial(node: Operator, x: Any, kernel: Sequence[int] | None = None) -> list[SpatialAxis]:
    """Return the windows along each axis of `x` after the second one.

    Parameters
    ----------
    node : Operator
        With the attributes kernel_shape, strides, dilations, pads, auto_pad and ceil_mode.
    x : Tensor or ndarray
        Of shape (N, C, ...).
    kernel : sequence of int, optional
        The shape of the kernels, if the node may leave it out.

    Raises
    ------
    OnnxError
        If an attribute does not fit `x`.
    """
    sizes = tuple(x.shape[2:])
    rank = len(sizes)
    if not rank:
        raise refused(node, f"x has shape {x.shape}, expected (N, C, ...)")
    stated = numbers(node, "kernel_shape", rank, kernel)
    if kernel is not None and tuple(kernel) != tuple(stated):
        raise refused(node, f"kernel_shape is {list(stated)}, but w has kernels of {tuple(kernel)}")
    strides, dilations = numbers(node, "strides", rank, 1), numbers(node, "dilations", rank, 1)
    if min(*stated, *strides, *dilations) < 1:
        raise refused(
            node,
            f"kernel_shape, strides and dilations are {list(stated)}, "
            f"{list(strides)} and {list(dilations)}, expected 1 or more",
        )
    auto, ceil = node.get("auto_pad", "NOTSET"), bool(node.get("ceil_mode", 0))
    if auto == "NOTSET":
        pads = numbers(node, "pads", 2 * rank, 0)
        borders = list(zip(pads[:rank], pads[rank:], strict=True))
    else:
        borders = [
            _automatic(node, auto, n, s, d * (k - 1) + 1)
            for n, k, s, d in zip(sizes, stated, strides, dilations, strict=True)
        ]
    rows = zip(sizes, stated, strides, dilations, borders, strict=True)
    return [SpatialAxis(n, k, s, d, *border, ceil) for n, k, s, d, border in rows]


def numbers(node: Operator, name: str, count: int, default: Any = None) -> tuple[int, ...]:
    """Return an attribute that has a number for each axis; `default` is one for all or a tuple."""
    values = node.get(name)
    if values is None:
        values = (default,) * count if isinstance(default, int) else default
    if values is None or len(values) != count:
        raise refused(node, f"{name} is {values}, expected {count} numbers")
    return tuple(int(value) for value in values)


def axes_of(node: Operator, axes: Any, rank: int) -> list[int]:
    """Return axes counted from the first one."""
    found = [int(axis) + rank * (axis < 0) for axis in np.ravel(axes).tolist()]
    if len(set(found)) < len(found) or not all(0 <= axis < rank for axis in found):
        given = np.ravel(axes).tolist()
        raise refused(node, f"axes are {given}, expected distinct ones of the {rank} of x")
    return found


def _automatic(node: Operator, auto: str, n: int, stride: int, reach: int) -> tuple[int, int]:
    """Return the padding that auto_pad asks for along an axis."""
    if auto == "VALID":
        return 0, 0
    total = max((math.ceil(n / stride) - 1) * stride + reach - n, 0)
    if auto == "SAME_UPPER":  # of an odd number, one more at the end
        return total // 2, total - total // 2
    if auto == "SAME_LOWER":
        return total - total // 2, total // 2
    raise refused(node, f"auto_pad is {auto!r}, expected NOTSET, VALID, SAME_UPPER or SAME_LOWER")
