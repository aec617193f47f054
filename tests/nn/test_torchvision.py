"""Torchvision's models: its names of parameters, its logits, and its files of weights, both ways.

`support/torchvision_recorded.py` recorded them. Where `TINYGRAD_CNN_PYTHON_TORCH` names an
interpreter that has torchvision, files are exchanged with it too.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support import torchvision_recorded
from support.machine import lengthy
from support.torchvision_recorded import FILE, HIDDEN, NAMES, SMALL, fingerprint, images, values

import tinygrad_cnn as tg
from tinygrad_cnn import nn
from tinygrad_cnn.nn import models

RECORDED = json.loads(FILE.read_text("utf-8"))
PYTHON = os.environ.get("TINYGRAD_CNN_PYTHON_TORCH")
LARGE = [name for name in NAMES if name not in SMALL]

large_too = pytest.mark.parametrize(
    "name", [*SMALL, *(pytest.param(name, marks=lengthy) for name in LARGE)]
)


def built(name: str, hidden: int = HIDDEN) -> nn.Module:
    """Return our model of torchvision's name, in eval mode."""
    if name == "mobilenet_v2":
        return models.MobileNetV2().eval()
    options: dict[str, Any] = {}
    if name.startswith("vgg"):
        options = {"hidden": hidden, "batch_norm": name.endswith("_bn")}
    model: nn.Module = getattr(models, name.removesuffix("_bn"))(**options)
    return model.eval()


def logits(model: nn.Module) -> np.ndarray:
    with tg.no_grad():
        return model(images().astype(next(model.parameters()).dtype)).numpy()


def distance(found: np.ndarray, expected: Any) -> float:
    """Return the largest difference, relative to the largest logit."""
    return float(np.abs(found - expected).max() / np.abs(expected).max())


def filled(model: nn.Module, dtype: str) -> dict[str, np.ndarray]:
    """Return the recorded weights by name."""
    shapes = [(key, array.shape) for key, array in model.state_dict().items()]
    state = {key: values(key, shape) for key, shape in shapes}
    return {k: v.astype(dtype) if v.dtype.kind == "f" else v for k, v in state.items()}


@large_too
def test_a_model_has_torchvisions_names_and_gives_its_logits(name: str) -> None:
    with tg.default_dtype("f8"):
        model = built(name)
    shapes = [(key, array.shape) for key, array in model.state_dict().items()]
    assert fingerprint(shapes) == RECORDED[name]["state"]
    assert model.load_state_dict(filled(model, "f8")) == ([], [])
    assert distance(logits(model)[:, ::100], RECORDED[name]["logits"]) < 1e-11


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2", "densenet121", "vgg11_bn"])
def test_a_file_of_weights_in_float32_gives_the_logits_to_1e_5(name: str, tmp_path: Path) -> None:
    model = built(name)
    tg.save(tmp_path / "w.safetensors", filled(model, "f4"))
    assert model.load_state_dict(tg.load(tmp_path / "w.safetensors")) == ([], [])
    assert distance(logits(model)[:, ::100], RECORDED[name]["logits"]) < 1e-5


def test_the_names_of_densenets_first_files_are_taken() -> None:
    model = models.DenseNet(3, 1, (2, 2), 4, 8)
    today = {name: array + 1 for name, array in model.state_dict().items()}
    first = {
        name.replace("norm1", "norm.1").replace("norm2", "norm.2")
        .replace("conv1", "conv.1").replace("conv2", "conv.2"): array
        for name, array in today.items() if not name.endswith("num_batches_tracked")
    }  # fmt: skip
    assert "features.denseblock1.denselayer1.norm.1.weight" in first
    assert model.load_state_dict(first) == ([], [])
    for name, array in model.state_dict().items():
        if not name.endswith("num_batches_tracked"):
            np.testing.assert_array_equal(array, today[name])
    inside = nn.Sequential(models.DenseNet(3, 1, (2, 2), 4, 8))
    assert inside.load_state_dict({f"0.{name}": a for name, a in first.items()}) == ([], [])


def test_vgg_takes_images_of_any_size_with_a_large_head() -> None:
    model = models.VGG(3, 1, 32, (2, 3), 4, depths=(1, 3), head="large")
    assert [name for name, _ in model.named_parameters()][-6:] == [
        f"classifier.{k}.{part}" for k in (0, 3, 6) for part in ("weight", "bias")
    ]
    assert [type(layer).__name__ for layer in model.features].count("Conv2d") == 4
    for size in (32, 45):
        assert model(np.zeros((2, 1, size, size), "f4")).shape == (2, 3)


# --- files of torchvision itself ------------------------------------------------------------------


def exchange(action: str, folder: Path, hidden: int, name: str) -> np.ndarray:
    """Let torchvision write or read a file of weights; return its logits."""
    script = torchvision_recorded.__file__
    subprocess.run([str(PYTHON), script, action, str(folder), str(hidden), name], check=True)
    return np.load(folder / f"{name}.npy")


@pytest.mark.skipif(not PYTHON, reason="set TINYGRAD_CNN_PYTHON_TORCH")
@pytest.mark.parametrize("hidden", [HIDDEN, pytest.param(4096, marks=lengthy)])
@large_too
def test_files_are_exchanged_with_torchvision(name: str, hidden: int, tmp_path: Path) -> None:
    if hidden != HIDDEN and not name.startswith("vgg"):
        pytest.skip("has no such layer")
    path = tmp_path / f"{name}.safetensors"
    expected = exchange("write", tmp_path, hidden, name)
    model = built(name, hidden)
    assert model.load_state_dict(tg.load(path)) == ([], [])
    to_us = distance(logits(model), expected)
    for parameter in model.parameters():  # other weights than torchvision knows
        parameter.data[...] *= 0.97
    tg.save(path, model)
    to_them = distance(exchange("read", tmp_path, hidden, name), logits(model))
    path.unlink()
    print(f"{name} ({hidden}): to us {to_us:.1e}, to torchvision {to_them:.1e}")
    assert max(to_us, to_them) < 1e-5
