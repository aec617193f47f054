"""The data folder: locked, then its database migrated and checked, and leftovers removed."""

from __future__ import annotations

import logging
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tinygrad_cnn.studio.settings import StudioSettings
from tinygrad_cnn.studio.store import Store, runs
from tinygrad_cnn.studio.store.private import make_private
from tinygrad_cnn.support.lock import FileLock

__all__ = ["opened", "run_lock"]

LOCK, EARLIER_LOCK = "lock", "training.lock"
LOCK_SECONDS = 30.0
"""Longest wait for a training process of a killed studio to end."""

log = logging.getLogger(__name__)


@contextmanager
def opened(settings: StudioSettings) -> Iterator[Store]:
    """Yield the database of the data folder, which this process alone serves.

    The folder is locked before its database is touched. It is migrated once no training process of
    a killed studio uses it; one that starts later refuses a database of another version.

    Parameters
    ----------
    settings : StudioSettings

    Raises
    ------
    InUseError
        If another studio, or one's training process, uses the folder.
    DamagedStoreError
        If the database cannot be used.
    OSError
        If the folder cannot be created.
    """
    lock = settings.data_dir / "studio.lock"
    make_private(lock)
    store = Store(settings.database)
    with FileLock(lock):
        try:
            for held in (
                *settings.data_dir.glob(EARLIER_LOCK),
                *settings.runs_dir.glob(f"*/{LOCK}"),
            ):
                with FileLock(held, wait=LOCK_SECONDS):
                    pass
            store.migrate()
            store.check()
            _shrink(store)
            _remove_leftovers(store, settings.runs_dir)
            yield store
        finally:
            store.close()


def run_lock(folder: Path) -> FileLock:
    """Return the lock that a training process holds on the folder of its run."""
    return FileLock(folder / LOCK, wait=LOCK_SECONDS)


def _shrink(store: Store) -> None:
    try:
        store.shrink()
    except sqlite3.OperationalError as error:  # it can be used as it is
        log.warning("%s: stays as large as it is: %s", store.path, error)


def _remove_leftovers(store: Store, runs_dir: Path) -> None:
    """Remove the folders of runs that are deleted, and incomplete files of those that ended."""
    with store.reading() as session:
        known = {str(run.id): run.state in runs.ENDED for run in runs.all(session)}
    for folder in runs_dir.glob("*"):
        if folder.name.isdecimal() and folder.name not in known:
            shutil.rmtree(folder, ignore_errors=True)
        elif known.get(folder.name):
            for file in folder.glob(".*.tmp"):
                file.unlink(missing_ok=True)
