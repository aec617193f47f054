"""The strategies draw what they say, all of it, and shrink to what reads well."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, find, given, settings
from hypothesis import strategies as st

import tinygrad_cnn as tg
from tinygrad_cnn.check import strategies as some

Array = np.ndarray[Any, Any]
THOROUGH = settings(
    max_examples=2000, database=None, derandomize=True, suppress_health_check=list(HealthCheck)
)


def drawn(strategy: st.SearchStrategy[Any], wanted: Callable[[Any], Any]) -> Any:
    """Return the smallest value of `strategy` that is wanted: there has to be one."""
    return find(strategy, lambda value: bool(wanted(value)), settings=THOROUGH)


# --- arrays --------------------------------------------------------------------------------------


@given(x=some.arrays(low=-2.0, high=1.5), positive=some.arrays(low=0.5))
def test_arrays_hold_sixteenths_within_limits_or_all_scaled_down(x: Array, positive: Array) -> None:
    for drawn, low, high in ((x, -2.0, 1.5), (positive, 0.5, 3.0)):
        assert drawn.dtype == np.float64
        assert ((drawn >= low) & (drawn <= high)).all()
        np.testing.assert_array_equal(drawn * 2.0**14, np.round(drawn * 2.0**14))
    np.testing.assert_array_equal(positive * 16, np.round(positive * 16))


def test_arrays_reach_beyond_3_and_within_a_sixteenth() -> None:
    assert np.max(np.abs(drawn(some.arrays((2,)), lambda x: np.max(np.abs(x)) > 3))) <= 48
    for limits in ({}, {"low": -1.0, "high": 1.0}, {"nonzero": True}):
        drawn(some.arrays((2,), **limits), lambda x: x.all() and np.max(np.abs(x)) < 1 / 16)


@given(x=some.arrays((2, 3), low=-0.5, high=0.5, off_kinks=True))
def test_off_kinks_no_value_is_a_sixteenth(x: Array) -> None:
    np.testing.assert_array_equal(x * 32 % 2, 1)
    assert (np.abs(x) <= 0.5).all()


@pytest.mark.parametrize("shape", [(4,), (5, 20)])
def test_nonzero_arrays_hold_no_zero(shape: tuple[int, ...]) -> None:
    @given(x=some.arrays(shape, low=-1 / 16, high=1 / 16, nonzero=True))
    def no_zero(x: Array) -> None:
        assert x.all()

    no_zero()


def test_arrays_shrink_to_zeros_and_then_one_by_one() -> None:
    np.testing.assert_array_equal(drawn(some.arrays((3,)), lambda x: True), [0, 0, 0])
    smallest = drawn(some.arrays((3,)), lambda x: x.max() > 1)
    assert sorted(smallest) == [0, 0, 1.0625]


def test_cells_of_an_array_are_drawn_one_by_one() -> None:
    """Hypothesis fills what it does not draw with one value, which makes ties."""
    drawn(some.arrays((5,)), lambda x: len(set(x)) == 5)


def test_a_large_array_is_drawn_by_its_seed() -> None:
    large = drawn(some.arrays((20, 20)), lambda x: True)
    assert len(np.unique(large)) > 40
    np.testing.assert_array_equal(large, drawn(some.arrays((20, 20)), lambda x: True))


@pytest.mark.parametrize("shape", [(), (7,), (10, 10)])
def test_distinct_arrays_have_no_ties(shape: tuple[int, ...]) -> None:
    @given(x=some.distinct(shape))
    def no_ties(x: Array) -> None:
        assert x.shape == shape
        assert len(np.unique(x)) == x.size

    no_ties()


@given(drawn=some.operands(3))
def test_operands_broadcast(drawn: tuple[Array, ...]) -> None:
    np.broadcast_arrays(*drawn)


@given(labels=some.labels((2, 3), classes=4), rows=some.one_hot((2, 3), classes=4))
def test_labels_are_classes_and_one_hot_rows_have_one_1(labels: Array, rows: Array) -> None:
    assert labels.shape == (2, 3)
    assert set(labels.flat) <= {0, 1, 2, 3}
    assert rows.shape == (2, 3, 4)
    np.testing.assert_array_equal(np.sort(rows, axis=-1), np.tile([0, 0, 0, 1], (2, 3, 1)))


@given(rows=some.probabilities((2, 5)))
def test_probabilities_are_positive_and_sum_to_1(rows: Array) -> None:
    assert (rows > 0).all()
    np.testing.assert_allclose(rows.sum(axis=-1), 1, rtol=1e-14)


# --- shapes --------------------------------------------------------------------------------------


@given(shapes=some.broadcasting(3))
def test_shapes_broadcast(shapes: list[tuple[int, ...]]) -> None:
    np.broadcast_shapes(*shapes)


@given(shapes=some.matmul_shapes())
def test_matmul_shapes_multiply(shapes: list[tuple[int, ...]]) -> None:
    np.matmul(*map(np.zeros, shapes))


@given(ndim=st.integers(0, 3), data=st.data())
def test_axes_are_some_of_an_array(ndim: int, data: st.DataObject) -> None:
    np.sum(np.zeros((2,) * ndim), axis=data.draw(some.axes(ndim)))


@given(shape=some.shapes(max_side=3), data=st.data())
def test_indices_fit_the_shape(shape: tuple[int, ...], data: st.DataObject) -> None:
    np.zeros(shape)[data.draw(some.indices(shape))]


POOLING = some.Pooling((1, 1, 4, 4), (1, 1, 2, 2), {"kernel_size": 2})
KINDS: dict[str, tuple[st.SearchStrategy[Any], Callable[[Any], Any]]] = {
    "the last class": (some.labels((2,), classes=4), lambda labels: (labels == 3).any()),
    "the last cell": (some.winners(POOLING), lambda cells: (cells == 3).any()),
    "true and false": (some.masks((2,)), lambda mask: mask[0] and not mask[1]),
    "unequal probabilities": (some.probabilities((2,)), lambda row: row[0] > row[1]),
    "operands of two shapes": (some.operands(2), lambda x: x[0].shape != x[1].shape),
    "fewer axes": (some.broadcasting(2), lambda x: len(x[0]) < len(x[1])),
    "an axis of 1": (some.broadcasting(2), lambda x: len(x[0]) == len(x[1]) and x[0] != x[1]),
    "a vector by a matrix": (some.matmul_shapes(), lambda x: [len(s) for s in x] == [1, 2]),
    "a batch of products": (some.matmul_shapes(), lambda x: len(x[0]) > 2 and x[0][0] > 1),
    "all axes": (some.axes(3), lambda axis: axis is None),
    "an axis from behind": (some.axes(3), lambda axis: axis == -1),
    "two axes": (some.axes(3), lambda axis: isinstance(axis, tuple) and len(axis) == 2),
    "slices": (
        some.indices((3, 2)),
        lambda index: isinstance(index, tuple) and {type(i) for i in index} == {slice},
    ),
    "a row twice": (
        some.indices((3, 2)),
        lambda index: isinstance(index, np.ndarray) and len(set(index.flat)) < index.size,
    ),
    "a mask": (some.indices((3, 2)), lambda index: str(getattr(index, "dtype", "")) == "bool"),
    "rows and a slice": (
        some.indices((3, 2)),
        lambda index: isinstance(index, tuple) and {type(i) for i in index} == {np.ndarray, slice},
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_argument_is_drawn(kind: str) -> None:
    drawn(*KINDS[kind])


# --- windows -------------------------------------------------------------------------------------


@given(at=some.convolutions())
def test_convolutions_fit_and_have_the_shape_they_say(at: some.Convolution) -> None:
    assert tg.conv2d(np.zeros(at.x), np.zeros(at.w), **at.options).shape == at.y


@given(at=some.transposed_convolutions())
def test_transposed_convolutions_fit_and_have_the_shape_they_say(at: some.Convolution) -> None:
    assert tg.conv_transpose2d(np.zeros(at.x), np.zeros(at.w), **at.options).shape == at.y


@given(limit=st.sampled_from([500, 1000, 10_000]), data=st.data())
def test_convolutions_are_bounded_in_multiply_adds(limit: int, data: st.DataObject) -> None:
    at = data.draw(some.convolutions(multiply_adds=limit))
    assert math.prod(at.y) * math.prod(at.w[1:]) <= limit


@given(at=some.poolings())
def test_poolings_fit_and_have_the_shape_they_say(at: some.Pooling) -> None:
    assert tg.maxpool(np.zeros(at.x), **at.options).shape == at.y


@given(at=some.poolings(average=True))
def test_average_poolings_fit_and_have_the_shape_they_say(at: some.Pooling) -> None:
    assert tg.avgpool(np.zeros(at.x), **at.options).shape == at.y


def test_a_batch_may_be_empty() -> None:
    drawn(some.convolutions(batches=(0, 1)), lambda at: at.x[0] == 0 and at.y[0] == 0)
    drawn(some.transposed_convolutions(batches=(0, 1)), lambda at: at.x[0] == 0)


@pytest.mark.parametrize(
    "kind",
    [
        lambda at: at.options["padding"] == "same" and at.w[2] % 2 == 0 and min(at.y[2:]) > 1,
        lambda at: at.options["stride"] == (2, 1) and at.y[2] > 1,
        lambda at: at.options["dilation"] in (2, (2, 2)) and min(at.w[2:]) > 1,
        lambda at: at.options["groups"] == 3 and at.w[1] == 1,
        lambda at: at.options["groups"] == 2 and at.w[1] == 2,
        lambda at: at.options["padding"] in (2, (2, 2)) and at.x[2] == 1,
        lambda at: _remainder(at) > 0 and at.y[2] > 1,
    ],
)  # fmt: skip
def test_every_kind_of_convolution_is_drawn(kind: Any) -> None:
    drawn(some.convolutions(), kind)


def _remainder(at: some.Convolution) -> int:
    """Return how many rows of the image no window reaches."""
    if isinstance(at.options["padding"], str):
        return 0
    stride, padding, dilation = (
        option[0] if isinstance(option, tuple) else option
        for option in (at.options[k] for k in ("stride", "padding", "dilation"))
    )
    return (at.x[2] + 2 * padding - dilation * (at.w[2] - 1) - 1) % stride


@pytest.mark.parametrize(
    "kind",
    [
        lambda at: at.options["kernel_size"] == 3 and at.options["stride"] == 1,  # overlapping
        lambda at: at.options["kernel_size"] == 1 and at.options["stride"] == 3,  # with gaps
        lambda at: at.options["padding"] == 1 and at.options["ceil_mode"],
        lambda at: at.options["dilation"] == 2 and at.options["kernel_size"] == 3,
    ],
)
def test_every_kind_of_pooling_is_drawn(kind: Any) -> None:
    drawn(some.poolings(), kind)


# --- layouts -------------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", some.LAYOUTS, ids=lambda layout: layout.__name__)
@pytest.mark.parametrize("shape", [(), (3,), (2, 3), (2, 3, 4), (2, 3, 4, 5), (0, 3), (2, 0, 3)])
def test_a_layout_keeps_the_values_and_shares_no_memory(
    layout: Any, shape: tuple[int, ...]
) -> None:
    x = np.random.default_rng(0).standard_normal(shape)
    moved = layout(x)
    np.testing.assert_array_equal(moved, x)
    assert (moved.shape, moved.dtype) == (x.shape, x.dtype)
    assert not np.shares_memory(moved, x)


def test_layouts_lie_in_memory_as_they_say() -> None:
    x = np.zeros((2, 3, 4, 5))
    c, fortran, strided, negative, read_only, channels_last, batch_last, unaligned = (
        layout(x) for layout in some.LAYOUTS
    )
    assert c.flags.c_contiguous
    assert fortran.flags.f_contiguous
    assert not strided.flags.forc
    assert strided.strides[-1] == 2 * x.itemsize
    assert all(step < 0 for step in negative.strides)
    assert not read_only.flags.writeable
    assert channels_last.transpose(0, 2, 3, 1).flags.c_contiguous
    assert batch_last.transpose(1, 2, 3, 0).flags.c_contiguous
    assert not unaligned.flags.aligned


@pytest.mark.parametrize("layout", some.LAYOUTS, ids=lambda layout: layout.__name__)
def test_every_layout_is_drawn(layout: Any) -> None:
    drawn(some.layouts(), lambda found: found is layout)


@given(at=some.poolings(), data=st.data())
def test_winners_are_cells_of_the_windows(at: some.Pooling, data: st.DataObject) -> None:
    cells = data.draw(some.winners(at))
    assert cells.shape == at.y
    options = {k: v for k, v in at.options.items() if k != "count_include_pad"}
    assert tg.gather_windows(np.ones(at.x), cells, **options).shape == at.y
