"""Alternation, with runners whose times are made up."""

from __future__ import annotations

import itertools
import math

import pytest

from tinygrad_cnn.bench.timing import Pace, alternate, ratio

PACE = Pace(rounds=4, turn=1.0, patience=10.0, pause=0.0)


class Made:
    """Takes the times it is given, over and over, and writes down who ran how often."""

    def __init__(self, name: str, log: list[tuple[str, int]], *times: float) -> None:
        self.name, self.log = name, log
        self.times = itertools.cycle(times)

    def run(self, times: int) -> list[float]:
        self.log.append((self.name, times))
        return [next(self.times) for _ in range(times)]


def test_sides_alternate_and_the_first_changes() -> None:
    log: list[tuple[str, int]] = []
    runners = {"a": Made("a", log, 0.5), "b": Made("b", log, 0.25)}
    rounds = list(alternate(runners, PACE))
    assert rounds == [{"a": 0.5, "b": 0.25}] * 4
    warm_up, turns = log[:4], log[4:]
    assert warm_up == [("a", 1), ("a", 1), ("b", 1), ("b", 1)]
    a, b = ("a", 3), ("b", 5)  # as many as fit into a turn, and one before that is not timed
    assert turns == [a, b, b, a, a, b, b, a]


def test_the_run_before_a_turn_is_not_timed() -> None:
    cold_then_warm = Made("a", [], 9.0, 0.5, *[9.0, 0.5, 0.5] * 4)
    assert [found["a"] for found in alternate({"a": cold_then_warm}, PACE)] == [0.5] * 4


@pytest.mark.parametrize(("seconds", "turns"), [(0.5, 4), (2.0, 4), (4.0, 3), (11.0, 1)])
def test_a_slow_side_gets_fewer_turns(seconds: float, turns: int) -> None:
    log: list[tuple[str, int]] = []
    runners = {"fast": Made("fast", log, 0.5), "slow": Made("slow", log, seconds)}
    rounds = list(alternate(runners, PACE))
    assert sum("slow" in found for found in rounds) == turns
    assert all("fast" in found for found in rounds)


def test_progress_reaches_the_end() -> None:
    shares: list[float] = []
    list(alternate({"a": Made("a", [], 0.5)}, PACE, shares.append))
    assert shares == [0.25, 0.5, 0.75, 1.0]


def test_nobody_takes_part() -> None:
    assert list(alternate({}, PACE)) == []


def test_the_ratio_ignores_a_machine_that_slows_down() -> None:
    ours, theirs = [1.0, 2.0, 4.0, 8.0], [2.0, 4.0, 8.0, 16.0]
    assert ratio(ours, theirs) == 0.5
    assert math.isnan(ratio([], theirs))
