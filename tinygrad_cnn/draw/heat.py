"""What is out of order in a computation, and where: colours and marks for the nodes of a graph."""

from __future__ import annotations

import math
from bisect import bisect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Literal, TypeAlias

from tinygrad_cnn.draw.graph import Graph, Node
from tinygrad_cnn.draw.palette import DIVERGING, SEQUENTIAL, Fill

__all__ = ["HEATS", "MARKS", "Heat", "HeatKind", "Mark", "heat_of", "marks_of"]

HeatKind: TypeAlias = Literal["gradient", "time", "memory"]
HEATS: tuple[HeatKind, ...] = ("gradient", "time", "memory")

VANISHING = 1e2  # times smaller than both the median and where the sweep began
EXPLODING = 1e3  # times larger
DEAD = 0.9  # share of a ReLU's results that are 0
SHARES = (0.02, 0.05, 0.15, 0.3)  # of time or memory: where the next colour begins
SATURATED = 0.5  # share of a sigmoid's results next to its limits


@dataclass(frozen=True, slots=True)
class Mark:
    """A name for what is wrong with a node, and how its border shows it."""

    name: str
    sign: str
    meaning: str
    style: str


MARKS = {
    mark.name: mark
    for mark in (
        Mark("vanishing", "▼", "gradient over 100 times smaller than the median", "dashed"),
        Mark("exploding", "▲", "gradient over 1000 times larger than the median", "bold"),
        Mark("dead", "∅", "a ReLU, 90 % or more of it at zero", "dotted"),
        Mark("saturated", "◐", "half or more of it within 0.001 of its limits", "dotted"),
        Mark("NaN", "✕", "NaN or infinite entries", "bold"),
    )
}
"""By name; the border of a node has the style of its first mark."""


@dataclass(frozen=True)
class Heat:
    """The colours and marks of a graph.

    Attributes
    ----------
    kind : {"gradient", "time", "memory"}
    fills : dict of str to Fill
        By the id of the node; those that nothing is known of are not in it.
    marks : dict of str to tuple of Mark
        By the id of the node, the marks that it has.
    shares : dict of str to float
        By the id of the node: of the whole time, or memory.
    scale : tuple of (str, Fill)
        What the colours mean.
    order : str
        The same in words.
    middle : float
        The median of the norms, or the sum of times or bytes.
    """

    kind: HeatKind
    fills: dict[str, Fill]
    marks: Mapping[str, tuple[Mark, ...]]
    scale: tuple[tuple[str, Fill], ...]
    order: str
    middle: float
    shares: dict[str, float] = field(default_factory=dict)


def heat_of(graph: Graph, kind: HeatKind, marks: Mapping[str, tuple[Mark, ...]]) -> Heat:
    """Return the heat of a graph, folded or not; `marks` are those of `marks_of`."""
    return _gradient(graph, marks) if kind == "gradient" else _shares(graph, kind)


def marks_of(graph: Graph) -> dict[str, tuple[Mark, ...]]:
    """Return, by node, what is wrong with it.

    A gradient vanishes or explodes against two measures at once: the median of all norms, and the
    gradient that the sweep began with. So where it shrinks all the way, the nodes next to the loss
    are not said to explode.
    """
    middle = _median(graph.nodes)
    first = min(
        (node for node in graph.nodes if node.backward_step is not None and node.gradient),
        key=lambda node: node.backward_step or 0,
        default=None,
    )
    start = middle if first is None or first.gradient is None else first.gradient.norm
    low, high = min(middle, start) / VANISHING, max(middle, start) * EXPLODING
    found: dict[str, tuple[Mark, ...]] = {}
    for node in graph.nodes:
        names = []
        numbers = [n for n in (node.value, node.gradient) if n is not None]
        if any(n.nan or n.infinite for n in numbers):
            names.append("NaN")
        if node.gradient is not None and node.gradient.shape != (0,):
            if node.gradient.norm < low and not (node.gradient.nan or node.gradient.infinite):
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


def _median(nodes: Sequence[Node]) -> float:
    norms = [node.gradient.norm for node in nodes if node.gradient and node.gradient.norm > 0]
    return median(norms) if norms else 0.0


def _gradient(graph: Graph, marks: Mapping[str, tuple[Mark, ...]]) -> Heat:
    middle = _median(graph.nodes)
    half = len(DIVERGING) // 2
    fills = {}
    for node in graph.nodes:
        if node.gradient is None:
            continue
        power = -half
        if node.gradient.norm > 0 and middle > 0:
            power = round(math.log10(node.gradient.norm) - math.log10(middle))
        fills[node.id] = DIVERGING[min(max(power, -half), half) + half]
    names = ["÷10⁴", "÷1000", "÷100", "÷10", "median", "×10", "×100", "×1000", "×10⁴"]
    scale = tuple(zip(names, DIVERGING, strict=True))
    return Heat("gradient", fills, marks, scale, "from dark blue over white to brown", middle)


def _shares(graph: Graph, kind: HeatKind) -> Heat:
    amounts = {node.id: amount for node in graph.nodes if (amount := _amount(node, kind))}
    whole = math.fsum(amounts.values())
    shares = {key: amount / whole for key, amount in amounts.items()}
    fills = {key: SEQUENTIAL[bisect(SHARES, share)] for key, share in shares.items()}
    names = ["less", *(f"{share:.0%}".replace("%", " %") for share in SHARES)]
    scale = tuple(zip(names, SEQUENTIAL, strict=True))
    return Heat(kind, fills, {}, scale, "from white to brown", whole, shares)


def _amount(node: Node, kind: HeatKind) -> float:
    if kind == "memory":
        return node.bytes or 0
    return (node.seconds or 0.0) + (node.backward_seconds or 0.0)
