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


def rates(schedule: optim.LRScheduler, count: int) -> list[float]:
    """Return the learning rates that `count` updates would use."""
    seen = []
    for _ in range(count):
        seen.append(schedule.optimizer.lr)
        schedule.step()
    return seen


@given(RATES, STEPS, st.floats(0.1, 2.0), st.integers(1, 5))
def test_step_lr_multiplies_every_so_often(
    lr: float, step_size: int, gamma: float, times: int
) -> None:
    seen = rates(optim.StepLR(sgd(lr), step_size, gamma), step_size * times)
    assert seen[0] == lr
    ratios = np.divide(seen[1:], seen[:-1])
    falls = [t for t, ratio in enumerate(ratios, 1) if t % step_size == 0]
    np.testing.assert_allclose(ratios[[t - 1 for t in falls]], gamma)
    assert all(ratio == 1 for t, ratio in enumerate(ratios, 1) if t not in falls)


@given(RATES, STEPS, st.floats(0.0, 1.0))
def test_cosine_goes_from_start_to_minimum_and_is_symmetric_about_the_middle(
    lr: float, steps: int, share: float
) -> None:
    eta_min = share * lr
    seen = np.array(rates(optim.CosineAnnealingLR(sgd(lr), steps, eta_min), 2 * steps + 1))
    assert seen[0] == pytest.approx(lr)
    assert seen[steps] == pytest.approx(eta_min)
    np.testing.assert_allclose(seen[: steps + 1] + seen[steps::-1], lr + eta_min)
    np.testing.assert_allclose(seen, seen[::-1], atol=1e-12)  # afterwards it rises again
    assert (np.diff(seen[: steps + 1]) <= 1e-12).all()


def test_cosine_at_a_third_is_three_quarters() -> None:
    assert optim.CosineAnnealingLR(sgd(), 3).rate(1) == pytest.approx(0.75)  # cos 60° = ½


@given(
    RATES, st.integers(3, 40), st.floats(0.0, 1.0), st.floats(1.0, 100.0), st.floats(1.0, 1e4),
    st.sampled_from(["cos", "linear"]),
)  # fmt: skip
def test_one_cycle_rises_to_the_maximum_and_falls_to_the_end(
    max_lr: float, steps: int, pct_start: float, div: float, final_div: float, strategy: str
) -> None:
    schedule = optim.OneCycleLR(
        sgd(), max_lr, steps, pct_start=pct_start, anneal_strategy=strategy, div_factor=div,
        final_div_factor=final_div,
    )  # fmt: skip
    peak = pct_start * (steps - 1)
    seen = np.array(rates(schedule, steps + 2))
    assert seen[0] == pytest.approx(max_lr / div if peak > 0 else max_lr)
    assert (np.diff(seen[: math.floor(peak) + 1]) >= -1e-9).all()
    assert (np.diff(seen[math.ceil(peak) :]) <= 1e-9).all()
    assert seen.max() <= max_lr * (1 + 1e-12)
    if peak < steps - 1:
        np.testing.assert_allclose(seen[steps - 1 :], max_lr / div / final_div, atol=1e-12)


def test_one_cycle_is_at_its_peak_where_pct_start_says() -> None:
    seen = rates(optim.OneCycleLR(sgd(), 2.0, epochs=1, steps_per_epoch=11), 11)
    assert seen.index(max(seen)) == 3
    assert max(seen) == 2.0
    assert seen[0] == pytest.approx(2.0 / 25)
    end = 2.0 / 25 / 1e4
    assert seen[-1] == pytest.approx(end)
    assert seen[7] == pytest.approx(end + 0.5 * (2.0 - end) * (1 + math.cos(math.pi * 4 / 7)))


@pytest.mark.parametrize("make", [sgd, lambda: optim.Adam([nn.Parameter([0.0])], betas=(0.5, 0.9))])
def test_one_cycle_moves_the_momentum_against_the_rate(make: Callable[[], optim.Optimizer]) -> None:
    optimizer: Any = make()
    schedule = optim.OneCycleLR(
        optimizer, 2.0, 11, anneal_strategy="linear", base_momentum=0.6, max_momentum=0.9,
        div_factor=2.0, final_div_factor=1.0,
    )  # fmt: skip
    for _ in range(13):
        momentum = optimizer.betas[0] if hasattr(optimizer, "betas") else optimizer.momentum
        assert momentum == pytest.approx(0.9 - (optimizer.lr - 1.0) * 0.3)
        schedule.step()
    if hasattr(optimizer, "betas"):
        assert optimizer.betas[1] == 0.9


@pytest.mark.parametrize("steps", [1, 2])
@pytest.mark.parametrize("pct_start", [0.0, 0.3, 1.0])
def test_the_shortest_cycles_work(steps: int, pct_start: float) -> None:
    schedule = optim.OneCycleLR(sgd(), 1.0, steps, pct_start=pct_start)
    assert all(0 < lr <= 1 for lr in rates(schedule, steps + 2))


