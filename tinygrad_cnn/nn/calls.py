"""The modules that are being called: which one is running, and under what name."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

from tinygrad_cnn.recording import recording, scope

if TYPE_CHECKING:
    from tinygrad_cnn.nn.module import Module

Shapes = dict[int, tuple[int, ...]]  # of the last result of each module, by its id


class Call:
    """A call of a module that is under way.

    Attributes
    ----------
    module : Module
    shapes : dict of int to tuple, or None
        Where to write the shapes of results, when somebody wants to know.
    """

    __slots__ = ("_names", "module", "shapes")

    def __init__(self, module: Module | None, shapes: Shapes | None) -> None:
        self.module = module
        self.shapes = shapes
        self._names: dict[int, str] = {}

    def name_of(self, module: Module) -> str:
        """Return what `module` is called in the one that is running; "" if it is not in it."""
        if id(module) not in self._names and self.module is not None:
            self._names = {id(inner): name for name, inner in self.module.named_modules()}
        return self._names.get(id(module), "")


running: ContextVar[Call | None] = ContextVar("running_module", default=None)


@contextmanager
def call(module: Module) -> Iterator[Shapes | None]:
    """Make `module` the running one inside, and its name part of the scope; yield ``shapes``."""
    caller = running.get()
    shapes = caller.shapes if caller else None
    token = running.set(Call(module, shapes))
    try:
        with scope(caller.name_of(module) if caller else ""):
            try:
                yield shapes
            except Exception as error:
                _say_where(error)
                raise
    finally:
        running.reset(token)


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
