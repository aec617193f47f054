"""Record what torchvision's models are: run this file where torchvision is installed.

It imports nothing of the package. `tests/nn/test_torchvision.py` reads the file that it writes.
With arguments it exchanges files of weights with that test: ``write FOLDER HIDDEN NAME ...`` writes
them and the logits, ``read FOLDER HIDDEN NAME ...`` reads the test's and writes the logits.
"""

from __future__ import annotations

import hashlib
import json
import sys
import types
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

FILE = Path(__file__).parents[1] / "nn" / "torchvision.json"
SMALL = [
    "resnet18", "resnet34", "resnet50", "resnext50_32x4d", "mobilenet_v2", "densenet121", "vgg11",
    "vgg11_bn",
]  # fmt: skip
NAMES = [
    *SMALL, "resnet101", "resnet152", "wide_resnet50_2", "wide_resnet101_2",
    "resnext101_32x8d", "resnext101_64x4d", "densenet161", "densenet169", "densenet201", "vgg13",
    "vgg13_bn", "vgg16", "vgg16_bn", "vgg19", "vgg19_bn",
]  # fmt: skip
HIDDEN = 64
"""The width of VGG's hidden layers here, in place of 4096: nine tenths of the weights."""


def fingerprint(state: Iterable[tuple[str, tuple[int, ...]]]) -> str:
    """Return a hash of the names and shapes of a state dict, in their order."""
    lines = [f"{name} {tuple(shape)}" for name, shape in state]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def values(name: str, shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
    """Return values of a parameter or a buffer that depend on its name and shape alone."""
    size = int(np.prod(shape))
    drawn = np.random.default_rng(zlib.crc32(name.encode())).normal(size=min(size, 65_521))
    drawn = np.resize(drawn, size).reshape(shape)  # a prime number: no two rows are the same
    if name.endswith("num_batches_tracked"):
        return np.zeros(shape, np.int64)
    if len(shape) > 1:
        return drawn * np.sqrt(2 / np.prod(shape[1:]))  # He's: the images matter to the end
    if name.endswith("running_var"):
        return 1.0 + np.abs(drawn)
    return 0.1 * drawn + name.endswith("weight")


def images() -> np.ndarray[Any, Any]:
    """Return two small images."""
    return np.random.default_rng(0).normal(size=(2, 3, 64, 64))


def made(name: str, hidden: int = HIDDEN) -> Any:
    """Return one of torchvision's models, in eval mode."""
    # Its operators for detection need a PyTorch for the same devices. The models do without them.
    sys.modules["torchvision._meta_registrations"] = types.ModuleType("_meta_registrations")
    import torch
    import torchvision

    with torch.device("meta"):
        model = getattr(torchvision.models, name)()
        if name.startswith("vgg"):
            for k in (0, 3, 6):
                old = model.classifier[k]
                sizes = (hidden if k else old.in_features, hidden if k < 6 else old.out_features)
                model.classifier[k] = torch.nn.Linear(*sizes)
    return model.to_empty(device="cpu").eval()


def filled(name: str, hidden: int = HIDDEN) -> Any:
    """Return the model in float64, with `values`."""
    import torch

    model = made(name, hidden).double()
    shapes = [(key, tuple(value.shape)) for key, value in model.state_dict().items()]
    model.load_state_dict({key: torch.tensor(values(key, shape)) for key, shape in shapes})
    return model


def record() -> None:
    """Write the file."""
    import torch

    kept: dict[str, Any] = {}
    for name in NAMES:
        model = filled(name)
        shapes = [(key, tuple(value.shape)) for key, value in model.state_dict().items()]
        with torch.no_grad():
            logits = model(torch.tensor(images())).numpy()
        kept[name] = {"state": fingerprint(shapes), "logits": logits[:, ::100].tolist()}
    import torchvision

    text = json.dumps({"version": torchvision.__version__, **kept}, indent=1)
    FILE.write_text(text + "\n", "utf-8")


def exchange(action: str, folder: str, hidden: str, *names: str) -> None:
    """Write or read the weights of models as safetensors files in float32, and write the logits."""
    import torch
    from safetensors.torch import load_file, save_file

    for name in names:
        model, path = filled(name, int(hidden)).float(), Path(folder, f"{name}.safetensors")
        if action == "write":
            save_file(model.state_dict(), path)
        else:
            model.load_state_dict(load_file(path), strict=True)
        with torch.no_grad():
            np.save(path.with_suffix(".npy"), model(torch.tensor(images()).float()).numpy())


if __name__ == "__main__":
    exchange(*sys.argv[1:]) if sys.argv[1:] else record()
