"""Schedules: their formulas at the points where they are known, and going on after a pause."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_cnn as tg
from tinygrad_cnn import nn, optim

RATES = st.floats(1e-4, 10.0)
STEPS = st.integers(1, 30)


def sgd(lr: float = 1.0) -> optim.SGD:
    return optim.SGD([nn.Parameter([0.0])], lr)


def rates(schedule: optim.Schedule, count: int) -> list[float]:
    """Return the learning rates that `count` updates would use."""
    seen = []
    for _ in range(count):
        seen.append(schedule.optimizer.lr)
        schedule.step()
    return seen


@given(RATES, STEPS, st.floats(0.1, 2.0), st.integers(1, 5))
def test_step_decay_multiplies_every_so_often(
    lr: float, every: int, factor: float, times: int
) -> None:
    seen = rates(optim.StepDecay(sgd(lr), every, factor), every * times)
    assert seen[0] == lr
    ratios = np.divide(seen[1:], seen[:-1])
    falls = [t for t, ratio in enumerate(ratios, 1) if t % every == 0]
    np.testing.assert_allclose(ratios[[t - 1 for t in falls]], factor)
    assert all(ratio == 1 for t, ratio in enumerate(ratios, 1) if t not in falls)


@given(RATES, STEPS, st.floats(0.0, 1.0))
def test_cosine_goes_from_start_to_minimum_and_is_symmetric_about_the_middle(
    lr: float, steps: int, share: float
) -> None:
    lr_min = share * lr
    seen = np.array(rates(optim.Cosine(sgd(lr), steps, lr_min), steps + 3))
    assert seen[0] == pytest.approx(lr)
    np.testing.assert_allclose(seen[steps:], lr_min, atol=1e-12)
    np.testing.assert_allclose(seen[: steps + 1] + seen[steps::-1], lr + lr_min)
    assert (np.diff(seen) <= 1e-12).all()


def test_cosine_at_a_third_is_three_quarters() -> None:
    assert optim.Cosine(sgd(), 3).rate(1) == pytest.approx(0.75)  # cos 60° = ½


@given(RATES, st.integers(3, 40), st.floats(0.0, 1.0), st.floats(0.0, 1.0), st.floats(0.0, 1.0))
def test_one_cycle_rises_to_the_maximum_and_falls_to_the_end(
    lr_max: float, steps: int, warmup: float, start: float, end: float
) -> None:
    schedule = optim.OneCycle(sgd(), steps, lr_max, warmup, start, end)
    peak = warmup * (steps - 1)
    seen = np.array(rates(schedule, steps + 2))
    assert seen[0] == pytest.approx((start if peak > 0 else 1.0) * lr_max)
    assert (np.diff(seen[: math.floor(peak) + 1]) >= -1e-9).all()
    assert (np.diff(seen[math.ceil(peak) :]) <= 1e-9).all()
    assert seen.max() <= lr_max * (1 + 1e-12)
    if peak < steps - 1:
        np.testing.assert_allclose(seen[steps - 1 :], end * lr_max, atol=1e-12)


def test_one_cycle_is_at_its_peak_where_warmup_says() -> None:
    seen = rates(optim.OneCycle(sgd(), 11, 2.0, 0.3), 11)
    assert seen.index(max(seen)) == 3
    assert max(seen) == 2.0
    assert seen[0] == pytest.approx(2.0 / 25)
    assert seen[-1] == pytest.approx(2.0 / 1e4)
    assert seen[7] == pytest.approx(
        2.0 / 1e4 + 0.5 * 2.0 * (1 - 1e-4) * (1 + math.cos(math.pi * 4 / 7))
    )


@pytest.mark.parametrize("steps", [1, 2])
@pytest.mark.parametrize("warmup", [0.0, 0.3, 1.0])
def test_the_shortest_cycles_work(steps: int, warmup: float) -> None:
    assert all(0 < lr <= 1 for lr in rates(optim.OneCycle(sgd(), steps, 1.0, warmup), steps + 2))


# --- plateau -------------------------------------------------------------------------------------


@pytest.mark.parametrize("sign", [1, -1])
def test_a_plateau_lowers_the_rate_after_more_than_patience_steps(sign: int) -> None:
    optimizer = sgd()
    mode = "min" if sign == 1 else "max"
    schedule = optim.Plateau(optimizer, 0.5, 2, mode, threshold=0.1)
    seen = []
    for metric in (10.0, 8.0, 7.5, 7.3, 8.0, 7.1, 7.3, 7.3, 7.3, math.nan, 1.0):
        schedule.step(sign * metric)
        seen.append(optimizer.lr)
    # better than the best, 8, by a tenth is below 7.2: at 7.1
    assert seen == [1, 1, 1, 1, 0.5, 0.5, 0.5, 0.5, 0.25, 0.25, 0.25]
    assert schedule.best == sign * 1.0
    assert schedule.bad_steps == 0


def test_a_plateau_takes_a_tensor_and_never_counts_nan_as_the_best() -> None:
    optimizer = sgd()
    schedule = optim.Plateau(optimizer, patience=0)
    schedule.step(tg.Tensor(math.nan))
    assert optimizer.lr == pytest.approx(0.1)
    schedule.step(tg.Tensor(2.0))
    assert schedule.best == 2.0


# --- going on, refusing --------------------------------------------------------------------------


class Growing(optim.Schedule):
    """One of a user's own, with an argument, a list, and a count that it keeps itself."""

    def __init__(self, optimizer: optim.Optimizer, by: float = 1.0) -> None:
        super().__init__(optimizer)
        self.by = by
        self.asked: list[int] = []
        self.pair = (1, by)

    def rate(self, t: int) -> float:
        self.asked.append(t)
        return self.lr_start + len(self.asked) * self.by


