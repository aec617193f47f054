"""Compiled steps with kernels: near NumPy's, and the same bits on any number of threads."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from support.both_ways import Batch, Trained, assert_close_to_eager
from support.captured import unless_refused
from support.compositions import Composition, compositions
from support.every_layer import LAYERS
from support.example_calls import calls
from support.machine import lengthy, repeats
from support.optimizers import OPTIMIZERS
from support.small_models import SMALL, Builder, drawn, evaluated, trained

import tinygrad_cnn as tg
from tinygrad_cnn import nn
from tinygrad_cnn.check.call import Call
from tinygrad_cnn.nn import models

pytest.importorskip("numba")

TOLERANCES = {"f4": 3e-5, "f8": 1e-12}
"""The largest difference of a result or gradient, as a part of the largest value of its array."""

STEPS = {"f4": 2e-3, "f8": 1e-9}
"""The same after several steps of a whole model, which enlarge differences."""


def of_leaves(f: Callable[..., Any], arrays: Any, dtype: str) -> Trained:
    """Return a step that computes `f` of leaves, and gradients."""
    leaves = [tg.Tensor(x, requires_grad=True, dtype=dtype) for x in arrays]

    def step(weight: Any, others: dict[str, Any]) -> tg.Tensor:
        y: tg.Tensor = f(*leaves, **others)
        if y.requires_grad:
            (y * weight).sum().backward()
        return y

    return Trained(step, leaves=leaves)


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("make", [trained, evaluated])
@pytest.mark.parametrize("name", SMALL)
def test_models(make: Callable[[Builder], Trained], name: str, dtype: str) -> None:
    if name == "MobileNetV2" and make is trained:
        if dtype == "f4":
            pytest.skip("each step enlarges a relative change of the weights a hundred times")
        tolerance = 1e-4  # of a change by 4e-16, 2e-7 is left after four steps in eager mode
    else:
        tolerance = STEPS[dtype]
    build, shape = SMALL[name]
    batches: list[Batch] = [(drawn((n, *shape), n).astype(dtype),) for n in (16, 16, 5, 16)]
    with tg.default_dtype(dtype):
        assert_close_to_eager(partial(make, build), batches, tolerance)


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("mode", [True, False])
@pytest.mark.parametrize("name", LAYERS)
def test_layers(name: str, mode: bool, dtype: str) -> None:
    make, shape = LAYERS[name]

    def built() -> Trained:
        layer = make(np.random.default_rng(0)).train(mode)

        def step(x: Any) -> tuple[tg.Tensor, Any]:
            given = tg.Tensor(x, requires_grad=True)
            y = layer(given)
            gradients = tg.grad((y * y).sum(), [given, *layer.parameters()])
            return y, gradients

        return Trained(step, [layer])

    x = np.random.default_rng(1).normal(size=(17, *shape[1:])).astype(dtype)
    with tg.default_dtype(dtype):
        batches = [(x,), (x[:1] if "Norm1d" not in name else x[:2],), (x[:16] - 1,)]
        assert_close_to_eager(built, batches, 10 * TOLERANCES[dtype])


@pytest.mark.parametrize("name", tg.OPS)
def test_ops(name: str) -> None:
    @settings(max_examples=repeats(4, 60))
    @given(calls(name), st.sampled_from(["f4", "f8"]))
    def check(call: Call, dtype: str) -> None:
        assume(call.inputs and all(x.size for x in call.inputs))
        y = np.asarray(call(*call.inputs))
        weight = np.linspace(-1.5, 2.0, y.size, dtype=dtype).reshape(y.shape)

        def called(*inputs: Any, **others: Any) -> Any:
            return call.op(**call.named(inputs), **others)

        make = partial(of_leaves, called, call.inputs, dtype)
        batches = [(weight * k, call.constants) for k in (1, 2, 3)]
        assert_close_to_eager(make, batches, 10 * TOLERANCES[dtype])

    check()


@settings(max_examples=repeats(40, 1000))
@given(compositions(), st.sampled_from(["f4", "f8"]))
def test_compositions(f: Composition, dtype: str) -> None:
    arrays = f.arguments()
    weight = np.linspace(-1.5, 2.0, f(*arrays).size, dtype=dtype)
    make = partial(of_leaves, f, arrays, dtype)
    batches = [(weight * k, {}) for k in (1, 2, 3)]
    with unless_refused():
        assert_close_to_eager(make, batches, 1e3 * TOLERANCES[dtype])


def test_parts_without_axes() -> None:
    """NumPy returns numbers, not views, and gradients are views of one element."""

    def make() -> Trained:
        leaves = [tg.Tensor(np.ones(shape), requires_grad=True) for shape in ((), (1,), ())]

        def step(weight: Any) -> tg.Tensor:
            a, b, c = leaves
            mean = tg.mean(a, keepdims=True)
            parts = [tg.flip(a, None), tg.hypot(b, c), mean[None, None], abs(mean[None]), a * c]
            y: tg.Tensor = tg.concatenate([tg.reshape(part, -1) for part in parts])
            (y * weight).sum().backward()
            return y

        return Trained(step, leaves=leaves)

    weight = np.linspace(-1.0, 2.0, 5)
    assert_close_to_eager(make, [(weight * k,) for k in range(1, 5)], 1e-12)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizers(name: str) -> None:
    def make() -> Trained:
        model = models.MLP((6, 5, 3))
        optimizer = OPTIMIZERS[name](list(model.parameters()))

        def step(x: Any, labels: Any) -> tg.Tensor:
            optimizer.zero_grad()
            loss: tg.Tensor = tg.cross_entropy(model(x), labels)
            loss.backward()
            optimizer.step()
            return loss

        return Trained(step, [model], [optimizer])

    def slowed(i: int, trained: Trained) -> None:
        trained.others[0].lr *= 0.75

    with tg.default_dtype("f8"):
        batches = [(drawn((7, 6), k).astype("f8"), np.arange(7) % 3) for k in range(6)]
        assert_close_to_eager(make, batches, STEPS["f8"], slowed)


@lengthy
@pytest.mark.parametrize("name", ["lenet5", "vgg", "resnet20", "mobilenet_v2"])
def test_models_of_their_own_sizes(name: str) -> None:
    shape = (1, 28, 28) if name == "lenet5" else (3, 32, 32)
    with tg.default_dtype("f8"):
        build = partial(nn.build, name, input_shape=shape, classes=10)
        batches = [(drawn((n, *shape), n).astype("f8"),) for n in (64, 64, 7)]
        assert_close_to_eager(partial(trained, build), batches, STEPS["f8"])


def test_gradients_that_are_assigned_none_leave_one_tape() -> None:
    model = nn.Linear(3, 2)

    def step(x: Any) -> tg.Tensor:
        for parameter in model.parameters():
            parameter.grad = None
        y = model(x)
        loss: tg.Tensor = (y * y).mean()
        loss.backward()
        return loss

    compiled = tg.compile(step)
    gradients = []
    for _ in range(3):
        compiled(np.ones((4, 3), "f4"))
        gradients.append(np.asarray(model.weight.grad).copy())
    names = [type(instruction).__name__ for instruction in compiled.replayed[0].instructions]
    assert names == ["TapeCall"]
    for gradient in gradients[1:]:
        np.testing.assert_allclose(gradient, gradients[0], rtol=1e-5)
