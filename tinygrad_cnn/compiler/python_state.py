"""The Python state that a step can depend on: all mutable objects that its code leads to.

`PythonState` walks from functions through their variables, defaults and the functions that they
call, and through the attributes that this code names, to the *places* of values (`places`).
"""

from __future__ import annotations

import functools
import io
import random
import sys
import types
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tinygrad_cnn.compiler.code_names import DYNAMIC, names_of
from tinygrad_cnn.compiler.iterators import IteratorPosition, parts_of
from tinygrad_cnn.compiler.places import (
    MISSING,
    Attributes,
    CellContent,
    Draws,
    Elements,
    Entries,
    Members,
    NamedValues,
    StatePlace,
    kept,
)
from tinygrad_cnn.core.variable import Variable
from tinygrad_cnn.nn.hooks import ModuleHooks
from tinygrad_cnn.nn.module import Module
from tinygrad_cnn.support.frames import PACKAGE

MOST = 20_000
"""PlaceValues that guards compare in each call at most."""

PLAIN = (
    bool, int, float, complex, str, bytes, type(None), np.generic, np.dtype, types.CodeType,
    np.ufunc,
)  # fmt: skip

FOREIGN = (sys.stdlib_module_names | {"numpy", "tinygrad_cnn"}) - {"__main__", "types", "argparse"}
"""Top modules whose objects and functions are not user code."""

PATHS = (PACKAGE, str(Path(random.__file__).parent), str(Path(np.__file__).parent))
SITE = "site-packages"

GENERATORS = (random.Random, np.random.Generator, np.random.RandomState, np.random.BitGenerator)

CONTAINERS = (tuple, list, dict, set, frozenset, deque)

Found = tuple[str, Any, bool]
"""A name for messages, an object, and whether code names the way to it."""


class TooLarge(Exception):  # noqa: N818  # no error
    """A step leads to more values than a call can compare."""


