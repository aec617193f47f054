"""The figures of the page on scaling."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygrad_cnn.bench.scaling.fit import ScalingFit, all_reduces, median_cases
from tinygrad_cnn.bench.scaling.measurement import ScalingMeasurement
from tinygrad_cnn.bench.scaling.plan import EFFICIENT, INTERCONNECTS, RANKS, SHARED_BATCHES, SPEEDS
from tinygrad_cnn.bench.scaling.workloads import NETWORKS
from tinygrad_cnn.support.files import atomic_write, digest
from tinygrad_cnn.support.modules import needs_extra

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["FIGURES", "draw_figures"]

COLORS = ("#2b6777", "#c1440e", "#7a5195", "#c98b00", "#3f7d3f")
GRAY = "#5c5c5c"
STYLES: dict[tuple[int, str], Any] = {
    (SPEEDS[0], "halving"): "-",
    (SPEEDS[1], "halving"): (0, (4, 2)),
    (SPEEDS[1], "ring"): (0, (1, 1.5)),
}
SMALL = 9
SIZES = ("1 KiB", "4 KiB", "16 KiB", "64 KiB", "256 KiB", "1 MiB", "4 MiB", "16 MiB")


def draw_fit(figure: Figure, measurement: ScalingMeasurement, fit: ScalingFit) -> None:
    """Draw all-reduces by size, and steps measured against predicted, with the model's lines."""
    from matplotlib.ticker import LogLocator

    figure.set_size_inches(10.0, 4.2)
    left, right = figure.subplots(1, 2)
    counts = sorted({row.ranks for row in measurement.all_reduces})
    for ranks, color in zip(counts, COLORS, strict=False):
        found = all_reduces(measurement, ranks)
        sizes = np.geomspace(min(found), max(found), 100)
        memory = fit.memory_of(ranks)
        left.plot(found.keys(), [1e3 * each for each in found.values()], "o", color=color)
        left.plot(sizes, [1e3 * memory.all_reduce(size, ranks) for size in sizes], color=color,
                  label=_ranks(ranks, fit))  # fmt: skip
    left.set(xscale="log", yscale="log", xlabel="size of an all-reduce", ylabel="milliseconds")
    left.set_title("all-reduces: measured (points) and model", loc="left")
    measured = [case for case in median_cases(measurement) if NETWORKS[case.network].ranks]
    ends = []
    for ranks, color in zip(sorted({case.ranks for case in measured}), ("#1f1f1f", *COLORS),
                            strict=False):  # fmt: skip
        points = [
            (1e3 * fit.step(case.network, case.batch, case.ranks), 1e3 * case.seconds)
            for case in measured
            if case.ranks == ranks
        ]
        right.plot(*zip(*points, strict=True), "o", color=color, label=_ranks(ranks, fit))
        ends += [value for point in points for value in point]
    low, high = 0.7 * min(ends), 1.4 * max(ends)
    right.plot([low, high], [low, high], color=GRAY, linewidth=1.0, label="_")
    right.set(xscale="log", yscale="log", xlim=(low, high), ylim=(low, high))
    right.set(xlabel="predicted milliseconds of a step", ylabel="measured")
    right.set_title("steps", loc="left")
    left.set_xticks([2**k for k in range(10, 25, 2)], SIZES)
    left.minorticks_off()
    left.yaxis.set_major_formatter("{x:g}")
    for axis in (right.xaxis, right.yaxis):
        axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axis.set_major_formatter("{x:g}")
    right.minorticks_off()
    for axes in (left, right):
        axes.legend(frameon=False, labelcolor="linecolor")


def _ranks(ranks: int, fit: ScalingFit) -> str:
    shared = f" on {fit.cores} cores" if ranks > fit.cores else ""
    return f"{ranks} rank{'s' * (ranks > 1)}{shared}"


def draw_plan(figure: Figure, measurement: ScalingMeasurement, fit: ScalingFit) -> None:
    """Draw the predicted efficiency against the number of ranks, for two interconnects."""
    figure.set_size_inches(10.0, 7.0)
    panels = figure.subplots(2, len(INTERCONNECTS), sharex=True, sharey=True)
    for row, shared in zip(panels, (False, True), strict=True):
        for axes, (name, link) in zip(row, INTERCONNECTS.items(), strict=True):
            for (network, model), color in zip(fit.models.items(), COLORS, strict=False):
                efficiency = model.strong_efficiency if shared else model.efficiency
                batch = SHARED_BATCHES[-1] if shared else NETWORKS[network].batch
                for (speed, algorithm), style in STYLES.items():
                    values = [efficiency(batch, n, link.by(algorithm), 1 / speed) for n in RANKS]
                    label = network if style == "-" else "_"
                    axes.plot(RANKS, values, linestyle=style, color=color, label=label)
            axes.axhline(EFFICIENT, color=GRAY, linewidth=0.6, label="_")
            axes.set_xscale("log", base=2)
            axes.set(xlim=(1, RANKS[-1]), ylim=(0, 1.02))
            axes.set_xticks(RANKS[::2], [f"{n:,}" for n in RANKS[::2]])
            axes.yaxis.set_major_formatter(lambda share, place: f"{100 * share:.0f} %")
            what = f"{batch:,} images shared out" if shared else "a batch for each rank"
            axes.set_title(f"{name}, {what}", loc="left")
    for axes in panels[-1]:
        axes.set_xlabel("ranks")
    for axes in panels[:, 0]:
        axes.set_ylabel("efficiency")
    panels[0, 0].legend(frameon=False, labelcolor="linecolor", loc="lower left")
    for (speed, algorithm), style in STYLES.items():
        by = " in a ring" if algorithm == "ring" else ""
        panels[0, 1].plot([], [], linestyle=style, color=GRAY, label=f"speed {speed}{by}")
    panels[0, 1].legend(frameon=False, labelcolor="linecolor", loc="lower left",
                        handles=panels[0, 1].lines[-len(STYLES):])  # fmt: skip


FIGURES: Mapping[str, Callable[[Figure, ScalingMeasurement, ScalingFit], None]] = {
    "fit": draw_fit,
    "plan": draw_plan,
}
"""The functions that draw the figures, by file name."""


def draw_figures(path: str | os.PathLike[str], fit: ScalingFit) -> list[Path]:
    """Draw the figures of a stored measurement as SVG files beside it.

    The description of each contains the `digest` of the measurement.

    Raises
    ------
    ModuleNotFoundError
        If matplotlib is not installed; the message gives the install command.
    OSError
        If a file cannot be read or written.
    """
    with needs_extra("plots", "drawing the figures"):
        from matplotlib import rc_context
        from matplotlib.figure import Figure
    from tinygrad_cnn.train.plots import STYLE

    measurement, drawn = ScalingMeasurement.read(path), []
    for name, draw in FIGURES.items():
        settings = {"font.size": SMALL, "lines.linewidth": 1.5, "svg.hashsalt": name}
        with rc_context(STYLE | settings):
            figure = Figure(layout="constrained")
            draw(figure, measurement, fit)
            drawn.append(Path(path).with_name(f"{name}.svg"))
            with atomic_write(drawn[-1]) as file:
                figure.savefig(
                    file, format="svg", metadata={"Date": None, "Description": digest(path)}
                )
    return drawn
