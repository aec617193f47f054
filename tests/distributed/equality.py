"""Checks on several ranks: training gives the numbers of one process with the whole batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any

import numpy as np
from numpy.typing import NDArray
from support.ranks import on_ranks

import tinygrad_cnn as tg
from tinygrad_cnn.distributed import (
    DataParallel,
    all_gather,
    allow_empty,
    average,
    average_gradients,
    broadcast,
    convert_sync_batchnorm,
    rank,
    size,
)

Batches = Sequence[tuple[NDArray[Any], NDArray[Any]]]
State = dict[str, NDArray[Any]]
loss = allow_empty(tg.cross_entropy)


def batches(shape: tuple[int, ...], sizes: Sequence[int], dtype: str) -> Batches:
    rng = np.random.default_rng(1)
    return [(rng.random((n, *shape)).astype(dtype), rng.integers(0, 10, n)) for n in sizes]


def own(array: NDArray[Any]) -> NDArray[Any]:
    """Return this rank's part of a batch, found without the sampler."""
    return np.array_split(array, size())[rank()]


def state(model: tg.nn.Module) -> State:
    return {name: array.copy() for name, array in model.state_dict().items()}


def gradients(model: tg.nn.Module) -> State:
    return {name: np.array(p.grad) for name, p in model.named_parameters() if p.grad is not None}


def assert_equal(found: State, of_rank_0: State | None, tolerance: float) -> None:
    """Fail unless all ranks found the same bits, close to what rank 0 expects."""
    expected = broadcast(of_rank_0)
    assert found.keys() == expected.keys()
    assert all(found[name].dtype == array.dtype for name, array in expected.items())
    error = difference(found, expected)
    assert error <= tolerance, f"the largest difference is {error}"
    bits = {name: array.tobytes() for name, array in found.items()}
    assert all(other == bits for other in all_gather(bits))


def train(
    model: Any, optimizer: tg.optim.Optimizer, given: Batches, part: Callable[[Any], Any]
) -> None:
    for images, labels in given:
        optimizer.zero_grad()
        loss(model(tg.Tensor(part(images))), part(labels)).backward()
        optimizer.step()


def whole(array: NDArray[Any]) -> NDArray[Any]:
    return array


def lenet(dtype: str, seed: int = 0) -> tg.nn.Module:
    return tg.nn.LeNet5(rng=np.random.default_rng(seed)).astype(dtype)


def resnet(dtype: str, seed: int = 0) -> tg.nn.Module:
    return tg.nn.models.resnet20(rng=np.random.default_rng(seed)).astype(dtype)


def sgd(model: tg.nn.Module) -> tg.optim.Optimizer:
    return tg.optim.SGD(model.parameters(), 0.05, 0.9, weight_decay=1e-3)


def adam(model: tg.nn.Module) -> tg.optim.Optimizer:
    """Adam, with an ε that does not magnify the rounding of gradients near 0."""
    return tg.optim.Adam(model.parameters(), 1e-3, eps=1e-4)


def assert_trained_alike(make: Any, optimizer: Any, shape: Any, sizes: Sequence[int]) -> None:
    """Train on the ranks, from different weights, and in one process: rank 0, and for float32 1.

    In float32, rounding may turn a ReLU around in one of them: then both differ from float64.
    """
    dtypes = ("float64", "float32")
    given = {
        dtype: [(x.astype(dtype), y) for x, y in batches(shape, sizes, "float64")]
        for dtype in dtypes
    }
    expected: Any = None
    if rank() < 2:
        dtype = dtypes[rank()]
        alone = make(dtype)
        train(alone, optimizer(alone), given[dtype], whole)
        expected = state(alone)
    exact, rounded = all_gather(expected)[:2]
    for dtype, tolerance in (
        ("float64", 1e-12),
        ("float32", max(2e-5, 2 * difference(rounded, exact))),
    ):
        model = convert_sync_batchnorm(make(dtype, seed=rank()))
        parallel = DataParallel(model)
        train(parallel, optimizer(parallel), given[dtype], own)
        assert_equal(state(model), exact if dtype == "float64" else rounded, tolerance)


def difference(found: State, expected: State) -> float:
    """Return the largest difference, relative to the largest value of its array or 1."""
    return max(
        float(np.abs(found[name] - array).max()) / max(1.0, float(np.abs(array).max()))
        for name, array in expected.items()
    )


@on_ranks(2, 3, lengthy=(4,))
def lenet_is_trained_as_by_one_process() -> None:
    assert_trained_alike(lenet, adam if size() == 2 else sgd, (1, 28, 28), [14, 14, 7])


@on_ranks(2, lengthy=(3, 4))
def resnet_with_synchronized_batch_norm_is_trained_as_by_one_process() -> None:
    """The last rank has no example of the last batch, and the others have one."""
    optimizer = adam if size() == 3 else sgd
    assert_trained_alike(resnet, optimizer, (3, 8, 8), [7, 7, size() - 1])


