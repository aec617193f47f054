"""Model files: one safetensors file with weights, settings and a checksum in the header.

Uploaded files are not trusted. Reading one executes no code from it, and builds no model before its
sizes are known to be modest.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load

from tinygrad_cnn.nn import build
from tinygrad_cnn.studio.image_sets import IMAGE_SETS
from tinygrad_cnn.studio.settings import WEIGHTS_BYTES
from tinygrad_cnn.studio.store import checked_name
from tinygrad_cnn.studio.training.requests import MODEL_OPTIONS, MOST_HIDDEN, NUMBERS
from tinygrad_cnn.support.arguments import whole
from tinygrad_cnn.train import DataSettings, ModelSettings, RunSettings, TrainedModel
from tinygrad_cnn.train.state import check_bytes, pack_arrays

__all__ = ["Contents", "UnusableModelError", "pack", "read", "unpack"]


HEADER_BYTES = 256 << 10
SETTINGS_CHARACTERS = 64 << 10
KEY = "settings"


class UnusableModelError(ValueError):
    """The file is not a model that the studio supports; the message gives the reason."""


class Contents(NamedTuple):
    """Contents of a file: the training settings, and the state by name."""

    settings: RunSettings
    weights: dict[str, NDArray[Any]]


def pack(settings: RunSettings, weights: Mapping[str, NDArray[Any]]) -> bytes:
    """Serialize a model as a safetensors file.

    Parameters
    ----------
    settings : RunSettings
        The settings it was trained with.
    weights : mapping of str to ndarray
        Its ``state_dict()``.

    Examples
    --------
    >>> from tinygrad_cnn.train import TrainingRun, TrainingSettings
    >>> made = TrainingRun.new("digits", "lenet5", TrainingSettings())
    >>> contents = pack(made.settings, made.model.state_dict())
    >>> model, settings = read(contents)
    >>> settings == made.settings, model.summary().parameters
    (True, 61706)
    """
    return pack_arrays(weights, {KEY: settings.to_json()})


def read(contents: bytes) -> TrainedModel:
    """Read the model of a file, in eval mode, and its training settings.

    Parameters
    ----------
    contents : bytes
        Bytes from `pack`, or any untrusted upload.

    Returns
    -------
    TrainedModel
        ``model, settings``.

    Raises
    ------
    UnusableModelError
        If the file is not a complete safetensors file of modest size with settings; if it has a
        checksum that is wrong; if the model is not in ``MODEL_OPTIONS`` with allowed options
        (custom code is not); if it was not trained on one of ``IMAGE_SETS``; if the weights
        have wrong names, shapes or dtypes, are not all finite, or give outputs that are not finite.
    """
    arrays, text = _arrays_and_settings(contents)
    settings = _checked_settings(text)
    for name, array in arrays.items():
        if not np.isfinite(array).all():
            raise UnusableModelError(f"the weights {name} have NaN or infinite numbers")
    try:
        model = build(
            settings.model.name,
            input_shape=settings.data.input_shape,
            classes=len(settings.data.classes),
            rng=np.random.default_rng(0),
            **settings.model.options,
        )
        model.load_state_dict(arrays)
    except (ValueError, TypeError) as error:
        raise UnusableModelError(f"the weights do not fit the settings: {error}") from error
    run = TrainedModel(model.eval(), settings)
    _try_out(run)
    return run


def unpack(contents: bytes) -> Contents:
    """Return the contents of a file, checked as in `read`, with the weights as arrays."""
    model, settings = read(contents)
    return Contents(settings, model.state_dict())


def _arrays_and_settings(contents: bytes) -> tuple[dict[str, NDArray[Any]], str]:
    if len(contents) > WEIGHTS_BYTES:
        raise UnusableModelError(
            f"the file has {len(contents)} bytes, expected {WEIGHTS_BYTES} at most"
        )
    size = int.from_bytes(contents[:8], "little")
    if len(contents) < 8 or size > len(contents) - 8:
        raise UnusableModelError(f"{len(contents)} bytes are not a complete safetensors file")
    if size > HEADER_BYTES:
        raise UnusableModelError(f"the header has {size} bytes, expected {HEADER_BYTES} at most")
    try:
        check_bytes(contents)
        arrays = load(contents)
        metadata = json.loads(contents[8 : 8 + size]).get("__metadata__") or {}
    except KeyError as error:
        raise UnusableModelError(f"the weights have the type {error}, expected floats") from error
    except (SafetensorError, ValueError, TypeError) as error:
        raise UnusableModelError(f"this is not a complete safetensors file: {error}") from error
    text = metadata.get(KEY)
    if text is None:
        raise UnusableModelError(
            "the file's header has no settings; expected a model downloaded from a studio"
        )
    if len(text) > SETTINGS_CHARACTERS:
        raise UnusableModelError(
            f"the settings have {len(text)} characters, expected {SETTINGS_CHARACTERS} at most"
        )
    return arrays, text


def _checked_settings(text: str) -> RunSettings:
    try:
        settings = RunSettings.from_json(text, "the settings")
        settings = replace(settings, data=_checked_data(settings.data))
        _check_model(settings.model)
        if not all(isinstance(each, str) for pair in settings.versions.items() for each in pair):
            raise ValueError(f"versions: got {settings.versions}, expected texts by name")
        settings.to_json().encode()  # must be valid JSON and UTF-8 to be stored
    except UnusableModelError:
        raise
    except (ValueError, TypeError, AttributeError, RecursionError, OverflowError) as error:
        raise UnusableModelError(f"the settings are invalid: {error}") from error
    return settings


def _checked_data(data: DataSettings) -> DataSettings:
    """Return the settings with numeric strings converted to numbers."""
    images = IMAGE_SETS.get(data.source) if isinstance(data.source, str) else None
    if images is None:
        raise UnusableModelError(
            f"the model was trained with {data.source!r}, expected one of {', '.join(IMAGE_SETS)}"
        )
    if (data.input_shape, data.classes) != (images.input_shape, images.classes):
        raise UnusableModelError(
            f"the model takes images of shape {data.input_shape} for one of "
            f"{len(data.classes)} classes, {data.classes[0]!r} to {data.classes[-1]!r}; expected "
            f"{images.input_shape}, and {images.classes[0]!r} to {images.classes[-1]!r}"
        )
    if data.preparation != images.preparation:
        raise UnusableModelError(
            f"the model's images were prepared as {data.preparation!r}, expected "
            f"{images.preparation!r}"
        )
    try:
        checked_name(data.name)
    except ValueError as error:
        raise UnusableModelError(f"the name of the data set: {error}") from None
    whole("data", "training_images", data.training_images)
    whole("data", "test_images", data.test_images)
    mean, std = (tuple(float(number) for number in each) for each in (data.mean, data.std))
    return replace(data, mean=mean, std=std)


def _check_model(model: ModelSettings) -> None:
    known = MODEL_OPTIONS.get(model.name)
    if known is None or model.file is not None:
        own = "" if model.file is None else " with code of its own"
        raise UnusableModelError(
            f"the model is {model.name!r}{own}, expected one of {', '.join(MODEL_OPTIONS)}"
        )
    unknown = sorted(model.options.keys() - known.keys())
    if unknown:
        raise UnusableModelError(
            f"{model.name} with the options {', '.join(map(repr, unknown))}, expected none but "
            f"{', '.join(known) or 'none at all'}"
        )
    hidden = model.options.get("hidden", [])
    if not isinstance(hidden, list) or len(hidden) > MOST_HIDDEN:
        raise UnusableModelError(f"hidden is {hidden!r}, expected a list of {MOST_HIDDEN} at most")
    for i, width in enumerate(hidden):
        largest = NUMBERS["hidden"].bounds["le"]
        if whole(model.name, f"hidden[{i}]", width) > largest:
            raise UnusableModelError(f"hidden[{i}] is {width}, expected {largest} at most")


def _try_out(run: TrainedModel) -> None:
    """Raise UnusableModelError if a blank, full or random image gives no finite output."""
    images = np.random.default_rng(0).integers(
        0, 256, (3, *run.settings.data.input_shape), np.uint8
    )
    images[0], images[1] = 0, 255
    with np.errstate(all="ignore"):
        if not np.isfinite(run.probabilities(images)).all():
            raise UnusableModelError(
                "the model returns NaN or infinite numbers: are its weights damaged?"
            )
