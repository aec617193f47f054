"""Strategies for arrays with short, binary-exact values, suitable for derivatives."""

from __future__ import annotations

import math
from typing import Any, TypeAlias

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tinygrad_cnn.check.strategies.shapes import broadcasting, shapes
from tinygrad_cnn.engine.arrays import Array, Shape

Shapes: TypeAlias = Shape | st.SearchStrategy[Shape]

ONE_BY_ONE = 64
"""The most elements drawn one by one; larger arrays are generated from a drawn seed."""

_DOWN = [1.0, 1.0, 1.0, 1.0, 1.0, 2.0**-4, 2.0**-10]
_BOTH = [1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 2.0**-10, 2.0**-4, 16.0]

_seeds = st.integers(0, 2**32 - 1)


@st.composite
def arrays(
    draw: st.DrawFn,
    shape: Shapes | None = None,
    low: float | None = None,
    high: float | None = None,
    *,
    nonzero: bool = False,
    off_kinks: bool = False,
) -> Array:
    """Draw a float64 array of multiples of 1/16: exact in binary, with few digits when shrunk.

    One in three is scaled by a power of two: up to 16 times as large without limits, and down to
    within 1/1024 if the limits include 0.

    Parameters
    ----------
    shape : tuple of int or strategy, optional
        By default, up to three axes of length 1 to 4.
    low, high : float, optional
        Limits, both included; by default −3 and 3, or −48 and 48 when scaled.
    nonzero : bool
        Exclude 0.
    off_kinks : bool
        Draw odd multiples of 1/32 instead. None of them is a multiple of 1/16 such as 0, so values
        are never on a kink at such a number.

    Returns
    -------
    strategy of ndarray

    Examples
    --------
    >>> from hypothesis import find
    >>> from tinygrad_cnn.check.strategies import arrays
    >>> find(arrays((3,), 0.5, 2.0), lambda x: x.sum() > 2)
    array([0.5   , 0.5   , 1.0625])
    >>> find(arrays((2,), off_kinks=True), lambda x: True)
    array([0.03125, 0.03125])
    """
    chosen = _drawn(draw, shapes() if shape is None else shape)
    scale = 1.0
    if not off_kinks and (-math.inf if low is None else low) <= 0 <= (
        math.inf if high is None else high
    ):
        scale = draw(st.sampled_from(_DOWN if low is not None or high is not None else _BOTH))
    low, high = -3.0 if low is None else low, 3.0 if high is None else high
    shift = 0.5 if off_kinks else 0.0
    least, most = math.ceil(low * 16 - shift), math.floor(high * 16 - shift)
    if math.prod(chosen) > ONE_BY_ONE:
        numbers = np.random.default_rng(draw(_seeds)).integers(least, most + 1, size=chosen)
        if nonzero:
            numbers[numbers == 0] = 1 if most > 0 else -1
    else:
        number = st.integers(least, most)
        elements = number.filter(bool) if nonzero and not off_kinks else number
        numbers = draw(hnp.arrays(np.int64, chosen, elements=elements, fill=st.nothing()))
    return np.asarray((numbers + shift) / 16 * scale)


@st.composite
def distinct(draw: st.DrawFn, shape: Shapes | None = None) -> Array:
    """Draw a float64 array of distinct multiples of 1/16, for a maximum without ties.

    Examples
    --------
    >>> from hypothesis import find
    >>> from tinygrad_cnn.check.strategies import distinct
    >>> find(distinct((4,)), lambda x: x[0] > x[1])
    array([-0.0625, -0.125 ,  0.    ,  0.0625])
    """
    chosen = _drawn(draw, shapes() if shape is None else shape)
    size = math.prod(chosen)
    if size > ONE_BY_ONE:
        order = np.random.default_rng(draw(_seeds)).permutation(size)
    else:
        order = np.array(draw(st.permutations(range(size))), np.int64)
    return np.asarray((order - size // 2) / 16).reshape(chosen)


@st.composite
def operands(
    draw: st.DrawFn,
    /,
    count: int,
    low: float | None = None,
    high: float | None = None,
    **options: Any,
) -> tuple[Array, ...]:
    """Draw `count` arrays that broadcast together; other arguments are as for `arrays`.

    Examples
    --------
    >>> from hypothesis import find
    >>> from tinygrad_cnn.check.strategies import operands
    >>> a, b = find(operands(2), lambda drawn: drawn[0].ndim == 1 and drawn[1].ndim == 2)
    >>> (a + b).ndim
    2
    """
    drawn = draw(broadcasting(count))
    return tuple(draw(arrays(shape, low, high, **options)) for shape in drawn)


@st.composite
def labels(draw: st.DrawFn, shape: Shapes = (3,), classes: int = 4) -> Array:
    """Draw an int64 array of labels, from 0 to `classes` − 1.

    Examples
    --------
    >>> from hypothesis import find
    >>> from tinygrad_cnn.check.strategies import labels
    >>> find(labels((3,), classes=5), lambda labels: labels.max() > 2)
    array([0, 0, 3])
    """
    chosen = _drawn(draw, shape)
    elements = st.integers(0, classes - 1)
    return np.asarray(draw(hnp.arrays(np.int64, chosen, elements=elements, fill=st.nothing())))


def masks(shape: Shapes = (3,)) -> st.SearchStrategy[Array]:
    """Draw an array of bools.

    Examples
    --------
    >>> from hypothesis import find
    >>> from tinygrad_cnn.check.strategies import masks
    >>> find(masks((2, 2)), lambda mask: mask[0, 0])[0]
    array([ True, False])
    """
    return hnp.arrays(np.bool_, shape, fill=st.nothing())


def one_hot(shape: Shapes = (3,), classes: int = 4) -> st.SearchStrategy[Array]:
    """Draw labels as float64 rows of shape ``(*shape, classes)``: 1 at the label, 0 elsewhere.

    Examples
    --------
    >>> from hypothesis import find
    >>> from tinygrad_cnn.check.strategies import one_hot
    >>> find(one_hot((2,), classes=3), lambda rows: rows[0, 0] == 0)
    array([[0., 1., 0.],
           [1., 0., 0.]])
    """
    return labels(shape, classes).map(lambda drawn: np.eye(classes)[drawn])


@st.composite
def probabilities(draw: st.DrawFn, shape: Shapes = (3, 4)) -> Array:
    """Draw a float64 array that is positive and sums to 1 along the last axis.

    Examples
    --------
    >>> from hypothesis import find
    >>> from tinygrad_cnn.check.strategies import probabilities
    >>> find(probabilities((2,)), lambda row: True)
    array([0.5, 0.5])
    """
    weights = draw(arrays(shape, low=1 / 16))
    return np.asarray(weights / weights.sum(axis=-1, keepdims=True))


def _drawn(draw: st.DrawFn, shape: Shapes) -> Shape:
    return shape if isinstance(shape, tuple) else draw(shape)
