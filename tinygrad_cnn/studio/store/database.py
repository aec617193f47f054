"""The database: opening, migrating and checking it."""

from __future__ import annotations

import json
import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import URL, Engine, create_engine, delete, event, select, text, update
from sqlalchemy.exc import DatabaseError
from sqlalchemy.orm import Session

from tinygrad_cnn.studio.store.errors import DamagedStoreError, OtherVersionError
from tinygrad_cnn.studio.store.private import make_private
from tinygrad_cnn.studio.store.tables import Base

__all__ = ["Store"]

BUSY_SECONDS = 20.0
"""Timeout for a transaction of another process."""

MOST_READERS = 48
"""Exceeds the server's number of threads."""

LOG_BYTES = 4 << 20
"""The write-ahead log is cut to this size when its contents are in the database."""

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
        self._watchers: set[Callable[[], None]] = set()

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
        for committed in tuple(self._watchers):
            committed()

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """Yield a read-only session on the current state of the database; it never blocks.

        Writing in it raises sqlalchemy.exc.OperationalError.
        """
        with Session(self._reader, expire_on_commit=False) as session:
            yield session

    @contextmanager
    def watching(self, committed: Callable[[], None]) -> Iterator[Callable[[], int]]:
        """Watch for commits.

        Parameters
        ----------
        committed : callable
            Called after each commit of this store, in its thread.

        Yields
        ------
        callable
            Returns a number that changes with each commit, whichever process makes it. A call costs
            some microseconds; it raises sqlite3.OperationalError if the file is locked.
        """
        self._watchers.add(committed)
        try:
            with closing(sqlite3.connect(self.path, timeout=0)) as connection:
                yield lambda: connection.execute("PRAGMA data_version").fetchone()[0]
        finally:
            self._watchers.discard(committed)

    def migrate(self) -> None:
        """Create the database, or upgrade one from an older version of the package.

        Only its owner can read it and its folder.

        Several processes may call it at once: one does the work, the others wait.

        Raises
        ------
        DamagedStoreError
            If the file is not a database, or from a newer version of the package.
        OSError
            If it or its folder cannot be created.
        """
        make_private(self.path)
        try:
            _while_locked(self._set_up)
            with self._writer.begin() as connection:
                config = Config(attributes={"connection": connection})
                config.set_main_option("script_location", MIGRATIONS)
                command.upgrade(config, "head")
        except CommandError as error:
            raise OtherVersionError(
                f"{self.path}: was written by another, probably later, version of tinygrad_cnn: "
                f"{error}"
            ) from error
        except ERRORS as error:
            raise DamagedStoreError(f"{self.path}: cannot be used: {_reason(error)}") from error

    def require_current(self) -> None:
        """Raise OtherVersionError if another version of the package has migrated the database."""
        config = Config()
        config.set_main_option("script_location", MIGRATIONS)
        expected = ScriptDirectory.from_config(config).get_heads()
        with self._reader.connect() as connection:
            found = MigrationContext.configure(connection).get_current_heads()
        if list(found) != expected:
            raise OtherVersionError(
                f"{self.path}: is in use by another version of tinygrad_cnn: restart the studio"
            )

    def check(self) -> None:
        """Check the integrity of the whole file, and repair references to missing rows.

        As a deletion would have done, a row that belongs to a missing one is deleted, and another
        reference is set to null.

        Raises
        ------
        DamagedStoreError
            With the errors found.
        """
        try:
            with self._reader.connect() as connection:
                found = connection.execute(text("PRAGMA integrity_check")).scalars().all()
            if found != ["ok"]:
                raise DamagedStoreError(f"{self.path}: is damaged: {'; '.join(found)}")
            with self.session() as session:
                _repair_references(session)
        except ERRORS as error:
            raise DamagedStoreError(f"{self.path}: cannot be read: {_reason(error)}") from error

    def shrink(self) -> None:
        """Let a database from an earlier version shrink after deletions; new ones do.

        Raises
        ------
        sqlite3.OperationalError
            If the disk has no space for a copy of the database.
        """
        with closing(sqlite3.connect(self.path, isolation_level=None)) as connection:
            if connection.execute("PRAGMA auto_vacuum").fetchone() == (0,):
                connection.execute("PRAGMA auto_vacuum = FULL")
                connection.execute("VACUUM")

    def close(self) -> None:
        """Close all connections; the last process to do so cleans up the log."""
        self._writer.dispose()
        self._reader.dispose()

    def _set_up(self) -> None:
        # Outside a transaction: SQLite would refuse.
        connection = sqlite3.connect(self.path, timeout=0, isolation_level=None)
        with closing(connection):
            connection.execute("PRAGMA auto_vacuum = FULL")  # has an effect on a new file only
            connection.execute("PRAGMA journal_mode = WAL")


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
        connection.execute(f"PRAGMA journal_size_limit = {LOG_BYTES}")

    @event.listens_for(engine, "begin")
    def start(connection: Any) -> None:
        connection.exec_driver_sql(begin)

    return engine


def _repair_references(session: Session) -> None:
    for table in Base.metadata.tables.values():
        for key in table.foreign_keys:
            lost = key.parent.is_not(None) & key.parent.not_in(select(key.column))
            if key.ondelete == "CASCADE":
                session.execute(delete(table).where(lost))
            else:
                session.execute(update(table).where(lost).values({key.parent: None}))


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
