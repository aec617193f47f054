"""Run folders, and loading a trained model from one."""

from __future__ import annotations

import itertools
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn import ops
from tinygrad_cnn.core.recording import no_grad
from tinygrad_cnn.core.tensor import Tensor
from tinygrad_cnn.nn import Module, build
from tinygrad_cnn.support.arguments import choice
from tinygrad_cnn.support.files import atomic_write
from tinygrad_cnn.train.checkpoint import checkpoints, steps_of
from tinygrad_cnn.train.errors import RunError
from tinygrad_cnn.train.evaluation import in_mode
from tinygrad_cnn.train.model_file import MODEL_FILE, ModelFile
from tinygrad_cnn.train.onnx_file import OnnxFile, is_onnx
from tinygrad_cnn.train.own_state import load_own_state
from tinygrad_cnn.train.settings import RunSettings
from tinygrad_cnn.train.state import read_state, read_weights

__all__ = ["RunFolder", "TrainedModel", "build_model", "load_run"]

MOST_NAMED = 5  # of the runs in a folder that is not a run
WEIGHTS = ("best", "last")


@dataclass(frozen=True)
class RunFolder:
    """A run folder and the paths of its files.

    Attributes
    ----------
    path : Path

    Examples
    --------
    >>> RunFolder(Path("runs/lenet5-digits-0")).weights.name
    'weights.safetensors'
    """

    path: Path

    @property
    def weights(self) -> Path:
        """The weights of the last epoch, as safetensors."""
        return self.path / "weights.safetensors"

    @property
    def best(self) -> Path:
        """The weights of the best epoch by the validation set, if there is one."""
        return self.path / "best.safetensors"

    @property
    def settings(self) -> Path:
        """The settings, as JSON."""
        return self.path / "settings.json"

    @property
    def history(self) -> Path:
        """A row per epoch, as CSV."""
        return self.path / "history.csv"

    @property
    def log(self) -> Path:
        """The events of training, as JSON Lines: see `JSONLines`."""
        return self.path / "log.jsonl"

    @property
    def curves(self) -> Path:
        """The history as an image."""
        return self.path / "curves.png"

    @property
    def checkpoints(self) -> list[Path]:
        """The states to resume from, the newest last."""
        return checkpoints(self.path)

    @property
    def steps(self) -> int:
        """The number of steps at the newest checkpoint; 0 without one."""
        found = self.checkpoints
        return max(steps_of(found[-1]), 0) if found else 0

    @classmethod
    def create(
        cls,
        name: str,
        out: str | os.PathLike[str] | None = None,
        parent: str | os.PathLike[str] = "runs",
    ) -> RunFolder:
        """Create a new folder.

        Parameters
        ----------
        name : str
            The prefix of the folder name; the next free number is appended.
        out : str or path-like, optional
            The folder itself, instead of a numbered one; must be empty if it exists.
        parent : str or path-like
            The parent of the numbered folder.

        Returns
        -------
        RunFolder
            An empty folder.

        Raises
        ------
        RunError
            If `out` is not empty, or is a file.
        OSError
            If the folder cannot be created.

        Examples
        --------
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as parent:
        ...     [RunFolder.create("lenet5-digits", parent=parent).path.name for _ in "ab"]
        ['lenet5-digits-0', 'lenet5-digits-1']
        """
        if out is not None:
            path = cls.check_new(out)
            path.mkdir(parents=True, exist_ok=True)
            return cls(path)
        try:
            Path(parent).mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError):
            raise RunError(f"{parent}: is a file, or below one; expected a folder") from None
        for number in itertools.count():
            path = Path(parent, f"{name}-{number}")
            try:
                path.mkdir()
            except FileExistsError:
                continue
            break
        return cls(path)

    @staticmethod
    def check_new(out: str | os.PathLike[str]) -> Path:
        """Return the path of a new run folder; RunError if it is not empty, or is a file."""
        path = Path(out)
        if path.is_dir() and any(not each.name.startswith(".") for each in path.iterdir()):
            raise RunError(f"{path}: is not empty; expected a new folder, or --resume {path}")
        if path.exists() and not path.is_dir():
            raise RunError(f"{path}: is a file; expected a new folder")
        return path

    def write_settings(self, settings: RunSettings, model_file: ModelFile | None) -> None:
        """Write the copy of the model's file, if any, then ``settings.json``."""
        if model_file is not None:
            with atomic_write(self.path / Path(settings.model.file or MODEL_FILE).name) as file:
                file.write(model_file.source)
        with atomic_write(self.settings) as file:
            file.write(settings.to_json().encode())

    def read_settings(self) -> RunSettings:
        """Read ``settings.json``; RunError if it or the folder is missing or damaged."""
        if not self.path.is_dir():
            what = "is a file" if self.path.exists() else "there is no such folder"
            meant = RunFolder(self.path.parent)
            which = str(meant.path) if meant.settings.is_file() else "such as runs/NAME-0"
            raise RunError(f"{self.path}: {what}; expected a run folder, {which}")
        try:
            contents = self.settings.read_bytes()
        except FileNotFoundError:
            what = "is not a run folder: it has no settings.json"
            raise RunError(f"{self.path}: {what}{self._runs_below()}") from None
        return RunSettings.from_json(contents, str(self.settings))

    def _runs_below(self) -> str:
        """Return, for a message, the newest runs in this folder or in a studio's."""
        for folder in (self.path, self.path / "runs"):
            found = [path.parent for path in folder.glob("*/settings.json")]
            found.sort(key=lambda path: path.stat().st_mtime, reverse=True)
            if found:
                more = f" and {len(found) - MOST_NAMED} more" if len(found) > MOST_NAMED else ""
                return f"; it contains {', '.join(map(str, found[:MOST_NAMED]))}{more}"
        return ""

    def rebuild_settings(self) -> None:
        """Write missing settings again, from a checkpoint: a process was killed at its start."""
        if self.settings.exists():
            return
        for path in reversed(self.checkpoints):
            with suppress(RunError, OSError, KeyError):
                run = read_state(path)["parts"]["run"]
                settings = RunSettings.from_json(run["settings"], str(path))
                file = settings.model.file
                if file is not None:
                    with atomic_write(self.path / Path(file).name) as model_file:
                        model_file.write(run["model_file"].tobytes())
                with atomic_write(self.settings) as written:
                    written.write(run["settings"].encode())
                return

    def read_model_file(self, settings: RunSettings) -> ModelFile | None:
        """Read the copy of the model's file; RunError if it is missing or changed."""
        if settings.model.file is None:
            return None
        path = self.path / Path(settings.model.file).name
        if not path.is_file():
            raise RunError(f"{path}: there is no such file; it contained the model's class")
        kind = OnnxFile if is_onnx(path) else ModelFile
        model_file = kind.read(path, settings.model.name)
        if model_file.sha256 != settings.model.sha256:
            raise RunError(
                f"{path}: has changed since the run: its SHA-256 is {model_file.sha256}, "
                f"expected {settings.model.sha256}"
            )
        return model_file


