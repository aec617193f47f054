"""Observers: callbacks for forward calls and backward steps."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tinygrad_cnn.core.recording import Recording, recording
from tinygrad_cnn.engine.context import changed

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

    from tinygrad_cnn.core.declaration import Derivative
    from tinygrad_cnn.core.graph import Node
    from tinygrad_cnn.core.op import Op
    from tinygrad_cnn.core.variable import Array, Variable


@dataclass(frozen=True, slots=True)
class ForwardEvent:
    """One call of an op on Tensors, as passed to `Observer.forward`.

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
        The source of each differentiable argument, also where no gradient is required.
    scope : str
    seconds : float
    error : Exception or None
        The exception that the call raised.
    given : dict
        The arguments by name as they were passed: before Tensors were unwrapped, operands
        converted to one dtype, and options copied.
    raw : object
        What the forward returned, before it was made an array of the result's dtype.
    shared : dict of str to ndarray
        The intermediates that the call computed.
    """

    op: Op[..., Any]
    arguments: dict[str, Any]
    output: NDArray[Any] | None
    node: Node | None
    sources: tuple[Node | Variable | None, ...]
    scope: str
    seconds: float
    error: Exception | None = None
    given: dict[str, Any] = field(default_factory=dict)
    raw: Any = None
    shared: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class BackwardEvent:
    """One step of a reverse sweep, as passed to `Observer.backward`.

    Attributes
    ----------
    node : Node
    gradient : ndarray or Tensor
        The gradient flowing in: that of the node's result.
    contributions : list of (Node or Variable, ndarray or Tensor)
        The gradient for each parent.
    seconds : float
    sweep : int
        The number of the sweep, the same for all its steps.
    accumulates : bool
        Whether the sweep adds to ``.grad``, as `backward` does and `grad` does not.
    returned : list of (Derivative, object)
        What the rules returned, in the order of their calls: not yet in shape and dtype of the
        parents.
    shared : dict of str to object
        The intermediates of the gradient.
    """

    node: Node
    gradient: Array
    contributions: list[tuple[Node | Variable, Array]]
    seconds: float
    sweep: int
    accumulates: bool
    returned: list[tuple[Derivative, Any]] = field(default_factory=list)
    shared: dict[str, Any] = field(default_factory=dict)


class Observer:
    """Base class of callbacks for forward calls and backward steps; see `observe`.

    Subclass it and override its methods. An exception raised by an observer ends the current
    call or sweep.

    Attributes
    ----------
    functional : bool
        Whether Tensors that are changed in place take new memory, so that each value is the result
        of a call (in `tinygrad_cnn.compat.torch`).
    """

    functional: bool = False

    def forward(self, event: ForwardEvent) -> None:
        """Handle one call of an op."""

    def discrete(self, ufunc: np.ufunc, inputs: tuple[Any, ...], output: Variable) -> None:
        """Handle one comparison or logical operation of Tensors, which has no derivative."""

    def copied(self, source: NDArray[Any], array: NDArray[Any]) -> None:
        """Handle a Tensor that is made of a Tensor's or an array's values: ``Tensor(x)``."""

    def result_class(self, kind: type[Any], array: NDArray[Any]) -> type[Any]:
        """Return the class of a Tensor of `array`, a result; `kind` by default."""
        return kind

    def composed(self, name: str, arguments: dict[str, Any], result: Any) -> Any:
        """Handle one call of a function that is made of ops, after the calls of these ops.

        Arguments and result are as they were passed: Tensors, arrays, and other values. What it
        returns, unless None, is what the call returns.
        """

    def backward(self, event: BackwardEvent) -> None:
        """Handle one step of a reverse sweep."""

    def final(self, leaf: Variable, gradient: Array) -> None:
        """Handle a leaf's gradient once no later step of a `backward` adds to it.

        Only for the leaves of `observe_leaves`. Hooks have run; ``leaf.grad`` is still the earlier.
        """

    def swept(self, gradients: Mapping[Variable, Array], accumulates: bool) -> None:
        """Handle the end of a sweep: each leaf's ``.grad``, or else what `grad` returns for it."""


def announce(name: str, arguments: dict[str, Any], result: Any) -> Any:
    """Report a call of a function that is made of ops to the observers (`Observer.composed`).

    Return the result, or what an observer returns in its place.
    """
    for observer in recording.get().observers:
        replaced = observer.composed(name, arguments, result)
        result = result if replaced is None else replaced
    return result


def observed_class(kind: type[Any], array: NDArray[Any]) -> type[Any]:
    """Return the class of a Tensor of `array` (`Observer.result_class`)."""
    for observer in recording.get().observers:
        kind = observer.result_class(kind, array)
    return kind


def is_functional() -> bool:
    """Return whether an observer asks for new memory in place of changes."""
    return any(observer.functional for observer in recording.get().observers)


def observe(observer: Observer) -> changed[Recording]:
    """Report forward calls and backward steps to `observer` inside ``with observe(observer):``.

    Raises
    ------
    TypeError
        If `observer` is not an `Observer`.

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
