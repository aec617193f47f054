"""The database: opening, migrating and checking it."""

from __future__ import annotations

import json
import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.util import CommandError
from sqlalchemy import URL, Engine, create_engine, event, text
from sqlalchemy.exc import DatabaseError
from sqlalchemy.orm import Session

from tinygrad_cnn.studio.store.errors import DamagedStoreError
from tinygrad_cnn.studio.store.private import make_private

__all__ = ["Store"]

BUSY_SECONDS = 20.0
"""Timeout for a transaction of another process."""

MOST_READERS = 48
"""Exceeds the server's number of threads."""

MIGRATIONS = "tinygrad_cnn.studio.store:migrations"

ERRORS = (DatabaseError, sqlite3.DatabaseError)  # SQLAlchemy's, and those raised while it connects


class Store:
    """The studio's database; safe for many threads and several processes.

    A committed session survives a crash of the process or the machine: the write-ahead log is
    flushed at every commit.

    Parameters
    ----------
    path : str or path-like
        The database file; `migrate` creates it, with its folder.

    Examples
    --------
    See `tinygrad_cnn.studio.store`.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        # One connection writes: the threads of a process queue for it. Waiting on SQLite is slower,
        # as it polls at growing intervals.
        self._writer = _engine(self.path, "BEGIN IMMEDIATE", pool_size=1, max_overflow=0)
        self._reader = _engine(self.path, "BEGIN", pool_size=5, max_overflow=MOST_READERS - 5)
        event.listen(self._reader, "connect", _refuse_to_write)

    @contextmanager
    def session(self) -> Iterator[Session]:
        """Yield a session that may write: committed on success, rolled back on an exception.

        It holds the database's write lock from the beginning, so that values read cannot change
        before the write. Do no long computation inside, and open no second session. Its objects
        stay readable afterwards.
        """
        with Session(self._writer, expire_on_commit=False) as session, session.begin():
            session.connection()
            yield session

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """Yield a read-only session on the current state of the database; it never blocks.

        Writing in it raises sqlalchemy.exc.OperationalError.
        """
        with Session(self._reader, expire_on_commit=False) as session:
            yield session

    def migrate(self) -> None:
        """Create the database, or upgrade one from an older version of the package.

        Only its owner can read it and its folder.

        Several processes may call it at once: one does the work, the others wait.

        Raises
        ------
        DamagedStoreError
            If the file is no database, or from a newer version of the package.
        OSError
            If it or its folder cannot be created.
        """
        make_private(self.path)
        config = Config()
        config.set_main_option("script_location", MIGRATIONS)
        try:
            _while_locked(self._enter_wal)
            with self._writer.begin() as connection:
                config.attributes["connection"] = connection
                command.upgrade(config, "head")
        except CommandError as error:
            raise DamagedStoreError(
                f"{self.path}: was written by another, probably later, version of tinygrad_cnn: "
                f"{error}"
            ) from error
        except ERRORS as error:
            raise DamagedStoreError(f"{self.path}: cannot be used: {_reason(error)}") from error

    def check(self) -> None:
        """Check the integrity of the whole file; raise DamagedStoreError with the errors found."""
        try:
            with self._reader.connect() as connection:
                found = connection.execute(text("PRAGMA integrity_check")).scalars().all()
                orphans = connection.execute(text("PRAGMA foreign_key_check")).all()
        except ERRORS as error:
            raise DamagedStoreError(f"{self.path}: cannot be read: {_reason(error)}") from error
        if found != ["ok"]:
            raise DamagedStoreError(f"{self.path}: is damaged: {'; '.join(found)}")
        if orphans:
            raise DamagedStoreError(f"{self.path}: rows refer to missing rows: {orphans}")

    def close(self) -> None:
        """Close all connections; the last process to do so cleans up the log."""
        self._writer.dispose()
        self._reader.dispose()

    def _enter_wal(self) -> None:
        # Outside a transaction: SQLite would refuse.
        connection = self._writer.raw_connection()
        try:
            connection.cursor().execute("PRAGMA journal_mode = WAL").close()
        finally:
            connection.close()


def _engine(path: Path, begin: str, **pool: Any) -> Engine:
    engine = create_engine(
        URL.create("sqlite", database=str(path)),
        json_serializer=partial(json.dumps, ensure_ascii=False, allow_nan=False),
        pool_timeout=BUSY_SECONDS,
        connect_args={"timeout": BUSY_SECONDS},
        **pool,
    )

    @event.listens_for(engine, "connect")
    def connect(connection: sqlite3.Connection, record: Any) -> None:
        connection.isolation_level = None  # stops the module from starting transactions
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA synchronous = FULL")

    @event.listens_for(engine, "begin")
    def start(connection: Any) -> None:
        connection.exec_driver_sql(begin)

    return engine


def _refuse_to_write(connection: sqlite3.Connection, record: Any) -> None:
    connection.execute("PRAGMA query_only = ON")


def _reason(error: DatabaseError | sqlite3.DatabaseError) -> str:
    return str(error.orig if isinstance(error, DatabaseError) else error)


def _while_locked(act: Callable[[], None]) -> None:
    """Retry while another process locks the file; SQLite does not do so when entering WAL mode."""
    end = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            return act()
        except ERRORS as error:
            if "locked" not in str(error) or time.monotonic() > end:
                raise
            time.sleep(0.01)
