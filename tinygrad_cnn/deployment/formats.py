"""Writers of trained models: ONNX, safetensors, npz and a NumPy program."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn import ops
from tinygrad_cnn.deployment.layout import WIDTH
from tinygrad_cnn.deployment.network import NumpyNetwork, network_source
from tinygrad_cnn.deployment.npz_files import METADATA, write_npz_file
from tinygrad_cnn.deployment.numpy_ops import softmax
from tinygrad_cnn.deployment.source import FunctionSource
from tinygrad_cnn.nn import Module
from tinygrad_cnn.support.files import atomic_write
from tinygrad_cnn.support.version import __version__
from tinygrad_cnn.train import TrainedModel
from tinygrad_cnn.train.metadata import metadata
from tinygrad_cnn.train.own_state import own_state
from tinygrad_cnn.train.state import pack_own, write_weights

__all__ = ["files", "write_npz", "write_onnx", "write_program", "write_safetensors"]

LISTED = 100
"""The most classes that a program lists; more are in its file of arrays."""

PROGRAM = '''"""{title}: the network in NumPy.

predict(images) takes uint8 {shape}, returns float32 (N, {classes}).
In a shell: python {file} IMAGES.npy. The weights are in {arrays}, beside this file.
"""
# Written by tinygrad_cnn {version}.
{imports}

W = dict(np.load(Path(__file__).with_suffix(".npz")))
CLASSES = {labels}
MEAN = {mean}  # of the training images,
STD = {std}  # by channel

{functions}

def network(x):
    """Return the logits of normalized images."""
{body}

def predict(images, batch=64):
    """Return the probability of each class."""
    images = np.asarray(images)
    if images.dtype != np.uint8 or images.shape[1:] not in [{shapes}]:
        raise ValueError(f"got {{images.dtype}} {{images.shape}}, expected uint8 (N, {sizes})")
    images = images.reshape(-1, {sizes})
    parts = np.split(images, range(batch, len(images), batch))
    return np.concatenate([softmax(network((x / np.float32(255) - MEAN) / STD)) for x in parts])

if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(f"usage: python {{Path(__file__).name}} IMAGES.npy")
    for row in predict(np.load(sys.argv[1])):
        print(f"{{CLASSES[row.argmax()]}}  {{row.max():.2%}}")
'''


def files(path: Path) -> list[Path]:
    """Return the files that a writer makes: a program has its arrays beside it."""
    return [path, path.with_suffix(".npz")] if path.suffix == ".py" else [path]


def write_safetensors(trained: TrainedModel, path: str | os.PathLike[str]) -> None:
    """Write the weights as safetensors, with the metadata in the header.

    The studio reads the file, and so do `tinygrad_cnn.load` and other programs.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> from tempfile import TemporaryDirectory
    >>> from tinygrad_cnn.train import TrainedModel, TrainingRun, TrainingSettings
    >>> run = TrainingRun.new("digits", "mlp", TrainingSettings(), {"hidden": [8]})
    >>> trained = TrainedModel(run.model.eval(), run.settings)  # or load_run("runs/...")
    >>> with TemporaryDirectory() as folder:
    ...     path = Path(folder, "model.safetensors")
    ...     write_safetensors(trained, path)
    ...     sorted(tg.load(path))
    ['fc.0.bias', 'fc.0.weight', 'fc.1.bias', 'fc.1.weight']
    """
    model, settings = trained
    write_weights(path, model.state_dict(), own_state(model), metadata(settings))


def write_npz(trained: TrainedModel, path: str | os.PathLike[str]) -> None:
    """Write the weights as a ``.npz`` file, with the metadata as JSON in the array "metadata".

    Arrays of a model's own state have names that start with "/".

    Raises
    ------
    ValueError
        If a parameter has the name "metadata".

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> from tinygrad_cnn.train import TrainedModel, TrainingRun, TrainingSettings
    >>> run = TrainingRun.new("digits", "mlp", TrainingSettings(), {"hidden": [8]})
    >>> trained = TrainedModel(run.model.eval(), run.settings)  # or load_run("runs/...")
    >>> with TemporaryDirectory() as folder:
    ...     path = Path(folder, "weights.npz")
    ...     write_npz(trained, path)
    ...     with np.load(path) as file:
    ...         sorted(file.files)
    ['fc.0.bias', 'fc.0.weight', 'fc.1.bias', 'fc.1.weight', 'metadata']
    """
    arrays = trained.model.state_dict()
    if METADATA in arrays:
        raise ValueError(f"export: a parameter is named {METADATA!r}; write safetensors instead")
    inside, own = pack_own(own_state(trained.model))
    text = json.dumps({**metadata(trained.settings), **own}, ensure_ascii=False)
    write_npz_file(path, {**arrays, **inside, METADATA: np.array(text)})


def write_onnx(trained: TrainedModel, path: str | os.PathLike[str], pixels: bool = False) -> None:
    """Write an ONNX file, with the metadata in it.

    Parameters
    ----------
    trained : TrainedModel
    path : str or path-like
    pixels : bool
        Whether the file takes pixels from 0 to 255 and returns probabilities. By default it takes
        normalized images, as in training, and returns logits.
    """
    from tinygrad_cnn.onnx import export

    model, settings = trained
    example = np.zeros((1, *settings.data.input_shape), np.float32)
    network = _OfPixels(trained) if pixels else model
    export(
        network,
        example,
        path,
        input_names=["images"],
        output_names=["probabilities" if pixels else "logits"],
        metadata=metadata(settings, normalized=not pixels),
    )


class _OfPixels(Module):
    """A trained model with the preprocessing before it and a softmax after it."""

    def __init__(self, trained: TrainedModel) -> None:
        normalize = trained.settings.data.normalize()
        self.mean, self.std = (
            (255 * np.asarray(value, np.float32)).reshape(-1, 1, 1)
            for value in (normalize.mean, normalize.std)
        )
        self.model = trained.model

    def forward(self, pixels: Any) -> Any:
        """Return probabilities."""
        return ops.softmax(self.model((pixels - self.mean) / self.std))


def write_program(trained: TrainedModel, path: str | os.PathLike[str]) -> None:
    """Write a NumPy program, and its arrays beside it with the suffix ``.npz``.

    The program has a function ``predict``, from uint8 images to probabilities, and reads images
    from a file if it is run.

    Raises
    ------
    CaptureError
        As `network_source`.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> from tinygrad_cnn.train import TrainedModel, TrainingRun, TrainingSettings
    >>> run = TrainingRun.new("digits", "mlp", TrainingSettings(), {"hidden": [8]})
    >>> trained = TrainedModel(run.model.eval(), run.settings)  # or load_run("runs/...")
    >>> with TemporaryDirectory() as folder:
    ...     write_program(trained, Path(folder, "model.py"))
    ...     sorted(path.name for path in Path(folder).iterdir())
    ['model.npz', 'model.py']
    """
    path, (model, settings) = Path(path), trained
    network = network_source(model, settings.data.input_shape)
    arrays, text = _program(network, trained, path)
    write_npz_file(path.with_suffix(".npz"), arrays)
    with atomic_write(path) as file:
        file.write(text.encode())


def _program(
    network: NumpyNetwork, trained: TrainedModel, path: Path
) -> tuple[dict[str, NDArray[Any]], str]:
    """Return the arrays and the text of a program."""
    settings, arrays = trained.settings, dict(network.arrays)
    data = settings.data
    normalize = data.normalize()
    sizes = ", ".join(map(str, data.input_shape))
    labels = _tuple("CLASSES = ", data.classes)
    if len(data.classes) > LISTED:
        arrays["CLASSES"] = np.array(data.classes)
        labels = 'W["CLASSES"].tolist()'
    functions = [*network.functions]
    probabilities = FunctionSource.of(softmax).knowing([{"axis": -1, "temperature": 1.0}]).text
    if not any(text.startswith("def softmax(") for text in functions):
        functions.append(probabilities)
    shapes = [f"({sizes})"] + [f"({sizes[3:]})"] * (data.input_shape[0] == 1)
    third = {line for line in network.imports if "numpy" in line}
    imports = [*sorted({"import sys", *network.imports} - third), "from pathlib import Path", ""]
    imports += ["import numpy as np", *sorted(third)]
    text = PROGRAM.format(
        title=re.sub(r"[^\w .,-]", "_", f"{settings.model.name}, trained on {data.name}"),
        shape=" or ".join(f"(N, {each[1:]}" for each in shapes),
        shapes=", ".join(shapes),
        sizes=sizes,
        classes=len(data.classes),
        file=_escaped(path.name),
        arrays=_escaped(path.with_suffix(".npz").name),
        version=__version__,
        imports="\n".join(imports),
        labels=labels,
        mean=_channels(normalize.mean),
        std=_channels(normalize.std),
        functions="\n\n".join(functions),
        body="\n".join(network.body),
    )
    compile(text, path, "exec")
    return arrays, text


def _escaped(name: str) -> str:
    """Return a name as the part of a docstring."""
    return "".join(c if c.isprintable() and c not in '\\"' else _code(c) for c in name)


def _code(character: str) -> str:
    return f"\\{character}" if character in '\\"' else ascii(character)[1:-1]


def _channels(values: Any) -> str:
    """Return the text of an array of shape (C, 1, 1)."""
    each = [float(str(np.float32(value))) for value in values]
    return f"np.float32({each}).reshape(-1, 1, 1)"


def _tuple(start: str, items: Iterable[str]) -> str:
    """Return a tuple of texts, over several lines if one is too long."""
    quoted = [json.dumps(each, ensure_ascii=False) if each.isprintable() else repr(each)
              for each in items]  # fmt: skip
    whole = f"({', '.join(quoted)}{',' if len(quoted) == 1 else ''})"
    if len(start + whole) <= WIDTH:
        return whole
    lines = ["   "]
    for each in quoted:
        if len(lines[-1]) + len(each) + 2 > WIDTH:
            lines.append("   ")
        lines[-1] += f" {each},"
    return "\n".join(["(", *lines, ")"])
