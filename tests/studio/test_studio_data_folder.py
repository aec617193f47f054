"""The data folder is locked before its database is touched, and tidied before it is served."""

from __future__ import annotations

import sqlite3
import threading
import urllib.request
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from support.studio import TOKEN, add_model
from support.studio_models import ask, migrated_to
from support.studio_training import queued

from tinygrad_cnn.studio import StudioSettings, server
from tinygrad_cnn.studio.data_folder import opened
from tinygrad_cnn.studio.store import OtherVersionError, Store, drawings, points, runs
from tinygrad_cnn.studio.training import worker
from tinygrad_cnn.support.lock import FileLock, InUseError


@pytest.fixture
def settings(tmp_path: Path) -> StudioSettings:
    return StudioSettings(data_dir=tmp_path, token=TOKEN, port=0)


def version(path: Path) -> str:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute("SELECT version_num FROM alembic_version").fetchone()[0]


# --- the order of a start ------------------------------------------------------------------------


def test_a_newer_studio_beside_an_older_one_refuses_before_it_migrates(
    settings: StudioSettings,
) -> None:
    migrated_to(settings.database, "0001")
    with FileLock(settings.data_dir / "studio.lock"):  # as the older one holds it
        with pytest.raises(InUseError, match="is in use by another process"):
            server.serve(settings, open_browser=False)
        assert version(settings.database) == "0001"
    with opened(settings) as store:
        store.require_current()


def test_a_studio_locks_migrates_checks_listens_and_then_opens_the_browser(
    settings: StudioSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_model(settings.data_dir)
    order: list[str] = []
    servers: list[Any] = []

    def noted(owner: Any, name: str) -> None:
        act = getattr(owner, name)

        def do(*arguments: Any, **options: Any) -> Any:
            order.append(name)
            return act(*arguments, **options)

        monkeypatch.setattr(owner, name, do)

    class Server(server._Server):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            servers.append(self)

    def browse(address: str) -> None:  # in the terminal, which shows the page before it returns
        request = urllib.request.Request(
            address.split("?")[0] + "api/state", headers={"Authorization": f"Bearer {TOKEN}"}
        )
        with urllib.request.urlopen(request, timeout=20) as answer:
            order.append(f"browser: {answer.status}")
        servers[0].should_exit = True

    for owner, name in (
        (FileLock, "acquire"), (Store, "migrate"), (Store, "check"), (server, "_listening"),
    ):  # fmt: skip
        noted(owner, name)
    monkeypatch.setattr(server, "_Server", Server)
    monkeypatch.setattr("webbrowser.open", browse)
    serving = threading.Thread(target=server.serve, args=(settings,))
    serving.start()
    serving.join(60)
    assert order == ["acquire", "migrate", "check", "_listening", "browser: 200"]
    assert not serving.is_alive()


def test_a_start_waits_for_the_training_process_of_a_killed_studio(
    settings: StudioSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tinygrad_cnn.studio.data_folder.LOCK_SECONDS", 0.0)
    migrated_to(settings.database, "0001")
    folder = settings.runs_dir / "1"
    folder.mkdir(parents=True)
    for lock in (folder / "lock", settings.data_dir / "training.lock"):
        with FileLock(lock), pytest.raises(InUseError), opened(settings):
            pass
        assert version(settings.database) == "0001"


@pytest.mark.parametrize("other", ["0002", "9999"])
def test_a_training_process_refuses_a_database_of_another_version(
    settings: StudioSettings, monkeypatch: pytest.MonkeyPatch, other: str
) -> None:
    with opened(settings) as store:
        run_id = queued(store)
        with store.session() as session:
            session.connection().exec_driver_sql(
                f"UPDATE alembic_version SET version_num = {other!r}"
            )
        with pytest.raises(OtherVersionError, match="another version of tinygrad_cnn"):
            store.require_current()
        for name in ("_end_with_the_server", "os.nice", "work"):
            monkeypatch.setattr(f"tinygrad_cnn.studio.training.worker.{name}", lambda *_: None)
        status = worker.main([str(settings.data_dir), str(run_id)])
        assert status == worker.OTHER_VERSION


# --- leftovers ------------------------------------------------------------------------------------


def test_leftovers_are_removed_and_nothing_else(settings: StudioSettings) -> None:
    with opened(settings) as store, store.session() as session:
        ended, begun = ask(session), ask(session)
        runs.set_state(session, ended.id, "failed")
        points.add_many(session, begun.id, [("point", 1, {})])
    with closing(sqlite3.connect(settings.database)) as connection:  # which checks no references
        connection.execute("INSERT INTO snapshots VALUES (99, 1, '{}')")
        connection.execute("INSERT INTO points VALUES (50, 99, 'point', 1, '{}')")
        connection.execute("UPDATE runs SET model_id = 99")
        connection.commit()
    kept = {"1/checkpoint", "2/.weights.tmp", "2/checkpoint", "notes/7", "03"}
    for name in {*kept, "1/.weights.tmp", "99/checkpoint"}:
        file = settings.runs_dir / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    with opened(settings) as store, store.reading() as session:
        assert [point.run_id for point in points.after(session, 0)] == [begun.id]
        assert [run.model_id for run in runs.all(session)] == [None, None]
        found = session.connection().exec_driver_sql("SELECT count(*) FROM snapshots").scalar()
        assert found == 0
    files = {path for path in settings.runs_dir.rglob("*") if path.is_file()}
    assert {path.relative_to(settings.runs_dir).as_posix() for path in files} == kept


# --- its size ------------------------------------------------------------------------------------


def fill(store: Store) -> int:
    """Add drawings of 4 MB, and return the size of the file."""
    with store.session() as session:
        for _ in range(80):
            drawings.add(session, name="d", picture=bytes(50_000), input=bytes(784))
    store.close()
    return store.path.stat().st_size


def clear(store: Store) -> None:
    with store.session() as session:
        for drawing in drawings.all(session):
            drawings.delete(session, drawing.id)


def earlier(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:  # without auto-vacuum
        connection.execute("CREATE TABLE earlier (id INTEGER)")


@pytest.mark.parametrize("begin", [lambda path: None, earlier])
def test_the_database_shrinks_when_rows_are_deleted(
    settings: StudioSettings, begin: Callable[[Path], None]
) -> None:
    begin(settings.database)
    with opened(settings) as store:
        full = fill(store)
        assert full > 4_000_000
        clear(store)
    assert settings.database.stat().st_size < 500_000


def test_a_database_that_was_emptied_by_an_earlier_version_shrinks_at_the_start(
    settings: StudioSettings,
) -> None:
    earlier(settings.database)
    store = Store(settings.database)
    store.migrate()
    fill(store)
    clear(store)
    store.close()
    assert settings.database.stat().st_size > 4_000_000
    with opened(settings):
        pass
    assert settings.database.stat().st_size < 500_000


def test_the_log_shrinks_after_a_large_change(settings: StudioSettings) -> None:
    with opened(settings) as store:
        log = settings.database.with_name("studio.db-wal")
        with store.session() as session:
            for _ in range(160):
                drawings.add(session, name="d", picture=bytes(50_000), input=bytes(784))
        assert log.stat().st_size > 7_000_000
        with store.session() as session:
            ask(session)
        assert log.stat().st_size < 4_300_000
