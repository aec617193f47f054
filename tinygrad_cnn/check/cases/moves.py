"""Cases of ops that move values: reshaping, indexing, joining."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from tinygrad_cnn.check.cases.registry import Arguments, case
from tinygrad_cnn.check.strategies import arrays, axes, broadcasting, indices, shapes

BLOCK = np.arange(24.0).reshape(2, 3, 4) / 16
EMPTY = np.zeros((0, 3))


@case("reshape", of=["x"], always=[{"x": EMPTY, "shape": (3, 0)}])
def _(draw: st.DrawFn) -> Arguments:
    shape = draw(shapes(max_dims=4, max_side=3))
    new = draw(st.sampled_from([shape[::-1], (*shape, 1), (1, *shape), (-1,), -1]))
    return {"x": draw(arrays(shape)), "shape": new}


@case("transpose", of=["x"], always=[{"x": EMPTY}, {"x": BLOCK, "axes": (1, 2, 0)}])
def _(draw: st.DrawFn) -> Arguments:
    x = draw(arrays())
    order = draw(st.permutations(range(x.ndim)))
    if x.ndim and draw(st.booleans()):
        order[0] -= x.ndim
    return {"x": x, "axes": draw(st.sampled_from([tuple(order), tuple(order), None]))}


@case("broadcast_to", of=["x"], always=[{"x": np.zeros((0, 1)), "shape": (2, 0, 3)}])
def _(draw: st.DrawFn) -> Arguments:
    shape, other = draw(broadcasting(2))
    return {"x": draw(arrays(shape)), "shape": np.broadcast_shapes(shape, other)}


@case("sum_to", of=["x"], always=[{"x": EMPTY, "shape": (1, 3)}])
def _(draw: st.DrawFn) -> Arguments:
    shape, other = draw(broadcasting(2))
    return {"x": draw(arrays(np.broadcast_shapes(shape, other))), "shape": shape}


@case("getitem", of=["x"], always=[{"x": EMPTY, "index": (slice(None), 1)}])
def _(draw: st.DrawFn) -> Arguments:
    x = draw(arrays())
    return {"x": x, "index": draw(indices(x.shape))}


@case("put", of=["x"], always=[{"x": np.zeros(0), "index": (slice(None), 1), "shape": (0, 3)}])
def _(draw: st.DrawFn) -> Arguments:
    shape = draw(shapes())
    index = draw(indices(shape))
    selected = np.shape(np.zeros(shape)[index])
    return {"x": draw(arrays(selected)), "index": index, "shape": shape}


@case("concatenate", of=["arrays"], always=[{"arrays": [EMPTY, np.ones((2, 3))]}])
def _(draw: st.DrawFn) -> Arguments:
    shape = draw(shapes(min_dims=1, max_side=3))
    axis = draw(st.integers(-len(shape), len(shape) - 1))
    lengths = draw(st.lists(st.integers(0, 3), min_size=1, max_size=3))
    parts = [
        tuple(n if a == axis % len(shape) else m for a, m in enumerate(shape)) for n in lengths
    ]
    return {"arrays": [draw(arrays(part)) for part in parts], "axis": axis}


@case("stack", of=["arrays"], always=[{"arrays": [EMPTY, EMPTY], "axis": 1}])
def _(draw: st.DrawFn) -> Arguments:
    shape = draw(shapes(max_dims=2, max_side=3))
    count = draw(st.integers(1, 3))
    axis = draw(st.integers(-len(shape) - 1, len(shape)))
    return {"arrays": [draw(arrays(shape)) for _ in range(count)], "axis": axis}


@case("pad", of=["x"], always=[{"x": EMPTY, "widths": 1}])
def _(draw: st.DrawFn) -> Arguments:
    x = draw(arrays())
    width = st.integers(0, 2)
    pair = st.tuples(width, width)
    each = st.tuples(*[pair] * x.ndim) if x.ndim else width
    widths = draw(st.one_of(width, pair, each))
    return {"x": x, "widths": widths, "value": draw(st.sampled_from([0.0, -1.5]))}


@case("flip", of=["x"], always=[{"x": EMPTY, "axis": 0}])
def _(draw: st.DrawFn) -> Arguments:
    x = draw(arrays())
    return {"x": x, "axis": draw(axes(x.ndim))}
