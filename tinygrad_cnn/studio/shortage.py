"""Shortages of the machine: errors that end once the disk, the memory or the database has room."""

from __future__ import annotations

import errno
import sqlite3
from enum import Enum

from sqlalchemy.exc import DBAPIError, TimeoutError

__all__ = ["Shortage"]


class Shortage(Enum):
    """A shortage, its name in a sentence, and the exit status of a training process it has ended.

    Examples
    --------
    >>> Shortage.of(OSError(errno.ENOSPC, "No space left on device"))
    <Shortage.DISK: ('the disk is full', 75)>
    >>> Shortage.of(ValueError("a mistake")) is None
    True
    """

    DISK = "the disk is full", 75
    LOCK = "another program has locked the database", 76
    MEMORY = "there is not enough memory", 77

    @property
    def reason(self) -> str:
        """The shortage as a sentence, without a period."""
        return self.value[0]

    @property
    def status(self) -> int:
        """The exit status of a training process that it has ended."""
        return self.value[1]

    @classmethod
    def of(cls, error: BaseException | None) -> Shortage | None:
        """Return the shortage that an error, or its cause, reports; None for any other error."""
        while error is not None:
            found = cls._of_one(error.orig if isinstance(error, DBAPIError) else error)
            if found is not None:
                return found
            error = error.__cause__ or error.__context__
        return None

    @classmethod
    def of_status(cls, status: int) -> Shortage | None:
        """Return the shortage that has ended a process with an exit status, if one has."""
        return next((each for each in cls if each.status == status), None)

    @classmethod
    def _of_one(cls, error: BaseException | None) -> Shortage | None:
        if isinstance(error, sqlite3.Error):
            code = getattr(error, "sqlite_errorcode", 0)
            return _OF_SQLITE.get(code) or _OF_SQLITE.get(code & 0xFF)
        if isinstance(error, OSError):
            return _OF_SYSTEM.get(error.errno or 0)
        if isinstance(error, MemoryError):
            return cls.MEMORY
        return cls.LOCK if isinstance(error, TimeoutError) else None


_OF_SYSTEM = {
    errno.ENOSPC: Shortage.DISK,
    errno.EDQUOT: Shortage.DISK,
    errno.ENOMEM: Shortage.MEMORY,
}
_OF_SQLITE = {
    sqlite3.SQLITE_FULL: Shortage.DISK,
    sqlite3.SQLITE_IOERR_WRITE: Shortage.DISK,  # a quota: SQLite has no code of its own for it
    sqlite3.SQLITE_IOERR_FSYNC: Shortage.DISK,
    sqlite3.SQLITE_IOERR_SHMSIZE: Shortage.DISK,  # no room for the index of the write-ahead log
    sqlite3.SQLITE_BUSY: Shortage.LOCK,
    sqlite3.SQLITE_LOCKED: Shortage.LOCK,
    sqlite3.SQLITE_NOMEM: Shortage.MEMORY,
}
