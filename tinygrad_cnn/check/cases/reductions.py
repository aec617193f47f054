"""Cases of ops that sum: reductions, matrix products, softmax, losses, normalization."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from tinygrad_cnn.check.cases.registry import Arguments, case
from tinygrad_cnn.check.strategies import (
    arrays,
    axes,
    labels,
    matmul_shapes,
    probabilities,
    shapes,
)
from tinygrad_cnn.check.strategies.shapes import Shape

TALL, FLAT = np.zeros((0, 3)), np.zeros((3, 0))
REDUCTIONS = st.sampled_from(["mean", "sum", "none"])


@case("sum", "mean", "max", "min", "logsumexp", of=["x"], always=[{"x": TALL, "axis": 1}])
def _(draw: st.DrawFn) -> Arguments:
    x = draw(arrays(low=-1.0, high=1.0))  # ties are common
    return {"x": x, "axis": draw(axes(x.ndim)), "keepdims": draw(st.booleans())}


@case("softmax", "log_softmax", of=["x"], always=[{"x": TALL}, {"x": FLAT, "axis": 0}])
def _(draw: st.DrawFn) -> Arguments:
    x = draw(arrays(shapes(min_dims=1)))
    axis = draw(st.integers(-x.ndim, x.ndim - 1))
    return {"x": x, "axis": axis, "temperature": draw(st.sampled_from([1.0, 0.5, 3.0]))}


@case("matmul", of=["a", "b"], always=[{"a": TALL, "b": FLAT}, {"a": FLAT, "b": TALL}])
def _(draw: st.DrawFn) -> Arguments:
    a, b = draw(matmul_shapes())
    return {"a": draw(arrays(a)), "b": draw(arrays(b))}


def linear_shapes(draw: st.DrawFn) -> tuple[Shape, Shape]:
    """Draw the shapes of inputs and weights."""
    lead = draw(shapes(max_dims=2, min_side=0, max_side=3))
    inputs, outputs = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    return (*lead, inputs), (outputs, inputs)


@case("linear", of=["x", "w"], always=[{"x": TALL, "w": np.ones((2, 3))}])
def _(draw: st.DrawFn) -> Arguments:
    x, w = linear_shapes(draw)
    return {"x": draw(arrays(x)), "w": draw(arrays(w))}


@case("linear", of=["x", "w", "bias"], note="bias",
      always=[{"x": TALL, "w": np.ones((2, 3)), "bias": np.ones(2)}])  # fmt: skip
def _(draw: st.DrawFn) -> Arguments:
    x, w = linear_shapes(draw)
    return {"x": draw(arrays(x)), "w": draw(arrays(w)), "bias": draw(arrays(w[:1]))}


@case("mse", "squared_error", of=["prediction", "target"],
      always=[{"prediction": TALL, "target": TALL, "reduction": "sum"}])  # fmt: skip
def _(draw: st.DrawFn) -> Arguments:
    shape = draw(shapes())
    return {
        "prediction": draw(arrays(shape)),
        "target": draw(arrays(shape)),
        "reduction": draw(REDUCTIONS),
    }


@case("cross_entropy", of=["logits"], note="labels",
      always=[{"logits": TALL, "target": np.zeros(0, int), "reduction": "sum"}])  # fmt: skip
def _(draw: st.DrawFn) -> Arguments:
    logits = draw(arrays(shapes(min_dims=1)))
    axis = draw(st.integers(0, logits.ndim - 1))
    examples = logits.shape[:axis] + logits.shape[axis + 1 :]
    target = draw(labels(examples, logits.shape[axis]))
    return {"logits": logits, "target": target, **loss_options(draw), "axis": axis}


@case("cross_entropy", of=["logits"], note="probabilities")
def _(draw: st.DrawFn) -> Arguments:
    logits = draw(arrays(shapes(min_dims=1)))
    axis = draw(st.integers(0, logits.ndim - 1))
    classes_last = *logits.shape[:axis], *logits.shape[axis + 1 :], logits.shape[axis]
    target = np.moveaxis(draw(probabilities(classes_last)), -1, axis)
    return {"logits": logits, "target": target, **loss_options(draw), "axis": axis}


def loss_options(draw: st.DrawFn) -> Arguments:
    """Draw the options of the cross-entropy."""
    smoothing = st.sampled_from([0.0, 0.125, 1.0])
    return {"reduction": draw(REDUCTIONS), "label_smoothing": draw(smoothing)}


@case("batch_norm", of=["x", "w", "bias"])
def _(draw: st.DrawFn) -> Arguments:
    shape = draw(shapes(min_dims=2, max_dims=4, max_side=3))
    return {
        "x": draw(arrays(shape)),
        "w": draw(arrays(shape[1:2])),
        "bias": draw(arrays(shape[1:2])),
        "epsilon": draw(st.sampled_from([1e-3, 0.5])),
    }
