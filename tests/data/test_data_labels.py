"""One-hot labels: there and back, and the first bad entry named."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from tinygrad_cnn.data import DataError, from_one_hot, one_hot

LABELS = hnp.arrays(
    st.sampled_from([np.uint8, np.int64, np.float32]),
    hnp.array_shapes(min_dims=0, max_dims=3, min_side=0),
    elements=st.integers(0, 6),
)


@given(LABELS, st.sampled_from([np.float32, np.float64, np.int64, np.bool_]))
def test_from_one_hot_undoes_one_hot(labels: NDArray[Any], dtype: type[np.generic]) -> None:
    hot = one_hot(labels, 7, dtype)
    assert hot.dtype == dtype
    assert hot.shape == (*labels.shape, 7)
    np.testing.assert_array_equal(hot, labels[..., None] == np.arange(7))
    again = from_one_hot(hot)
    assert again.dtype == np.int64
    np.testing.assert_array_equal(again, labels)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([0, -1, -2], "labels[1] is -1; expected an integer from 0 to 2"),
        ([0, 3], "labels[1] is 3;"),
        ([[0, 1], [5, 9]], "labels[1, 0] is 5;"),
        ([0.0, 1.5], "labels[1] is 1.5;"),
        ([0.0, float("nan")], "labels[1] is nan;"),
        ([float("inf")], "labels[0] is inf;"),
        (7, "labels is 7;"),
        (np.array([2**63], np.uint64), "labels[0] is 9223372036854775808;"),
        (["a"], "labels are of dtype <U1; expected integers"),
        ([1j], "labels are of dtype complex128;"),
        ([None], "labels are of dtype object;"),
        ([[0], [0, 1]], "labels cannot be converted to an array"),
    ],
)
def test_a_bad_label_is_refused_by_its_place(labels: Any, message: str) -> None:
    with pytest.raises(DataError, match="^" + re.escape(message)):
        one_hot(labels, 3)


def test_no_classes_are_refused() -> None:
    with pytest.raises(ValueError, match="classes is 0; expected at least 1"):
        one_hot([], 0)
    with pytest.raises(TypeError):
        one_hot([0], 2.5)


@pytest.mark.parametrize(
    "row", [[0, 0, 0], [1, 1, 0], [2, 0, 0], [0.5, 0.5, 0], [1, float("nan"), 0], [1, -1, 1]]
)
def test_a_vector_that_is_not_one_hot_is_refused_by_its_place(row: list[float]) -> None:
    with pytest.raises(DataError, match=r"^from_one_hot: array\[1\] is \["):
        from_one_hot([[1.0, 0.0, 0.0], row])


@pytest.mark.parametrize("array", [1, np.zeros((2, 0)), [["a"]]])
def test_what_has_no_vectors_of_numbers_is_refused(array: Any) -> None:
    with pytest.raises(DataError, match=r"from_one_hot: got shape .*; expected numbers"):
        from_one_hot(array)
