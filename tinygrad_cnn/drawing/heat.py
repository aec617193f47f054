"""Heat maps: colors and marks for vanishing, exploding, dead, saturated and NaN nodes.

A gradient is measured by `DrawnNode.size`, the size of its terms. Where they cancel, as for a bias
before a batch norm, a norm of 0 does not mean that the gradient vanished.
"""

from __future__ import annotations

import math
from bisect import bisect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Literal, TypeAlias

from tinygrad_cnn.drawing.graph import DrawnEdge, DrawnGraph, DrawnNode, Statistics
from tinygrad_cnn.drawing.palette import DIVERGING, SEQUENTIAL, Fill
from tinygrad_cnn.support.text import percent

__all__ = ["HEATS", "MARKS", "Heat", "HeatKind", "Mark", "heat_of", "marks_of"]

HeatKind: TypeAlias = Literal["gradient", "time", "memory"]
HEATS: tuple[HeatKind, ...] = ("gradient", "time", "memory")

VANISHING = 1e2  # times smaller than both the median and the first gradient
EXPLODING = 1e3  # times larger
DEAD = 0.9  # share of a ReLU's results that are 0
SHARES = (0.02, 0.05, 0.15, 0.3)  # of time or memory: thresholds between colors
SATURATED = 0.5  # share of a sigmoid's results near its limits


@dataclass(frozen=True, slots=True)
class Mark:
    """A problem of a node: its name, meaning and border style."""

    name: str
    sign: str
    meaning: str
    style: str


MARKS = {
    mark.name: mark
    for mark in (
        Mark("first NaN", "✕", "where NaN or infinite entries first appeared", "bold"),
        Mark("NaN", "×", "NaN or infinite entries that came from there", "solid"),
        Mark("vanishing", "▼", "gradient over 100 times smaller than the median", "dashed"),
        Mark("exploding", "▲", "gradient over 1000 times larger than the median", "bold"),
        Mark("dead", "∅", "a unit, 90 % or more of it at zero", "dotted"),
        Mark("saturated", "◐", "half or more of it within 0.001 of its limits", "dotted"),
    )
}
"""All marks, by name; a node's border has the style of its first mark."""


@dataclass(frozen=True)
class Heat:
    """The colors and marks of a graph.

    Attributes
    ----------
    kind : {"gradient", "time", "memory"}
    fills : dict of str to Fill
        The fill of each node, by id; nodes without data are missing.
    marks : dict of str to tuple of Mark
        The marks of each node, by id.
    shares : dict of str to float
        The share of the total time or memory, by node id.
    scale : tuple of (str, Fill)
        The legend of the colors.
    order : str
        The order of the scale, in words.
    middle : float
        The median of the norms, or the sum of times or bytes.
    cancels : bool
        Whether some gradient is measured by its terms because they cancel.
    """

    kind: HeatKind
    fills: dict[str, Fill]
    marks: Mapping[str, tuple[Mark, ...]]
    scale: tuple[tuple[str, Fill], ...]
    order: str
    middle: float
    shares: dict[str, float] = field(default_factory=dict)
    cancels: bool = False


def heat_of(graph: DrawnGraph, kind: HeatKind, marks: Mapping[str, tuple[Mark, ...]]) -> Heat:
    """Return the heat of a graph, folded or not; `marks` come from `marks_of`."""
    return _gradient(graph, marks) if kind == "gradient" else _shares(graph, kind)


def marks_of(graph: DrawnGraph) -> dict[str, tuple[Mark, ...]]:
    """Return the marks of each node, by id.

    A gradient vanishes or explodes relative to two measures at once: the median norm and the first
    gradient of the backward pass. So if gradients shrink steadily, the nodes near the loss are not
    marked as exploding. If a gradient is NaN or infinite, the sizes of the others are not judged.
    One of the nodes with NaN or infinite entries is marked as the first.
    """
    middle = _median(graph.nodes)
    first_nan = _first_nan(graph)
    first = min(
        (node for node in graph.nodes if node.backward_step is not None and node.gradient),
        key=lambda node: node.backward_step or 0,
        default=None,
    )
    start = middle if first is None else first.size
    is_finite = not any(_rank(node.gradient) for node in graph.nodes)
    low, high = min(middle, start) / VANISHING, max(middle, start) * EXPLODING
    found: dict[str, tuple[Mark, ...]] = {}
    for node in graph.nodes:
        names = []
        if node.id == first_nan:
            names.append("first NaN")
        elif _rank(node.value) or _rank(node.gradient):
            names.append("NaN")
        if node.gradient is not None and 0 not in node.gradient.shape and is_finite:
            if node.size < low:
                names.append("vanishing")
            if node.gradient.norm > high:
                names.append("exploding")
        if node.dead is not None and node.dead >= DEAD:
            names.append("dead")
        if node.saturated is not None and node.saturated >= SATURATED:
            names.append("saturated")
        if names:
            found[node.id] = tuple(MARKS[name] for name in names)
    return found


