"""`RunningEpoch`: where `fit` is within an epoch."""

from __future__ import annotations

import math
from collections.abc import Generator, Mapping
from itertools import islice
from typing import Any

from numpy.typing import NDArray

from tinygrad_cnn.distributed.faults import OneRank, shared
from tinygrad_cnn.train.checkpoint import HasState
from tinygrad_cnn.train.evaluation import Batches, Meter

__all__ = ["RunningEpoch"]


class RunningEpoch:
    """The position of `fit` within an epoch: what a checkpoint needs besides the history.

    Attributes
    ----------
    batch : int
        The number of the current batch, counted from 1; 0 before the first.
    loading : bool
        Whether the batch after that is being loaded.
    trained : bool
        Whether the last batch of the epoch is done, but not its validation.
    stopped : bool
        Whether a callback has ended training.
    seconds : float
        The time spent on the batches.
    rate : float
        The learning rate of the last step.
    meter : Meter
        Of the examples of this rank. Resumed with another number of ranks, rank 0 has all before.
    """

    def __init__(
        self, loader: Batches, validation: Batches | None, meter: Meter, ranks: OneRank
    ) -> None:
        self.loader = loader
        self.validation: Any = validation
        self.ranks = ranks
        self._validates_from: Any = None
        self.stopped = False
        self._skipped = 0
        self.begin(meter)

    def begin(self, meter: Meter) -> None:
        """Begin an epoch."""
        self.meter = meter
        self._others = 0.0, 0  # the total loss and the number of examples of other ranks
        self.batch = 0
        self.loading = self.trained = False
        self._validates_from = None
        self.seconds = 0.0
        self.rate = math.nan

    @property
    def images(self) -> int:
        """The examples so far, of all ranks."""
        return self.meter.images + self._others[1]

    @property
    def loss(self) -> float:
        """The mean loss so far, of all ranks."""
        return self.meter.loss_with(*self._others)

    def count(self, epoch: int, value: float, examples: int) -> float:
        """Return the mean loss of a batch over all ranks, from that of this rank; a collective."""
        if self.ranks.size == 1:
            return value
        where = f"fit: epoch {epoch}, batch {self.batch}"
        total, images = self.ranks.exchange(where, value * examples, examples)
        loss_there, there = self._others
        if not images:
            raise shared(ValueError(f"{where}: no rank has an example"))
        self._others = loss_there + total - value * examples, there + int(images) - examples
        return total / images

    def rest(self) -> Generator[tuple[NDArray[Any], NDArray[Any]]]:
        """Yield the batches of the epoch that are not done, and count them."""
        if not self.trained:
            skipped, self._skipped = self._skipped, 0
            self.loading = True
            for each in islice(self.loader, skipped, None):
                self.loading = False
                self.batch += 1
                yield each
                self.loading = True

    def validates(self) -> None:
        """Note the position of the validation set: interrupted, it begins there again."""
        self._validates_from = _position(self.validation)

    def place(self, done: int) -> str:
        """Return the place for a message, after this many epochs."""
        if self.trained:
            return f"at the end of epoch {done + 1}"
        if self.batch or self.loading:
            return f"in epoch {done + 1}, batch {self.batch + self.loading}"
        return f"at the end of epoch {done}" if done else ""

    def state_dict(self) -> dict[str, Any]:
        """Return the state between two batches."""
        own = {name: getattr(self, name) for name in ("batch", "trained", "seconds", "rate")}
        return {
            **own,
            "stopped": self.stopped and self.trained,  # after an epoch, callbacks decide again
            "loader": _position(self.loader),
            "validation": self._validates_from or _position(self.validation),
            "meters": self.ranks.gather("the metrics", self.meter.state_dict()),
        }

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Restore a state from `state_dict`."""
        meters, rank = list(state_dict["meters"]), self.ranks.rank
        if len(meters) != self.ranks.size:  # rank 0 takes those of all ranks before
            parts = [meters, *([[]] * (self.ranks.size - 1))]
            meters = [self.meter.of_all(part).state_dict() for part in parts]
        self.meter.load_state_dict(meters.pop(rank))
        self._others = sum(each["loss"] for each in meters), sum(each["images"] for each in meters)
        if isinstance(self.loader, HasState):
            self.loader.load_state_dict(state_dict["loader"])
        else:
            self._skipped = int(state_dict["batch"])
        if isinstance(self.validation, HasState) and state_dict["validation"] is not None:
            self.validation.load_state_dict(state_dict["validation"])
        for name in ("batch", "trained", "seconds", "rate", "stopped"):
            setattr(self, name, state_dict[name])


def _position(loader: Batches | None) -> Any:
    return loader.state_dict() if isinstance(loader, HasState) else None
