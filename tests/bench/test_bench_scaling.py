"""The cost model of data-parallel training, its fit to measurements, and the page made of them."""

from __future__ import annotations

import json
import math
import re
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from scipy.optimize import nnls
from support.ranks import launch

from tinygrad_cnn.bench.machine import describe
from tinygrad_cnn.bench.scaling import measurement
from tinygrad_cnn.bench.scaling.figures import FIGURES
from tinygrad_cnn.bench.scaling.fit import efficiencies, fit_scaling, median_cases
from tinygrad_cnn.bench.scaling.measurement import (
    AllReduceRow,
    Messages,
    ScalingMeasurement,
    StepRow,
    measure_scaling,
)
from tinygrad_cnn.bench.scaling.model import (
    Interconnect,
    SentBucket,
    StepModel,
    least_squares,
    slowest,
)
from tinygrad_cnn.bench.scaling.page import FOLDER, PAGE, STORED, render_page, write_page
from tinygrad_cnn.bench.scaling.plan import EFFICIENT, INTERCONNECTS, PLANNED, SHARED_BATCHES, plans
from tinygrad_cnn.bench.scaling.workloads import NETWORKS
from tinygrad_cnn.support.files import digest

DOCS = Path(__file__).parents[2] / "docs"
positive = st.floats(1e-6, 1e-2)
links = st.builds(
    Interconnect,
    latency=st.floats(0, 1e-4),
    bandwidth=st.floats(1e8, 1e11),
    algorithm=st.sampled_from(["ring", "halving"]),
    beside=st.booleans(),
)
models = st.builds(
    StepModel,
    per_step=positive,
    per_image=positive,
    update=positive,
    buckets=st.lists(
        st.builds(SentBucket, st.floats(4, 1e8), st.floats(0.3, 1.0)), min_size=1, max_size=6
    ).map(tuple),
    messages=st.integers(0, 2),
    per_byte=st.floats(0, 1e-9),
    variation=st.floats(0, 0.1),
)


# --- the model -----------------------------------------------------------------------------------


def sent(size: float, ranks: int, algorithm: str) -> list[float]:
    """Return the bytes of each message of a rank, by doing the all-reduce on parts of an array."""
    if algorithm == "ring":
        return [size / ranks] * (2 * (ranks - 1))
    halves, part = [], size
    while len(halves) < math.log2(ranks):
        part /= 2
        halves.append(part)
    return halves + halves[::-1]


@given(link=links, size=st.floats(4, 1e9), doublings=st.integers(0, 10))
def test_an_all_reduce_takes_the_sum_of_its_messages(
    link: Interconnect, size: float, doublings: int
) -> None:
    messages = sent(size, 2**doublings, link.algorithm)
    expected = sum(link.latency + each / link.bandwidth for each in messages)
    assert link.all_reduce(size, 2**doublings) == pytest.approx(expected)


@given(model=models, link=links, batch=st.integers(1, 512), ranks=st.integers(2, 1024))
@example(
    model=StepModel(per_step=2**-7, per_image=2**-7, update=2**-7, buckets=(SentBucket(4.0, 1.0),)),
    link=Interconnect(latency=0.0, bandwidth=1e8),
    batch=255,
    ranks=2,
)
def test_a_step_is_as_long_as_its_longest_chain(
    model: StepModel, link: Interconnect, batch: int, ranks: int
) -> None:
    """Each bucket waits for its gradients and for those before it: the longest such wait counts."""
    time = model.step(batch, ranks, link)
    compute = model.per_step + model.per_image * batch
    slow = compute * (1 + model.variation * slowest(ranks))
    each = [link.all_reduce(bucket.size, ranks) for bucket in model.buckets]
    chains = [bucket.ready * compute + sum(each[k:]) for k, bucket in enumerate(model.buckets)]
    expected = max(slow, *chains) if link.beside else slow + sum(each)
    small = 2 * model.messages * math.ceil(math.log2(ranks)) * link.latency
    copies = model.per_byte * sum(bucket.size for bucket in model.buckets)
    assert time.total == pytest.approx(expected + small + copies + model.update)
    assert 0 <= time.hidden <= 1


@given(model=models, link=links, batch=st.integers(1, 512), ranks=st.integers(1, 512))
def test_messages_make_no_rank_faster(
    model: StepModel, link: Interconnect, batch: int, ranks: int
) -> None:
    assert 0 < model.efficiency(batch, ranks, link) <= 1 + 1e-12
    faster = replace(link, bandwidth=2 * link.bandwidth, latency=link.latency / 2)
    assert model.efficiency(batch, ranks, faster) >= model.efficiency(batch, ranks, link) - 1e-12
    slow = model.step(batch, ranks, link, slowdown=3.0).compute
    assert slow == pytest.approx(3 * model.step(batch, ranks, link).compute)


