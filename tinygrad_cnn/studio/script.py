"""Python scripts that reproduce a model with the package's public API."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from tinygrad_cnn import __version__
from tinygrad_cnn.data import is_local, load
from tinygrad_cnn.train import RunSettings

__all__ = ["script"]

TRAINING = '''\
"""Trains a model as the studio of tinygrad_cnn {version} trained it.

With the same versions of the packages, the weights are bit-identical.
"""

import tinygrad_cnn as tg
from tinygrad_cnn.train import (
    DataSettings,
    ModelSettings,
    RunFolder,
    RunSettings,
    TrainingRun,
    TrainingSettings,
)

NAME = {name}
ACCURACY = {accuracy}  # measured by the studio

model = ModelSettings(name={model}, options={options})
training = TrainingSettings(
{training}
)

split = tg.data.load({source})
settings = RunSettings(data=DataSettings.of(split, {source}), model=model, training=training)
run = TrainingRun(settings, split)
folder = RunFolder.create({folder})

with tg.num_threads(1):  # as in the studio
    history = run.train(folder)
    accuracy = run.test().accuracy

print(history)
print(f"{{NAME}}: accuracy {{accuracy:.4f}} on {{split.test.name}}, then {{ACCURACY:.4f}}")
print(f"The weights are in {{folder.weights}}")
'''

TAUGHT = '''\
"""Uses a model that the studio of tinygrad_cnn {version} has fine-tuned on drawings.

The drawings are not included; the fine-tuned weights are in the file that the studio offers for
download. Pass its path as the argument.
"""

import sys

import numpy as np
from safetensors.numpy import load_file

import tinygrad_cnn as tg
from tinygrad_cnn.data import DataLoader, Normalize
from tinygrad_cnn.train import evaluate

NAME = {name}
ACCURACY = {accuracy}  # measured by the studio

model = tg.nn.build(
    {model},
    input_shape={input_shape},
    classes={classes},
    rng=np.random.default_rng(0),
    **{options},
)
model.load_state_dict(load_file(sys.argv[1]))

split = tg.data.load({source})
normalize = Normalize(mean={mean}, std={std})
with tg.num_threads(1):
    accuracy = evaluate(model, DataLoader(split.test, 250, transform=normalize)).accuracy

print(f"{{NAME}}: accuracy {{accuracy:.4f}} on {{split.test.name}}, then {{ACCURACY:.4f}}")
'''


def script(name: str, settings: RunSettings, accuracy: float, taught: bool = False) -> str:
    """Return a script that trains a model again and prints its accuracy.

    A fine-tuned model is loaded instead of trained: the script only has its settings.

    Parameters
    ----------
    name : str
        Name of the model: any text, as it is quoted.
    settings : RunSettings
    accuracy : float
        Accuracy on its test images.
    taught : bool
        Whether it was fine-tuned on drawings; if unknown, this is inferred from the number of its
        training images.

    Returns
    -------
    str
        Python source that uses only the public API.
    """
    data, model = settings.data, settings.model
    taught = taught or (
        is_local(data.source) and data.training_images != len(load(data.source).train)
    )
    lines = [
        f"    {field.name}={_literal(getattr(settings.training, field.name))},"
        for field in fields(settings.training)
    ]
    values = {
        "name": name,
        "accuracy": accuracy,
        "model": model.name,
        "options": model.options,
        "source": data.source,
        "folder": f"{model.name}-{data.source}",
        "input_shape": data.input_shape,
        "classes": len(data.classes),
        "mean": data.mean,
        "std": data.std,
    }
    return (TAUGHT if taught else TRAINING).format(
        version=__version__,
        training="\n".join(lines),
        **{key: _literal(value) for key, value in values.items()},
    )


def _literal(value: Any) -> str:
    """Return a value as Python source, with double quotes where possible."""
    text = repr(value)
    return text if '"' in text or "\\" in text else text.replace("'", '"')
