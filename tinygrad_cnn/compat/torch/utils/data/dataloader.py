"""``torch.utils.data.dataloader``: batches of Tensors."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from tinygrad_cnn import ops
from tinygrad_cnn.compat.torch import creation
from tinygrad_cnn.compat.torch.creation import Generator
from tinygrad_cnn.compat.torch.tensor import Tensor
from tinygrad_cnn.compat.torch.utils.data.dataset import IterableDataset
from tinygrad_cnn.compat.torch.utils.data.sampler import (
    BatchSampler,
    RandomSampler,
    SequentialSampler,
)


def default_collate(batch: Sequence[Any]) -> Any:
    """Return examples as a batch: Tensors and numbers stacked, tuples and dicts entry by entry."""
    first = batch[0]
    if isinstance(first, Tensor):
        return ops.stack(list(batch))
    if isinstance(first, np.ndarray | np.generic):
        return creation.from_numpy(np.stack(batch))
    if isinstance(first, float):
        return creation.tensor(batch, dtype=np.float64)
    if isinstance(first, bool | int):
        return creation.tensor(batch)
    if isinstance(first, str | bytes):
        return list(batch)
    if isinstance(first, Mapping):
        return {key: default_collate([example[key] for example in batch]) for key in first}
    if isinstance(first, tuple) and hasattr(first, "_fields"):
        return type(first)(*map(default_collate, zip(*batch, strict=True)))
    if isinstance(first, tuple | list):
        return [default_collate(part) for part in zip(*batch, strict=True)]
    raise TypeError(
        f"default_collate: an example is {type(first).__name__}, expected Tensors, arrays, "
        "numbers, texts, tuples or dicts; give a collate_fn"
    )


class DataLoader:
    """Batches of a data set.

    `num_workers`, `pin_memory` and the like are accepted; the batches are made in this process.
    Random orders are drawn from the generator that `manual_seed` sets, or from `generator`.
    """

    def __init__(
        self,
        dataset: Any,
        batch_size: int | None = 1,
        shuffle: bool | None = None,
        sampler: Any = None,
        batch_sampler: Any = None,
        num_workers: int = 0,
        collate_fn: Callable[[Any], Any] | None = None,
        pin_memory: bool = False,
        drop_last: bool = False,
        timeout: float = 0,
        worker_init_fn: Any = None,
        *,
        generator: Generator | None = None,
        prefetch_factor: int | None = None,
        persistent_workers: bool = False,
    ) -> None:
        if shuffle and (sampler is not None or batch_sampler is not None):
            raise ValueError("DataLoader: shuffle=True and a sampler were given; leave one out")
        self.dataset = dataset
        self.batch_size = batch_size
        self.num_workers = num_workers
        self.drop_last = drop_last
        if sampler is None and not isinstance(dataset, IterableDataset):
            order = RandomSampler(dataset, generator=generator) if shuffle else None
            sampler = order or SequentialSampler(dataset)
        self.sampler = sampler
        if batch_sampler is None and batch_size is not None and sampler is not None:
            batch_sampler = BatchSampler(sampler, batch_size, drop_last)
        self.batch_sampler = batch_sampler
        alone = batch_size is None and batch_sampler is None
        self.collate_fn = collate_fn or (_converted if alone else default_collate)

    def __iter__(self) -> Iterator[Any]:
        if isinstance(self.dataset, IterableDataset):
            examples: Any = iter(self.dataset)
            if self.batch_size is None:
                return map(self.collate_fn, examples)
            places = BatchSampler(examples, self.batch_size, self.drop_last)
            return map(self.collate_fn, places)
        if self.batch_sampler is None:
            return (self.collate_fn(self.dataset[index]) for index in self.sampler)
        return (
            self.collate_fn([self.dataset[index] for index in batch])
            for batch in self.batch_sampler
        )

    def __len__(self) -> int:
        return len(self.sampler if self.batch_sampler is None else self.batch_sampler)


def _converted(example: Any) -> Any:
    """Return an example with its arrays as Tensors."""
    if isinstance(example, np.ndarray | np.generic):
        return creation.from_numpy(np.asarray(example))
    if isinstance(example, tuple | list):
        return type(example)(map(_converted, example))
    return example


def get_worker_info() -> None:
    """Return None: batches are made in this process."""
