"""Optimizers: their definitions written out, exact resumption, and what they refuse."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from support.optimizers import OPTIMIZERS

import tinygrad_cnn as tg
from tinygrad_cnn import nn, optim

RATES = st.floats(0.0, 1.0)
BELOW_1 = st.floats(0.0, 0.99)
SEEDS = st.integers(0, 2**32)


def problem(seed: int, steps: int = 6) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return a first value and the gradients of some steps."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=(2, 3)), rng.normal(size=(steps, 2, 3))


def path(optimizer: optim.Optimizer, gradients: NDArray[Any]) -> NDArray[Any]:
    """Return the values of the only parameter after each step."""
    (p,) = optimizer.params
    values = []
    for gradient in gradients:
        p.grad = gradient.astype(p.dtype)
        optimizer.step()
        values.append(p.data.copy())
    return np.array(values)


# --- definitions ---------------------------------------------------------------------------------


@given(SEEDS, RATES, BELOW_1, RATES, st.booleans())
def test_sgd_is_its_closed_form(
    seed: int, lr: float, momentum: float, decay: float, nesterov: bool
) -> None:
    """The velocity is Σ_s μ^(t−s) g_s, and Nesterov's step looks one μ further."""
    start, gradients = problem(seed)
    nesterov = nesterov and momentum > 0
    p, decayed, expected = start, [], []
    for t, gradient in enumerate(gradients):
        decayed.append(gradient + decay * p)
        velocity = sum(momentum ** (t - s) * g for s, g in enumerate(decayed))
        p = p - lr * (decayed[-1] + momentum * velocity if nesterov else velocity)
        expected.append(p)
    optimizer = optim.SGD([nn.Parameter(start)], lr, momentum, 0.0, decay, nesterov)
    np.testing.assert_allclose(path(optimizer, gradients), expected, rtol=1e-9, atol=1e-12)


@given(SEEDS, RATES, BELOW_1, BELOW_1, st.floats(1e-8, 0.1), RATES, st.booleans())
def test_adam_and_adamw_are_their_closed_forms(
    seed: int, lr: float, beta1: float, beta2: float, epsilon: float, decay: float, decoupled: bool
) -> None:
    """m̂ and v̂ are weighted means of g_s and g_s², with weights β^(t−s) that come to sum to 1."""
    start, gradients = problem(seed)
    p, seen, expected = start, [], []
    for t, gradient in enumerate(gradients):
        seen.append(gradient if decoupled else gradient + decay * p)
        near, wide = ([beta ** (t - s) for s in range(t + 1)] for beta in (beta1, beta2))
        mean = np.average(seen, axis=0, weights=near)
        square = np.average(np.square(seen), axis=0, weights=wide)
        p = p * (1 - lr * decay) if decoupled else p
        p = p - lr * mean / (np.sqrt(square) + epsilon)
        expected.append(p)
    kind = optim.AdamW if decoupled else optim.Adam
    optimizer = kind([nn.Parameter(start)], lr, (beta1, beta2), epsilon, decay)
    np.testing.assert_allclose(path(optimizer, gradients), expected, rtol=1e-7, atol=1e-9)


@given(SEEDS, RATES, BELOW_1, st.floats(1e-8, 0.1), BELOW_1, RATES)
def test_rmsprop_is_its_closed_form(
    seed: int, lr: float, alpha: float, epsilon: float, momentum: float, decay: float
) -> None:
    start, gradients = problem(seed)
    p, seen, directions, expected = start, [], [], []
    for t, gradient in enumerate(gradients):
        seen.append(gradient + decay * p)
        square = sum((1 - alpha) * alpha ** (t - s) * g**2 for s, g in enumerate(seen))
        directions.append(seen[-1] / (np.sqrt(square) + epsilon))
        p = p - lr * sum(momentum ** (t - s) * d for s, d in enumerate(directions))
        expected.append(p)
    optimizer = optim.RMSprop([nn.Parameter(start)], lr, alpha, epsilon, decay, momentum)
    np.testing.assert_allclose(path(optimizer, gradients), expected, rtol=1e-7, atol=1e-9)


