"""The geometry of windows on an image, for convolution and pooling.

Along one axis of length H, with padding (before, after), window o covers the cells

    o·stride − before + k·dilation,   k = 0 … kernel − 1

so the cells at kernel offset k of all windows form one strided slice of the padded axis.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from threading import RLock
from typing import Any, TypeAlias

import numpy as np

from tinygrad_cnn.engine.arrays import Array

Pair: TypeAlias = int | tuple[int, int]
Padding: TypeAlias = int | tuple[int, int] | tuple[tuple[int, int], tuple[int, int]] | str
Borders: TypeAlias = tuple[tuple[int, int], tuple[int, int]]  # before and after, of each axis


@dataclass(frozen=True)
class WindowAxis:
    """The windows along one axis; negative padding crops."""

    size: int
    kernel: int
    stride: int
    dilation: int
    before: int
    after: int
    windows: int

    @cached_property
    def padded(self) -> int:
        """The length of the padded axis; with ``ceil_mode`` the windows may extend it."""
        return max(self.before + self.size + self.after, self.reach)

    @property
    def shared(self) -> bool:
        """Whether overlapping windows share gathered cells: the cells of each are adjacent."""
        return self.dilation == 1 and self.stride < max(self.kernel, 2)

    @property
    def step(self) -> int:
        """The distance between the first cells of neighboring windows, after gathering."""
        return self.stride if self.shared else self.kernel

    @cached_property
    def apart(self) -> bool:
        """Whether no two windows overlap."""
        return self.windows == 1 or self.stride >= self.dilation * (self.kernel - 1) + 1

    @cached_property
    def seen(self) -> tuple[slice, slice]:
        """The cells of the padded axis inside the border, and the matching cells of the image."""
        first, start = max(-self.before, 0), max(self.before, 0)
        length = max(0, min(self.size - first, self.padded - start))
        return slice(start, start + length), slice(first, first + length)

    @property
    def reach(self) -> int:
        """The end of the last window on the padded axis."""
        return (self.windows - 1) * self.stride + self.dilation * (self.kernel - 1) + 1

    @cached_property
    def offsets(self) -> tuple[slice, ...]:
        """The cells of the padded axis under each kernel offset, one per window."""
        starts = [k * self.dilation for k in range(self.kernel)]
        length = self.stride * (self.windows - 1) + 1
        return tuple(slice(start, start + length, self.stride) for start in starts)

    def starts(self) -> Array:
        """Return the start of each window on the axis without padding."""
        return np.arange(self.windows) * self.stride - self.before


@dataclass(frozen=True)
class Windows:
    """The windows on an image: `rows` along the height and `columns` along the width."""

    rows: WindowAxis
    columns: WindowAxis

    @cached_property
    def kernel(self) -> tuple[int, int]:
        """The size of a window."""
        return self.rows.kernel, self.columns.kernel

    @cached_property
    def count(self) -> tuple[int, int]:
        """The number of windows along each axis: the size of the output."""
        return self.rows.windows, self.columns.windows

    @cached_property
    def can_miss(self) -> bool:
        """Whether a window may have no cell on the image."""
        axes = (self.rows, self.columns)
        return any((axis.before or axis.after) and axis.size < axis.dilation for axis in axes)

    @cached_property
    def covers_all(self) -> bool:
        """Whether windows that do not overlap cover the padded image."""
        axes = (self.rows, self.columns)
        return all(axis.windows * axis.kernel == axis.padded for axis in axes)

    @cached_property
    def needs_no_border(self) -> bool:
        """Whether the padded image is the image itself."""
        axes = (self.rows, self.columns)
        return all(axis.before == 0 and axis.padded == axis.size for axis in axes)

    @cached_property
    def cells(self) -> tuple[tuple[Any, slice, slice], ...]:
        """The index of the padded image's cells under each kernel offset, in row-major order."""
        return tuple(
            (..., of_rows, of_columns)
            for of_rows in self.rows.offsets
            for of_columns in self.columns.offsets
        )

    def pad(self, x: Array, value: float = 0.0) -> Array:
        """Return `x`, of shape (..., H, W), with its border; `x` itself if it needs none."""
        if self.needs_no_border:
            return x
        shape = (*x.shape[:-2], self.rows.padded, self.columns.padded)
        out = np.full_like(x, value, shape=shape)  # keeps the layout of x
        (rows, of_rows), (columns, of_columns) = self.rows.seen, self.columns.seen
        out[..., rows, columns] = x[..., of_rows, of_columns]
        return out

    def crop(self, padded: Array) -> Array:
        """Return the view of `padded` inside the border."""
        rows, columns = self.rows, self.columns
        return padded[
            ...,
            rows.before : rows.before + rows.size,
            columns.before : columns.before + columns.size,
        ]


