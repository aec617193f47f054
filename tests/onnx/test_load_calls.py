"""Calls of loaded models: the range of inputs, outputs of one's own, and hooks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import TensorProto
from support.onnx_models import model, node, value

import tinygrad_cnn as tg
from tinygrad_cnn.onnx import OnnxError

pytestmark = pytest.mark.usefixtures("seeded")

RNG = np.random.default_rng(7)


# --- inputs --------------------------------------------------------------------------------------


def passed(kind: int) -> Any:
    """Return a loaded model that returns its integers as floats."""
    proto = model([node("Cast", "n", "y", to=TensorProto.DOUBLE)],
                  {"n": value("n", [None], kind)}, ["y"])  # fmt: skip
    return tg.onnx.load(proto)


@pytest.mark.parametrize(
    ("kind", "given", "message"),
    [
        (TensorProto.UINT8, [300, -1], "'n' has values from -1 to 300, expected uint8: from 0 to"),
        (TensorProto.INT32, [2**40 + 5], "expected int32: from -2147483648 to 2147483647"),
        (TensorProto.UINT64, [-1], "values from -1 to -1, expected uint64"),
        (TensorProto.INT64, np.array([2**63], np.uint64), "expected int64"),
    ],
)
def test_integers_outside_the_range_of_an_input_are_refused(
    kind: int, given: Any, message: str
) -> None:
    with pytest.raises(OnnxError, match=message):
        passed(kind)(np.asarray(given))


def test_integers_at_the_ends_of_the_range_of_an_input_are_kept() -> None:
    for kind, given in ((TensorProto.UINT8, [0, 255]), (TensorProto.INT32, [-(2**31), 2**31 - 1])):
        np.testing.assert_array_equal(passed(kind)(np.array(given)).numpy(), given)
    assert passed(TensorProto.UINT8)(np.zeros(0, np.int64)).shape == (0,)
