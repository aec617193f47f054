"""The services that request handlers depend on."""

from __future__ import annotations

from dataclasses import dataclass
from threading import Condition
from types import TracebackType
from typing import Annotated

from fastapi import Depends
from starlette.requests import HTTPConnection

from tinygrad_cnn.studio.predictor import Predictor
from tinygrad_cnn.studio.problems import Problem
from tinygrad_cnn.studio.settings import StudioSettings
from tinygrad_cnn.studio.store import Store
from tinygrad_cnn.studio.training.supervisor import Supervisor

__all__ = ["Gate", "Services", "UsesServices", "services"]


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


def _busy() -> Problem:
    return Problem(
        "busy", "too many expensive requests at once; try again", headers={"Retry-After": "1"}
    )


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
    heavy : Gate
        The gate for costly work.
    """

    settings: StudioSettings
    store: Store
    predictor: Predictor
    supervisor: Supervisor
    heavy: Gate


async def services(connection: HTTPConnection) -> Services:
    """Return the services of the request's app."""
    found = connection.app.state.services
    assert isinstance(found, Services)
    return found


UsesServices = Annotated[Services, Depends(services)]
