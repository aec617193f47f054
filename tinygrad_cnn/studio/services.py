"""The services that request handlers depend on."""

from __future__ import annotations

from dataclasses import dataclass
from threading import Condition
from types import TracebackType
from typing import Annotated, Self

from fastapi import Depends
from starlette.requests import HTTPConnection

from tinygrad_cnn.studio.predictor import Predictor
from tinygrad_cnn.studio.problems import Problem
from tinygrad_cnn.studio.settings import StudioSettings
from tinygrad_cnn.studio.store import Store
from tinygrad_cnn.studio.training.supervisor import Supervisor

__all__ = ["Budget", "Gate", "Services", "UsesServices", "services"]


class Gate:
    """Limits concurrent costly work: ``with gate:``. Other threads wait, or are refused.

    For routes that run in a thread (``def``, not ``async def``).

    Parameters
    ----------
    running : int
        Maximum number of threads inside.
    waiting : int
        Maximum number of waiting threads.
    seconds : float
        Maximum waiting time.

    Raises
    ------
    Problem
        "busy", with Retry-After, on entering, if too many threads wait or the wait took too long.
    """

    def __init__(self, running: int, waiting: int, seconds: float) -> None:
        self.seconds = seconds
        self._free = running
        self._places = waiting
        self._changed = Condition()

    def __enter__(self) -> None:
        with self._changed:
            if self._free == 0:
                if self._places == 0:
                    raise _busy()
                self._places -= 1
                try:
                    if not self._changed.wait_for(lambda: self._free > 0, self.seconds):
                        raise _busy()
                finally:
                    self._places += 1
            self._free -= 1

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with self._changed:
            self._free += 1
            self._changed.notify()


class Budget:
    """Limits the bytes of all uploads together: ``with budget.share() as share:``.

    For the event loop, which runs one request at a time.

    Parameters
    ----------
    bytes : int

    Examples
    --------
    >>> budget = Budget(10)
    >>> with budget.share() as share:
    ...     share.take(4)
    ...     budget.left
    6
    >>> budget.left
    10
    """

    def __init__(self, bytes: int) -> None:
        self.left = bytes

    def share(self) -> _Share:
        """Return a share, which gives back at its end what was taken."""
        return _Share(self)


class _Share:
    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._taken = 0

    def take(self, count: int) -> None:
        """Take bytes; raise Problem "busy" if too few are left."""
        if count > self._budget.left:
            raise _busy("too many uploads")
        self._budget.left -= count
        self._taken += count

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._budget.left += self._taken


def _busy(what: str = "too many expensive requests") -> Problem:
    return Problem("busy", f"{what} at once; try again", headers={"Retry-After": "1"})


@dataclass(frozen=True)
class Services:
    """Dependencies of request handlers.

    Attributes
    ----------
    settings : StudioSettings
    store : Store
        The database.
    predictor : Predictor
        The cache of loaded models.
    supervisor : Supervisor
        Runs the training processes.
    heavy, playground : Gate
        The gates for costly work: the playground has one of its own, so that a class that plays
        holds up no prediction.
    uploads : Budget
        The budget of all bodies that are being received or processed.
    """

    settings: StudioSettings
    store: Store
    predictor: Predictor
    supervisor: Supervisor
    heavy: Gate
    playground: Gate
    uploads: Budget


async def services(connection: HTTPConnection) -> Services:
    """Return the services of the request's app."""
    found = connection.app.state.services
    assert isinstance(found, Services)
    return found


UsesServices = Annotated[Services, Depends(services)]
