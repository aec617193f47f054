"""Datasets: checked when made, then chosen from, split and balanced."""

from __future__ import annotations

import re
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tinygrad_cnn.data import DataError, Dataset, Split

LABELS = st.lists(st.integers(0, 3), min_size=1, max_size=60)
SEEDS = st.integers(0, 2**64)


def numbered(labels: list[int]) -> Dataset:
    """A set whose image `i` holds the number `i`."""
    images = np.arange(len(labels), dtype=np.uint8)[:, None, None, None]
    return Dataset(images, np.array(labels, np.int64), tuple("abcd"), "numbered")


def numbers(dataset: Dataset) -> list[int]:
    return [int(number) for number in dataset.images[:, 0, 0, 0]]


IMAGES = np.zeros((2, 1, 3, 3), np.uint8)
TWO = np.array([0, 1])


@pytest.mark.parametrize(
    ("images", "labels", "classes", "message"),
    [
        ([[0]], TWO, "ab", "images are a list; expected an array of uint8, shape (N, C, H, W)"),
        (IMAGES[:, 0], TWO, "ab", "images are of uint8, shape (2, 3, 3); expected"),
        (IMAGES / 1, TWO, "ab", "images are of float64, shape (2, 1, 3, 3); expected"),
        (IMAGES[:, :0], TWO, "ab", "shape (2, 0, 3, 3): C, H and W must be positive"),
        (IMAGES, TWO.astype(np.uint8), "ab", "labels are of uint8, shape (2,); expected"),
        (IMAGES, TWO[None], "ab", "labels are of int64, shape (1, 2); expected"),
        (IMAGES[:1], TWO, "ab", "1 images but 2 labels"),
        (IMAGES, TWO, "a", "labels[1] is 1; expected an integer from 0 to 0"),
        (IMAGES, -TWO, "ab", "labels[1] is -1; expected an integer from 0 to 1"),
        (IMAGES, TWO, "", "classes are (); expected distinct names, 1 or more"),
        (IMAGES, TWO, "aa", "classes are ('a', 'a'); expected distinct names"),
        (IMAGES, TWO, (0, 1), "classes are (0, 1); expected distinct names"),
    ],
)
def test_a_set_that_is_not_sound_is_refused(
    images: Any, labels: Any, classes: Any, message: str
) -> None:
    with pytest.raises(DataError, match="^toy: .*" + re.escape(message)):
        Dataset(images, labels, tuple(classes), "toy")


def test_a_set_is_read_only_and_leaves_the_arrays_it_was_made_from_as_they_were() -> None:
    images = IMAGES.copy()
    dataset = Dataset(images, TWO, ("a", "b"), "toy")
    with pytest.raises(ValueError, match="read-only"):
        dataset.images[0] = 1
    with pytest.raises(ValueError, match="read-only"):
        dataset.labels[0] = 1
    assert np.shares_memory(dataset.images, images)
    images[0] = 1


@given(LABELS, st.data())
def test_choosing_gives_the_examples_that_numpy_would(
    labels: list[int], data: st.DataObject
) -> None:
    dataset = numbered(labels)
    indices = st.lists(st.integers(-len(labels), len(labels) - 1))
    masks = st.lists(st.booleans(), min_size=len(labels), max_size=len(labels))
    index = data.draw(st.slices(len(labels)) | indices | masks.map(np.array))
    chosen = dataset[index]
    key: Any = np.array(index, np.intp) if isinstance(index, list) else index
    assert numbers(chosen) == np.arange(len(labels))[key].tolist()
    assert chosen.labels.tolist() == np.array(labels)[key].tolist()
    assert (chosen.classes, chosen.name) == (dataset.classes, dataset.name)


def test_a_slice_shares_memory(small: Dataset) -> None:
    assert np.shares_memory(small[3:9].images, small.images)