class Branches(tg.nn.Module):
    """A layer used twice, a frozen one, one that only some calls use, and one that none uses."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.first = tg.nn.Linear(6, 6, rng=rng)
        self.frozen = tg.nn.Linear(6, 6, rng=rng)
        self.frozen.requires_grad_(False)
        self.sometimes = tg.nn.Linear(6, 6, rng=rng)
        self.never = tg.nn.Linear(6, 6, rng=rng)
        self.last = tg.nn.Linear(6, 10, rng=rng)
        self.last.bias.register_hook(lambda g: 2 * g)

    def forward(self, x: Any, sometimes: bool = False) -> Any:
        x = self.frozen(tg.tanh(self.first(tg.tanh(self.first(x)))))
        return self.last(self.sometimes(x) if sometimes else x)


def branches(dtype: str = "float64") -> Branches:
    model = Branches(np.random.default_rng(0))
    model.astype(dtype)
    return model


@on_ranks(3)
def frozen_unused_and_tied_parameters_get_the_gradients_of_one_process() -> None:
    given = batches((6,), [8, 8, 5], "float64")
    model, alone = branches(), branches()
    parallel = DataParallel(model)
    for step, (images, labels) in enumerate(given):
        used = step == 1  # by rank 0 alone: with 0 of its rows, others do not use it
        outputs = parallel(tg.Tensor(own(images)), used and rank() == 0)
        penalty = sum((p * p).sum() for p in model.first.parameters())
        (loss(outputs, own(labels)) + 1e-2 * penalty).backward()
        if rank() == 0:
            rows = np.cumsum([len(part) for part in np.array_split(labels, size())])
            for at, (part, target) in enumerate(
                zip(np.split(images, rows[:-1]), np.split(labels, rows[:-1]), strict=True)
            ):
                outputs = alone(tg.Tensor(part), used and at == 0)
                (loss(outputs, target) * (len(part) / len(images))).backward()
            penalty = sum((p * p).sum() for p in alone.first.parameters())
            (1e-2 * penalty).backward()
        assert_equal(gradients(model), gradients(alone), 1e-12)  # accumulates over the steps
        found = {name for name in gradients(model) if not name.startswith("last")}
        assert found == {"first.weight", "first.bias"} | (
            {"sometimes.weight", "sometimes.bias"} if step else set()
        )
    model.frozen.requires_grad_(True)
    loss(parallel(tg.Tensor(own(images))), own(labels)).backward()
    assert "frozen.weight" in gradients(model)


@on_ranks(3)
def accumulated_gradients_are_those_of_one_process() -> None:
    """Sums come after the second and the third batch; without clearing in between."""
    given = batches((6,), [8, 4, 2], "float64")
    model, alone = branches(), branches()
    parallel = DataParallel(model)
    for step, (images, labels) in enumerate(given):
        with parallel.no_sync() if step == 0 else nullcontext():
            loss(parallel(tg.Tensor(own(images))), own(labels)).backward()
        loss(alone(tg.Tensor(images)), labels).backward()
        if step:
            assert_equal(gradients(model), gradients(alone), 1e-12)
    with parallel.no_sync():  # from gradients that are sums already
        loss(parallel(tg.Tensor(own(images))), own(labels)).backward()
    loss(parallel(tg.Tensor(own(images))), own(labels)).backward()
    for _ in range(2):
        loss(alone(tg.Tensor(images)), labels).backward()
    assert_equal(gradients(model), gradients(alone), 1e-12)
    assert parallel.statistics.sweeps == 3


@on_ranks(3)
def a_rank_without_examples_does_not_count_whatever_its_loss() -> None:
    ((images, labels),) = batches((6,), [2], "float64")
    model, alone = branches(), branches()
    parallel = DataParallel(model)
    part = own(labels)

    def value(outputs: tg.Tensor, labels: NDArray[Any]) -> tg.Tensor:
        if len(labels):
            return tg.cross_entropy(outputs, labels)
        return (outputs.sum() + model.first.weight.sum()) * np.nan

    for accumulates in (True, False):
        with parallel.no_sync() if accumulates else nullcontext():
            value(parallel(tg.Tensor(own(images))), part).backward()
        loss(alone(tg.Tensor(images)), labels).backward()
    assert_equal(gradients(model), gradients(alone), 1e-12)


class Skipping(tg.nn.Module):
    """A layer in the middle that only some calls use, so that others send its gradient late."""

    def __init__(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self.first, self.middle, self.last = (tg.nn.Linear(6, 6, rng=rng) for _ in range(3))
        self.astype("float64")

    def forward(self, x: Any, whole: bool = False) -> Any:
        x = tg.tanh(self.first(x))
        return self.last(self.middle(x) if whole else x)


@on_ranks(2)
def two_models_in_one_sweep_get_the_gradients_of_one_process() -> None:
    """Many buckets, of two models in another order on each rank."""
    ((x, _),) = batches((6,), [7], "float64")
    models, alone = ([Skipping(seed) for seed in (0, 1)] for _ in range(2))
    first, second = (DataParallel(model, bucket_cap_mb=1e-5) for model in models)
    (second(first(tg.Tensor(own(x))), rank() == 0) ** 2).mean().backward()
    for at, part in enumerate(np.array_split(x, size())):
        value = (alone[1](alone[0](tg.Tensor(part)), at == 0) ** 2).mean()
        (value * (len(part) / len(x))).backward()
    for model, expected in zip(models, alone, strict=True):
        assert_equal(gradients(model), gradients(expected), 1e-12)


class Halves(tg.nn.Module):
    """Two results, in a dict and a list."""

    def __init__(self) -> None:
        self.model = branches()

    def forward(self, x: Any) -> Any:
        y = self.model(x)
        return {"first": [y[:, :5]], "second": y[:, 5:]}


@on_ranks(3)
def only_calls_of_which_a_gradient_is_computed_count_as_examples() -> None:
    """Rank 0 calls the model more often, without a backward, and sweeps may be repeated."""
    (first, target), (second, _) = batches((6,), [4, 7], "float64")
    model, alone = Halves(), Halves()
    parallel = DataParallel(model)

    def value(model: Any, part: Any) -> tg.Tensor:
        x, y = (model(tg.Tensor(part(each))) for each in (first, second))
        every = tg.concatenate([x["first"][0], x["second"]], axis=1)
        return tg.cross_entropy(every, part(target)) * (3 / 11) + y["second"].mean() * (8 / 11)

    if rank() == 0:
        parallel(tg.Tensor(first))
    ours = value(parallel, own)
    if rank() == 0:
        parallel(tg.Tensor(first))
    for _ in range(2):
        ours.backward(retain_graph=True)
    shares = [
        (len(a) + len(b)) / 11
        for a, b in zip(*(np.array_split(each, size()) for each in (first, second)), strict=True)
    ]
    for at, share in enumerate(shares):
        part = value(alone, lambda array, at=at: np.array_split(array, size())[at])
        (part * (2 * share)).backward()
    assert_equal(gradients(model), gradients(alone), 1e-12)


@on_ranks(3)
def each_of_two_sweeps_counts_the_examples_of_its_own_call() -> None:
    given = batches((6,), [4, 7], "float64")
    model, alone = branches(), branches()
    parallel = DataParallel(model)
    values = [loss(parallel(tg.Tensor(own(x))), own(labels)) for x, labels in given]
    for value in values:
        value.backward()
    for images, labels in given:
        loss(alone(tg.Tensor(images)), labels).backward()
    assert_equal(gradients(model), gradients(alone), 1e-12)


@on_ranks(3)
def gradients_are_averaged_by_hand() -> None:
    ((images, labels),) = batches((6,), [7], "float64")
    model, alone = branches(), branches()
    loss(model(tg.Tensor(own(images))), own(labels)).backward()
    loss(alone(tg.Tensor(images)), labels).backward()
    average_gradients([*model.parameters()] * 2, examples=len(own(labels)))
    assert_equal(gradients(model), gradients(alone), 1e-12)
    value = np.nan if rank() == 2 else rank() + 1.0
    assert average(value, (2 - rank()) * 5) == (10 * 1 + 5 * 2) / 15
    assert np.isnan(average(np.nan, 0))


@on_ranks(3)
def second_derivatives_pass_through_synchronized_batch_norm() -> None:
    """A rank's gradients are those of its part of the mean loss, divided by its share bᵣ/B."""
    rng = np.random.default_rng(3)
    x, v, scale = rng.normal(size=(7, 4)), rng.normal(size=(7, 4)), rng.normal(size=4)
    shares = np.repeat([3 / 7, 2 / 7, 2 / 7], [3, 2, 2])[:, np.newaxis]

    def derivatives(x: Any, v: Any, factors: Any, layer: Any) -> list[NDArray[Any]]:
        given = tg.Tensor(x, requires_grad=True)
        layer.weight.data[...] = scale
        loss = (layer(given) ** 3 * v).sum() / len(x)
        (first,) = tg.grad(loss, given, create_graph=True)
        inner = (first * first * factors).sum() / len(x)
        return [first.numpy(), *tg.grad(inner, [given, layer.weight])]

    layer = convert_sync_batchnorm(tg.nn.BatchNorm1d(4).astype("float64"))
    found = derivatives(own(x), own(v), own(v), layer)
    alone = derivatives(x, v, v / shares**2, tg.nn.BatchNorm1d(4).astype("float64"))
    for of_part, of_all in zip(found[:2], alone[:2], strict=True):
        np.testing.assert_allclose(of_part * own(shares), own(of_all), rtol=0, atol=1e-12)
    total = sum(all_gather(found[2] * own(shares)[0]))
    np.testing.assert_allclose(total, alone[2], rtol=0, atol=1e-12)
    assert np.abs(alone[2]).max() > 0.1
