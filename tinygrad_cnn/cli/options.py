"""Options of the commands: the values they take, and their defaults and choices in the help."""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated, Any

import typer

from tinygrad_cnn.nn import MODELS
from tinygrad_cnn.train import RECIPES, TrainingSettings
from tinygrad_cnn.train.interval import Interval
from tinygrad_cnn.train.run_folder import WEIGHTS

__all__ = [
    "FILE_OPTIONS",
    "PARTS",
    "Debug",
    "ImagesOption",
    "ModelArgument",
    "RunArgument",
    "SampleOption",
    "SeedOption",
    "WeightsOption",
    "choice",
    "choices",
    "data_option",
    "integer",
    "interval",
    "number",
    "option",
    "option_value",
    "usual",
]

FILE_OPTIONS = "tinygrad_cnn.options"
"""Where the ``meta`` of a command's context has the options of its settings file, as texts."""
PARTS = ("model", "optimizer", "schedule")
WORDS = {"true": True, "false": False, "inf": math.inf, "-inf": -math.inf, "nan": math.nan}


def integer(help: str, least: int = 1, **shown: Any) -> Any:
    """Return an option that takes an integer of at least `least`."""
    return _option("N", help, int, lambda n: n >= least, f"an integer >= {least}", shown)


def number(help: str, least: str = "> 0", below: float = math.inf, **shown: Any) -> Any:
    """Return an option that takes a number: a positive one, or also 0 with ``">= 0"``."""
    fits = {"> 0": lambda x: 0 < x < below, ">= 0": lambda x: 0 <= x < below}[least]
    limit = f" and < {below:g}" if below < math.inf else ""
    return _option("X", help, float, fits, f"a finite number {least}{limit}", shown)


def choice(help: str, names: Iterable[str], *flags: str, **shown: Any) -> Any:
    """Return an option that takes one of `names`; its help lists them."""
    listed = ", ".join(names)

    def read(text: str) -> str:
        if text not in listed.split(", "):
            raise typer.BadParameter(f"{text!r}, expected one of {listed}")
        return text

    return typer.Option(*flags, metavar="NAME", help=f"{help}: {listed}.", parser=read, **shown)


def choices(
    help: str,
    names: Iterable[str],
    others: re.Pattern[str] | None = None,
    example: str = "",
    **shown: Any,
) -> Any:
    """Return an option that takes some of `names`, separated by commas; its help lists them.

    It also takes `others`, of which the help has an `example`.
    """
    known = list(names)
    listed = ", ".join(known) + (f"; or {example}" if example else "")

    def read(text: str) -> Any:
        given = [name.strip() for name in text.split(",")]
        for name in given:
            if name not in known and not (others and others.fullmatch(name)):
                raise typer.BadParameter(f"{name!r}, expected some of {listed}")
        return list(dict.fromkeys(given))

    help = f"{help}, separated by commas: {listed}."
    return typer.Option(metavar="NAME,...", help=help, parser=read, **shown)


def interval(help: str, **shown: Any) -> Any:
    """Return an option that takes a number of steps, or a time."""

    def read(text: str) -> Any:
        try:
            Interval.parse("interval", text)
        except ValueError as error:
            raise typer.BadParameter(str(error).removeprefix("interval is ")) from None
        return int(text) if text.isdecimal() else text

    return typer.Option(metavar="STEPS|TIME", help=help, parser=read, **shown)


def option() -> Any:
    """Return the option that takes an option of the model, the optimizer or the schedule."""
    example = "optimizer.betas=0.9,0.95"

    def read(text: str) -> tuple[str, str, Any]:
        target, equals, value = text.partition("=")
        part, _, name = target.partition(".")
        if part not in PARTS or not name or not equals:
            raise typer.BadParameter(
                f"{text!r}, expected PART.NAME=VALUE with a PART of {', '.join(PARTS)}, such as "
                f"{example}"
            )
        return part, name, option_value(value)

    def joined(context: typer.Context, param: typer.CallbackParam, given: Any) -> Any:
        """Put the options of a settings file before those of the command line."""
        source = context.get_parameter_source(param.name or "")
        if source is None or source.name != "COMMANDLINE":
            return given
        return [*map(read, context.meta.get(FILE_OPTIONS, ())), *given]

    return typer.Option(
        "--option",
        callback=joined,
        metavar="PART.NAME=VALUE",
        help=f"An option of the {', '.join(PARTS[:-1])} or {PARTS[-1]}, such as {example} or "
        "model.activation=tanh; may be repeated. A wrong name lists all.",
        parser=read,
        show_default="none",
    )


def option_value(text: str) -> Any:
    """Return the number, list or truth value that `text` writes, or the text itself.

    Examples
    --------
    >>> option_value("0.9,0.95"), option_value("tanh"), option_value("true")
    ((0.9, 0.95), 'tanh', True)
    """
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):  # the last two: nested deeply
        return WORDS.get(text.lower(), text)


def _data_help(use: str) -> str:
    return (
        f"{use}: [bold]digits[/bold] or [bold]shapes[/bold] (part of the package), "
        "[bold]mnist[/bold], [bold]fashion-mnist[/bold], [bold]kmnist[/bold], "
        "[bold]cifar10[/bold], [bold]cifar100[/bold], a folder (IDX files, or one "
        "folder of images per class) or a .npz file."
    )


def data_option(use: str, default: str) -> Any:
    """Return an option that takes the name or path of data."""
    return typer.Option(metavar="DATA", help=_data_help(use), show_default=default)


def usual(setting: str) -> str:
    """Return the default of a training setting, by data set, as text.

    Examples
    --------
    >>> usual("epochs"), usual("schedule")
    ('15 for digits, european-digits, shapes, else 20', 'onecycle')
    """
    otherwise = getattr(TrainingSettings(), setting)
    sources: dict[Any, list[str]] = {}
    for source, settings in RECIPES.items():
        sources.setdefault(getattr(settings, setting), []).append(source)
    sources.pop(otherwise, None)
    special = [f"{_plain(value)} for {', '.join(names)}" for value, names in sources.items()]
    return ", ".join([*special, f"else {_plain(otherwise)}"] if special else [_plain(otherwise)])


def _plain(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _option(
    metavar: str,
    help: str,
    kind: Callable[[str], float],
    fits: Callable[[float], bool],
    expected: str,
    shown: dict[str, Any],
) -> Any:
    def read(text: str) -> float:
        try:
            value = kind(text)
        except ValueError:
            value = math.nan
        if not fits(value):
            raise typer.BadParameter(f"{text!r}, expected {expected}")
        return value

    return typer.Option(metavar=metavar, help=help, parser=read, **shown)


Debug = Annotated[bool, typer.Option("--debug", help="On an error, show the traceback.")]
RunArgument = Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a run.")]
WeightsOption = Annotated[
    str | None,
    choice(
        "Weights of the best epoch, by the validation set, or of the last",
        WEIGHTS,
        show_default="best, or last for a run without a validation set",
    ),
]
ModelArgument = Annotated[
    str,
    typer.Argument(
        metavar="MODEL",
        help=f"{', '.join(MODELS)}, path/to/file.py:Class, file.onnx, or the folder of a run.",
    ),
]
SampleOption = Annotated[
    str | None, data_option("Source of the images", "digits, or the data of the run")
]
ImagesOption = Annotated[int, integer("Number of images in the batch.")]
SeedOption = Annotated[int, integer("Seed of a new model's weights.", least=0)]
