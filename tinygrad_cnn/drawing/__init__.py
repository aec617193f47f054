"""Drawings of a computation, of its gradients and of a captured step: `draw` and `trace`.

The modules that draw are loaded on first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, overload

from tinygrad_cnn.compiler import CompiledStep
from tinygrad_cnn.compiler.program import StepProgram
from tinygrad_cnn.core.tensor import Tensor
from tinygrad_cnn.drawing.layout import TIME_LIMIT
from tinygrad_cnn.drawing.trace import Trace, trace
from tinygrad_cnn.support.modules import public

if TYPE_CHECKING:
    from tinygrad_cnn.drawing.drawing import Drawing
    from tinygrad_cnn.drawing.heat import HeatKind
    from tinygrad_cnn.drawing.names import Names
    from tinygrad_cnn.drawing.step_drawing import StepDrawing
    from tinygrad_cnn.drawing.style import Style

__all__ = ["Drawing", "StepDrawing", "Style", "Trace", "draw", "trace"]


@overload
def draw(
    y: Tensor,
    *,
    depth: int | None = None,
    values: bool = False,
    gradients: bool | None = None,
    heat: HeatKind | None = None,
    names: Names | None = None,
    trace: Trace | None = None,
    title: str = "",
    style: Style | None = None,
    time_limit: float | None = TIME_LIMIT,
) -> Drawing: ...
@overload
def draw(
    y: CompiledStep[..., Any] | StepProgram,
    *,
    depth: int | None = None,
    title: str = "",
    style: Style | None = None,
) -> StepDrawing: ...
def draw(
    y: Tensor | CompiledStep[..., Any] | StepProgram,
    *,
    depth: int | None = None,
    values: bool = False,
    gradients: bool | None = None,
    heat: HeatKind | None = None,
    names: Names | None = None,
    trace: Trace | None = None,
    title: str = "",
    style: Style | None = None,
    time_limit: float | None = TIME_LIMIT,
) -> Drawing | StepDrawing:
    """Draw the graph that computed a Tensor, and the gradients that flow back through it.

    Of a captured step (`compile`), draw its lines and the memory that its values share.

    Parameters
    ----------
    y : Tensor, CompiledStep or StepProgram
        A recorded result; with a trace, any result computed inside it. Or a captured step, of which
        the newest program is drawn as replays run it, or one of its ``programs``; only `depth`,
        `title` and `style` apply to these.
    depth : int, optional
        Fold modules below this depth into one node each; 1 shows the model's layers. If neither
        values, gradients nor heat are shown, a repeated block is then drawn once, marked "× n".
        By default, nothing is folded.
    values : bool
        Show the entries of small arrays, and the minimum, maximum, mean and share of zeros of
        larger ones.
    gradients : bool, optional
        Show on each edge the derivative, its equation and the gradient that flowed back. Without a
        trace, this runs a backward pass that leaves every ``.grad`` unchanged. By default, they
        are shown if the trace has them.
    heat : {"gradient", "time", "memory"}, optional
        Color the nodes by gradient norm relative to the median, and mark vanishing, exploding,
        dead, saturated and NaN nodes; or color them by their share of time or memory, which needs
        a trace.
    names : Module or mapping of str, optional
        Names for the nodes: the model, or Tensors by name, such as ``locals()``. Layers' parameters
        and named Tensors have names already.
    trace : Trace, optional
        The trace that recorded the computation, with values and times.
    title : str
    style : Style, optional
        Direction, page, font, resolution, labels and colors.
    time_limit : float, optional
        The time for the layout in seconds; None for no limit. Half of it is for the picture asked
        for; then labels are dropped, then modules folded, the deepest first, then consecutive
        calls. A line in the picture says what was left out.

    Returns
    -------
    Drawing or StepDrawing
        With ``svg()`` and ``render(path)``, and a Drawing with ``source`` (DOT) and ``graph``; a
        notebook shows it.

    Raises
    ------
    ValueError
        If `y` has no graph, an option is out of range, or the values or times to show were not
        recorded; if a step has captured nothing yet, or an option does not apply to it.
    TypeError
        If `y` is not a Tensor, a captured step or a program.
    GraphFreedError
        If gradients are to be shown and the graph was freed. Without them the graph is drawn as far
        as it is still known: values that the sweep has freed are left out.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> w = tg.Tensor([3.0, 4.0], requires_grad=True, name="w")
    >>> drawing = tg.draw((w * w).sum(), gradients=True)
    >>> [(edge.argument, edge.formula, edge.gradient.norm) for edge in drawing.graph.edges]
    [('a', 'g·b', 5.0), ('b', 'g·a', 5.0), ('x', 'g repeated', 1.414...)]
    >>> w.grad is None
    True
    """
    options: dict[str, Any] = {
        "depth": depth,
        "values": values,
        "gradients": gradients,
        "heat": heat,
        "names": names,
        "title": title,
        "style": style,
        "time_limit": time_limit,
    }
    if isinstance(y, CompiledStep | StepProgram):
        return _step_drawing(y, {**options, "trace": trace})
    from tinygrad_cnn.drawing.drawing import drawing_of
    from tinygrad_cnn.drawing.recorded import recorded, sweep

    if trace is not None:
        if not isinstance(trace, Trace):
            raise TypeError(f"draw: trace is {type(trace).__name__}, expected a Trace")
        return trace.draw(y, **options)
    steps = recorded(y)
    if gradients or heat == "gradient":
        sweep(y, steps)
    return drawing_of(steps, None, {}, **options)


def _step_drawing(
    step: CompiledStep[..., Any] | StepProgram, options: dict[str, Any]
) -> StepDrawing:
    """Draw a captured step."""
    from tinygrad_cnn.drawing.picture import checked_depth
    from tinygrad_cnn.drawing.step_drawing import StepDrawing
    from tinygrad_cnn.drawing.style import PLAIN

    applies = ("depth", "title", "style")
    for name, value in options.items():
        usual = TIME_LIMIT if name == "time_limit" else None
        if name not in applies and value not in (usual, False):
            raise ValueError(
                f"draw: {name} is {value!r}, but y is a captured step, for which only "
                f"{', '.join(applies)} apply"
            )
    if isinstance(step, CompiledStep):
        if not step.programs:
            raise ValueError("draw: the step has captured nothing yet; call it once")
        step = step.replayed[-1]
    depth, style = checked_depth(options["depth"]), options["style"]
    return StepDrawing(step, depth, options["title"], PLAIN if style is None else style)


def _method(self: Tensor, **options: Any) -> Drawing:
    """Draw the graph that computed this Tensor: see `tinygrad_cnn.draw`."""
    return draw(self, **options)


Tensor.draw = _method

if not TYPE_CHECKING:
    __getattr__, __dir__ = public(
        __name__,
        {"Drawing": "drawing", "StepDrawing": "step_drawing", "Style": "style"},
    )
