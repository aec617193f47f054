"""The stack of module calls: scopes of nodes, recorded shapes, and notes on exceptions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tinygrad_cnn.core.recording import Recording, changed_recording, qualified, recording
from tinygrad_cnn.engine.context import changed

if TYPE_CHECKING:
    from tinygrad_cnn.nn.module import Module

Shapes = dict[int, tuple[int, ...]]  # of the last output of each module, by its id


def inside(state: Recording, module: Module) -> Recording:
    """Return the state for a call of `module` in `state`, with its name in the scope."""
    on, scope, observers, caller, shapes = state
    if caller is not None:
        scope = qualified(scope, name_in(caller, module))
    return Recording(on, scope, observers, module, shapes)


def name_in(caller: Module, module: Module) -> str:
    """Return the name of `module` in `caller`; "" if it is not there."""
    for name, value in vars(caller).items():  # the usual case
        if value is module:
            return name
    for name, value in vars(caller).items():  # else in a list
        if isinstance(value, list | tuple):
            for i, item in enumerate(value):
                if item is module:
                    return f"{name}.{i}"
    names = (name for name, inner in caller.named_modules() if inner is module)
    return next(names, "")


def watched(shapes: Shapes) -> changed[Recording]:
    """Record all modules' output shapes in `shapes`; the next module called is outermost."""
    return changed_recording(module=None, shapes=shapes)


def say_where(error: Exception) -> None:
    """Note on `error` the module that raised it, unless an op or inner module already has."""
    where = recording.get().scope
    if where and not any(note.startswith("in module") for note in getattr(error, "__notes__", ())):
        error.add_note(f"in module {where}")
