"""A file lock between processes."""

from __future__ import annotations

import os
import platform
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import IO
from weakref import WeakSet

__all__ = ["FileLock", "InUseError"]

RETRY_SECONDS = 0.05


class InUseError(RuntimeError):
    """Another process, or another part of this one, holds the lock."""


class FileLock:
    """A lock that is released when its process ends, in any way: ``with FileLock(path):``.

    The operating system holds it for the process, so that a process that was killed holds none:
    a file that is left behind is not a lock.

    Parameters
    ----------
    path : Path
        Created if missing, and never deleted. It names the process that holds or held the lock.
    wait : float
        Seconds to wait for the lock.

    Raises
    ------
    InUseError
        On entering, if the lock stays held for all of `wait`.
    OSError
        If the file cannot be opened, or the file system has no locks.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder, FileLock(Path(folder, "lock")) as lock:
    ...     with FileLock(lock.path):
    ...         pass
    Traceback (most recent call last):
        ...
    tinygrad_cnn.support.lock.InUseError: ...lock: is in use by another process (... on ...)
    """

    def __init__(self, path: Path, wait: float = 0.0) -> None:
        self.path = path
        self.wait = wait
        self._file: IO[bytes] | None = None

    def __enter__(self) -> FileLock:
        self.acquire()
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def acquire(self) -> None:
        """Acquire the lock."""
        deadline = time.monotonic() + self.wait
        file = open(self.path, "ab")  # noqa: SIM115  # stays open while the lock is held
        try:
            while not _take(file.fileno()):
                if time.monotonic() >= deadline:
                    raise InUseError(f"{self.path}: is in use by another process{self._holder()}")
                time.sleep(RETRY_SECONDS)
            _HELD.add(file)
            file.truncate(0)
            file.write(f"{os.getpid()} on {platform.node()}".encode())
            file.flush()
        except BaseException:
            file.close()
            raise
        self._file = file

    def _holder(self) -> str:
        with suppress(OSError):  # Windows locks the contents, too
            return f" ({self.path.read_text(errors='replace')})"
        return ""

    def release(self) -> None:
        """Release the lock, if it is held."""
        if self._file is not None:
            _HELD.discard(self._file)
            self._file.close()
            self._file = None


_HELD: WeakSet[IO[bytes]] = WeakSet()


def _forget() -> None:
    """Close the files of locks in a forked process, which would hold them as long as it lives."""
    for file in tuple(_HELD):
        file.close()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)

if sys.platform == "win32":
    import msvcrt

    def _take(descriptor: int) -> bool:
        os.lseek(descriptor, 0, os.SEEK_SET)
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except PermissionError:
            return False
        return True

else:
    import fcntl

    def _take(descriptor: int) -> bool:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True