class PythonState:
    """The places that functions and objects lead to.

    Parameters
    ----------
    with_effects : bool
        Whether to walk through functions marked with `effect`, which replays call again.

    Attributes
    ----------
    places : dict of tuple to StatePlace
    names : set of str
        The attributes that the code names.
    stored : set of str
        Those of them that it sets or deletes, which an object may not have yet.
    tensors : dict of str to (ndarray or Tensor)
        Those on the way.
    iterators : list of object
        Iterators on the way, whose position nothing can restore.
    """

    def __init__(self, with_effects: bool = False) -> None:
        self.places: dict[tuple[int, str], StatePlace] = {}
        self.names: set[str] = set()
        self.stored: set[str] = set()
        self.tensors: dict[str, Any] = {}
        self.iterators: list[Any] = []
        self._with_effects = with_effects
        self._roots: list[Found] = []
        self._codes: list[tuple[types.CodeType, Mapping[str, Any]]] = []
        self._root: types.CodeType | None = None
        self._seen: dict[int, Any] = {}
        self._due: list[Found] = []

    # --- walking ---------------------------------------------------------------------------------

    def add_step(self, function: Any) -> None:
        """Add the function of the step, wherever it is defined."""
        self._root = getattr(getattr(function, "__func__", function), "__code__", None)
        self.add([("the step", function, True)])

    def add_code(self, code: types.CodeType, variables: Mapping[str, Any]) -> None:
        """Add code that runs."""
        self._codes.append((code, variables))
        self.add([])

    def add(self, roots: Iterable[Found]) -> None:
        """Walk from more objects.

        Raises
        ------
        TooLarge
            If they lead to too many values.
        """
        self._roots += roots
        while True:
            known = len(self.names), len(self.stored)
            self._seen = {}
            self._due = [*self._roots]
            for code, variables in self._codes:
                self._code(code, variables)
            while self._due:
                self._visit(*self._due.pop())
            if (len(self.names), len(self.stored)) == known:
                self._seen = {}
                return

    def _visit(self, where: str, value: Any, is_named: bool) -> None:
        if isinstance(value, PLAIN) or id(value) in self._seen:
            return
        self._seen[id(value)] = value
        if isinstance(value, Variable | np.ndarray):
            self.tensors.setdefault(where, value)
        elif isinstance(value, types.FunctionType):
            self._function(where, value)
        elif isinstance(value, types.MethodType):
            self._push(where, [("", value.__func__), ("", value.__self__)], is_named)
        elif isinstance(value, types.BuiltinFunctionType | types.MethodWrapperType):
            if isinstance(value.__self__, (*GENERATORS, Iterator)):
                self._push(where, [("", value.__self__)], is_named)
        elif isinstance(value, functools.partial):
            parts = [("", value.func), ("", value.args), ("", value.keywords)]
            self._push(where, parts, is_named)
        elif isinstance(value, GENERATORS):
            self._place(Draws, value, where, is_named)
        elif isinstance(value, types.ModuleType):
            self._module(value)
        elif isinstance(value, type):
            self._class(value, is_instance=False)
        elif isinstance(value, staticmethod | classmethod):
            self._push(where, [("", value.__func__)], is_named)
        elif isinstance(value, property):
            self._push(where, [("", value.fget), ("", value.fset), ("", value.fdel)], is_named)
        elif isinstance(value, CONTAINERS):
            self._container(where, value, is_named)
        elif isinstance(value, Iterator) and _is_foreign(type(value)):
            self._iterator(where, value, is_named)
        else:
            self._object(where, value, is_named)

    def _push(self, where: str, parts: Iterable[tuple[Any, Any]], is_named: bool) -> None:
        self._due += [(f"{where}{name}", v, is_named) for name, v in parts]

    def _place(self, kind: type[StatePlace], owner: Any, where: str, is_named: bool) -> None:
        key = (id(owner), kind.__name__)
        if key not in self.places:
            self.places[key] = kind(owner, where, is_named)
        self.places[key].is_named |= is_named

    def _named(
        self, owner: Any, where: str, names: Iterable[str], get: Callable[[str, Any], Any],
        kind: str = "named",
    ) -> None:  # fmt: skip
        """Take the values of `names`, and walk on from them."""
        names = sorted(names)
        if not names:
            return
        place = self.places.get((id(owner), kind))
        if place is None:
            place = self.places[id(owner), kind] = NamedValues(owner, where, True, get)
        assert isinstance(place, NamedValues)
        place.add(iter(names))
        self._push(where, [(name, get(name, None)) for name in names], True)

    def _iterator(self, where: str, value: Any, is_named: bool) -> None:
        self.iterators.append(value)
        if is_named and not isinstance(value, io.IOBase):  # what writes to a file moves it, too
            self._place(IteratorPosition, value, where, True)
            parts = [part for part in parts_of(value) if not isinstance(part, CONTAINERS)]
            self._push(where, [("", part) for part in parts], True)

    def _container(self, where: str, value: Any, is_named: bool) -> None:
        if len(value) > MOST:
            raise TooLarge(f"{where} has {len(value)} entries")
        if isinstance(value, dict):
            self._place(Entries, value, where, is_named)
            self._push(where, [(f"[{key!r}]", part) for key, part in value.items()], is_named)
            return
        if isinstance(value, list | deque):
            self._place(Elements, value, where, is_named)
        elif isinstance(value, set):
            self._place(Members, value, where, is_named)
        self._push(where, [(f"[{i}]", part) for i, part in enumerate(value)], is_named)

    def _function(self, where: str, function: types.FunctionType) -> None:
        attributes = vars(function)
        if attributes.get("is_effect") and not self._with_effects:
            return
        wrapped = attributes.get("__wrapped__")
        if wrapped is not None:
            self._push(where, [("", wrapped)], True)
        code = function.__code__
        if _is_foreign_code(code) and code is not self._root:
            return
        self._code(code, function.__globals__)
        for name, cell in zip(code.co_freevars, function.__closure__ or (), strict=True):
            self._place(CellContent, cell, f"the variable {name}", True)
            place = self.places[id(cell), CellContent.__name__]
            self._push(name, [("", place.now().get("", None))], True)
        defaults = [("", function.__defaults__), ("", function.__kwdefaults__)]
        self._push(f"the defaults of {function.__name__}", defaults, True)
        own = self.names.intersection(attributes) | self.stored
        self._named(attributes, f"{function.__name__}.", own, attributes.get)

    def _code(self, code: types.CodeType, variables: Mapping[str, Any]) -> None:
        """Take what code names: global variables, attributes and modules."""
        names = names_of(code)
        self.names |= names.attributes
        self.stored |= names.stored
        for module in names.modules:
            self._push("", [("", sys.modules.get(module))], True)
        if not code.co_filename.startswith(PACKAGE):
            known = {name for name in names.variables if name in variables} | names.set_variables
            get: Any = variables.get
            self._named(variables, "the variable ", known, get)

    def _module(self, module: types.ModuleType) -> None:
        root, name = module.__name__.partition(".")[0], module.__name__
        attributes = vars(module)
        used = self.names.intersection(attributes)
        if name == "numpy" and "random" in used:
            self._push("", [("np.random", np.random)], True)
        elif name in ("numpy.random", "random"):
            self._push(f"{name}.", [(n, attributes[n]) for n in used], True)
        elif root not in FOREIGN:
            self._named(attributes, f"{name}.", used | self.stored, attributes.get)

    def _class(self, kind: type, is_instance: bool) -> None:
        for base in kind.__mro__:
            if _is_foreign(base):
                continue
            attributes = base.__dict__
            names = self.names.intersection(attributes)
            names |= self.stored if base is kind and not is_instance else set()
            names |= {
                name
                for name, value in attributes.items()
                if isinstance(value, types.FunctionType)
                and name.startswith("__")
                and not (is_instance and name in CONSTRUCTION)
            }
            if "forward" in attributes:
                names.add("forward")
            self._named(base, f"{base.__name__}.", names, attributes.get)

    def _object(self, where: str, value: Any, is_named: bool) -> None:
        kind = type(value)
        if id(kind) not in self._seen:
            self._seen[id(kind)] = kind
            self._class(kind, is_instance=True)
        attributes, stored = getattr(value, "__dict__", None), self.stored
        if not isinstance(attributes, dict):
            attributes, stored = {}, set()
        if isinstance(value, ModuleHooks):
            self._push(f"{where}.", attributes.items(), is_named)
        elif isinstance(value, Module) or (self.names & DYNAMIC and not _is_foreign(kind)):
            self._place(Attributes, attributes, where, False)
            self._push(f"{where}.", attributes.items(), False)
            named = self.names.intersection(attributes)
            self._push(f"{where}.", [(name, attributes[name]) for name in named], True)
        else:
            known = {name for name in self.names if name in attributes or hasattr(kind, name)}
            self._named(attributes, f"{where}.", known | stored, attributes.get)
        if "__wrapped__" in attributes:  # such as a compiled function
            function = attributes.get("_function", attributes["__wrapped__"])
            self._push(where, [("", function)], True)
        self._slots(where, value, kind)

    def _slots(self, where: str, value: Any, kind: type) -> None:
        """Take attributes in slots, and the options of optimizers, which are properties."""
        is_foreign = _is_foreign(kind)
        described = (property,) if is_foreign else (types.MemberDescriptorType,)
        if is_foreign and kind.__module__.partition(".")[0] != "tinygrad_cnn":
            return
        if is_foreign and isinstance(value, Module):
            return
        names = [
            name
            for name in self.names
            if isinstance(getattr(kind, name, None), described)
            and (not is_foreign or isinstance(_tried(value, name), PLAIN))
        ]
        get = functools.partial(getattr, value)
        self._named(value, f"{where}.", names, get, "slots")

    # --- changes ---------------------------------------------------------------------------------

    def changes(self) -> list[tuple[StatePlace, Any, Any, Any]]:
        """Return what has changed since the last look: place, key, before, now."""
        return [(place, *found) for place in self._all() for found in place.changes()]

    def accept_changes(self) -> None:
        """Note the end of an effect, which may change anything."""
        for place, key, _, _ in self.changes():
            place.by_effects.add(key)

    def _all(self) -> list[StatePlace]:
        return [*self.places.values()]

    def guarded(self) -> list[StatePlace]:
        """Return the places for guards.

        Raises
        ------
        TooLarge
            If they hold too many values.
        """
        count = sum(len(place.start) for place in self.places.values())
        if count > MOST:
            raise TooLarge(f"its variables and attributes hold {count} values")
        return self._all()

    def kept(self) -> Callable[[], None]:
        """Return a function that restores all places as they are now."""
        return kept(self._all())

    def values(self) -> dict[str, Any]:
        """Return the numbers and texts of all places, by their names."""
        return {
            place.named(key): value
            for place in self._all()
            for key, value in place.now().items()
            if isinstance(value, int | float | complex | str) and value is not MISSING
        }


CONSTRUCTION = {"__init__", "__repr__", "__str__", "__init_subclass__", "__post_init__"}
"""The methods that a use of an object does not call."""


def _is_foreign(kind: type) -> bool:
    """Return whether a class is not user code."""
    root = kind.__module__.partition(".")[0]
    return root in FOREIGN or kind is object


def _is_foreign_code(code: types.CodeType) -> bool:
    return code.co_filename.startswith(PATHS) and (
        code.co_filename.startswith((PATHS[0], PATHS[2])) or SITE not in code.co_filename
    )


def _tried(value: Any, name: str) -> Any:
    """Return the value of a property; an object if it has none now."""
    try:
        return getattr(value, name)
    except Exception:
        return object()
