"""Preparation of a run: from its request to a training run, new or resumed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn import data
from tinygrad_cnn.data import DataError, DataLoader, Dataset, Split
from tinygrad_cnn.studio.image_sets import DRAWN_SHAPE, IMAGE_SETS
from tinygrad_cnn.studio.store import (
    ConflictError,
    NotFoundError,
    Store,
    StoredDrawing,
    StoredRun,
    drawings,
    models,
    runs,
)
from tinygrad_cnn.studio.training.mixing import Lesson, mixed
from tinygrad_cnn.studio.training.requests import settings_of
from tinygrad_cnn.train import RunError, RunFolder, RunSettings, TrainingRun, evaluate
from tinygrad_cnn.train.state import unpack_arrays

__all__ = ["Preparation", "images_and_labels", "prepare"]

LESSON = "drawings.safetensors"
BATCH = 250


@dataclass(frozen=True)
class Preparation:
    """A training run, its run folder, and the drawings of a fine-tuning.

    Attributes
    ----------
    training_run : TrainingRun
    folder : RunFolder
    lesson : Lesson or None
    """

    training_run: TrainingRun
    folder: RunFolder
    lesson: Lesson | None = None

    def measure(self) -> dict[str, Any] | None:
        """Return the current accuracies of a fine-tuned model; None for other runs.

        Returns
        -------
        dict or None
            ``test``, ``drawings`` (None if none are held back) and ``count``, their number.
        """
        if self.lesson is None:
            return None
        test = self.training_run.test().accuracy
        count = len(self.lesson.held_labels)
        drawn = None
        if count:
            held = Dataset(
                self.lesson.held_images,
                self.lesson.held_labels,
                self.training_run.split.test.classes,
                "drawings held back",
            )
            normalize = self.training_run.settings.data.normalize()
            loader = DataLoader(held, BATCH, transform=normalize)
            drawn = evaluate(self.training_run.model, loader).accuracy
        return {"test": test, "drawings": drawn, "count": count}


def prepare(store: Store, path: Path, run_id: int) -> Preparation:
    """Return the training run, resumed after its last epoch, or new.

    Parameters
    ----------
    store : Store
    path : Path
        Path of the run folder; created if missing.
    run_id : int

    Raises
    ------
    NotFoundError
        If the run does not exist.
    RunError
        If an epoch is done but a file of it is missing or damaged, or the settings do not match
        the data. Before the first epoch, a run with a damaged file begins again.
    DataError, ConflictError
        If data are missing, or the model to fine-tune or all of the drawings have been deleted.
    """
    path.mkdir(parents=True, exist_ok=True)
    folder = RunFolder(path)
    with store.reading() as session:
        run = runs.get(session, run_id)
    try:
        return _prepared(store, folder, run)
    except RunError as error:
        if run.epoch:
            raise _lost(run) from error
    for file in (folder.settings, *folder.checkpoints, path / LESSON):
        file.unlink(missing_ok=True)
    return _prepared(store, folder, run)


def _prepared(store: Store, folder: RunFolder, run: StoredRun) -> Preparation:
    try:
        if run.kind == "fine-tune":
            return _fine_tuning(store, folder, run)
        split = _loaded(run.request["data"])
        if _has_begun(folder, run):
            return Preparation(TrainingRun.resumed(folder, split), folder)
        return Preparation(TrainingRun(settings_of(run.request, split), split), folder)
    except (DataError, ConflictError):
        raise
    except ValueError as error:
        raise RunError(str(error)) from error


def _has_begun(folder: RunFolder, run: StoredRun) -> bool:
    """Return whether there is something to resume from: a checkpoint, which is written first."""
    begun = folder.settings.exists() or bool(folder.checkpoints)
    if run.epoch and not begun:
        raise _lost(run)
    return begun


def _lost(run: StoredRun) -> RunError:
    epochs = "1 epoch is" if run.epoch == 1 else f"{run.epoch} epochs are"
    return RunError(
        f"{epochs} done, but the checkpoint of run {run.id} is missing or damaged, or its data "
        "have changed: it cannot continue. Start a new run"
    )


def _fine_tuning(store: Store, folder: RunFolder, run: StoredRun) -> Preparation:
    request = run.request
    lesson = _lesson(store, folder, request)
    base = _loaded(request["data"])
    train = mixed(base.train, lesson, request["replay"], request["seed"])
    split = Split(train, base.test)
    if _has_begun(folder, run):
        return Preparation(TrainingRun.resumed(folder, split), folder, lesson)
    with store.reading() as session:
        try:
            parent = models.get(session, request["model_id"])
        except NotFoundError:
            raise ConflictError("the model to fine-tune was deleted before the run began") from None
    settings = RunSettings.from_json(json.dumps(parent.settings), f"model {parent.id}")
    weights, _ = unpack_arrays(parent.weights, f"model {parent.id}")
    training_run = TrainingRun(settings_of(request, split, settings), split, weights=weights)
    return Preparation(training_run, folder, lesson)


def _loaded(name: str) -> Split:
    """Load a data set from this machine, without downloading."""
    if name not in IMAGE_SETS or not data.is_local(name):
        raise DataError(f"the images {name!r} are not on this machine")
    return data.load(name)


def _lesson(store: Store, folder: RunFolder, request: dict[str, Any]) -> Lesson:
    """Return the drawings as of the start of the run: they may be deleted meanwhile."""
    path = folder.path / LESSON
    if path.exists():
        return Lesson.read(path)
    with store.reading() as session:
        taught = drawings.to_teach(session, request["last_drawing"])
        measured = drawings.held_back(session, request["last_drawing"])
    if not taught:
        raise ConflictError("all drawings of this run have been deleted or lost their label")
    lesson = Lesson(*images_and_labels(taught), *images_and_labels(measured))
    lesson.write(path)
    return lesson


def images_and_labels(
    drawn: Sequence[StoredDrawing],
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return the images of labeled drawings, of shape (N, 1, 28, 28), and their labels."""
    pixels = np.frombuffer(b"".join(drawing.input for drawing in drawn), np.uint8)
    labels = np.array([drawing.label for drawing in drawn], np.int64)
    return pixels.reshape(len(drawn), *DRAWN_SHAPE), labels
