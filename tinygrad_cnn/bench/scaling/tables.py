"""The tables of the page on scaling."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from tinygrad_cnn.bench.scaling.fit import ScalingCase, ScalingFit, efficiencies, median_cases
from tinygrad_cnn.bench.scaling.measurement import ScalingMeasurement
from tinygrad_cnn.bench.scaling.plan import EFFICIENT, PLANNED, SHARED_BATCHES, ScalingPlan
from tinygrad_cnn.bench.scaling.workloads import NETWORKS
from tinygrad_cnn.support.text import markdown_table, number, percent

__all__ = [
    "communication",
    "error",
    "factors",
    "plan_table",
    "predictions",
    "ranks_table",
    "steps",
]


def steps(measurement: ScalingMeasurement, *, shared: bool) -> str:
    """Return the efficiency for each number of ranks.

    Parameters
    ----------
    measurement : ScalingMeasurement
    shared : bool
        Whether the ranks share out the network's batch, or have one each.
    """
    header = ["network", "ranks", "images of a rank", "ms of a step", "images per second",
              "efficiency", "without messages"]  # fmt: skip
    rows = []
    for case in median_cases(measurement):
        network = NETWORKS[case.network]
        if network.ranks and case.batch == network.batch // (case.ranks if shared else 1):
            efficiency = [
                _spread(efficiencies(measurement, case, shared=shared, alone=alone))
                for alone in (False, True)
                if case.ranks > 1
            ]
            rows.append([
                case.network,
                case.ranks,
                case.batch,
                _milliseconds(case.seconds),
                _figure(case.ranks * case.batch / case.seconds),
                *(efficiency or ["", ""]),
            ])  # fmt: skip
    return markdown_table(header, rows)


def _milliseconds(seconds: float) -> str:
    return _figure(1e3 * seconds)


def _figure(x: float) -> str:
    """Return three digits, or all of a large number: "12.3", "1,234"."""
    return number(x) if x < 999.5 else f"{x:,.0f}"


def _spread(values: Sequence[float]) -> str:
    """Return the median and the range: "0.93 (0.91 – 0.95)"."""
    if not values:
        return "–"
    return f"{median(values):.2f} ({min(values):.2f} – {max(values):.2f})"


def communication(found: Sequence[ScalingCase]) -> str:
    """Return what several ranks send in a step, and what it costs."""
    header = ["network", "ranks", "images of a rank", "MB summed", "MB sent by a rank",
              "at once, ms", "in flight, ms", "waiting, ms", "hidden", "longer, ms"]  # fmt: skip
    rows = [
        [
            case.network,
            case.ranks,
            case.batch,
            number(case.reduced / 1e6),
            number(2 * (case.ranks - 1) / case.ranks * case.reduced / 1e6),
            _milliseconds(case.at_once),
            _milliseconds(case.in_flight),
            _milliseconds(case.waited),
            percent(1 - case.waited / case.in_flight),
            _milliseconds(case.together - case.alone),
        ]
        for case in found
        if case.ranks > 1
    ]
    return markdown_table(header, rows)


def factors(fit: ScalingFit) -> str:
    """Return the fitted factors of each network."""
    header = ["network", "a₀, ms", "a₁, ms", "update u, ms", "gradients, MB", "buckets", "o",
              "variation σ"]  # fmt: skip
    rows = [
        [
            name,
            _milliseconds(each.per_step),
            _milliseconds(each.per_image),
            _milliseconds(each.update),
            number(each.size / 1e6),
            len(each.buckets),
            each.messages,
            percent(each.variation, 1),
        ]
        for name, each in fit.models.items()
    ]
    return markdown_table(header, rows)


def error(case: ScalingCase, fit: ScalingFit) -> float:
    """Return the relative error of the predicted seconds of a step."""
    return fit.step(case.network, case.batch, case.ranks) / case.seconds - 1


def predictions(found: Sequence[ScalingCase], fit: ScalingFit) -> str:
    """Return the predicted steps compared with the measured ones."""
    header = ["network", "ranks", "images of a rank", "predicted, ms", "measured, ms", "error", ""]
    rows = [
        [
            case.network,
            case.ranks,
            case.batch,
            _milliseconds(fit.step(case.network, case.batch, case.ranks)),
            _milliseconds(case.seconds),
            f"{100 * error(case, fit):+.1f} %".replace("-", "−"),
            "checked" if case.checked else "fitted",
        ]
        for case in found
    ]
    return markdown_table(header, rows, "<>>>>><")


def plan_table(found: Sequence[ScalingPlan]) -> str:
    """Return efficiency, hidden communication and images of a rank, by number of ranks."""
    header = ["network", "interconnect", "speed"]
    for measure in ("efficiency", "hidden", f"images for {100 * EFFICIENT:g} %"):
        header += [f"{measure}, {PLANNED[0]:,} ranks", *(f"{n:,}" for n in PLANNED[1:])]
    rows = [
        [
            plan.network,
            plan.interconnect,
            plan.speed,
            *(f"{each:.2f}" for each in plan.efficiency),
            *(percent(each) for each in plan.hidden),
            *("none" if each is None else f"{each:,}" for each in plan.images),
        ]
        for plan in found
    ]
    return markdown_table(header, rows, "<<>")


def ranks_table(found: Sequence[ScalingPlan]) -> str:
    """Return the most ranks that share out a batch efficiently."""
    header = ["network", "interconnect", "speed", f"most ranks for {SHARED_BATCHES[0]} images",
              *(f"{batch:,}" for batch in SHARED_BATCHES[1:])]  # fmt: skip
    rows = [
        [plan.network, plan.interconnect, plan.speed, *(f"{each:,}" for each in plan.most)]
        for plan in found
    ]
    return markdown_table(header, rows, "<<>")
