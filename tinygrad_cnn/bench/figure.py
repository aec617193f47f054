"""The roofline figure: multiply-adds per byte against rate, for each op of a step."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from tinygrad_cnn.bench.profile import OpCall, by_op, names
from tinygrad_cnn.bench.report import BenchmarkReport, Profile, Roofs
from tinygrad_cnn.bench.tables import MOST_CALLS
from tinygrad_cnn.support.files import atomic_write
from tinygrad_cnn.support.modules import needs_extra
from tinygrad_cnn.support.text import counted

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["draw_roofline"]

ROW = 2  # steps side by side
LABELED = 0.015  # share of a step; below, an op of a step with many has no label
FORWARD, BACKWARD, GRAY, ROOF = "#2b6777", "#c1440e", "#5c5c5c", "#1f1f1f"
GIGA = 1e9


def draw_roofline(report: BenchmarkReport, path: str | os.PathLike[str]) -> None:
    """Draw a roofline PNG: each op of a step against the machine's peak rates.

    Top: for each profiled step, the ops that multiply, as multiply-adds per byte moved against
    multiply-adds per second, below the roof set by memory and arithmetic. Bottom: the ops that only
    compare, add or move data, as bytes per second.

    Parameters
    ----------
    report : BenchmarkReport
        Must contain ops. For each step, the profile with the most threads is drawn.
    path : str or path-like
        The output file, written atomically.

    Raises
    ------
    ValueError
        If no op was measured.
    ModuleNotFoundError
        If matplotlib is not installed; the message gives the install command.
    OSError
        If the file cannot be written.
    """
    chosen: dict[str, tuple[Profile, Roofs]] = {}
    for profile in report.profiles:
        roofs = report.roofs_at(profile.threads)
        if roofs is not None:
            chosen[profile.workload.name] = profile, roofs  # the last profile has the most threads
    if not chosen:
        raise ValueError(
            "draw_roofline: the report has no ops; measure them, with 'ops' in the plan's parts"
        )
    with needs_extra("plots", "drawing the roofline"):
        from matplotlib import rc_context
        from matplotlib.figure import Figure
    from tinygrad_cnn.train.plots import STYLE

    with rc_context(STYLE | {"font.size": 9, "lines.linewidth": 1.5}):
        rows, columns = -(-len(chosen) // ROW), min(len(chosen), ROW)
        figure = Figure(figsize=(6.4 * columns, 8.6 * rows), dpi=150, layout="constrained")
        axes = figure.subplots(2 * rows, columns, squeeze=False, height_ratios=(1.7, 1.0) * rows)
        for k, (profile, roofs) in enumerate(chosen.values()):
            row, column = divmod(k, ROW)
            _roofline(axes[2 * row, column], profile, roofs)
            _movers(axes[2 * row + 1, column], profile, roofs)
        for k in range(len(chosen), rows * columns):
            for panel in axes[-2:, k % columns]:
                panel.set_axis_off()
        with atomic_write(path) as file:
            figure.savefig(file, format="png")


def _named(profile: Profile, alike: bool = True) -> list[tuple[str, OpCall]]:
    """Return the calls of a step by name; of many, those that are alike are one."""
    if len(profile.calls) <= MOST_CALLS:
        return list(zip(names(profile.calls), profile.calls, strict=True))
    return [
        (f"{call.op} ×{count}" if alike and count > 1 else call.op, call)
        for count, call in by_op(profile.calls, alike)
    ]


def _color(call: OpCall) -> str:
    return {"forward": FORWARD, "backward": BACKWARD}.get(call.direction, GRAY)


def _roofline(axes: Axes, profile: Profile, roofs: Roofs) -> None:
    """Draw the roof, and the ops that multiply below it."""
    points = [(name, call) for name, call in _named(profile) if call.rate and call.intensity]
    ridge = roofs.multiply_adds / roofs.bytes
    least = min([ridge, *(call.intensity for _, call in points)]) / 2
    most = max([ridge, *(call.intensity for _, call in points)]) * 4
    lowest = min([least * roofs.bytes, *(call.rate for _, call in points)]) / GIGA / 1.5
    highest = max([roofs.multiply_adds, *(call.rate for _, call in points)]) / GIGA * 1.7
    axes.set(xscale="log", yscale="log", xlim=(least, most), ylim=(lowest, highest))
    axes.plot(
        [least, ridge, most],
        [least * roofs.bytes / GIGA, roofs.multiply_adds / GIGA, roofs.multiply_adds / GIGA],
        color=ROOF,
    )
    threads = counted(profile.threads, "thread")
    axes.set_title(f"{profile.workload.title}, {threads}", loc="left", fontweight="bold")
    axes.annotate(
        f"products at best: {roofs.multiply_adds / GIGA:.0f} G/s",
        (ridge, roofs.multiply_adds / GIGA),  # left of it, where ops crowd under the roof
        xytext=(-8, 0), textcoords="offset points", ha="right", va="center", color=ROOF,
    )  # fmt: skip
    axes.annotate(
        f"memory: {roofs.bytes / GIGA:.0f} GB/s",
        ((least * ridge) ** 0.5, (least * ridge) ** 0.5 * roofs.bytes / GIGA),
        xytext=(-6, 4), textcoords="offset points", ha="right", color=ROOF,
    )  # fmt: skip
    for direction in ("forward", "backward", "update"):
        of_it = [call for _, call in points if call.direction == direction]
        if of_it:
            axes.plot(
                [call.intensity for call in of_it],
                [call.rate / GIGA for call in of_it],
                "o", ms=6, color=_color(of_it[0]), label=direction,
            )  # fmt: skip
    labeled = points
    if len(profile.calls) > MOST_CALLS:
        labeled = [p for p in points if p[1].seconds > LABELED * profile.seconds]
    _label(axes, labeled)
    axes.set_xlabel("multiply-adds per byte moved")
    axes.set_ylabel("10⁹ multiply-adds per second")
    axes.xaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_major_formatter("{x:g}")
    axes.legend(frameon=False, labelcolor="linecolor", loc="lower right")


def _label(axes: Axes, points: list[tuple[str, OpCall]]) -> None:
    """Label the points, placing each label where it overlaps the fewest points and labels."""
    figure = axes.figure
    figure.canvas.draw()  # so that positions in pixels are known
    spots = axes.transData.transform([(c.intensity, c.rate / GIGA) for _, c in points])
    height = figure.dpi / 72 * 9.0
    taken = [(x - height / 2, y - height / 2, x + height / 2, y + height / 2) for x, y in spots]
    scale = figure.dpi / 72
    for (name, call), (x, y) in sorted(
        zip(points, spots, strict=True), key=lambda item: -item[1][1]
    ):
        width = 0.55 * height * len(name)
        best: tuple[int, float, Any] | None = None
        for dx, dy in _places(width, height):
            box = (x + dx, y + dy - height / 2, x + dx + width, y + dy + height / 2)
            met = sum(_meet(box, other) for other in taken)
            if best is None or met < best[0]:
                best = met, dx, (dy, box)
            if met == 0:
                break
        assert best is not None
        _, dx, (dy, box) = best
        taken.append(box)
        axes.annotate(
            name,
            (call.intensity, call.rate / GIGA),
            xytext=(dx / scale, dy / scale), textcoords="offset points",
            va="center", fontsize=8, color=_color(call),
            arrowprops={"arrowstyle": "-", "lw": 0.5, "color": GRAY} if abs(dy) > height else None,
        )  # fmt: skip


def _places(width: float, height: float) -> list[tuple[float, float]]:
    """Return candidate label positions relative to a point, nearest first."""
    right, left, middle = 0.8 * height, -0.8 * height - width, -width / 2
    near = [(right, 0.0), (left, 0.0), (middle, height), (middle, -height)]
    far = [
        (side, sign * step * height)
        for step in (1.2, 2.2, 3.2, 4.4)
        for side in (right, left)
        for sign in (1, -1)
    ]
    return near + far


def _meet(a: tuple[float, ...], b: tuple[float, ...]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _movers(axes: Axes, profile: Profile, roofs: Roofs) -> None:
    """Draw the ops without multiply-adds: one bar each, showing bytes per second."""
    rows: dict[str, list[OpCall]] = {}
    for name, call in _named(profile, alike=False):
        if call.bandwidth and not call.multiply_adds:
            rows.setdefault(name, []).append(call)
    axes.axvline(roofs.bytes / GIGA, color=ROOF)
    for place, calls in enumerate(rows.values()):
        for call in calls:
            axes.plot(call.bandwidth / GIGA, place, "o", ms=6, color=_color(call))
    axes.set_yticks(range(len(rows)), list(rows), fontsize=8)
    axes.invert_yaxis()
    axes.set_xlim(left=0)
    axes.set_title("Ops that only compare, add or move", loc="left", color=GRAY, fontsize=9)
    axes.set_xlabel("GB moved per second; the line is what copying reaches")
