"""Hypothesis strategies: arrays of exact, readable values; shapes, windows and indices to fit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

Array = np.ndarray[Any, Any]
Shape = tuple[int, ...]
DRAWN_ONE_BY_ONE = 24  # larger arrays are made from a drawn seed

shapes = hnp.array_shapes(min_dims=0, max_dims=3, min_side=1, max_side=4)
seeds = st.integers(0, 2**32 - 1)


@st.composite
def sixteenths(
    draw: st.DrawFn,
    shape: Shape | st.SearchStrategy[Shape] = shapes,
    low: float = -3.0,
    high: float = 3.0,
    nonzero: bool = False,
) -> Array:
    """Draw a float64 array of multiples of 1/16 from `low` to `high`."""
    shape = shape if isinstance(shape, tuple) else draw(shape)
    least, most = round(low * 16), round(high * 16)
    if np.prod(shape) > DRAWN_ONE_BY_ONE:
        numbers = np.random.default_rng(draw(seeds)).integers(least, most + 1, size=shape)
        return np.asarray(np.where(nonzero & (numbers == 0), 1, numbers) / 16)
    number = st.integers(least, most)
    elements = number.filter(bool) if nonzero else number
    return np.asarray(draw(hnp.arrays(np.int64, shape, elements=elements, fill=st.nothing())) / 16)


@st.composite
def distinct(draw: st.DrawFn, shape: Shape | st.SearchStrategy[Shape] = shapes) -> Array:
    """Draw a float64 array in which no two values are equal, nor nearer than 1/16."""
    shape = shape if isinstance(shape, tuple) else draw(shape)
    size = int(np.prod(shape))
    order = np.random.default_rng(draw(seeds)).permutation(size)
    return ((order - size // 2) / 16).reshape(shape)


def broadcasting_shapes(count: int) -> st.SearchStrategy[list[Shape]]:
    """Draw `count` shapes that broadcast against each other, empty ones among them."""
    drawn = hnp.mutually_broadcastable_shapes(num_shapes=count, max_dims=3, min_side=0, max_side=3)
    return drawn.map(lambda shapes: list(shapes.input_shapes))


matmul_shapes: st.SearchStrategy[list[Shape]] = hnp.mutually_broadcastable_shapes(
    signature=np.matmul.signature, max_dims=2, min_side=0, max_side=3
).map(lambda shapes: list(shapes.input_shapes))
"""Shapes (n?, k), (k, m?) with leading axes that broadcast: every case that NumPy has."""


def axes(ndim: int) -> st.SearchStrategy[Any]:
    """Draw an axis, a tuple of axes (negative or not, none, all), or None."""
    choices = [st.none(), hnp.valid_tuple_axes(ndim)]
    if ndim:
        choices.append(st.integers(-ndim, ndim - 1))
    return st.one_of(choices)


def number_or_pair(least: int, most: int) -> st.SearchStrategy[Any]:
    """Draw an option for height and width: one number for both, or two."""
    number = st.integers(least, most)
    return st.one_of(number, st.tuples(number, number))


def both(option: Any) -> tuple[int, int]:
    """Return such an option as a pair."""
    return option if isinstance(option, tuple) else (option, option)


@dataclass(frozen=True)
class Convolution:
    """A convolution: the shapes of its arguments and its options, as a caller gives them."""

    x: Shape
    w: Shape
    stride: Any
    padding: Any
    dilation: Any
    groups: int

    @property
    def options(self) -> dict[str, Any]:
        return {
            "stride": self.stride,
            "padding": self.padding,
            "dilation": self.dilation,
            "groups": self.groups,
        }


CHANNELS = [(1, 1, 1), (1, 2, 3), (1, 3, 2), (2, 1, 1), (2, 2, 1), (3, 1, 1), (3, 1, 2)]
"""Groups, and input and output channels a group; with one input channel a group, depthwise."""


@st.composite
def convolutions(draw: st.DrawFn, batches: Any = (0, 1, 2, 3)) -> Convolution:
    """Draw a convolution whose kernel fits."""
    n = draw(st.sampled_from(batches))
    groups, c, oc = draw(st.sampled_from(CHANNELS))
    kernel = (draw(st.integers(1, 3)), draw(st.integers(1, 3)))
    dilation = draw(number_or_pair(1, 2))
    padding = draw(st.one_of(number_or_pair(0, 2), st.sampled_from(["same", "valid"])))
    stride = 1 if padding == "same" else draw(number_or_pair(1, 3))
    border = (0, 0) if padding == "valid" else both(padding)
    size = []
    for k, d, p in zip(kernel, both(dilation), border, strict=True):
        reach = d * (k - 1) + 1
        least = 1 if padding == "same" else max(1, reach - 2 * p)
        size.append(draw(st.integers(least, least + 3)))
    return Convolution(
        (n, groups * c, *size), (groups * oc, c, *kernel), stride, padding, dilation, groups
    )


@dataclass(frozen=True)
class Transposed:
    """A transposed convolution, likewise."""

    x: Shape
    w: Shape
    options: dict[str, Any]


@st.composite
def transposed_convolutions(draw: st.DrawFn) -> Transposed:
    """Draw a transposed convolution that has an output."""
    n = draw(st.integers(0, 2))
    groups, c, oc = draw(st.sampled_from(CHANNELS))
    kernel = (draw(st.integers(1, 3)), draw(st.integers(1, 3)))
    stride, dilation = draw(number_or_pair(1, 3)), draw(number_or_pair(1, 2))
    size, padding, extra = [], [], []
    for k, s, d in zip(kernel, both(stride), both(dilation), strict=True):
        h = draw(st.integers(1, 3))
        e = draw(st.integers(0, s - 1))
        most = ((h - 1) * s + d * (k - 1) + e) // 2  # what leaves an output of one or more
        p = draw(st.integers(0, min(2, most)))
        size.append(h)
        padding.append(p)
        extra.append(e)
    return Transposed(
        (n, groups * c, *size),
        (groups * c, oc, *kernel),
        {
            "stride": stride,
            "padding": tuple(padding),
            "output_padding": tuple(extra),
            "groups": groups,
            "dilation": dilation,
        },
    )


@dataclass(frozen=True)
class Pooling:
    """A pooling: the shape of its image and its options."""

    x: Shape
    options: dict[str, Any]


@st.composite
def poolings(draw: st.DrawFn, average: bool = False) -> Pooling:
    """Draw a pooling whose window fits: overlapping, with gaps, padded, dilated, rounded up."""
    kernel_size = draw(number_or_pair(1, 3))
    stride = draw(st.one_of(st.none(), number_or_pair(1, 3)))
    dilation = 1 if average else draw(number_or_pair(1, 2))
    reaches = [d * (k - 1) + 1 for k, d in zip(both(kernel_size), both(dilation), strict=True)]
    padding = draw(
        st.one_of(
            st.integers(0, min(reaches) // 2),
            st.tuples(*(st.integers(0, reach // 2) for reach in reaches)),
        )
    )
    ceil_mode = draw(st.booleans())
    size = []
    for reach, p, d in zip(reaches, both(padding), both(dilation), strict=True):
        least = max(1, reach - 2 * p, d if p else 1)  # with padding, a window could miss fewer
        size.append(draw(st.integers(least, least + 4)))
    options = {
        "kernel_size": kernel_size,
        "stride": stride,
        "padding": padding,
        "ceil_mode": ceil_mode,
    }
    if average:
        options["count_include_pad"] = draw(st.booleans())
    else:
        options["dilation"] = dilation
    channels = draw(st.sampled_from([(1, 1), (2, 1), (1, 3), (0, 2)]))
    return Pooling((*channels, *size), options)


@st.composite
def indices(draw: st.DrawFn, shape: Shape) -> Any:
    """Draw an index of any kind: basic, integer arrays with repeats, a boolean array, a mixture."""
    basic = hnp.basic_indices(shape, allow_newaxis=True, max_dims=4)
    if not shape:
        return draw(basic)
    mask = hnp.arrays(bool, shape)
    rows = st.lists(st.integers(-shape[0], shape[0] - 1), min_size=1, max_size=5).map(np.array)
    choices = [basic, mask, rows, hnp.integer_array_indices(shape)]
    if len(shape) > 1:
        choices.append(st.tuples(st.just(slice(None, None, -1)), st.just(np.array([0, -1, 0]))))
        choices.append(st.tuples(rows, st.just(slice(None))))
        choices.append(st.tuples(rows, st.just(Ellipsis), st.just(-1)))
        choices.append(st.tuples(rows, st.just(None)))
    return draw(st.one_of(choices))