SCHEDULES: dict[str, Callable[[optim.Optimizer], optim.Schedule]] = {
    "StepDecay": lambda o: optim.StepDecay(o, 2, 0.5),
    "Cosine": lambda o: optim.Cosine(o, 7, 0.1),
    "OneCycle": lambda o: optim.OneCycle(o, 9, 2.0, 0.5, 0.1, 0.01),
    "Growing": lambda o: Growing(o, 0.5),
}
OTHERWISE: dict[str, Callable[[optim.Optimizer], optim.Schedule]] = {
    "StepDecay": lambda o: optim.StepDecay(o, 3, 0.25),
    "Cosine": lambda o: optim.Cosine(o, 5),
    "OneCycle": lambda o: optim.OneCycle(o, 8, 1.0),
    "Growing": Growing,
}


@given(st.sampled_from(sorted(SCHEDULES)), st.integers(0, 8), st.booleans())
def test_a_resumed_schedule_gives_the_same_rates(name: str, done: int, otherwise: bool) -> None:
    """Whatever arguments it was made with: those of the state count."""
    expected = rates(SCHEDULES[name](sgd(0.7)), 12)
    first = SCHEDULES[name](sgd(0.7))
    assert rates(first, done) == expected[:done]
    resumed = (OTHERWISE if otherwise else SCHEDULES)[name](sgd(0.123))
    state = first.state_dict()
    resumed.load_state_dict(state)
    assert state == first.state_dict()
    if name != "Growing":  # which has counted the rate that loading asks for
        assert resumed.state_dict() == state
        assert rates(resumed, 12 - done) == expected[done:]
    else:
        assert resumed.asked == [*first.asked, done]  # type: ignore[attr-defined]
        assert resumed.pair == (1, 0.5)  # type: ignore[attr-defined]


def test_a_state_of_an_earlier_version_leaves_the_arguments_it_lacks() -> None:
    schedule = optim.Cosine(sgd(), 5, 0.25)
    schedule.load_state_dict({"steps_taken": 5, "lr_start": 2.0})
    assert (schedule.steps, schedule.optimizer.lr) == (5, 0.25)
    plateau = optim.Plateau(sgd(), 0.5, 7, "max")
    plateau.load_state_dict({"best": 0.5, "bad_steps": 3})
    assert (plateau.patience, plateau.mode, plateau.best, plateau.bad_steps) == (7, "max", 0.5, 3)


