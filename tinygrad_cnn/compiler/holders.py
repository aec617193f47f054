"""Where the constants and parameters of a captured step are kept: modules and variables.

A replay computes with the same objects as the captured run, so what holds them must not change.
`Holders` finds them during the run, and makes the guards that later calls check.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from types import CodeType
from typing import Any

import numpy as np

from tinygrad_cnn.compiler.places import PlacesGuard, StatePlace
from tinygrad_cnn.compiler.python_state import Found, PythonState
from tinygrad_cnn.core.recording import qualified
from tinygrad_cnn.core.variable import Variable, calls
from tinygrad_cnn.support.frames import running_frames


class Holders:
    """The modules that run and the variables that functions name.

    Parameters
    ----------
    function : callable
        The step.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function
        self.objects: list[Found] = []
        self._modules: dict[int, tuple[Any, str]] = {}
        self._is_unsized = False
        self._names: dict[int, str] = {}  # of Tensors, by id
        self._held: dict[int, Any] = {}  # arrays and Tensors by id
        self._codes: dict[CodeType, Mapping[str, Any]] = {}
        self._others: dict[int, Any] = {}  # objects whose methods run
        self.state = PythonState()
        self._beside: list[tuple[StatePlace, Any, Any, Any]] = []
        self._started = next(calls)
        self._explained: list[tuple[int, int]] = []
        self._effect_start = 0
        self._add_function(function)
        self.state.add_step(function)

    # --- finding ---------------------------------------------------------------------------------

    def add_module(self, module: Any, scope: str) -> None:
        """Note a module that runs."""
        if id(module) in self._modules:
            return
        self._modules[id(module)] = module, scope
        if (id(vars(module)), "Attributes") not in self.state.places:
            self.state.add([(scope or type(module).__name__, module, True)])
        self._is_unsized |= bool(getattr(module, "_unsized", ""))
        self._note(vars(module), scope)

    def add_objects(self, objects: list[Any]) -> None:
        """Note the arguments that are not arrays, numbers or lists of them."""
        self.objects = [(type(value).__name__, value, True) for value in objects]
        self.state.add(self.objects)

    def look_around(self) -> None:
        """Note the variables of the functions that are running."""
        for frame in running_frames():
            code = frame.f_code
            if code not in self._codes:
                self._add_code(code, frame.f_globals)
                self.state.add_code(code, frame.f_globals)
                local = frame.f_locals
                named = {name: local[name] for name in code.co_freevars if name in local}
                self._note(named, "")
                self._add_object(local.get("self"))

    def _add_object(self, owner: Any) -> None:
        """Note the attributes of an object whose method runs, unless it is a module."""
        if hasattr(owner, "__dict__") and id(owner) not in (self._modules | self._others):
            self._others[id(owner)] = owner
            for name, value in vars(owner).items():
                if isinstance(value, Variable | np.ndarray):
                    self._note({name: value}, "")

    def _add_function(self, function: Any) -> None:
        function = getattr(function, "__func__", function)
        function = getattr(function, "__wrapped__", function)
        code = getattr(function, "__code__", None)
        if code is None:
            return
        self._add_code(code, function.__globals__)
        cells = function.__closure__ or ()
        for name, cell in zip(code.co_freevars, cells, strict=True):
            try:
                value = cell.cell_contents
            except ValueError:  # not set yet
                continue
            self._note({name: value}, "")

    def _add_code(self, code: CodeType, variables: Mapping[str, Any]) -> None:
        self._codes[code] = variables
        for name in code.co_names:
            if name in variables:
                self._note({name: variables[name]}, "")
        for constant in code.co_consts:
            if isinstance(constant, CodeType):
                self._add_code(constant, variables)

    def _note(self, named: Mapping[str, Any], scope: str) -> None:
        for name, value in _tensors(named):
            if id(value) not in self._held:
                self._held[id(value)] = value
                self._names[id(value)] = qualified(scope, name)

    def holds(self, value: Any) -> bool:
        """Return whether a module that runs, or a variable, holds an array or Tensor."""
        if id(value) not in self._held:
            self.look_around()
            for module, scope in self._modules.values():  # they may have got it since
                self._note(vars(module), scope)
        return id(value) in self._held

    def owner_of(self, array: Any) -> Variable | None:
        """Return the Tensor among what is held that has this array."""
        self.holds(array)  # looks around
        tensors = [t for t in self._held.values() if isinstance(t, Variable)]
        return next((t for t in tensors if t._array is array), None)

    def name_of(self, tensor: Variable) -> str:
        """Return the name of a Tensor that is held, such as "conv1.weight"; else ""."""
        return self._names[id(tensor)] if self.holds(tensor) else ""

    # --- changes ---------------------------------------------------------------------------------

    def note_changes(self) -> None:
        """Note the start of an effect."""
        self._effect_start = next(calls)
        self._beside += self.state.changes()

    def explain_changes(self) -> None:
        """Note the end of an effect, which may have changed anything."""
        self._explained.append((self._effect_start, next(calls)))
        self.state.accept_changes()

    def changed_beside(self, tensors: Iterator[Variable]) -> Variable | None:
        """Return a Tensor that was changed in place, but by no effect."""
        every = {id(t): t for t in tensors} | {
            i: t for i, t in self._held.items() if isinstance(t, Variable)
        }
        for tensor in every.values():
            changed = tensor._changed
            if changed > self._started and not any(a < changed < b for a, b in self._explained):
                return tensor
        return None

    @property
    def sized(self) -> bool:
        """Whether a module got its size in this run."""
        return self._is_unsized

    def modules(self) -> list[tuple[str, Any]]:
        """Return the modules that ran, each with its name, which others may have too."""
        return [(scope or type(m).__name__, m) for m, scope in self._modules.values()]

    def changed_places(self) -> list[tuple[StatePlace, Any, Any, Any]]:
        """Return the Python state that was changed beside effects: place, key, before, now."""
        return self._beside + self.state.changes()

    def guard(self) -> PlacesGuard:
        """Return the guard of the Python state that the step may depend on."""
        return PlacesGuard(self.state.guarded())


def _tensors(named: Mapping[str, Any], depth: int = 0) -> Iterator[tuple[str, Any]]:
    """Yield the Tensors and arrays among variables, and in lists, tuples and dicts there."""
    for name, value in named.items():
        if isinstance(value, Variable | np.ndarray):
            yield name, value
        elif type(value) in (list, tuple) and depth < 3:
            yield from _tensors({f"{name}.{i}": part for i, part in enumerate(value)}, depth + 1)
        elif type(value) is dict and depth < 3:
            yield from _tensors({f"{name}.{key}": part for key, part in value.items()}, depth + 1)
