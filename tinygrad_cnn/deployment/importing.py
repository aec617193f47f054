"""`import_run`: a run of a model from elsewhere."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn.data import load as load_data
from tinygrad_cnn.deployment.npz_files import NpzFile
from tinygrad_cnn.nn import Module
from tinygrad_cnn.train import DataSettings, ModelSettings, RunFolder, RunSettings, TrainingSettings
from tinygrad_cnn.train.data_settings import located
from tinygrad_cnn.train.errors import ModelFileError, RunError
from tinygrad_cnn.train.metadata import settings_of
from tinygrad_cnn.train.metrics import METRICS
from tinygrad_cnn.train.model_choice import chosen_model
from tinygrad_cnn.train.model_file import ModelFile
from tinygrad_cnn.train.onnx_file import OnnxFile, is_onnx
from tinygrad_cnn.train.own_state import load_own_state, own_state
from tinygrad_cnn.train.run_folder import build_model
from tinygrad_cnn.train.state import unpack_arrays, unpack_own, write_weights

__all__ = ["import_run"]

_Arrays: TypeAlias = dict[str, NDArray[Any]]
OF_FILE = ("preparation", "input_shape", "mean", "std", "size", "grayscale")
"""The settings of data that a model from an exported file keeps: it was trained with them."""


def import_run(
    file: str | os.PathLike[str],
    out: str | os.PathLike[str] | None = None,
    *,
    model: str | None = None,
    options: Mapping[str, Any] | None = None,
    data: str | None = None,
    classes: Sequence[str] | None = None,
    input_shape: Sequence[int] | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
) -> RunFolder:
    """Make a run of a model or of weights: a folder that `load_run` reads.

    A file from ``tinygrad-cnn export`` has all settings; for others, arguments give them. The run
    has no history and no checkpoint: it cannot be resumed, but its file can be trained further.

    Parameters
    ----------
    file : str or path-like
        An ONNX file, of which the run has a copy; or weights: a safetensors or ``.npz`` file.
    out : str or path-like, optional
        The run folder; by default "runs/FILE-NUMBER".
    model : str, optional
        The model of the weights: a model of `tinygrad_cnn.nn.build`, ``"path/to/file.py:Class"``,
        or, for weights of a run of an ONNX file, ``"path/to/file.onnx"``.
    options : mapping, optional
        Its options.
    data : str, optional
        The name or path of data, see `tinygrad_cnn.data.load`: for all that follows, and to
        evaluate with. The shape, mean and deviation of an exported file stay as they are.
    classes : sequence of str, optional
    input_shape : sequence of int, optional
        (C, H, W); by default that of the file.
    mean, std : sequence of float, optional
        For each channel, of pixels from 0 to 1; used to normalize.

    Returns
    -------
    RunFolder

    Raises
    ------
    ValueError
        If something is missing, or does not match: the message names the arguments. `RunError` if
        the file is damaged; `ModelFileError` if an ONNX file cannot be loaded.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> from tinygrad_cnn.nn import build
    >>> from tinygrad_cnn.train import load_run
    >>> weights = build("mlp", input_shape=(1, 2, 2), classes=2, hidden=[3]).state_dict()
    >>> with TemporaryDirectory() as folder:
    ...     np.savez(Path(folder, "w.npz"), **weights)
    ...     run = import_run(
    ...         Path(folder, "w.npz"), Path(folder, "run"), model="mlp", options={"hidden": [3]},
    ...         classes=["no", "yes"], input_shape=(1, 2, 2), mean=[0.0], std=[1.0])
    ...     load_run(run.path).settings.data.classes
    ('no', 'yes')
    """
    path = Path(file)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: there is no such file")
    kind = path.suffix.lower()
    if kind not in READERS:
        raise ValueError(f"{path}: expected a file name with one of {', '.join(READERS)}")
    if is_onnx(path) and model is not None:
        raise ValueError(f"{path}: an ONNX file has a model of its own; leave out --model")
    contents = READERS[kind](path)
    before = settings_of(contents.metadata, str(path))
    model_settings, model_file = _model(path, contents, before, model, dict(options or {}))
    given = {"classes": classes, "input_shape": input_shape, "mean": mean, "std": std}
    of_data = _data(path, contents, before, data, given)
    training = _training(before, model_settings)
    settings = RunSettings(data=of_data, model=model_settings, training=training)
    arrays: _Arrays = {}
    try:
        built = build_model(settings, model_file, np.random.default_rng(0))
        if contents.weights is not None:
            arrays, own = contents.weights(built)
            built.load_state_dict(arrays)
            load_own_state(built, own)
    except (ModuleNotFoundError, ModelFileError, RunError):
        raise
    except (ValueError, TypeError, LookupError, AttributeError, OverflowError) as error:
        hint = _head_hint(built, arrays, of_data.classes) if arrays else ""
        raise ValueError(f"{path}: does not fit the settings: {error}{hint}") from error
    folder = RunFolder.create(path.stem, out)
    _write(folder, settings, model_file, built)
    return folder


def _write(
    folder: RunFolder, settings: RunSettings, model_file: ModelFile | None, model: Module
) -> None:
    write_weights(folder.weights, model.state_dict(), own_state(model), {})
    folder.write_settings(settings, model_file)  # last: a folder with settings is a run


def _head_hint(model: Module, arrays: _Arrays, classes: Sequence[str]) -> str:
    """Return what to do about weights of another number of classes, or ""."""
    for name, ours in model.state_dict().items():
        theirs = arrays.get(name, ours)
        others = theirs.shape[1:] == ours.shape[1:]
        if others and theirs.shape != ours.shape and len(ours) == len(classes):
            return (
                f"; the weights are of {len(theirs)} classes: name all of them by --classes. For "
                "others, load the weights in code, by ignore_mismatched=True, and train"
            )
    return ""


# --- reading -------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class _Contents:
    """A file: an ONNX file, or weights for a model, with its own state."""

    metadata: Mapping[str, str]
    onnx_file: OnnxFile | None = None
    weights: Callable[[Module], tuple[_Arrays, dict[str, Any]]] | None = None
    shape: Mapping[str, tuple[int, ...]] = field(default_factory=dict)


def _read_safetensors(path: Path) -> _Contents:
    arrays, metadata = unpack_arrays(path.read_bytes(), str(path))
    found = unpack_own(path, arrays, metadata)
    return _Contents(metadata=metadata, weights=lambda model: found)


def _read_npz(path: Path) -> _Contents:
    file = NpzFile(path)

    def weights(model: Module) -> tuple[_Arrays, dict[str, Any]]:
        return unpack_own(path, file.arrays(model.state_dict()), file.metadata)

    return _Contents(metadata=file.metadata, weights=weights)


def _read_onnx(path: Path) -> _Contents:
    file = OnnxFile.read(path)
    shape = file.input_shape
    stated = {} if shape is None else {"input_shape": shape}
    return _Contents(metadata=file.metadata, onnx_file=file, shape=stated)


READERS = {".onnx": _read_onnx, ".safetensors": _read_safetensors, ".npz": _read_npz}


# --- settings ------------------------------------------------------------------------------------


def _model(
    path: Path,
    contents: _Contents,
    before: RunSettings | None,
    name: str | None,
    options: dict[str, Any],
) -> tuple[ModelSettings, ModelFile | None]:
    if name is None and options:
        raise ValueError(f"{path}: --option is for --model, which is missing")
    if contents.onnx_file is not None:
        return contents.onnx_file.settings, contents.onnx_file
    if name is None and before is not None:
        if before.model.file is not None:
            theirs = before.model
            form = "file.onnx" if is_onnx(before.model.file) else f"file.py:{theirs.name}"
            raise ValueError(
                f"{path}: its model {theirs.name} is from a file of its own: give it by "
                f"--model path/to/{form}"
            )
        return before.model, None
    if name is None:
        raise ValueError(f"{path}: has only weights: give the model by --model")
    return chosen_model(name, options)


def _training(before: RunSettings | None, model: ModelSettings) -> TrainingSettings:
    """Return the settings of training, without metrics of a file that the run does not have."""
    if before is None:
        return TrainingSettings()
    training = before.training
    if model.sha256 is not None and model.sha256 == before.model.sha256:
        return training
    return replace(training, metrics=tuple(name for name in training.metrics if name in METRICS))


def _data(
    path: Path,
    contents: _Contents,
    before: RunSettings | None,
    source: str | None,
    given: Mapping[str, Any],
) -> DataSettings:
    """Return the settings of the data, from the file and the arguments, which come first."""
    known: dict[str, Any] = {"source": "", "name": path.stem}
    known |= {"training_images": 0, "test_images": 0}
    if before is not None:
        known = dict(vars(before.data))
    shape: tuple[int, ...] | None = None  # of the images of `source`
    if source is not None:
        split = load_data(source) if before is None else before.data.load(source)
        of_source = DataSettings.of(split, located(source))
        shape = of_source.input_shape
        known = vars(of_source) | {name: known[name] for name in OF_FILE if name in known}
    known |= {name: tuple(value) for name, value in given.items() if value is not None}
    known = {**contents.shape, **known}
    missing = [name for name in given if name not in known]
    if missing:
        flags = [f"--{name.replace('_', '-')}" for name in missing]
        raise ValueError(
            f"{path}: has no {', '.join(missing)}; give {', '.join(flags)}, or all by --data"
        )
    if shape not in (None, known["input_shape"]):
        raise ValueError(
            f"{path}: takes images of shape {known['input_shape']}, those of {source} have {shape}:"
            " give other data by --data, or another shape by --input-shape"
        )
    channels = known["input_shape"][0]
    for name in ("mean", "std"):
        if len(known[name]) == 1:
            known[name] *= channels
    return DataSettings(**known)