@pytest.mark.parametrize("ranks", [2, 3, 8, 100, 1024])
def test_the_slowest_of_normal_numbers(ranks: int) -> None:
    x = np.linspace(-8, 8, 40001)
    density = np.exp(-x * x / 2) / math.sqrt(2 * math.pi)
    below = np.cumsum(density) * (x[1] - x[0])
    mean = np.sum(x * ranks * below ** (ranks - 1) * density) * (x[1] - x[0])
    assert slowest(ranks) == pytest.approx(mean, rel=0.05)


@given(
    rows=st.lists(st.tuples(st.floats(0.1, 10), st.floats(0.1, 10), st.floats(0.1, 10)),
                  min_size=3, max_size=8),
)  # fmt: skip
def test_least_squares_are_those_of_non_negative_factors(
    rows: list[tuple[float, float, float]],
) -> None:
    a, b, seconds = map(np.array, zip(*rows, strict=True))
    matrix = np.column_stack([a, b]) / seconds[:, None]
    expected, residual = nnls(matrix, np.ones(len(rows)))
    found = least_squares([a, b], seconds)
    assert min(found) >= 0
    assert np.linalg.norm(matrix @ found - 1) <= residual + 1e-6
    np.testing.assert_allclose(matrix @ found, matrix @ expected, atol=1e-6)


# --- the fit -------------------------------------------------------------------------------------

MEMORY = Interconnect(latency=5e-6, bandwidth=4e9, beside=False)
SHARING, CORES = 1.04, 2
MODELS = {
    "VGG-like": StepModel(
        per_step=0.004, per_image=0.0015, update=0.003, per_byte=0.5e-9, messages=1,
        buckets=(SentBucket(4.2e6, 0.4), SentBucket(2e5, 1.0)),
    ),
    "ResNet-20": StepModel(
        per_step=0.006, per_image=0.0030, update=0.001, per_byte=0.5e-9, messages=2,
        buckets=(SentBucket(2e5, 0.5), SentBucket(9e5, 1.0)),
    ),
}  # fmt: skip


def rows_of(name: str, ranks: int, batch: int, rounds: int, extra: float) -> list[StepRow]:
    """Return rows that follow the model exactly; `extra` is the error of odd rounds."""
    model, turns = MODELS[name], max(ranks / CORES, 1)
    slow = turns * (SHARING if ranks > 1 else 1.0)
    link = replace(MEMORY, latency=turns * MEMORY.latency, bandwidth=MEMORY.bandwidth / turns)
    alone = model.step(batch, 1, link, slow)
    time = model.step(batch, ranks, link, slow)
    return [
        StepRow(
            network=name, ranks=ranks, batch=batch, round=k, variation=0.0,
            alone=alone.total + extra * (k % 2), update=model.update * slow,
            together=time.total + extra * (k % 2), waited=0.001, in_flight=0.02,
            at_once=time.communication, reduced=model.size,
        )
        for k in range(rounds)
    ]  # fmt: skip


def made(
    rounds: int = 1, extra: float = 0.0, loads: Sequence[float] = (0.0,)
) -> ScalingMeasurement:
    """Return a measurement of a machine that follows the model."""
    sizes = (1024, 65536, 4194304, 16777216)
    return ScalingMeasurement(
        machine=replace(describe(), cores=CORES),
        mpi="MPICH 5",
        date="2026-11-30",
        loads=list(loads) * (rounds if len(loads) == 1 else 1),
        messages={name: Messages(each.buckets, each.messages) for name, each in MODELS.items()},
        steps=[
            row
            for name in MODELS
            for ranks in (1, 2, 4)
            for batch in NETWORKS[name].batches(ranks)
            for row in rows_of(name, ranks, batch, rounds, extra)
        ],
        all_reduces=[
            AllReduceRow(ranks=2, round=k, size=size, seconds=MEMORY.all_reduce(size, 2))
            for size in sizes
            for k in range(rounds)
        ]
        + [
            AllReduceRow(ranks=4, round=k, size=size, seconds=4 * MEMORY.all_reduce(size, 4))
            for size in sizes
            for k in range(rounds)
        ],
    )


def test_a_machine_that_follows_the_model_is_found_again() -> None:
    fitted = fit_scaling(made())
    assert fitted.memory.latency == pytest.approx(MEMORY.latency, rel=1e-6)
    assert fitted.memory.bandwidth == pytest.approx(MEMORY.bandwidth, rel=1e-6)
    assert fitted.sharing == pytest.approx(SHARING, rel=1e-6)
    for name, model in MODELS.items():
        found = fitted.models[name]
        assert found.per_step == pytest.approx(model.per_step, rel=1e-5)
        assert found.per_image == pytest.approx(model.per_image, rel=1e-6)
        assert found.update == pytest.approx(model.update)
        assert (found.buckets, found.messages) == (model.buckets, model.messages)
        assert found.per_byte == fitted.per_byte == pytest.approx(model.per_byte, rel=1e-6)
    for case in median_cases(made()):
        predicted = fitted.step(case.network, case.batch, case.ranks)
        assert predicted == pytest.approx(case.seconds, rel=1e-6)


