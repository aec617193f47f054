"""Drawings of a computation and of its gradients: `draw` and `trace`.

The modules that draw are loaded on first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tinygrad_cnn.core.tensor import Tensor
from tinygrad_cnn.drawing.trace import Trace, trace

if TYPE_CHECKING:
    from tinygrad_cnn.drawing.drawing import Drawing
    from tinygrad_cnn.drawing.heat import HeatKind
    from tinygrad_cnn.drawing.names import Names

__all__ = ["Drawing", "Trace", "draw", "trace"]


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
) -> Drawing:
    """Draw what a Tensor was computed from, and how gradients flow back through it.

    Parameters
    ----------
    y : Tensor
        A result that was recorded; with a trace, any result that was computed inside it.
    depth : int, optional
        Fold modules below this depth into one node each; at 1 a model shows its layers. Where
        nothing else is shown, a part that repeats then stands once, with "× n". By default all is
        shown.
    values : bool
        Show the entries of small arrays, and minimum, maximum, mean and the share of zeros of
        others.
    gradients : bool, optional
        Show on each edge the derivative with its equation, and what flowed back. Without a trace, a
        reverse sweep is made for it, which leaves every ``.grad`` as it is. By default they are
        shown if a trace has them.
    heat : {"gradient", "time", "memory"}, optional
        Colour the nodes: by the norm of their gradient against the median, with marks where it
        vanishes or explodes and for dead, saturated and NaN nodes; or by their share of the time or
        memory, which needs a trace.
    names : Module or mapping of str, optional
        What to call things: the model, or Tensors by name, such as ``locals()``. Layers' parameters
        and named Tensors have their names without it.
    trace : Trace, optional
        What has watched the computation: then values and times are known.
    title : str

    Returns
    -------
    Drawing
        With ``source`` (DOT), ``graph``, ``svg()`` and ``render(path)``; a notebook shows it.

    Raises
    ------
    ValueError
        If `y` has no graph, an option is out of range, or something is to be shown that nobody has
        kept.
    TypeError
        If `y` is no Tensor.
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
    from tinygrad_cnn.drawing.drawing import drawing_of
    from tinygrad_cnn.drawing.recorded import recorded, sweep

    options: dict[str, Any] = {
        "depth": depth,
        "values": values,
        "gradients": gradients,
        "heat": heat,
        "names": names,
        "title": title,
    }
    if trace is not None:
        if not isinstance(trace, Trace):
            raise TypeError(f"draw: trace is {type(trace).__name__}, expected a Trace")
        return trace.draw(y, **options)
    steps = recorded(y)
    if gradients or heat == "gradient":
        sweep(y, steps)
    return drawing_of(steps, None, None, **options)


def _method(self: Tensor, **options: Any) -> Drawing:
    """Return `tinygrad_cnn.draw` of this Tensor: what it was computed from, as a picture."""
    return draw(self, **options)


Tensor.draw = _method


def __getattr__(name: str) -> Any:
    if name != "Drawing":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from tinygrad_cnn.drawing.drawing import Drawing

    return Drawing
