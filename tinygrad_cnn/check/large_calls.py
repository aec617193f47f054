"""Large calls, for which an op may select another algorithm, and their properties."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np

from tinygrad_cnn.check.call import Call
from tinygrad_cnn.check.probe import Probe, Properties, PropertyError, as_leaf, lister
from tinygrad_cnn.check.strategies.layouts import LAYOUTS, fortran_order
from tinygrad_cnn.core.graph import grad
from tinygrad_cnn.engine.arrays import Array
from tinygrad_cnn.support.arguments import first_index

ArgumentAxis: TypeAlias = tuple[str, int, int]
"""An axis of an argument: the parameter, the array's index in its list (or 0), and the axis.

Axis −1 − k is entry k of a shape option.
"""
MULTIPLY_ADDS = 3_000_000
"""The highest cost of a large call, for ops that declare their cost."""
FIRST_TRY = 3
"""The factor by which an axis is first lengthened, to see whether the op takes it."""


@dataclass(frozen=True)
class Growth:
    """A call enlarged along the axes `places` of its arguments.

    `result_axis` is the batch-like axis of the result, on which each index depends only on the same
    index of `places`; None if there is none.
    """

    call: Call
    places: tuple[ArgumentAxis, ...]
    result_axis: int | None = None

    def piece(self, chosen: Sequence[int]) -> Call:
        """Return the call on some indices of the longer axis."""
        return resized(self.call, self.places, chosen)

    @property
    def length(self) -> int:
        """The length of the longer axis."""
        return length_of(self.call, self.places)


def with_axes(call: Call) -> Call:
    """Return the call; if all arrays of an elementwise op are scalars, with one axis added."""
    arrays = list(_arrays(call))
    if not call.op.elementwise or any(array.ndim for _, _, array in arrays):
        return call
    longer = {name: array.reshape(1) for name, _, array in arrays}
    return Call(call.op, {**call.arguments, **longer}, call.of)


def growths(call: Call, rng: np.random.Generator) -> list[Growth]:
    """Return the ways to enlarge `call` along one axis of its result or of its sums.

    Axes of equal length are lengthened together, such as the batches of images and labels. If the
    op does not take that, the axes at the same position are, or each axis alone.
    """
    found: list[Growth] = []
    taken: set[ArgumentAxis] = set()
    whole = call
    for places in _candidates(call):
        longer = FIRST_TRY * length_of(call, places)
        if taken & set(places) or _grown(call, places, longer, rng) is None:
            continue
        taken |= set(places)
        # still a small call, but all enlarged axes differ in length
        whole = _grown(whole, places, FIRST_TRY + len(found), rng) or whole
        found.append(Growth(call, places))
    return [replace(way, result_axis=_batch_axis(Growth(whole, way.places))) for way in found]


def enlarged(
    call: Call, ways: Sequence[Growth], entries: int, rng: np.random.Generator
) -> tuple[Call, list[Growth]]:
    """Return `call` enlarged until an array has about `entries` entries, and the ways used.

    The `ways` are of `call`; those that do not fit with the others are skipped.
    """
    taken: list[Growth] = []
    for left, way in zip(range(len(ways), 0, -1), ways, strict=True):
        factor = math.ceil((entries / max(largest(call), 1)) ** (1 / left))
        length = length_of(call, way.places)
        for tried in (factor, factor // 4, math.isqrt(factor), round(factor ** (1 / 3))):
            grown = (
                _grown(call, way.places, tried * length, rng, 2 * entries) if tried > 1 else None
            )
            if grown is not None:
                call = grown
                taken.append(way)
                break
    return call, [replace(way, call=call) for way in taken]


def largest(call: Call) -> int:
    """Return the number of entries of the largest array in a call, including the result."""
    sizes = [array.size for _, _, array in _arrays(call)]
    return max([*sizes, int(np.size(call(*call.inputs)))])


def _candidates(call: Call) -> Iterator[tuple[ArgumentAxis, ...]]:
    """Yield sets of axes that may need to have equal length, the most likely first."""
    lengths: dict[int, list[ArgumentAxis]] = {}
    for name, k, array in _arrays(call):
        for axis, length in enumerate(array.shape):
            lengths.setdefault(length, []).append((name, k, axis))
    if call.op.elementwise:
        ndim = max((array.ndim for _, _, array in _arrays(call)), default=0)
        for axis in range(ndim):
            yield tuple(
                (name, k, axis - ndim + array.ndim)
                for name, k, array in _arrays(call)
                if axis - ndim + array.ndim >= 0
            )
        return
    for length, places in lengths.items():
        if length == 0:
            continue
        shapes = [
            (name, 0, -1 - k)
            for name, value in call.constants.items()
            if name.endswith("shape") and isinstance(value, tuple)
            for k, entry in enumerate(value)
            if entry == length
        ]
        for axis in sorted({axis for _, _, axis in places}):
            same = [place for place in places if place[2] == axis]
            yield from ((*same, *shapes[k : k + 1]) for k in range(len(shapes)))
            yield tuple(same)
        yield (*places, *shapes)
        yield from ((*places, shape) for shape in shapes)
        yield from ((place, shape) for place in places for shape in shapes)
        yield from ((place,) for place in places)


def _grown(
    call: Call,
    places: tuple[ArgumentAxis, ...],
    length: int,
    rng: np.random.Generator,
    most: float = math.inf,
) -> Call | None:
    """Return the call with axes of another length; None if the op does not take it.

    No array has more than `most` entries.
    """
    old = length_of(call, places)
    if old == 0:
        return None
    for name, k, array in _arrays(call):  # before memory is taken: several axes may grow at once
        sides = (
            length if n == old and (name, k, axis) in places else n
            for axis, n in enumerate(array.shape)
        )
        if math.prod(sides) > most:
            return None
    chosen = np.concatenate([np.arange(old), rng.integers(old, size=max(length - old, 0))])[:length]
    longer = resized(call, places, chosen)
    for made in (_varied(longer, rng), longer):
        try:
            with np.errstate(all="ignore"):
                y = np.asarray(made(*made.inputs), np.float64)
            if y.size <= most and np.isfinite(y).all() and made.cost(y) <= MULTIPLY_ADDS:
                return made
        except Exception:  # ops may reject arguments with any error
            continue
    return None


def length_of(call: Call, places: tuple[ArgumentAxis, ...]) -> int:
    """Return the length of the axes `places`; some may be 1 and broadcast."""
    arrays: dict[tuple[str, int], Array] = {(name, k): x for name, k, x in _arrays(call)}
    return max([int(arrays[name, k].shape[axis]) for name, k, axis in places if axis >= 0])


def resized(call: Call, places: tuple[ArgumentAxis, ...], chosen: Any) -> Call:
    """Return the call with the indices `chosen` of some axes; broadcast axes are unchanged."""
    length = length_of(call, places)
    arguments = dict(call.arguments)
    for name, k, axis in places:
        value = arguments[name]
        if axis < 0:
            shape = list(value)
            shape[-1 - axis] = len(chosen)
            arguments[name] = tuple(shape)
        elif isinstance(value, list | tuple):
            parts = list(value)
            parts[k] = np.take(parts[k], chosen, axis)
            arguments[name] = parts
        elif np.shape(value)[axis] == length:
            arguments[name] = np.take(value, chosen, axis)
    return Call(call.op, arguments, call.of)


def _varied(call: Call, rng: np.random.Generator) -> Call:
    """Return the call with inputs varied by a few percent, to avoid ties from repeats."""
    return call.given([x * rng.uniform(0.95, 1.05, x.shape) for x in call.inputs])


def _batch_axis(small: Growth) -> int | None:
    """Return the axis of the result along which a call of `small` splits into independent parts."""
    if small.length < FIRST_TRY:
        return None
    whole = np.asarray(small.call(*small.call.inputs))
    axes = {k for k, n in enumerate(whole.shape) if n == length_of(small.call, small.places)}
    for chosen in ([0], [1, 0], [2, 1, 1]):
        part = small.piece(chosen)
        try:
            y = np.asarray(part(*part.inputs))
        except Exception:
            return None
        axes = {axis for axis in axes if _close(y, np.take(whole, chosen, axis))}
    return min(axes, default=None)


def _close(a: Array, b: Array) -> bool:
    return a.shape == b.shape and np.allclose(a, b, rtol=1e-9, atol=1e-9)


def _arrays(call: Call) -> Iterator[tuple[str, int, Array]]:
    for name, value in call.arguments.items():
        if isinstance(value, np.ndarray):
            yield name, 0, value
        elif call.op.sequence and name in call.of:
            yield from ((name, k, np.asarray(part)) for k, part in enumerate(value))


# --- properties -----------------------------------------------------------------------------------

LARGE: Properties = {}
holds = lister(LARGE)


@holds("a large call agrees with small ones")
def _(at: Probe, ways: Sequence[Growth] = ()) -> None:
    """If small calls split into parts along a batch, large calls must do so too."""
    rng = np.random.default_rng(0)
    for way in ways:
        axis = way.result_axis
        if axis is None or at.y.shape[axis] != way.length:
            continue
        chosen = [0, way.length - 1, *(int(k) for k in rng.integers(way.length, size=2))]
        small = way.piece(chosen)
        y = np.asarray(small(*small.inputs))
        got = np.take(at.y._array, chosen, axis)
        scale = float(np.max(np.abs(at.y._array), initial=0.0))
        apart = np.abs(got - y)
        if not (apart <= 1e-9 * scale).all():
            index = first_index(~(apart <= 1e-9 * scale))
            raise PropertyError(
                f"the result is {got[index]:.17g} in a call of shape {at.y.shape}, but "
                f"{y[index]:.17g} in one of shape {y.shape} with the same numbers"
            )


@holds("the layout of a large call does not matter")
def _(at: Probe, ways: Sequence[Growth] = ()) -> None:
    """Check float32 in Fortran order, and with each array in another of `LAYOUTS`."""
    others = [LAYOUTS[(at.y.size + k) % len(LAYOUTS)] for k in range(len(at.call.inputs))]
    for layouts in ([fortran_order] * len(others), others):
        pairs = zip(layouts, at.call.inputs, strict=True)
        leaves = [as_leaf(layout(x.astype(np.float32))) for layout, x in pairs]
        y = at.call(*leaves)
        where = f"in float32 of inputs in {', '.join(layout.__name__ for layout in layouts)}"
        at.compare_result(y._array, f"the result {where}", dtype=np.float32)
        at.compare_gradients(grad(y, leaves, gradient=at.u), where, dtype=np.float32)