# --- plateau -------------------------------------------------------------------------------------


@pytest.mark.parametrize("sign", [1, -1])
def test_a_plateau_lowers_the_rate_after_more_than_patience_steps(sign: int) -> None:
    optimizer = sgd()
    mode = "min" if sign == 1 else "max"
    schedule = optim.ReduceLROnPlateau(optimizer, mode, 0.5, 2, threshold=0.1)
    seen = []
    for metric in (10.0, 8.0, 7.5, 7.3, 8.0, 7.1, 7.3, 7.3, 7.3, math.nan, 1.0):
        schedule.step(sign * metric)
        seen.append(optimizer.lr)
    # better than the best, 8, by a tenth is below 7.2: at 7.1
    assert seen == [1, 1, 1, 1, 0.5, 0.5, 0.5, 0.5, 0.25, 0.25, 0.25]
    assert schedule.best == sign * 1.0
    assert schedule.num_bad_epochs == 0


def test_a_plateau_takes_a_tensor_and_never_counts_nan_as_the_best() -> None:
    optimizer = sgd()
    schedule = optim.ReduceLROnPlateau(optimizer, patience=0)
    schedule.step(tg.Tensor(math.nan))
    assert optimizer.lr == pytest.approx(0.1)
    schedule.step(tg.Tensor(2.0))
    assert schedule.best == 2.0


def test_a_plateau_waits_out_its_cooldown_and_stops_at_the_lowest_rate() -> None:
    optimizer = sgd()
    schedule = optim.ReduceLROnPlateau(
        optimizer, "max", 0.5, 0, 1.0, "abs", cooldown=2, min_lr=0.2, eps=0.06
    )
    seen = []
    for metric in (-5.0, -4.5, -4.5, -4.5, -4.5, -3.0, -3.0, -3.0, -3.0, -3.0, -3.0):
        schedule.step(metric)
        seen.append(optimizer.lr)
    # at −4.5 by less than 1 no better: halved; two do not count; from 0.25 to 0.2 is below eps
    assert seen == [1, 0.5, 0.5, 0.5, 0.25, 0.25, 0.25, 0.25, 0.25, 0.25, 0.25]
    assert schedule.best == -3.0


def test_a_plateau_needs_a_metric_and_counts_nothing_without() -> None:
    schedule = optim.ReduceLROnPlateau(sgd())
    with pytest.raises(TypeError, match="ReduceLROnPlateau: step needs a metric"):
        schedule.step()
    assert schedule.last_epoch == 0


def test_the_last_rate_is_that_of_the_optimizer_in_a_list() -> None:
    schedule = optim.StepLR(sgd(), 1, 0.5)
    for rate in (1.0, 0.5, 0.25):
        assert schedule.get_last_lr() == [rate]
        schedule.step()
    assert schedule.last_epoch == 3


# --- going on, refusing --------------------------------------------------------------------------


class Growing(optim.LRScheduler):
    """One of a user's own, with an argument, a list, and a count that it keeps itself."""

    def __init__(self, optimizer: optim.Optimizer, by: float = 1.0) -> None:
        super().__init__(optimizer)
        self.by = by
        self.asked: list[int] = []
        self.pair = (1, by)

    def rate(self, t: int) -> float:
        self.asked.append(t)
        return self.base_lr + len(self.asked) * self.by