def test_defaults_are_pytorchs() -> None:
    p = nn.Parameter([0.0])
    assert repr(optim.SGD([p], 0.1)) == (
        "SGD(1 parameters, lr=0.1, momentum=0, dampening=0, weight_decay=0, nesterov=False)"
    )
    assert repr(optim.Adam([p])) == (
        "Adam(1 parameters, lr=0.001, betas=(0.9, 0.999), eps=1e-08, weight_decay=0)"
    )
    assert optim.AdamW([p]).weight_decay == 0.01
    assert repr(optim.RMSprop([p])) == (
        "RMSprop(1 parameters, lr=0.01, alpha=0.99, eps=1e-08, weight_decay=0, momentum=0)"
    )


def test_every_optimizer_is_in_the_table() -> None:
    made = {type(make([nn.Parameter([0.0])])) for make in OPTIMIZERS.values()}
    public = {value for value in vars(optim).values() if isinstance(value, type)}
    kinds = {kind for kind in public if issubclass(kind, optim.Optimizer)}
    kinds -= {optim.Optimizer, optim.LBFGS}  # which takes a closure
    assert made == kinds, "add a line to tests/support/optimizers.py"


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_finds_the_minimum_of_a_quadratic(name: str) -> None:
    """½ xᵀA x − bᵀx has its minimum where A x = b."""
    a, b = np.array([[3.0, 1.0], [1.0, 2.0]]), np.array([1.0, -1.0])
    x = nn.Parameter(np.array([2.0, 2.0]))
    optimizer = OPTIMIZERS[name]([x])
    optimizer.weight_decay = 0.0
    schedule = optim.CosineAnnealingLR(optimizer, 400)
    for _ in range(400):
        optimizer.zero_grad()
        ((a @ x * x).sum() * 0.5 - (b * x).sum()).backward()
        optimizer.step()
        schedule.step()
    np.testing.assert_allclose(x.data, np.linalg.solve(a, b), atol=2e-3)


def test_weight_decay_of_sgd_is_the_gradient_of_half_the_squared_norm() -> None:
    start, _ = problem(0)
    decayed, penalized = nn.Parameter(start), nn.Parameter(start)
    first = optim.SGD([decayed], 0.1, weight_decay=0.3)
    second = optim.SGD([penalized], 0.1)
    for p, penalty in ((decayed, 0.0), (penalized, 0.3)):
        (tg.tanh(p).sum() + penalty / 2 * (p * p).sum()).backward()
    first.step()
    second.step()
    np.testing.assert_allclose(decayed.data, penalized.data)


# --- what a step touches -------------------------------------------------------------------------


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("shape", [(), (3,), (0,), (2, 3)])
def test_float32_stays_float32_and_a_step_is_in_place(name: str, shape: tuple[int, ...]) -> None:
    p = nn.Parameter(np.ones(shape, np.float32))
    optimizer = OPTIMIZERS[name]([p])
    optimizer.lr = np.float64(0.1)  # a NumPy number would turn float32 arrays into float64
    assert type(optimizer.lr) is float
    array = p._array
    for _ in range(3):
        p.grad = np.full(shape, 0.5, np.float32)
        optimizer.step()
    assert p._array is array
    held = [array, *(v for v in optimizer.state_dict().values() if isinstance(v, np.ndarray))]
    assert {(a.dtype, a.shape) for a in held} == {(np.dtype("f4"), shape)}
    assert p.grad.dtype == np.float32
    assert (p.grad == 0.5).all()
    assert (array < 1).all()


def test_parameters_without_a_gradient_are_left_and_their_time_stands_still() -> None:
    used, unused = nn.Parameter([1.0]), nn.Parameter([1.0])
    optimizer = optim.Adam([used, unused], 0.1, weight_decay=1.0)
    used.grad = np.ones(1, "f4")
    optimizer.step()
    assert used.data[0] == pytest.approx(0.9)
    assert unused.data[0] == 1.0
    assert "1.steps" not in optimizer.state_dict()
    unused.grad = np.ones(1, "f4")
    optimizer.step()
    assert unused.data[0] == pytest.approx(0.9)  # its first step, in the bias correction too


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_step_between_forward_and_backward_is_noticed(name: str) -> None:
    p = nn.Parameter([1.0, 2.0])
    optimizer = OPTIMIZERS[name]([p])
    y = (p * p).sum()
    p.grad = np.ones(2, "f4")
    optimizer.step()
    with pytest.raises(tg.ChangedInPlaceError):
        y.backward()


