"""The position of an iterator, as far as it shows without moving the iterator."""

from __future__ import annotations

import contextlib
import gc
import itertools
import warnings
from operator import length_hint
from types import FrameType, GeneratorType
from typing import Any

from tinygrad_cnn.compiler.places import Draws, PlaceValues

UNCOUNTED: tuple[Any, ...] = (itertools.cycle, type(itertools.tee(())[0]))
"""Iterators over what they have kept, whose position only ``__reduce__`` shows."""


class IteratorPosition(Draws):
    """The position of an iterator; nothing can bring it back."""

    verb, noun = "moves", "position"

    def _state(self) -> Any:
        value = self.owner
        if isinstance(value, GeneratorType):
            frame = value.gi_frame
            if frame is None or value.gi_running:
                return (frame is None,)
            known = [*frame.f_locals.values()]  # first, since Python 3.11 then keeps their dict
            return (frame.f_lasti, *known, *parts_of(value))
        if isinstance(value, itertools.count):
            return (repr(value),)
        parts = parts_of(value)
        if isinstance(value, UNCOUNTED):
            return (*_reduced(value), *parts)
        if hasattr(value, "__length_hint__"):
            with contextlib.suppress(TypeError):  # of an endless `repeat`, which is the same always
                return (length_hint(value),)
        return tuple(parts)

    def now(self) -> PlaceValues:
        """Return what moves with the iterator, as a tuple of objects and numbers."""
        return {"": self._state()}

    def restore_state(self, state: Any) -> None:
        """Leave the iterator where it is."""


def parts_of(iterator: Any) -> list[Any]:
    """Return the objects that an iterator holds, such as other iterators and local variables."""
    parts: list[Any] = [*getattr(iterator, "__dict__", {}).values()]
    for part in gc.get_referents(iterator):
        if type(part) is tuple:  # of `zip`, and the latest result, which some change in place
            parts += part
        elif not isinstance(part, FrameType | dict):
            parts.append(part)
    return parts


def _reduced(iterator: Any) -> tuple[Any, ...]:
    """Return the position of an iterator over kept values; a new object if nothing shows it."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            _, args, state = iterator.__reduce__()
    except TypeError:  # since Python 3.14
        return (object(),)
    return (state, *[length_hint(part, 0) for part in args])
