"""Cases of convolution and pooling."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import strategies as st

from tinygrad_cnn.check.cases.registry import Arguments, case
from tinygrad_cnn.check.strategies import (
    Pooling,
    arrays,
    convolutions,
    distinct,
    poolings,
    transposed_convolutions,
)
from tinygrad_cnn.check.strategies.arrays import Array
from tinygrad_cnn.check.strategies.windows import both

NO_IMAGES, KERNELS = np.zeros((0, 2, 5, 5)), np.ones((3, 2, 3, 3))
NO_RESULTS = np.zeros((0, 3, 3, 3))
BEYOND = {"x": np.arange(20.0).reshape(1, 1, 5, 4) / 16, "kernel_size": 2, "ceil_mode": True}
"""Windows of which the last reach over the edge."""


@case("conv2d", of=["x", "w"], always=[{"x": NO_IMAGES, "w": KERNELS}])
def _(draw: st.DrawFn) -> Arguments:
    at = draw(convolutions())
    return {"x": draw(arrays(at.x)), "w": draw(arrays(at.w)), **at.options}


@case("conv2d", of=["x", "w", "bias"], note="bias")
def _(draw: st.DrawFn) -> Arguments:
    at = draw(convolutions())
    bias = draw(arrays(at.y[1:2]))
    return {"x": draw(arrays(at.x)), "w": draw(arrays(at.w)), "bias": bias, **at.options}


@case("conv2d_input_gradient", of=["u", "w"],
      always=[{"u": NO_RESULTS, "w": KERNELS, "shape": NO_IMAGES.shape}])  # fmt: skip
def _(draw: st.DrawFn) -> Arguments:
    at = draw(convolutions())
    return {"u": draw(arrays(at.y)), "w": draw(arrays(at.w)), "shape": at.x, **at.options}


@case("conv2d_weight_gradient", of=["u", "x"],
      always=[{"u": NO_RESULTS, "x": NO_IMAGES, "shape": KERNELS.shape}])  # fmt: skip
def _(draw: st.DrawFn) -> Arguments:
    at = draw(convolutions())
    return {"u": draw(arrays(at.y)), "x": draw(arrays(at.x)), "shape": at.w, **at.options}


@case("conv_transpose2d", of=["x", "w"], always=[{"x": NO_RESULTS, "w": KERNELS}])
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
    """Draw a pooling and, for each of its windows, one of the window's cells."""
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
