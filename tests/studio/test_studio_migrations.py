"""The database is made and brought up to date whole, once, whoever starts it and how often."""

from __future__ import annotations

import json
import logging
import re
import sqlite3
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from alembic import op
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Engine, create_engine, inspect
from support.studio_models import migrated_to, opened

from tinygrad_cnn.studio.store import DamagedStoreError, Store, drawings, outbox, points, runs
from tinygrad_cnn.studio.store.tables import Base


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "studio.db"


def migrated(path: Path) -> None:
    store = Store(path)
    store.migrate()
    store.close()


def structure(engine: Engine) -> dict[str, Any]:
    """Return what the database itself says of its tables: by other means than Alembic's."""
    seen = inspect(engine)
    found = {}
    for table in set(seen.get_table_names()) - {"alembic_version"}:
        columns = {
            each["name"]: (str(each["type"]), each["nullable"]) for each in seen.get_columns(table)
        }
        keys = {
            (*each["constrained_columns"], each["referred_table"], *each["referred_columns"],
             each["name"], each["options"].get("ondelete"))
            for each in seen.get_foreign_keys(table)
        }  # fmt: skip
        checks = {(each["name"], each["sqltext"]) for each in seen.get_check_constraints(table)}
        indexes = {(each["name"], *each["column_names"]) for each in seen.get_indexes(table)}
        with engine.connect() as connection:
            written = connection.exec_driver_sql(
                "SELECT sql FROM sqlite_master WHERE name = ?", (table,)
            ).scalar_one()
        found[table] = columns, keys, checks, indexes, "AUTOINCREMENT" in written
    return found


def contents(path: Path) -> list[str]:
    connection = sqlite3.connect(path)
    try:
        return list(connection.iterdump())
    finally:
        connection.close()


def test_the_migrations_make_the_tables_that_the_classes_declare(path: Path) -> None:
    migrated(path)
    engine = create_engine(f"sqlite:///{path}")
    declared = create_engine("sqlite://")
    Base.metadata.create_all(declared)
    assert structure(engine) == structure(declared)
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), Base.metadata) == []
    engine.dispose()
    declared.dispose()


def test_a_database_that_is_up_to_date_stays_as_it_is(path: Path) -> None:
    store = Store(path)
    store.migrate()
    with store.session() as session:
        drawings.add(session, name="a", picture=b"", input=bytes(784))
    store.close()
    before = contents(path)
    migrated(path)
    assert contents(path) == before


@pytest.mark.parametrize("name", ["a b.db", "100%(here)s%.db", "é?x=1&y#z.db", "a:b.db"])
def test_a_database_may_be_called_anything(tmp_path: Path, name: str) -> None:
    migrated(tmp_path / name)
    assert [file.name for file in tmp_path.iterdir()] == [name]


STARTER = """
import sys
from tinygrad_cnn.studio.store import Store, drawings

store = Store(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
store.migrate()
with store.session() as session:
    drawings.add(session, name="a", picture=b"", input=bytes(784))
"""


def test_processes_that_start_at_once_make_one_database(path: Path) -> None:
    command = [sys.executable, "-c", STARTER, str(path)]
    pipe = subprocess.PIPE
    started = [
        subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True) for _ in range(3)
    ]
    for process in started:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in started:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    told = [process.communicate() for process in started]
    assert told == [("", "")] * 3
    store = Store(path)
    store.check()
    with store.reading() as session:
        assert drawings.count(session) == 3
    store.close()


def test_threads_that_start_at_once_make_one_database(tmp_path: Path) -> None:
    for number in range(8):
        path = tmp_path / f"{number}.db"
        barrier = threading.Barrier(4)

        def start(path: Path = path, barrier: threading.Barrier = barrier) -> None:
            store = Store(path)
            barrier.wait()
            store.migrate()
            store.close()

        with ThreadPoolExecutor(4) as pool:
            for begun in [pool.submit(start) for _ in range(4)]:
                begun.result()
        assert structure(create_engine(f"sqlite:///{path}")).keys() == Base.metadata.tables.keys()