class TrainedModel(NamedTuple):
    """A trained model, in eval mode, and the settings of its run."""

    model: Module
    settings: RunSettings

    def probabilities(self, images: NDArray[np.uint8]) -> NDArray[np.floating]:
        """Return the probability of each class for each image.

        Parameters
        ----------
        images : ndarray of uint8, shape (N, C, H, W)
            With the image shape used in training.

        Returns
        -------
        ndarray of float, shape (N, classes)
            The softmax of the model's output.

        Raises
        ------
        ValueError
            If the images have another dtype or shape.

        Examples
        --------
        >>> from tinygrad_cnn.train import TrainingRun, TrainingSettings
        >>> run = TrainingRun.new("digits", "mlp", TrainingSettings(), {"hidden": [8]})
        >>> trained = TrainedModel(run.model, run.settings)  # or load_run("runs/...")
        >>> trained.probabilities(run.split.test.images[:2]).shape
        (2, 10)
        """
        expected = self.settings.data.input_shape
        if images.dtype != np.uint8 or images.shape[1:] != expected:
            raise ValueError(
                f"probabilities: got {images.dtype} of shape {images.shape}; expected uint8 of "
                f"shape {('N', *expected)}"
            )
        scaled = np.divide(images, np.float32(255), dtype=np.float32)
        inputs = self.settings.data.normalize()(scaled, np.random.default_rng(0))
        with in_mode(self.model, training=False), no_grad():
            outputs: NDArray[np.floating] = ops.softmax(self.model(Tensor._of(inputs)))._array
        return outputs


