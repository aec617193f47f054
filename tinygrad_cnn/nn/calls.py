"""The modules that are being called: which one is running, and under what name."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar, Token
from typing import TYPE_CHECKING, Any

from tinygrad_cnn.recording import Recording, recording

if TYPE_CHECKING:
    from tinygrad_cnn.nn.module import Module

Shapes = dict[int, tuple[int, ...]]  # of the last result of each module, by its id


class Call:
    """A call of a module: inside ``with Call(module):`` it runs, and its name is part of the scope.

    Attributes
    ----------
    module : Module
    shapes : dict of int to tuple, or None
        Where to write the shapes of results, when somebody wants to know.
    """

    __slots__ = ("_before", "_running", "module", "shapes")

    _before: Token[Recording] | None
    _running: Token[Call | None]

    def __init__(self, module: Module | None, shapes: Shapes | None = None) -> None:
        self.module = module
        self.shapes = shapes

    def __enter__(self) -> Call:
        caller = running.get()
        self._running = running.set(self)
        self._before = None
        if caller is not None:
            self.shapes = caller.shapes
            name = caller.name_of(self.module)
            if name:
                self._before = recording.set(recording.get().within(name))
        return self

    def __exit__(self, kind: Any, error: BaseException | None, traceback: Any) -> None:
        if isinstance(error, Exception):
            _say_where(error)
        if self._before is not None:
            recording.reset(self._before)
        running.reset(self._running)

    def name_of(self, module: Module | None) -> str:
        """Return what `module` is called in the one that is running; "" if it is not in it."""
        if self.module is None:
            return ""
        for name, value in vars(self.module).items():  # where nearly all are
            if value is module:
                return name
        for name, value in vars(self.module).items():  # or else in a list
            if isinstance(value, list | tuple):
                for i, item in enumerate(value):
                    if item is module:
                        return f"{name}.{i}"
        names = (name for name, inner in self.module.named_modules() if inner is module)
        return next(names, "")


running: ContextVar[Call | None] = ContextVar("running_module", default=None)


@contextmanager
def watched() -> Iterator[Shapes]:
    """Make the module called inside an outermost one, and write down the shapes of all results."""
    shapes: Shapes = {}
    token = running.set(Call(None, shapes))
    try:
        yield shapes
    finally:
        running.reset(token)


def _say_where(error: Exception) -> None:
    """Note on `error` in which module it was raised, if the op or a module inside has not yet."""
    where = recording.get().scope
    if where and not any(note.startswith("in module") for note in getattr(error, "__notes__", ())):
        error.add_note(f"in module {where}")