@pytest.mark.parametrize("index", [0, np.int64(3), 1.5, "a", [[1]], [0.5], None, (1, 2, [3])])
def test_what_is_no_set_of_examples_is_refused_as_an_index(small: Dataset, index: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        small[index]


def test_an_index_out_of_range_is_an_index_error(small: Dataset) -> None:
    with pytest.raises(IndexError):
        small[[30]]
    with pytest.raises(IndexError):
        small[np.ones(29, np.bool_)]


@given(LABELS, st.floats(0.01, 0.99), SEEDS)
def test_a_split_is_disjoint_complete_stratified_ordered_and_reproducible(
    labels: list[int], fraction: float, seed: int
) -> None:
    assume(max(np.bincount(labels)) > 1)
    dataset = numbered(labels)
    train, validation = dataset.split(fraction, seed)
    first, second = numbers(train), numbers(validation)
    assert sorted(first + second) == list(range(len(labels)))
    assert first == sorted(first)
    assert second == sorted(second)
    for label in range(4):
        count = labels.count(label)
        got = np.count_nonzero(train.labels == label)
        assert abs(got - fraction * count) <= (0.5 if 0.5 < fraction * count < count - 0.5 else 1)
        if count > 1:
            assert 0 < got < count
    again = dataset.split(fraction, seed)
    assert (numbers(again[0]), numbers(again[1])) == (first, second)


def test_another_seed_gives_another_split_and_another_balanced_set(small: Dataset) -> None:
    assert numbers(small.split(0.5, 0)[0]) != numbers(small.split(0.5, 1)[0])
    assert numbers(small.balanced(5, 0)) != numbers(small.balanced(5, 1))


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.5, 1.5, float("nan")])
def test_a_fraction_that_leaves_a_part_empty_is_refused(small: Dataset, fraction: float) -> None:
    with pytest.raises(ValueError, match=r"split: fraction is .*; expected strictly between"):
        small.split(fraction)


@pytest.mark.parametrize("labels", [[], [0], [0, 1, 2]])
def test_too_few_examples_to_split_are_refused(labels: list[int]) -> None:
    with pytest.raises(DataError, match="cannot be split in two"):
        numbered(labels).split(0.5)


@given(LABELS, st.integers(1, 5), SEEDS)
def test_a_balanced_set_of_too_few_examples_is_refused(
    labels: list[int], more: int, seed: int
) -> None:
    per_class = min(np.bincount(labels, minlength=4)) + more
    with pytest.raises(DataError, match=r"class '[abcd]' has \d+ examples; balanced needs"):
        numbered(labels).balanced(per_class, seed)


@given(LABELS, st.integers(1, 5), SEEDS, st.randoms())
def test_a_balanced_set_has_as_many_of_each_class_in_order(
    labels: list[int], per_class: int, seed: int, chance: Random
) -> None:
    labels = labels + list(range(4)) * per_class
    chance.shuffle(labels)
    dataset = numbered(labels)
    chosen = dataset.balanced(per_class, seed)
    assert np.bincount(chosen.labels).tolist() == [per_class] * 4
    assert numbers(chosen) == sorted(set(numbers(chosen)))
    assert chosen.labels.tolist() == [labels[number] for number in numbers(chosen)]
    assert numbers(dataset.balanced(per_class, seed)) == numbers(chosen)


def test_a_balanced_set_of_none_is_refused(small: Dataset) -> None:
    with pytest.raises(ValueError, match="per_class is 0; expected at least 1"):
        small.balanced(0)


def test_a_validation_set_is_set_aside_from_the_training_set(small: Dataset) -> None:
    split = Split(small, small[:3]).with_validation(0.25, seed=2)
    train, validation = small.split(0.75, seed=2)
    assert split.validation is not None
    np.testing.assert_array_equal(split.validation.images, validation.images)
    np.testing.assert_array_equal(split.train.images, train.images)
    assert len(split.test) == 3
    assert "validation=" in repr(split)
    with pytest.raises(ValueError, match="with_validation: fraction is 1"):
        Split(small, small).with_validation(1.0)
    other = Dataset(small.images, small.labels, ("x", "y", "z"), "other")
    with pytest.raises(DataError, match="but validation has"):
        Split(small, small, other)


def test_the_two_parts_of_a_split_must_agree(small: Dataset) -> None:
    other = Dataset(small.images, small.labels, ("x", "y", "z"), "other")
    with pytest.raises(DataError, match=r"small: train has the classes .* but test has"):
        Split(small, other)
    other = Dataset(small.images[:, :, 1:], small.labels, small.classes, "other")
    with pytest.raises(DataError, match=r"train has images of shape \(1, 4, 5\) but test of"):
        Split(small, other)
