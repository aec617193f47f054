"""Every framework's adapter builds the same network and trains it alike."""

from __future__ import annotations

import math

import numpy as np
import pytest

import tinygrad_cnn as tg
from tinygrad_cnn import nn
from tinygrad_cnn.bench.process import Worker
from tinygrad_cnn.bench.sides import OURS, PEERS
from tinygrad_cnn.bench.worker import with_numpy, with_tinygrad_cnn
from tinygrad_cnn.bench.worker.task import LEARNING_RATE, MOMENTUM, make_task
from tinygrad_cnn.bench.workloads import LENET5, MLP, VGG, Network

NETWORKS = {network.name: network for network in (LENET5, VGG, MLP)}
READY = {
    "LeNet-5": nn.LeNet5,
    "VGG-like": nn.VGG,
    "MLP 64-32-10": lambda rng: nn.MLP((64, 32, 10), "relu", rng=rng),
}
BATCH, STEPS = 4, 5


def losses_of_a_ready_model(network: Network) -> tuple[int, list[float]]:
    """Train the package's own model of a network, written out once more in plain NumPy's SGD."""
    task = make_task(network.layers, network.input_shape, BATCH)
    model = READY[network.name](rng=np.random.default_rng(1))
    parameters = list(model.parameters())
    for parameter, weight in zip(parameters, task.weights, strict=True):
        parameter.data = weight
    velocities = [np.zeros_like(weight) for weight in task.weights]
    losses = []
    for _ in range(STEPS):
        loss = tg.cross_entropy(model(task.images), task.labels)
        gradients = tg.grad(loss, parameters)
        for p, v, g in zip(parameters, velocities, gradients, strict=True):
            v[...] = MOMENTUM * v + g
            p.data = p.numpy() - LEARNING_RATE * v
        losses.append(loss.item())
    return sum(p.size for p in parameters), losses


def build(worker: Worker, network: Network, variant: str = "", mode: str = "step") -> int:
    fields = {"layers": network.layers, "input_shape": network.input_shape, "batch": BATCH}
    answer = worker.ask("build", mode=mode, threads=1, variant=variant, **fields)
    return answer["parameters"]


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("framework", [OURS, *PEERS])
def test_a_side_trains_the_ready_model(start, framework: str, name: str) -> None:
    network = NETWORKS[name]
    parameters, losses = losses_of_a_ready_model(network)
    worker = start(framework)
    for variant in worker.ask("hello")["variants"]:
        assert build(worker, network, variant) == parameters
        got = worker.ask("losses", steps=STEPS)["losses"]
        np.testing.assert_allclose(got[0], losses[0], rtol=1e-5)
        # A near-tie in a maximum may go either way in float32, and shows in a gradient's third
        # digit; without momentum, or with another rate, the losses differ in the first.
        np.testing.assert_allclose(got, losses, rtol=5e-3)


@pytest.mark.parametrize("framework", [OURS, *PEERS])
def test_a_side_infers(start, framework: str) -> None:
    worker = start(framework)
    build(worker, LENET5, mode="inference")
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
    one, other = (make_task(VGG.layers, VGG.input_shape, 3) for _ in range(2))
    np.testing.assert_array_equal(one.images, other.images)
    np.testing.assert_array_equal(one.labels, other.labels)
    for a, b in zip(one.weights, other.weights, strict=True):
        np.testing.assert_array_equal(a, b)