def test_a_gradient_that_is_not_finite_is_applied_without_a_warning() -> None:
    for make in OPTIMIZERS.values():
        p = nn.Parameter([1.0])
        optimizer = make([p])
        for value in (3e38, np.inf, np.nan):
            p.grad = np.full(1, value, "f4")
            optimizer.step()
        assert np.isnan(p.data[0])


@pytest.mark.parametrize(
    ("gradient", "came"),
    [
        (np.ones((2, 1), "f4"), r"float32 of shape \(2, 1\)"),
        (np.ones(2), r"float64 of shape \(2,\)"),
        ([1.0, 1.0], r"list of shape \(2,\)"),
    ],
)
def test_a_gradient_that_does_not_fit_is_refused_before_anything_changes(
    gradient: Any, came: str
) -> None:
    first, second = nn.Parameter([1.0]), nn.Parameter([1.0, 2.0])
    optimizer = optim.SGD([first, second], 0.1)
    first.grad, second.grad = np.ones(1, "f4"), gradient
    with pytest.raises(ValueError, match=rf"SGD: the gradient of params\[1\] is {came}"):
        optimizer.step()
    assert first.data[0] == 1.0
    assert "0.steps" not in optimizer.state_dict()


def test_zero_grad_forgets_gradients() -> None:
    p = nn.Parameter([1.0])
    (p * 2).sum().backward()
    optim.SGD([p], 0.1).zero_grad()
    assert p.grad is None


# --- going on ------------------------------------------------------------------------------------


@given(st.sampled_from(sorted(OPTIMIZERS)), SEEDS, st.integers(0, 4))
def test_a_resumed_run_is_the_same_to_the_bit(name: str, seed: int, done: int) -> None:
    start, gradients = problem(seed)
    whole = OPTIMIZERS[name]([nn.Parameter(start, dtype="f4")])
    expected = path(whole, gradients)
    first = OPTIMIZERS[name]([nn.Parameter(start, dtype="f4")])
    path(first, gradients[:done])
    state = first.state_dict()
    resumed = OPTIMIZERS[name]([nn.Parameter(first.params[0].data)])
    resumed.lr = 0.7  # the state has the right one
    resumed.load_state_dict(state)
    path(first, gradients[done:])  # must not reach into the state that was taken
    np.testing.assert_array_equal(path(resumed, gradients[done:]), expected[done:])


def test_a_state_is_a_copy_and_so_is_what_is_loaded() -> None:
    optimizer = optim.Adam([nn.Parameter([1.0])])
    path(optimizer, np.ones((2, 1)))
    state = optimizer.state_dict()
    for owner in (optimizer, optim.Adam([nn.Parameter([1.0])])):
        state["0.mean"][:] = 1.0
        owner.load_state_dict(state)
        state["0.mean"][:] = 2.0
        assert owner.state_dict()["0.mean"] == 1.0
        owner.state_dict()["0.mean"][:] = 3.0
        assert owner.state_dict()["0.mean"] == 1.0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("lr"), "lr is missing"),
        (lambda s: s.update(lr=-1.0), "lr is -1.0"),
        (lambda s: s.update(momentum=0.9), "unexpected momentum"),
        (lambda s: s.pop("0.square"), r"0\.square is missing"),
        (lambda s: s.pop("0.steps"), r"0\.steps is missing"),
        (lambda s: s.update({"0.steps": 0}), r"0\.steps is 0"),
        (lambda s: s.update({"1.mean": np.zeros(1)}), r"1\.square is missing|1\.steps is missing"),
        (lambda s: s.update({"7.mean": np.zeros(1)}), r"unexpected 7\.mean"),
        (lambda s: s.update({"0.mean": np.zeros(3, "f4")}), r"0\.mean is float32 of shape \(3,\)"),
        (lambda s: s.update({"0.mean": np.zeros(2)}), r"0\.mean is float64"),
    ],
)
def test_a_state_of_another_optimizer_is_refused_and_changes_nothing(
    change: Callable[[dict[str, Any]], Any], message: str
) -> None:
    p = nn.Parameter([1.0, 2.0])
    optimizer = optim.Adam([p, nn.Parameter([0.0])])
    p.grad = np.ones(2, "f4")
    optimizer.step()
    before = optimizer.state_dict()
    state = optimizer.state_dict() | {"lr": 0.5}
    change(state)
    with pytest.raises(ValueError, match=message):
        optimizer.load_state_dict(state)
    after = optimizer.state_dict()
    assert all(np.array_equal(after[key], before[key]) for key in before)


