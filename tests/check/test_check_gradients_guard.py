"""Under ``auto`` central differences guard the complex step, and no NaN counts as compared."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import tinygrad_cnn as tg
from tinygrad_cnn.check import GradientMismatch, check_gradients

Array = np.ndarray[Any, Any]

DROPPING: dict[str, Callable[[Array], Any]] = {
    "norm": np.linalg.norm,
    "abs": np.abs,
    "real": np.real,
    "a part": lambda x: np.real(x)[:1],
    "sign and size": lambda x: np.sign(np.real(x)) * np.abs(x),
}
"""NumPy's functions that drop an imaginary part without a warning."""


@pytest.mark.parametrize("name", DROPPING)
@pytest.mark.parametrize("factor", [1.0, 1e-3, 1e-7])
def test_what_leaves_the_graph_by_numpy_is_found(name: str, factor: float) -> None:
    def f(w: tg.Tensor) -> tg.Tensor:
        return w + w * (factor * DROPPING[name](w.data))

    with pytest.raises(GradientMismatch, match=r"outside the graph"):
        check_gradients(f, np.array([1.0, 2.0, -0.5]))


def test_what_only_the_second_derivative_drops_is_found() -> None:
    @tg.op(formula="x³", elementwise=True, complex_step=True)
    def cube(x: Any) -> Any:
        return x * x * x

    cube.derivative("x", formula="g·3x²")(
        lambda g, *, x: g * 3.0 * np.real(getattr(x, "_array", x)) ** 2
    )
    try:
        assert check_gradients(cube, np.array([1.0, 2.0]))
        with pytest.raises(GradientMismatch, match="second derivative"):
            check_gradients(cube, np.array([1.0, 2.0]), order=2)
    finally:
        del tg.OPS["cube"]


def test_one_input_of_several_is_enough() -> None:
    def f(a: tg.Tensor, b: tg.Tensor) -> tg.Tensor:
        return a * 10.0 + b * np.linalg.norm(b.data)

    with pytest.raises(GradientMismatch, match=r"input 1 \(b\)"):
        check_gradients(f, np.array([1.0, 2.0]), np.array([0.1, 0.2]))


def test_kinks_on_the_line_do_not_hide_it() -> None:
    def f(w: tg.Tensor) -> tg.Tensor:
        return tg.relu(w) * np.linalg.norm(w.data)

    x = np.linspace(-1.0, 1.0, 21)
    x[10] = 0.0
    with pytest.raises(GradientMismatch):
        check_gradients(f, x)


@given(seed=st.integers(0, 2**16), op=st.sampled_from(["tanh", "exp", "sigmoid", "softplus"]))
@example(seed=0, op="tanh")
def test_the_guard_leaves_right_gradients_to_the_complex_step(seed: int, op: str) -> None:
    x = np.random.default_rng(seed).normal(size=(3, 2)) * 4
    report = check_gradients(tg.OPS[op], x, order=2, seed=seed)
    assert {row.method for row in report.rows} == {"complex"}


@pytest.mark.usefixtures("ops_of_its_own")
@pytest.mark.parametrize("method", ["auto", "complex"])
def test_a_reference_of_nan_is_no_reference(method: str) -> None:
    @tg.op(formula="x·1.5", complex_step=True)
    def power(x: Any) -> Any:
        return np.where(np.iscomplexobj(x), np.nan * x, 1.5 * np.real(x))

    power.derivative("x", formula="7·g")(lambda g: g * 7.0)
    with pytest.raises(GradientMismatch):
        check_gradients(power, np.array([0.5, 2.0]), method=method)
    with pytest.raises(GradientMismatch):
        check_gradients(power, np.array([0.5, 2.0]), method=method, atol=1e-9)
    power.derivative("x", formula="1.5·g")(lambda g: g * 1.5)
    assert check_gradients(power, np.array([0.5, 2.0]), method=method).rows[0].compared == 2


def test_a_step_too_long_to_see_the_function_is_no_false_alarm() -> None:
    for x in ([0.0, 1e8], [1e-3, 1e6], [0.0, 3.0]):
        assert check_gradients(
            lambda x: tg.log(x * x + 1e-6), np.array(x), order=2, method="central"
        )


# --- layers --------------------------------------------------------------------------------------


def test_a_layer_is_checked_as_a_copy_in_float64() -> None:
    layer = tg.nn.Linear(3, 4, rng=np.random.default_rng(0))
    before = layer.state_dict()
    assert layer.weight.dtype == np.float32
    report = check_gradients(layer, np.random.default_rng(1).normal(size=(2, 3)), order=2)
    assert report.worst < 1e-12
    assert report.rows[0].input == "input 0 (x)"
    after = layer.state_dict()
    assert all(np.array_equal(before[k], after[k]) and before[k].dtype == after[k].dtype
               for k in before)  # fmt: skip
    model = tg.nn.Sequential(tg.nn.BatchNorm2d(2), tg.nn.Flatten(), tg.nn.Tanh())
    assert check_gradients(model, np.random.default_rng(1).normal(size=(3, 2, 2, 2)))
    assert not model.state_dict()["0.running_mean"].any()


def test_a_layer_within_a_function_says_how_to_check_it() -> None:
    layer = tg.nn.Linear(3, 4, rng=np.random.default_rng(0))
    with pytest.raises(TypeError) as raised:
        check_gradients(lambda x: layer(x) * 2.0, np.ones((2, 3)))
    assert "default_dtype" in "".join(raised.value.__notes__)
