"""Observers: what watches the calls of ops and the reverse sweep."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tinygrad_cnn.core.recording import Recording, recording
from tinygrad_cnn.engine.context import changed

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tinygrad_cnn.core.graph import Node
    from tinygrad_cnn.core.op import Op
    from tinygrad_cnn.core.variable import Array, Variable


@dataclass(frozen=True, slots=True)
class ForwardEvent:
    """One call of an op on Tensors, as an `Observer` sees it.

    Attributes
    ----------
    op : Op
    arguments : dict
        The op's arguments by name, as arrays and static values.
    output : ndarray or None
        None if the call failed.
    node : Node or None
        None if nothing was recorded.
    sources : tuple of (Node, Variable or None)
        Where each differentiable argument came from, whether or not a gradient is wanted of it.
    scope : str
    seconds : float
    error : Exception or None
        What the call raised.
    """

    op: Op[Any]
    arguments: dict[str, Any]
    output: NDArray[Any] | None
    node: Node | None
    sources: tuple[Node | Variable | None, ...]
    scope: str
    seconds: float
    error: Exception | None = None


@dataclass(frozen=True, slots=True)
class BackwardEvent:
    """One node's turn in a reverse sweep, as an `Observer` sees it.

    Attributes
    ----------
    node : Node
    gradient : ndarray or Tensor
        What has flowed into the node: the gradient of its result.
    contributions : list of (Node or Variable, ndarray or Tensor)
        What the node sends to each parent.
    seconds : float
    """

    node: Node
    gradient: Array
    contributions: list[tuple[Node | Variable, Array]]
    seconds: float


class Observer:
    """Watches forward calls and backward steps inside ``with observe(observer):``.

    Derive from it and override what you need. An exception raised by an observer ends the call or
    the sweep it was told of.
    """

    def forward(self, event: ForwardEvent) -> None:
        """Take note of one call of an op."""

    def backward(self, event: BackwardEvent) -> None:
        """Take note of one node's turn in a sweep."""


def observe(observer: Observer) -> changed[Recording]:
    """Show `observer` every forward call and backward step inside ``with observe(observer):``.

    Raises
    ------
    TypeError
        If it is no `Observer`.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> class Names(tg.Observer):
    ...     def forward(self, event):
    ...         print("forward", event.op.name)
    ...
    ...     def backward(self, event):
    ...         print("backward", event.node.op.name)
    >>> x = tg.Tensor(0.5, requires_grad=True)
    >>> with tg.observe(Names()):
    ...     tg.tanh(x * 2).backward()
    forward mul
    forward tanh
    backward tanh
    backward mul
    """
    if not isinstance(observer, Observer):
        raise TypeError(f"observe: got {type(observer).__name__}, expected an Observer")
    return changed(
        recording, lambda outside: outside._replace(observers=(*outside.observers, observer))
    )
