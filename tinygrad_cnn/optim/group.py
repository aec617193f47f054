"""Grouped updates: small parameters in one call of an optimizer's `update`, large ones in chunks.

A NumPy call costs about a microsecond even on tiny arrays, and an update makes up to a dozen: this
dominates the update of a ten-number bias. Therefore small parameters are copied into one array
before an update and copied back after it. Their state is stored in one array, and each parameter's
state is a view of it. On large arrays, memory dominates: a dozen passes, each with a temporary
array. Therefore elementwise updates are applied to chunks that fit the cache, on several threads.
Either way the results are bit-identical. A step of Adam on an MLP with one example takes 1.1 times
as long without grouping, and on ten million parameters 3 times as long without chunks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import accumulate, pairwise
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn.core.variable import Variable, calls
from tinygrad_cnn.engine import chunks
from tinygrad_cnn.engine.arrays import read_only

State: TypeAlias = dict[str, Any]  # per parameter: a step count, and arrays of its shape
Update: TypeAlias = Callable[[NDArray[Any], NDArray[Any], State], Any]

SMALL = 1 << 12  # size up to which an update costs more in calls than in arithmetic


class Alone:
    """One parameter, updated alone."""

    def __init__(self, parameter: Variable, state: State, elementwise: bool) -> None:
        self.parameter = parameter
        self.state = state
        self._elementwise = elementwise
        self._slots = _slots(state)

    def step(self, update: Update) -> None:
        """Apply `update` to the parameter."""
        self.parameter._mark_changed()  # first: an interrupt may follow the change
        p, g = self.parameter._array, read_only(np.asarray(self.parameter._grad))
        _apply(update, p, g, self.state, self._slots, self._elementwise)


class Together:
    """Parameters of one dtype and step count, updated as one array."""

    def __init__(self, parameters: list[Variable], states: list[State]) -> None:
        self.parameters = parameters
        self.states = states
        self.state: State = {"steps": states[0]["steps"]}
        self._cuts = [0, *accumulate(p._array.size for p in parameters)]
        for slot in states[0].keys() - {"steps"}:
            self.state[slot] = np.concatenate([state[slot].ravel() for state in states])
            for state, part in zip(states, self._parts(self.state[slot]), strict=True):
                state[slot] = part
        self._slots = _slots(self.state)
        self._values = np.empty(self._cuts[-1], parameters[0].dtype)
        self._gradient = np.empty_like(self._values)
        self._read_only = read_only(self._gradient)
        self._values_of_each = self._parts(self._values)

    def step(self, update: Update) -> None:
        """Apply `update` to all of them at once."""
        np.concatenate([p._array.ravel() for p in self.parameters], out=self._values)
        gradients = [g.ravel() for p in self.parameters if (g := p._grad) is not None]
        np.concatenate(gradients, out=self._gradient)
        _apply(update, self._values, self._read_only, self.state, self._slots, True)
        steps, number = self.state["steps"], next(calls)
        for p, state, part in zip(self.parameters, self.states, self._values_of_each, strict=True):
            state["steps"] = steps
            p._changed = number
            p._array[...] = part

    def _parts(self, numbers: NDArray[Any]) -> list[NDArray[Any]]:
        """Return the views of `numbers` that belong to each parameter, in its shape."""
        places = zip(self.parameters, pairwise(self._cuts), strict=True)
        return [numbers[start:stop].reshape(p.shape) for p, (start, stop) in places]


def _slots(state: State) -> dict[str, NDArray[Any]]:
    return {slot: value for slot, value in state.items() if slot != "steps"}


def _apply(
    update: Update,
    p: NDArray[Any],
    g: NDArray[Any],
    state: State,
    slots: dict[str, NDArray[Any]],
    elementwise: bool,
) -> None:
    """Call `update`: once, or in chunks if it is elementwise and the parameter large."""
    state["steps"] += 1
    if not elementwise or p.size <= chunks.SIZE:
        _call(update, p, g, state, slots)
        return
    steps = state["steps"]

    def part(p: NDArray[Any], g: NDArray[Any], *arrays: NDArray[Any]) -> None:
        own = dict(zip(slots, arrays, strict=True))
        _call(update, p, g, {"steps": steps, **own}, own)

    passes = 4 + 8 * len(slots)  # over memory, roughly
    chunks.run(part, p, g, *slots.values(), work=p.itemsize * passes)


def _call(
    update: Update,
    p: NDArray[Any],
    g: NDArray[Any],
    state: State,
    slots: dict[str, NDArray[Any]],
) -> None:
    """Call `update`, and copy arrays that it rebinds in `state` to those in `slots`.

    The arrays in `slots` are saved, and the states of a group's parameters are views of them.
    """
    returned = update(p, g, state)
    if returned is not None:
        raise TypeError(f"update: returned {type(returned).__name__}, expected p changed in place")
    if len(state) != len(slots) + 1:
        extra = ", ".join(sorted(state.keys() - slots.keys() - {"steps"}))
        raise TypeError(f"update: state has {extra}, which the optimizer's slots do not name")
    for slot, array in slots.items():
        if state[slot] is not array:
            array[...] = state[slot]
            state[slot] = array


def grouped(
    parameters: Iterable[tuple[Variable, State]], elementwise: bool
) -> list[Alone | Together]:
    """Return the update groups: small parameters together if `elementwise`."""
    groups: list[Alone | Together] = []
    small: dict[Any, list[tuple[Variable, State]]] = {}
    for p, state in parameters:
        if elementwise and p._array.size <= SMALL:
            small.setdefault((p.dtype, state["steps"]), []).append((p, state))
        else:
            groups.append(Alone(p, state, elementwise))
    for members in small.values():
        if len(members) == 1:
            groups.append(Alone(*members[0], elementwise))
        else:
            groups.append(Together([p for p, _ in members], [state for _, state in members]))
    return groups
