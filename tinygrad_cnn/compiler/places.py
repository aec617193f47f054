"""Places: where Python keeps values that can be replaced, such as a variable or a list.

A place knows the values of the start of the captured run. It is compared around that run, guarded
in later calls (`PlacesGuard`), and restored between the two runs of a check.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from itertools import chain, repeat
from operator import attrgetter, call, is_
from types import CellType
from typing import Any

import numpy as np

from tinygrad_cnn.compiler.guards import StepGuard, same_value, shown_value

MISSING: Any = type("Missing", (), {"__repr__": lambda self: "nothing"})()
"""What stands for a name without a value."""

PlaceValues = dict[Any, Any]


class StatePlace:
    """Named values that can be replaced.

    Parameters
    ----------
    owner : object
        What holds them.
    where : str
        For messages.
    is_named : bool
        Whether the code that runs names the way to it, so that it may depend on the values.

    Attributes
    ----------
    start : dict
        The values at the start of the run.
    latest : dict
        The values of the last look.
    by_effects : set
        The keys of values that effects changed in the run.
    """

    pattern = "{where}[{key!r}]"
    verb = "changes"

    def __init__(self, owner: Any, where: str, is_named: bool) -> None:
        self.owner, self.where, self.is_named = owner, where, is_named
        self.by_effects: set[Any] = set()
        self.start = self.latest = self.now()

    def now(self) -> PlaceValues:
        """Return the values by their keys."""
        raise NotImplementedError

    def restore(self, values: PlaceValues) -> None:
        """Bring the values back."""
        raise NotImplementedError

    def named(self, key: Any) -> str:
        """Return the name of a value."""
        return self.pattern.format(where=self.where, key=key)

    def changes(self) -> Iterator[tuple[Any, Any, Any]]:
        """Yield the keys whose values have changed since the last look: key, before, now."""
        before, now = self.latest, self.now()
        for key in before | now:
            one, other = before.get(key, MISSING), now.get(key, MISSING)
            if one is not other and not same_value(one, other):
                yield key, one, other
        self.latest = now


class Elements(StatePlace):
    """The elements of a list or deque."""

    def now(self) -> PlaceValues:
        """Return the elements by their indices."""
        return dict(enumerate(self.owner))

    def restore(self, values: PlaceValues) -> None:
        """Fill it with other elements."""
        self.owner.clear()
        self.owner.extend(values.values())


class Entries(StatePlace):
    """The entries of a dict."""

    def now(self) -> PlaceValues:
        """Return a copy."""
        return dict(self.owner)

    def restore(self, values: PlaceValues) -> None:
        """Replace all entries."""
        self.owner.clear()
        self.owner.update(values)


class Attributes(Entries):
    """All attributes of an object: its ``__dict__``."""

    pattern = "{where}.{key}"


class Members(StatePlace):
    """The members of a set."""

    def now(self) -> PlaceValues:
        """Return the members, each with itself."""
        return {member: member for member in self.owner}

    def restore(self, values: PlaceValues) -> None:
        """Replace all members."""
        self.owner.clear()
        self.owner.update(values)


class CellContent(StatePlace):
    """The content of a closure's cell: a variable."""

    pattern = "{where}"

    def now(self) -> PlaceValues:
        """Return the content; nothing, if it is empty."""
        try:
            return {"": self.owner.cell_contents}
        except ValueError:
            return {}

    def restore(self, values: PlaceValues) -> None:
        """Set the content."""
        if "" in values:
            self.owner.cell_contents = values[""]


class NamedValues(StatePlace):
    """Some values of a namespace or an object: those that the code names.

    Parameters
    ----------
    owner : object or dict
    get : callable
        ``get(name, default)`` returns a value.
    """

    pattern = "{where}{key}"

    def __init__(
        self, owner: Any, where: str, is_named: bool, get: Callable[[str, Any], Any]
    ) -> None:
        self.get, self.names = get, dict[str, None]()
        super().__init__(owner, where, is_named)

    def add(self, names: Iterator[str]) -> None:
        """Take more names."""
        for name in names:
            if name not in self.names:
                self.names[name] = None
                value = self.get(name, MISSING)
                self.start = self.start | {name: value}
                self.latest = self.latest | {name: value}

    def now(self) -> PlaceValues:
        """Return the values by their names."""
        return {name: self.get(name, MISSING) for name in self.names}

    def restore(self, values: PlaceValues) -> None:
        """Set those that have changed."""
        for name, value in values.items():
            if self.get(name, MISSING) is value:
                continue
            if type(self.owner) is dict:
                self.owner.pop(name) if value is MISSING else self.owner.update({name: value})
            elif value is MISSING:
                delattr(self.owner, name)
            else:
                setattr(self.owner, name, value)


