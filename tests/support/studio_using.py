"""Several persons who use one studio at once, for as long as it lives."""

from __future__ import annotations

import threading
from contextlib import suppress

from support.studio_client import CUT_OFF, Client
from support.studio_persons import Person


class Using:
    """Persons who use a studio at the same time, each until the server dies.

    Each begins by looking whether all is there that was acknowledged.

    Parameters
    ----------
    persons : list of Person
    url : str
    """

    def __init__(self, persons: list[Person], url: str) -> None:
        self.persons = persons
        self.failures: list[BaseException] = []
        self._over = threading.Event()
        self._threads = [
            threading.Thread(target=self._use, args=(person, url)) for person in persons
        ]
        for thread in self._threads:
            thread.start()

    @property
    def acknowledged(self) -> int:
        return sum(person.acknowledged for person in self.persons)

    def under_way(self) -> list[str]:
        """Return the requests that have not been answered."""
        return [person.doing for person in self.persons if person.doing]

    def wait(self, seconds: float) -> None:
        """Let them go on for a while; not longer once one of them has found something missing."""
        self._over.wait(seconds)

    def end(self) -> None:
        """Let each come to the end of what it does."""
        self._over.set()
        for thread in self._threads:
            thread.join()

    def check(self) -> None:
        """Raise what one of them has found."""
        if self.failures:
            raise self.failures[0]

    def _use(self, person: Person, url: str) -> None:
        try:
            with suppress(*CUT_OFF), Client(url) as client:
                person.settle(client)
                while not self._over.is_set():
                    person.act(client)
                    self._over.wait(person.rng.uniform(0, person.pause))
        except BaseException as failure:
            self.failures.append(failure)
            self._over.set()
