"""The cost model fitted to a measurement, and its predictions compared with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import TypeVar

from tinygrad_cnn.bench.scaling.measurement import AllReduceRow, ScalingMeasurement, StepRow
from tinygrad_cnn.bench.scaling.model import Interconnect, StepModel, least_squares

__all__ = [
    "ScalingCase",
    "ScalingFit",
    "all_reduces",
    "efficiencies",
    "fit_scaling",
    "median_cases",
]

Row = TypeVar("Row", StepRow, AllReduceRow)

FITTED = 2  # ranks: larger numbers are predicted


@dataclass(frozen=True, slots=True, kw_only=True)
class ScalingCase:
    """The medians over the rounds of one network, number of ranks and batch; see `StepRow`."""

    network: str
    ranks: int
    batch: int
    alone: float
    update: float
    variation: float
    together: float
    waited: float
    in_flight: float
    at_once: float
    reduced: float

    @property
    def seconds(self) -> float:
        """The seconds of a step with all that its ranks send."""
        return self.together if self.ranks > 1 else self.alone

    @property
    def checked(self) -> bool:
        """Whether the model is checked with this case, instead of fitted to it."""
        return self.ranks > FITTED


def median_cases(measurement: ScalingMeasurement) -> list[ScalingCase]:
    """Return the medians over the rounds that count, by network, number of ranks and batch."""
    grouped: dict[tuple[str, int, int], list[StepRow]] = {}
    for row in _counted(measurement, measurement.steps):
        grouped.setdefault((row.network, row.ranks, row.batch), []).append(row)
    names = list(dict.fromkeys(name for name, *_ in grouped))
    return [
        ScalingCase(
            network=network,
            ranks=ranks,
            batch=batch,
            **{
                name: median(getattr(row, name) for row in rows)
                for name in ScalingCase.__slots__
                if name not in ("network", "ranks", "batch")
            },
        )
        for (network, ranks, batch), rows in sorted(
            grouped.items(), key=lambda item: (names.index(item[0][0]), *item[0][1:])
        )
    ]


@dataclass(frozen=True, slots=True)
class ScalingFit:
    """The factors of the cost model.

    Attributes
    ----------
    models : dict
        The `StepModel` of each network.
    memory : Interconnect
        The memory through which the ranks of this machine exchange messages.
    sharing : float
        The factor by which ranks on different cores slow down each other, where they share memory.
    per_byte : float
        The seconds to copy a byte of a gradient into its bucket and back.
    cores : int
    """

    models: dict[str, StepModel]
    memory: Interconnect
    sharing: float
    per_byte: float
    cores: int

    def turns(self, ranks: int) -> float:
        """Return the number of ranks that take turns on each core."""
        return max(ranks / self.cores, 1.0)

    def memory_of(self, ranks: int) -> Interconnect:
        """Return the memory as this many ranks see it: those that take turns get a share of it."""
        turns = self.turns(ranks)
        return replace(
            self.memory,
            latency=turns * self.memory.latency,
            bandwidth=self.memory.bandwidth / turns,
        )

    def step(self, network: str, batch: int, ranks: int) -> float:
        """Return the predicted seconds of a step on this machine."""
        slowdown = self.turns(ranks) * (self.sharing if ranks > 1 else 1.0)
        return self.models[network].step(batch, ranks, self.memory_of(ranks), slowdown).total


def efficiencies(
    measurement: ScalingMeasurement, case: ScalingCase, *, shared: bool = False, alone: bool = False
) -> list[float]:
    """Return the efficiency of a case in each round that counts.

    It is the number of images per second, over that of one rank times the number of ranks, or of
    cores if there are fewer.

    Parameters
    ----------
    measurement : ScalingMeasurement
    case : ScalingCase
    shared : bool
        Whether the one rank has the images of all ranks in its batch (strong scaling), not those
        of each (weak scaling).
    alone : bool
        Whether the ranks send nothing: the efficiency that communication starts from.
    """
    rows = {
        (row.ranks, row.batch, row.round): row
        for row in _counted(measurement, measurement.steps)
        if row.network == case.network
    }
    base = case.batch * case.ranks if shared else case.batch
    speed_up = 1 if shared else case.ranks
    found = []
    for (ranks, batch, number), row in rows.items():
        one = rows.get((1, base, number))
        if (ranks, batch) == (case.ranks, case.batch) and one is not None:
            seconds = row.alone if alone else row.together
            found.append(speed_up * one.alone / seconds / min(ranks, measurement.machine.cores))
    return found


def fit_scaling(measurement: ScalingMeasurement) -> ScalingFit:
    """Fit the model by least squares to the measurements of one and two ranks.

    Raises
    ------
    ValueError
        If one or two ranks were not measured.
    """
    found = median_cases(measurement)
    one = [case for case in found if case.ranks == 1]
    two = [case for case in found if case.ranks == FITTED]
    rows = all_reduces(measurement, FITTED)
    if not one or not two or not rows:
        raise ValueError(
            "fit_scaling: the measurement lacks steps of 1 or 2 ranks, or their all-reduces"
        )
    memory = _fit_memory(rows)
    models = {
        name: _fit_network(measurement, [case for case in one if case.network == name])
        for name in dict.fromkeys(case.network for case in one)
    }
    alone = [models[case.network].step(case.batch, 1, memory).total for case in two]
    (sharing,) = least_squares([alone], [case.alone for case in two])
    waiting = [models[case.network].step(case.batch, FITTED, memory).waiting for case in two]
    (per_byte,) = least_squares(
        [[sharing * models[case.network].size for case in two]],
        [case.together for case in two],
        known=[case.alone + case.at_once + wait for case, wait in zip(two, waiting, strict=True)],
    )
    models = {name: replace(model, per_byte=per_byte) for name, model in models.items()}
    return ScalingFit(models, memory, sharing, per_byte, measurement.machine.cores)


def all_reduces(measurement: ScalingMeasurement, ranks: int) -> dict[int, float]:
    """Return the seconds of all-reduces by size: the medians over the rounds that count."""
    every = _counted(measurement, measurement.all_reduces)
    rows = [row for row in every if row.ranks == ranks]
    return {
        size: median(row.seconds for row in rows if row.size == size)
        for size in sorted({row.size for row in rows})
    }


def _counted(measurement: ScalingMeasurement, rows: Sequence[Row]) -> list[Row]:
    """Return the rows of the rounds that count."""
    counted = set(measurement.counted)
    return [row for row in rows if row.round in counted]


def _fit_memory(found: Mapping[int, float]) -> Interconnect:
    """Fit latency and bandwidth to the all-reduces of two ranks: 2α + s/β."""
    latency, per_byte = least_squares([[2] * len(found), list(found)], list(found.values()))
    return Interconnect(latency=latency, bandwidth=1 / per_byte, beside=False)


def _fit_network(measurement: ScalingMeasurement, one: Sequence[ScalingCase]) -> StepModel:
    """Fit the compute of a network to the steps of one rank."""
    per_step, per_image = least_squares(
        [[1] * len(one), [case.batch for case in one]], [case.alone - case.update for case in one]
    )
    messages = measurement.messages[one[0].network]
    return StepModel(
        per_step=per_step,
        per_image=per_image,
        update=median(case.update for case in one),
        buckets=messages.buckets,
        messages=messages.small,
        variation=median(case.variation for case in one),
    )
