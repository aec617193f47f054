"""Write a graph as DOT, the language of Graphviz."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence, Set
from html import escape
from itertools import chain

from tinygrad_cnn.core.recording import SWEEP
from tinygrad_cnn.drawing import palette
from tinygrad_cnn.drawing.arrangement import Arrangement, bundles
from tinygrad_cnn.drawing.graph import DrawnEdge, DrawnGraph, DrawnNode, DrawnScope
from tinygrad_cnn.drawing.heat import MARKS, Heat, Mark
from tinygrad_cnn.drawing.labels import (
    Content,
    Line,
    TextRole,
    edge_lines,
    gradient_lines,
    node_lines,
)
from tinygrad_cnn.drawing.palette import Fill
from tinygrad_cnn.drawing.style import RANKDIRS, Style
from tinygrad_cnn.support.text import number

__all__ = ["unframed", "write_dot"]

SIZES: Mapping[TextRole, int] = {"title": 12}  # in points; other roles: 10
SHAPES = {
    "op": 'shape=box style="rounded,filled{}"',
    "module": 'shape=box style="rounded,filled{}" peripheries=2',
    "parameter": 'shape=box style="filled{}"',
    "input": 'shape=ellipse style="filled{}" margin="0.02,0.02"',
    "constant": 'shape=plaintext style="solid{}" margin="0.03,0"',
    "error": 'shape=octagon style="filled{}"',
}
COLORED = ("flow", "gradient", "gradient array")
FILLS = {"module": palette.MODULE, "parameter": palette.PARAMETER, "input": palette.INPUT}

WriteLabel = Callable[[Sequence[Line], Fill, str], str]


def write_dot(graph: DrawnGraph, content: Content, *, background: str, rich: bool) -> str:
    """Return a graph as DOT.

    Parameters
    ----------
    graph : DrawnGraph
    content : Content
        The content to show.
    background : str
        A color, or "transparent".
    rich : bool
        Whether to use Graphviz's HTML-like labels, with several font sizes and colors. They need
        a Graphviz built with expat.
    """
    label = _rich if rich else _plain
    font = _quoted(content.style.font)
    arrangement = Arrangement.of(graph, content.unframed.keys())
    lines = [
        f"digraph {_quoted(graph.title or 'graph')} {{",
        f'  graph [bgcolor="{background}" fontname={font} fontsize=12 '
        f'fontcolor="{palette.INK.light}" nodesep=0.3 ranksep=0.35 pad=0.1'
        f"{_page(content.style)}{_heading(graph, content, rich)}]",
        f'  node [fontname={font} fontsize=10 margin="0.12,0.06" height=0.3 width=0.4 '
        f'color="{palette.LINE.light}" fontcolor="{palette.INK.light}"]',
        f'  edge [fontname={font} fontsize=10 color="{palette.LINE.light}" '
        f'fontcolor="{palette.FAINT.light}" arrowsize=0.6]',
    ]
    lines += [_node(node, content, label) for node in graph.nodes]
    lines += _clusters(graph, content.unframed, arrangement)
    for row in arrangement.rows:
        lines.append(f"  {_same_rank(row)}")
        lines += [f"  {' -> '.join(row)} [style=invis weight=0]"] * (len(row) > 1)
    calls = {node.id for node in graph.nodes if node.step is not None}
    for bundle in bundles(graph):
        lines += _edges(bundle, content, label, bundle[0].source in calls, arrangement)
    lines += _lower(graph, calls, content.unframed, arrangement)
    text = "\n".join([*lines, "}"]) + "\n"
    return palette.darkened(text) if content.style.theme == "dark" else text


def _page(style: Style) -> str:
    """Return the graph's attributes of direction and size."""
    turned = "" if style.rankdir == "TB" else f" rankdir={style.rankdir}"
    return turned + ("" if style.size is None else ' size="{:g},{:g}"'.format(*style.size))


def _same_rank(row: Sequence[str]) -> str:
    """Return the statement that puts nodes in one row."""
    return f"{{rank=same; {'; '.join(row)}}}"


def _node(node: DrawnNode, content: Content, label: WriteLabel) -> str:
    fill = FILLS.get(node.kind, palette.CARD)
    marks: tuple[Mark, ...] = ()
    if content.heat is not None:
        fill = content.heat.fills.get(node.id, palette.UNKNOWN)
        marks = content.heat.marks.get(node.id, ())
    border = fill.border
    if SWEEP in node.scope.split("."):
        border = palette.GRADIENT
    extra = f",{marks[0].style}" if marks else ""
    if marks or node.error:
        border = palette.TROUBLE
        extra += ",bold" if extra not in (",bold", ",solid") else ""
    stopped = node.error or any(mark.name == "first NaN" for mark in marks)
    shape = SHAPES["error" if stopped else node.kind].format(extra)
    lines = node_lines(node, content)
    align = "CENTER" if node.kind == "input" else "LEFT"
    classes = " ".join([node.kind, *(mark.name.replace(" ", "-") for mark in marks)])
    return (
        f'  {node.id} [id="{node.id}" class="{classes}" '
        f'{shape} fillcolor="{fill.area.light}" color="{border.light}" '
        f'fontcolor="{fill.text.light}" label={label(lines, fill, align)}]'
    )


