"""NumPy programs of all ops: they compute what the ops do, or the op is refused by name."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.composed import COMPOSED
from support.example_calls import calls
from support.onnxruntime_runs import assert_close, reversed_values

import tinygrad_cnn as tg
from tinygrad_cnn import nn
from tinygrad_cnn.capture import CaptureError
from tinygrad_cnn.check import strategies
from tinygrad_cnn.check.call import Call
from tinygrad_cnn.check.cases import cases_of
from tinygrad_cnn.core.composition import COMPOSITIONS
from tinygrad_cnn.core.variable import array_of
from tinygrad_cnn.deployment.network import NumpyNetwork, network_of
from tinygrad_cnn.deployment.unwritten import UNWRITTEN

OURS = [name for name, op in tg.OPS.items() if op.__module__.startswith("tinygrad_cnn.")]
WRITTEN = [name for name in OURS if name not in UNWRITTEN]


class Calling(nn.Module):
    """A function of an input and of parameters."""

    def __init__(self, function: Callable[..., Any], others: Sequence[np.ndarray] = ()) -> None:
        self.function = function
        self.others = [nn.Parameter(tg.Tensor._of(x)) for x in others]

    def forward(self, x: Any) -> Any:
        return self.function(x, *self.others)


def written(function: Callable[..., Any], inputs: Sequence[np.ndarray]) -> NumpyNetwork:
    """Write a function of these inputs, and compare what the network computes."""
    x, *others = inputs
    model, (other,) = Calling(function, others), reversed_values([x])
    network = network_of(model, [x, other])
    for each in (x, other):
        with tg.no_grad():
            expected = np.asarray(array_of(model(tg.Tensor._of(each))))
        assert_close(network.run(each), expected, 1e-5)
    return network


@pytest.mark.parametrize("name", WRITTEN)
def test_program_computes_what_the_op_does(name: str) -> None:
    for case in cases_of(tg.OPS[name]):
        for arguments in case.always:
            check(case.call(arguments))

    @settings(max_examples=6)
    @given(calls(name))
    def compare(call: Call) -> None:
        check(call)

    compare()


def check(call: Call) -> None:
    written(call, [x.astype(np.float32) for x in call.inputs])


@pytest.mark.parametrize("name", sorted(COMPOSED))
def test_program_computes_what_the_composition_does(name: str) -> None:
    composed = COMPOSED[name]
    function = composed.function or COMPOSITIONS[name].function

    @settings(max_examples=2)
    @given(st.data())
    def compare(data: st.DataObject) -> None:
        arrays, options = composed.calls(data.draw, strategies)
        inputs = [np.asarray(array, np.float32) for array in arrays]
        written(lambda *x: function(*x, **options), inputs)

    compare()


@pytest.mark.parametrize("name", sorted(UNWRITTEN))
def test_an_op_that_is_not_written_is_named_with_the_reason(name: str) -> None:
    assert name in OURS

    @settings(max_examples=1)
    @given(calls(name))
    def refused(call: Call) -> None:
        with pytest.raises(
            CaptureError, match=re.escape(f"{name} is not written: {UNWRITTEN[name]}")
        ):
            check(call)

    refused()
