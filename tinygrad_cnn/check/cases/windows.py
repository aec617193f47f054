"""Cases of convolution and pooling."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import strategies as st

from tinygrad_cnn.check.cases.registry import Arguments, case
from tinygrad_cnn.check.strategies import (
    Convolution,
    Pooling,
    arrays,
    convolutions,
    distinct,
    large_convolutions,
    poolings,
    transposed_convolutions,
)
from tinygrad_cnn.check.strategies.arrays import Array
from tinygrad_cnn.check.strategies.windows import both

NO_IMAGES, KERNELS = np.zeros((0, 2, 5, 5)), np.ones((3, 2, 3, 3))
NO_RESULTS = np.zeros((0, 3, 3, 3))
BEYOND = {"x": np.arange(20.0).reshape(1, 1, 5, 4) / 16, "kernel_size": 2, "ceil_mode": True}
"""Pooling whose last windows extend beyond the edge."""


LARGE = (
    large_convolutions(2, 3, 5, 3),  # few images: im2col
    large_convolutions(8, 8, 8, 3),  # many images: direct
    large_convolutions(16, 16, 32, 3),  # many images and channels: by tiles
    large_convolutions(16, 16, 32, 5, stride=2),  # image gradient: by tiles for each phase
    large_convolutions(8, 24, 24, 3, groups=24),  # depthwise
    large_convolutions(16, 3, 8, 5, stride=2),  # few channels: image gradient row by row
)
"""Convolutions for each algorithm, and for each way to assemble a gradient from them."""


def large(*parts: str, **renamed: str) -> list[st.SearchStrategy[Arguments]]:
    """Return `LARGE` as strategies of arguments; `renamed` gives the attribute with the shape."""

    @st.composite
    def arguments(draw: st.DrawFn, drawn: st.SearchStrategy[Convolution]) -> Arguments:
        at = draw(drawn)
        given = {name: draw(arrays(getattr(at, renamed.get(name, name)))) for name in parts}
        shape = {"shape": getattr(at, renamed["shape"])} if "shape" in renamed else {}
        return {**given, **shape, **at.options}

    return [arguments(drawn) for drawn in LARGE]


@case("conv2d", of=["x", "w"], always=[{"x": NO_IMAGES, "w": KERNELS}], large=large("x", "w"))
def _(draw: st.DrawFn) -> Arguments:
    at = draw(convolutions())
    return {"x": draw(arrays(at.x)), "w": draw(arrays(at.w)), **at.options}


@case("conv2d", of=["x", "w", "bias"], note="bias")
def _(draw: st.DrawFn) -> Arguments:
    at = draw(convolutions())
    bias = draw(arrays(at.y[1:2]))
    return {"x": draw(arrays(at.x)), "w": draw(arrays(at.w)), "bias": bias, **at.options}


@case("conv2d_input_gradient", of=["u", "w"],
      always=[{"u": NO_RESULTS, "w": KERNELS, "shape": NO_IMAGES.shape}],
      large=large("u", "w", u="y", shape="x"))  # fmt: skip
def _(draw: st.DrawFn) -> Arguments:
    at = draw(convolutions())
    return {"u": draw(arrays(at.y)), "w": draw(arrays(at.w)), "shape": at.x, **at.options}


@case("conv2d_weight_gradient", of=["u", "x"],
      always=[{"u": NO_RESULTS, "x": NO_IMAGES, "shape": KERNELS.shape}],
      large=large("u", "x", u="y", shape="w"))  # fmt: skip
def _(draw: st.DrawFn) -> Arguments:
    at = draw(convolutions())
    return {"u": draw(arrays(at.y)), "x": draw(arrays(at.x)), "shape": at.w, **at.options}


@case("conv_transpose2d", of=["x", "w"], always=[{"x": NO_RESULTS, "w": KERNELS}],
      large=large("x", "w", x="y"))  # fmt: skip
def _(draw: st.DrawFn) -> Arguments:
    at = draw(transposed_convolutions())
    return {"x": draw(arrays(at.x)), "w": draw(arrays(at.w)), **at.options}


@case("conv_transpose2d", of=["x", "w", "bias"], note="bias")
def _(draw: st.DrawFn) -> Arguments:
    at = draw(transposed_convolutions())
    bias = draw(arrays(at.y[1:2]))
    return {"x": draw(arrays(at.x)), "w": draw(arrays(at.w)), "bias": bias, **at.options}


@case("maxpool", of=["x"], always=[{"x": NO_IMAGES}, BEYOND])
def _(draw: st.DrawFn) -> Arguments:
    at = draw(poolings())
    ties = arrays(at.x, low=-1.0, high=1.0)
    return {"x": draw(st.one_of(distinct(at.x), ties)), **at.options}


@st.composite
def winners(draw: st.DrawFn) -> tuple[Pooling, Array]:
    """Draw a pooling and, for each window, one of its cells."""
    at = draw(poolings())
    cells = math.prod(both(at.options["kernel_size"]))
    seed = draw(st.integers(0, 2**32 - 1))
    return at, np.random.default_rng(seed).integers(cells, size=at.y)


@case("gather_windows", of=["x"],
      always=[{"x": NO_IMAGES, "winner": np.zeros((0, 2, 2, 2), int)}])  # fmt: skip
def _(draw: st.DrawFn) -> Arguments:
    at, winner = draw(winners())
    return {"x": draw(arrays(at.x)), "winner": winner, **at.options}


@case("scatter_windows", of=["u"], always=[{
    "u": np.zeros((0, 2, 2, 2)), "winner": np.zeros((0, 2, 2, 2), int), "shape": NO_IMAGES.shape,
}])  # fmt: skip
def _(draw: st.DrawFn) -> Arguments:
    at, winner = draw(winners())
    return {"u": draw(arrays(at.y)), "winner": winner, "shape": at.x, **at.options}


@case("avgpool", of=["x"], always=[{"x": NO_IMAGES}, BEYOND])
def _(draw: st.DrawFn) -> Arguments:
    at = draw(poolings(average=True))
    return {"x": draw(arrays(at.x)), **at.options}


@case("avgpool_gradient", of=["u"],
      always=[{"u": np.zeros((0, 2, 2, 2)), "shape": NO_IMAGES.shape}])  # fmt: skip
def _(draw: st.DrawFn) -> Arguments:
    at = draw(poolings(average=True))
    return {"u": draw(arrays(at.y)), "shape": at.x, **at.options}
