"""``tinygrad-cnn evaluate`` and ``tinygrad-cnn predict``: use the model of a run."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from rich.text import Text

from tinygrad_cnn.cli.display import ACCENT, FAINT, bar, console, show_evaluation
from tinygrad_cnn.cli.inputs import read_picture
from tinygrad_cnn.data import DataLoader
from tinygrad_cnn.data.picture import MNIST
from tinygrad_cnn.support.text import percent
from tinygrad_cnn.train import RunFolder, load_run
from tinygrad_cnn.train import evaluate as measure

__all__ = ["evaluate", "predict"]

MOST_CLASSES = 10
BAR_WIDTH = 30


def evaluate(folder: Path, source: str | None, weights: str | None = None) -> int:
    """Print the metrics of a model on the test images of `source`, by default those of its run."""
    model, settings = load_run(folder, weights)
    dataset = settings.data.load(source).test
    settings.data.check(dataset)
    if source is None:
        try:
            settings.data.check_test(dataset)
        except ValueError as error:
            error.add_note(f"to evaluate on the current ones: --data {settings.data.source}")
            raise
    loader = DataLoader(dataset, batch_size=250, transform=settings.data.normalize())
    metrics = settings.training.make_metrics(RunFolder(folder).read_model_file(settings))
    result = measure(model, loader, metrics=metrics)
    if math.isnan(result.loss):
        raise FloatingPointError(f"{folder}: the model returns NaN for images of {dataset.name}")
    show_evaluation(console(), result, settings.data.classes)
    return 0


def predict(
    folder: Path, paths: Sequence[Path], as_mnist: bool = False, weights: str | None = None
) -> int:
    """Print the predicted class of each image. All files are read before anything is printed.

    Images are prepared like the training images, or like MNIST's digits with `as_mnist`.
    """
    run = load_run(folder, weights)
    preparation = MNIST if as_mnist else None
    images = np.stack([read_picture(path, run.settings.data, preparation) for path in paths])
    probabilities = run.probabilities(images)
    spoilt = np.flatnonzero(np.isnan(probabilities).any(axis=1))
    if spoilt.size:
        raise FloatingPointError(f"{folder}: the model returns NaN for {paths[spoilt[0]]}")
    screen = console()
    for i, path in enumerate(paths):
        if i:
            screen.print()
        _show(screen, path, images[i], probabilities[i], run.settings.data.classes)
    return 0


def _show(
    screen: Console,
    path: Path,
    image: NDArray[np.uint8],
    probabilities: NDArray[np.floating[Any]],
    classes: Sequence[str],
) -> None:
    best = int(probabilities.argmax())
    screen.print(
        Text.assemble(
            f"{path}: ", (classes[best], ACCENT), f"  {percent(float(probabilities[best]), 2)}"
        )
    )
    table = Table.grid(padding=(0, 2))
    likeliest = np.argsort(-probabilities, kind="stable")[:MOST_CLASSES]
    for k in likeliest if len(classes) > MOST_CLASSES else range(len(classes)):
        share = float(probabilities[k])
        style = ACCENT if k == best else FAINT
        table.add_row(
            Text(f"  {classes[k]}", style),
            Text(bar(share, BAR_WIDTH), style),
            Text(percent(share, 2).rjust(8), style),
        )
    if screen.is_terminal and len(image) == 1 and image.shape[2] <= 40:
        beside = Table.grid(padding=(0, 3))
        beside.add_row(_picture(image[0]), table)
        screen.print(beside, soft_wrap=False)
    else:
        screen.print(table, soft_wrap=False)


def _picture(pixels: NDArray[np.uint8]) -> Text:
    """Return the model's input image as text, two rows of pixels per line."""
    even = np.pad(pixels, ((0, len(pixels) % 2), (0, 0)))
    text = Text()
    for upper, lower in zip(even[::2], even[1::2], strict=True):
        for a, b in zip(upper.tolist(), lower.tolist(), strict=True):
            text.append("▀", f"rgb({a},{a},{a}) on rgb({b},{b},{b})")
        text.append("\n")
    text.rstrip()
    return text
