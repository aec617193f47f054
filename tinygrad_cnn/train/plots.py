"""Plots of a run: loss and accuracy by epoch."""

from __future__ import annotations

import math
import os
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

from tinygrad_cnn.support.files import atomic_write
from tinygrad_cnn.support.modules import needs_extra
from tinygrad_cnn.train.history import COLUMNS, History

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["plot_history"]

TRAINING, VALIDATION, GRAY = "#9db4c0", "#c1440e", "#5c5c5c"
STYLE: Any = {
    "font.size": 10,
    "axes.edgecolor": GRAY,
    "axes.labelcolor": GRAY,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#ececec",
    "xtick.color": GRAY,
    "ytick.color": GRAY,
    "lines.linewidth": 2.0,
    "lines.markersize": 4.0,
    "lines.solid_capstyle": "round",
}


def plot_history(
    history: History,
    path: str | os.PathLike[str],
    title: str = "",
    held_out: str = "validation",
) -> None:
    """Plot the curves of a run to a PNG file, written atomically: loss, accuracy, further metrics.

    Parameters
    ----------
    history : History
        At least one epoch.
    path : str or path-like
        The file.
    title : str
        The title of the figure.
    held_out : str
        The label of the validation curves.

    Raises
    ------
    ValueError
        If the history is empty.
    ModuleNotFoundError
        If matplotlib is not installed; the message has the command to install it.
    OSError
        If the file cannot be written.

    Examples
    --------
    >>> plot_history(History(), "curves.png")
    Traceback (most recent call last):
        ...
    ValueError: plot_history: the history is empty
    """
    if not history:
        raise ValueError("plot_history: the history is empty")
    with needs_extra("plots", "drawing curves"):
        from matplotlib import rc_context
        from matplotlib.figure import Figure
        from matplotlib.ticker import LogLocator, NullLocator, PercentFormatter
    with rc_context(STYLE):
        further = _further(history)
        rows = 1 + (len(further) + 1) // 2
        figure = Figure(figsize=(9.0, 3.8 * rows), dpi=150, layout="constrained")
        left, right, *panels = figure.subplots(rows, 2).flat
        _curves(left, history, "loss", held_out)
        _curves(right, history, "accuracy", held_out)
        for axes, measure in zip_longest(panels, further):
            if measure is None:
                axes.remove()
            else:
                _curves(axes, history, measure, held_out)
        if left.dataLim.y0 > 0:
            left.set_yscale("log")
            left.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
            left.yaxis.set_minor_locator(NullLocator())
        left.yaxis.set_major_formatter("{x:g}")
        right.set_ylim(bottom=_lowest(history))
        right.yaxis.set_major_formatter(PercentFormatter(1.0, symbol=" %"))
        if title:
            figure.suptitle(title, x=0.01, ha="left", fontsize=11, fontweight="bold")
        with atomic_write(path) as file:
            figure.savefig(file, format="png")


def _further(history: History) -> list[str]:
    """Return the further metrics that have values, each once for both sets."""
    columns = history.columns[len(COLUMNS) :]
    columns = tuple(name for name in columns if any(map(math.isfinite, history.column(name))))
    return list(dict.fromkeys(name.removeprefix("validation_") for name in columns))


def _lowest(history: History) -> float | None:
    """Return the lower limit of accuracies: at most the first training value is cut off."""
    first, rest = history[0], history[1:]
    seen = [first.validation_accuracy]
    seen += [value for row in rest for value in (row.accuracy, row.validation_accuracy)]
    known = [value for value in seen if not math.isnan(value)]
    if len(rest) < 3 or not known:
        return None
    return min(known) - 0.1 * (1.0 - min(known)) - 0.001


def _curves(axes: Axes, history: History, measure: str, held_out: str) -> None:
    """Plot one metric of both sets, each labeled at the end of its line."""
    from matplotlib.ticker import MaxNLocator

    epochs = history.column("epoch")
    sets = [
        ("training", measure, TRAINING),
        (held_out, f"validation_{measure}", VALIDATION),
    ]
    for label, column, color in sets:
        values = history.column(column) if column in history.columns else [math.nan]
        if not all(map(math.isnan, values)):
            share = measure == "accuracy"
            last = f"{values[-1] * 100:.2f} %" if share else f"{values[-1]:.3g}"
            axes.plot(epochs, values, color=color, marker="o", label=f"{label}  {last}")
    axes.set_title(measure, loc="left", color=GRAY, fontsize=10)
    axes.set_xlabel("epoch")
    locator: Any = MaxNLocator(integer=True, min_n_ticks=1)
    axes.xaxis.set_major_locator(locator)
    axes.set_xlim(0.7, max(epochs) + 0.3)
    axes.legend(
        frameon=False,
        labelcolor="linecolor",
        loc="upper right" if measure == "loss" else "lower right",
    )