def test_only_quiet_rounds_count() -> None:
    busy = made(rounds=2, extra=1.0, loads=[0.1, 1.5])
    assert median_cases(busy) == median_cases(made())
    assert busy.quiet == [0]
    never = made(rounds=2, extra=1.0, loads=[0.9, 1.5])
    assert never.counted == [0, 1]
    for both, one in zip(median_cases(never), median_cases(made()), strict=True):
        assert both.alone == pytest.approx(one.alone + 0.5)
    assert "the numbers are not reliable" in render_page(never)
    assert "not reliable" not in render_page(busy)
    assert "1 of 2 rounds count" in render_page(busy)


def test_a_measurement_of_one_rank_is_refused() -> None:
    one = made()
    one.steps[:] = [row for row in one.steps if row.ranks == 1]
    with pytest.raises(ValueError, match="lacks steps of 1 or 2 ranks"):
        fit_scaling(one)


@pytest.mark.parametrize(
    ("ranks", "batch", "shared", "expected"),
    [
        (2, 64, False, 2 * 0.1 / 0.11 / 2),  # twice the images in 1.1 times the time
        (4, 64, False, 4 * 0.1 / 0.25 / 2),  # four ranks on two cores
        (2, 32, True, 0.1 / 0.06 / 2),
        (4, 16, True, 0.1 / 0.08 / 2),
    ],
)
def test_efficiency_is_images_per_second_and_core(
    ranks: int, batch: int, shared: bool, expected: float
) -> None:
    seconds = {(1, 64): 0.1, (1, 32): 0.05, (1, 16): 0.03,
             (2, 64): 0.11, (4, 64): 0.25, (2, 32): 0.06, (4, 16): 0.08}  # fmt: skip
    taken = made()
    taken.steps[:] = [
        replace(row, alone=each, together=1.25 * each)
        for row in taken.steps
        for each in [seconds[row.ranks, row.batch]]
    ]
    (case,) = [
        case for case in median_cases(taken)
        if (case.network, case.ranks, case.batch) == ("ResNet-20", ranks, batch)
    ]  # fmt: skip
    for alone in (False, True):
        found = efficiencies(taken, case, shared=shared, alone=alone)
        assert found == [pytest.approx(expected / (1.0 if alone else 1.25))]


def test_efficiency_compares_steps_of_the_same_round() -> None:
    taken = made(rounds=2)
    slower = {0: 1.0, 1: 3.0}  # the whole machine
    taken.steps[:] = [
        replace(row, alone=slower[row.round] * row.alone, together=slower[row.round] * row.together)
        for row in taken.steps
    ]
    case = next(case for case in median_cases(taken) if (case.ranks, case.batch) == (2, 64))
    first, second = efficiencies(taken, case)
    assert first == pytest.approx(second)


# --- plans and the page --------------------------------------------------------------------------


def test_plans_follow_the_model() -> None:
    fitted = fit_scaling(made())
    found = plans(fitted)
    assert len(found) == len(MODELS) * 2 * 2
    for plan in found:
        assert list(plan.efficiency) == sorted(plan.efficiency, reverse=True)
        assert list(plan.most) == sorted(plan.most)
        link = INTERCONNECTS[plan.interconnect]
        for most, batch in zip(plan.most, SHARED_BATCHES, strict=True):
            shared = [
                fitted.models[plan.network].strong_efficiency(batch, n, link, 1 / plan.speed)
                for n in (most, 2 * most)
            ]
            assert shared[0] >= EFFICIENT
            assert shared[1] < EFFICIENT or 2 * most > batch
        for efficiency, images in zip(plan.efficiency, plan.images, strict=True):
            assert images is not None
            own = NETWORKS[plan.network].batch
            assert (images <= own) == (efficiency >= EFFICIENT)
    slow, fast = (
        fmean(plan.efficiency[-1] for plan in found if plan.interconnect == name)
        for name in ("10 Gbit/s", "100 Gbit/s")
    )
    assert slow < fast
    assert len(PLANNED) == len(found[0].efficiency)


def test_a_rank_has_at_least_one_image() -> None:
    free = StepModel(per_step=0, per_image=1, update=0, buckets=(SentBucket(4, 1),), messages=0)
    for plan in plans(replace(fit_scaling(made()), models={"VGG-like": free})):
        assert plan.most == (64, 512, 1024)


