"""Models for the studio, untrained, and files that hold them."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors.numpy import load, save

from tinygrad_cnn.data import digits
from tinygrad_cnn.nn import Module
from tinygrad_cnn.train import (
    DataSettings,
    ModelSettings,
    RunSettings,
    TrainingRun,
    TrainingSettings,
)

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from tinygrad_cnn.studio.store import Store, StoredDrawing, StoredModel, StoredRun


INPUT = bytes(range(256)) * 3 + bytes(16)
"""Of a drawing: 784 bytes."""


@contextmanager
def opened(path: Path) -> Iterator[Store]:
    """Yield a store that is up to date."""
    from tinygrad_cnn.studio.store import Store

    store = Store(path)
    store.migrate()
    yield store
    store.close()


def migrated_to(path: Path, revision: str) -> None:
    """Make a database as an earlier version of the package made it."""
    from alembic import command
    from alembic.config import Config
    from sqlalchemy import create_engine

    from tinygrad_cnn.studio.store.database import MIGRATIONS

    engine = create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        config = Config(attributes={"connection": connection})
        config.set_main_option("script_location", MIGRATIONS)
        command.upgrade(config, revision)
    engine.dispose()


def draw(session: Session, label: int | None = 3, name: str = "a drawing") -> StoredDrawing:
    """Add a drawing to a store."""
    from tinygrad_cnn.studio.store import drawings

    return drawings.add(session, name=name, picture=b"PNG", input=INPUT, label=label)


def ask(session: Session) -> StoredRun:
    """Add a run to a store."""
    from tinygrad_cnn.studio.store import runs

    return runs.create(session, name="a run", kind="train", request={"model": "mlp"}, epochs=3)


@functools.cache
def told() -> DataSettings:
    """Return the settings of the embedded digits."""
    return DataSettings.of(digits(), "digits")


def untrained(name: str = "mlp", seed: int = 0, **options: Any) -> TrainingRun:
    """Return a training run before its first epoch."""
    settings = RunSettings(
        data=told(),
        model=ModelSettings(name=name, options=options),
        training=TrainingSettings(epochs=1, batch_size=500, seed=seed),
    )
    return TrainingRun(settings, digits())


@functools.cache
def file_of(name: str = "mlp", seed: int = 0) -> bytes:
    """Return the file of an untrained model."""
    from tinygrad_cnn.studio import model_files

    training_run = untrained(name, seed)
    return model_files.pack(training_run.settings, training_run.model.state_dict())


@functools.cache
def knowing(share: float) -> bytes:
    """Return the file of a perceptron that tells about this share of the digits' test images."""
    from tinygrad_cnn.studio import model_files

    split = digits()
    shown = split.train.images.reshape(len(split.train), -1) / 255
    centers = np.stack([shown[split.train.labels == digit].mean(axis=0) for digit in range(10)])
    training_run = untrained(hidden=[])
    mean, std = told().mean[0], told().std[0]
    # The nearest center: −|x − c|² = 2 x·c − |c|² + …, for x = mean + std·z.
    weight = 2 * std * centers
    bias = 2 * mean * centers.sum(axis=1) - (centers**2).sum(axis=1)
    known = round(10 * share)  # the classes from there on never win
    bias[known:] -= 1e3
    state = {"fc.0.weight": weight.astype("f4"), "fc.0.bias": bias.astype("f4")}
    return model_files.pack(training_run.settings, state)


def add(session: Session, contents: bytes | None = None, name: str = "a model") -> StoredModel:
    """Add a model to a store, with a report."""
    from tinygrad_cnn.studio import model_files
    from tinygrad_cnn.studio.report import report
    from tinygrad_cnn.studio.store import models

    contents = file_of() if contents is None else contents
    model, settings = model_files.read(contents)
    measured = report(model, settings, digits().test[:200])
    return models.add(session, name=name, settings=settings, weights=contents, report=measured)


def with_settings(contents: bytes, change: Callable[[dict[str, Any]], None]) -> bytes:
    """Return a file with its settings, as a dict, changed."""
    size = int.from_bytes(contents[:8], "little")
    settings = json.loads(json.loads(contents[8 : 8 + size])["__metadata__"]["settings"])
    change(settings)
    return with_text(contents, json.dumps(settings))


def with_text(contents: bytes, text: str) -> bytes:
    """Return a file with other text in place of its settings."""
    return save(load(contents), {"settings": text})


def with_weights(contents: bytes, change: Callable[[dict[str, Any]], None]) -> bytes:
    """Return a file with its weights, writable arrays by name, changed."""
    from tinygrad_cnn.studio import model_files

    settings = model_files.read(contents).settings
    arrays = {name: array.copy() for name, array in load(contents).items()}
    change(arrays)
    return model_files.pack(settings, arrays)


def bits(model: Module) -> dict[str, bytes]:
    """Return a model's state, bit by bit."""
    return {name: array.tobytes() for name, array in model.state_dict().items()}
