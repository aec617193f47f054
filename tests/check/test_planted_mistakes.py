"""The checker is checked: mistakes are put into our own rules, and none of them may pass.

``pytest -s tests/check/test_planted_mistakes.py -k table`` prints what caught each.
"""

from __future__ import annotations

import importlib
import inspect
import re
from time import perf_counter

import numpy as np
import pytest
from support.mistakes import MISTAKES
from support.planting import Mistake, found

import tinygrad_cnn as tg
from tinygrad_cnn.check import GradientMismatch, check_gradients, check_op


def caught(mistake: Mistake) -> AssertionError:
    """Return the error that a check raises while `mistake` is made."""
    with mistake.planted(), pytest.raises(AssertionError) as raised:
        if mistake.convention:
            follow_convention(mistake)
        else:
            check_op(tg.OPS[mistake.checked])
    return raised.value


def follow_convention(mistake: Mistake) -> None:
    """Run the test that says what is right at a kink."""
    module, _, name = mistake.convention.partition(":")
    test = getattr(importlib.import_module(f"ops.{module}"), name)
    takes_op = "op" in inspect.signature(test).parameters
    with np.errstate(all="ignore"):
        test(**{"op": tg.OPS[mistake.checked]} if takes_op else {})


@pytest.mark.parametrize("mistake", MISTAKES, ids=str)
def test_a_mistake_is_caught(mistake: Mistake) -> None:
    error = caught(mistake)
    if not mistake.convention:
        assert error.op == mistake.checked
        assert str(error).startswith(f"{mistake.checked} breaks “")
        assert re.search(mistake.says, str(error)), str(error)


def test_each_op_has_a_mistake() -> None:
    ours = {name for name, op in tg.OPS.items() if op.__module__.startswith("tinygrad_cnn.")}
    assert {mistake.checked for mistake in MISTAKES} == ours


def test_a_mistake_is_taken_out_again() -> None:
    for mistake in MISTAKES:
        function = found(mistake.where)
        right = function.__code__
        with pytest.raises(ZeroDivisionError), mistake.planted():
            assert function.__code__ is not right
            raise ZeroDivisionError
        assert function.__code__ is right


# --- within a model ------------------------------------------------------------------------------


def model(x: tg.Tensor, w: tg.Tensor, bias: tg.Tensor, scale: tg.Tensor, v: tg.Tensor) -> tg.Tensor:
    """Return the loss of a small network."""
    x = tg.relu(tg.conv2d(tg.tanh(x), w, bias, padding=1))
    x = tg.maxpool(tg.batch_norm(x, scale, scale * 0.5), 2)
    y = tg.softmax(tg.linear(x.reshape(len(x), -1), v))
    return tg.squared_error(y, np.eye(3)[[2, 0]])


def inputs() -> list[np.ndarray]:
    rng = np.random.default_rng(3)
    shapes = [(2, 2, 4, 4), (3, 2, 3, 3), (3,), (3,), (3, 12)]
    return [rng.normal(size=shape) for shape in shapes]


def test_a_model_without_a_mistake_passes() -> None:
    assert check_gradients(model, *inputs(), order=2).worst < 1e-10


@pytest.mark.parametrize("where", ["tanh.x", "conv2d.x", "relu.x", "batch_norm.x", "softmax.x"])
def test_a_mistake_within_a_model_is_traced_to_its_op(where: str) -> None:
    mistake = next(m for m in MISTAKES if m.where == where)
    with mistake.planted(), pytest.raises(GradientMismatch) as raised:
        check_gradients(model, *inputs())
    assert f"the rule of `{mistake.checked}` for x" in str(raised.value)


# --- on demand -----------------------------------------------------------------------------------


def test_table(request: pytest.FixtureRequest) -> None:
    """Prints which mistake was caught by what; not run unless asked for, being the tests above."""
    if "table" not in request.config.option.keyword:
        pytest.skip("ask for it: pytest -s -k table")
    print("\n| op | mistake | planted in | caught by | seconds |\n| --- | --- | --- | --- | --- |")
    for mistake in MISTAKES:
        started = perf_counter()
        try:
            error = caught(mistake)
        except pytest.fail.Exception:
            by = "NOTHING"
        else:
            by = mistake.convention or f"“{error.property}”{pattern(str(error))}"
        seconds = perf_counter() - started
        print(f"| {mistake.checked} | {mistake.title} | `{mistake.where}` | {by} | {seconds:.1f} |")


def pattern(message: str) -> str:
    """Return what an error says of the wrong entries."""
    found = re.search(r"^  by itself.*?wrong: (.*)$", message, re.MULTILINE)
    return f": {found[1]}" if found else ""
