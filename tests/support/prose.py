"""Formulas in words, each with plain NumPy or loops that do what the words say.

Each is a function of the call: its arguments by name, ``g``, ``y`` and ``axes``. None uses an op.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from support import naive
from support.numeric import Array, adjoint, over_windows
from support.references import REFERENCES, fold, padded, resample, scattered, sum_to, unfold

Call = dict[str, Any]
POOLING = ("kernel_size", "stride", "padding", "dilation", "ceil_mode")
AVERAGING = ("kernel_size", "stride", "padding", "ceil_mode", "count_include_pad")


def windows(call: Call, image: tuple[int, ...]) -> Iterator[tuple[Any, list[tuple[int, ...]]]]:
    """Yield the index of each window, and its cells in the kernel's order, off the image too."""
    options = [call[name] for name in POOLING]
    rows, columns = naive.windows((image[2], image[3]), *options)
    for n, c in np.ndindex(image[:2]):
        for i, inside in enumerate(rows):
            for j, across in enumerate(columns):
                yield (n, c, i, j), [(n, c, r, k) for r in inside for k in across]


def in_image(cell: tuple[int, ...], image: tuple[int, ...]) -> bool:
    return all(0 <= k < length for k, length in zip(cell, image, strict=True))


def to_first_maximum(call: Call) -> Array:
    x = call["x"]
    gradient = np.zeros(x.shape)
    for at, cells in windows(call, x.shape):
        gradient[max((cell for cell in cells if in_image(cell, x.shape)), key=lambda c: x[c])] += (
            call["g"][at]
        )
    return gradient


def chosen(x: Array, call: Call) -> Array:
    """Return the chosen cell of each window."""
    y = np.zeros(call["winner"].shape)
    for at, cells in windows(call, x.shape):
        cell = cells[call["winner"][at]]
        y[at] = x[cell] if in_image(cell, x.shape) else 0.0
    return y


def at_chosen(u: Array, image: tuple[int, ...], call: Call) -> Array:
    """Return zeros with each value of u added at its window's chosen cell."""
    x = np.zeros(image)
    for at, cells in windows(call, image):
        cell = cells[call["winner"][at]]
        if in_image(cell, image):
            x[cell] += u[at]
    return x


def average(x: Array, call: Call) -> Array:
    return naive.avgpool(x, **{name: call[name] for name in AVERAGING})


def at_extreme(call: Call, choose: Callable[[Array], Any]) -> Array:
    """Return g where `choose` finds the extreme among what was reduced, in row-major order."""
    x = call["x"]
    gone = tuple(range(x.ndim)) if call["axes"] is None else call["axes"]
    gone = {a % x.ndim for a in (gone if isinstance(gone, tuple) else (gone,))}
    spread = np.broadcast_to(call["g"], x.shape)
    gradient = np.zeros(x.shape)
    for kept in np.ndindex(*(1 if a in gone else n for a, n in enumerate(x.shape))):
        part = tuple(slice(None) if a in gone else k for a, k in enumerate(kept))
        group = x[part]
        if group.ndim:
            place = np.unravel_index(choose(group), group.shape)
            gradient[part][place] = spread[part][place]
        else:
            gradient[part] = spread[part]
    return gradient


def onto_originals(call: Call) -> Array:
    """Return g added at the entry of x that each entry of the padded array copies."""
    size = call["x"].size
    entries = np.arange(size).reshape(call["x"].shape)
    copied = padded(entries, call["pad_width"], call["mode"], size)  # the constant copies none
    return np.bincount(copied.ravel(), call["g"].ravel(), size + 1)[:size].reshape(call["x"].shape)


def permuted_back(call: Call) -> Array:
    axes = call["axes_of_call"]
    axes = range(call["g"].ndim)[::-1] if axes is None else axes
    return np.moveaxis(call["g"], range(call["g"].ndim), axes)


def parts(call: Call) -> list[Array]:
    ends = np.cumsum([array.shape[call["axis"]] for array in call["arrays"]])[:-1]
    return np.split(call["g"], ends, axis=call["axis"])


WINDOWS = ("kernel_size", "dilation", "padding", "stride")
RESAMPLING = ("x", "old", "new", "mode", "factors", "align_corners", "adjoint")


def normalized(call: Call) -> Any:
    """Return a layer norm or group norm."""
    name = "group_norm" if "num_groups" in call else "layer_norm"
    shape = call["num_groups" if name == "group_norm" else "normalized_shape"]
    return REFERENCES[name](call["x"], shape, call["weight"], call["bias"], call["eps"])


def of_normalized(call: Call) -> Any:
    """Return its derivative with respect to x, row by row."""
    x, weight = call["x"], call["weight"]
    g = call["g"]
    if "num_groups" in call:
        rows = len(x) * call["num_groups"]
        if weight is not None:
            g = np.moveaxis(np.moveaxis(g, 1, -1) * weight, -1, 1)
    else:
        rows = x.size // np.prod(call["normalized_shape"])
        g = g if weight is None else g * weight
    found = []
    for row, flow in zip(x.reshape(rows, -1), g.reshape(rows, -1), strict=True):
        deviation = np.sqrt(row.var() + call["eps"])
        normal = (row - row.mean()) / deviation
        found.append((flow - flow.mean() - normal * (flow * normal).mean()) / deviation)
    return np.reshape(found, x.shape)


def of_scale(call: Call, flows: Any) -> Any:
    """Return the sum of `flows` for each entry of the scale."""
    if "num_groups" in call:
        return flows.sum(axis=(0, *range(2, flows.ndim)))
    return flows.reshape(-1, *call["normalized_shape"]).sum(axis=0)


