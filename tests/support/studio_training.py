"""Tiny trainings for tests of the studio, and what is found of them afterwards."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from tinygrad_cnn.studio import StudioSettings
from tinygrad_cnn.studio.store import Store, StoredPoint, StoredRun, models, points, runs
from tinygrad_cnn.studio.training.requests import queue, train_request

BATCHES = 5
"""In an epoch of a tiny training."""

WORKER = "tinygrad_cnn.studio.training.worker"


def opened(data_dir: Path) -> tuple[Store, StudioSettings]:
    """Return the store of a studio that is kept in a folder, made if there is none."""
    settings = StudioSettings(data_dir=data_dir)
    store = Store(settings.database)
    store.migrate()
    return store, settings


def tiny(**chosen: Any) -> dict[str, Any]:
    """Return a request for a training of moments."""
    few = {"hidden": [4], "batch_size": 2000, "epochs": 2, "augment": "shift", "lr": 0.01}
    return train_request("mlp", "digits", **{**few, **chosen})


def queued(store: Store, request: dict[str, Any] | None = None, name: str = "tiny") -> int:
    """Queue a run, and return its id."""
    with store.session() as session:
        return queue(session, tiny() if request is None else request, name).id


def run_of(store: Store, run_id: int) -> StoredRun:
    """Return a run as it is now."""
    with store.reading() as session:
        return runs.get(session, run_id)


def points_of(store: Store, run_id: int) -> list[StoredPoint]:
    """Return all points of a run."""
    with store.reading() as session:
        return points.after(session, 0, run_id, limit=100_000)


def figures(store: Store, run_id: int) -> list[tuple[str, int, float]]:
    """Return kind, step and loss of the points that a training's settings decide.

    Those are the first and the last batch of each epoch, and the epochs; others depend on time.
    """
    return [
        (point.kind, point.step, point.payload["loss"])
        for point in points_of(store, run_id)
        if point.kind == "epoch"
        or (point.kind == "point" and point.payload["batch"] in (1, point.payload["batches"]))
    ]


def steps(store: Store, run_id: int, kind: str = "point") -> list[int]:
    """Return the steps of the points of a kind, in order."""
    return [point.step for point in points_of(store, run_id) if point.kind == kind]


def outcome(store: Store, run_id: int) -> tuple[str, list[Any], list[Any]]:
    """Return what a run that is done has come to: weights, figures, and accuracies if it taught.

    Fails unless it has given exactly one model, and told each thing once.
    """
    run = run_of(store, run_id)
    assert run.state == "done", run.error
    with store.reading() as session:
        given = [model.id for model in models.all(session) if model.run_id == run_id]
        assert given == [run.model_id]
        weights = models.get(session, given[0]).weights
    assert run.epoch == run.epochs
    for kind in ("point", "epoch"):
        told = steps(store, run_id, kind)
        assert told == sorted(set(told))
    found = sorted(figures(store, run_id), key=lambda figure: (figure[1], figure[0] == "epoch"))
    assert run.result is not None
    result = {name: number for name, number in run.result.items() if name != "seconds"}
    return hashlib.sha256(weights).hexdigest(), found, [run.before, run.after, result]


def set_wanted(store: Store, run_id: int, wanted: str, steps: int = 0) -> None:
    """Say what is wanted of a run, as the server does."""
    with store.session() as session:
        run = runs.get(session, run_id)
        run.wanted, run.steps = wanted, steps


class WorkerProcess:
    """A training's process, without a supervisor: killed at the end if it goes on."""

    def __init__(self, settings: StudioSettings, run_id: int) -> None:
        command = [sys.executable, "-m", WORKER, str(settings.data_dir), str(run_id)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE)

    def __enter__(self) -> subprocess.Popen[bytes]:
        return self.process

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        assert self.process.stdin is not None
        with suppress(BrokenPipeError):
            self.process.stdin.close()
