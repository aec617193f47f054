"""Receptive fields: windows composed from a layer's output back to the network's input."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from tinygrad_cnn.engine.windows import WindowAxis
from tinygrad_cnn.studio.explain.forward import LayerCall

__all__ = ["Rectangle", "Region", "receptive_field", "rectangle", "seen_by", "whole"]

Region: TypeAlias = tuple[tuple[int, int], ...]
"""A box of an array: the start and end of each axis, end excluded."""


@dataclass(frozen=True)
class Rectangle:
    """Rows `top` to below `bottom` and columns `left` to below `right` of a picture."""

    top: int
    left: int
    bottom: int
    right: int


def receptive_field(layer: LayerCall, cell: tuple[int, ...]) -> Rectangle:
    """Return the receptive field of a cell of a layer's output, in the network's input.

    Parameters
    ----------
    layer : LayerCall
    cell : tuple of int
        An index of ``layer.output``.
    """
    region: Region = tuple((place, place + 1) for place in cell)
    at: LayerCall | None = layer
    while at is not None:
        if at.picture is not None:
            return rectangle(whole(at.picture))
        region, at = seen_by(at, region), at.source
    return rectangle(region)


def seen_by(layer: LayerCall, region: Region) -> Region:
    """Return the box of ``layer.given`` on which a box of its output depends."""
    shape = layer.given.shape
    if any(start == stop for start, stop in region):
        return ((0, 0),) * len(shape)
    if layer.windows is not None:
        channels, rows, columns = region
        return (
            _channels(layer, channels),
            _cells(layer.windows.rows, rows),
            _cells(layer.windows.columns, columns),
        )
    if layer.kind == "flatten" and all(stop == start + 1 for start, stop in region):
        unit = np.ravel_multi_index(tuple(start for start, _ in region), layer.output.shape)
        return tuple((int(place), int(place) + 1) for place in np.unravel_index(unit, shape))
    if layer.takes_each:
        return region
    return whole(shape)


def whole(shape: tuple[int, ...]) -> Region:
    """Return the box of a whole array."""
    return tuple((0, size) for size in shape)


def rectangle(region: Region) -> Rectangle:
    """Return the rectangle of a box of a picture."""
    (top, bottom), (left, right) = region[-2:]
    return Rectangle(top, left, bottom, right)


def _cells(axis: WindowAxis, outputs: tuple[int, int]) -> tuple[int, int]:
    """Return the image cells, from first to last, under a range of adjacent windows."""
    start, stop = outputs
    first = start * axis.stride - axis.before
    end = (stop - 1) * axis.stride - axis.before + (axis.kernel - 1) * axis.dilation + 1
    low = min(max(first, 0), axis.size)
    return low, max(min(end, axis.size), low)


def _channels(layer: LayerCall, outputs: tuple[int, int]) -> tuple[int, int]:
    """Return the input channels on which adjacent output channels depend."""
    given, made = (len(array) // layer.groups for array in (layer.given, layer.output))
    start, stop = outputs
    return start // made * given, ((stop - 1) // made + 1) * given
