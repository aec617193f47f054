"""Curves over several seeds: a line for the median, a band for the range."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from tinygrad_cnn.experiments.results import Numbers, Results

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis

__all__ = [
    "COLORS",
    "GRAY",
    "accuracy_axis",
    "draw_curve",
    "log_axis",
    "name_lines",
    "outer_labels",
]

COLORS = ("#2b6777", "#c1440e", "#7a5195", "#c98b00", "#3f7d3f", "#8c4a5b", "#4a6fa5", "#5c5c5c")
GRAY = "#5c5c5c"
HEIGHT = 12.0  # points between adjacent labels


def draw_curve(
    axes: Axes,
    results: Results,
    variant: str,
    measure: str,
    *,
    color: str,
    label: str = "",
    scale: float = 1.0,
    **style: Any,
) -> None:
    """Draw one measure of a variant: the median over seeds, and the band of their range.

    Parameters
    ----------
    axes : Axes
    results : Results
    variant, measure : str
    color : str
    label : str
        The label that `name_lines` writes beside the line; none by default.
    scale : float
        The horizontal position is the step times this, such as the seconds of a step.
    **style
        Passed to ``axes.plot``.
    """
    curve = results.curve(variant, measure)
    x = scale * curve.steps
    axes.plot(x, curve.median, color=color, label=label or "_", **style)
    if len(curve.seeds) > 1:
        axes.fill_between(x, curve.low, curve.high, color=color, alpha=0.16, linewidth=0)


def log_axis(axis: Axis) -> None:
    """Make an axis, ``axes.xaxis`` or ``axes.yaxis``, logarithmic with plain numbers.

    A range below three decades has ticks at 1, 2 and 5, so call it once the limits are set.
    """
    from matplotlib.ticker import LogLocator, NullLocator

    across = axis is axis.axes.xaxis
    axis.axes.set(**{"xscale" if across else "yscale": "log"})
    low, high = axis.get_view_interval()
    short = high / max(low, 1e-300) < 1e3
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if short else (1.0,)))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter("{x:g}")


def accuracy_axis(axes: Axes, lowest: float, highest: float) -> None:
    """Scale the vertical axis so that halving the error rate is the same distance everywhere.

    Parameters
    ----------
    axes : Axes
    lowest, highest : float
        Limits of the axis, below 1.
    """
    axes.set_yscale("function", functions=(_from_accuracy, _to_accuracy))
    axes.set_ylim(lowest, highest)
    marks = (0.0, 0.5, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.998, 0.999)
    axes.set_yticks([mark for mark in marks if lowest <= mark <= highest])
    axes.yaxis.set_major_formatter(lambda value, place: f"{100 * value:g} %")


def _from_accuracy(accuracy: ArrayLike) -> Numbers:
    return -np.log2(np.maximum(1.0 - np.asarray(accuracy, np.float64), 1e-9))


def _to_accuracy(halvings: ArrayLike) -> Numbers:
    return 1.0 - np.exp2(-np.asarray(halvings, np.float64))


def name_lines(*panels: Axes) -> None:
    """Write the label of each line beside its end, without overlaps.

    Call it once, last, with the panels of a figure, when their scales and limits are final: it
    draws the figure to lay it out.
    """
    figure = panels[0].get_figure(root=True)
    assert figure is not None
    figure.draw_without_rendering()  # the layout sets the height of the panels
    for panel in panels:
        _name_lines(panel)


def _name_lines(axes: Axes) -> None:
    named = []
    for line in axes.lines:
        points = np.column_stack([line.get_xdata(), line.get_ydata()]).astype(float)
        points = points[np.isfinite(points).all(axis=1)]
        label = str(line.get_label())
        if len(points) and not label.startswith("_"):
            place = (axes.transData + axes.transAxes.inverted()).transform(points[-1])
            named.append((float(place[1]), label, line.get_color(), tuple(points[-1])))
    if not named:
        return
    named.sort(key=lambda item: item[0])
    apart = HEIGHT / 72 * axes.figure.dpi / axes.bbox.height
    heights = [min(max(height, 0.0), 1.0) for height, *_ in named]
    for k in range(1, len(heights)):
        heights[k] = max(heights[k], heights[k - 1] + apart)
    top = 1.0 + apart / 2
    for k in reversed(range(len(heights))):
        heights[k] = min(heights[k], top)
        top = heights[k] - apart
    for height, (_, label, color, end) in zip(heights, named, strict=True):
        axes.annotate(
            label, end, xytext=(1.03, height), textcoords="axes fraction",
            color=color, fontsize=9, va="center", annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": color, "lw": 0.5, "alpha": 0.6,
                        "shrinkA": 1.0, "shrinkB": 1.0},
        )  # fmt: skip


def outer_labels(panels: Any, rows: Sequence[str]) -> None:
    """Label the rows of a grid of panels at its left edge."""
    for axes, label in zip(panels[:, 0], rows, strict=True):
        axes.set_ylabel(label)


def shades(count: int) -> list[str]:
    """Return colors for ordered values, from lowest to highest."""
    from matplotlib import colormaps
    from matplotlib.colors import to_hex

    return [to_hex(color) for color in colormaps["viridis"](np.linspace(0.0, 0.88, count))]
