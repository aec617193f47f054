"""Loaders over lists, dicts and objects of one's own; collating; samplers."""

from __future__ import annotations

import itertools
import re
from collections import namedtuple
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

import tinygrad_cnn as tg
from tinygrad_cnn.data import (
    ClassBalancedSampler,
    DataError,
    DataLoader,
    Dataset,
    Sampler,
    Shift,
    WeightedRandomSampler,
    collate,
)
from tinygrad_cnn.train import fit

Pair = namedtuple("Pair", "image label")


def same(one: Any, two: Any) -> None:
    assert type(one) is type(two)
    if isinstance(one, dict):
        assert one.keys() == two.keys()
        one, two = list(one.values()), list(two.values())
    if isinstance(one, tuple | list):
        for left, right in zip(one, two, strict=True):
            same(left, right)
    elif isinstance(one, np.ndarray):
        assert one.dtype == two.dtype
        np.testing.assert_array_equal(one, two)
    else:
        assert one == two


class Squares:
    """Any object with `__getitem__` and `__len__`."""

    def __len__(self) -> int:
        return 10

    def __getitem__(self, index: int) -> tuple[NDArray[Any], int]:
        assert type(index) is int
        return np.full(3, index, np.float32), index**2


@given(
    st.sampled_from([np.uint8, np.float32, np.float64]),
    st.sampled_from([np.uint8, np.int32, np.int64, np.float32]),
    st.integers(1, 9),
    st.booleans(),
    st.sampled_from([None, Shift(1)]),
)
def test_a_list_of_examples_gives_the_batches_of_the_tuple_of_arrays(
    pixels: Any, numbers: Any, size: int, shuffle: bool, transform: Any
) -> None:
    images = np.random.default_rng(0).integers(256, size=(8, 1, 4, 4)).astype(pixels)
    labels, weights = np.arange(8).astype(numbers), np.linspace(0, 1, 8)
    if images.dtype == np.float64 and transform is not None:
        images /= 255
    columns = (images, labels, weights)
    options: dict[str, Any] = {"shuffle": shuffle, "seed": 4, "transform": transform}
    arrays = list(DataLoader(columns, size, **options))
    examples = list(DataLoader(list(zip(*columns, strict=True)), size, **options))
    for one, two in zip(arrays, examples, strict=True):
        same(one, two)


def test_any_number_of_arrays_a_dict_and_one_array_are_sets() -> None:
    images, masks = np.full((6, 1, 2, 2), 255, np.uint8), np.arange(6, dtype=np.uint8)
    same(list(DataLoader((images,), 4))[1], (np.ones((2, 1, 2, 2), np.float32),))
    same(list(DataLoader(images, 4))[1], np.ones((2, 1, 2, 2), np.float32))
    same(list(DataLoader(tg.Tensor([1.0, 2.0]), 1))[1], np.array([2.0], np.float32))
    first, *others = next(iter(DataLoader((images, masks, masks / 2, masks > 2), 4)))
    assert first.dtype == np.float32
    assert [part.dtype for part in others] == [np.int64, np.float64, np.bool_]
    batch = list(DataLoader({"image": images, "mask": masks}, 4))[1]
    same(batch, {"image": images[4:], "mask": masks[4:]})  # a dict is left as it is
    records = [{"image": images[i], "mask": masks[i]} for i in range(6)]
    same(list(DataLoader(records, 4))[1], batch)
    (tokens, label), *_ = DataLoader((np.arange(6).reshape(3, 2), [0, 1, 0]), None)
    assert (tokens.dtype, label.dtype) == (np.int64, np.int64)


def test_an_object_of_ones_own_is_read_by_integers() -> None:
    loader = DataLoader(Squares(), 4)
    assert len(loader) == 3
    assert [int(label) for _, labels in loader for label in labels] == [i**2 for i in range(10)]
    ((images, _),) = DataLoader(Squares(), None, shuffle=True)
    assert sorted(images[:, 0]) == list(range(10))
    with pytest.raises(ValueError, match="drop_last would leave no batch"):
        DataLoader(Squares(), 11, drop_last=True)


def test_a_transform_gets_the_images_or_the_whole_dict() -> None:
    seen: list[Any] = []

    def note(value: Any, rng: np.random.Generator) -> Any:
        seen.append(value)
        return value

    list(DataLoader([(np.zeros(2), 1)] * 2, transform=note))
    list(DataLoader([{"x": 1}] * 2, transform=note))
    list(DataLoader([1, 2], transform=note))
    same(seen, [np.zeros((2, 2)), {"x": np.array([1, 1])}, np.array([1, 2])])


