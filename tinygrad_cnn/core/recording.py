"""The recording state of a thread or task: on/off switch, scope and observers."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any, NamedTuple

from tinygrad_cnn.engine.context import changed


class Recording(NamedTuple):
    """The recording state of a thread or task.

    Attributes
    ----------
    on : bool
    scope : str
    observers : tuple of Observer
    module : object or None
        The innermost `nn.Module` that is running.
    shapes : dict or None
        Collects the shapes of the modules' results, for a summary.
    """

    on: bool = True
    scope: str = ""
    observers: tuple[Any, ...] = ()
    module: Any = None
    shapes: dict[int, tuple[int, ...]] | None = None


SWEEP = "(backward)"
"""The scope of the calls that a sweep with ``create_graph`` records; no attribute has this name."""


class Scope(str):
    """The name of a module in its model; each call of the module has an instance of its own.

    Attributes
    ----------
    outer : str
        The scope that the call was made in.
    """

    __slots__ = ("outer",)
    outer: str

    def __reduce__(self) -> tuple[type[str], tuple[str]]:
        return str, (str(self),)  # a copy is a name only


def entered(outer: str, name: str) -> str:
    """Return the scope of one call of the module `name` inside `outer`."""
    if not name:
        return outer
    inner = Scope(f"{outer}.{name}" if outer else name)
    inner.outer = outer
    return inner


def qualified(outer: str, inner: str) -> str:
    """Join two names with a dot, such as ``"features.0"``; either may be empty."""
    return f"{outer}.{inner}" if outer and inner else outer or inner


recording: ContextVar[Recording] = ContextVar("recording", default=Recording())  # noqa: B039  # frozen


def changed_recording(**changes: Any) -> changed[Recording]:
    """Change fields of the recording state in a ``with`` block or a decorated function."""
    return changed(recording, lambda outside: outside._replace(**changes))


def no_grad() -> changed[Recording]:
    """Disable recording inside ``with no_grad():`` or a function decorated with ``@no_grad()``.

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
    """Enable recording inside a ``with no_grad():`` block; also a decorator.

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


def set_grad_enabled(mode: bool) -> changed[Recording]:
    """Enable or disable recording in a ``with`` block; also a decorator.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> w = tg.Tensor(3.0, requires_grad=True)
    >>> for training in (True, False):
    ...     with tg.set_grad_enabled(training):
    ...         print((w * 2).requires_grad)
    True
    False
    """
    return changed_recording(on=bool(mode))


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
    return changed(recording, lambda outside: outside._replace(scope=entered(outside.scope, name)))
