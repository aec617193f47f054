"""``tinygrad-cnn train``: its options, each a setting of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from tinygrad_cnn.cli.config import show_config, use_config
from tinygrad_cnn.cli.options import (
    Debug,
    choice,
    choices,
    data_option,
    integer,
    interval,
    number,
    option,
    usual,
)
from tinygrad_cnn.nn import MODELS
from tinygrad_cnn.train import AUGMENTATIONS, LOGS, METRICS, OPTIMIZERS, SCHEDULES
from tinygrad_cnn.train.settings import MONITORS, OWN_METRIC

__all__ = ["train"]

THEIR_LR = ", ".join(f"{name} {row.defaults['lr']:g}" for name, row in OPTIMIZERS.items())


def _batch_size(text: str) -> int:
    if text == "all":
        return 0
    if not text.isdecimal():
        raise typer.BadParameter(f"{text!r}, expected an integer >= 0, or all")
    return int(text)


def _size(text: str) -> Any:
    parts = text.lower().split("x")
    if len(parts) not in (1, 2) or not all(part.isdecimal() and int(part) for part in parts):
        raise typer.BadParameter(f"{text!r}, expected HxW with positive integers, or one of them")
    height, *width = map(int, parts)
    return height, *(width or [height])


def train(
    context: typer.Context,
    data: Annotated[str | None, data_option("The training and test images", "digits")] = None,
    model: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL",
            help=f"{', '.join(MODELS)}, or your own: path/to/file.py:Class, or file.onnx, "
            "whose weights are trained further.",
            show_default="lenet5",
        ),
    ] = None,
    epochs: Annotated[
        int | None,
        integer("Number of passes over the training images.", show_default=usual("epochs")),
    ] = None,
    batch_size: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            parser=_batch_size,
            help="Images per update; 0 or all: the whole training set.",
            show_default=usual("batch_size"),
        ),
    ] = None,
    optimizer: Annotated[
        str | None, choice("The optimizer", OPTIMIZERS, show_default=usual("optimizer"))
    ] = None,
    lr: Annotated[
        float | None,
        number(
            "Learning rate; the maximum of a onecycle schedule. An --optimizer other than the "
            f"default has its own: {THEIR_LR}.",
            show_default=usual("lr"),
        ),
    ] = None,
    schedule: Annotated[
        str | None, choice("Learning-rate schedule", SCHEDULES, show_default=usual("schedule"))
    ] = None,
    augment: Annotated[
        str | None,
        choice(
            "Random changes of the training images", AUGMENTATIONS, show_default=usual("augment")
        ),
    ] = None,
    weight_decay: Annotated[
        float | None,
        number(
            "Weight decay; 0 with an --optimizer other than the default.",
            least=">= 0",
            show_default=usual("weight_decay"),
        ),
    ] = None,
    options: Annotated[list[Any] | None, option()] = None,
    size: Annotated[
        Any,
        typer.Option(
            metavar="HxW",
            parser=_size,
            help="Scale the images of a folder to this height and width, such as 64x64, or 64.",
            show_default="as they are",
        ),
    ] = None,
    grayscale: Annotated[
        bool | None,
        typer.Option(
            "--grayscale/--color",
            help="Read the images of a folder in gray, or in color.",
            show_default="as they are",
        ),
    ] = None,
    metrics: Annotated[
        Any,
        choices(
            "Further metrics per epoch",
            METRICS,
            OWN_METRIC,
            "your own in the file of your model, path/to/file.py:NAME",
            show_default="none",
        ),
    ] = None,
    val_split: Annotated[
        float | None,
        number(
            "Fraction of the training images to set aside for validation. The metrics per epoch "
            "are then measured on them, and the test images are used only at the end.",
            least=">= 0",
            below=1.0,
            show_default=usual("val_split"),
        ),
    ] = None,
    monitor: Annotated[
        str | None,
        choice(
            "Metric of the validation set that decides which epoch is the best; its weights are "
            "in best.safetensors",
            MONITORS,
            show_default=MONITORS[0],
        ),
    ] = None,
    patience: Annotated[
        int | None,
        integer(
            "Stop after N epochs without a better one, by --monitor; needs a validation set.",
            show_default="train all epochs",
        ),
    ] = None,
    seed: Annotated[
        int | None,
        integer(
            "Seed of weights, order and augmentation; the same seed gives bit-identical weights.",
            least=0,
            show_default=usual("seed"),
        ),
    ] = None,
    threads: Annotated[
        int | None,
        integer(
            "Maximum number of threads, of each process.",
            show_default="one per core; with --distributed, one",
        ),
    ] = None,
    compile: Annotated[
        bool | None,
        typer.Option(
            "--compile/--no-compile",
            help="Capture the training step once, and replay it: faster, and with NumPy only the "
            "same results to the last bit. Not with --distributed.",
            show_default="--no-compile",
        ),
    ] = None,
    distributed: Annotated[
        bool,
        typer.Option(
            "--distributed",
            help="Divide each batch among the processes that mpiexec started, also on several "
            "machines: mpiexec -n 4 tinygrad-cnn train --distributed. Only the first process "
            "prints and writes files. Can be given with --resume, for any number of processes.",
        ),
    ] = False,
    sync_batch_norm: Annotated[
        bool | None,
        typer.Option(
            "--sync-batch-norm/--no-sync-batch-norm",
            help="With --distributed, take the statistics of batch norms over the whole batch, as "
            "one process does, or over the part of each process.",
            show_default="--sync-batch-norm",
        ),
    ] = None,
    rank_timeout: Annotated[
        float | None,
        number(
            "With --distributed, seconds after which a process that keeps the others waiting ends "
            "the run.",
            show_default="600",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Folder to write the run to.",
            show_default="runs/MODEL-DATA-NUMBER",
        ),
    ] = None,
    resume: Annotated[
        Path | None,
        typer.Option(
            metavar="RUN",
            help="Resume this interrupted run, with its settings and bit-identical results. Only "
            "--epochs, --patience, --data (moved, but unchanged) and --checkpoint-every can be "
            "changed, and --quiet, --distributed and --rank-timeout given.",
        ),
    ] = None,
    checkpoint_every: Annotated[
        Any,
        interval(
            "Distance between two checkpoints within an epoch: a number of steps, or a time such "
            "as 60s, 5m or 1h. One is written after each epoch in any case.",
            show_default=usual("checkpoint_every"),
        ),
    ] = None,
    log: Annotated[
        Any,
        choices("Further logs in the run folder", LOGS, show_default="none"),
    ] = None,
    log_every: Annotated[
        int | None,
        integer("Number of batches between two lines of the logs.", show_default="one epoch"),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.toml",
            callback=use_config,
            is_eager=True,
            help="Take options from this TOML file; those on the command line come first.",
        ),
    ] = None,
    print_config: Annotated[
        bool,
        typer.Option(
            "--print-config", help="Train nothing; print all settings as a file for --config."
        ),
    ] = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Print only the accuracy and the run folder.")
    ] = False,
    debug: Debug = False,
) -> int:
    """Train a model; by default LeNet-5 on the embedded digits."""
    from tinygrad_cnn.cli.training import join_ranks
    from tinygrad_cnn.cli.training import train as run

    if config is not None and resume is not None:
        raise ValueError(f"--resume uses the settings of {resume}; leave out --config")
    if print_config and resume is None:
        return show_config(context.params)
    chosen = {
        "epochs": epochs,
        "batch_size": batch_size,
        "optimizer": optimizer,
        "lr": lr,
        "schedule": schedule,
        "augment": augment,
        "weight_decay": weight_decay,
        "seed": seed,
        "threads": threads,
        "val_split": val_split,
        "metrics": metrics,
        "checkpoint_every": checkpoint_every,
        "monitor": monitor,
        "patience": patience,
        "log": log,
        "log_every": log_every,
        "sync_batch_norm": sync_batch_norm,
        "compile": compile,
    }
    reading = {"size": size, "grayscale": grayscale}
    ranks = join_ranks(distributed, rank_timeout)
    return run(data, model, chosen, reading, options or [], out, resume, quiet, print_config, ranks)
