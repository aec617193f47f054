"""Kills a studio at random moments while it is used; prints the moments, and what was lost.

PYTHONPATH=tests python -m support.studio_kill --moments 50

"""

from __future__ import annotations

import argparse
import os
import random
import re
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support.studio import PATIENCE, TOKEN, until
from support.studio_client import Client
from support.studio_models import add, knowing
from support.studio_persons import EPOCHS, Asker, Drawer, Keeper, Person
from support.studio_training import WORKER, outcome, points_of
from support.studio_using import Using
from tinygrad_cnn.studio.store import Store, models

VICTIMS = ("server", "trainer", "both", "start")
"""What is killed: "start" is a server before it answers."""

MOST_DEATHS = 2
"""Of a training's process, without an epoch between: one more, and the run has failed."""


@dataclass
class Moment:
    """One kill.

    Attributes
    ----------
    number : int
    victim : str
        One of ``VICTIMS``.
    after : float
        Seconds since the server answered, or was started, or since the kill before.
    cut_off : list of str
        The requests that were under way.
    kept : int
        How many were acknowledged since the kill before.
    training : str
        Where the training stood.
    """

    number: int
    victim: str
    after: float
    cut_off: list[str]
    kept: int
    training: str

    def __str__(self) -> str:
        doing = ", ".join(self.cut_off) or "–"
        return (
            f"| {self.number:2} | {self.victim:7} | {self.after:4.2f} | {self.kept:4} "
            f"| {self.training:44} | {doing} |"
        )


HEADER = (
    "| moment | killed | after s | acknowledged | training | under way |\n"
    "| --- | --- | --- | --- | --- | --- |"
)


