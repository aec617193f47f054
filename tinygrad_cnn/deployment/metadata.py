"""The metadata of exported files: what is needed to use the weights."""

from __future__ import annotations

import json
from dataclasses import replace

from tinygrad_cnn.data.sources import NAMED
from tinygrad_cnn.support.version import __version__
from tinygrad_cnn.train import RunSettings

__all__ = ["FORMATS", "NORMALIZED", "PIXELS", "SETTINGS", "metadata"]

FORMATS = ("onnx", "safetensors", "npz", "py")
"""The formats of exported models, which are the suffixes of their files."""
SETTINGS = "settings"
"""The key of the run's settings, as in files of the studio."""
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
    source = data.source if data.source in NAMED else ""
    public = replace(settings, data=replace(data, source=source))
    return {
        "producer": f"tinygrad_cnn {__version__}",
        "input": NORMALIZED if normalized else PIXELS,
        "output": "logits (N, classes)" if normalized else "probabilities (N, classes)",
        "input_shape": json.dumps(data.input_shape),
        "mean": json.dumps(data.mean),
        "std": json.dumps(data.std),
        "preparation": data.preparation,
        "classes": json.dumps(data.classes, ensure_ascii=False),
        SETTINGS: public.to_json(),
    }
