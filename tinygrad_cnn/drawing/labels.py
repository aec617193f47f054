"""Labels of nodes and edges: lines of text, each with a role."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from numpy.typing import NDArray

from tinygrad_cnn.drawing import text
from tinygrad_cnn.drawing.graph import DrawnEdge, DrawnNode, DrawnScope, Statistics
from tinygrad_cnn.drawing.heat import Heat
from tinygrad_cnn.drawing.style import PLAIN, Style
from tinygrad_cnn.support.text import citation, number, percent, shape_text

__all__ = ["Content", "Line", "TextRole", "edge_lines", "gradient_lines", "node_lines"]

TextRole: TypeAlias = Literal[
    "title", "text", "faint", "formula", "array", "gradient", "gradient array", "flow", "trouble"
]
ArraysById: TypeAlias = Mapping[str, NDArray[Any]]

MANY = 3  # more arguments of parallel edges than this are counted, not named


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a label; `beside` follows `text` in a faint color."""

    text: str
    role: TextRole = "text"
    beside: str = ""


@dataclass(frozen=True)
class Content:
    """The content of a drawing besides the graph itself.

    Attributes
    ----------
    values, gradients : bool
    heat : Heat or None
    node_values, node_gradients, edge_gradients : mapping of str to ndarray
        By id; small arrays are shown entry by entry.
    arrivals : mapping of str to sequence of str
        The ids of the edges that brought a gradient to a node, by node id.
    arguments : mapping of str to int
        The number of edges into a node, by node id.
    unframed : mapping of str to DrawnScope
        The scopes drawn without a frame because they hold a single node, by name.
    style : Style
    note : str
        A line of the heading that says how the drawing was simplified.
    """

    values: bool
    gradients: bool
    heat: Heat | None
    node_values: ArraysById
    node_gradients: ArraysById
    edge_gradients: ArraysById
    arrivals: Mapping[str, Sequence[str]]
    arguments: Mapping[str, int]
    unframed: Mapping[str, DrawnScope]
    style: Style = PLAIN
    note: str = ""

    def sum_digits(self, node: str) -> int | None:
        """Return the digits for the gradients that a node adds up: see `text.sum_digits`."""
        parts = [self.edge_gradients.get(edge) for edge in self.arrivals.get(node, ())]
        known = [part for part in parts if part is not None]
        total = self.node_gradients.get(node)
        if not self.values or len(parts) < 2 or total is None or len(known) < len(parts):
            return 3
        return text.sum_digits(known, total)


def node_lines(node: DrawnNode, content: Content) -> list[Line]:
    """Return the label of a node."""
    lines = [_title(node, content.unframed.get(node.scope))]
    if node.kind != "constant" and node.shape is not None:
        lines.append(Line(shape_text(node.shape), "faint", node.dtype))
    if content.heat is None:
        lines += _declared(node)
    if content.values and node.value is not None and node.kind != "constant":
        lines += _array("", node.value, content.node_values.get(node.id), "array")
    if content.gradients and node.gradient is not None:
        lines += _gradient(node, content)
    if content.heat is not None:
        lines += _heat(node, content.heat, content.gradients)
    if node.error:
        lines += [Line(part, "trouble") for part in _wrapped(f"✕ {node.error}")]
    if content.style.labels:
        return lines
    return lines[:1] + [line for line in lines[1:] if line.role == "trouble"]


def edge_lines(bundle: Sequence[DrawnEdge], content: Content) -> list[Line]:
    """Return the label of parallel edges: the arguments, if the call has several."""
    if not content.style.labels or content.arguments[bundle[0].target] == 1:
        return []
    counts = Counter(edge.argument for edge in bundle)
    names = [f"{name} × {count}" if count > 1 else name for name, count in counts.items()]
    return [Line(", ".join(names) if len(names) <= MANY else f"× {len(bundle)}", "faint")]


def gradient_lines(bundle: Sequence[DrawnEdge], content: Content) -> list[Line]:
    """Return the label of a backward arrow: the derivative and the gradient.

    Of parallel edges it is the number of gradients, and the norm of all their entries.
    """
    if not content.style.labels:
        return []
    if len(bundle) > 1:
        norms = [edge.gradient.norm for edge in bundle if edge.gradient is not None]
        norm = f"norm {number(math.hypot(*norms))}"
        return [Line(norm, "gradient", f"{len(norms)} gradients" if len(norms) > 1 else "")]
    (edge,) = bundle
    lines = []
    if edge.formula:
        formula = f"∂{edge.argument}: {edge.formula}"
        lines.append(Line(formula, "flow", citation(edge.equation)))
    if edge.gradient is not None:
        small = content.edge_gradients.get(edge.id) if content.values else None
        before, digits = shape_text(edge.gradient.shape), content.sum_digits(edge.source) or 3
        lines += _array(before, edge.gradient, small, "gradient", digits)
    return lines


