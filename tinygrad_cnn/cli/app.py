"""The command line application: its commands and their options."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from tinygrad_cnn.bench.benchmark import PARTS
from tinygrad_cnn.bench.sides import PEERS, WAYS
from tinygrad_cnn.cli.errors import Commands, prepare_streams
from tinygrad_cnn.cli.exporting import export
from tinygrad_cnn.cli.importing import import_model
from tinygrad_cnn.cli.options import (
    Debug,
    ImagesOption,
    ModelArgument,
    RunArgument,
    SampleOption,
    SeedOption,
    WeightsOption,
    choice,
    data_option,
    integer,
    number,
)
from tinygrad_cnn.cli.train_command import train
from tinygrad_cnn.derivation.derivation import FORMATS as DERIVATIONS
from tinygrad_cnn.drawing.drawing import FORMATS
from tinygrad_cnn.drawing.heat import HEATS
from tinygrad_cnn.drawing.layout import TIME_LIMIT
from tinygrad_cnn.drawing.style import PAGES, PLAIN, RANKDIRS, THEMES, Style
from tinygrad_cnn.support.version import __version__

__all__ = ["app", "main"]

CODES = """[bold]Exit codes:[/bold] 0, success; 1, the work failed: a gradient is wrong, training \
diverged, a benchmark is slower than before, a file could not be written; 2, the call was wrong: \
the message has the bad value and the expected one; 130, interrupted; 141, the program that read \
the output has ended; 143, terminated. With --debug, or \
TINYGRAD_CNN_DEBUG=1 in the environment, an error shows its traceback."""

app = typer.Typer(
    cls=Commands,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def main() -> None:
    """Run the command line."""
    prepare_streams()
    app(prog_name="tinygrad-cnn")


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"tinygrad-cnn {__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True, epilog=CODES)
def tinygrad_cnn(
    context: typer.Context,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version."),
    ] = False,
    debug: Debug = False,
) -> None:
    """Train convolutional networks on images, and inspect them.

    [bold]tinygrad-cnn train[/bold] alone trains LeNet-5 on 10,000 handwritten digits.
    """
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


app.command()(train)


@app.command(
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
    epilog="All other options are those of [bold]train[/bold], for every run: "
    "--config run.toml, --data mnist, --epochs 5, ...",
)
def sweep(
    context: typer.Context,
    vary: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY=V1,V2,...",
            help="Values of an option of train, such as lr=0.001,0.01, or of PART.NAME, such as "
            "model.activation=relu,tanh; may be repeated, for every combination.",
            show_default="one combination",
        ),
    ] = None,
    seeds: Annotated[
        int, integer("Number of runs of each combination: with --seed, and the seeds after it.")
    ] = 3,
    jobs: Annotated[
        int | None, integer("Number of runs in parallel.", show_default="one per core")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Folder of the runs and their results.",
            show_default="sweeps/MODEL-DATA-KEYS",
        ),
    ] = None,
    debug: Debug = False,
) -> int:
    """Train with every combination of settings and several seeds, side by side, and compare.

    Finished runs are kept, interrupted ones resume. Settings are compared on a validation set:
    --val-split is 0.1 and --monitor accuracy, unless given. --seed is the first of the seeds.
    """
    from tinygrad_cnn.cli.sweeping import run_sweep

    commands: Any = typer.main.get_command(app)
    return run_sweep(commands.commands["train"], context.args, vary or [], seeds, jobs, out)


@app.command()
def evaluate(
    run: RunArgument,
    weights: WeightsOption = None,
    data: Annotated[
        str | None, data_option("The test images", "the test images of the run")
    ] = None,
    debug: Debug = False,
) -> int:
    """Measure the accuracy of a trained model on test images."""
    from tinygrad_cnn.cli.using import evaluate as measure

    return measure(run, data, weights)


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
            help="Crop, scale and center the ink as in MNIST. A model of digits or mnist does so "
            "anyway; for other models, images are by default prepared like their training images.",
        ),
    ] = False,
    weights: WeightsOption = None,
    debug: Debug = False,
) -> int:
    """Classify images, and print the probability of each class."""
    from tinygrad_cnn.cli.using import predict as classify

    return classify(run, images, as_mnist, weights)


app.command()(export)
app.command("import")(import_model)


@app.command()
def check(
    ops: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="OP",
            help="Names of ops, or Python files that declare some.",
            show_default="all ops",
        ),
    ] = None,
    examples: Annotated[
        int | None, integer("Number of calls of each op to try.", show_default="50")
    ] = None,
    seed: Annotated[int, integer("Seed of the calls.", least=0)] = 0,
    debug: Debug = False,
) -> int:
    """Check the derivatives of ops against finite differences; exit code 1 if one is wrong."""
    from tinygrad_cnn.cli.checking import check as run

    return run(ops or [], examples, seed)


@app.command()
def draw(
    model: ModelArgument,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help=f"Output file: {', '.join(FORMATS)} (a page to step through).",
            show_default="MODEL.svg",
        ),
    ] = None,
    depth: Annotated[
        int | None,
        integer(
            "Fold modules below this depth; at 1 each layer is one node.",
            show_default="every op",
        ),
    ] = None,
    gradients: Annotated[
        bool, typer.Option("--gradients/--no-gradients", help="Show the gradients that flow back.")
    ] = False,
    values: Annotated[bool, typer.Option("--values", help="Show the values of arrays.")] = False,
    heat: Annotated[
        str | None, choice("Quantity that colors the nodes", HEATS, show_default="none")
    ] = None,
    rankdir: Annotated[str, choice("Direction of the forward pass", RANKDIRS)] = "TB",
    page: Annotated[
        str | None,
        choice("Page size, to which a larger drawing is scaled down", PAGES, show_default="none"),
    ] = None,
    font: Annotated[
        str, typer.Option(metavar="NAME", help="Font, or several separated by commas.")
    ] = PLAIN.font,
    dpi: Annotated[int, integer("Pixels per inch of a .png file.")] = PLAIN.dpi,
    labels: Annotated[
        bool, typer.Option("--labels/--no-labels", help="Show more than the names of nodes.")
    ] = True,
    theme: Annotated[
        str, choice("Colors; auto is transparent and adapts to the page", THEMES)
    ] = "auto",
    time_limit: Annotated[
        float,
        number("Seconds for the layout, after which labels are dropped and modules folded."),
    ] = TIME_LIMIT,
    data: SampleOption = None,
    images: ImagesOption = 8,
    seed: SeedOption = 0,
    debug: Debug = False,
) -> int:
    """Draw the computation graph of a model, forward and backward."""
    from tinygrad_cnn.cli.drawing import draw as run

    options = {
        "depth": depth,
        "gradients": gradients,
        "values": values,
        "heat": heat,
        "style": Style(rankdir, page, font, dpi, labels, theme),  # type: ignore[arg-type]
        "time_limit": time_limit,
    }
    return run(model, data, images, seed, out, options)


@app.command()
def derive(
    model: ModelArgument,
    wrt: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="The parameter to differentiate with respect to, such as fc1.weight. Required; "
            "without it, the error lists the parameters.",
        ),
    ] = None,
    depth: Annotated[
        int | None,
        integer(
            "Fold the factors of each module at this depth into one; 0 shows every op.",
            least=0,
            show_default="fold if there are many",
        ),
    ] = None,
    form: Annotated[
        str, choice("Output format", [each.__name__ for each in DERIVATIONS.values()], "--format")
    ] = "text",
    data: SampleOption = None,
    images: ImagesOption = 1,
    seed: SeedOption = 0,
    debug: Debug = False,
) -> int:
    """Write out the chain rule, from the loss to one parameter."""
    from tinygrad_cnn.cli.deriving import derive as run

    return run(model, wrt, data, images, seed, depth, form)


@app.command()
def bench(
    workloads: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="WORKLOAD",
            help="Names such as lenet5-64, or patterns such as 'vgg*'.",
            show_default="all workloads",
        ),
    ] = None,
    ours: Annotated[
        str | None,
        typer.Option(
            metavar="WAYS",
            help=f"Ways to run this package, separated by commas: {', '.join(WAYS)}.",
            show_default="eager and the fastest available",
        ),
    ] = None,
    against: Annotated[
        str | None,
        typer.Option(
            metavar="PEERS",
            help=f"Frameworks to compare with, separated by commas: {', '.join(PEERS)}, or none.",
            show_default="those installed",
        ),
    ] = None,
    python: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PEER=PATH",
            help="Python interpreter that has this framework installed; may be repeated.",
            show_default="this Python",
        ),
    ] = None,
    threads: Annotated[
        str | None,
        typer.Option(
            metavar="N,...",
            help="Numbers of threads, separated by commas; each is measured.",
            show_default="1,2",
        ),
    ] = None,
    parts: Annotated[
        str | None,
        typer.Option(
            metavar="PARTS",
            help=f"What to measure, separated by commas: {', '.join(PARTS)}.",
            show_default="all parts",
        ),
    ] = None,
    figure: Annotated[
        Path | None,
        typer.Option(metavar="FILE.png", help="Draw the roofline of the ops into this file."),
    ] = None,
    page: Annotated[
        Path | None,
        typer.Option(metavar="FILE.md", help="Write the results into this page, as Markdown."),
    ] = None,
    compare: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.json",
            help="Compare with this output of --json; exit code 1 if something became slower, "
            "is missing now, or could not be compared.",
        ),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
    quick: Annotated[
        bool, typer.Option("--quick", help="Measure less, in about a minute.")
    ] = False,
    debug: Debug = False,
) -> int:
    """Benchmark this package on this machine, side by side with the frameworks installed."""
    from tinygrad_cnn.cli.benchmarking import bench as run

    return run(
        workloads or [],
        ours,
        against,
        python or [],
        threads,
        parts,
        figure,
        page,
        compare,
        json,
        quick,
    )


@app.command()
def experiment(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="NAME",
            help="Names of experiments (--list prints them), [bold]all[/bold], or "
            "path/to/file.py with your own.",
        ),
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(
            metavar="VARIANT", help="Run only this variant; may be repeated.", show_default="all"
        ),
    ] = None,
    seeds: Annotated[
        int | None,
        integer("Number of seeds of each variant.", show_default="the experiment's own, often 5"),
    ] = None,
    jobs: Annotated[
        int | None, integer("Number of runs in parallel.", show_default="one per core")
    ] = None,
    out: Annotated[
        Path, typer.Option(metavar="FOLDER", help="Folder of the finished runs.")
    ] = Path("experiments"),
    only_list: Annotated[
        bool, typer.Option("--list", help="Print the experiments and how many runs are done.")
    ] = False,
    write: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Run nothing; write page, figures and tables of the finished runs to this folder.",
        ),
    ] = None,
    debug: Debug = False,
) -> int:
    """Run experiments on efficiency; finished runs are kept, only missing ones are done."""
    from tinygrad_cnn.cli.experimenting import experiment as run

    return run(names or [], only or [], seeds, jobs, out, only_list, write)


@app.command()
def studio(
    host: Annotated[
        str,
        typer.Option(metavar="NAME", help="Name or address to listen on."),
    ] = "127.0.0.1",
    port: Annotated[int, integer("Port to listen on; 0 picks a free one.", least=0)] = 8017,
    data_dir: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Folder of models, drawings and runs.",
            show_default="your user data folder",
        ),
    ] = None,
    public_url: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            envvar="TINYGRAD_CNN_STUDIO_PUBLIC_URL",
            help="Address of a TLS proxy in front of the studio, like https://studio.example.org",
            show_default="none",
        ),
    ] = None,
    token: Annotated[
        str | None,
        typer.Option(
            metavar="TOKEN",
            envvar="TINYGRAD_CNN_STUDIO_TOKEN",
            help="Secret that clients must send: 16 to 256 letters, digits or any of . _ ~ -",
            show_default="generated once, kept in the folder",
        ),
    ] = None,
    concurrent_runs: Annotated[
        int | None,
        integer(
            "Maximum number of runs that train at the same time.",
            show_default="2, on a single core 1",
        ),
    ] = None,
    browser: Annotated[
        bool, typer.Option("--browser/--no-browser", help="Open the studio in the browser.")
    ] = True,
    debug: Debug = False,
) -> int:
    """Serve the studio: draw digits, see how a network classifies them, and teach it."""
    from tinygrad_cnn.cli.serving import studio as run

    return run(host, port, data_dir, public_url, token, concurrent_runs, browser)
