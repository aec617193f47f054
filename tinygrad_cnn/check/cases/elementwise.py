"""Cases of ops whose arguments broadcast: arithmetic, activations, dropout."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tinygrad_cnn.check.cases.registry import Arguments, case, register
from tinygrad_cnn.check.strategies import arrays, broadcasting, operands
from tinygrad_cnn.core.op import OPS

NONZERO = {"nonzero": True}
POSITIVE = {"low": 1 / 16}
TIES = {"low": -1.0, "high": 1.0}
"""33 values, so that ties are frequent."""


def unary(name: str, note: str = "", domain: dict[str, Any] | None = None, **options: Any) -> None:
    """Register an op of one array, with a domain and options."""
    (operand, *_) = OPS[name].parameters
    inputs = {operand: arrays(**(domain or {})), **options}
    register(name, inputs, of=[operand], note=note)


def binary(name: str, **domain: Any) -> None:
    """Register an op of two arrays."""
    register(name, operands(2, **domain), of=["a", "b"])


for name in ("add", "sub", "mul"):
    binary(name)
for name in ("maximum", "minimum"):
    binary(name, **TIES)
for name in ("neg", "exp", "tanh", "sigmoid", "softplus", "relu"):
    unary(name)
for name in ("log", "sqrt"):
    unary(name, domain=POSITIVE)
unary("abs", domain=NONZERO)
unary("leaky_relu", negative_slope=st.sampled_from([0.01, 0.5, 0.0, -1.0]))
unary("clip", "low", low=-1.0, high=st.sampled_from([0.5, 1.0, None]))
unary("clip", "high", high=0.5)
unary("astype", dtype="f8")
unary("pow", "whole", b=st.sampled_from([0, 1, 2, 3.0]))
unary("pow", "negative", NONZERO, b=st.sampled_from([-1, -2.0, np.array([-3.0])]))
unary("pow", "fraction", POSITIVE, b=st.sampled_from([0.5, -0.5, 2.5]))


@case("div", of=["a", "b"])
def _(draw: st.DrawFn) -> Arguments:
    a, b = draw(broadcasting(2))
    return {"a": draw(arrays(a)), "b": draw(arrays(b, nonzero=True))}


@case("pow", of=["a", "b"])
def _(draw: st.DrawFn) -> Arguments:
    a, b = draw(broadcasting(2))
    return {"a": draw(arrays(a, low=1 / 16)), "b": draw(arrays(b))}


@case("pow", of=["b"], note="exponent")
def _(draw: st.DrawFn) -> Arguments:
    return {"a": draw(st.sampled_from([2.0, 0.5, np.array([3.0])])), "b": draw(arrays())}


@case("where", of=["a", "b"])
def _(draw: st.DrawFn) -> Arguments:
    condition, a, b = draw(broadcasting(3))
    return {
        "condition": draw(hnp.arrays(np.bool_, condition)),
        "a": draw(arrays(a)),
        "b": draw(arrays(b)),
    }


@case("dropout", of=["x"])
def _(draw: st.DrawFn) -> Arguments:
    x = draw(arrays())
    shape = tuple(draw(st.sampled_from([1, n])) for n in x.shape)
    mask = draw(hnp.arrays(np.bool_, shape))
    return {"x": x, "mask": mask, "rate": draw(st.sampled_from([0.0, 0.25, 0.5]))}