def test_a_resumed_plateau_goes_on() -> None:
    first, second = sgd(), sgd()
    schedule = optim.Plateau(first, 0.5, 1)
    for metric in (3.0, 2.0, 2.0):
        schedule.step(metric)
    resumed = optim.Plateau(second)
    resumed.load_state_dict(schedule.state_dict())
    assert resumed.state_dict() == schedule.state_dict()
    resumed.step(2.0)
    assert second.lr == 0.5
    fresh = optim.Plateau(second)
    assert math.isinf(fresh.best)
    fresh.load_state_dict(fresh.state_dict())


@pytest.mark.parametrize(
    "state",
    [
        {},
        {"steps_taken": 1},
        {"steps_taken": -1, "lr_start": 1.0},
        {"steps_taken": 1.5, "lr_start": 1.0},
        {"steps_taken": 1, "lr_start": "a"},
        {"steps_taken": 1, "lr_start": math.nan},
        {"best": 1.0, "bad_steps": 0},
        {"steps_taken": 1, "lr_start": 1.0, "steps": 0},
        {"steps_taken": 1, "lr_start": 1.0, "every": 2},
    ],
)
def test_a_state_of_another_schedule_is_refused_and_changes_nothing(state: dict[str, Any]) -> None:
    schedule = optim.Cosine(sgd(), 5)
    schedule.step()
    before, lr = schedule.state_dict(), schedule.optimizer.lr
    with pytest.raises(ValueError, match=r"Cosine\.load_state_dict: "):
        schedule.load_state_dict(state)
    assert (schedule.state_dict(), schedule.optimizer.lr) == (before, lr)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: optim.StepDecay(sgd(), 0, 0.1), "StepDecay: every is 0"),
        (lambda: optim.StepDecay(sgd(), 1, 0.0), "StepDecay: factor is 0.0, expected .* above 0"),
        (lambda: optim.Cosine(sgd(), 2.5), "Cosine: steps is 2.5"),
        (lambda: optim.Cosine(sgd(), 2, -1.0), "Cosine: lr_min is -1.0"),
        (lambda: optim.OneCycle(sgd(), 0, 1.0), "OneCycle: steps is 0"),
        (lambda: optim.OneCycle(sgd(), 9, 0.0), "OneCycle: lr_max is 0.0"),
        (lambda: optim.OneCycle(sgd(), 9, 1.0, 1.1), "OneCycle: warmup is 1.1"),
        (lambda: optim.OneCycle(sgd(), 9, 1.0, end=-1.0), "OneCycle: end is -1.0"),
        (lambda: optim.Plateau(sgd(), 1.0), "Plateau: factor is 1.0"),
        (lambda: optim.Plateau(sgd(), 0.0), "Plateau: factor is 0.0"),
        (lambda: optim.Plateau(sgd(), patience=-1), "Plateau: patience is -1"),
        (lambda: optim.Plateau(sgd(), mode="low"), "Plateau: mode is 'low', expected one of"),
        (lambda: optim.Plateau(sgd(), threshold=-1), "Plateau: threshold is -1"),
    ],
)
def test_a_bad_argument_is_refused(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("make", [lambda o: optim.Cosine(o, 2), optim.Plateau])
def test_only_an_optimiser_is_scheduled(make: Any) -> None:
    with pytest.raises(TypeError, match="optimizer is float, expected an Optimizer"):
        make(0.1)


def test_a_refused_cycle_leaves_the_rate() -> None:
    optimizer = sgd(0.3)
    with pytest.raises(ValueError, match="start is -1"):
        optim.OneCycle(optimizer, 5, 1.0, start=-1)
    assert optimizer.lr == 0.3
