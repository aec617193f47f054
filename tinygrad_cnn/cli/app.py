"""The command line application: all commands and their options."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from tinygrad_cnn.cli.errors import Commands

__all__ = ["app", "main"]

app = typer.Typer(
    cls=Commands,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _data_help(verb: str) -> str:
    return (
        f"What to {verb}: [bold]digits[/bold] (in the package), [bold]mnist[/bold], "
        "[bold]fashion-mnist[/bold], a folder (IDX files, or a folder of images per class) or a "
        ".npz file."
    )


Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]
RunArgument = Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a training.")]
ModelArgument = Annotated[
    str,
    typer.Argument(
        metavar="MODEL",
        help="[bold]lenet5[/bold], mlp, vgg, path/to/file.py:Class, or the folder of a training.",
    ),
]
DataOption = Annotated[
    str | None, typer.Option(metavar="DATA", help=_data_help("look at the model with"))
]
ImagesOption = Annotated[int, typer.Option(metavar="N", min=1, help="How many images.")]
SeedOption = Annotated[int, typer.Option(metavar="N", help="What new weights are drawn from.")]


def main() -> None:
    """Run the command line."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a terminal whose encoding lacks "→" gets "?"
    app(prog_name="tinygrad-cnn")


def _show_version(wanted: bool) -> None:
    if wanted:
        from tinygrad_cnn import __version__

        typer.echo(f"tinygrad-cnn {__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def tinygrad_cnn(
    context: typer.Context,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version."),
    ] = False,
    debug: Debug = False,
) -> None:
    """Train convolutional networks on images, and use them.

    [bold]tinygrad-cnn train[/bold] alone trains LeNet-5 on 10,000 handwritten digits.
    """
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


@app.command()
def train(
    data: Annotated[str | None, typer.Option(metavar="DATA", help=_data_help("learn"))] = None,
    model: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL",
            help="[bold]lenet5[/bold], mlp, vgg, or your own: path/to/file.py:Class.",
        ),
    ] = None,
    epochs: Annotated[
        int | None, typer.Option(metavar="N", help="How often to go through all images.")
    ] = None,
    batch_size: Annotated[
        str | None, typer.Option(metavar="N", help="Images a step; 0 or all: the whole set.")
    ] = None,
    optimizer: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="sgd, momentum, nesterov, adam, adamw or rmsprop."),
    ] = None,
    lr: Annotated[
        float | None, typer.Option(metavar="X", help="The learning rate, or its peak.")
    ] = None,
    schedule: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="constant, step, cosine, onecycle or plateau."),
    ] = None,
    augment: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="none, shift, affine or elastic."),
    ] = None,
    weight_decay: Annotated[
        float | None, typer.Option(metavar="X", help="The pull of all weights to zero.")
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(metavar="N", help="The same seed gives the same weights, bit by bit."),
    ] = None,
    threads: Annotated[
        int | None, typer.Option(metavar="N", help="How many the computation may use.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Where to write; by default runs/MODEL-DATA-NUMBER."),
    ] = None,
    resume: Annotated[
        Path | None,
        typer.Option(metavar="RUN", help="Go on with an interrupted training, to the same bits."),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print the result only.")] = False,
    debug: Debug = False,
) -> int:
    """Train a model: without options LeNet-5, on the embedded digits."""
    from tinygrad_cnn.cli.training import train as run

    chosen = {
        "epochs": epochs,
        "batch_size": _batch_size(batch_size),
        "optimizer": optimizer,
        "lr": lr,
        "schedule": schedule,
        "augment": augment,
        "weight_decay": weight_decay,
        "seed": seed,
        "threads": threads,
    }
    return run(data, model, chosen, out, resume, quiet)


@app.command()
def evaluate(
    run: RunArgument,
    data: Annotated[
        str | None,
        typer.Option(metavar="DATA", help=_data_help("test with") + " By default the run's own."),
    ] = None,
    debug: Debug = False,
) -> int:
    """Measure a trained model on test images."""
    from tinygrad_cnn.cli.using import evaluate as measure

    return measure(run, data)


@app.command()
def predict(
    run: RunArgument,
    images: Annotated[
        list[Path],
        typer.Argument(
            metavar="IMAGE...", help="PNG, JPEG, WebP, BMP, GIF, TIFF or PPM files of any size."
        ),
    ],
    as_mnist: Annotated[
        bool,
        typer.Option(
            "--as-mnist",
            help="Crop, scale and center the ink as MNIST's digits; by default only for a model of "
            "digits or mnist. Others get the image as their training images were read.",
        ),
    ] = False,
    debug: Debug = False,
) -> int:
    """Say what is on images, and how probable each class is."""
    from tinygrad_cnn.cli.using import predict as classify

    return classify(run, images, as_mnist)


@app.command()
def check(
    ops: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="OP",
            help="Names of ops, or a Python file that declares and registers some; by default all.",
        ),
    ] = None,
    examples: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="How many calls of each op to try (50).")
    ] = None,
    seed: Annotated[int, typer.Option(metavar="N", help="What the calls are drawn from.")] = 0,
    debug: Debug = False,
) -> int:
    """Check that the derivatives of ops are right."""
    from tinygrad_cnn.cli.checking import check as run

    return run(ops or [], examples, seed)


