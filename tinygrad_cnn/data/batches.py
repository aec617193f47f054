"""How a `DataLoader` makes one batch: examples, collated and transformed.

A batch depends on the seed, the epoch, its number and the indices of its examples alone. So it has
the same bits in whatever process it is made.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn.core.random import default
from tinygrad_cnn.core.tensor import Tensor
from tinygrad_cnn.data.collate import collate, like
from tinygrad_cnn.data.dataset import Dataset
from tinygrad_cnn.data.errors import DataError, check_finite
from tinygrad_cnn.engine.arrays import read_only
from tinygrad_cnn.engine.blas import on_one_thread
from tinygrad_cnn.support.arguments import native

__all__ = ["BatchMaker", "Chosen", "Columns", "Examples", "as_source"]

Chosen: TypeAlias = slice | NDArray[np.integer[Any]]


class Columns:
    """Arrays of one length, in a tuple, in a dict or alone: examples are taken by indexing."""

    def __init__(
        self, layout: type | None, names: Sequence[str], arrays: Sequence[NDArray[Any]]
    ) -> None:
        self._layout = layout
        self._names = tuple(names)
        self._arrays = tuple(arrays)

    def __len__(self) -> int:
        return len(self._arrays[0])

    def take(self, chosen: Chosen, seed: Sequence[int]) -> Any:
        """Return the chosen examples: views for a slice, else copies."""
        parts = [array[chosen] for array in self._arrays]
        if self._layout is dict:
            return dict(zip(self._names, parts, strict=True))
        return _prepared(tuple(parts) if self._layout is tuple else parts[0])


class _Map(Protocol):
    def __getitem__(self, index: int, /) -> Any: ...

    def __len__(self) -> int: ...


class Examples:
    """Anything with ``__getitem__`` and ``__len__``: examples are taken one by one."""

    def __init__(self, dataset: _Map, collate: Callable[[Sequence[Any]], Any] | None) -> None:
        self._dataset = dataset
        self._collate = collate

    def __len__(self) -> int:
        return len(self._dataset)

    def take(self, chosen: Chosen, seed: Sequence[int]) -> Any:
        """Return the chosen examples, collated."""
        indices = range(len(self))[chosen] if isinstance(chosen, slice) else chosen.tolist()
        # The 1 tells this generator from the transform's.
        with _seeded(np.random.default_rng([*seed, 1])):
            examples = [self._example(index) for index in indices]
            try:
                if self._collate is not None:
                    return self._collate(examples)
                return _prepared(collate(examples))
            except Exception as error:
                error.add_note(f"DataLoader: raised by collate of the examples {list(indices)}")
                raise

    def _example(self, index: int) -> Any:
        try:
            return self._dataset[index]
        except Exception as error:
            error.add_note(
                f"DataLoader: raised by example {index} of {type(self._dataset).__name__}"
            )
            raise


@dataclass(frozen=True)
class BatchMaker:
    """A source of examples, transforms and a seed; it can be sent to another process.

    Attributes
    ----------
    part : int
        The part of each batch that is made; other parts draw other random numbers.
    """

    source: Columns | Examples
    transform: Callable[[Any, np.random.Generator], Any] | None
    batch_transform: Callable[[Any, np.random.Generator], Any] | None
    seed: int
    part: int = 0

    def make(self, epoch: int, batch: int, chosen: Chosen) -> Any:
        """Return the batch with number `batch` of an epoch, counted from 0."""
        if isinstance(chosen, np.ndarray) and not len(chosen):  # shapes need an example
            return _emptied(self.make(epoch, batch, np.zeros(1, np.intp)))
        # + 1: SeedSequence treats [seed, epoch, 0] as [seed, epoch]
        seed: tuple[int, ...] = (self.seed, epoch, batch + 1)
        if self.part:
            seed = (*seed, 0, self.part)
        plain = self.transform is None and self.batch_transform is None
        if plain and isinstance(self.source, Columns):
            return self.source.take(chosen, seed)
        # How BLAS rounds may depend on its number of threads, which workers share.
        return on_one_thread(lambda: self._transformed(self.source.take(chosen, seed), seed))

    def _transformed(self, batch: Any, seed: Sequence[int]) -> Any:
        rng = np.random.default_rng(seed)
        if self.transform is not None:
            if isinstance(batch, tuple | list) and batch:
                batch = like(batch, [self.transform(batch[0], rng), *batch[1:]])
            else:
                batch = self.transform(batch, rng)
        return batch if self.batch_transform is None else self.batch_transform(batch, rng)


def as_source(
    dataset: Any, collate: Callable[[Sequence[Any]], Any] | None = None
) -> Columns | Examples:
    """Check the data set of a `DataLoader` and return it as a source of examples."""
    if isinstance(dataset, Dataset):
        return _columns(tuple, ("images", "labels"), (dataset.images, dataset.labels), collate)
    if isinstance(dataset, np.ndarray | Tensor):
        return _columns(None, ("images",), (dataset,), collate)
    if isinstance(dataset, tuple) and dataset and not hasattr(dataset, "_make"):
        names = ("images", "labels", *(f"arrays[{i}]" for i in range(2, len(dataset))))
        return _columns(tuple, names[: len(dataset)], dataset, collate)
    if isinstance(dataset, Mapping) and dataset:
        return _columns(dict, tuple(dataset), tuple(dataset.values()), collate)
    known = hasattr(dataset, "__getitem__") and hasattr(dataset, "__len__")
    if not known or isinstance(dataset, str | bytes | type):
        raise TypeError(
            f"DataLoader: dataset is a {type(dataset).__name__}; expected a Dataset, an array, a "
            "tuple or dict of arrays, a list of examples, or an object with __getitem__ and __len__"
        )
    if len(dataset) == 0:
        raise ValueError("DataLoader: the dataset is empty; expected at least one example")
    return Examples(dataset, collate)


def _columns(
    layout: type | None, names: Sequence[str], values: Sequence[Any], collate: Any
) -> Columns:
    if collate is not None:
        raise ValueError(
            "DataLoader: collate is for examples that are taken one by one; arrays are sliced"
        )
    arrays: list[NDArray[Any]] = []
    for i, (name, value) in enumerate(zip(names, values, strict=True)):
        try:
            array = np.asarray(value._array if isinstance(value, Tensor) else value)
        except ValueError as error:
            raise DataError(
                f"DataLoader: {name} cannot be converted to an array: {error}"
            ) from error
        array = native(array)
        if array.dtype.kind not in "biuf" or array.dtype.itemsize > 8 or array.ndim == 0:
            raise TypeError(
                f"DataLoader: {name} are {array.dtype} of shape {array.shape}; expected integers "
                "or floats of shape (N, ...); a list holds examples, a tuple holds arrays"
            )
        if len(array) != len(arrays[0] if arrays else array):
            raise ValueError(f"DataLoader: {len(arrays[0])} {names[0]} but {len(array)} {name}")
        check_finite(array, f"DataLoader: {name}")
        arrays.append(read_only(_as_int64(array) if i and layout is tuple else array))
    if len(arrays[0]) == 0:
        raise ValueError("DataLoader: the dataset is empty; expected at least one example")
    return Columns(layout, names, arrays)


def _prepared(batch: Any) -> Any:
    """Turn uint8 images into floats, integer labels into int64; a dict is left as it is."""
    if isinstance(batch, tuple | list) and batch:
        return like(batch, [_as_floats(batch[0]), *map(_as_int64, batch[1:])])
    return _as_floats(batch)


def _emptied(batch: Any) -> Any:
    """Return a batch without its only example."""
    if isinstance(batch, np.ndarray):
        return batch[:0]
    if isinstance(batch, Mapping):
        return {name: _emptied(part) for name, part in batch.items()}
    if isinstance(batch, list) and not any(isinstance(v, np.ndarray | list | tuple) for v in batch):
        return []  # of strings, such as names
    if isinstance(batch, tuple | list):
        return like(batch, [_emptied(part) for part in batch])
    return batch


def _as_floats(images: Any) -> Any:
    if isinstance(images, tuple | list):  # the pairs of a siamese network
        return like(images, [_as_floats(part) for part in images])
    if not isinstance(images, np.ndarray) or images.dtype != np.uint8:
        return images
    return np.divide(images, np.float32(255), dtype=np.float32)  # in one pass


def _as_int64(labels: Any) -> Any:
    if isinstance(labels, np.ndarray) and labels.dtype.kind in "iu":
        return labels.astype(np.int64, copy=False)
    return labels


@contextmanager
def _seeded(rng: np.random.Generator) -> Iterator[None]:
    """Make `rng` the default generator, and seed Python's and NumPy's own from it, for a while."""
    token = default.set(rng)
    python, legacy = random.getstate(), np.random.get_state()  # noqa: NPY002
    words = rng.integers(2**32, size=4, dtype=np.uint32)
    random.seed(words.tobytes())
    np.random.seed(words)  # noqa: NPY002
    try:
        yield
    finally:
        default.reset(token)
        random.setstate(python)
        np.random.set_state(legacy)  # noqa: NPY002
