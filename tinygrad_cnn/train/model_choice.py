"""The choice of a model by name: a ready one, or one in a Python or ONNX file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tinygrad_cnn.nn import MODELS
from tinygrad_cnn.nn.models.registry import LARGE_MODELS
from tinygrad_cnn.train.errors import ModelFileError
from tinygrad_cnn.train.model_file import MODEL_FILE, ModelFile
from tinygrad_cnn.train.onnx_file import OnnxFile, is_onnx
from tinygrad_cnn.train.settings import ModelSettings

__all__ = ["chosen_model"]


def chosen_model(name: str, options: dict[str, Any]) -> tuple[ModelSettings, ModelFile | None]:
    """Return a model's settings, and its file if it is a user's; else raise ModelFileError."""
    if name in MODELS or name in LARGE_MODELS:
        return ModelSettings(name=name, options=options), None
    path, _, class_name = name.rpartition(":")
    if not path.endswith(".py") and not is_onnx(name):
        raise ModelFileError(
            f"model is {name!r}, expected {', '.join(MODELS)}, a file and a class in it: "
            "path/to/file.py:Class, or path/to/file.onnx"
        )
    if options:
        raise ModelFileError(f"{name} takes no options, but came with {', '.join(options)}")
    if is_onnx(name):
        onnx_file = OnnxFile.read(Path(name))
        return onnx_file.settings, onnx_file
    file = ModelFile.read(Path(path), class_name)
    return ModelSettings(name=class_name, file=MODEL_FILE, sha256=file.sha256), file