def strip(count: int, stride: int, offset: int, size: int) -> Iterator[tuple[slice, slice | None]]:
    """Yield ranges of o in 0 … count − 1 with cell o·stride + offset off or on the image."""
    low, high = inside(offset, stride, size, 0, count)
    if low > 0:
        yield slice(0, low), None
    if high > low:
        first = low * stride + offset
        yield slice(low, high), slice(first, (high - 1) * stride + offset + 1, stride)
    if count > high:
        yield slice(high, count), None


def inside(offset: int, stride: int, size: int, low: int, high: int) -> tuple[int, int]:
    """Return the range of o in low … high − 1 with 0 ≤ o·stride + offset < size."""
    first = -(offset // stride)  # ⌈−offset / stride⌉
    last = (size - 1 - offset) // stride + 1
    start = min(max(first, low), high)
    return start, max(min(last, high), start)


def windows(
    name: str,
    size: tuple[int, int],
    kernel: tuple[int, int],
    stride: Pair,
    padding: Padding,
    dilation: Pair,
    ceil_mode: bool = False,
) -> Windows:
    """Return the windows on an image of `size`.

    Raises
    ------
    ValueError
        If an option is out of range or no window fits; the message starts with `name`.
    """
    return _windows(
        name,
        size,
        kernel,
        pair(name, "stride", stride, 1),
        padding if isinstance(padding, str) else borders(name, padding),
        pair(name, "dilation", dilation, 1),
        bool(ceil_mode),
    )


@lru_cache(maxsize=1024)  # checked options only: 1.0 and True equal 1
def _windows(
    name: str,
    size: tuple[int, int],
    kernel: tuple[int, int],
    strides: tuple[int, int],
    padding: Borders | str,
    dilations: tuple[int, int],
    ceil_mode: bool,
) -> Windows:
    reaches = [d * (k - 1) + 1 for d, k in zip(dilations, kernel, strict=True)]
    pads: Sequence[tuple[int, int]]
    if padding == "same":  # ⌈n / s⌉ windows; of an odd border the larger half comes after
        totals = [
            max((-(-n // s) - 1) * s + reach - n, 0)
            for n, s, reach in zip(size, strides, reaches, strict=True)
        ]
        pads = [(total // 2, total - total // 2) for total in totals]
    elif padding == "valid":
        pads = [(0, 0), (0, 0)]
    elif isinstance(padding, str):
        raise ValueError(
            f"{name}: padding is {padding!r}, expected a number, a pair, 'same' or 'valid'"
        )
    else:
        pads = padding
    axes = []
    for n, k, s, d, reach, (before, after) in zip(
        size, kernel, strides, dilations, reaches, pads, strict=True
    ):
        room = n + before + after - reach
        count = room // s + 1
        if ceil_mode and room % s and count * s < n + before:  # the extra one starts on the image
            count += 1
        if count < 1 or n == 0:
            even = all(a == b for a, b in pads) and not isinstance(padding, str)
            shown = tuple(a for a, _ in pads) if even else padding
            raise ValueError(
                f"{name}: a kernel of {kernel} with dilation {dilations} does not fit an image of "
                f"{size} with padding {shown}"
            )
        axes.append(WindowAxis(n, k, s, d, before, after, count))
    return Windows(*axes)


def borders(name: str, padding: Any) -> Borders:
    """Return the padding before and after each axis, of a number, a pair, or a pair of pairs."""
    if type(padding) is int and padding >= 0:
        return (padding, padding), (padding, padding)
    padding = padding.tolist() if isinstance(padding, np.ndarray) else padding
    if isinstance(padding, tuple | list) and any(isinstance(p, tuple | list) for p in padding):
        sides = [pair(name, "padding", p, 0) for p in padding]
        if len(sides) != 2:
            raise ValueError(
                f"{name}: padding is {padding!r}, expected ((top, bottom), (left, right))"
            )
        return sides[0], sides[1]
    rows, columns = pair(name, "padding", padding, 0)
    return (rows, rows), (columns, columns)


def pair(name: str, argument: str, value: Any, least: int) -> tuple[int, int]:
    """Return an int or a pair of ints as a pair; raise ValueError if one is below `least`."""
    if type(value) is int and value >= least:
        return value, value
    if type(value) is tuple and len(value) == 2:
        first, second = value
        if type(first) is type(second) is int and min(value) >= least:
            return first, second
    value = value.tolist() if isinstance(value, np.ndarray) else value
    both = tuple(value) if isinstance(value, tuple | list) else (value, value)
    if len(both) != 2 or not all(
        isinstance(v, int | np.integer) and not isinstance(v, bool) and v >= least for v in both
    ):
        raise ValueError(
            f"{name}: {argument} is {value!r}, expected an integer >= {least}, or a pair"
        )
    return int(both[0]), int(both[1])


def _start_afresh() -> None:
    """Replace locks after a fork: before Python 3.12 a cached property has one."""
    for owner in (WindowAxis, Windows):
        for value in vars(owner).values():
            if hasattr(value, "lock"):
                value.lock = RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_start_afresh)
