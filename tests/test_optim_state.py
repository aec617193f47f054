"""The state of an optimizer: saved with every option, loadable at any moment, lost by nobody."""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from numpy.typing import NDArray
from support.optimizers import OPTIMIZERS

import tinygrad_cnn as tg
from tinygrad_cnn import nn, optim, train
from tinygrad_cnn.optim.group import SMALL

State = dict[str, Any]
BELOW_1 = st.floats(0.0, 0.99)
LEARNING_RATES = st.floats(0.0, 1.0)
SEEDS = st.integers(0, 2**32)
KINDS: dict[str, Callable[..., optim.Optimizer]] = {
    row.factory.__name__: row.factory for row in train.OPTIMIZERS.values()
}
OPTIONS = {
    "SGD": st.fixed_dictionaries(
        {"momentum": st.floats(0.1, 0.99), "nesterov": st.booleans(), "weight_decay": BELOW_1}
    ),
    "Adam": st.fixed_dictionaries(
        {"betas": st.tuples(BELOW_1, BELOW_1), "eps": BELOW_1, "weight_decay": BELOW_1}
    ),
    "RMSprop": st.fixed_dictionaries(
        {"alpha": BELOW_1, "eps": BELOW_1, "momentum": BELOW_1, "weight_decay": BELOW_1}
    ),
}
OPTIONS["AdamW"] = OPTIONS["Adam"]
OPTIONS["Adagrad"] = st.fixed_dictionaries({"lr_decay": BELOW_1, "eps": BELOW_1})
OPTIONS["Adadelta"] = st.fixed_dictionaries({"rho": BELOW_1, "eps": BELOW_1})


def step(optimizer: optim.Optimizer, seed: int) -> None:
    """Make a step with gradients that the seed decides."""
    rng = np.random.default_rng(seed)
    for p in optimizer.params:
        p.grad = rng.normal(size=p.shape).astype(p.dtype)
    optimizer.step()


def bits(optimizer: optim.Optimizer) -> list[bytes]:
    return [p.data.tobytes() for p in optimizer.params]


# --- options -------------------------------------------------------------------------------------


@given(st.data(), st.sampled_from(sorted(KINDS)), LEARNING_RATES, SEEDS, st.integers(0, 3))
def test_a_state_restores_every_option_and_the_steps_after_it_to_the_bit(
    data: st.DataObject, name: str, lr: float, seed: int, done: int
) -> None:
    """The other optimizer is made with defaults, as one is that only knows the kind."""
    chosen = data.draw(OPTIONS[name])
    values = [np.random.default_rng(seed).normal(size=n).astype("f4") for n in (3, 5)]
    whole = KINDS[name]([nn.Parameter(value) for value in values], lr, **chosen)
    for i in range(done):
        step(whole, i)
    other = KINDS[name]([nn.Parameter(p.data) for p in whole.params], 0.5)
    other.load_state_dict(whole.state_dict())
    for option in chosen:
        assert getattr(other, option) == getattr(whole, option)
    assert repr(other) == repr(whole)
    for i in range(done, done + 3):
        step(whole, i)
        step(other, i)
        assert bits(other) == bits(whole)


# --- an interrupt at any moment ------------------------------------------------------------------


def interrupted(call: Callable[[], None], at: int) -> bool:
    """Return whether `call` came to its line number `at` in the optimizers, and was ended there."""
    lines = 0

    def in_frame(frame: FrameType, event: str, arg: Any) -> Any:
        nonlocal lines
        lines += event == "line"
        if lines == at:
            raise KeyboardInterrupt
        return in_frame

    def trace(frame: FrameType, event: str, arg: Any) -> Any:
        return in_frame if frame.f_globals["__name__"].startswith("tinygrad_cnn.optim") else None

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        call()
    except KeyboardInterrupt:
        return True
    finally:
        sys.settrace(before)
    return False


@pytest.mark.parametrize(
    ("name", "done"),
    [("Nesterov", 0), ("Adam", 0), ("Adam", 1), ("AdamW", 0), ("RMSprop with momentum", 0)],
)
def test_wherever_a_step_is_interrupted_its_state_is_loaded_and_the_graph_notices(
    name: str, done: int
) -> None:
    at = 1
    while True:
        optimizer = OPTIMIZERS[name]([nn.Parameter(np.ones(n, "f4")) for n in (2, 3, SMALL + 1)])
        for i in range(done):
            step(optimizer, i)
        before = bits(optimizer)
        results = [(p * p).sum() for p in optimizer.params]
        if not interrupted(lambda: step(optimizer, done), at):  # noqa: B023  # called at once
            break
        state = optimizer.state_dict()
        for i, (p, old, y) in enumerate(zip(optimizer.params, before, results, strict=True)):
            assert state.get(f"{i}.steps", 0) in (done, done + 1)
            if p.data.tobytes() != old:
                with pytest.raises(tg.ChangedInPlaceError):
                    y.backward()
        other = OPTIMIZERS[name]([nn.Parameter(p.data) for p in optimizer.params])
        other.load_state_dict(state)
        step(other, done)
        step(optimizer, done)
        other.load_state_dict(optimizer.state_dict())
        at += 1
    assert at > 20


def test_a_state_of_a_first_step_that_was_interrupted_is_that_of_no_step() -> None:
    """Earlier versions wrote it."""
    optimizer = optim.Adam([nn.Parameter([1.0])])
    zero = np.zeros(1, "f4")
    options = optimizer.state_dict()
    optimizer.load_state_dict({**options, "0.steps": 0, "0.mean": zero, "0.square": zero})
    assert optimizer.state_dict() == options


# --- optimizers of one's own ---------------------------------------------------------------------