def _first_nan(graph: DrawnGraph) -> str | None:
    """Return the node where NaN or infinite entries first appeared, forward or else backward.

    The causes of a node are the non-finite nodes that it was computed from, without non-finite
    arguments of their own; in the backward pass, the calls that received a finite gradient and sent
    another. Of the causes of the first NaN, the first in time is marked; without any NaN, those of
    the first infinite entry, since an infinity alone may be meant, as in a mask.
    """
    arguments: dict[str, list[DrawnEdge]] = {node.id: [] for node in graph.nodes}
    uses: dict[str, list[DrawnEdge]] = {node.id: [] for node in graph.nodes}
    for edge in graph.edges:
        arguments[edge.target].append(edge)
        uses[edge.source].append(edge)
    known = {node.id: node for node in graph.nodes}
    ahead = {node.id: i for i, node in enumerate(graph.nodes)}
    swept = sorted(graph.nodes, key=lambda node: _turn(node.backward_step))
    back = {node.id: i for i, node in enumerate(swept)}

    def made(key: str) -> list[str]:
        sources = [edge.source for edge in arguments[key]]
        return [source for source in sources if _rank(known[source].value)]

    def sent(key: str) -> list[str]:
        return [edge.target for edge in uses[key] if _rank(edge.gradient)]

    for rank in (2, 1):
        for node in graph.nodes:
            if _rank(node.value) == rank:
                return min(_roots(node.id, made), key=ahead.__getitem__)
        for node in swept:
            if _rank(node.gradient) == rank:
                return min(_roots(node.id, sent), key=back.__getitem__)
    return None


def _roots(key: str, causes: Callable[[str], list[str]]) -> list[str]:
    """Return the causes of `key` that have no cause themselves."""
    seen, stack, found = {key}, [key], []
    while stack:
        one = stack.pop()
        before = causes(one)
        if not before:
            found.append(one)
        stack += [other for other in before if other not in seen]
        seen.update(before)
    return found


def _turn(step: int | None) -> float:
    return math.inf if step is None else step


def _rank(numbers: Statistics | None) -> int:
    """Return 2 for an array with NaN, 1 for one with infinite entries, else 0."""
    if numbers is None:
        return 0
    return 2 if numbers.nan else 1 if numbers.infinite else 0


def _median(nodes: Sequence[DrawnNode]) -> float:
    sizes = [node.size for node in nodes if node.size > 0]
    return median(sizes) if sizes else 0.0


def _gradient(graph: DrawnGraph, marks: Mapping[str, tuple[Mark, ...]]) -> Heat:
    middle = _median(graph.nodes)
    half = len(DIVERGING) // 2
    fills = {}
    for node in graph.nodes:
        if node.gradient is None:
            continue
        power = -half
        if node.size > 0 and middle > 0:
            power = round(math.log10(node.size) - math.log10(middle))
        fills[node.id] = DIVERGING[min(max(power, -half), half) + half]
    names = ["÷10⁴", "÷1000", "÷100", "÷10", "median", "×10", "×100", "×1000", "×10⁴"]
    scale = tuple(zip(names, DIVERGING, strict=True))
    cancels = any(node.cancels for node in graph.nodes)
    order = "from dark blue over white to brown"
    return Heat("gradient", fills, marks, scale, order, middle, cancels=cancels)


def _shares(graph: DrawnGraph, kind: HeatKind) -> Heat:
    amounts = {node.id: amount for node in graph.nodes if (amount := _amount(node, kind))}
    whole = math.fsum(amounts.values())
    shares = {key: amount / whole for key, amount in amounts.items()}
    fills = {key: SEQUENTIAL[bisect(SHARES, share)] for key, share in shares.items()}
    names = ["less", *(percent(share) for share in SHARES)]
    scale = tuple(zip(names, SEQUENTIAL, strict=True))
    return Heat(kind, fills, {}, scale, "from white to brown", whole, shares)


def _amount(node: DrawnNode, kind: HeatKind) -> float:
    if kind == "memory":
        return node.bytes or 0
    return (node.seconds or 0.0) + (node.backward_seconds or 0.0)
