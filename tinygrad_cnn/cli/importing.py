"""``tinygrad-cnn import``: make a run of a model from elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from tinygrad_cnn.cli.display import console
from tinygrad_cnn.cli.options import Debug, data_option, option
from tinygrad_cnn.nn import MODELS

__all__ = ["import_model"]


def _shape(text: str) -> Any:
    """Return the shape (C, H, W) that ``CxHxW`` writes."""
    parts = text.lower().split("x")
    if len(parts) != 3 or not all(part.isdecimal() and int(part) for part in parts):
        raise typer.BadParameter(f"{text!r}, expected CxHxW with positive integers")
    return tuple(map(int, parts))


def _numbers(text: str) -> Any:
    """Return the numbers that a list, separated by commas, writes."""
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise typer.BadParameter(f"{text!r}, expected numbers, separated by commas") from None


def import_model(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="A .onnx, .safetensors or .npz file.")
    ],
    model: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL",
            help=f"The model of weights: {', '.join(MODELS)}, another function of nn.models, such "
            "as resnet101 or vgg16, path/to/file.py:Class, or, for weights of a run of an ONNX "
            "file, path/to/file.onnx.",
            show_default="that of an exported file",
        ),
    ] = None,
    options: Annotated[list[Any] | None, option()] = None,
    data: Annotated[
        str | None,
        data_option(
            "Data to evaluate with, whose classes hold; and whose image shape, mean and deviation "
            "hold if the file has none",
            "those of an exported file",
        ),
    ] = None,
    classes: Annotated[
        str | None,
        typer.Option(
            metavar="NAME,...",
            help="Classes, or a .txt file with one on each line.",
            show_default="those of an exported file",
        ),
    ] = None,
    input_shape: Annotated[
        Any,
        typer.Option(
            metavar="CxHxW",
            parser=_shape,
            help="Shape of an image, such as 3x224x224.",
            show_default="that of the file",
        ),
    ] = None,
    mean: Annotated[
        Any,
        typer.Option(
            metavar="X,...",
            parser=_numbers,
            help="Mean of each channel, of pixels from 0 to 1, that images are normalized with; 0 "
            "and --std 0.00392157 for a model of pixels from 0 to 255.",
            show_default="that of an exported file",
        ),
    ] = None,
    std: Annotated[
        Any,
        typer.Option(
            metavar="X,...",
            parser=_numbers,
            help="Deviation of each channel.",
            show_default="that of an exported file",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Folder to write the run to.",
            show_default="runs/FILE-NUMBER",
        ),
    ] = None,
    debug: Debug = False,
) -> int:
    """Make a run of a model from elsewhere, for predict, evaluate, draw, derive and export."""
    from tinygrad_cnn.deployment.importing import import_run

    for part, name, _ in options or []:
        if part != "model":
            raise ValueError(f"import: --option {part}.{name} is of training, expected model.NAME")
    run = import_run(
        file,
        out,
        model=model,
        options={name: value for _, name, value in options or []},
        data=data,
        classes=None if classes is None else _classes(classes),
        input_shape=input_shape,
        mean=mean,
        std=std,
    )
    console().print(str(run.path))
    return 0


def _classes(text: str) -> tuple[str, ...]:
    """Return the classes of a list, separated by commas, or of the lines of a .txt file."""
    if text.endswith(".txt"):
        lines = Path(text).read_text(encoding="utf-8").splitlines()
        return tuple(line.strip() for line in lines if line.strip())
    return tuple(name.strip() for name in text.split(","))
