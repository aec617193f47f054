"""Every framework's adapter builds the same network and trains it alike."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cache, partial
from typing import Any

import numpy as np
import pytest

import tinygrad_cnn as tg
from tinygrad_cnn import nn
from tinygrad_cnn.bench import networks
from tinygrad_cnn.bench.benchmark import ALIKE, ALIKE_LATER, CHECKED_LOSSES, GIVEN, different
from tinygrad_cnn.bench.networks import Network
from tinygrad_cnn.bench.process import Worker
from tinygrad_cnn.bench.sides import OURS, PEERS, TORCH_COMPILE, Side
from tinygrad_cnn.bench.worker import with_numpy, with_tinygrad_cnn
from tinygrad_cnn.bench.worker.task import LEARNING_RATE, MOMENTUM, make_task
from tinygrad_cnn.bench.workloads import WORKLOADS, Workload

small = partial(nn.models.UNet, 2, in_channels=1, width=16, depth=2, batch_norm=False)
mobile = partial(nn.models.MobileNetV2, 10, stem="small", dropout=0.0)
dense = partial(nn.models.DenseNet, depths=(6, 6, 6))
READY = (
    (networks.LENET5, nn.LeNet5),
    (networks.VGG, nn.VGG),
    (networks.MLP, partial(nn.MLP, (64, 32, 10), "relu")),
    (networks.RESNET20, nn.models.resnet20),
    (replace(networks.RESNET18, input_shape=(3, 32, 32)), nn.models.resnet18),
    (replace(networks.MOBILENET, input_shape=(3, 16, 16)), mobile),
    (replace(networks.UNET, input_shape=(1, 16, 16), target_shape=(16, 16)), small),
    (networks.GENERATOR, partial(nn.models.DCGANGenerator, 64, width=32, image_size=32)),
    (networks.DISCRIMINATOR, partial(nn.models.DCGANDiscriminator, width=32, image_size=32)),
    (replace(networks.DENSENET, input_shape=(3, 16, 16)), dense),
    (replace(networks.RESNEXT, input_shape=(3, 8, 8)), None),
    (replace(networks.VGG11, input_shape=(3, 32, 32)), None),
)
"""Each network, and the package's own model that it is, if there is one."""
BY_NAME = {network.name: (network, model) for network, model in READY}
LOSSES = {
    "cross_entropy": tg.cross_entropy,
    "mse": tg.mse,
    "binary_cross_entropy": tg.binary_cross_entropy_with_logits,
}
BATCH, STEPS = 4, 3
COMPILED = ("LeNet-5", "MLP 64-32-10")  # compiled, which takes seconds for each with PyTorch
EVERY = [
    (framework, name)
    for framework in (OURS, *PEERS)
    for name in BY_NAME
    if framework != TORCH_COMPILE or name in COMPILED
]


def fields(network: Network) -> dict[str, Any]:
    return {**{field: getattr(network, field) for field in GIVEN}, "batch": BATCH}


@cache
def expected(name: str) -> tuple[int, list[float]]:
    """Train the package's own model of a network, with SGD written out once more."""
    network, make = BY_NAME[name]
    task = make_task(**fields(network))
    if make is None:
        calls = with_tinygrad_cnn.build(task)
        return calls.parameters, [float(calls.step()) for _ in range(STEPS)]
    model = make(rng=np.random.default_rng(1))
    parameters = list(model.parameters())
    if isinstance(model, nn.models.UNet):  # each level of the network is inside the one above
        levels = zip(model.rise, model.join, strict=True)
        parts = [*model.down, *(part for pair in levels for part in pair), model.head]
        parameters = [p for part in parts for p in part.parameters()]
    for parameter, weight in zip(parameters, task.weights, strict=True):
        parameter.data = weight
    velocities = [np.zeros_like(weight) for weight in task.weights]
    latent = isinstance(model, nn.models.DCGANGenerator)  # takes (N, latent), not (N, latent, 1, 1)
    images = task.images.reshape(BATCH, -1) if latent else task.images
    one = isinstance(model, nn.models.DCGANDiscriminator)  # returns (N,), not (N, 1, 1, 1)
    targets = task.targets.ravel() if one else task.targets
    losses = []
    for _ in range(STEPS):
        loss = LOSSES[task.loss](model(images), targets)
        gradients = tg.grad(loss, parameters)
        for p, v, g in zip(parameters, velocities, gradients, strict=True):
            v[...] = MOMENTUM * v + g
            p.data = p.numpy() - LEARNING_RATE * v
        losses.append(loss.item())
    return sum(p.size for p in parameters), losses


