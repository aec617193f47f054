"""The step-through page of one picture's computation graph."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

import tinygrad_cnn as tg
from tinygrad_cnn.drawing.layout import TooLargeError
from tinygrad_cnn.drawing.page import page
from tinygrad_cnn.drawing.scopes import ancestors
from tinygrad_cnn.studio.explain.backward import loss_of
from tinygrad_cnn.studio.explain.forward import ExplainError, watch
from tinygrad_cnn.train import TrainedModel

__all__ = ["GraphPage", "explain_graph"]

_POLICY = re.compile(r'<meta http-equiv="Content-Security-Policy" content="([^"]+)">')


@dataclass(frozen=True)
class GraphPage:
    """A complete page, with the Content-Security-Policy to send.

    Only the header can restrict framing, and isolate the page from others of its origin.
    """

    html: str
    policy: str


def explain_graph(
    run: TrainedModel,
    picture: NDArray[np.uint8],
    label: int,
    depth: int | None = None,
    temperature: float = 1.0,
) -> GraphPage:
    """Return the page that steps through forward and backward of a picture.

    Parameters
    ----------
    run : TrainedModel
    picture : ndarray of uint8, shape (28, 28)
    label : int
        The correct digit.
    depth : int, optional
        Module depth to which the graph is folded initially; by default, to layers.
    temperature : float

    Raises
    ------
    ExplainError
        If the label does not exist, the picture does not fit the network, or the graph is too
        large.
    GraphvizMissingError
        If neither Graphviz nor the extra ``render`` is installed.
    """
    with tg.trace() as trace:
        seen = watch(run, picture, trace, requires_grad=False)  # else it counts as a parameter
        loss = loss_of(run, seen.logits, label, temperature)
        tg.grad(loss, list(run.model.parameters()))
    shown = run.settings.data.classes[label]
    drawing = trace.draw(
        loss,
        names=run.model,
        values=True,
        gradients=True,
        heat="gradient",
        title=f"{type(run.model).__name__}: the loss if it is a {shown}",
    )
    layers = max(len(chain) for chain in ancestors(drawing.full.scopes).values())
    try:
        html = page(drawing.fold(depth or layers))
    except TooLargeError as error:
        raise ExplainError(str(error)) from error
    found = _POLICY.search(html)
    assert found is not None, "the page has no policy"
    return GraphPage(html, f"{found[1]}; frame-ancestors 'self'; sandbox allow-scripts")
