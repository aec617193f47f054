"""Ops and rules over the range of float32: no square and no product overflows on the way."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.example_calls import calls

import tinygrad_cnn as tg
from tinygrad_cnn.check.call import Call

Array = np.ndarray[Any, Any]
OURS = {name: op for name, op in tg.OPS.items() if op.__module__.startswith("tinygrad_cnn.ops.")}
EXPONENTS = st.integers(-100, 100)  # of 2: 10⁻³⁰ to 10³⁰
LARGEST, SMALLEST = 1e36, 1e-37  # so that the sum of a mean fits as well
DIGITS = 1e-4


def largest_term(
    x: Array, w: Array | None, bias: Array | None, eps: float, ranks: Any = None
) -> Any:
    """Return the largest of the terms of a batch norm and its rules: w / σ, the bias, and 1."""
    axes = (0, *range(2, x.ndim))
    w = np.ones(1) if w is None else w
    bias = np.zeros(1) if bias is None else bias
    slopes = np.abs(w) / np.sqrt(x.astype("f8").var(axes) + eps)
    return max(np.max(slopes), np.max(np.abs(bias)), 1.0)


def largest_of_rows(
    x: Array, weight: Array | None, bias: Array | None, eps: float, **shape: Any
) -> Any:
    """Return the largest of the terms of a layer norm or group norm: w / σ, the bias, and 1."""
    if "num_groups" in shape:
        parts = x.reshape(len(x) * shape["num_groups"], -1)
    else:
        parts = x.reshape(-1, int(np.prod(shape["normalized_shape"])))
    sizes = [np.max(np.abs(v), initial=0.0) for v in (weight, bias) if v is not None]
    deviation = np.sqrt(parts.astype("f8").var(1) + eps).min()
    return max(np.max(sizes, initial=1.0) / deviation, *sizes, 1.0)


SUBTRACTED: dict[str, Callable[..., Any]] = {
    **dict.fromkeys(
        ["sigmoid", "tanh", "log_softmax", "cross_entropy", "gelu", "silu", "mish"], lambda **_: 1.0
    ),
    "softmax": lambda temperature=1.0, **_: 1.0 / temperature,
    "batch_norm": largest_term,
    "layer_norm": largest_of_rows,
    "group_norm": largest_of_rows,
}
"""Ops whose rules subtract what may be equal, such as 1 − y: the size of that, for a flow of 1. The
difference is exact to a rounding of it."""


def scaled(value: Any, exponent: int) -> Any:
    """Return floating values times a power of two, as float32 holds them."""
    if isinstance(value, list):
        return [scaled(part, exponent) for part in value]
    array = np.asarray(value)
    return np.ldexp(array.astype("f4"), exponent) if array.dtype.kind == "f" else value


def evaluated(
    name: str, arguments: dict[str, Any], gradients: list[Array], dtype: str
) -> list[list[Array]]:
    """Return the result of a call, and its gradients for each of what flows in."""
    op, given = OURS[name], dict(arguments)
    leaves = []
    for operand in op.operands:
        value = given.get(operand)
        many = value if isinstance(value, list) else [value]
        made = [tg.Tensor(v.astype(dtype), True) if hasattr(v, "astype") else v for v in many]
        leaves += [v for v in made if isinstance(v, tg.Tensor)]
        given[operand] = made if isinstance(value, list) else made[0]
    with np.errstate(all="ignore"):
        y = op(**given)
        return [
            [y.numpy()],
            *[tg.grad(y, leaves, np.asarray(g, dtype), retain_graph=True) for g in gradients],
        ]


def representable(values: list[Array]) -> bool:
    """Return whether float32 holds all that is not 0."""
    sizes = np.abs(np.concatenate([np.ravel(v) for v in values]))
    return bool(((sizes == 0) | ((sizes > SMALLEST) & (sizes < LARGEST))).all())


def assert_agrees(name: str, arguments: dict[str, Any], of_g: int) -> None:
    """Assert that float32 and float64 give the same, for gradients of about 1 and 2 ** of_g."""
    with np.errstate(all="ignore"):
        shape = np.shape(OURS[name](**arguments))
        lost = SUBTRACTED.get(name, lambda **_: 0.0)(**arguments) * 1e-2
    g = np.random.default_rng(0).integers(1, 8, shape).astype("f4")
    gradients = [g, np.ldexp(g, of_g)]
    found = evaluated(name, arguments, gradients, "f4")
    expected = evaluated(name, arguments, gradients, "f8")
    if not np.all(np.abs(expected[0]) < LARGEST):
        return
    for flow, got, wanted in zip([1.0, 8.0, np.ldexp(8.0, of_g)], found, expected, strict=True):
        if not representable(wanted):
            return  # neither is the local derivative, by which the next are multiplied
        for values, right in zip(got, wanted, strict=True):
            sizes = np.abs(right)
            scale = sizes if OURS[name].elementwise else np.max(sizes, initial=0.0)
            error = np.abs(values - right)
            np.testing.assert_array_less(error, DIGITS * (scale + flow * lost) + 1e-44)


@pytest.mark.parametrize("name", OURS)
def test_float32_agrees_with_float64_wherever_it_can_hold_the_result(name: str) -> None:
    op = OURS[name]

    @given(calls(name), st.lists(EXPONENTS, min_size=3, max_size=3), EXPONENTS)
    def holds(call: Call, exponents: list[int], of_g: int) -> None:
        arguments = dict(call.arguments)
        for operand, exponent in zip(op.operands, exponents, strict=False):
            if arguments.get(operand) is not None:
                arguments[operand] = scaled(arguments[operand], exponent)
        assert_agrees(name, arguments, of_g)

    holds()


def f4(*values: float) -> Array:
    return np.array(values, "f4")


FOUND: list[tuple[str, dict[str, Any], int]] = [
    ("div", {"a": f4(1e20, 1e-25), "b": f4(1e20, 1e-25)}, 0),
    ("pow", {"a": f4(1e-20), "b": f4(1e-20)}, -83),
    ("mse", {"prediction": f4(*[2e16] * 2000), "target": f4(*[0.0] * 2000)}, 72),
    *[
        ("batch_norm", {"x": x, "w": f4(1), "bias": f4(1), "eps": eps}, 0)
        for x in (f4(1, 2, 4)[:, None] * np.float32(1e25), f4(1, 2, 4)[:, None] * np.float32(1e-25))
        for eps in (0.0, 1e-5)
    ],
]  # fmt: skip
"""Calls that once overflowed or underflowed: op, arguments, and the exponent of what flows in."""


@pytest.mark.parametrize(("name", "arguments", "of_g"), FOUND)
def test_what_was_out_of_range_on_the_way_is_right(
    name: str, arguments: dict[str, Any], of_g: int
) -> None:
    assert_agrees(name, arguments, of_g)


def test_a_quotient_of_masked_sums_has_a_gradient() -> None:
    x = tg.Tensor([1.0, -2.0], requires_grad=True)
    for mask in ([0.0, 0.0], [0.0, 1.0]):
        m = np.array(mask, "f4")
        quotient = (x * m).sum() / ((tg.abs(x) * m).sum() + 1e-30)
        np.testing.assert_allclose(tg.grad(quotient, x)[0], [0.0, 0.0], atol=1e-7)
