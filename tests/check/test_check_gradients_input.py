"""What cannot be checked is refused, with an error that names it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinygrad_cnn as tg
from tinygrad_cnn.check import check_gradients

x = np.array([0.5, 1.5])
rng = np.random.default_rng(0)


def writes_to_its_input(x: tg.Tensor) -> tg.Tensor:
    x.data[0] = 3.0
    return x * 2.0


def stops_the_gradient(x: tg.Tensor) -> tg.Tensor:
    return x.requires_grad_(False) * 2.0


REFUSED: dict[str, tuple[Any, list[Any], dict[str, Any], type[Exception], str]] = {
    "integers": (
        tg.relu, [np.array([1, 2])], {}, TypeError,
        r"input 0 \(x\) holds int64, expected floats; pass it as astype\(float\)",
    ),
    "booleans": (tg.relu, [x > 1], {}, TypeError, r"input 0 \(x\) holds bool, expected floats"),
    "complex": (tg.relu, [x + 1j], {}, TypeError, r"input 0 \(x\) holds complex128"),
    "a list": (tg.relu, [[0.5]], {}, TypeError, r"input 0 \(x\) is list, expected an array"),
    "a Tensor": (tg.relu, [tg.Tensor(x)], {}, TypeError, "is a Tensor; pass its data"),
    "NaN": (tg.add, [x, x * np.nan], {}, ValueError, r"input 1 \(b\) holds nan at \(0,\)"),
    "no inputs": (tg.relu, [], {}, ValueError, "no inputs: pass the arrays"),
    "no function": (x, [x], {}, TypeError, "f is ndarray, expected a function of Tensors"),
    "order 0": (tg.relu, [x], {"order": 0}, ValueError, "order is 0, expected 1 or more"),
    "order True": (tg.relu, [x], {"order": True}, ValueError, "order is True"),
    "order 1.5": (tg.relu, [x], {"order": 1.5}, ValueError, "order is 1.5"),
    "method": (tg.relu, [x], {"method": "exact"}, ValueError, "'exact', expected one of 'auto'"),
    "seed": (tg.relu, [x], {"seed": -1}, ValueError, "seed is -1, expected 0 or more"),
    "entries": (tg.relu, [x], {"entries": True}, ValueError, "entries is True, expected 0"),
    "second order of an infinite first": (
        lambda x: tg.sqrt(x - 0.5), [x], {"order": 2}, ValueError,
        r"derivative of order 1 for input 0 \(x\) is not finite at \(0,\)",
    ),
    "rtol": (tg.relu, [x], {"rtol": -1.0}, ValueError, "rtol is -1.0, expected 0 or more"),
    "atol": (tg.relu, [x], {"atol": np.nan}, ValueError, "atol is nan, expected 0 or more"),
    "names": (tg.relu, [x], {"names": ["a", "b"]}, ValueError, "expected 1 names"),
    "returns an array": (
        lambda x: x.numpy(), [x], {}, TypeError, "f returned LeafArray, expected one Tensor"
    ),
    "returns nothing": (lambda x: None, [x], {}, TypeError, "f returned NoneType"),
    "returns a pair": (
        lambda x: (x, x), [x], {}, TypeError,
        "f returned tuple, expected one Tensor; check one of its results at a time",
    ),
    "returns integers": (
        lambda x: tg.Tensor(np.array([1])), [x], {}, TypeError, "returned a Tensor of int64"
    ),
    "NaN in f": (
        lambda x: tg.log(x - 1.0), [x], {}, ValueError,
        r"f is nan at \(0,\): first NaN: forward of `log`, called at .*\.py:\d+: result\[0\]",
    ),
    "infinity in f": (
        lambda x: 1.0 / (x - 0.5), [x], {}, ValueError, "f is inf .*: forward of `div`"
    ),
    "random": (
        lambda x: x * rng.normal(size=2), [x], {}, ValueError,
        r"two calls of f with the same inputs gave -?\d.* and -?\d.* at \(0,\)",
    ),
    "random shape": (
        lambda x: tg.concatenate([x] * int(rng.integers(1, 10**9) % 97 + 1)), [x], {},
        ValueError, "two calls of f",
    ),
    "changes its input": (
        writes_to_its_input, [x], {}, ValueError, r"f changed input 0 \(x\) in place"
    ),
    "stops its gradient": (stops_the_gradient, [x], {}, ValueError, r"f changed input 0 \(x\)"),
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSED)
def test_refused(what: str) -> None:
    f, arrays, options, kind, message = REFUSED[what]
    with pytest.raises(kind, match=f"check_gradients: .*{message}"):
        check_gradients(f, *arrays, **options)


def test_errors_of_f_itself_come_through() -> None:
    with pytest.raises(ValueError, match="shapes do not broadcast"):
        check_gradients(tg.add, np.ones(2), np.ones(3))


def test_inputs_are_never_written_to() -> None:
    mine = x.copy()
    with pytest.raises(ValueError, match="changed"):
        check_gradients(writes_to_its_input, mine)
    np.testing.assert_array_equal(mine, x)