@app.command()
def draw(
    model: ModelArgument,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Where to write: .svg, .png, .pdf, .dot, .json, or .html to step through; "
            "by default MODEL.svg.",
        ),
    ] = None,
    depth: Annotated[
        int | None,
        typer.Option(metavar="N", help="Fold what modules contain; at 1 each layer is one node."),
    ] = None,
    gradients: Annotated[
        bool, typer.Option("--gradients/--no-gradients", help="Show what flows back.")
    ] = False,
    values: Annotated[bool, typer.Option("--values", help="Show what is in the arrays.")] = False,
    heat: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Colour the nodes by gradient, time or memory."),
    ] = None,
    data: DataOption = None,
    images: ImagesOption = 8,
    seed: SeedOption = 0,
    debug: Debug = False,
) -> int:
    """Draw a model: what it computes, and how the gradients flow back."""
    from tinygrad_cnn.cli.drawing import draw as run

    options = {"depth": depth, "gradients": gradients, "values": values, "heat": heat}
    return run(model, data, images, seed, out, options)


@app.command()
def derive(
    model: ModelArgument,
    wrt: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="The parameter to differentiate by, such as fc1.weight."),
    ] = None,
    depth: Annotated[
        int | None,
        typer.Option(metavar="N", help="Fold what modules contain; 0 shows every op."),
    ] = None,
    form: Annotated[
        str, typer.Option("--format", metavar="NAME", help="text, latex or markdown.")
    ] = "text",
    data: DataOption = None,
    images: ImagesOption = 1,
    seed: SeedOption = 0,
    debug: Debug = False,
) -> int:
    """Write out the chain rule, from the error down to a weight."""
    from tinygrad_cnn.cli.deriving import derive as run

    return run(model, wrt, data, images, seed, depth, form)


@app.command()
def bench(
    workloads: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="WORKLOAD",
            help="Names such as lenet5-64, or patterns such as 'vgg*'; by default all.",
        ),
    ] = None,
    against: Annotated[
        str | None,
        typer.Option(
            metavar="PEERS",
            help="Some of torch,mygrad,autograd,jax, or none; by default those installed.",
        ),
    ] = None,
    python: Annotated[
        list[str] | None,
        typer.Option(metavar="PEER=PATH", help="Another interpreter, which has the peer."),
    ] = None,
    threads: Annotated[
        str | None, typer.Option(metavar="N,...", help="How many threads each side gets (1,2).")
    ] = None,
    parts: Annotated[
        str | None,
        typer.Option(metavar="PARTS", help="Some of steps,ops,memory,overhead; by default all."),
    ] = None,
    figure: Annotated[
        Path | None, typer.Option(metavar="FILE.png", help="Draw the roofline of the ops.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON in place of tables.")] = False,
    quick: Annotated[bool, typer.Option("--quick", help="Less of all, in a minute.")] = False,
    debug: Debug = False,
) -> int:
    """Measure how fast it is on this machine, in turns with whatever peers are installed."""
    from tinygrad_cnn.cli.measuring import bench as run

    return run(workloads or [], against, python or [], threads, parts, figure, json, quick)


@app.command()
def experiment(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="NAME",
            help="Names of experiments (see --list), [bold]all[/bold], or path/to/file.py with "
            "one of your own.",
        ),
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(metavar="VARIANT", help="Do this variant alone; may be given repeatedly."),
    ] = None,
    seeds: Annotated[
        int | None, typer.Option(metavar="N", help="Runs of each variant (mostly 5).")
    ] = None,
    jobs: Annotated[
        int | None, typer.Option(metavar="N", help="Runs side by side; by default one a core.")
    ] = None,
    out: Annotated[
        Path, typer.Option(metavar="FOLDER", help="Where finished runs are kept.")
    ] = Path("experiments"),
    only_list: Annotated[
        bool, typer.Option("--list", help="Print what there is, and what is done.")
    ] = False,
    write: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER", help="Write page, figures and tables of what is done, here."
        ),
    ] = None,
    debug: Debug = False,
) -> int:
    """Answer a question about efficiency by measuring, or go on where that was cut off."""
    from tinygrad_cnn.cli.experimenting import experiment as run

    return run(names or [], only or [], seeds, jobs, out, only_list, write)


@app.command()
def studio(
    host: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="The name or address to listen at; one that other machines can reach needs a "
            "token.",
        ),
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(metavar="N", help="The port to listen at; 0 takes a free one.")
    ] = 8017,
    data_dir: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Where models, drawings and trainings are kept; by default your folder for such.",
        ),
    ] = None,
    token: Annotated[
        str | None,
        typer.Option(
            metavar="TOKEN",
            envvar="TINYGRAD_CNN_STUDIO_TOKEN",
            help="What a client must present: 16 or more letters and digits.",
        ),
    ] = None,
    browser: Annotated[
        bool, typer.Option("--browser/--no-browser", help="Open the studio in the browser.")
    ] = True,
    debug: Debug = False,
) -> int:
    """Draw digits, watch a network see them, and teach it: in the browser."""
    from tinygrad_cnn.cli.serving import studio as run

    return run(host, port, data_dir, token, browser)


def _batch_size(text: str | None) -> int | None:
    if text is None:
        return None
    if text == "all":
        return 0
    try:
        return int(text)
    except ValueError:
        raise typer.BadParameter(
            f"{text!r}, expected a whole number, or all", param_hint="--batch-size"
        ) from None
