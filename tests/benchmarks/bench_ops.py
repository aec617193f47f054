"""Single ops, by pytest-benchmark; outside the test run, which collects test_*.py only.

    pytest tests/benchmarks/bench_ops.py --benchmark-group-by=group

To compare with an earlier state: ``--benchmark-save=before`` there, ``--benchmark-compare`` here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygrad_cnn as tg

# name, x (N, C, H, W), w (O, C, K, K), padding: the convolutions of LeNet-5 and of the small VGG
CONVOLUTIONS = [
    ("lenet conv1", (64, 1, 28, 28), (6, 1, 5, 5), 2),
    ("lenet conv2", (64, 6, 14, 14), (16, 6, 5, 5), 0),
    ("vgg conv2", (64, 32, 32, 32), (32, 32, 3, 3), 1),
    ("vgg conv4", (64, 64, 16, 16), (64, 64, 3, 3), 1),
]
MAPS = [("lenet", (64, 6, 28, 28)), ("vgg", (64, 32, 32, 32))]

Measure = Callable[..., Any]


def random(*shape: int, requires_grad: bool = True) -> tg.Tensor:
    values = np.random.default_rng(0).standard_normal(shape).astype("f4")
    return tg.Tensor(values, requires_grad=requires_grad)


def measure(benchmark: Any, program: Callable[[], tg.Tensor], direction: str) -> None:
    """Measure a call, or its turn in a sweep: each needs a graph of its own, made untimed."""
    if direction == "forward":
        benchmark(program)
        return
    gradient = np.ones(program().shape, "f4")
    benchmark.pedantic(
        lambda y: y.backward(gradient),
        setup=lambda: ((program(),), {}),
        rounds=30,
        warmup_rounds=3,
    )


both = pytest.mark.parametrize("direction", ["forward", "backward"])


@both
@pytest.mark.parametrize(
    ("x_shape", "w_shape", "padding"),
    [case[1:] for case in CONVOLUTIONS],
    ids=[case[0] for case in CONVOLUTIONS],
)
def test_conv2d(benchmark, x_shape, w_shape, padding, direction) -> None:
    benchmark.group = f"conv2d {direction}"
    x, w, bias = random(*x_shape), random(*w_shape), random(w_shape[0])
    measure(benchmark, lambda: tg.conv2d(x, w, bias, padding=padding), direction)


@both
@pytest.mark.parametrize("shape", [case[1] for case in MAPS], ids=[case[0] for case in MAPS])
@pytest.mark.parametrize("name", ["relu", "maxpool", "avgpool"])
def test_maps(benchmark, name, shape, direction) -> None:
    benchmark.group = f"{name} {direction}"
    op: Any = tg.OPS[name]
    rest = () if name == "relu" else (2,)
    x = random(*shape)
    measure(benchmark, lambda: op(x, *rest), direction)


@both
def test_linear(benchmark, direction) -> None:
    benchmark.group = f"linear {direction}"
    x, w, bias = random(64, 4096), random(256, 4096), random(256)
    measure(benchmark, lambda: tg.linear(x, w, bias), direction)


@both
def test_cross_entropy(benchmark, direction) -> None:
    benchmark.group = f"cross_entropy {direction}"
    logits, labels = random(64, 10), np.arange(64) % 10
    measure(benchmark, lambda: tg.cross_entropy(logits, labels), direction)


def test_sgd(benchmark) -> None:
    benchmark.group = "update"
    parameter = tg.nn.Parameter(random(1024, 1024).numpy())
    parameter.grad = np.ones((1024, 1024), "f4")
    benchmark(tg.optim.SGD([parameter], lr=1e-6, momentum=0.9).step)


@both
def test_small_ops(benchmark, direction) -> None:
    """What recording and the sweep cost: 90 ops of eight numbers."""
    benchmark.group = f"90 small ops {direction}"
    x, w, b = random(8), random(8), random(8)

    def program() -> tg.Tensor:
        y = x
        for _ in range(30):
            y = tg.tanh(y * w + b)
        return y

    measure(benchmark, program, direction)