def plain(call: Call) -> Any:
    """Return x̂."""
    return normalized({**call, "weight": None, "bias": None})


PROSE: dict[str, Callable[[Call], Any]] = {
    "w·(x − μ) / √(σ² + ε) + b, μ and σ² over the last axes": normalized,
    "w·(x − μ) / √(σ² + ε) + b, μ and σ² of groups of channels": normalized,
    "(w·g − mean w·g − x̂·mean w·g·x̂) / √(σ² + ε)": of_normalized,
    "Σ g·x̂ over the other axes": lambda v: of_scale(v, v["g"] * plain(v)),
    "Σ g·x̂ of each channel": lambda v: of_scale(v, v["g"] * plain(v)),
    "Σ g over the other axes": lambda v: of_scale(v, v["g"]),
    "Σ g of each channel": lambda v: of_scale(v, v["g"]),
    "Σ wᵣ·xᵣ / Σ wᵣ over the ranks r": lambda c: c["x"],  # of one rank
    "Σ wᵣ·gᵣ / Σ wᵣ over the ranks r": lambda c: c["g"],
    "the cells of x under each window, as columns": lambda c: unfold(
        c["x"], **{name: c[name] for name in WINDOWS}
    ),
    "the cells of g under each window, as columns": lambda c: unfold(
        c["g"], **{name: c[name] for name in WINDOWS}
    ),
    "zeros with Σ of columns at their cells": lambda c: fold(
        c["x"], c["output_size"], **{name: c[name] for name in WINDOWS}
    ),
    "columns of g added at their cells": lambda c: fold(
        c["g"], c["x"].shape[-2:], **{name: c[name] for name in WINDOWS}
    ),
    "x reshaped": lambda c: np.array(c["x"].ravel()).reshape(c["y"].shape),
    "g reshaped back": lambda c: np.array(c["g"].ravel()).reshape(c["x"].shape),
    "x with its axes permuted": lambda c: np.transpose(c["x"], c["axes_of_call"]),
    "g permuted back": permuted_back,
    "x repeated to a larger shape": lambda c: c["x"] + np.zeros(c["shape"]),
    "Σ of g over the repeats": lambda c: sum_to(c["g"], c["x"].shape),
    "Σ of x over broadcast axes": lambda c: sum_to(c["x"], c["shape"]),
    "x[index]": lambda c: c["x"][c["index"]],
    "g put back into zeros": lambda c: scattered(c["g"], c["index"], c["x"].shape),
    "weighted sums of neighbors in x": lambda c: resample(**{name: c[name] for name in RESAMPLING}),
    "g added to the neighbors, weighted": lambda c: resample(
        **{name: c[name] for name in RESAMPLING} | {"x": c["g"], "adjoint": not c["adjoint"]}
    ),
    "zeros with Σ of x at index": lambda c: scattered(c["x"], c["index"], c["shape"]),
    "g[index]": lambda c: c["g"][c["index"]],
    "x₁ ‖ x₂ ‖ …": lambda c: np.concatenate(c["arrays"], c["axis"]),
    "the parts of g": parts,
    "x₁, x₂, … along a new axis": lambda c: np.stack(c["arrays"], c["axis"]),
    "the slices of g": lambda c: [np.take(c["g"], i, c["axis"]) for i in range(len(c["arrays"]))],
    "x with a border": lambda c: padded(c["x"], c["pad_width"], c["mode"], c["value"]),
    "g without the border, whose copies are added to their originals": onto_originals,
    "Σ of x up to there": lambda c: np.cumsum(c["x"], c["axis"]),
    "Σ of g from there on": lambda c: adjoint(
        lambda x: np.cumsum(x, c["axis"]), c["g"], c["x"].shape
    ),
    "x reversed": lambda c: np.flip(c["x"], c["axis"]),
    "g reversed": lambda c: np.flip(c["g"], c["axis"]),
    "g at the first maximum, else 0": lambda c: at_extreme(c, np.argmax),
    "g at the first minimum, else 0": lambda c: at_extreme(c, np.argmin),
    "max of x under each window": lambda c: naive.maxpool(
        c["x"], **{name: c[name] for name in POOLING}
    )[0],
    "g at the first maximum of its window, else 0": to_first_maximum,
    "x at the chosen cell of each window": lambda c: chosen(c["x"], c),
    "g put at the chosen cells": lambda c: at_chosen(c["g"], c["x"].shape, c),
    "zeros with Σ of u at the chosen cells": lambda c: at_chosen(c["u"], c["shape"], c),
    "g at the chosen cells": lambda c: chosen(c["g"], c),
    "mean of x under each window": lambda c: average(c["x"], c),
    "mean of g under each window": lambda c: average(c["g"], c),
    "g / k shared over the window": lambda c: adjoint(
        lambda x: average(x, c), c["g"], c["x"].shape
    ),
    "u / k shared over each window": lambda c: adjoint(lambda x: average(x, c), c["u"], c["shape"]),
    "Σ over windows of g·x": lambda c: over_windows(c["g"], c["x"], c),
    "Σ over windows of u·x": lambda c: over_windows(c["u"], c["x"], c),
    "Σ over windows of u·g": lambda c: over_windows(c["u"], c["g"], c),
    "Σ over windows of x·g": lambda c: over_windows(c["x"], c["g"], c),
    "Σ over windows of g": lambda c: np.sum(c["g"], axis=(0, 2, 3)),
}
"""By the formula."""
