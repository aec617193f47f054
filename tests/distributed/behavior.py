"""Checks on several ranks: communication, overlap, bits, errors."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread
from typing import Any

import numpy as np
import pytest
from distributed.equality import batches, branches, gradients, lenet, loss, own, sgd, state, train
from support.ranks import on_ranks

import tinygrad_cnn as tg
from tinygrad_cnn.distributed import (
    DataParallel,
    DistributedSampler,
    RankError,
    all_gather,
    all_reduce,
    barrier,
    broadcast,
    buckets,
    convert_sync_batchnorm,
    rank,
)
from tinygrad_cnn.engine import blas, threads
from tinygrad_cnn.train import Callback, Progress, TrainingDiverged, fit


@on_ranks(3)
def values_are_sent_between_ranks() -> None:
    assert all_gather(rank()) == [0, 1, 2]
    assert broadcast({"rank": rank()}, root=2) == {"rank": 2}
    barrier()
    array = np.array([[rank(), -1.5 * rank()]], "f4")
    assert all_reduce(array).tolist() == [[3.0, -4.5]]
    assert all_reduce(array, "max").tolist() == [[2.0, 0.0]]
    assert all_reduce(tg.Tensor(array), "min").dtype == np.float32
    assert all_reduce(7).item() == 21
    assert all_reduce(np.array([1.5], ">f8")).tolist() == [4.5]
    assert array.tolist() == [[rank(), -1.5 * rank()]]


@on_ranks(2)
def each_rank_computes_on_one_thread() -> None:
    assert threads._cores() == 1
    assert all(count() == 1 for count, _ in blas._libraries())
    assert "OMP_NUM_THREADS" not in os.environ


@on_ranks(3)
def the_sampler_divides_among_the_ranks() -> None:
    sampler = DistributedSampler(np.arange(7))
    assert sampler.part == (rank(), 3)


class Events(tg.Observer):
    """The steps of a sweep and the messages that start meanwhile, in order."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.gradients: Any = None

    def swept(self, gradients: Any, accumulates: bool) -> None:
        self.gradients = gradients

    def backward(self, event: tg.BackwardEvent) -> None:
        self.events.append(event.node.scope)

    @contextmanager
    def recorded(self) -> Iterator[None]:
        before = buckets.Bucket.start

        def start(bucket: Any, comm: Any) -> None:
            names = [p.name for p in bucket.parameters]
            self.events.append(f"send {len(names)}")
            before(bucket, comm)

        buckets.Bucket.start = start  # type: ignore[method-assign]
        try:
            with tg.observe(self):
                yield
        finally:
            buckets.Bucket.start = before  # type: ignore[method-assign]


@on_ranks(2)
def buckets_are_sent_before_the_sweep_has_reached_the_first_layers() -> None:
    """Layers of 1 MB: each fills a bucket, or closes that of the last layer."""
    layers = [tg.nn.Linear(512, 512, rng=np.random.default_rng(i)) for i in range(3)]
    parallel = DataParallel(tg.nn.Sequential(*layers))
    x = tg.Tensor(np.ones((2, 512), "f4"))
    seen = Events()
    y = parallel(x).sum()
    with seen.recorded():
        y.backward()
    sent = [i for i, event in enumerate(seen.events) if event.startswith("send")]
    assert seen.events.index("module.0") > sent[0], seen.events
    assert len(sent) == parallel.statistics.messages > 1
    assert parallel.statistics.bytes == 4 * (3 * (512 * 512 + 512) + 6)
    assert all(events == seen.events for events in all_gather(seen.events))
    assert all(seen.gradients[p] is p.grad for p in parallel.parameters())


@on_ranks(3, lengthy=(4,))
def the_bits_are_the_same_again_whatever_the_size_of_the_buckets() -> None:
    """Every sum has one order, wherever the value is in a message."""
    given = batches((1, 28, 28), [8, 8, 5], "float32")
    results = []
    for size in (1.0, 1.0, 1e-6, 0.2, 100.0):
        model = lenet("float32")
        parallel = DataParallel(model, bucket_cap_mb=size)
        train(parallel, sgd(parallel), given, own)
        results.append({name: array.tobytes() for name, array in state(model).items()})
    assert all(result == results[0] for result in results)
    assert all(result == results[0] for result in all_gather(results[0]))


@on_ranks(3)
def a_sweep_in_another_thread_sums_too() -> None:
    ((images, labels),) = batches((6,), [6], "float64")
    model, again = branches(), branches()
    for each, in_thread in ((model, True), (again, False)):
        parallel = DataParallel(each)
        value = loss(parallel(tg.Tensor(own(images))), own(labels))
        if in_thread:
            thread = Thread(target=value.backward)
            thread.start()
            thread.join()
        else:
            value.backward()
    found = gradients(model)
    assert all(np.array_equal(found[name], g) for name, g in gradients(again).items())


@on_ranks(3)
def random_numbers_differ_between_ranks_and_are_the_same_again() -> None:
    def drawn() -> tuple[bytes, bytes]:
        tg.manual_seed(0)
        shared = tg.nn.Dropout(0.5)
        DataParallel(tg.nn.Sequential(shared, tg.nn.Linear(3, 3), shared))
        x = np.ones(64, "f4")
        return shared(x).tobytes(), tg.nn.Dropout(0.5)(x).tobytes()

    every = all_gather([drawn(), drawn()])
    assert all(first == second for first, second in every)
    assert len({first for first, _ in every}) == 3
    tg.manual_seed(0)
    alone = tg.nn.Dropout(0.5)
    assert every[0][0][0] == broadcast(alone(np.ones(64, "f4")).tobytes())


