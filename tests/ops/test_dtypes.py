"""One dtype in, the same out: float32 never turns into float64 on the way."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np
import pytest

import tinygrad_cnn as tg

BINARY = [tg.add, tg.sub, tg.mul, tg.div, tg.pow, tg.maximum, tg.minimum]
OPERATORS = [
    operator.add, operator.sub, operator.mul, operator.truediv, operator.pow,
]  # fmt: skip
OTHERS: dict[str, Any] = {
    "int": 2,
    "float": 2.5,
    "bool": True,
    "float64 scalar": np.float64(2.5),
    "int64 scalar": np.int64(2),
    "0-d float64": np.array(2.5),
    "0-d int": np.array(2),
    "float64 array": np.array([1.5, 2.5]),
    "int array": np.array([1, 2]),
    "list": [1.5, 2.5],
    "list of int": [1, 2],
    "tuple": (1.0, 2),
    "int Tensor": tg.Tensor(np.array([1, 2])),
    "bool Tensor": tg.Tensor(np.array([True, True])),
}
any_other = pytest.mark.parametrize("other", OTHERS.values(), ids=OTHERS)
dtypes = pytest.mark.parametrize("dtype", [np.float32, np.float64])


@any_other
@dtypes
@pytest.mark.parametrize("op", BINARY)
def test_whatever_is_beside_a_tensor_takes_its_dtype(op: Any, dtype: Any, other: Any) -> None:
    x = tg.Tensor([1.0, 2.0], requires_grad=True, dtype=dtype)
    for y in (op(x, other), op(other, x)):
        assert y.dtype == dtype
        (gradient,) = tg.grad(y.sum(), x)
        assert gradient.dtype == dtype


@any_other
@dtypes
@pytest.mark.parametrize("apply", OPERATORS)
def test_operators_keep_the_dtype_on_either_side(apply: Any, dtype: Any, other: Any) -> None:
    x = tg.Tensor([1.0, 2.0], requires_grad=True, dtype=dtype)
    numbers = np.asarray(getattr(other, "_array", other)).astype(dtype)
    for y, expected in (
        (apply(x, other), apply(x.numpy(), numbers)),
        (apply(other, x), apply(numbers, x.numpy())),
    ):
        assert isinstance(y, tg.Tensor)
        assert y.dtype == dtype
        np.testing.assert_allclose(y.numpy(), expected, rtol=1e-6)


@dtypes
def test_a_tensor_without_axes_keeps_its_dtype_beside_larger_arrays(dtype: Any) -> None:
    x = tg.Tensor(2.0, requires_grad=True, dtype=dtype)
    y = x * np.array([1.0, 2.0]) + np.float64(1) - 3
    assert y.dtype == dtype
    (gradient,) = tg.grad(y.sum(), x)
    assert (gradient.dtype, gradient.shape) == (np.dtype(dtype), ())


@pytest.mark.parametrize("op", [*BINARY, tg.matmul, tg.mse])
def test_tensors_of_two_floating_dtypes_are_refused(op: Any) -> None:
    x, y = tg.Tensor([1.0, 2.0]), tg.Tensor(np.array([1.0, 2.0]))
    with pytest.raises(TypeError, match=rf"{op.name}: .*float32.*float64.*astype"):
        op(x, y)


def test_astype_brings_two_dtypes_together_and_the_gradient_back() -> None:
    x = tg.Tensor([1.0, 2.0], requires_grad=True)
    y = tg.Tensor(np.array([3.0, 4.0]), requires_grad=True)
    dx, dy = tg.grad((x.astype("f8") * y).sum(), [x, y])
    assert (dx.dtype, dy.dtype) == (np.float32, np.float64)
    np.testing.assert_array_equal(dx, [3, 4])


def test_a_cast_to_integers_passes_no_gradient() -> None:
    """It is constant almost everywhere."""
    x = tg.Tensor([1.5, 2.5], requires_grad=True)
    (gradient,) = tg.grad((x * x.astype(int)).sum(), x)
    np.testing.assert_array_equal(gradient, [1, 2])


def test_arrays_alone_compute_as_numpy_does() -> None:
    assert isinstance(tg.add(1.0, np.ones(2)), np.ndarray)
    assert tg.add(np.ones(2, "f4"), np.ones(2)).dtype == np.float64
    assert tg.exp(np.ones(2, "f4")).dtype == np.float32


@pytest.mark.parametrize(
    "name", ["sigmoid", "tanh", "softmax", "softplus", "relu", "gelu", "erf", "mean", "exp"]
)
def test_numbers_without_axes_stay_arrays_of_their_dtype(name: str) -> None:
    axis = {"softmax": [1.0]}.get(name, 1.0)
    x = tg.Tensor(axis, requires_grad=True)
    y = tg.OPS[name](x)
    assert type(y._array) is np.ndarray
    assert y.dtype == np.float32
    (gradient,) = tg.grad(y.sum(), x)
    assert type(gradient) is np.ndarray
    assert gradient.dtype == np.float32


def test_the_default_dtype_holds_inside_its_block_and_for_numbers_only() -> None:
    assert tg.Tensor([1.0]).dtype == np.float32
    with tg.default_dtype("f8"):
        assert tg.Tensor([1.0]).dtype == np.float64
        assert tg.Tensor(np.ones(1, "f4")).dtype == np.float32
        with tg.default_dtype("f4"):
            assert tg.Tensor(1).dtype == np.float32
        assert tg.Tensor(1).dtype == np.float64
    with pytest.raises(ZeroDivisionError), tg.default_dtype("f8"):
        raise ZeroDivisionError
    assert tg.Tensor([1.0]).dtype == np.float32