class Rebinding(optim.Optimizer):
    """Momentum as one writes it down; float64 numbers in it must not change the state's dtype."""

    slots = ("velocity", "previous")
    elementwise = True

    def update(self, p: NDArray[Any], g: NDArray[Any], state: State) -> None:
        state["velocity"] = np.float64(0.9) * state["velocity"] + g + 0.1 * state["previous"]
        state["previous"] = g
        p -= self.lr * state["velocity"]


class Changing(Rebinding):
    """The same in place, each parameter by itself: what `Rebinding` has to give."""

    elementwise = False

    def update(self, p: NDArray[Any], g: NDArray[Any], state: State) -> None:
        v, previous = state["velocity"], state["previous"]
        v[...] = np.float64(0.9) * v + g + 0.1 * previous
        previous[...] = g
        p -= self.lr * v


@given(SEEDS, st.lists(st.sampled_from([1, 4, SMALL + 1]), min_size=1, max_size=3))
@example(seed=0, sizes=[1, 4])
def test_a_state_that_an_update_rebinds_is_not_lost(seed: int, sizes: list[int]) -> None:
    values = [np.random.default_rng(seed + n).normal(size=n) for n in sizes]
    rebinding, changing = (
        kind([nn.Parameter(value) for value in values], 0.1) for kind in (Rebinding, Changing)
    )
    for i in range(5):
        if i == 2:
            state = rebinding.state_dict()
            rebinding = Rebinding([nn.Parameter(p.data) for p in rebinding.params], 0.1)
            rebinding.load_state_dict(state)
        if i == 3:  # one parameter is left out: the others are grouped anew
            for optimizer in (rebinding, changing):
                step(optimizer, seed)
                optimizer.params[0].grad = None
                optimizer.step()
        step(rebinding, seed + i)
        step(changing, seed + i)
        for mine, theirs in zip(rebinding.params, changing.params, strict=True):
            np.testing.assert_allclose(mine.data, theirs.data, rtol=1e-12)


def lazy(self: Any, p: NDArray[Any], g: NDArray[Any], state: State) -> None:
    state["count"] = state.get("count", 0) + 1


def returning(self: Any, p: NDArray[Any], g: NDArray[Any], state: State) -> Any:
    return p - self.lr * g


def writing(self: Any, p: NDArray[Any], g: NDArray[Any], state: State) -> None:
    g += 0.1 * p


@pytest.mark.parametrize("elementwise", [False, True])
@pytest.mark.parametrize(
    ("update", "message"),
    [
        (lazy, "update: state has count, which the optimizer's slots do not name"),
        (returning, "update: returned ndarray, expected p changed in place"),
        (writing, "read-only"),
    ],
)
def test_an_update_that_would_be_lost_is_refused(
    update: Any, message: str, elementwise: bool
) -> None:
    kind = type("Own", (optim.Optimizer,), {"update": update, "elementwise": elementwise})
    with pytest.raises((TypeError, ValueError), match=message):
        step(kind([nn.Parameter([1.0]), nn.Parameter([2.0])], 0.1), 0)


# --- gradients -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_weight_that_is_frozen_between_forward_and_step_does_not_move(name: str) -> None:
    frozen, other = nn.Parameter([3.0, 4.0]), nn.Parameter([1.0])
    optimizer = OPTIMIZERS[name]([frozen, other])
    (frozen.sum() * other.sum()).backward()
    frozen.requires_grad_(False)
    assert optim.clip_grad_norm_([frozen, other], 1e3) == 7.0  # the frozen one counts nothing
    optimizer.step()
    assert frozen.data.tolist() == [3.0, 4.0]
    assert other.data[0] < 1.0
    assert "0.steps" not in optimizer.state_dict()


@pytest.mark.parametrize(
    "given_as",
    [
        lambda g: g,
        tg.Tensor,
        lambda g: tg.Tensor(g, requires_grad=True) * 1.0,
        lambda g: g.astype(g.dtype.newbyteorder()),
        lambda g: np.broadcast_to(g, g.shape),
    ],
    ids=["array", "Tensor", "result", "other byte order", "read-only"],
)
@pytest.mark.parametrize("clip", [False, True])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_gradient_may_be_an_array_or_a_tensor(
    name: str, given_as: Callable[[Any], Any], clip: bool
) -> None:
    start, g = np.array([1.0, -2.0], "f4"), np.array([3.0, 4.0], "f4")
    plain, other = (OPTIMIZERS[name]([nn.Parameter(start)]) for _ in range(2))
    plain.params[0].grad, other.params[0].grad = g.copy(), given_as(g.copy())
    for optimizer in (plain, other):
        if clip:
            assert optim.clip_grad_norm_(optimizer.params, 1.0) == 5.0
            optim.clip_grad_value_(optimizer.params, 0.7)
        optimizer.step()
    assert bits(other) == bits(plain)


def test_a_gradient_that_two_parameters_share_is_clipped_once() -> None:
    first, second = nn.Parameter([1.0, 1.0]), nn.Parameter([1.0, 1.0])
    first.grad = second.grad = np.array([3.0, 4.0], "f4")
    norm = optim.clip_grad_norm_([first, second], 1.0)
    assert norm == pytest.approx(50**0.5)
    np.testing.assert_allclose(second.grad, np.array([3.0, 4.0]) / norm, rtol=1e-6)


def test_the_state_is_kept_by_parameter_also_in_a_copy() -> None:
    p, frozen = nn.Parameter([1.0]), nn.Parameter([1.0])
    optimizer = optim.SGD([p, frozen], lr=1.0, momentum=0.9)
    p.grad = np.array([2.0], p.dtype)
    optimizer.step()
    copied = copy.deepcopy(optimizer)
    for one in (optimizer, copied):
        first, second = one.params
        assert one.state[first]["steps"] == 1
        assert one.state[second] == {}
    assert copied.params[0] not in optimizer.state
