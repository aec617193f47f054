"""``tinygrad-cnn export``: write a trained model for use without this package."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from tinygrad_cnn.cli.display import ACCENT, console
from tinygrad_cnn.cli.options import Debug, RunArgument, WeightsOption, choice
from tinygrad_cnn.train import load_run

__all__ = ["export"]

WRITERS = {
    "onnx": "write_onnx",
    "safetensors": "write_safetensors",
    "npz": "write_npz",
    "py": "write_program",
}
"""The function of `tinygrad_cnn.deployment` for each format, which is the suffix of its file."""
NAMES = {"npz": "weights.npz"}
"""The default names of files, if not model.FORMAT: a program has its arrays in model.npz."""


def export(
    run: RunArgument,
    to: Annotated[
        str,
        choice(
            "Format; py is a program that needs only NumPy, with its weights beside it", WRITERS
        ),
    ] = "onnx",
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="File to write.",
            show_default="model.FORMAT; weights.npz for npz",
        ),
    ] = None,
    with_preprocessing: Annotated[
        bool,
        typer.Option(
            "--with-preprocessing",
            help="The ONNX file takes pixels from 0 to 255 and returns probabilities; otherwise it "
            "takes normalized images and returns logits. A py program always takes pixels.",
        ),
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Overwrite existing files.")] = False,
    weights: WeightsOption = None,
    debug: Debug = False,
) -> int:
    """Write a trained model for use without this package, with its classes and preprocessing."""
    from tinygrad_cnn import deployment
    from tinygrad_cnn.capture import CaptureError
    from tinygrad_cnn.deployment.formats import files

    path = Path(NAMES.get(to, f"model.{to}")) if out is None else out
    if path.suffix != f".{to}":
        raise ValueError(f"export: --out is {str(path)!r}, expected a file name with .{to}")
    if with_preprocessing and to != "onnx":
        other = "a py program has it anyway" if to == "py" else f"{to} has only weights"
        raise ValueError(f"export: --with-preprocessing is for --to onnx; {other}")
    written = files(path)
    for each in written:
        if each.exists() and not force:
            raise ValueError(f"export: {each} exists; choose another --out, or --force overwrites")
    trained = load_run(run, weights)
    try:
        options = {"pixels": True} if with_preprocessing else {}
        getattr(deployment, WRITERS[to])(trained, path, **options)
    except CaptureError as error:
        raise ValueError(f"export: {run}: {error}") from error
    for each in written:
        kilobytes = f"  {each.stat().st_size / 1000:,.1f} kB"
        console().print(Text.assemble((str(each), ACCENT), kilobytes))
    return 0
