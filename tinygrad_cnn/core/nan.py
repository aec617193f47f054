"""A NaN detector: an observer that raises at the op that produced the first NaN."""

from __future__ import annotations

import sys
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from tinygrad_cnn.core.graph import Node
from tinygrad_cnn.core.observer import BackwardEvent, ForwardEvent, Observer, observe
from tinygrad_cnn.core.recording import Recording
from tinygrad_cnn.core.variable import Array, array_of
from tinygrad_cnn.engine.context import changed
from tinygrad_cnn.support.frames import PACKAGE


class NaNError(FloatingPointError):
    """A computation produced its first NaN (or infinity, with ``infinite=True``)."""


class _Watch(Observer):
    def __init__(self, infinite: bool) -> None:
        self.is_bad = (lambda x: ~np.isfinite(x)) if infinite else np.isnan
        self.calls: WeakKeyDictionary[Node, str] = WeakKeyDictionary()

    def forward(self, event: ForwardEvent) -> None:
        """Store the caller; raise if the output is bad."""
        place = _caller()
        if event.node is not None:
            self.calls[event.node] = place
        if event.output is None or not self._first(event.output):
            return
        given = [
            f"{name}{self._first(value)}"
            for name, value in event.arguments.items()
            if isinstance(value, np.ndarray) and self._first(value)
        ]
        source = f"it came from {' and '.join(given)}" if given else "its arguments have none"
        raise NaNError(
            f"first {self._kind(event.output)}: forward of `{event.op.name}`{_within(event.scope)}"
            f", called at {place}: result{self._first(event.output)}; {source}"
        )

    def backward(self, event: BackwardEvent) -> None:
        """Raise if the gradient flowing in, or one flowing out, is bad."""
        flow = array_of(event.gradient)
        came = self._first(flow)
        if came:
            raise NaNError(
                f"first {self._kind(flow)}: in the gradient that flows into "
                f"`{event.node.op.name}`{_within(event.node.scope)}{came}: it was given to "
                "backward(), or is a sum of infinite gradients of opposite signs"
            )
        for _, contribution in event.contributions:
            array = array_of(contribution)
            if self._first(array):
                node = event.node
                place = self.calls.get(node, "a call made outside detect_nan()")
                raise NaNError(
                    f"first {self._kind(array)}: backward of `{node.op.name}`{_within(node.scope)}"
                    f", called at {place}: gradient{self._first(array)}"
                )

    def _first(self, value: Array) -> str:
        """Return the index of the first bad entry, such as ``[0, 2]``, or an empty string."""
        if not np.issubdtype(value.dtype, np.inexact):
            return ""
        bad = self.is_bad(value)
        if not bad.any():
            return ""
        return str([int(i) for i in np.unravel_index(np.argmax(bad), value.shape)])

    def _kind(self, value: Array) -> str:
        return "NaN" if np.isnan(value).any() else "infinity"


def detect_nan(infinite: bool = False) -> changed[Recording]:
    """Raise at the first NaN of a forward call or backward step (context manager).

    Parameters
    ----------
    infinite : bool
        Also raise at infinities.

    Raises
    ------
    NaNError
        The message names the op, its module, the line of the caller and the entry.

    Examples
    --------
    >>> import numpy as np
    >>> import tinygrad_cnn as tg
    >>> x = tg.Tensor([0.0, 1.0], requires_grad=True)
    >>> with tg.detect_nan(), np.errstate(all="ignore"):
    ...     (tg.sqrt(x) * 0.0).sum().backward()
    Traceback (most recent call last):
    tinygrad_cnn.core.nan.NaNError: first NaN: backward of `sqrt`, called at <doctest...
    """
    return observe(_Watch(infinite))


def _within(scope: str) -> str:
    return f" in `{scope}`" if scope else ""


def _caller() -> str:
    """Return the file and line of the nearest frame outside the package."""
    frame: Any = sys._getframe(1)
    while frame is not None and frame.f_code.co_filename.startswith(PACKAGE):
        frame = frame.f_back
    return (
        f"{frame.f_code.co_filename}:{frame.f_lineno}" if frame is not None else "an unknown line"
    )
