"""The check of a step's tapes: results and changes of state, against those of its NumPy program.

Kernels add in another order than NumPy, so bits differ. What may differ is decided for each array
as a whole: in float32 a value near the kink of a rectifier, or a tie of a pooling, may change side,
and with it single gradients by all of their size, but the array's norm by little. A gradient that
is 0 but for rounding, as of a bias before a batch norm, is another number in each order. So where a
difference is large, NumPy computes the step again with inputs and parameters that differ by
rounding: what that changes, a kernel may change too.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn.compiler.snapshot import difference
from tinygrad_cnn.core.variable import Variable

OF_ARRAYS = {"f": 0.05, "d": 1e-9}
"""The largest difference by dtype: its norm, relative to that of the array, or of its change."""

OF_NUMBERS = {"f": 1e-3, "d": 1e-9}
"""The same for arrays of one number that the step returns, such as a loss."""

SENSITIVITY = 100.0
"""How many times as much as rounding the inputs a kernel may change."""

DRAWS = 4
"""The number of computations with other roundings."""

ROUNDING = 4.0
"""By how many units of its dtype's precision an input is changed at most."""


class StepOutcome:
    """What one run of a step returned and changed.

    Parameters
    ----------
    result : object
        What it returned.
    before, after : dict of str to object
        The state, as `Snapshot.current` returns it.

    Attributes
    ----------
    values : dict of str to object
        The results and the state after the run, by place.
    changes : dict of str to object
        The same, with the change in place of an array that the run has changed.
    """

    def __init__(self, result: Any, before: dict[str, Any], after: dict[str, Any]) -> None:
        self.values = dict(_parts("the result", result)) | after
        self.changes = dict(self.values)
        for place, array in after.items():
            start = before.get(place)
            if not place.endswith(".grad") and _are_floating(start, array):
                self.changes[place] = array.astype(_wide(array)) - start


def disturb(arrays: Iterable[NDArray[Any]], seed: int) -> None:
    """Change floating arrays in place by a few roundings, toward 0: ranges such as 0 to 1 hold."""
    rng = np.random.default_rng(seed)
    for array in arrays:
        if array.dtype.char in OF_ARRAYS and array.flags.writeable:
            unit = ROUNDING * np.finfo(array.dtype).eps
            array -= (unit * array * rng.random(array.shape)).astype(array.dtype)


def excess(
    tapes: StepOutcome, expected: StepOutcome, disturbed: Callable[[int], StepOutcome | None]
) -> tuple[str, str] | None:
    """Return a place in which tapes differ from NumPy by more than rounding, and how; else None.

    Parameters
    ----------
    tapes, expected : StepOutcome
        Of tapes and of NumPy.
    disturbed : callable
        Returns the outcome of NumPy with other roundings, from the number of the draw; None if it
        fails. It is called only if a difference is large.
    """
    others: list[StepOutcome] | None = None
    for place in dict.fromkeys([*expected.values, *tapes.values]):
        if "._" in place:  # memory that NumPy's implementation uses, such as gradients in a row
            continue
        found = _gap(place, tapes, expected, [])
        if found and others is None:
            drawn = [disturbed(k) for k in range(DRAWS)]
            others = [each for each in drawn if each is not None]
        if found and (found := _gap(place, tapes, expected, others or [])):
            return place, found
    return None


def _gap(place: str, tapes: StepOutcome, expected: StepOutcome, others: list[StepOutcome]) -> str:
    """Return how two values differ; "" if that is rounding."""
    ours, theirs = (np.asarray(each.values.get(place)) for each in (tapes, expected))
    if theirs.dtype.kind != "f" or (ours.shape, ours.dtype) != (theirs.shape, theirs.dtype):
        return difference(tapes.values.get(place), expected.values.get(place))
    finite = np.isfinite(theirs)
    if not np.array_equal(np.where(finite, 0.0, theirs), np.where(np.isfinite(ours), 0.0, ours),
                          equal_nan=True):  # fmt: skip
        return "" if any(_is_elsewhere(finite, o.values.get(place)) for o in others) else (
            "other values are infinite or NaN"
        )  # fmt: skip

    def size(a: Any, b: Any = 0.0) -> float:
        return float(np.linalg.norm(np.where(finite, np.asarray(a, _wide(theirs)) - b, 0.0)))

    change = expected.changes[place]
    bounds = OF_NUMBERS if theirs.size == 1 and place.startswith("the result") else OF_ARRAYS
    relative = bounds.get(theirs.dtype.char, OF_ARRAYS["f"])
    allowed = relative * size(change)
    allowed = max(allowed, 8.0 * float(np.finfo(theirs.dtype).eps) * size(theirs))
    if place.startswith("the result"):  # such as a loss near 0, which is a difference of logarithms
        allowed = max(allowed, 8.0 * float(np.finfo(theirs.dtype).eps) * math.sqrt(theirs.size))
    for other in others:
        moved = np.asarray(other.changes.get(place))
        if moved.shape == theirs.shape:
            allowed = max(allowed, SENSITIVITY * size(moved, change))
    gap = size(tapes.changes[place], change)
    if gap <= allowed:
        return ""
    return f"by {gap:.3g}, expected at most {allowed:.3g}; its norm is {size(change):.3g}"


def _is_elsewhere(finite: NDArray[Any], other: Any) -> bool:
    return np.shape(other) != finite.shape or not np.array_equal(np.isfinite(other), finite)


def _are_floating(a: Any, b: Any) -> bool:
    return (
        isinstance(a, np.ndarray)
        and isinstance(b, np.ndarray)
        and a.dtype.kind == b.dtype.kind == "f"
        and a.shape == b.shape
    )


def _wide(array: NDArray[Any]) -> Any:
    return np.result_type(array.dtype, np.float64)


def _parts(place: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Yield the arrays and other values of a result with their places."""
    if isinstance(value, dict):
        for key, part in value.items():
            yield from _parts(f"{place}[{key!r}]", part)
    elif isinstance(value, list | tuple):
        for i, part in enumerate(value):
            yield from _parts(f"{place}[{i}]", part)
    else:
        yield place, value._array if isinstance(value, Variable) else value
