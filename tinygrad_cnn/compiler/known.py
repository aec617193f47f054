"""The values of the arrays of a captured run, found by identity."""

from __future__ import annotations

from typing import Any
from weakref import ref

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn.compiler.program import StepValue
from tinygrad_cnn.core.hidden import plain


class KnownArrays:
    """The values by their arrays, which it does not keep alive."""

    def __init__(self) -> None:
        self._of: dict[int, tuple[ref[Any], StepValue]] = {}
        self._hidden: dict[tuple[Any, ...], tuple[ref[Any], StepValue]] = {}

    def add(self, array: NDArray[Any], value: StepValue) -> None:
        """Let `array` be that of `value`."""
        self._of[id(array)] = ref(array), value

    def add_hidden(self, array: NDArray[Any], value: StepValue) -> None:
        """Let a hidden array, and any view of the whole of it, be those of `value`."""
        self.add(array, value)
        if array.size:
            self._hidden[_memory(array)] = ref(array), value

    def get(self, array: Any) -> StepValue | None:
        """Return the value of `array`, if it is known."""
        found = self._of.get(id(array))
        if found is not None and found[0]() is array:
            return found[1]
        if isinstance(array, np.ndarray) and array.size:
            found = self._hidden.get(_memory(array))
            if found is not None and found[0]() is not None:
                return found[1]
        return None


def _memory(array: NDArray[Any]) -> tuple[Any, ...]:
    start = plain(array).__array_interface__["data"][0]
    return start, array.shape, array.strides, array.dtype
