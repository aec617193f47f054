"""``torch.utils.data.dataset``: examples by index."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from itertools import accumulate, pairwise
from typing import Any

from tinygrad_cnn.compat.torch.creation import Generator, rng_of


class Dataset:
    """Examples by index: a subclass defines ``__getitem__``, and ``__len__`` if it has one."""

    def __class_getitem__(cls, item: Any) -> type[Dataset]:
        return cls

    def __getitem__(self, index: Any) -> Any:
        raise NotImplementedError(f"{type(self).__name__} defines no __getitem__")

    def __add__(self, other: Any) -> ConcatDataset:
        return ConcatDataset([self, other])


class IterableDataset(Dataset):
    """Examples in order: a subclass defines ``__iter__``."""


class TensorDataset(Dataset):
    """The entries of Tensors along their first axis, together."""

    def __init__(self, *tensors: Any) -> None:
        if any(len(tensor) != len(tensors[0]) for tensor in tensors):
            raise ValueError(
                f"TensorDataset: the Tensors have {[len(t) for t in tensors]} entries, expected "
                "the same number"
            )
        self.tensors = tensors

    def __getitem__(self, index: Any) -> tuple[Any, ...]:
        return tuple(tensor[index] for tensor in self.tensors)

    def __len__(self) -> int:
        return len(self.tensors[0])


class Subset(Dataset):
    """The examples of a data set at some indices."""

    def __init__(self, dataset: Any, indices: Sequence[int]) -> None:
        self.dataset = dataset
        self.indices = indices

    def __getitem__(self, index: Any) -> Any:
        return self.dataset[int(self.indices[index])]

    def __len__(self) -> int:
        return len(self.indices)


class ConcatDataset(Dataset):
    """Data sets one after another."""

    def __init__(self, datasets: Iterable[Any]) -> None:
        self.datasets = list(datasets)
        self.cumulative_sizes = [*accumulate(len(dataset) for dataset in self.datasets)]

    def __getitem__(self, index: int) -> Any:
        index += len(self) if index < 0 else 0
        place = bisect_right(self.cumulative_sizes, index)
        before = self.cumulative_sizes[place - 1] if place else 0
        return self.datasets[place][index - before]

    def __len__(self) -> int:
        return self.cumulative_sizes[-1] if self.cumulative_sizes else 0


def random_split(
    dataset: Any, lengths: Sequence[float], generator: Generator | None = None
) -> list[Subset]:
    """Return parts of a data set in random order, of the given sizes or shares."""
    count = len(dataset)
    sizes = [int(n) for n in lengths]
    if math.isclose(sum(lengths), 1) and count != 1:  # shares
        sizes = [int(count * share) for share in lengths]
        for i in range(count - sum(sizes)):
            sizes[i % len(sizes)] += 1
    if sum(sizes) != count:
        raise ValueError(f"random_split: the lengths are {lengths}, expected a sum of {count}")
    order = rng_of(generator).permutation(count).tolist()
    ends = [0, *accumulate(sizes)]
    return [Subset(dataset, order[a:b]) for a, b in pairwise(ends)]