class Draws(StatePlace):
    """The state of a random number generator."""

    pattern = "{where}"
    verb, noun = "draws from", "state"

    def now(self) -> PlaceValues:
        """Return the state as text or numbers, which compare by value."""
        return {"": repr(self._state())}

    def _state(self) -> Any:
        if isinstance(self.owner, random.Random):
            return self.owner.getstate()
        if isinstance(self.owner, np.random.RandomState):
            kind, keys, *others = self.owner.get_state()
            return kind, np.asarray(keys).tobytes(), *others
        return getattr(self.owner, "bit_generator", self.owner).state

    def state(self) -> Any:
        """Return a state that `restore_state` takes."""
        if isinstance(self.owner, np.random.RandomState):
            return self.owner.get_state()
        return self._state()

    def restore_state(self, state: Any) -> None:
        """Bring the state back."""
        if isinstance(self.owner, random.Random):
            self.owner.setstate(state)
        elif isinstance(self.owner, np.random.RandomState):
            self.owner.set_state(state)
        else:
            getattr(self.owner, "bit_generator", self.owner).state = state


def kept(places: list[StatePlace]) -> Callable[[], None]:
    """Return a function that brings the values of places back to those of now."""
    values = [(p, p.state() if isinstance(p, Draws) else p.now()) for p in places]

    def restore() -> None:
        for place, state in values:
            if isinstance(place, Draws):
                place.restore_state(state)
            else:
                place.restore(state)

    return restore


class PlacesGuard(StepGuard):
    """Places whose values must be those of the start of the captured run.

    The usual case, the same objects everywhere, is found by one pass of C loops over all places.

    Parameters
    ----------
    places : list of StatePlace
    """

    def __init__(self, places: list[StatePlace]) -> None:
        found = [place for place in map(_guarded, places) if place is not None]
        views = [place for place in found if not isinstance(place, NamedValues | CellContent)]
        named = [place for place in found if isinstance(place, NamedValues)]
        cells = [place for place in found if isinstance(place, CellContent)]
        self._places: list[StatePlace] = [*views, *named, *cells]
        self._views = [view for place in views for view in _views(place)]
        self._gets = [place.get for place in named for _ in place.names]
        self._names = [name for place in named for name in place.names]
        self._cells: list[CellType] = [place.owner for place in cells]
        values = [[place.start.get(k, MISSING) for k in place.names] for place in named]
        self._kept: list[Any] = [
            *[part for place in views for part in _parts(place)],
            *chain.from_iterable(values),
            *[place.start.get("", MISSING) for place in cells],
        ]
        self._lengths = [len(place.start) for place in views for _ in _views(place)]

    def holds(self) -> bool:
        """Compare identities, and numbers that are new objects by value."""
        try:
            if [*map(len, self._views)] != self._lengths:
                return False
            values = [
                *chain.from_iterable(self._views),
                *map(call, self._gets, self._names, repeat(MISSING)),
                *map(CONTENT, self._cells),
            ]
        except (ValueError, RuntimeError):  # an empty cell; changed by another thread
            return False
        if len(values) != len(self._kept):
            return False
        if all(map(is_, values, self._kept)):
            return True
        if not all(map(same_value, values, self._kept)):
            return False
        self._kept = values
        return True

    def change(self) -> str:
        """Return the name of the first value that has changed."""
        for place in self._places:
            now = place.now()
            for key in place.start | now:
                one, other = place.start.get(key, MISSING), now.get(key, MISSING)
                if not same_value(one, other):
                    return changed(place, key, one, other)
        return "the order of entries"


CONTENT = attrgetter("cell_contents")


def changed(place: StatePlace, key: Any, before: Any, now: Any) -> str:
    """Return a description of a change."""
    if isinstance(place, Draws):
        return f"{place.named(key)}: its {place.noun}"
    return f"{place.named(key)}: {shown_value(before)} became {shown_value(now)}"


def _views(place: StatePlace) -> list[Any]:
    if isinstance(place, Attributes):
        return [place.owner.values()]
    if isinstance(place, Entries):
        return [place.owner, place.owner.values()]
    return [place.owner]


def _parts(place: StatePlace) -> list[Any]:
    values = [*place.start.values()]
    if isinstance(place, Entries) and not isinstance(place, Attributes):
        return [*place.start, *values]
    return values


def _guarded(place: StatePlace) -> StatePlace | None:
    """Return what to guard of a place: without what only effects change and use."""
    if isinstance(place, Draws):  # only effects draw
        return None
    if not place.by_effects or place.is_named:
        return place
    if not isinstance(place, Entries):
        return None
    attributes: Mapping[Any, Any] = place.owner
    made = NamedValues(attributes, place.where, False, attributes.get)
    made.pattern = place.pattern
    made.add(key for key in place.start if key not in place.by_effects)
    return made
