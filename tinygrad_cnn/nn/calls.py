"""The modules that are being called: which one is running, and under what name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tinygrad_cnn.core.recording import Recording, changed_recording, qualified, recording
from tinygrad_cnn.engine.context import changed

if TYPE_CHECKING:
    from tinygrad_cnn.nn.module import Module

Shapes = dict[int, tuple[int, ...]]  # of the last result of each module, by its id


def inside(state: Recording, module: Module) -> Recording:
    """Return the state in which `module` runs, called in `state`: its name is part of the scope."""
    on, scope, observers, caller, shapes = state
    if caller is not None:
        scope = qualified(scope, name_in(caller, module))
    return Recording(on, scope, observers, module, shapes)


def name_in(caller: Module, module: Module) -> str:
    """Return what `module` is called in `caller`; "" if it is not in it."""
    for name, value in vars(caller).items():  # where nearly all are
        if value is module:
            return name
    for name, value in vars(caller).items():  # or else in a list
        if isinstance(value, list | tuple):
            for i, item in enumerate(value):
                if item is module:
                    return f"{name}.{i}"
    names = (name for name, inner in caller.named_modules() if inner is module)
    return next(names, "")


def watched(shapes: Shapes) -> changed[Recording]:
    """Make the module called inside an outermost one, and write all results' shapes to `shapes`."""
    return changed_recording(module=None, shapes=shapes)


def say_where(error: Exception) -> None:
    """Note on `error` in which module it was raised, if the op or a module inside has not yet."""
    where = recording.get().scope
    if where and not any(note.startswith("in module") for note in getattr(error, "__notes__", ())):
        error.add_note(f"in module {where}")
