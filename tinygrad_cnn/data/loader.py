"""`DataLoader`: batches in an order determined by seed and epoch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Sized
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn.data.batches import BatchMaker, Chosen, as_source
from tinygrad_cnn.data.sampler import Sampler
from tinygrad_cnn.support.arguments import flag, whole

if TYPE_CHECKING:  # multiprocessing takes long to import, and is seldom needed
    from multiprocessing.context import BaseContext

    from tinygrad_cnn.data.workers import Job, Workers

__all__ = ["DataLoader", "Transform"]

Transform: TypeAlias = Callable[[NDArray[Any], np.random.Generator], NDArray[Any]]
"""A function ``(images, rng)`` that returns a changed batch of images."""


class DataLoader:
    """Iterate over a data set in batches.

    Epoch `e` depends on ``(seed, e)`` alone: the order is drawn from ``default_rng([seed, e])``,
    and batch `b` uses generators made from ``[seed, e, b + 1]``. A resumed run sets ``epoch`` and
    sees the same batches, whatever the number of workers.

    Parameters
    ----------
    dataset : Dataset, tuple, dict or list, or any object with ``__getitem__`` and ``__len__``
        A tuple of arrays of one length: images first, then labels or targets. A dict of such
        arrays, or one array. A list of examples, or any object whose ``dataset[i]`` is an example
        for i from 0 to ``len(dataset) - 1``; examples are mostly tuples ``(image, label)``.
    batch_size : int or None
        Examples per batch; None for the whole set as one batch (plain gradient descent).
    shuffle : bool
        Whether to draw a new order every epoch.
    drop_last : bool
        Whether to drop a last batch that is smaller than the others.
    seed : int
        The seed of orders, samplers, transforms and examples; not negative.
    transform : callable, optional
        ``transform(images, rng) -> images``, applied to the first entry of each batch (to the whole
        batch if it is a dict or an array).
    batch_transform : callable, optional
        ``batch_transform(batch, rng) -> batch``, applied to the whole batch after `transform`: for
        changes of labels too, such as `MixUp` and `CutMix`.
    sampler : Sampler or iterable of int, optional
        The indices of an epoch, instead of `shuffle`: a `Sampler`, which is seeded with the epoch,
        or any iterable, which is iterated once per epoch. If it has ``set_epoch``, that is called
        before.
    collate : callable, optional
        ``collate(examples) -> batch`` for a list of examples. By default they are stacked by
        `tinygrad_cnn.data.collate`, and images and labels converted as below.
    num_workers : int
        The number of processes that make batches; 0 makes them in this one. Workers pay where
        ``dataset[i]`` or `transform` takes long. Dataset, collate and transform must be picklable.
    prefetch_factor : int
        The number of batches that each worker makes ahead.
    persistent_workers : bool
        Whether to keep the processes between epochs. They keep the data set and transform that the
        loader had when they started.
    multiprocessing_context : str or multiprocessing context, optional
        How to start processes: "forkserver", "spawn" or "fork"; by default the first that exists.

    Attributes
    ----------
    epoch : int
        The epoch of the next iteration. It increases by one when an iteration starts, and can be
        set.

    Yields
    ------
    batch : tuple, list, dict or ndarray
        As the arrays or examples are. In tuples and lists, uint8 images of the first entry become
        float32 in [0, 1], ``x / 255``, and integers of the others int64; all else keeps its dtype.
        Dicts are left as they are.

    Raises
    ------
    TypeError
        If the set, the sampler, `collate` or the transform has another type.
    ValueError
        If the set is empty, arrays differ in length, `batch_size` is below 1, `seed` is negative,
        `drop_last` leaves no batch, or both `shuffle` and `sampler` are given; `DataError` if an
        array has NaN or infinity, or examples cannot be stacked.
    IndexError
        If the sampler yields an index out of range.

    Notes
    -----
    Without shuffling, floats and labels of arrays are read-only views of the set, not copies.

    A position within an epoch is `state_dict()`: the next iteration after `load_state_dict` yields
    the rest of that epoch. A sampler that is a plain iterable must give the same indices again.

    While examples are taken, the default generator (see `manual_seed`) and the global generators
    of `random` and `numpy.random` are seeded for the batch, and restored after it. So an example
    may draw from any of them.

    An exception in a worker is raised here, with the index of the example and the worker's
    traceback in its notes. Ctrl-C, leaving the loop, and the end of this process end the workers.

    Examples
    --------
    >>> from tinygrad_cnn.data import digits
    >>> loader = DataLoader(digits().train, batch_size=64, shuffle=True)
    >>> images, labels = next(iter(loader))
    >>> images.shape, images.dtype, labels.shape
    ((64, 1, 28, 28), dtype('float32'), (64,))
    >>> len(loader), loader.epoch
    (157, 1)
    >>> pairs = [(np.zeros((3, 8, 8), np.float32), i % 2) for i in range(10)]
    >>> images, labels = next(iter(DataLoader(pairs, batch_size=4)))
    >>> images.shape, labels
    ((4, 3, 8, 8), array([0, 1, 0, 1]))
    """

    def __init__(
        self,
        dataset: Any,
        batch_size: int | None = 64,
        shuffle: bool = False,
        drop_last: bool = False,
        seed: int = 0,
        transform: Callable[[Any, np.random.Generator], Any] | None = None,
        *,
        batch_transform: Callable[[Any, np.random.Generator], Any] | None = None,
        sampler: Sampler | Iterable[int] | None = None,
        collate: Callable[[Sequence[Any]], Any] | None = None,
        num_workers: int = 0,
        prefetch_factor: int = 2,
        persistent_workers: bool = False,
        multiprocessing_context: str | BaseContext | None = None,
    ) -> None:
        functions = {
            "transform": transform,
            "batch_transform": batch_transform,
            "collate": collate,
        }
        for name, value in functions.items():
            if value is not None and not callable(value):
                raise TypeError(f"DataLoader: {name} is {value!r}; expected a callable")
        self._source = as_source(dataset, collate)
        if sampler is not None:
            if shuffle:
                raise ValueError("DataLoader: both shuffle and sampler are given; expected one")
            if not isinstance(sampler, Sampler) and (
                not isinstance(sampler, Iterable) or isinstance(sampler, Iterator)
            ):
                raise TypeError(
                    f"DataLoader: sampler is a {type(sampler).__name__}; expected a Sampler, or an "
                    "iterable that can be iterated once per epoch, such as a list"
                )
        self.dataset = dataset
        self.batch_size = (
            None if batch_size is None else whole("DataLoader", "batch_size", batch_size)
        )
        self.shuffle = shuffle
        self.sampler = sampler
        self.drop_last = drop_last
        self.seed = whole("DataLoader", "seed", seed, 0)
        self.transform = transform
        self.batch_transform = batch_transform
        self.num_workers = whole("DataLoader", "num_workers", num_workers, 0)
        self.prefetch_factor = whole("DataLoader", "prefetch_factor", prefetch_factor)
        self.persistent_workers = flag("DataLoader", "persistent_workers", persistent_workers)
        if self.num_workers:
            from tinygrad_cnn.data.workers import process_context

            self._context = process_context(multiprocessing_context)
        self._idle: Workers | None = None
        self._epoch = self._first = 0  # of the next iteration: its epoch and first batch
        self._current: list[int] | None = None  # epoch and next batch of the running iteration
        count = self._count()
        if drop_last and count is not None and count < (self.batch_size or 0):
            raise ValueError(
                f"DataLoader: batch_size is {batch_size} but there are {count} examples: "
                "drop_last would leave no batch"
            )

    @property
    def epoch(self) -> int:
        """The epoch of the next iteration."""
        return self._epoch

    @epoch.setter
    def epoch(self, epoch: int) -> None:
        self._epoch = whole("DataLoader", "epoch", epoch, 0)
        self._first, self._current = 0, None

    def state_dict(self) -> dict[str, int]:
        """Return the position: the "epoch", and the next "batch" in it.

        Within an iteration, these are its epoch and the number of batches that it has yielded.
        """
        epoch, batch = self._current or (self._epoch, self._first)
        return {"epoch": epoch, "batch": batch}

    def load_state_dict(self, state_dict: Mapping[str, int]) -> None:
        """Let the next iteration begin at a position from `state_dict`.

        Raises
        ------
        ValueError
            If it is not such a position. Nothing is changed.

        Examples
        --------
        >>> loader = DataLoader(np.arange(6), batch_size=2)
        >>> batches = iter(loader)
        >>> next(batches), loader.state_dict()
        (array([0, 1]), {'epoch': 0, 'batch': 1})
        >>> other = DataLoader(np.arange(6), batch_size=2)
        >>> other.load_state_dict(loader.state_dict())
        >>> list(other), other.epoch
        ([array([2, 3]), array([4, 5])], 1)
        """
        owner = "DataLoader.load_state_dict"
        if not isinstance(state_dict, Mapping) or state_dict.keys() != {"epoch", "batch"}:
            raise ValueError(f"{owner}: got {state_dict!r}, expected epoch and batch")
        batch = whole(owner, "batch", state_dict["batch"], 0)
        self.epoch = whole(owner, "epoch", state_dict["epoch"], 0)
        self._first = batch

    def current_examples(self) -> NDArray[np.integer[Any]] | None:
        """Return the numbers of the examples in the batch that was yielded last.

        Returns
        -------
        ndarray of int, shape (examples in the batch,), or None
            None outside of an iteration, and if the sampler is a plain iterable, which may give
            other indices when asked again.

        Examples
        --------
        >>> loader = DataLoader(np.arange(6), batch_size=2)
        >>> batches = iter(loader)
        >>> next(batches), next(batches), loader.current_examples()
        (array([0, 1]), array([2, 3]), array([2, 3]))
        """
        epoch, batches = self._current or (0, 0)
        if not batches or not isinstance(self.sampler, Sampler | None):
            return None
        chosen = next(islice(self._chunks(epoch), batches - 1, None))
        if isinstance(chosen, slice):
            return np.arange(chosen.start, chosen.stop)
        return chosen

    def __len__(self) -> int:
        count = self._count()
        if count is None:
            raise TypeError(
                f"DataLoader: the sampler, a {type(self.sampler).__name__}, has no len()"
            )
        full, rest = divmod(count, self.batch_size or max(count, 1))
        return full + (rest > 0 and not self.drop_last)

    def __iter__(self) -> Iterator[Any]:
        # Not a generator: the epoch must increase when iter() is called, not later.
        self._current = position = [self._epoch, self._first]
        self._epoch += 1
        self._first = 0
        return self._counted(position)

    def __repr__(self) -> str:
        count = self._count()
        size = f"{count} examples in {len(self)} batches" if count is not None else "an open end"
        options: dict[str, Any] = {
            "batch_size": self.batch_size,
            "shuffle": self.shuffle,
            "seed": self.seed,
            "epoch": self.epoch,
            "transform": self.transform,
        }
        if self.batch_transform is not None:
            options["batch_transform"] = self.batch_transform
        if self.sampler is not None:
            options["sampler"] = self.sampler
        if self.num_workers:
            options["num_workers"] = self.num_workers
        return f"DataLoader({size}, {', '.join(f'{k}={v}' for k, v in options.items())})"

    def _count(self) -> int | None:
        """Return the number of examples per epoch, if it is known."""
        if self.sampler is None:
            return len(self._source)
        return len(self.sampler) if isinstance(self.sampler, Sized) else None

    def _counted(self, position: list[int]) -> Iterator[Any]:
        """Yield the batches from a position on, which is kept current."""
        try:
            for batch in self._batches(*position):
                position[1] += 1
                yield batch
        finally:
            if self._current is position:  # there is no newer iteration
                self._current = None

    def _batches(self, epoch: int, first: int) -> Iterator[Any]:
        maker = BatchMaker(
            self._source, self.transform, self.batch_transform, self.seed, self._part()[0]
        )
        jobs = islice(self._jobs(epoch), first, None)
        if self.num_workers == 0:
            for job in jobs:
                yield maker.make(*job)
            return
        # Two iterations at the same time have workers of their own.
        workers, self._idle = self._idle, None
        if workers is None:
            from tinygrad_cnn.data.workers import Workers

            workers = Workers(maker, self.num_workers, self._context)
        finished = False
        try:
            yield from workers.batches(jobs, self.prefetch_factor)
            finished = True
        finally:
            if finished and self.persistent_workers and self._idle is None:
                self._idle = workers
            else:
                workers.close()

    def _jobs(self, epoch: int) -> Iterator[Job]:
        index, count = self._part()
        for batch, chosen in enumerate(self._chunks(epoch)):
            if count > 1:  # then a sampler has drawn indices
                chosen = np.array_split(np.asarray(chosen), count)[index]
            yield epoch, batch, chosen

    def _part(self) -> tuple[int, int]:
        """Return the part of each batch that is made here, and the number of parts."""
        return self.sampler.part if isinstance(self.sampler, Sampler) else (0, 1)

    def _chunks(self, epoch: int) -> Iterator[Chosen]:
        """Yield the examples of each batch of an epoch."""
        order = self._order(epoch)
        if order is None or isinstance(order, np.ndarray):
            count = len(self._source) if order is None else len(order)
            size = self.batch_size or max(count, 1)
            for start in range(0, count - (size - 1 if self.drop_last else 0), size):
                part = slice(start, min(start + size, count))
                yield part if order is None else order[part]
            return
        indices = iter(order)
        while chunk := list(islice(indices, self.batch_size)):
            if self.drop_last and len(chunk) < (self.batch_size or 0):
                return
            yield self._checked(chunk)

    def _order(self, epoch: int) -> NDArray[np.integer[Any]] | Iterable[int] | None:
        rng = np.random.default_rng([self.seed, epoch])
        if self.sampler is None:
            return rng.permutation(len(self._source)) if self.shuffle else None
        if isinstance(self.sampler, Sampler):
            return self._checked(self.sampler.draw(rng))
        if hasattr(self.sampler, "set_epoch"):
            self.sampler.set_epoch(epoch)
        return self._checked(self.sampler) if isinstance(self.sampler, np.ndarray) else self.sampler

    def _checked(self, indices: Any) -> NDArray[np.integer[Any]]:
        array: NDArray[Any] = np.asarray(indices)
        if array.ndim != 1 or (array.size and array.dtype.kind not in "iu"):
            raise TypeError(
                f"DataLoader: the sampler gave {array.dtype} of shape {array.shape}; expected "
                "integers, one per example"
            )
        outside = (array < 0) | (array >= len(self._source))
        if outside.any():
            raise IndexError(
                f"DataLoader: the sampler gave the index {array[outside][0]}; expected 0 to "
                f"{len(self._source) - 1}"
            )
        return array.astype(np.intp, copy=False)
