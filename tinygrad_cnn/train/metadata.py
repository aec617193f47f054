"""The metadata of exported files: what is needed to use the weights."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace

from tinygrad_cnn.data.sources import NAMED
from tinygrad_cnn.support.version import __version__
from tinygrad_cnn.train.settings import DataSettings, RunSettings

__all__ = ["metadata", "settings_of"]

SETTINGS = "settings"
"""The key of the run's settings, as in files of the studio."""
INPUT = "input"
NORMALIZED = "float32 (N, C, H, W): (pixels / 255 - mean) / std, channel by channel"
PIXELS = "float32 (N, C, H, W): pixels from 0 to 255"


def metadata(settings: RunSettings, normalized: bool = True) -> dict[str, str]:
    """Return the metadata of a trained model, by name.

    Parameters
    ----------
    settings : RunSettings
    normalized : bool
        Whether the model takes normalized images and returns logits, as in training; else it takes
        pixels and returns probabilities.

    Returns
    -------
    dict of str to str
        Lists as JSON. The settings have the name of the data, not the path of a file or folder.
    """
    data = settings.data
    return {
        "producer": f"tinygrad_cnn {__version__}",
        INPUT: NORMALIZED if normalized else PIXELS,
        "output": "logits (N, classes)" if normalized else "probabilities (N, classes)",
        "input_shape": json.dumps(data.input_shape),
        "mean": json.dumps(data.mean),
        "std": json.dumps(data.std),
        "preparation": data.preparation,
        "classes": json.dumps(data.classes, ensure_ascii=False),
        SETTINGS: replace(settings, data=_without_path(data)).to_json(),
    }


def settings_of(found: Mapping[str, str], name: str) -> RunSettings | None:
    """Return the settings in the metadata of a file, for the images that its model takes.

    Parameters
    ----------
    found : mapping of str to str
        From `metadata`, or of a file of another program.
    name : str
        The file name in the message.

    Returns
    -------
    RunSettings or None
        None if there are none. A path in them is left out: it would be of another machine.

    Raises
    ------
    RunError
        If they are invalid.
    """
    text = found.get(SETTINGS)
    if not isinstance(text, str):
        return None
    settings = RunSettings.from_json(text, name)
    data = _without_path(settings.data)
    if found.get(INPUT) == PIXELS:
        channels = data.input_shape[0]
        data = replace(data, mean=(0.0,) * channels, std=(1 / 255,) * channels)
    return replace(settings, data=data)


def _without_path(data: DataSettings) -> DataSettings:
    """Return the settings with only the name of a known set as its source."""
    return replace(data, source=data.source if data.source in NAMED else "")