def load_run(folder: str | os.PathLike[str], weights: str | None = None) -> TrainedModel:
    """Load the trained model of a run.

    Parameters
    ----------
    folder : str or path-like
        The run folder. If it contains a copy of a user's model file, that code is executed: do not
        load a folder that you do not trust.
    weights : {"best", "last"}, optional
        Those of the best epoch by the validation set, which is the model that the run reports, or
        those of the last epoch. By default the best, and the last of a run without a validation
        set.

    Returns
    -------
    TrainedModel
        ``model, settings``.

    Raises
    ------
    RunError
        If the folder or a file in it is missing, damaged, truncated or of another model.

    Examples
    --------
    >>> model, settings = load_run("runs/lenet5-digits-0")  # a run of yours  # doctest: +SKIP
    >>> settings.data.classes[-1]  # of the same run  # doctest: +SKIP
    '9'
    """
    choice("load_run", "weights", weights, (None, *WEIGHTS))
    run = RunFolder(Path(folder))
    settings = run.read_settings()
    model_file = run.read_model_file(settings)
    path = _weights_file(run, settings, weights)
    arrays, own = read_weights(path)
    try:
        model = build_model(settings, model_file, np.random.default_rng(0))
        model.load_state_dict(arrays)
        load_own_state(model, own)
    except (ValueError, TypeError, LookupError, AttributeError, OverflowError) as error:
        raise RunError(f"{path}: does not fit the model: {error}") from error
    return TrainedModel(model.eval(), settings)


def _weights_file(run: RunFolder, settings: RunSettings, weights: str | None) -> Path:
    """Return the file of the weights; RunError if it is missing."""
    resume = f"tinygrad-cnn train --resume {run.path}"
    validated = settings.data.validation_images > 0
    # A run of an earlier version, which has no id, may have no best weights.
    has_best = run.best.exists() or (validated and bool(settings.id))
    best = has_best if weights is None else weights == "best"
    path = run.best if best else run.weights
    if path.exists():
        return path
    if not run.weights.exists():
        raise RunError(
            f"{run.weights}: there is no such file: no epoch was finished; resume the run: {resume}"
        )
    if best and not validated:
        raise RunError(
            f"{path}: there is no such file: the run has no validation set, so its only weights "
            "are the last"
        )
    raise RunError(
        f"{path}: there is no such file; {resume} writes it again, and weights='last' "
        "(--weights last) takes those of the last epoch"
    )


def build_model(
    settings: RunSettings, model_file: ModelFile | None, rng: np.random.Generator
) -> Module:
    """Build the untrained model of `settings`; ValueError if it does not match the data."""
    shape, classes = settings.data.input_shape, len(settings.data.classes)
    if model_file is not None:
        model = model_file.build(input_shape=shape, classes=classes, rng=rng)
    else:
        options = settings.model.options
        model = build(settings.model.name, input_shape=shape, classes=classes, rng=rng, **options)
    images = Tensor(np.zeros((2, *shape), np.float32))
    with in_mode(model, training=False), no_grad():
        outputs = model(images)
    expected = (2, classes)
    if not isinstance(outputs, Tensor) or outputs.shape != expected:
        came = outputs.shape if isinstance(outputs, Tensor) else f"a {type(outputs).__name__}"
        raise ValueError(
            f"{type(model).__name__}: returns {came} for images of shape {images.shape}; expected "
            f"a Tensor of shape {expected}: one logit per class"
        )
    return model