def test_examples_draw_from_generators_of_the_batch() -> None:
    class Draws(Squares):
        def __getitem__(self, index: int) -> Any:
            return tg.core.random.default_generator().random(), np.random.random()  # noqa: NPY002

    loader = DataLoader(Draws(), 5)
    epochs = [[np.stack(batch) for batch in loader] for _ in range(2)]
    draws = np.concatenate([batch.ravel() for epoch in epochs for batch in epoch])
    assert len(set(draws)) == 40
    again = DataLoader(Draws(), 5)
    again.epoch = 1
    same([np.stack(batch) for batch in again], epochs[1])


def test_pairs_of_uint8_images_become_floats_too() -> None:
    image = np.full((1, 2, 2), 255, np.uint8)
    ((left, right), label) = next(iter(DataLoader([((image, image), 1)] * 3, 3)))
    same([left, right, label], [np.ones((3, 1, 2, 2), np.float32)] * 2 + [np.array([1, 1, 1])])


def test_collate_keeps_types_and_stacks_what_is_in_them() -> None:
    examples = [
        Pair({"x": np.zeros(2, np.float16), "y": [1, True, None]}, "cat"),
        Pair({"x": np.ones(2, np.float16), "y": [2, False, None]}, "dog"),
    ]
    expected = Pair(
        {
            "x": np.array([[0, 0], [1, 1]], np.float16),
            "y": [np.array([1, 2]), np.array([True, False]), [None, None]],
        },
        ["cat", "dog"],
    )
    same(collate(examples), expected)
    same(collate([1.5, 2.5]), np.array([1.5, 2.5], np.float32))
    same(collate([np.float64(1.5)] * 2), np.array([1.5, 1.5]))
    same(collate([tg.Tensor([1.0])] * 2), np.ones((2, 1), np.float32))


@pytest.mark.parametrize(
    ("examples", "error", "message"),
    [
        ([], DataError, "no examples"),
        ([(1, 2), (1,)], DataError, "example 1 has 1 entries, the first 2"),
        ([(1, 2), 3], DataError, "example 1 has <class 'int'> entries, the first 2"),
        ([{"a": 1}, {"b": 1}], DataError, "example 1 has ['b'], the first ['a']"),
        (
            [(1, {"a": np.zeros(2)}), (1, {"a": np.zeros(3)})],
            DataError,
            "example 1[1]['a'] has shape (3,), the first (2,); expected equal shapes",
        ),
        ([object()], TypeError, "example 0 is of type object; expected numbers, arrays"),
        ([np.array(["a"])], TypeError, "example 0 is of type array of <U1; expected"),
    ],
)
def test_what_does_not_make_a_batch_is_refused(
    examples: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match="^collate: " + re.escape(message)):
        collate(examples)


def drawn(sampler: Any, epoch: int = 0, seed: int = 0) -> list[int]:
    loader = DataLoader((np.arange(100.0), np.arange(100)), 7, sampler=sampler, seed=seed)
    loader.epoch = epoch
    return [int(label) for _, labels in loader for label in labels]


