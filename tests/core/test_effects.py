"""Effects: functions that a replay calls again, and what observers see of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinygrad_cnn as tg
from tinygrad_cnn.core.effects import effect
from tinygrad_cnn.core.hidden import HiddenNumber, hide, plain
from tinygrad_cnn.core.step_observer import StepObserver


@effect
def doubled(x: Any, *rest: Any, by: float = 2.0) -> Any:
    return tg.Tensor(x) * by


class Calls(tg.Observer):
    def __init__(self) -> None:
        self.calls: list[str] = []
        self.arguments: dict[str, Any] = {}

    def forward(self, event: tg.ForwardEvent) -> None:
        self.calls.append(event.op.name)


class Seen(Calls, StepObserver):
    def effect(self, function: Any, arguments: dict[str, Any], result: Any) -> Any:
        self.calls.append(function.__name__)
        self.arguments = arguments


def test_an_observer_of_a_step_sees_no_op_inside_of_an_effect() -> None:
    whole, parts = Seen(), Calls()
    with tg.observe(whole), tg.observe(parts):
        doubled(1.0)
        tg.Tensor(1.0) * 2
    assert whole.calls == ["doubled", "mul"]
    assert parts.calls == ["mul", "mul"]


def test_an_iterator_among_the_arguments_can_be_read_twice() -> None:
    seen = Seen()
    with tg.observe(seen):
        doubled(1.0, by=3.0)
        assert seen.arguments == {"x": 1.0, "by": 3.0}
        doubled(iter([1.0, 2.0]))
    assert seen.arguments == {"x": [1.0, 2.0]}


def test_an_error_in_an_effect_leaves_the_observers_in_place() -> None:
    @effect
    def fails() -> None:
        raise ZeroDivisionError

    seen = Seen()
    with tg.observe(seen):
        with pytest.raises(ZeroDivisionError):
            fails()
        tg.Tensor(1.0) * 2
    assert seen.calls == ["mul"]


class Refusing(StepObserver):
    def reads(self, value: Any, what: str) -> None:
        raise LookupError(what)


READS = {
    "np.sqrt": lambda x: np.sqrt(x),
    "np.add": lambda x: 1 + x,
    "np.mean": lambda x: np.mean(x),
    ".sum()": lambda x: x.sum(),
    "an index": lambda x: x[0],
    "item assignment": lambda x: x.__setitem__(0, 1.0),
    "bool()": lambda x: bool(x),
    "iteration": lambda x: list(x),
    ".real": lambda x: x.real,
    ".tolist()": lambda x: x.tolist(),
}


@pytest.mark.parametrize("what", READS)
def test_a_hidden_array_reports_what_reads_it(what: str) -> None:
    x = hide(np.ones(1))
    with tg.observe(Refusing()), pytest.raises(LookupError) as caught:
        READS[what](x)
    assert caught.value.args == (what,)
    READS[what](x)  # without an observer


def test_the_shape_of_a_hidden_array_is_no_secret() -> None:
    x = hide(np.ones((2, 3)))
    with tg.observe(Refusing()):
        assert np.shape(x) == x.shape == (2, 3)
        assert len(x) == 2
        assert np.zeros_like(plain(x)).sum() == 0
        assert "ones" not in repr(x)


def test_a_hidden_number_reports_what_reads_it() -> None:
    x = HiddenNumber(2.5)
    with tg.observe(Refusing()):
        for read in (lambda: x + 1, lambda: x > 1, lambda: int(x), lambda: f"{x:.1f}"):
            with pytest.raises(LookupError):
                read()
        assert plain(x) == 2.5
    assert x + 1 == 3.5
