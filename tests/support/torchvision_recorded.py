"""Record what torchvision's models are: run this file where torchvision is installed.

It imports nothing of the package. `tests/nn/test_models.py` reads the file that it writes.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

FILE = Path(__file__).parents[1] / "nn" / "torchvision.json"
NAMES = ["resnet18", "resnet34", "resnet50", "mobilenet_v2", "densenet121"]


def fingerprint(state: Iterable[tuple[str, tuple[int, ...]]]) -> str:
    """Return a hash of the names and shapes of a state dict, in their order."""
    lines = [f"{name} {tuple(shape)}" for name, shape in state]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def values(name: str, shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
    """Return values of a parameter or a buffer that depend on its name alone."""
    drawn = np.random.default_rng(zlib.crc32(name.encode())).normal(size=shape)
    if name.endswith("num_batches_tracked"):
        return np.zeros(shape, np.int64)
    if len(shape) > 1:
        return drawn / np.sqrt(np.prod(shape[1:]))
    if name.endswith("running_var"):
        return 1.0 + np.abs(drawn)
    return 0.1 * drawn + name.endswith("weight")


def images() -> np.ndarray[Any, Any]:
    """Return two small images."""
    return np.random.default_rng(0).normal(size=(2, 3, 64, 64))


def record() -> None:
    """Write the file."""
    import torch
    import torchvision

    kept: dict[str, Any] = {"version": torchvision.__version__}
    for name in NAMES:
        model = getattr(torchvision.models, name)().double().eval()
        state = model.state_dict()
        shapes = [(key, tuple(value.shape)) for key, value in state.items()]
        model.load_state_dict({key: torch.tensor(values(key, shape)) for key, shape in shapes})
        with torch.no_grad():
            logits = model(torch.tensor(images())).numpy()
        kept[name] = {"state": fingerprint(shapes), "logits": logits[:, ::100].tolist()}
    FILE.write_text(json.dumps(kept, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    record()
