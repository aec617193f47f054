"""The loader: every example once, in an order that the seed and the epoch decide."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from tinygrad_cnn.data import DataError, DataLoader, Dataset, Shift

COUNTS = st.integers(1, 40)
SIZES = st.none() | st.integers(1, 45)


def pair(count: int) -> tuple[NDArray[Any], NDArray[Any]]:
    return np.arange(count, dtype=np.float32)[:, None], np.arange(count)


def order(loader: DataLoader) -> list[int]:
    return [int(label) for _, labels in loader for label in labels]


@given(COUNTS, SIZES, st.booleans(), st.integers(0, 9))
def test_an_epoch_visits_each_example_exactly_once_with_its_label(
    count: int, size: int | None, shuffle: bool, seed: int
) -> None:
    loader = DataLoader(pair(count), size, shuffle=shuffle, seed=seed)
    batches = list(loader)
    assert len(batches) == len(loader) == -(-count // (size or count))
    assert {len(labels) for _, labels in batches[:-1]} <= {size}
    images = np.concatenate([images for images, _ in batches])
    labels = np.concatenate([labels for _, labels in batches])
    np.testing.assert_array_equal(images[:, 0], labels)
    assert sorted(labels) == list(range(count))
    assert shuffle or sorted(labels) == list(labels)


@given(COUNTS, st.integers(1, 45), st.booleans())
def test_drop_last_leaves_whole_batches_only(count: int, size: int, shuffle: bool) -> None:
    if size > count:
        with pytest.raises(ValueError, match="drop_last would leave no batch"):
            DataLoader(pair(count), size, shuffle=shuffle, drop_last=True)
        return
    loader = DataLoader(pair(count), size, shuffle=shuffle, drop_last=True)
    assert [len(labels) for _, labels in loader] == [size] * len(loader) == [size] * (count // size)
    assert len(set(order(loader))) == len(loader) * size


@given(st.integers(0, 2**70), st.integers(0, 9))
def test_the_order_is_that_of_the_seed_and_the_epoch(seed: int, epoch: int) -> None:
    loader = DataLoader(pair(30), 7, shuffle=True, seed=seed)
    loader.epoch = epoch
    assert order(loader) == np.random.default_rng([seed, epoch]).permutation(30).tolist()
    assert loader.epoch == epoch + 1


def test_a_resumed_loader_gives_the_batches_it_would_have_given() -> None:
    def fresh() -> DataLoader:
        images = np.random.default_rng(0).integers(256, size=(20, 1, 6, 6), dtype=np.uint8)
        return DataLoader((images, np.arange(20)), 8, shuffle=True, seed=5, transform=Shift(2))

    whole, resumed = fresh(), fresh()
    epochs = [list(whole) for _ in range(4)]
    resumed.epoch = 3
    for (images, labels), (images_again, labels_again) in zip(epochs[3], resumed, strict=True):
        np.testing.assert_array_equal(images, images_again)
        np.testing.assert_array_equal(labels, labels_again)
    assert not np.array_equal(epochs[2][0][0], epochs[3][0][0])


def test_the_epoch_counts_when_an_iteration_starts_even_if_it_is_broken_off() -> None:
    loader = DataLoader(pair(10), 2, shuffle=True)
    next(iter(loader))
    assert loader.epoch == 1
    first, second = iter(loader), iter(loader)
    assert loader.epoch == 3
    assert [int(n) for _, labels in first for n in labels] != [
        int(n) for _, labels in second for n in labels
    ]


def test_each_batch_is_transformed_with_draws_of_its_own() -> None:
    draws: list[float] = []

    def note(images: NDArray[Any], rng: np.random.Generator) -> NDArray[Any]:
        draws.append(rng.random())
        return images + 1

    loader = DataLoader(pair(6), 2, transform=note)
    for images, labels in loader:
        np.testing.assert_array_equal(images[:, 0], labels + 1)
    list(loader)
    assert len(set(draws)) == 6
    orders = {np.random.default_rng([0, epoch]).random() for epoch in range(2)}
    assert not orders & set(draws)  # nor do they repeat the draws of the order


@pytest.mark.parametrize("shuffle", [False, True])
def test_uint8_becomes_float32_from_0_to_1_exactly_as_division_by_255(shuffle: bool) -> None:
    images = np.arange(256, dtype=np.uint8).reshape(64, 1, 2, 2)
    dataset = Dataset(images, np.zeros(64, np.int64), ("a",), "ramp")
    ((floats, labels),) = DataLoader(dataset, None, shuffle=shuffle)
    assert floats.dtype == np.float32
    assert labels.dtype == np.int64
    expected = images.astype(np.float32) / np.float32(255)
    np.testing.assert_array_equal(np.sort(floats, None), expected.ravel())
    assert (floats.min(), floats.max()) == (0, 1)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_float_images_keep_their_dtype_and_are_not_scaled(dtype: type[Any]) -> None:
    images = np.linspace(-500, 500, 12, dtype=dtype).reshape(3, 1, 2, 2)
    ((batch, labels),) = DataLoader((images, np.array([2, 0, 1], np.uint8)), None)
    assert batch.dtype == dtype
    assert labels.dtype == np.int64
    np.testing.assert_array_equal(batch, images)


def test_float_targets_are_given_as_they_are() -> None:
    targets = np.eye(4)
    batches = list(DataLoader((np.zeros((4, 2), np.float32), targets), 3))
    np.testing.assert_array_equal(np.concatenate([target for _, target in batches]), targets)


def test_without_shuffling_floats_and_labels_are_read_only_views() -> None:
    images, labels = pair(10)
    for floats, numbers in DataLoader((images, labels), 4):
        assert np.shares_memory(floats, images)
        assert np.shares_memory(numbers, labels)
        assert not floats.flags.writeable
        assert not numbers.flags.writeable
    assert images.flags.writeable
    assert labels.flags.writeable


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"batch_size": 0}, ValueError, "batch_size is 0, expected an integer >= 1"),
        ({"batch_size": -3}, ValueError, "batch_size is -3, expected an integer >= 1"),
        ({"batch_size": 2.0}, ValueError, "batch_size is 2.0, expected an integer >= 1"),
        ({"batch_size": True}, ValueError, "batch_size is True, expected an integer >= 1"),
        ({"seed": -1}, ValueError, "seed is -1, expected an integer >= 0"),
        ({"seed": None}, ValueError, "seed is None, expected an integer >= 0"),
        ({"transform": 3}, TypeError, "transform is 3; expected a callable"),
        ({"dataset": 3}, TypeError, "dataset is a int; expected a Dataset, an array, a tuple or"),
        ({"dataset": "abc"}, TypeError, "dataset is a str; expected a Dataset"),
        ({"dataset": []}, ValueError, "the dataset is empty"),
        ({"dataset": (np.zeros(3), np.zeros(2))}, ValueError, "3 images but 2 labels"),
        ({"dataset": (np.zeros(0), np.zeros(0))}, ValueError, "the dataset is empty"),
        ({"dataset": (np.zeros(3, complex), np.zeros(3))}, TypeError, "images are complex128 of"),
        ({"dataset": (np.zeros(3),) * 2 + ([1],)}, ValueError, "3 images but 1 arrays[2]"),
        ({"dataset": {"x": np.zeros(3), "y": [1]}}, ValueError, "3 x but 1 y"),
        ({"collate": list}, ValueError, "collate is for examples that are taken one by one"),
        ({"dataset": [1, 2], "collate": 3}, TypeError, "collate is 3; expected a callable"),
        ({"shuffle": True, "sampler": [1]}, ValueError, "both shuffle and sampler are given"),
        ({"sampler": 3}, TypeError, "sampler is a int; expected a Sampler, or an iterable"),
        ({"sampler": iter([1])}, TypeError, "sampler is a list_iterator; expected a Sampler"),
        ({"num_workers": -1}, ValueError, "num_workers is -1, expected an integer >= 0"),
        ({"prefetch_factor": 0}, ValueError, "prefetch_factor is 0, expected an integer >= 1"),
        ({"persistent_workers": 1}, ValueError, "persistent_workers is 1, expected one of True"),
        (
            {"num_workers": 1, "multiprocessing_context": "x"},
            ValueError,
            "multiprocessing_context is 'x', expected one of 'fork",
        ),
        ({"dataset": (np.zeros(3), np.array(["a"] * 3))}, TypeError, "labels are <U1 of shape"),
        ({"dataset": (np.float32(1), np.zeros(3))}, TypeError, "images are float32 of shape ()"),
    ],
)
def test_what_makes_no_batches_is_refused(
    arguments: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match="^DataLoader: " + re.escape(message)):
        DataLoader(**{"dataset": pair(5), **arguments})


@given(
    st.sampled_from([np.float32, np.float64]),
    st.sampled_from([np.nan, np.inf, -np.inf]),
    st.booleans(),
    st.integers(0, 59),
)
def test_a_number_that_is_not_finite_is_found_at_loading(
    dtype: type[Any], bad: float, in_images: bool, place: int
) -> None:
    images, targets = (np.linspace(-1, 1, 60).reshape(5, 3, 4).astype(dtype) for _ in range(2))
    spoilt = images if in_images else targets
    spoilt.flat[place] = bad
    where = ", ".join(map(str, np.unravel_index(place, (5, 3, 4))))
    name = "images" if in_images else "labels"
    with pytest.raises(DataError, match=re.escape(f"DataLoader: {name}[{where}] is {bad}; exp")):
        DataLoader((images, targets))


def test_a_loader_reads_as_what_it_does(small: Dataset) -> None:
    assert repr(DataLoader(small, 8, shuffle=True, transform=Shift(1))) == (
        "DataLoader(30 examples in 4 batches, batch_size=8, shuffle=True, seed=0, epoch=0, "
        "transform=Shift(max_pixels=1))"
    )


def test_an_empty_dataset_is_refused(small: Dataset) -> None:
    with pytest.raises(ValueError, match="the dataset is empty"):
        DataLoader(small[:0])


@pytest.mark.parametrize("epoch", [-1, 1.0, True])
def test_an_epoch_that_is_none_is_refused_and_changes_nothing(epoch: Any) -> None:
    loader = DataLoader(pair(5))
    loader.epoch = 2
    with pytest.raises(ValueError, match="epoch is"):
        loader.epoch = epoch
    assert loader.epoch == 2
