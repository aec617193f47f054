"""`import_run`: a run of a model from elsewhere."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn.data import load as load_data
from tinygrad_cnn.deployment.formats import METADATA
from tinygrad_cnn.deployment.metadata import PIXELS, SETTINGS
from tinygrad_cnn.nn import Module
from tinygrad_cnn.onnx import load
from tinygrad_cnn.onnx.reading import read_model
from tinygrad_cnn.train import DataSettings, ModelSettings, RunFolder, RunSettings, TrainingSettings
from tinygrad_cnn.train.errors import ModelFileError, RunError
from tinygrad_cnn.train.model_file import ModelFile
from tinygrad_cnn.train.own_state import load_own_state, own_state
from tinygrad_cnn.train.run_folder import build_model
from tinygrad_cnn.train.state import read_weights, unpack_arrays, write_weights
from tinygrad_cnn.train.training_run import chosen_model

__all__ = ["import_run"]


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
        The model of the weights: a key of `tinygrad_cnn.nn.MODELS`, or ``"path/to/file.py:Class"``.
    options : mapping, optional
        Its options.
    data : str, optional
        The name or path of data, for all that follows: see `tinygrad_cnn.data.load`.
    classes : sequence of str, optional
    input_shape : sequence of int, optional
        (C, H, W); by default that of the ONNX file.
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
    """
    path = Path(file)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: there is no such file")
    if path.suffix not in READERS:
        raise ValueError(f"{path}: expected a file name with one of {', '.join(READERS)}")
    if path.suffix == ".onnx" and model is not None:
        raise ValueError(f"{path}: an ONNX file has a model of its own; leave out --model")
    arrays, own, metadata = READERS[path.suffix](path)
    before = _settings(path, metadata)
    model_settings, model_file = _model(path, before, model, dict(options or {}))
    given = {"classes": classes, "input_shape": input_shape, "mean": mean, "std": std}
    of_data = _data(path, before, data, given)
    training = before.training if before else TrainingSettings()
    settings = RunSettings(data=of_data, model=model_settings, training=training)
    try:
        built = build_model(settings, model_file, np.random.default_rng(0))
        if arrays:
            built.load_state_dict(arrays)
            load_own_state(built, own)
    except (ModuleNotFoundError, ModelFileError):
        raise
    except (ValueError, TypeError, LookupError) as error:
        raise ValueError(f"{path}: does not fit the settings: {error}") from error
    folder = RunFolder.create(path.stem, out)
    _write(folder, settings, model_file, built)
    return folder


def _write(
    folder: RunFolder, settings: RunSettings, model_file: ModelFile | None, model: Module
) -> None:
    write_weights(folder.weights, model.state_dict(), own_state(model), {})
    folder.write_settings(settings, model_file)  # last: a folder with settings is a run


# --- reading -------------------------------------------------------------------------------------

_Read = tuple[dict[str, NDArray[Any]], dict[str, Any], dict[str, str]]


def _read_safetensors(path: Path) -> _Read:
    arrays, own = read_weights(path)
    return arrays, own, unpack_arrays(path.read_bytes(), str(path))[1]


def _read_npz(path: Path) -> _Read:
    try:
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        metadata = json.loads(str(arrays.pop(METADATA, "{}")))
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise RunError(f"{path}: is damaged, or not a .npz file of arrays: {error}") from error
    return arrays, {}, metadata if isinstance(metadata, dict) else {}


def _read_onnx(path: Path) -> _Read:
    proto, _, _ = read_model(path)
    return {}, {}, {each.key: each.value for each in proto.metadata_props}


READERS = {".onnx": _read_onnx, ".safetensors": _read_safetensors, ".npz": _read_npz}


# --- settings ------------------------------------------------------------------------------------


def _settings(path: Path, metadata: Mapping[str, str]) -> RunSettings | None:
    """Return the settings of an exported file, for the images that it takes."""
    text = metadata.get(SETTINGS)
    if not isinstance(text, str):
        return None
    settings = RunSettings.from_json(text, str(path))
    if metadata.get("input") != PIXELS:
        return settings
    channels = settings.data.input_shape[0]
    pixels = replace(settings.data, mean=(0.0,) * channels, std=(1 / 255,) * channels)
    return replace(settings, data=pixels)


def _model(
    path: Path, before: RunSettings | None, name: str | None, options: dict[str, Any]
) -> tuple[ModelSettings, ModelFile | None]:
    if path.suffix == ".onnx":
        return chosen_model(str(path), options)
    if name is None and options:
        raise ValueError(f"{path}: --option is for --model, which is missing")
    if name is None and before is not None:
        if before.model.file is not None:
            raise ValueError(
                f"{path}: its model {before.model.name} is from a file of its own: give it by "
                f"--model path/to/file.py:{before.model.name}"
            )
        return before.model, None
    if name is None:
        raise ValueError(f"{path}: has only weights: give the model by --model")
    return chosen_model(name, options)


def _data(
    path: Path, before: RunSettings | None, source: str | None, given: Mapping[str, Any]
) -> DataSettings:
    """Return the settings of the data, from the file and the arguments, which come first."""
    known: dict[str, Any] = {"source": "", "name": path.stem}
    known |= {"training_images": 0, "test_images": 0}
    if before is not None:
        known = dict(vars(before.data))
    if source is not None:
        known = dict(vars(DataSettings.of(load_data(source), source)))
    chosen = {name: value for name, value in given.items() if value is not None}
    known |= {name: tuple(value) for name, value in chosen.items()}
    if "input_shape" not in known and path.suffix == ".onnx":
        known |= _input_shape(path)
    missing = [name for name in given if name not in known]
    if missing:
        flags = [f"--{name.replace('_', '-')}" for name in missing]
        raise ValueError(
            f"{path}: has no {', '.join(missing)}; give {', '.join(flags)}, or all by --data"
        )
    channels = known["input_shape"][0]
    for name in ("mean", "std"):
        if len(known[name]) == 1:
            known[name] *= channels
    return DataSettings(**known)


def _input_shape(path: Path) -> dict[str, tuple[int, ...]]:
    """Return the shape of an image, if an ONNX file states it."""
    shape = load(path).inputs[0].shape or ()
    sizes = tuple(size for size in shape[1:] if isinstance(size, int))
    return {"input_shape": sizes} if len(sizes) == 3 else {}
