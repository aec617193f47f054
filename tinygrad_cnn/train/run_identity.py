"""The identity of a run, stored in its checkpoints."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from tinygrad_cnn.nn import Module
from tinygrad_cnn.train.model_file import ModelFile
from tinygrad_cnn.train.settings import RunSettings

__all__ = ["RunIdentity", "run_id"]


class RunIdentity:
    """The part of a checkpoint that identifies its run: id, settings and model file.

    Parameters
    ----------
    settings : callable
        Returns the settings of the run, which change when it starts or is resumed.
    model_file : ModelFile or None
    """

    def __init__(self, settings: Callable[[], RunSettings], model_file: ModelFile | None) -> None:
        self._current = settings
        self._model_file = model_file
        self._restored: RunSettings | None = None

    def epochs(self, otherwise: RunSettings) -> int:
        """Return the number of epochs that the restored checkpoint was planned for."""
        return (self._restored or otherwise).training.epochs

    def state_dict(self) -> dict[str, Any]:
        """Return id, settings and model file."""
        settings, file = self._current(), self._model_file
        return {
            "id": settings.id,
            "settings": settings.to_json(),
            "model_file": None if file is None else np.frombuffer(file.source, np.uint8),
        }

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Refuse the checkpoint of another run."""
        if state_dict["id"] != self._current().id:
            raise ValueError(f"it is of another run, {state_dict['id']}")
        self._restored = RunSettings.from_json(state_dict["settings"], "its settings")


def run_id(settings: RunSettings, model: Module) -> str:
    """Return a digest of the settings and the initial weights, which decide all bits of a run."""
    digest = hashlib.sha256(settings.to_json().encode())
    for name, array in model.state_dict().items():
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()[:16]