def build(worker: Worker, network: Network, variant: str = "", mode: str = "step") -> int:
    answer = worker.ask("build", mode=mode, threads=1, variant=variant, **fields(network))
    return answer["parameters"]


@pytest.mark.parametrize(("framework", "name"), EVERY)
def test_a_side_trains_the_ready_model(start, framework: str, name: str) -> None:
    network, _ = BY_NAME[name]
    worker = start(framework)
    hello = worker.ask("hello")
    if hello["kinds"] is not None and not network.kinds <= set(hello["kinds"]):
        pytest.skip(f"{framework}'s side has only {hello['kinds']}")
    parameters, losses = expected(name)
    variants = hello["variants"]
    if framework == OURS and name not in COMPILED:
        variants = variants[:1]
    for variant in variants:
        assert build(worker, network, variant) == parameters
        got = worker.ask("losses", steps=STEPS)["losses"]
        np.testing.assert_allclose(got[0], losses[0], rtol=ALIKE)
        chaotic = network.name == "MobileNetV2"  # normalizes few values of few images
        np.testing.assert_allclose(got, losses, rtol=5e-2 if chaotic else ALIKE_LATER)


@pytest.mark.parametrize("framework", [OURS, *PEERS])
def test_a_side_infers(start, framework: str) -> None:
    worker = start(framework)
    build(worker, networks.LENET5, mode="inference")
    assert len(worker.run(2)) == 2


@pytest.mark.parametrize("framework", ["torch", "mygrad", "autograd"])
def test_a_side_runs_the_chain_of_small_ops(start, framework: str) -> None:
    worker = start(framework)
    for mode in ("forward", "backward"):
        worker.ask("chain", mode=mode)
        assert all(0 < seconds < math.inf for seconds in worker.run(2))


def test_the_chain_with_a_graph_computes_what_bare_numpy_does() -> None:
    bare, ours = with_numpy.chain(), with_tinygrad_cnn.chain()
    kept, y = bare.forward(), ours.forward()
    np.testing.assert_array_equal(y.numpy(), kept[-1])
    for expected, got in zip(bare.backward(kept), ours.backward(y), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-6)


def test_all_sides_get_the_same_bits() -> None:
    one, other = (make_task(networks.VGG.layers, networks.VGG.input_shape, 3) for _ in range(2))
    np.testing.assert_array_equal(one.images, other.images)
    np.testing.assert_array_equal(one.targets, other.targets)
    for a, b in zip(one.weights, other.weights, strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_side_with_other_losses_is_found() -> None:
    ours, same, other = Side(OURS), Side("torch"), Side("torch", "channels-last")
    losses = {ours: [2.3, 2.2, 2.0], same: [2.3, 2.21, 2.009], other: [2.31, 2.2, 2.0]}
    assert different(losses, CHECKED_LOSSES) == [other]
    assert different(losses) == [same, other]
    assert different({ours: [2.3], other: [math.nan]}) == [other]
    assert different({}) == []


STEPPED = [w for w in WORKLOADS if w.quick and w.mode == "step"]


@pytest.mark.parametrize("workload", STEPPED, ids=lambda w: w.name)
def test_another_momentum_is_found(workload: Workload, monkeypatch: pytest.MonkeyPatch) -> None:
    found = {}
    for momentum in (MOMENTUM, 0.5):
        monkeypatch.setattr(with_tinygrad_cnn, "MOMENTUM", momentum)
        given = {field: getattr(workload.network, field) for field in GIVEN}
        calls = with_tinygrad_cnn.build(make_task(**given, batch=workload.batch))
        found[Side(str(momentum))] = [float(calls.step()) for _ in CHECKED_LOSSES]
    assert len(different(found, CHECKED_LOSSES)) == 1
