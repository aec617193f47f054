"""Alternation, with made-up times; busy rounds; the load by other processes."""

from __future__ import annotations

import itertools
import math
import os
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from tinygrad_cnn.bench import timing
from tinygrad_cnn.bench.timing import BUSY, OtherLoad, Pace, Round, TimedCall, alternate, ratio
from tinygrad_cnn.bench.worker import clock

PACE = Pace(rounds=4, turn=1.0, patience=10.0, pause=0.0, repeats=2)
BURN = "import time\nwhile time.process_time() < 0.3: pass\nprint(flush=True)\nopen(0).read()"
TICKS = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 1  # per second


@pytest.fixture(autouse=True)
def _quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    others(monkeypatch, itertools.repeat(0.0))


def others(monkeypatch: pytest.MonkeyPatch, loads: Iterable[float]) -> None:
    """Replace the load by other processes: one value per round."""
    laps = itertools.chain.from_iterable((math.nan, load) for load in loads)
    monkeypatch.setattr(timing, "OtherLoad", lambda: SimpleNamespace(lap=lambda: next(laps)))


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
    assert rounds == [Round({"a": 0.5, "b": 0.25}, others=0.0)] * 4
    warm_up, turns = log[:4], log[4:]
    assert warm_up == [("a", 1), ("a", 1), ("b", 1), ("b", 1)]
    a, b = ("a", 3), ("b", 5)  # as many as fit into a turn, and one before that is not timed
    assert turns == [a, b, b, a, a, b, b, a]


def test_the_run_before_a_turn_is_not_timed() -> None:
    cold_then_warm = Made("a", [], 9.0, 0.5, *[9.0, 0.5, 0.5] * 4)
    assert [found.seconds["a"] for found in alternate({"a": cold_then_warm}, PACE)] == [0.5] * 4


@pytest.mark.parametrize(("seconds", "turns"), [(0.5, 6), (1.0, 8), (2.0, 5), (4.0, 5), (11.0, 1)])
def test_a_slow_side_gets_fewer_turns(seconds: float, turns: int) -> None:
    log: list[tuple[str, int]] = []
    runners = {"fast": Made("fast", log, 0.1), "slow": Made("slow", log, seconds)}
    rounds = list(alternate(runners, replace(PACE, rounds=8)))
    assert sum("slow" in found.seconds for found in rounds) == turns
    assert all("fast" in found.seconds for found in rounds)


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


# --- busy rounds ---------------------------------------------------------------------------------


def test_a_busy_round_is_marked_and_another_follows(monkeypatch: pytest.MonkeyPatch) -> None:
    others(monkeypatch, [0.0, 1.5, 0.1, 0.0, 0.2])
    log: list[tuple[str, int]] = []
    shares: list[float] = []
    runners = {"a": Made("a", log, 0.5), "b": Made("b", log, 0.5)}
    rounds = list(alternate(runners, PACE, shares.append))
    assert [found.others for found in rounds] == [0.0, 1.5, 0.1, 0.0, 0.2]
    assert [found.busy for found in rounds] == [False, True, False, False, False]
    assert shares == [0.25, 0.25, 0.5, 0.75, 1.0]
    firsts = [side for side, _ in log[4::2]]
    assert firsts == ["a", "b", "a", "b", "a"]  # the order goes on to change


def test_only_so_many_rounds_are_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    others(monkeypatch, itertools.repeat(1.0))
    rounds = list(alternate({"a": Made("a", [], 0.5)}, PACE))
    assert len(rounds) == PACE.rounds + PACE.repeats
    assert all(found.busy for found in rounds)


def test_where_the_load_is_unknown_no_round_is_busy() -> None:
    assert not Round({}, others=math.nan).busy
    assert not Round({}, others=BUSY).busy
    assert Round({}, others=1.01 * BUSY).busy


def test_the_load_is_what_others_used_by_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    moments = iter([(10.0, 5.0), (12.0, 8.0), (14.0, 7.9), (14.0, 9.0)])  # time, used by others
    monkeypatch.setattr(OtherLoad, "_now", staticmethod(lambda: next(moments)))
    load = OtherLoad()
    assert load.lap() == 1.5
    assert load.lap() == 0.0  # the kernel rounds
    assert math.isnan(load.lap())


@pytest.mark.skipif(not Path("/proc/stat").exists(), reason="only Linux tells")
@pytest.mark.parametrize("start", ["run", "Popen"])
def test_a_child_of_a_child_is_no_other_but_an_orphan_is(start: str) -> None:
    program = f"import subprocess, sys; subprocess.{start}([sys.executable, '-c', {BURN!r}])"
    own = timing._own_ticks()
    _, others = OtherLoad._now()

    def used() -> float:
        return (timing._own_ticks() - own) / TICKS

    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()  # it has burned its time, and waits for its input to end
        if start == "run":
            assert used() > 0.28
        else:
            process.wait()  # so that the burner has no parent
            assert used() < 0.28 < OtherLoad._now()[1] - others
    if start == "run":
        assert used() > 0.28  # also once it has ended


@pytest.mark.skipif(not Path("/proc/stat").exists(), reason="only Linux tells")
def test_our_own_time_is_taken_off_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "_own_ticks", lambda: 0)
    _, whole = OtherLoad._now()
    monkeypatch.setattr(timing, "_own_ticks", lambda: 1000 * TICKS)
    assert OtherLoad._now()[1] == pytest.approx(whole - 1000, abs=30)


def test_each_call_is_timed_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    moments = iter([0.0, 1.0, 10.0, 30.0, 40.0, 42.0])
    monkeypatch.setattr(clock, "perf_counter", lambda: next(moments))
    assert TimedCall(lambda: None).run(3) == [1.0, 20.0, 2.0]