def test_a_measurement_is_read_as_it_was_written(tmp_path: Path) -> None:
    taken = made(rounds=2)
    taken.write(tmp_path / STORED)
    assert ScalingMeasurement.read(tmp_path / STORED) == taken
    for text in ("[]", "{", '{"machine": 1}', json.dumps({**taken.to_json(), "steps": [{}]})):
        (tmp_path / "other.json").write_text(text)
        with pytest.raises(ValueError, match=r"other\.json: is not a measurement of scaling"):
            ScalingMeasurement.read(tmp_path / "other.json")


def test_a_page_is_written_with_its_figures(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="needs the extra plots")
    written = write_page(made(), tmp_path)
    assert [path.name for path in written] == [STORED, "fit.svg", "plan.svg", PAGE]
    text = (tmp_path / PAGE).read_text("utf-8")
    assert not {"nan", "inf", "None"} & set(re.findall(r"\w+", text))
    for figure in re.findall(r"\]\((scaling/\w+\.svg)\)", text):
        assert digest(tmp_path / FOLDER / STORED) in (tmp_path / figure).read_text("utf-8")
    assert "| VGG-like | 2 | 64 | " in text
    assert "4 ranks on 2 cores" in text
    assert render_page(ScalingMeasurement.read(written[0])) == text


def test_the_page_is_up_to_date() -> None:
    stored = DOCS / FOLDER / STORED
    assert (DOCS / PAGE).read_text("utf-8") == render_page(ScalingMeasurement.read(stored))
    for name in FIGURES:
        assert digest(stored) in (DOCS / FOLDER / f"{name}.svg").read_text("utf-8")


# --- the ranks -----------------------------------------------------------------------------------

PROGRAM = """
import tinygrad_cnn as tg
from tinygrad_cnn.bench.scaling import rank
from tinygrad_cnn.bench.scaling.workloads import ScaledNetwork

def small(rng):
    return tg.nn.Sequential(
        tg.nn.Conv2d(3, 4, 3, rng=rng), tg.nn.BatchNorm2d(4), tg.nn.ReLU(), tg.nn.Flatten(),
        tg.nn.Linear(4 * 6 * 6, 10, rng=rng),
    )

rank.NETWORKS = {
    "small": ScaledNetwork(
        make=small, input_shape=(3, 8, 8), batch=8, alone=(), synchronized=True
    )
}
rank.SIZES = (1024, 4096)
rank.main(number=0, steps=3)
"""


@pytest.mark.parametrize("ranks", [1, 2])
def test_ranks_measure_their_steps(ranks: int) -> None:
    done = launch(ranks, "-c", PROGRAM)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["mpi"]
    rows = [StepRow(**row) for row in found["steps"]]
    assert [(row.ranks, row.batch) for row in rows] == [
        (ranks, 8 // k) for k in range(ranks, 0, -1)
    ]
    parameters = 4 * 3 * 9 + 4 + 4 + 4 + 4 * 6 * 6 * 10 + 10
    for row in rows:
        assert 0 < row.update < row.alone
        assert row.variation > 0
        if ranks == 2:  # the buckets hold a count of each parameter, too
            assert row.reduced == 4 * (parameters + 6)
            assert 0 < row.waited < row.in_flight < row.together
            assert row.at_once > 0
    sizes = [AllReduceRow(**row).size for row in found["all_reduces"]]
    assert sizes == ([1024, 4096] if ranks == 2 else [])
    if ranks == 1:
        messages = Messages.from_json(found["messages"]["small"])
        assert sum(bucket.size for bucket in messages.buckets) == 4 * (parameters + 6)
        assert messages.small == 1 + 3  # of one batch normalization
        ready = [bucket.ready for bucket in messages.buckets]
        assert ready == sorted(ready)
        assert 0 < ready[0] <= ready[-1] <= 1


def test_ranks_that_fail_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    failing = tmp_path / "mpiexec"
    failing.write_text("#!/bin/sh\necho first >&2\necho 'MemoryError: full' >&2\nexit 1\n")
    failing.chmod(0o755)
    monkeypatch.setattr(measurement, "find_mpiexec", lambda: str(failing))
    with pytest.raises(RuntimeError, match=r"^2 ranks: MemoryError: full$"):
        measure_scaling(ranks=(2, 1), rounds=1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"steps": 1}, "measure_scaling: steps is 1, expected"),
        ({"rounds": 0}, "measure_scaling: rounds is 0, expected"),
        ({"ranks": (1, 0)}, "measure_scaling: ranks is 0, expected"),
        ({"ranks": (2,)}, r"measure_scaling: ranks is \(2,\), expected 1, 2 and others"),
    ],
)
def test_a_measurement_that_cannot_be_fitted_is_refused(
    arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        measure_scaling(**arguments)


def test_a_machine_without_mpi_is_told_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda *args, **options: None)
    with pytest.raises(FileNotFoundError, match=r'no mpiexec: pip install "tinygrad_cnn\[mpi\]"'):
        measure_scaling()