def _edges(
    bundle: Sequence[DrawnEdge],
    content: Content,
    label: WriteLabel,
    from_call: bool,
    arrangement: Arrangement,
) -> list[str]:
    """Return the lines of parallel edges: an arrow, and one back if gradients are shown."""
    edge, fill = bundle[0], palette.CARD
    turned = edge.id in arrangement.reversed
    tail, head = (edge.target, edge.source) if turned else (edge.source, edge.target)
    forward, backward = (" dir=back", "") if turned else ("", " dir=back")
    way = f"  {tail} -> {head}"
    if edge.loop:
        return [f'{way} [id="{edge.id}" class="forward loop" constraint=false style=dashed]']
    straight = " weight=100" if from_call else ""  # keeps paths straight
    if edge.id in arrangement.level:
        straight = " weight=0"
    back = content.gradients and any(each.gradient is not None for each in bundle)
    lines = edge_lines(bundle, content)
    if back:
        lines = [] if from_call else [Line("  ")]  # the blanks separate the arrows
    text = f" label={label(lines, fill, 'LEFT')}" if lines else ""
    written = [f'{way} [id="{edge.id}" class="forward"{forward}{straight}{text}]']
    if back:
        color = palette.GRADIENT.light
        lines = gradient_lines(bundle, content)
        text = f" label={label(lines, fill, 'LEFT')}" if lines else ""
        written.append(
            f'{way} [id="{edge.id}-gradient" class="gradient"{backward} weight=0 '
            f'color="{color}" fontcolor="{color}"{text}]'
        )
    return written


def _lower(
    graph: DrawnGraph,
    calls: Set[str],
    unframed: Mapping[str, DrawnScope],
    arrangement: Arrangement,
) -> list[str]:
    """Return invisible edges that keep a module's parameters below its inputs.

    Without them, the module's frame would extend beside the previous call, and a chain of layers
    would become a staircase.
    """
    scope = {node.id: node.scope for node in graph.nodes}
    beside = {key for row in arrangement.beside.values() for key in row}
    given: dict[str, str] = {}
    for edge in graph.edges:
        if edge.loop:
            continue
        if edge.source in calls and scope[edge.source] != scope[edge.target]:
            given.setdefault(edge.target, edge.source)
    return [
        f"  {given[edge.target]} -> {edge.source} [style=invis]"
        for edge in graph.edges
        if edge.source not in calls
        and edge.source not in beside
        and edge.target in given
        and scope[edge.source] == scope[edge.target]
        and scope[edge.source]
        and scope[edge.source] not in unframed
    ]


def unframed(graph: DrawnGraph) -> dict[str, DrawnScope]:
    """Return the scopes that need no frame, having a single node, by name."""
    parts = Counter(node.scope for node in graph.nodes)
    parts.update(scope.parent for scope in graph.scopes)
    return {scope.name: scope for scope in graph.scopes if parts[scope.name] <= 1}


def _clusters(
    graph: DrawnGraph, unframed: Mapping[str, DrawnScope], arrangement: Arrangement
) -> list[str]:
    """Return the frames around modules, nested like the scopes."""
    scopes = [scope for scope in graph.scopes if scope.name not in unframed]
    inside: dict[str, list[str]] = {scope.name: [] for scope in scopes}
    around = {"": ""}  # scope name to the name of its innermost frame
    depth = {"": 0}
    for scope in graph.scopes:
        around[scope.name] = around[scope.parent] if scope.name in unframed else scope.name
        depth[around[scope.name]] = depth[around[scope.parent]] + (scope.name not in unframed)
    for node in graph.nodes:
        frame = around[node.scope]
        if frame:
            indent = "  " * (depth[frame] + 1)
            inside[frame].append(indent + node.id)
            if node.id in arrangement.beside:
                inside[frame].append(indent + _same_rank(arrangement.beside[node.id]))
    blocks: dict[str, list[list[str]]] = {"": [], **{scope.name: [] for scope in scopes}}
    for scope in reversed(scopes):
        indent = "  " * depth[scope.name]
        block = [f'{indent}subgraph "cluster_{scope.id}" {{', indent + "  " + _frame(scope)]
        block += chain(inside[scope.name], *reversed(blocks[scope.name]), [indent + "}"])
        blocks[around[scope.parent]].append(block)
    return list(chain(*reversed(blocks[""])))