def _title(node: DrawnNode, scope: DrawnScope | None) -> Line:
    name, beside = node.name, [node.op] if node.op != node.name else []
    if scope is not None and scope.repeat > 1:
        name = f"{scope.name}  × {scope.repeat}"
    elif scope is not None and node.kind == "op":
        beside.append(scope.name)
    if node.uses > 1:
        return Line(name or node.kind, "title", f"shared by {node.uses} calls")
    if node.kind in ("op", "module"):
        return Line(name, "title", " · ".join(filter(None, beside)))
    return Line(node.name or node.kind, "text" if node.kind == "constant" else "title")


def _declared(node: DrawnNode) -> list[Line]:
    """Return the lines of an op or module: formula, options, parameters and multiply-adds."""
    if node.kind == "module":
        counts = [f"{node.parameters:,} parameters"] if node.parameters else []
        counts += [f"{node.multiply_adds:,} multiply-adds"] if node.multiply_adds else []
        return [Line(count, "faint") for count in counts]
    lines = [Line(node.formula, "formula", citation(node.equation))] if node.formula else []
    shown = [text.option(*item) for item in node.options.items() if item[0] != "shape"]
    lines += [Line(", ".join(shown[i : i + 2]), "faint") for i in range(0, len(shown), 2)]
    if node.multiply_adds:
        lines.append(Line(f"{node.multiply_adds:,} multiply-adds", "faint"))
    return lines


def _array(
    before: str, numbers: Statistics, array: NDArray[Any] | None, role: TextRole, digits: int = 3
) -> list[Line]:
    """Return the entries of a small array, or the statistics of a large one."""
    rows = text.array_lines(array, digits) if array is not None else None
    if rows is not None:
        return [Line(row, "array" if role == "array" else "gradient array") for row in rows]
    if role == "array":
        return [Line(line, "faint") for line in text.statistics_lines(numbers)]
    return [Line(_flow(numbers), role, before)]


def _flow(numbers: Statistics) -> str:
    """Return the line of a gradient: the number itself, with its sign, if it is a single one."""
    if math.prod(numbers.shape) == 1 and numbers.mean is not None:
        return number(numbers.mean)
    parts = [f"norm {number(numbers.norm)}"]
    parts += [f"{percent(numbers.zero)} zero"] if numbers.zero else []
    return ", ".join(parts + text.troubles(numbers))


def _gradient(node: DrawnNode, content: Content) -> list[Line]:
    """Return the lines of a node's gradient, unless a single edge shows it already."""
    assert node.gradient is not None
    arrived = len(content.arrivals.get(node.id, ()))
    if node.differs:
        beside = ".grad, not only from here"
    elif node.uses > 1:
        beside = f"sum over {node.uses} calls"
    elif arrived == 1:
        return []
    else:
        about = "about the " if content.sum_digits(node.id) is None else ""
        beside = f"{about}sum of {arrived}" if arrived > 1 else "begins here"
    small = content.node_gradients.get(node.id) if content.values else None
    return [Line("gradient", "gradient", beside), *_array("", node.gradient, small, "gradient")]


def _heat(node: DrawnNode, heat: Heat, gradients: bool) -> list[Line]:
    lines = []
    if heat.kind == "gradient":
        if node.gradient is not None and not gradients:
            lines.append(Line(f"gradient {_flow(node.gradient)}", "text"))
        if node.cancels:
            lines.append(Line(f"its terms, of size {number(node.size)}, cancel", "faint"))
        if node.dead:
            lines.append(Line(f"{percent(node.dead)} of it at zero", "faint"))
        if node.saturated:
            lines.append(Line(f"{percent(node.saturated)} of it saturated", "faint"))
        lines += [Line(f"{m.sign} {m.name}", "trouble") for m in heat.marks.get(node.id, ())]
    elif node.id in heat.shares:
        lines.append(Line(percent(heat.shares[node.id]), "text", _amount(node, heat)))
    return lines


def _amount(node: DrawnNode, heat: Heat) -> str:
    if heat.kind == "memory":
        return text.size(node.bytes or 0)
    times = [f"{text.duration(node.seconds)} forward"] if node.seconds is not None else []
    if node.backward_seconds is not None:
        times.append(f"{text.duration(node.backward_seconds)} back")
    return ", ".join(times)


def _wrapped(message: str, width: int = 44) -> list[str]:
    """Return a message in lines of about `width` characters."""
    lines = [""]
    for word in message.split():
        if lines[-1] and len(lines[-1]) + len(word) >= width:
            lines.append(word)
        else:
            lines[-1] = f"{lines[-1]} {word}".strip()
    return lines
