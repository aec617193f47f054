"""`check_gradients` passes what is right, to the last digit, and says how far it looked."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest

import tinygrad_cnn as tg
from tinygrad_cnn.check import GradientMismatch, GradientReport, check_gradients

Array = np.ndarray[Any, Any]


def normal(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).normal(size=shape)


def network(x: Any, w: Any, b: Any, v: Any) -> Any:
    features = tg.maxpool(tg.relu(tg.conv2d(x, w, b, padding=1)), 2)
    return tg.log_softmax(tg.linear(features.reshape(len(x), -1), v), temperature=0.5)


NETWORK = [normal(2, 2, 4, 4), normal(3, 2, 3, 3), normal(3), normal(4, 12)]

FUNCTIONS: dict[str, tuple[Any, list[Array]]] = {
    "network": (network, NETWORK),
    "batch norm": (tg.batch_norm, [normal(3, 2, 2, 2), normal(2), normal(2)]),
    "cross-entropy": (lambda x: tg.cross_entropy(x, np.array([0, 2])), [normal(2, 3)]),
    "error": (lambda a, b: tg.squared_error(tg.sigmoid(a), b), [normal(2, 3), normal(2, 3)]),
    "stride": (lambda x, w: tg.conv2d(x, w, stride=2), [normal(1, 1, 6, 6), normal(2, 1, 3, 2)]),
    "transposed": (tg.conv_transpose2d, [normal(1, 2, 3, 3), normal(2, 2, 2, 2)]),
    "average": (lambda x: tg.avgpool(tg.softplus(x), 2), [normal(1, 2, 4, 4)]),
    "parts": (lambda x, y: tg.concatenate([x[1:], y.T])[::2], [normal(3, 2), normal(2, 2)]),
    "powers": (lambda a, b: tg.exp(a) ** b / (1 + a * a), [normal(3), normal(2, 1)]),
    "choice": (lambda a, b: tg.where(a > b, a * a, b), [normal(4), normal(4, seed=1)]),
    "control flow": (lambda x: x * x if x.sum() > 0 else -x, [normal(3)]),
    "scalar": (tg.tanh, [np.array(0.5)]),
    "nothing": (tg.sigmoid, [np.zeros((0, 3))]),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_right_gradients_of_three_orders_pass(name: str) -> None:
    f, arrays = FUNCTIONS[name]
    report = check_gradients(f, *arrays, order=3)
    assert max(row.relative for row in report.rows if row.order == 1) < 1e-14
    assert max(row.relative for row in report.rows if row.order == 2) < 1e-13
    assert {row.method for row in report.rows} == {"complex"}
    assert report.kinks == ()
    # from order 2 on the gradient that flows in is an input as well
    assert len(report.rows) == 3 * len(arrays) + 2


@pytest.mark.parametrize("name", FUNCTIONS)
def test_central_differences_agree(name: str) -> None:
    f, arrays = FUNCTIONS[name]
    report = check_gradients(f, *arrays, order=2, method="central")
    assert report.worst < 1e-8
    assert report.kinks == ()


@pytest.mark.parametrize("method", ["complex", "central"])
def test_large_inputs_are_checked_along_directions(method: str) -> None:
    x, w = normal(2, 3, 9, 9), normal(4, 3, 3, 3)
    report = check_gradients(lambda x, w: tg.tanh(tg.conv2d(x, w)), x, w, order=2, method=method)
    image, kernels = report.rows[:2]
    assert (image.compared, image.directions, image.where) == (0, 3, None)
    assert (kernels.compared, kernels.directions, kernels.size) == (108, 0, 108)


def test_input_that_f_does_not_depend_on_has_gradient_zero() -> None:
    assert check_gradients(lambda x, y: y * 2.0, normal(2), normal(3), order=3)
    assert check_gradients(lambda x: tg.Tensor(np.ones(3)), normal(2), order=2)


def test_f_may_use_parameters_of_its_own() -> None:
    w = tg.Tensor(normal(2, 3), requires_grad=True)
    assert check_gradients(lambda x: tg.linear(x, w), normal(4, 3), order=2)
    assert w.grad is None


def test_inputs_are_copied_to_float64() -> None:
    x = normal(3).astype("f4")
    x.setflags(write=False)
    assert check_gradients(tg.tanh, x).worst < 1e-15


# --- which method --------------------------------------------------------------------------------


def test_op_that_is_not_marked_makes_it_central_differences() -> None:
    report = check_gradients(lambda x: tg.astype(tg.tanh(x), "f8"), normal(3))
    assert report.rows[0].method == "central"


@pytest.mark.usefixtures("ops_of_its_own")
def test_ops_of_users_are_not_marked_unless_they_say_so() -> None:
    @tg.op(formula="x")
    def plain(x: Any) -> Any:
        return x

    @tg.op(formula="x", complex_step=True)
    def marked(x: Any) -> Any:
        return x

    assert not plain.complex_step
    assert marked.complex_step
    assert tg.relu.complex_step


def test_float32_on_the_way_widens_the_tolerance() -> None:
    report = check_gradients(lambda x: tg.tanh(x.astype("f4")).sum(), normal(3))
    assert 1e-12 < report.worst < 1e-3


def test_f_that_takes_no_complex_numbers_is_checked_by_differences() -> None:
    def f(x: tg.Tensor) -> tg.Tensor:
        return x * x if float(x.sum()) > 0 else -x

    assert check_gradients(f, normal(3)).rows[0].method == "central"


@pytest.mark.usefixtures("ops_of_its_own")
def test_op_that_is_wrongly_marked_is_checked_by_differences() -> None:
    @tg.op(formula="|x|", complex_step=True)
    def size(x: Any) -> Any:
        return np.abs(x)  # of a complex number its modulus, so that the step is lost

    @size.derivative("x", formula="g·sign x")
    def _(g: Any, *, x: Any) -> Any:
        return g * np.sign(getattr(x, "_array", x))

    assert check_gradients(size, normal(3)).rows[0].method == "central"


# --- rounding is not a mistake -----------------------------------------------------------------

ROUNDING: dict[str, tuple[Any, Array]] = {
    "cancels to zero": (lambda x: tg.softmax(x).sum(), normal(3, 4)),
    "one class": (tg.log_softmax, normal(3, 1)),
    "saturated tanh": (tg.tanh, np.array([9.0, 13.9, 20.0, -40.0])),
    "saturated softmax": (tg.softmax, np.array([[300.0, -20.0, 1.0]])),
    "saturated loss": (lambda x: tg.cross_entropy(x, np.array([0])), np.array([[81.4, 0.0, 0.6]])),
    "thirds": (lambda x: x / 3.0 - x * (1 / 3), normal(5)),
    "far from zero": (lambda x: (x * x).mean() + 1e8, normal(5)),
    "tiny": (lambda x: tg.sigmoid(x) * 1e-30, normal(5)),
    "underflow": (tg.logsumexp, np.array([0.0, -737.3])),
    "steep": (lambda x: tg.tanh(x * 1e6), normal(5) * 1e-6),
}


@pytest.mark.parametrize("method", ["complex", "central"])
@pytest.mark.parametrize("name", ROUNDING)
def test_rounding_is_not_taken_for_a_mistake(name: str, method: str) -> None:
    f, x = ROUNDING[name]
    for seed in range(5):
        assert check_gradients(f, x, order=2, method=method, seed=seed)


@pytest.mark.parametrize("factor", [1 + 1e-9, 1 - 1e-11])
def test_a_mistake_in_the_last_digits_is_seen(factor: float) -> None:
    def f(x: tg.Tensor) -> tg.Tensor:  # a detached part: the gradient lacks it
        return x * (factor - 1) * 0 + x * 1.0 + x.detach() * (factor - 1)

    with pytest.raises(AssertionError):
        check_gradients(f, normal(3))


def test_a_mistake_of_1e_12_of_the_largest_gradient_is_seen_where_the_right_one_is_0() -> None:
    def f(x: tg.Tensor) -> tg.Tensor:
        return x * x + x * 1e-12 - x.detach() * 1e-12

    with pytest.raises(GradientMismatch) as raised:
        check_gradients(f, np.array([1.0, 0.0, -2.0]))
    assert raised.value.entry == (1,)


def test_tolerances_can_be_given() -> None:
    def f(x: tg.Tensor) -> tg.Tensor:
        return x + x.detach() * 1e-3

    assert check_gradients(f, normal(3), rtol=1e-2)
    assert check_gradients(f, normal(3), rtol=0.0, atol=2e-3)
    with pytest.raises(AssertionError, match=r"tolerance 1\.0e-04"):
        check_gradients(f, normal(3), rtol=0.0, atol=1e-4)


# --- the report ----------------------------------------------------------------------------------


def test_report_reads_as_a_table() -> None:
    report = check_gradients(
        tg.relu, np.array([0.0, 1.0]), method="central", names=["signal"], rtol=1e-6, atol=0.0
    )
    lines = str(report).splitlines()
    assert lines[0].split("  ")[0] == "order"
    assert lines[1].split()[:3] == ["1", "signal", "central"]
    assert lines[1].endswith("(1,)   1 of 2")
    assert lines[2] == "kink at signal entry (0,): relu"
    assert isinstance(report, GradientReport)
    assert bool(report)


def test_same_seed_gives_the_same_report() -> None:
    first = check_gradients(network, *NETWORK, order=2, seed=7)
    assert check_gradients(network, *NETWORK, order=2, seed=7) == first
    assert check_gradients(network, *NETWORK, order=2, seed=8) != first


def test_package_is_loaded_when_first_used_and_without_hypothesis() -> None:
    code = (
        "import sys, tinygrad_cnn as tg; assert 'tinygrad_cnn.check' not in sys.modules; "
        "tg.check.check_gradients; assert 'hypothesis' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
