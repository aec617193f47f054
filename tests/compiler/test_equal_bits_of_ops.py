"""Compiled calls of every op, layer and loss, and of random compositions, give the eager bits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import DTypeLike
from support.both_ways import Trained, assert_same_bits
from support.captured import REFUSED, unless_refused
from support.composed import COMPOSED
from support.compositions import Composition, compositions
from support.every_layer import LAYERS
from support.example_calls import calls
from support.machine import repeats
from support.pytorch_recorded import LOSSES, examples

import tinygrad_cnn as tg
from tinygrad_cnn import nn
from tinygrad_cnn.check import strategies
from tinygrad_cnn.check.call import Call
from tinygrad_cnn.core.composition import COMPOSITIONS

OURS = [name for name, op in tg.OPS.items() if op.__module__.startswith("tinygrad_cnn.")]
CAPTURED = COMPOSED.keys() - REFUSED
DTYPES = st.sampled_from(["f4", "f8"])


def trained(f: Any, arrays: Sequence[Any], dtype: DTypeLike) -> Trained:
    """Return a step that computes `f` of leaves and the gradients of its sum, weighted."""
    leaves = [tg.Tensor(x, requires_grad=True, dtype=dtype) for x in arrays]

    def step(weight: Any, others: dict[str, Any]) -> tg.Tensor:
        y: tg.Tensor = f(*leaves, **others)
        if y.requires_grad:
            (y * weight).sum().backward()
        return y

    return Trained(step, leaves=leaves)


def scaled(i: int, trained: Trained) -> None:
    """Let a call compute with other values, of the same signs and order."""
    for leaf in trained.leaves:
        leaf.data *= 1.0 - i / 16  # exact ties stay ties


@pytest.mark.parametrize("name", OURS)
def test_ops(name: str) -> None:
    @settings(max_examples=repeats(6, 60))
    @given(calls(name), DTYPES)
    def check(call: Call, dtype: str) -> None:
        assume(call.inputs and all(x.size for x in call.inputs))
        y = np.asarray(call(*call.inputs))
        weight = np.linspace(-1.5, 2.0, y.size, dtype=dtype).reshape(y.shape)
        batches = [(weight * k, call.constants) for k in (1, 2, -1)]

        def called(*inputs: Any, **others: Any) -> Any:
            return call.op(**call.named(inputs), **others)

        assert_same_bits(lambda: trained(called, call.inputs, dtype), batches, scaled)

    check()


@settings(max_examples=repeats(25, 500))
@given(compositions(), DTYPES)
def test_compositions(f: Composition, dtype: str) -> None:
    arrays = f.arguments()
    weight = np.linspace(-1.5, 2.0, f(*arrays).size, dtype=dtype)
    batches = [(weight * k, {}) for k in (1, 2, 3)]
    with unless_refused():
        assert_same_bits(lambda: trained(f, arrays, dtype), batches, scaled)


@settings(max_examples=repeats(25, 500))
@given(compositions(), DTYPES)
def test_compositions_of_arguments_and_leaves(f: Composition, dtype: str) -> None:
    """The first array is an argument of each call, the others are leaves."""
    first, *others = f.arguments()
    weight = np.linspace(-1.5, 2.0, f(first, *others).size, dtype=dtype)

    def make() -> Trained:
        leaves = [tg.Tensor(x, requires_grad=True, dtype=dtype) for x in others]

        def step(x: Any) -> tg.Tensor:
            y: tg.Tensor = f(tg.Tensor(x), *leaves)
            if y.requires_grad:
                (y * weight).sum().backward()
            return y

        return Trained(step, leaves=leaves)

    with unless_refused():
        assert_same_bits(make, [(first.astype(dtype) * k,) for k in (1, 2, 3)])


@pytest.mark.parametrize("name", sorted(n for n in CAPTURED if COMPOSED[n].order))
def test_functions_made_of_ops(name: str) -> None:
    composed = COMPOSED[name]
    function = composed.function or COMPOSITIONS[name].function

    @settings(max_examples=repeats(3, 30))
    @given(st.data(), DTYPES)
    def check(data: st.DataObject, dtype: str) -> None:
        arrays, options = composed.calls(data.draw, strategies)
        y = np.asarray(function(*arrays, **options))
        weight = np.linspace(-1.5, 2.0, y.size, dtype=dtype).reshape(y.shape)

        batches = [(weight * k, options) for k in (1, 2, -1)]
        assert_same_bits(lambda: trained(function, arrays, dtype), batches, scaled)

    check()


@pytest.mark.parametrize("name", sorted(CAPTURED))
def test_functions_made_of_ops_of_arguments(name: str) -> None:
    """Of arrays, or Tensors that are arguments; all options are arguments, too."""
    composed = COMPOSED[name]
    function = composed.function or COMPOSITIONS[name].function
    kinds = [tg.Tensor, np.array] if composed.function is None else [tg.Tensor]

    @settings(max_examples=repeats(4, 30))
    @given(st.data(), st.sampled_from(kinds))
    def check(data: st.DataObject, kind: Any) -> None:
        arrays, options = composed.calls(data.draw, strategies)

        def make() -> Trained:
            return Trained(lambda *given: function(*given, **options))

        batches = [tuple(kind(x * scale) for x in arrays) for scale in (1.0, 0.5, 0.75)]
        assert_same_bits(make, batches)

    check()


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_refused_functions_say_what_to_do(name: str) -> None:
    composed = COMPOSED[name]
    function = composed.function or COMPOSITIONS[name].function

    @settings(max_examples=5)
    @given(st.data())
    def check(data: st.DataObject) -> None:
        arrays, options = composed.calls(data.draw, strategies)
        step = tg.compile(lambda *given: function(*given, **options))
        with pytest.raises(tg.CompileError, match=r"compute.* with ops"):
            step(*map(tg.Tensor, arrays))

    check()


@pytest.mark.parametrize("mode", [True, False])
@pytest.mark.parametrize("name", LAYERS)
def test_layers(name: str, mode: bool) -> None:
    make, shape = LAYERS[name]

    def built() -> Trained:
        layer = make(np.random.default_rng(0)).train(mode)

        def step(x: Any) -> tg.Tensor:
            given = tg.Tensor(x, requires_grad=True)
            y = layer(given)
            (y * y).sum().backward()
            return y

        return Trained(step, [layer])

    x = np.random.default_rng(1).normal(size=shape).astype("f4")
    assert_same_bits(built, [(x,), (x * 2,), (x[1:],), (x - 1,)])


@pytest.mark.parametrize("name", LOSSES)
def test_losses(name: str) -> None:
    make, kind = LOSSES[name]
    x, *others = examples(kind)

    def built() -> Trained:
        loss = make(nn, np.array)

        def step(x: Any, *others: Any) -> tuple[tg.Tensor, Any]:
            given = tg.Tensor(x, requires_grad=True)
            y = loss(given, *others)
            return y, tg.grad(y.sum(), given)

        return Trained(step, [loss])

    assert_same_bits(built, [(x, *others), (x * 0.75, *others), (x * 0.5, *others)])
