"""A meter of all ranks counts the examples of each once."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import tinygrad_cnn as tg
from tinygrad_cnn.distributed.faults import OneRank
from tinygrad_cnn.train import F1Score, TopKAccuracy, fit
from tinygrad_cnn.train.evaluation import Meter
from tinygrad_cnn.train.global_random import global_random
from tinygrad_cnn.train.metrics import Metric
from tinygrad_cnn.train.own_state import of_rank
from tinygrad_cnn.train.running_epoch import RunningEpoch

METRICS: dict[str, Metric] = {"f1": F1Score(), "top2": TopKAccuracy(2)}


class Others(OneRank):
    """One of several ranks, whose values are given."""

    def __init__(self, values: list[Any]) -> None:
        super().__init__()
        self.size, self.values = len(values), values

    def gather(self, where: str, value: Any) -> list[Any]:
        return self.values


def measured(loss: float, outputs: NDArray[Any], labels: NDArray[Any]) -> Meter:
    meter = Meter(METRICS)
    meter.add(loss, outputs, labels)
    return meter


@pytest.mark.parametrize("sizes", [[7, 6], [5, 4, 4], [13, 0], [0, 1, 12]])
def test_the_meters_of_ranks_merge_to_that_of_one_process(sizes: list[int]) -> None:
    rng = np.random.default_rng(0)
    outputs, labels = rng.normal(size=(13, 4)), rng.integers(0, 4, 13)
    losses = rng.random(13)
    whole = measured(losses.mean(), outputs, labels)
    ends = np.cumsum(sizes)[:-1]
    parts = [
        measured(each.mean() if each.size else 0.0, *part)
        for each, *part in zip(*(np.split(a, ends) for a in (losses, outputs, labels)), strict=True)
    ]
    merged = parts[0].merged(Others([part.state_dict() for part in parts]))
    assert (merged.images, merged.accuracy, merged.metrics) == (13, whole.accuracy, whole.metrics)
    assert (merged.confusion == whole.confusion).all()
    assert merged.loss == pytest.approx(whole.loss, rel=1e-12)


def test_a_nan_of_one_rank_leaves_no_accuracy() -> None:
    good = measured(0.5, np.eye(4), np.arange(4))
    bad = measured(np.nan, np.eye(4) * np.nan, np.arange(4))
    merged = good.merged(Others([good.state_dict(), bad.state_dict()]))
    assert np.isnan([merged.loss, merged.accuracy, *merged.metrics.values()]).all()
    assert merged.confusion.size == 0


@pytest.mark.parametrize("size", [2, 3])
def test_each_rank_gets_its_meter_back_and_another_number_of_ranks_all_of_them(size: int) -> None:
    rng = np.random.default_rng(0)
    parts = [measured(loss, rng.normal(size=(4, 3)), np.arange(4) % 3) for loss in (0.1, 0.7)]
    states = [part.state_dict() for part in parts]
    saved = RunningEpoch([], None, parts[0], Others(states)).state_dict()
    found = []
    for rank in range(size):
        ranks = Others([None] * size)
        ranks.rank = rank
        running = RunningEpoch([], None, Meter(METRICS), ranks)
        running.load_state_dict(saved)
        found.append(running.meter)
        assert (running.images, running.loss) == (8, pytest.approx(0.4))
    expected = [4, 4] if size == 2 else [8, 0, 0]
    assert [meter.images for meter in found] == expected
    if size == 2:
        assert [meter.loss for meter in found] == [part.loss for part in parts]


def test_a_loss_with_parameters_is_refused_on_ranks() -> None:
    model, loss = tg.nn.Linear(2, 2), tg.nn.Linear(2, 1)
    parallel = tg.distributed.DataParallel(model)
    with pytest.raises(ValueError, match="the loss, a Linear, has parameters, of which DataPar"):
        fit(parallel, loss, tg.optim.SGD(model.parameters(), 0.1), [], epochs=1)


def test_generators_of_another_rank_are_others_and_each_time_the_same() -> None:
    generator = {"generator": np.random.default_rng(3).bit_generator.state}
    parts = [[0, generator], [1, {"array": np.arange(3)}], [2, None]]
    own = {"layer.parts": {"list": parts}}
    states = [of_rank(rank, own, global_random()) for rank in (1, 2, 1)]
    texts = [repr(state) for state in states]
    assert texts[0] == texts[2] != texts[1]
    for name, state in states[0][1].items():
        assert repr(state) != repr(global_random()[name])
    first, array, none = states[0][0]["layer.parts"]["list"]
    assert first != parts[0]
    assert (array[1]["array"] == np.arange(3)).all()
    assert none == [2, None]
