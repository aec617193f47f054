"""`DistributedSampler`: the parts of all ranks are the batches of one process."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tinygrad_cnn.data import DataLoader, Sampler, WeightedRandomSampler
from tinygrad_cnn.data.transforms import MixUp
from tinygrad_cnn.distributed import DistributedSampler


def loaders(data: Any, ranks: int, source: Any = None, **options: Any) -> list[DataLoader]:
    shuffle = options.pop("shuffle", True)
    source = data if source is None else source
    samplers = [
        DistributedSampler(source, shuffle, num_replicas=ranks, rank=rank) for rank in range(ranks)
    ]
    return [DataLoader(data, sampler=sampler, **options) for sampler in samplers]


def labels(loader: DataLoader) -> list[list[int]]:
    return [batch[1].tolist() for batch in loader]


@given(
    count=st.integers(1, 40),
    size=st.integers(1, 12),
    ranks=st.integers(1, 5),
    shuffle=st.booleans(),
    drop_last=st.booleans(),
    as_list=st.booleans(),
)
@example(count=7, size=3, ranks=5, shuffle=True, drop_last=False, as_list=True)
def test_the_parts_of_the_ranks_are_the_batches_of_one_process(
    count: int, size: int, ranks: int, shuffle: bool, drop_last: bool, as_list: bool
) -> None:
    drop_last = drop_last and size <= count
    images = np.random.default_rng(0).random((count, 2, 3), np.float32)
    data: Any = (images, np.arange(count))
    if as_list:
        data = list(zip(*data, strict=True))
    options = {"batch_size": size, "drop_last": drop_last, "seed": 3}
    alone = DataLoader(data, shuffle=shuffle, **options)
    parts = loaders(data, ranks, shuffle=shuffle, **options)
    assert {len(loader) for loader in parts} == {len(alone)}
    for _ in range(2):  # epochs
        for whole, *shares in zip(alone, *parts, strict=True):
            for entry in (0, 1):
                joined = [share[entry] for share in shares]
                np.testing.assert_array_equal(np.concatenate(joined), whole[entry], strict=True)
            sizes = [len(share[1]) for share in shares]
            assert sizes == sorted(sizes, reverse=True)
            assert max(sizes) - min(sizes) <= 1


def test_a_sampler_is_divided_in_its_own_order() -> None:
    data = (np.zeros((20, 1), np.float32), np.arange(20))
    weighted = WeightedRandomSampler(np.arange(20.0), 30)
    alone = DataLoader(data, 8, seed=5, sampler=weighted)
    parts = loaders(data, 3, weighted, batch_size=8, seed=5)
    joined = [
        [i for share in shares for i in share] for shares in zip(*map(labels, parts), strict=True)
    ]
    assert joined == labels(alone)
    assert len(parts[0].sampler) == 30  # type: ignore[arg-type]  # a Sampler


def noisy(images: Any, rng: np.random.Generator) -> Any:
    return images + rng.random(images.shape, images.dtype)


def test_transforms_draw_other_numbers_in_each_part_and_the_same_again() -> None:
    data = (np.zeros((12, 4), np.float32), np.arange(12))

    def made(loader: DataLoader) -> list[bytes]:
        return [batch[0].tobytes() for batch in loader]

    first, second = map(made, loaders(data, 2, batch_size=4, transform=noisy))
    assert len({*first, *second}) == 6
    assert made(loaders(data, 2, batch_size=4, transform=noisy)[1]) == second
    alone = DataLoader(data, 2, shuffle=True, transform=noisy)  # the first part's numbers
    assert made(alone)[0] == first[0]


class Drawn:
    """Examples that draw from the default generator, and have a name."""

    def __len__(self) -> int:
        return 5

    def __getitem__(self, index: int) -> dict[str, Any]:
        noise = np.random.rand(2, 3)  # noqa: NPY002  # seeded by the loader
        return {"image": noise, "pair": (index, noise), "name": f"example {index}"}


def test_an_empty_part_has_the_shapes_and_dtypes_of_the_others() -> None:
    data = (np.zeros((5, 1, 4, 4), np.uint8), np.arange(5))
    transforms = {"transform": noisy, "batch_transform": MixUp(num_classes=5)}
    whole, empty = (list(x)[-1] for x in loaders(data, 2, batch_size=4, **transforms))
    assert [len(part) for part in empty] == [0, 0]
    assert [(p.shape[1:], p.dtype) for p in empty] == [(p.shape[1:], p.dtype) for p in whole]
    first, second, third = (list(x)[-1] for x in loaders(Drawn(), 3, batch_size=3))
    assert third["name"] == []
    assert third["pair"][1].shape == (0, 2, 3)
    assert first["image"].tolist() != second["image"].tolist()


def test_bad_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="DistributedSampler: rank is 2, expected 0 to 1"):
        DistributedSampler(np.arange(3), num_replicas=2, rank=2)
    with pytest.raises(TypeError, match="source is generator, expected a data set or Sampler"):
        DistributedSampler(x for x in range(3))
    assert Sampler.part == (0, 1)