def test_a_sampler_is_seeded_by_the_loader_and_the_epoch() -> None:
    for sampler in (
        WeightedRandomSampler(np.arange(100), 50),
        ClassBalancedSampler(np.arange(100) % 3),
    ):
        assert drawn(sampler, 2) == drawn(sampler, 2)
        assert len({str(drawn(sampler, epoch, seed)) for epoch in (0, 1) for seed in (0, 1)}) == 4
        loader = DataLoader((np.arange(100.0), np.arange(100)), 7, sampler=sampler)
        assert len(loader) == len(list(loader)) == -(-len(sampler) // 7)


def test_a_weighted_sampler_draws_by_weight() -> None:
    weights = np.array([0, 1, 2, 5.0])
    counts = np.bincount(WeightedRandomSampler(weights, 8000).draw(np.random.default_rng(0)))
    np.testing.assert_allclose(counts, 1000 * weights, atol=4 * np.sqrt(5000))
    once = WeightedRandomSampler(weights, 3, replacement=False).draw(np.random.default_rng(0))
    assert sorted(once) == [1, 2, 3]


@given(
    st.lists(st.integers(-3, 3), min_size=1, max_size=40),
    st.none() | st.integers(1, 60),
    st.integers(0, 9),
)
def test_a_balanced_sampler_draws_each_class_and_each_member_equally_often(
    labels: list[int], count: int | None, seed: int
) -> None:
    sampler = ClassBalancedSampler(labels, count)
    indices = sampler.draw(np.random.default_rng(seed))
    assert len(indices) == len(sampler) == (count or len(labels))
    classes = np.unique(labels)
    per_class = [int((np.array(labels)[indices] == label).sum()) for label in classes]
    assert max(per_class) - min(per_class) <= 1
    times = np.bincount(indices, minlength=len(labels))
    for label in classes:
        assert np.ptp(times[np.array(labels) == label]) <= 1


def test_a_balanced_sampler_reaches_all_members_of_a_large_class() -> None:
    sampler = ClassBalancedSampler([0] * 30 + [1] * 10)
    epochs = [drawn(sampler, epoch) for epoch in range(10)]
    assert set(itertools.chain(*epochs)) == set(range(40))


def test_any_iterable_of_indices_is_a_sampler() -> None:
    assert drawn([3, 1, 3]) == [3, 1, 3]
    assert drawn(range(99, 90, -1)) == list(range(99, 90, -1))
    assert drawn(np.array([5, 6])) == [5, 6]

    class Cycle:
        epoch = -1

        def __iter__(self) -> Any:
            return itertools.cycle([self.epoch, 0])

        def set_epoch(self, epoch: int) -> None:
            self.epoch = epoch

    loader = DataLoader((np.arange(9.0), np.arange(9)), 3, sampler=Cycle())
    loader.epoch = 4
    assert [labels.tolist() for _, labels in itertools.islice(loader, 2)] == [[4, 0, 4], [0, 4, 0]]
    with pytest.raises(TypeError, match=r"the sampler, a Cycle, has no len\(\)"):
        len(loader)
    assert "an open end" in repr(loader)
    kept = DataLoader((np.arange(9.0), np.arange(9)), 2, sampler=[1, 2, 3], drop_last=True)
    assert [labels.tolist() for _, labels in kept] == [[1, 2]]


@pytest.mark.parametrize(
    ("sampler", "error", "message"),
    [
        ([0, 9], IndexError, "the sampler gave the index 9; expected 0 to 8"),
        ([-1], IndexError, "the sampler gave the index -1; expected 0 to 8"),
        (np.array([-1]), IndexError, "the sampler gave the index -1; expected 0 to 8"),
        ([0.5], TypeError, "the sampler gave float64 of shape (1,); expected integers"),
        ([[1], [2]], TypeError, "the sampler gave int64 of shape (2, 1); expected integers"),
    ],
)
def test_indices_that_are_none_are_refused(
    sampler: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=re.escape(message)):
        list(DataLoader((np.arange(9.0), np.arange(9)), sampler=sampler))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: WeightedRandomSampler([[1.0]], 1), "weights have shape (1, 1), expected (N,)"),
        (lambda: WeightedRandomSampler([0.0], 1), "weights must be finite and 0 or more, not all"),
        (lambda: WeightedRandomSampler([1.0, -1], 1), "the least is -1, the largest 1"),
        (lambda: WeightedRandomSampler([1.0], 0), "num_samples is 0, expected an integer >= 1"),
        (lambda: WeightedRandomSampler([1, 0], 2, False), "only 1 examples have a weight above 0"),
        (lambda: ClassBalancedSampler([0.5]), "labels are float64 of shape (1,); expected int"),
        (lambda: ClassBalancedSampler([0], 0), "num_samples is 0, expected an integer >= 1"),
    ],
)
def test_a_sampler_refuses_what_it_cannot_draw_from(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        make()


def test_a_sampler_needs_a_length_and_draw(small: Dataset) -> None:
    with pytest.raises(NotImplementedError, match="Sampler has no __len__"):
        DataLoader(small, sampler=Sampler())
    with pytest.raises(NotImplementedError, match=r"Sampler has no draw\(rng\)"):
        Sampler().draw(np.random.default_rng(0))


def test_a_model_is_fitted_to_a_list_of_pairs() -> None:
    rng = np.random.default_rng(0)
    pairs = [(rng.random((1, 4, 4), np.float32) + label, label) for label in (0, 1) for _ in "abcd"]
    model = tg.nn.MLP((16, 2), rng=rng)
    optimizer = tg.optim.SGD(model.parameters(), lr=0.5)
    loader = DataLoader(pairs, 4, shuffle=True)
    history = fit(model, tg.cross_entropy, optimizer, loader, epochs=10)
    assert history[-1].accuracy == 1