def test_a_start_waits_for_whoever_has_the_new_file(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")  # SQLite lets nobody wait for this to enter WAL mode
    other.execute("CREATE TABLE others (id INTEGER)")
    monkeypatch.setattr("time.sleep", lambda seconds: other.commit())
    migrated(path)
    other.close()
    assert any("CREATE TABLE models" in line for line in contents(path))


def test_a_migration_that_fails_leaves_nothing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    store = Store(path)
    with monkeypatch.context() as patch:
        patch.setattr(op, "create_index", fail)  # it comes after the first tables
        with pytest.raises(KeyboardInterrupt):
            store.migrate()
    assert [line for line in contents(path) if "CREATE" in line] == []
    store.migrate()
    store.check()
    store.close()


def test_a_newer_database_is_left_alone(path: Path) -> None:
    migrated(path)
    connection = sqlite3.connect(path)
    connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.commit()
    connection.close()
    before = contents(path)
    store = Store(path)
    with pytest.raises(
        DamagedStoreError, match=r"studio\.db: was written by another, probably later"
    ):
        store.migrate()
    store.close()
    assert contents(path) == before


def test_a_file_that_is_no_database_is_left_alone(path: Path) -> None:
    path.write_bytes(b"no database at all " * 100)
    store = Store(path)
    with pytest.raises(DamagedStoreError, match="file is not a database"):
        store.migrate()
    with pytest.raises(DamagedStoreError, match="cannot be read: file is not a database"):
        store.check()
    store.close()
    assert path.read_bytes() == b"no database at all " * 100


def test_a_damaged_database_is_found_out(path: Path) -> None:
    store = Store(path)
    store.migrate()
    with store.session() as session:
        for _ in range(50):
            drawings.add(session, name="a", picture=bytes(3000), input=bytes(784), label=1)
    store.check()
    store.close()
    damaged = bytearray(path.read_bytes())
    page = len(damaged) // 2 // 4096 * 4096
    damaged[page::4096] = b"\xff" * len(damaged[page::4096])  # the first byte of each page
    path.write_bytes(damaged)
    with pytest.raises(DamagedStoreError, match=r"studio\.db: (is damaged|cannot be read)"):
        store.check()
    store.close()


def test_a_database_of_an_earlier_version_keeps_its_rows(path: Path) -> None:
    migrated_to(path, "0002")
    taught = {"drawings": [1, 2, 7], "held_back": [5, 10], "lr": 0.5}
    connection = sqlite3.connect(path)
    for id, kind, request in ((1, "train", {"lr": 0.1}), (2, "fine-tune", taught)):
        connection.execute(
            "INSERT INTO runs (id, name, kind, state, wanted, steps, request, epoch, epochs, "
            "created, attempts) VALUES (?, 'r', ?, 'done', 'run', 0, ?, 1, 1, '2024-01-01', 0)",
            (id, kind, json.dumps(request)),
        )
    for id, kind in ((4, "state"), (5, "point"), (6, "epoch"), (7, "restarted"), (8, "state")):
        connection.execute("INSERT INTO points VALUES (?, 2, ?, 3, '{}')", (id, kind))
    for id, loss in ((9, 0.5), (10, 0.25)):
        payload = {"loss": 1.0, "accuracy": 0.5, "validation_loss": loss, "seconds": 1.5}
        row = (id, json.dumps({**payload, "validation_accuracy": 1 - loss}))
        connection.execute("INSERT INTO points VALUES (?, 2, 'epoch', 3, ?)", row)
    connection.commit()
    connection.close()
    with opened(path) as store:
        store.check()
        with store.reading() as session:
            requests = [run.request for run in runs.all(session)]
            results = [run.result for run in runs.all(session)]
            told = [(point.id, point.kind) for point in points.after(session, 0)]
            assert outbox.newest(session) == 1  # that a run has its result
    short = {"drawings": 3, "held_back": 2, "lr": 0.5, "last_drawing": 10}
    assert requests == [short, {"lr": 0.1}]
    assert told == [(5, "point"), (6, "epoch"), (7, "restarted"), (9, "epoch"), (10, "epoch")]
    expected = {"loss": 1.0, "accuracy": 0.5, "test_loss": 0.25, "test_accuracy": 0.75}
    assert results == [{**expected, "seconds": 3.0, "parameters": None}, None]


def test_nothing_is_said(
    path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    handlers = list(logging.getLogger().handlers)
    with caplog.at_level(logging.WARNING):
        migrated(path)
    assert caplog.records == []
    assert capfd.readouterr() == ("", "")
    assert logging.getLogger().handlers == handlers


def test_the_migrations_follow_one_another() -> None:
    folder = Path(__file__).parents[2] / "tinygrad_cnn/studio/store/migrations/versions"
    files = sorted(folder.glob("*.py"))
    told = [
        re.findall(r"^(?:down_)?revision = (.*)$", file.read_text(encoding="utf-8"), re.MULTILINE)
        for file in files
    ]
    assert [now.strip('"') for now, _ in told] == [file.name.split("_")[0] for file in files]
    assert [before for _, before in told] == ["None", *(now for now, _ in told[:-1])]
