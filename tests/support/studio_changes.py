"""Changes of a studio's database, by name, and a client's view of it that follows the events.

``python -m support.studio_changes PATH`` does those that it reads, for tests of several processes.
"""

from __future__ import annotations

import functools
import json
import sys
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from support.studio_models import untrained
from tinygrad_cnn.studio.feed import Event
from tinygrad_cnn.studio.store import (
    ConflictError,
    NotFoundError,
    Store,
    StoredModel,
    StoredPoint,
    StoredRun,
    drawings,
    models,
    outbox,
    points,
    runs,
    snapshots,
)

IDS = 3
"""Changes are made to rows with ids up to this one."""


@functools.cache
def _settings() -> dict[str, Any]:
    return json.loads(untrained().settings.to_json())


def _new_model(session: Session, n: int) -> None:
    run_id = session.scalar(select(StoredRun.id))
    row = {"settings": _settings(), "weights": b"", "report": {}, "parameters": n, "accuracy": 0.5}
    session.add(StoredModel(name=f"model {n}", run_id=run_id, **row))


def _end(session: Session, n: int) -> None:
    runs.set_state(session, 1 + n % IDS, "done")


def _restart(session: Session, n: int) -> None:
    points.forget_after(session, 1 + n % IDS, n % 7)
    points.add_many(session, 1 + n % IDS, [("restarted", n % 7, {"epoch": 0})])


def _figures(session: Session, n: int) -> None:
    new = [("point", n + i, {"loss": float(i)}) for i in range(n % 4)]
    points.add_many(session, 1 + n % IDS, [*new, ("epoch", n, {"epoch": n})])


CHANGES: dict[str, Callable[[Session, int], object]] = {
    "draw": lambda s, n: drawings.add(s, name=f"d{n}", picture=b"", input=bytes(784)),
    "label": lambda s, n: drawings.label(s, 1 + n % IDS, n % 10),
    "name a drawing": lambda s, n: drawings.rename(s, 1 + n % IDS, f"other {n}"),
    "delete a drawing": lambda s, n: drawings.delete(s, 1 + n % IDS),
    "add a model": _new_model,
    "name a model": lambda s, n: models.rename(s, 1 + n % IDS, f"other {n}"),
    "promote": lambda s, n: models.promote(s, 1 + n % IDS),
    "delete a model": lambda s, n: models.delete(s, 1 + n % IDS),
    "ask for a run": lambda s, n: runs.create(
        s, name=f"run {n}", kind="train", request={}, epochs=3
    ),
    "begin": lambda s, n: runs.set_state(s, 1 + n % IDS, "running"),
    "end": _end,
    "delete a run": lambda s, n: runs.delete(s, 1 + n % IDS),
    "restart": _restart,
    "figures": _figures,
    "kernels": lambda s, n: snapshots.put(s, 1 + n % IDS, n, {"layer": str(n)}),
}


def change(store: Store, done: Iterable[tuple[str, int]]) -> None:
    """Make changes, each in its own transaction; those that are not possible are left out."""
    for name, n in done:
        with suppress(NotFoundError, ConflictError), store.session() as session:
            if name in ("restart", "figures", "kernels"):
                runs.get(session, 1 + n % IDS)
            CHANGES[name](session, n)


class Client:
    """What a client knows: rows by kind and id, that it takes from events alone."""

    def __init__(self) -> None:
        self.last: int = 0
        self.resets = 0
        self.known: dict[str, Any] = {}
        self._clear()

    def _clear(self) -> None:
        self.known = {
            "model": {}, "drawing": {}, "run": {}, "points": {}, "snapshot": {}, "promoted": None,
        }  # fmt: skip

    def hear(self, event: Event, store: Store) -> None:
        """Take an event; a reset is answered by loading everything."""
        assert event.id >= self.last or event.kind == "reset"
        self.last = event.id
        data = event.data
        if event.kind == "reset":
            self.resets += 1
            self.load(store)
        elif event.kind in ("model", "drawing", "run"):
            rows, id = self.known[event.kind], data["id"]
            rows.pop(id, None)
            if data[event.kind] is not None:
                rows[id] = data[event.kind]
            elif event.kind == "run":
                for kind in ("points", "snapshot"):
                    self.known[kind].pop(id, None)
            if event.kind == "model":
                self.known["promoted"] = data["promoted"]
        elif event.kind == "snapshot":
            self.known["snapshot"][data["run_id"]] = data
        elif event.kind:
            told = self.known["points"].setdefault(data["run_id"], set())
            if event.kind == "restarted":
                after = {(kind, step) for kind, step in told if step > data["step"]}
                told -= {(kind, step) for kind, step in after if kind != "restarted"}
            told.add((event.kind, data["step"]))

    def load(self, store: Store) -> None:
        """Read everything from the database."""
        self._clear()
        with store.reading() as session:
            self.last = outbox.newest(session)
            promoted = models.promoted_id(session)
            _load(session, self.known, promoted)

    def view(self) -> dict[str, Any]:
        """Return the known rows, without fields derived from other rows."""
        found: dict[str, Any] = {
            kind: {id: {**row} for id, row in self.known[kind].items()}
            for kind in ("model", "drawing", "run", "snapshot")
        }
        for row in found["model"].values():
            row.pop("promoted")
        for row in found["run"].values():
            row.pop("position")
        return {**found, "points": {id: told for id, told in self.known["points"].items() if told},
                "promoted": self.known["promoted"]}  # fmt: skip


def _load(session: Session, known: dict[str, Any], promoted: int | None) -> None:
    from tinygrad_cnn.studio.api.drawings import answer as drawing_answer
    from tinygrad_cnn.studio.api.models import summary
    from tinygrad_cnn.studio.api.runs import RunAnswer, payload_of

    known["promoted"] = promoted
    for drawing in drawings.all(session):
        shown = drawing_answer(drawing).model_dump(mode="json", exclude={"input"})
        known["drawing"][drawing.id] = shown
    for model in models.all(session):
        known["model"][model.id] = summary(model, promoted).model_dump(mode="json")
    for run in runs.all(session):
        known["run"][run.id] = RunAnswer.model_validate(run).model_dump(mode="json")
        snapshot = snapshots.get(session, run.id)
        if snapshot is not None:
            known["snapshot"][run.id] = payload_of(snapshot)
    for point in session.scalars(select(StoredPoint)):
        known["points"].setdefault(point.run_id, set()).add((point.kind, point.step))


def main() -> None:
    """Make the changes of each line, and say when they are made."""
    for line in sys.stdin:
        path, *done = line.rstrip("\n").split("\t")
        store = Store(Path(path))
        change(store, [(name, int(n)) for name, n in zip(done[::2], done[1::2], strict=True)])
        store.close()
        print("done", flush=True)


if __name__ == "__main__":
    main()
