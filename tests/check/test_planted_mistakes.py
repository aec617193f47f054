"""The checker is checked: mistakes are put into our own rules, and none of them may pass.

``PYTHONPATH=tests python -m support.mistake_table`` prints what catches each.
"""

from __future__ import annotations

import re

import numpy as np
import pytest
from support.mistakes import MISTAKES
from support.planting import Mistake, caught, found

import tinygrad_cnn as tg
from tinygrad_cnn.check import GradientMismatch, check_gradients, search


@pytest.mark.parametrize("mistake", MISTAKES, ids=str)
def test_a_mistake_is_caught(mistake: Mistake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "SHRINKING", 0.0)  # the first call that fails is enough
    error = caught(mistake)
    if not mistake.convention:
        assert error.op == mistake.checked
        assert str(error).startswith(f"{mistake.checked} breaks “")
        assert re.search(mistake.says, str(error)), str(error)


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