SCHEDULES: dict[str, Callable[[optim.Optimizer], optim.LRScheduler]] = {
    "StepLR": lambda o: optim.StepLR(o, 2, 0.5),
    "CosineAnnealingLR": lambda o: optim.CosineAnnealingLR(o, 7, 0.1),
    "OneCycleLR": lambda o: optim.OneCycleLR(o, 2.0, 9, pct_start=0.5, div_factor=9.0),
    "Growing": lambda o: Growing(o, 0.5),
}
OTHERWISE: dict[str, Callable[[optim.Optimizer], optim.LRScheduler]] = {
    "StepLR": lambda o: optim.StepLR(o, 3, 0.25),
    "CosineAnnealingLR": lambda o: optim.CosineAnnealingLR(o, 5),
    "OneCycleLR": lambda o: optim.OneCycleLR(o, 1.0, 8, anneal_strategy="linear"),
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
        assert resumed.asked == [*first.asked, done]
        assert resumed.pair == (1, 0.5)


def test_a_resumed_plateau_goes_on() -> None:
    first, second = sgd(), sgd()
    schedule = optim.ReduceLROnPlateau(first, factor=0.5, patience=1)
    for metric in (3.0, 2.0, 2.0):
        schedule.step(metric)
    resumed = optim.ReduceLROnPlateau(second)
    resumed.load_state_dict(schedule.state_dict())
    assert resumed.state_dict() == schedule.state_dict()
    resumed.step(2.0)
    assert second.lr == 0.5
    fresh = optim.ReduceLROnPlateau(second)
    assert math.isinf(fresh.best)
    fresh.load_state_dict(fresh.state_dict())


@pytest.mark.parametrize(
    "changes",
    [
        {"last_epoch": None},
        {"base_lr": None},
        {"eta_min": None},
        {"last_epoch": -1},
        {"last_epoch": 1.5},
        {"base_lr": "a"},
        {"base_lr": math.nan},
        {"T_max": 0},
        {"gamma": 2},
    ],
)
def test_a_state_of_another_schedule_is_refused_and_changes_nothing(
    changes: dict[str, Any],
) -> None:
    """None: the state lacks it."""
    schedule = optim.CosineAnnealingLR(sgd(), 5)
    schedule.step()
    before, lr = schedule.state_dict(), schedule.optimizer.lr
    state = {**before, **changes}
    state = {name: value for name, value in state.items() if value is not None}
    with pytest.raises(ValueError, match=r"CosineAnnealingLR\.load_state_dict: "):
        schedule.load_state_dict(state)
    assert (schedule.state_dict(), schedule.optimizer.lr) == (before, lr)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: optim.StepLR(sgd(), 0, 0.1), "StepLR: step_size is 0"),
        (lambda: optim.StepLR(sgd(), 1, 0.0), "StepLR: gamma is 0.0, expected .*> 0"),
        (lambda: optim.CosineAnnealingLR(sgd(), 2.5), "CosineAnnealingLR: T_max is 2.5"),
        (lambda: optim.CosineAnnealingLR(sgd(), 2, -1.0), "CosineAnnealingLR: eta_min is -1.0"),
        (lambda: optim.OneCycleLR(sgd(), 1.0, 0), "OneCycleLR: total_steps is 0"),
        (lambda: optim.OneCycleLR(sgd(), 1.0), "OneCycleLR: needs total_steps, or epochs and"),
        (lambda: optim.OneCycleLR(sgd(), 1.0, epochs=2, steps_per_epoch=0), "steps_per_epoch is 0"),
        (lambda: optim.OneCycleLR(sgd(), 0.0, 9), "OneCycleLR: max_lr is 0.0"),
        (lambda: optim.OneCycleLR(sgd(), 1.0, 9, pct_start=1.1), "OneCycleLR: pct_start is 1.1"),
        (lambda: optim.OneCycleLR(sgd(), 1.0, 9, anneal_strategy="sin"), "is 'sin', expected one"),
        (lambda: optim.OneCycleLR(sgd(), 1.0, 9, max_momentum=1.0), "max_momentum is 1.0"),
        (lambda: optim.OneCycleLR(sgd(), 1.0, 9, final_div_factor=0), "final_div_factor is 0"),
        (
            lambda: optim.OneCycleLR(optim.Optimizer([nn.Parameter([0.0])], 1.0), 1.0, 9),
            "OneCycleLR: Optimizer has no momentum or betas; pass cycle_momentum=False",
        ),
        (lambda: optim.ReduceLROnPlateau(sgd(), factor=1.0), "ReduceLROnPlateau: factor is 1.0"),
        (lambda: optim.ReduceLROnPlateau(sgd(), factor=0.0), "ReduceLROnPlateau: factor is 0.0"),
        (lambda: optim.ReduceLROnPlateau(sgd(), patience=-1), "ReduceLROnPlateau: patience is -1"),
        (lambda: optim.ReduceLROnPlateau(sgd(), "low"), "mode is 'low', expected one of"),
        (lambda: optim.ReduceLROnPlateau(sgd(), threshold=-1), "threshold is -1"),
        (lambda: optim.ReduceLROnPlateau(sgd(), threshold_mode="both"), "mode is 'both', expected"),
        (lambda: optim.ReduceLROnPlateau(sgd(), cooldown=-1), "ReduceLROnPlateau: cooldown is -1"),
        (lambda: optim.ReduceLROnPlateau(sgd(), min_lr=-1), "ReduceLROnPlateau: min_lr is -1"),
    ],
)
def test_a_bad_argument_is_refused(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("make", [lambda o: optim.CosineAnnealingLR(o, 2), optim.ReduceLROnPlateau])
def test_only_an_optimizer_is_scheduled(make: Any) -> None:
    with pytest.raises(TypeError, match="optimizer is float, expected an Optimizer"):
        make(0.1)


def test_a_refused_cycle_leaves_the_rate() -> None:
    optimizer = sgd(0.3)
    with pytest.raises(ValueError, match="div_factor is -1"):
        optim.OneCycleLR(optimizer, 1.0, 5, div_factor=-1)
    assert optimizer.lr == 0.3
