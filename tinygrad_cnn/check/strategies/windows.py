"""Strategies for small convolutions and poolings that fit their images by construction."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from tinygrad_cnn.engine.arrays import Shape

CHANNELS = [(1, 1, 1), (1, 2, 3), (1, 3, 2), (2, 1, 1), (2, 2, 1), (3, 1, 1), (3, 1, 2)]
"""Groups, input and output channels per group; one input channel per group is depthwise."""

MULTIPLY_ADDS = 10_000


@dataclass(frozen=True)
class Convolution:
    """A (transposed) convolution: the shapes of images and kernels, and the options.

    `y` is the shape of the result; a bias has one entry per channel of the result.
    """

    x: Shape
    w: Shape
    y: Shape
    options: dict[str, Any]

    @property
    def transposed(self) -> Convolution:
        """The transposed convolution, from images of shape `y` to images of shape `x`."""
        return Convolution(self.y, self.w, self.x, self.options)


@dataclass(frozen=True)
class Pooling:
    """A pooling: the shapes of the images and the result, and the options."""

    x: Shape
    y: Shape
    options: dict[str, Any]


def both(option: Any) -> tuple[Any, Any]:
    """Return a height-and-width option as a pair."""
    return option if isinstance(option, tuple) else (option, option)


def sides(padding: Any) -> list[tuple[int, int]]:
    """Return a padding in numbers as (before, after) for height and for width."""
    return [both(border) for border in both(padding)]


def number_or_pair(least: int, most: int) -> st.SearchStrategy[Any]:
    """Draw a height-and-width option: one number for both, or a pair."""
    number = st.integers(least, most)
    return st.one_of(number, st.tuples(number, number))


@st.composite
def convolutions(
    draw: st.DrawFn,
    batches: Sequence[int] = (1, 2, 3),
    multiply_adds: int = MULTIPLY_ADDS,
) -> Convolution:
    """Draw a convolution whose kernel fits: strided, padded, dilated, grouped or depthwise.

    Parameters
    ----------
    batches : sequence of int
        Batch sizes to draw from, including 0 or 1.
    multiply_adds : int
        The most multiply-adds of the convolution; at least 500.

    Examples
    --------
    >>> import numpy as np
    >>> import tinygrad_cnn as tg
    >>> from hypothesis import find
    >>> from tinygrad_cnn.check.strategies import convolutions
    >>> at = find(convolutions(), lambda at: at.options["stride"] == 2 and at.y[0] == 3)
    >>> tg.conv2d(np.zeros(at.x), np.zeros(at.w), **at.options).shape == at.y
    True
    """
    groups, c, oc = draw(st.sampled_from(CHANNELS))
    kernel = (draw(st.integers(1, 3)), draw(st.integers(1, 3)))
    dilation = draw(number_or_pair(1, 2))
    each = st.tuples(st.integers(0, 2), st.integers(0, 2))
    numbers = st.one_of(number_or_pair(0, 2), st.tuples(each, each))
    padding = draw(st.one_of(numbers, st.sampled_from(["same", "valid"])))
    stride = draw(number_or_pair(1, 3))
    borders = sides(0 if isinstance(padding, str) else padding)
    cells = groups * oc * c * math.prod(kernel)  # multiply-adds for one kernel position
    size: list[int] = []
    count: list[int] = []
    for k, s, d, border in zip(kernel, both(stride), both(dilation), borders, strict=True):
        reach, added = d * (k - 1) + 1, sum(border)
        least = 1 if padding == "same" else max(1, reach - added)
        places = {
            n: -(-n // s) if padding == "same" else (n + added - reach) // s + 1
            for n in range(least, least + 4)
        }
        room = multiply_adds // (cells * math.prod(count))
        n = draw(st.sampled_from([n for n in places if places[n] <= room] or [least]))
        size.append(n)
        count.append(places[n])
    room = multiply_adds // (cells * math.prod(count))
    images = draw(st.sampled_from([n for n in batches if n <= room]))
    options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    x, w = (images, groups * c, *size), (groups * oc, c, *kernel)
    return Convolution(x, w, (images, groups * oc, *count), options)


@st.composite
def large_convolutions(
    draw: st.DrawFn,
    images: int,
    channels: int,
    out_channels: int,
    kernel: int,
    stride: int = 1,
    groups: int = 1,
    larger: int = 0,
) -> Convolution:
    """Draw a convolution of about these sizes or slightly more, with padding and small images.

    `larger` is the number of pixels by which the images are larger along each axis.

    Examples
    --------
    >>> from hypothesis import find
    >>> from tinygrad_cnn.check.strategies import large_convolutions
    >>> find(large_convolutions(16, 16, 32, 3), lambda at: True).x
    (16, 16, 6, 6)
    """
    n = images + draw(st.integers(0, 3))
    more = 0 if groups > 1 else draw(st.integers(0, 3))
    padding = draw(st.integers(0, kernel // 2))
    size = [larger + draw(st.integers(kernel + 3, kernel + 6)) for _ in range(2)]
    count = [(side + 2 * padding - kernel) // stride + 1 for side in size]
    options = {"stride": stride, "padding": padding, "dilation": 1, "groups": groups}
    x, w = (n, channels + more, *size), (out_channels, (channels + more) // groups, kernel, kernel)
    return Convolution(x, w, (n, out_channels, *count), options)


@st.composite
def transposed_convolutions(draw: st.DrawFn, batches: Sequence[int] = (1, 2)) -> Convolution:
    """Draw a transposed convolution that has an output; `batches` as for `convolutions`.

    Examples
    --------
    >>> import numpy as np
    >>> import tinygrad_cnn as tg
    >>> from hypothesis import find
    >>> from tinygrad_cnn.check.strategies import transposed_convolutions
    >>> at = find(transposed_convolutions(), lambda at: at.y[2] > 4)
    >>> tg.conv_transpose2d(np.zeros(at.x), np.zeros(at.w), **at.options).shape == at.y
    True
    """
    images = draw(st.sampled_from(batches))
    groups, c, oc = draw(st.sampled_from(CHANNELS))
    kernel = (draw(st.integers(1, 3)), draw(st.integers(1, 3)))
    stride, dilation = draw(number_or_pair(1, 3)), draw(number_or_pair(1, 2))
    size, padding, extra, count = [], [], [], []
    for k, s, d in zip(kernel, both(stride), both(dilation), strict=True):
        n = draw(st.integers(1, 3))
        e = draw(st.integers(0, s - 1))
        unpadded = (n - 1) * s + d * (k - 1) + e + 1
        p = draw(st.integers(0, min(2, (unpadded - 1) // 2)))  # keeps the output at least 1
        size.append(n)
        padding.append(p)
        extra.append(e)
        count.append(unpadded - 2 * p)
    options = {
        "stride": stride,
        "padding": tuple(padding),
        "output_padding": tuple(extra),
        "groups": groups,
        "dilation": dilation,
    }
    x, w = (images, groups * c, *size), (groups * c, oc, *kernel)
    return Convolution(x, w, (images, groups * oc, *count), options)


@st.composite
def poolings(draw: st.DrawFn, average: bool = False) -> Pooling:
    """Draw a pooling whose window fits: overlapping, with gaps, padded, dilated or rounded up.

    Parameters
    ----------
    average : bool
        Draw the options of average pooling (``count_include_pad``) instead of those of max pooling
        (``dilation``).

    Examples
    --------
    >>> import numpy as np
    >>> import tinygrad_cnn as tg
    >>> from hypothesis import find
    >>> from tinygrad_cnn.check.strategies import poolings
    >>> at = find(poolings(), lambda at: at.options["ceil_mode"] and at.y[2] == 2)
    >>> tg.maxpool(np.zeros(at.x), **at.options).shape == at.y
    True
    """
    kernel_size = draw(number_or_pair(1, 3))
    stride = draw(st.one_of(st.none(), number_or_pair(1, 3)))
    dilation = 1 if average else draw(number_or_pair(1, 2))
    reaches = [d * (k - 1) + 1 for k, d in zip(both(kernel_size), both(dilation), strict=True)]
    wide = draw(st.booleans())
    most = [reach - 1 if wide else reach // 2 for reach in reaches]
    padding = draw(
        st.one_of(
            st.integers(0, min(most)),
            st.tuples(*(st.integers(0, widest) for widest in most)),
            st.tuples(*(st.tuples(*[st.integers(0, widest)] * 2) for widest in most)),
        )
    )
    ceil_mode = draw(st.booleans())
    steps = both(kernel_size if stride is None else stride)
    size, count = [], []
    for reach, s, border, d in zip(reaches, steps, sides(padding), both(dilation), strict=True):
        least = max(1, reach - sum(border), d if any(border) else 1)  # windows could miss fewer
        n = draw(st.integers(least, least + 4))
        size.append(n)
        count.append(_windows(n, reach, s, border, ceil_mode))
    options = {
        "kernel_size": kernel_size,
        "stride": stride,
        "padding": padding,
        "ceil_mode": ceil_mode,
        "wide_padding": wide,
    }
    if average:
        options["count_include_pad"] = draw(st.booleans())
    else:
        options["dilation"] = dilation
    channels = draw(st.sampled_from([(1, 1), (2, 1), (1, 3)]))
    return Pooling((*channels, *size), (*channels, *count), options)


@st.composite
def winners(draw: st.DrawFn, at: Pooling) -> NDArray[Any]:
    """Draw a cell of each window of a pooling, as an int64 array of the shape of the result.

    Examples
    --------
    >>> import numpy as np
    >>> from hypothesis import find
    >>> from tinygrad_cnn.check.strategies import Pooling, winners
    >>> at = Pooling((1, 1, 4, 4), (1, 1, 2, 2), {"kernel_size": 2})
    >>> find(winners(at), lambda cells: cells.max() == 3).shape
    (1, 1, 2, 2)
    """
    cells = math.prod(both(at.options["kernel_size"]))
    return np.random.default_rng(draw(st.integers(0, 2**32 - 1))).integers(cells, size=at.y)


def _windows(n: int, reach: int, stride: int, border: tuple[int, int], ceil_mode: bool) -> int:
    """Return the number of windows, without a last one that starts beyond the image."""
    room = n + sum(border) - reach
    if not ceil_mode:
        return room // stride + 1
    count = -(-room // stride) + 1
    return count - 1 if (count - 1) * stride >= n + border[0] else count