def _frame(scope: DrawnScope) -> str:
    words = [scope.name] + ([scope.kind] if scope.kind else [])
    name = " · ".join(words) + (f"   × {scope.repeat}" if scope.repeat > 1 else "")
    label = _plain([Line(name)], palette.CARD, "LEFT")
    of_sweep = scope.path.rpartition(".")[2] == SWEEP
    color, faint = (palette.GRADIENT,) * 2 if of_sweep else (palette.FRAME, palette.FAINT)
    style, kind = ("rounded,dashed", "scope sweep") if of_sweep else ("rounded", "scope")
    return (
        f'graph [id="{scope.id}" class="{kind}" label={label} labeljust=l style="{style}" '
        f'color="{color.light}" fontcolor="{faint.light}" fontsize=10 margin=8]'
    )


# --- labels ---------------------------------------------------------------------------------------


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


def _plain(lines: Sequence[Line], fill: Fill, align: str) -> str:
    text = "\n".join("  ".join(filter(None, [line.text, line.beside])) for line in lines)
    return _quoted(text.replace("&", "&amp;"))  # Graphviz reads entities in any label


def _rich(lines: Sequence[Line], fill: Fill, align: str) -> str:
    rows = "".join(f'<TR><TD ALIGN="{align}">{_line(line, fill)}</TD></TR>' for line in lines)
    return f'<<TABLE BORDER="0" CELLBORDER="0" CELLSPACING="0" CELLPADDING="1">{rows}</TABLE>>'


def _escaped(text: str) -> str:
    """Return text for an HTML-like label; Graphviz rejects text of brackets alone."""
    return escape(text) if text.strip("]") else text.replace("]", "&#93;")


def _line(line: Line, fill: Fill) -> str:
    text = _escaped(line.text) or " "
    if line.role == "title":
        text = f'<FONT POINT-SIZE="12"><B>{text}</B></FONT>'
    elif line.role in ("formula", "flow"):
        text = f"<I>{text}</I>"
    elif line.role in ("array", "gradient array"):
        text = f'<FONT FACE="Courier">{text}</FONT>'
    elif line.role == "trouble":
        text = f"<B>{text}</B>"
    if line.role in COLORED:
        text = f'<FONT COLOR="{palette.GRADIENT.light}">{text}</FONT>'
    elif line.role == "faint":
        text = f'<FONT COLOR="{fill.faint.light}">{text}</FONT>'
    if line.beside:
        beside = f"&#160;&#160;{_escaped(line.beside)}"
        text += f'<FONT COLOR="{fill.faint.light}" POINT-SIZE="9">{beside}</FONT>'
    return text


# --- title and legend ----------------------------------------------------------------------------


def _heading(graph: DrawnGraph, content: Content, rich: bool) -> str:
    """Return the graph's label: its title and the legend of colors and arrows."""
    words = [Line(graph.title, "title")] if graph.title else []
    if content.gradients:
        ahead, back = RANKDIRS[content.style.rankdir]
        words.append(Line(f"values flow {ahead}, gradients flow back {back}", "faint"))
    if content.note:
        words.append(Line(content.note, "faint"))
    heat = content.heat
    if heat is not None:
        words += _meanings(heat)
    if not words:
        return ""
    if not rich:
        if heat is not None:
            words.append(Line(", ".join(name for name, _ in heat.scale), "faint", heat.order))
        return f" labelloc=t label={_plain(words, palette.CARD, 'CENTER')}"
    rows = "".join(f"<TR><TD>{_line(line, palette.CARD)}</TD></TR>" for line in words)
    scale = f"<TR><TD>{_scale(heat)}</TD></TR>" if heat is not None else ""
    table = f'<TABLE BORDER="0" CELLBORDER="0" CELLSPACING="2">{rows}{scale}</TABLE>'
    return f" labelloc=t label=<{table}>"


def _meanings(heat: Heat) -> list[Line]:
    if heat.kind == "gradient":
        lines = [Line(f"norm of the gradient, against the median {number(heat.middle)}", "text")]
        if heat.cancels:
            lines.append(Line("where its terms cancel: the norm of these", "text"))
        present = {mark.name for marks in heat.marks.values() for mark in marks}
        return lines + [
            Line(f"{mark.sign} {mark.name}", "trouble", mark.meaning)
            for mark in MARKS.values()
            if mark.name in present
        ]
    return [Line(f"share of the {heat.kind}", "text")]


def _scale(heat: Heat) -> str:
    cells = "".join(
        f'<TD BGCOLOR="{fill.area.light}" BORDER="1" COLOR="{palette.LINE.light}">'
        f'<FONT COLOR="{fill.text.light}" POINT-SIZE="8">{escape(name)}</FONT></TD>'
        for name, fill in heat.scale
    )
    layout = 'BORDER="0" CELLBORDER="1" CELLSPACING="0" CELLPADDING="3"'
    return f"<TABLE {layout}><TR>{cells}</TR></TABLE>"