@on_ranks(2)
def the_buffers_are_those_of_rank_0() -> None:
    model = tg.nn.Sequential(tg.nn.Linear(2, 2), tg.nn.BatchNorm1d(2))
    parallel = DataParallel(model)
    x = np.full((3, 2), 1.0 + rank(), "f4") * np.arange(1, 4, dtype="f4")[:, np.newaxis]
    for _ in range(2):
        parallel(tg.Tensor(x)).sum().backward()
        own_mean = model[1].running_mean.numpy().tobytes()
        assert len(set(all_gather(own_mean))) == 1
    assert model[1].num_batches_tracked.item() == 2


@on_ranks(2)
def a_parameter_that_is_nan_on_one_rank_ends_all() -> None:
    """The error names the rank, as that of the loss does."""
    ((images, labels),) = batches((6,), [8], "float32")
    parallel = DataParallel(branches().astype("float32"))

    class Breaks(Callback):
        def batch(self, progress: Progress) -> None:
            if rank():
                parallel.module.first.weight._array[...] = np.nan

    with pytest.raises(TrainingDiverged, match="a parameter is NaN") as caught:
        fit(
            parallel, tg.cross_entropy, tg.optim.SGD(parallel.parameters(), 0.1),
            [(own(images), own(labels))], epochs=1, callbacks=[Breaks()],
        )  # fmt: skip
    assert "raised by rank 1 of 2" in "".join(caught.value.__notes__)


@on_ranks(2)
def different_models_are_refused_on_all_ranks() -> None:
    for make, message in (
        (lambda: tg.nn.Linear(3, 2 + rank()),
         r"weight is float32 of shape \(3, 3\) on rank 1, but float32 of shape \(2, 3\) on rank 0"),
        (lambda: tg.nn.Linear(3, 2, bias=rank() == 0),
         "bias is missing on rank 1, but float32 of shape"),
        (lambda: tg.nn.Linear(3, 2).astype(["float32", "float64"][rank()]), "is float64 of shape"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match="DataParallel: the models differ: .*" + message):
            DataParallel(make())


@on_ranks(2)
def different_sweeps_are_refused_on_all_ranks() -> None:
    x = tg.Tensor(np.ones((2, 6)))
    parallel = DataParallel(branches())
    if rank():
        parallel.module.first.bias.requires_grad_(False)
    with pytest.raises(RuntimeError, match="bias requires a gradient on rank 0 only, not on"):
        parallel(x).sum().backward()
    parallel = DataParallel(branches())
    with pytest.raises(RuntimeError, match="no_sync"):
        if rank():
            with parallel.no_sync():
                parallel(x).sum().backward()
        else:
            parallel(x).sum().backward()
    parallel = DataParallel(branches())
    with pytest.raises(RuntimeError, match="the DataParallel was not called on any rank"):
        parallel.module(x).sum().backward()
    with pytest.raises(RuntimeError, match=r"create_graph=True\) is not supported"):
        parallel = DataParallel(branches())
        parallel(x).sum().backward(create_graph=True)
    with pytest.raises(ValueError, match="weight belongs to another DataParallel"):
        DataParallel(parallel.module)
    parallel = DataParallel(branches())
    with pytest.raises(ValueError, match="in which no rank has an example"):
        parallel(x[:0]).sum().backward()


@on_ranks(2)
def ranks_in_the_backward_of_different_models_are_noticed() -> None:
    x = tg.Tensor(np.ones((2, 6)))
    models = [DataParallel(branches()) for _ in range(2)]
    losses = [model(x).sum() for model in models]
    text = r"rank 0: DataParallel \d+, sweep 1: backward\(\); rank 1: DataParallel \d+, sweep 1: b"
    with pytest.raises(RankError, match=text):
        losses[rank()].backward()


@on_ranks(2)
def a_synchronized_batch_norm_that_one_rank_skips_is_noticed() -> None:
    """Both have the same size."""
    layers = convert_sync_batchnorm(tg.nn.Sequential(*(tg.nn.BatchNorm1d(2) for _ in range(2))))
    x = tg.Tensor(np.arange(6, dtype="f4").reshape(3, 2))
    layers(x)
    with pytest.raises(RankError, match=r"rank 0: .* batch norm 0, .*; rank 1: .* batch norm 1, "):
        layers[rank()](x)
    total = layers[0](x * (1 + rank())).numpy().sum(0)
    np.testing.assert_allclose(all_reduce(total), 0, atol=1e-6)
    parallel = DataParallel(tg.nn.Sequential(tg.nn.Linear(2, 2), layers[0], tg.nn.Linear(2, 2)))
    if rank():
        layers[0].register_forward_hook(lambda layer, x, y: y.detach())
    value = parallel(x).sum()
    with pytest.raises(RankError, match=r"rank 0: .* batch norm 0, .*; rank 1: .*the end of back"):
        value.backward()


@on_ranks(2)
def the_communicator_of_a_model_is_freed_with_it() -> None:
    from mpi4py import MPI

    parallel = DataParallel(branches())
    assert parallel._reducer is not None
    comm = parallel._reducer._comm
    assert comm != MPI.COMM_NULL
    del parallel
    assert comm == MPI.COMM_NULL


@on_ranks(2)
def arrays_in_a_dict_count_as_examples() -> None:
    class Named(tg.nn.Module):
        def __init__(self) -> None:
            self.model = branches()

        def forward(self, given: Any) -> Any:
            return self.model(given["x"])

    ((images, labels),) = batches((6,), [3], "float64")
    model, plain = Named(), branches()
    for each, given in ((model, {"x": own(images)}), (plain, own(images))):
        parallel = DataParallel(each)
        loss(parallel(given), own(labels)).backward()
    found = gradients(model.model)
    assert all(np.array_equal(found[name], g) for name, g in gradients(plain).items())
