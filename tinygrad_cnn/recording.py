"""Whether calls are recorded, under which scope, and who watches: the state of a thread or task."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tinygrad_cnn.engine.context import changed

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tinygrad_cnn.graph import Array, Node, Variable
    from tinygrad_cnn.nn.module import Module
    from tinygrad_cnn.op import Op


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


class Recording(NamedTuple):
    """The state of recording in this thread or task.

    Attributes
    ----------
    on : bool
    scope : str
    observers : tuple of Observer
    module : Module or None
        The module that is running, the innermost.
    shapes : dict or None
        Where modules write the shapes of their results, when somebody wants to know.
    """

    on: bool = True
    scope: str = ""
    observers: tuple[Observer, ...] = ()
    module: Module | None = None
    shapes: dict[int, tuple[int, ...]] | None = None


def qualified(outer: str, inner: str) -> str:
    """Return the name of `inner` inside of `outer`, such as ``"features.0"``; each may be empty."""
    return f"{outer}.{inner}" if outer and inner else outer or inner


float_dtype: ContextVar[np.dtype[Any]] = ContextVar("float_dtype", default=np.dtype("f4"))  # noqa: B039  # immutable
"""What Python numbers and new parameters become: see `default_dtype`."""

recording: ContextVar[Recording] = ContextVar("recording", default=Recording())  # noqa: B039  # frozen


def changed_recording(**changes: Any) -> changed[Recording]:
    """Change fields of the state inside a ``with`` block or a decorated function."""
    return changed(recording, lambda outside: outside._replace(**changes))


def no_grad() -> changed[Recording]:
    """Record nothing inside ``with no_grad():`` or a function decorated with ``@no_grad()``.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> w = tg.Tensor(3.0, requires_grad=True)
    >>> with tg.no_grad():
    ...     y = w * 2
    >>> y.requires_grad
    False
    """
    return changed_recording(on=False)


def enable_grad() -> changed[Recording]:
    """Record again inside a ``with no_grad():`` block; also a decorator.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> w = tg.Tensor(3.0, requires_grad=True)
    >>> with tg.no_grad(), tg.enable_grad():
    ...     y = w * 2
    >>> y.requires_grad
    True
    """
    return changed_recording(on=True)


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


def scope(name: str) -> changed[Recording]:
    """Append `name` to the scope of nodes recorded inside ``with scope(name):``.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> x = tg.Tensor(1.0, requires_grad=True)
    >>> with tg.scope("encoder"), tg.scope("0"):
    ...     y = x * 2
    >>> y.node.scope
    'encoder.0'
    """
    return changed(
        recording, lambda outside: outside._replace(scope=qualified(outside.scope, name))
    )