# --- refusing ------------------------------------------------------------------------------------


def made() -> Iterator[nn.Parameter]:
    yield from (nn.Parameter([1.0]), nn.Parameter([2.0]))


def test_any_iterable_of_leaves_is_taken() -> None:
    for parameters in (made(), list(made()), tuple(made()), dict.fromkeys(made())):
        assert len(optim.SGD(parameters, 0.1).params) == 2
    assert optim.SGD([tg.Tensor([1.0], requires_grad=True)], 0.1)
    assert optim.SGD([nn.Parameter([1.0], requires_grad=False)], 0.1)


P = nn.Parameter([1.0])


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: optim.SGD([], 0.1), ValueError, "SGD: params is empty"),
        (lambda: optim.SGD(P, 0.1), TypeError, "SGD: params is Parameter, expected an"),
        (lambda: optim.SGD(nn.ReLU(), 0.1), TypeError, r"is ReLU.*model\.parameters\(\)"),
        (lambda: optim.SGD([P, 1.0], 0.1), TypeError, r"params\[1\] is float"),
        (lambda: optim.SGD([P * 2], 0.1), TypeError, r"params\[0\] was computed"),
        (lambda: optim.SGD([tg.Tensor(np.array([1]))], 0.1), TypeError, "holds int64"),
        (lambda: optim.SGD([P, P], 0.1), ValueError, r"params\[1\] is params\[0\] again"),
        (lambda: optim.SGD([P], -0.1), ValueError, "SGD: lr is -0.1, expected a finite number"),
        (lambda: optim.SGD([P], float("nan")), ValueError, "lr is nan"),
        (lambda: optim.SGD([P], float("inf")), ValueError, "lr is inf"),
        (lambda: optim.SGD([P], "0.1"), ValueError, "lr is '0.1'"),
        (lambda: optim.SGD([P], 0.1, 1.0), ValueError, "momentum is 1.0, .* >= 0 and < 1"),
        (lambda: optim.SGD([P], 0.1, nesterov=True), ValueError, "nesterov needs a momentum"),
        (lambda: optim.SGD([P], 0.1, 0.9, 0.1, nesterov=True), ValueError, "no dampening"),
        (lambda: optim.Adam([P], betas=0.9), ValueError, "Adam: betas is 0.9, expected two"),
        (lambda: optim.Adam([P], betas=(0.9, 1.0)), ValueError, r"Adam: betas\[1\] is 1.0"),
        (lambda: optim.AdamW([P], weight_decay=-1), ValueError, "AdamW: weight_decay is -1"),
        (lambda: optim.RMSprop([P], alpha=1), ValueError, "RMSprop: alpha is 1"),
        (lambda: optim.RMSprop([P], eps=-1e-8), ValueError, "RMSprop: eps is -1e-08"),
        (lambda: optim.Adadelta([P], rho=1.0), ValueError, "Adadelta: rho is 1.0"),
        (lambda: optim.Adagrad([P], lr_decay=-1), ValueError, "Adagrad: lr_decay is -1"),
        (lambda: optim.LBFGS([P], max_iter=0), ValueError, "LBFGS: max_iter is 0"),
        (lambda: optim.LBFGS([P], line_search_fn="armijo"), ValueError, "'armijo', expected None"),
    ],
)  # fmt: skip
def test_a_bad_argument_is_refused(make: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        make()


def test_a_bad_learning_rate_is_refused_later_too_and_keeps_the_old() -> None:
    optimizer = optim.SGD([P], 0.1)
    with pytest.raises(ValueError, match="SGD: lr is -1"):
        optimizer.lr = -1
    assert optimizer.lr == 0.1


def test_an_optimizer_of_ones_own_needs_update_alone() -> None:
    class SignDescent(optim.Optimizer):
        def update(self, p: Any, g: Any, state: Any) -> None:
            p -= self.lr * np.sign(g)

    p = nn.Parameter([1.0, -1.0])
    optimizer = SignDescent([p], 0.5)
    (p * p).sum().backward()
    optimizer.step()
    assert p.data.tolist() == [0.5, -0.5]
    optimizer.load_state_dict(optimizer.state_dict())
    with pytest.raises(NotImplementedError, match="Optimizer defines no update"):
        plain = optim.Optimizer([p], 0.1)
        plain.step()