class Ordeal:
    """A studio that is used by several persons, killed, and looked over.

    Parameters
    ----------
    data_dir : Path
    seed : int
        Of the moments, and of what the persons do.
    """

    def __init__(self, data_dir: Path, seed: int = 0) -> None:
        self.data_dir = data_dir
        self.log = data_dir.with_name("studio.log")
        self.rng = random.Random(seed)
        self.store = Store(data_dir / "studio.db")
        self.store.migrate()
        with self.store.session() as session:
            first = [add(session, knowing(share), f"knows {share:.0%}").id for share in (0.9, 0.6)]
            models.promote(session, first[0])
        self.store.close()  # whoever holds the file open spares a server to mend it
        self.asker = Asker(random.Random(seed + 1))
        self.persons: list[Person] = [
            Drawer(random.Random(seed + 2)),
            Keeper(random.Random(seed + 3), first),
            self.asker,
        ]
        self.starting = self.training = 0.0
        self.moments: list[Moment] = []
        self._victims: list[str] = []

    def undisturbed(self) -> None:
        """Let one training come to its end: what the others must equal, and how long it takes."""
        before = time.monotonic()
        with self.server() as (process, url), Client(url) as client:
            started = time.monotonic()
            self.asker.ask_for_one(client)
            until(lambda: self.asker.all_ended(client))
            self.starting = started - before
            self.training = time.monotonic() - started
            process.terminate()
            process.wait(PATIENCE)

    def killed(self, count: int) -> Iterator[Moment]:
        """Use the studio, and kill it at so many moments."""
        while len(self.moments) < count:
            if self._next() == "start":
                yield self._kill_as_it_starts()
                continue
            with self.server() as (process, url):
                using = Using(self.persons, url)
                try:
                    while (
                        process.poll() is None
                        and len(self.moments) < count
                        and self._next() != "start"
                    ):
                        yield self._kill(process, using)
                finally:
                    using.end()

    def finish(self) -> str:
        """Let all trainings come to their end, look at everything, and return what there is."""
        with self.server() as (process, url), Client(url) as client:
            for person in self.persons:
                person.settle(client)
            until(lambda: self.asker.all_ended(client))
            for person in self.persons:
                person.settle(client)
            process.terminate()
            process.wait(PATIENCE)
        until(lambda: not trainers(self.data_dir))
        self._check_runs()
        self._check_file()
        log = self.log.read_text(encoding="utf-8")
        assert "Traceback" not in log, log
        cut_off = sum(len(moment.cut_off) for moment in self.moments)
        return (
            f"{sum(person.acknowledged for person in self.persons)} changes acknowledged, "
            f"{cut_off} cut off; {len(self.asker.to_be_done)} runs done, all with the same model, "
            f"{len(self.asker.cancelled)} cancelled"
        )

    def _check_runs(self) -> None:
        """Each run is done, with one model and each thing told once, as if nothing had been."""
        found = {run_id: outcome(self.store, run_id) for run_id in self.asker.to_be_done}
        for run_id in found:
            told = [p.payload["epoch"] for p in points_of(self.store, run_id) if p.kind == "epoch"]
            assert sorted(told) == list(range(1, EPOCHS + 1)), (run_id, told)
        whole = found[min(found)]  # nobody killed the first
        for run_id, each in found.items():
            assert each == whole, f"run {run_id} ended otherwise: {each}, expected {whole}"
        with self.store.reading() as session:
            given = [model.run_id for model in models.all(session) if model.run_id is not None]
        assert sorted(given) == sorted(found), "a run that was cancelled has given a model"
        self.store.close()

    def _check_file(self) -> None:
        """The file is sound, as SQLite itself says."""
        with closing(sqlite3.connect(self.data_dir / "studio.db")) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            assert connection.execute("PRAGMA foreign_key_check").fetchall() == []

    @contextmanager
    def server(self) -> Iterator[tuple[subprocess.Popen[str], str]]:
        """Yield a server and where it is, once it answers; nothing of it is left behind."""
        with self._started() as process:
            assert process.stdout is not None
            line = process.stdout.readline()
            found = re.search(r"http://[^\s/]+", line)
            assert found, f"the studio said {line!r}; {self.log.read_text(encoding='utf-8')}"
            yield process, found[0]

    @contextmanager
    def _started(self) -> Iterator[subprocess.Popen[str]]:
        command = [
            *(sys.executable, "-m", "tinygrad_cnn", "studio", "--no-browser"),
            *("--data-dir", str(self.data_dir), "--port", "0", "--token", TOKEN),
        ]
        with (
            self.log.open("a") as log,
            subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True) as process,
        ):
            try:
                yield process
            except BaseException:
                for trainer in trainers(self.data_dir):
                    kill(trainer)
                raise
            finally:
                process.kill()

    def _next(self) -> str:
        """Return what is killed next: each as often as the others."""
        if not self._victims:
            self._victims = self.rng.sample(VICTIMS, len(VICTIMS))
        return self._victims[-1]

    def _kill(self, process: subprocess.Popen[str], using: Using) -> Moment:
        victim = self._victims.pop()
        kept = using.acknowledged
        started = time.monotonic()
        using.wait(self.rng.uniform(0, self.training))
        if victim == "trainer":
            until(lambda: trainers(self.data_dir) or using.failures)
        begun = self._begun()
        hopeless = any(run["attempts"] >= MOST_DEATHS for run in begun)
        if victim == "trainer" and hopeless:
            victim = "both"  # with the server dead, nobody counts
        targets = trainers(self.data_dir) if victim != "server" else []
        if victim != "trainer":
            place = 0 if hopeless else self.rng.randrange(len(targets) + 1)
            targets.insert(place, process.pid)
        for target in targets:
            kill(target)
        after = time.monotonic() - started
        if victim == "trainer":
            until(lambda: not set(targets) & set(trainers(self.data_dir)))
            cut_off = []
        else:
            process.wait()
            using.end()
            cut_off = using.under_way()
        using.check()
        where = "; ".join("run {id}, epoch {told} of {epochs}".format(**run) for run in begun)
        return self._noted(victim, after, cut_off, using.acknowledged - kept, where or "none")

    def _kill_as_it_starts(self) -> Moment:
        victim = self._victims.pop()
        with self._started() as process:
            after = self.rng.uniform(0, self.starting)
            time.sleep(after)
            process.kill()
        return self._noted(victim, after, [], 0, "none")

    def _noted(self, *what: Any) -> Moment:
        moment = Moment(len(self.moments) + 1, *what)
        self.moments.append(moment)
        return moment

    def _begun(self) -> list[dict[str, Any]]:
        """Return the runs that have begun, as SQLite itself reads them."""
        with closing(sqlite3.connect(self.data_dir / "studio.db")) as connection:
            connection.row_factory = sqlite3.Row
            found = connection.execute(
                "SELECT id, epoch AS told, epochs, attempts FROM runs WHERE state = 'running'"
            ).fetchall()
            return [dict(row) for row in found]


def kill(process: int) -> None:
    """End a process as a power cut would, if it has not ended."""
    with suppress(ProcessLookupError):
        os.kill(process, signal.SIGKILL)


def trainers(data_dir: Path) -> list[int]:
    """Return the ids of the processes that train for the studio of a folder: Linux tells."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                words = (entry / "cmdline").read_bytes().split(b"\0")
                if WORKER.encode() in words and os.fsencode(data_dir.resolve()) in words:
                    found.append(int(entry.name))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description="Kill a studio while it is used.")
    parser.add_argument("--moments", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        ordeal = Ordeal(Path(folder) / "data", chosen.seed)
        ordeal.undisturbed()
        print(HEADER)
        for moment in ordeal.killed(chosen.moments):
            print(moment, flush=True)
        found = ordeal.finish()
    print(f"\nNothing was lost in {time.monotonic() - started:.0f} s: {found}.")


if __name__ == "__main__":
    main()
