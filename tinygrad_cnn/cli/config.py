"""Settings files of ``tinygrad-cnn train``: TOML whose keys are the names of the options."""

from __future__ import annotations

import difflib
import json
import tomllib
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import typer

from tinygrad_cnn.cli.errors import FILE
from tinygrad_cnn.cli.options import FILE_OPTIONS, PARTS, option_value
from tinygrad_cnn.data import Split
from tinygrad_cnn.train import RunFolder, RunSettings, TrainingRun, TrainingSettings, recipe
from tinygrad_cnn.train.data_settings import DataSettings
from tinygrad_cnn.train.settings import OWN_METRIC

__all__ = [
    "NO_KEYS",
    "TrainArguments",
    "key_of",
    "nearest",
    "show_config",
    "to_toml",
    "use_config",
]

NO_KEYS = {"config", "print_config", "resume", "debug", "help"}
OPTION = "option"
OF_PARTS = {"optimizer": "optimizer_options", "schedule": "schedule_options"}


@dataclass(frozen=True)
class TrainArguments:
    """The data, model and settings that a command line and its settings file ask for.

    Attributes
    ----------
    data, model : str
        As for `TrainingRun.new`.
    training : TrainingSettings
    model_options : dict
    reading : dict
        "size" and "grayscale", or None.
    """

    data: str
    model: str
    training: TrainingSettings
    model_options: dict[str, Any]
    reading: dict[str, Any]

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> TrainArguments:
        """Return the arguments with the values of `train`'s parameters; None is the default."""
        data = "digits" if given["data"] is None else given["data"]
        parts: dict[str, dict[str, Any]] = {part: {} for part in PARTS}
        for part, name, value in given["options"] or ():
            parts[part][name] = value
        own = {field.name for field in fields(TrainingSettings)} & given.keys()
        training = recipe(
            data,
            **{name: given[name] for name in own},
            **{field: parts[part] for part, field in OF_PARTS.items()},
        )
        reading = {name: given[name] for name in ("size", "grayscale")}
        model = "lenet5" if given["model"] is None else given["model"]
        return cls(data, model, training, parts["model"], reading)

    def new_run(
        self, loaded: MutableMapping[str, tuple[Split, DataSettings]] | None = None
    ) -> TrainingRun:
        """Return the run that `train` would train, or raise what it would raise.

        Parameters
        ----------
        loaded : mutable mapping, optional
            Keeps the data for further calls.
        """
        return TrainingRun.new(
            self.data,
            self.model,
            self.training,
            self.model_options,
            **self.reading,
            loaded={} if loaded is None else loaded,
        )

    @classmethod
    def of_run(cls, settings: RunSettings, folder: Path) -> TrainArguments:
        """Return the arguments that give the settings of a run in a folder."""
        model, data, training = settings.model, settings.data, settings.training
        name = f"{folder / model.file}:{model.name}" if model.file else model.name
        reading = {"size": data.size, "grayscale": data.grayscale}
        own = [
            f"{folder / text}" if OWN_METRIC.fullmatch(text) else text for text in training.metrics
        ]
        training = replace(training, metrics=tuple(own))
        return cls(data.source, name, training, model.options, reading)

    def to_toml(self, **further: Any) -> str:
        """Return a settings file that asks for the same; `further` are more of its keys."""
        table: dict[str, Any] = {"data": self.data, "model": self.model}
        options = {"model": self.model_options}
        for field in fields(self.training):
            table[field.name] = getattr(self.training, field.name)
        for part, name in OF_PARTS.items():
            options[part] = table.pop(name)
        size = self.reading["size"]
        table["size"] = "x".join(map(str, size)) if size else None
        table["grayscale"] = self.reading["grayscale"]
        table |= further
        table = {name.replace("_", "-"): value for name, value in table.items() if value != ()}
        table[OPTION] = {
            part: {name: _option_text(value) for name, value in of_part.items()}
            for part, of_part in options.items()
            if of_part
        }
        return to_toml(table)


def show_config(given: Mapping[str, Any]) -> int:
    """Print the settings file of a command line, the values of `train`'s parameters; return 0."""
    out = given["out"]
    if out is not None:
        RunFolder.check_new(out)
    further = {name: given[name] or None for name in ("quiet", "distributed", "rank_timeout")}
    further["out"] = None if out is None else str(out)
    asked = TrainArguments.of(given)
    asked.new_run()
    typer.echo(asked.to_toml(**further), nl=False)
    return 0


def use_config(context: typer.Context, path: Path | None) -> Path | None:
    """Take the values of a settings file for the options that the command line does not give.

    Parameters
    ----------
    context : typer.Context
        Of the command; gets the values as its ``default_map``.
    path : Path or None

    Raises
    ------
    ValueError
        If the file is not valid TOML, or has an unknown key or a value of the wrong kind.
    OSError
        If it cannot be read.
    """
    if path is None:
        return None
    params = {param.name: param for param in context.command.params if param.name not in NO_KEYS}
    names = {key_of(param): name for name, param in params.items()}
    context.default_map = {}
    context.meta[FILE] = str(path)
    for key, value in _read(path).items():
        known = key.replace("_", "-")
        if known not in names:
            raise ValueError(f"{path}: unknown key {key!r}; {nearest(known, names)}")
        name = names[known]
        if name in context.default_map:
            raise ValueError(f"{path}: {known!r} is given twice")
        if known == OPTION:
            context.default_map[name] = list(_options(f"{path}: {key}", value))
            context.meta[FILE_OPTIONS] = context.default_map[name]
        elif getattr(params[name], "is_flag", False):
            if not isinstance(value, bool):
                raise ValueError(f"{path}: {key} is {value!r}, expected true or false")
            context.default_map[name] = value
        elif value != []:
            context.default_map[name] = _text(f"{path}: {key}", value)
    return path


def key_of(param: Any) -> str:
    """Return the key of an option: its long name."""
    return next(str(name) for name in param.opts if name.startswith("--")).removeprefix("--")


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except RecursionError:
        raise ValueError(f"{path}: is nested too deeply") from None
    except ValueError as error:
        raise ValueError(f"{path}: is not valid TOML: {error}") from error


def nearest(key: str, known: Sequence[str] | Mapping[str, Any]) -> str:
    """Return a hint for an unknown key: the nearest known one, or all."""
    near = difflib.get_close_matches(key, known, 1)
    return f"did you mean {near[0]!r}?" if near else f"expected {', '.join(sorted(known))}"


def _text(where: str, value: Any) -> str:
    """Return a value as the command line has it."""
    if isinstance(value, list):
        return ",".join(_text(where, item) for item in value)
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError(f"{where} is {value!r}, expected a number, a text or a list of them")
    return str(value)


def _options(where: str, table: Any) -> Iterator[str]:
    """Yield the options in a table of tables, as the command line has them."""
    if not isinstance(table, dict) or not all(isinstance(each, dict) for each in table.values()):
        example = f"[{OPTION}.optimizer]"
        raise ValueError(f"{where} is {table!r}, expected tables such as {example}")
    for part, options in table.items():
        if part not in PARTS:
            raise ValueError(f"{where}: unknown part {part!r}; {nearest(part, PARTS)}")
        for name, value in options.items():
            if not isinstance(value, str | int | float | list):
                raise ValueError(
                    f"{where}.{part}.{name} is {value!r}, expected a number, a text, true or "
                    "false, or a list of them"
                )
            yield f"{part}.{name}={value if isinstance(value, str) else repr(value)}"


def _option_text(value: Any) -> Any:
    """Return a value of an option as TOML has it: what it cannot write, as Python's text."""
    value = list(value) if isinstance(value, tuple) else value
    if isinstance(value, str):
        return value if option_value(value) == value else repr(value)
    if isinstance(value, int | float):
        return value
    if isinstance(value, list) and all(isinstance(item, str | int | float) for item in value):
        return value if option_value(repr(value)) == value else repr(value)
    return repr(value)


def to_toml(table: Mapping[str, Any]) -> str:
    r"""Return TOML; None, which it lacks, is left out.

    Values are texts, numbers, truth values and lists of them, so that a writer from a package
    would be longer in the list of dependencies than here.

    Parameters
    ----------
    table : mapping
        Values, and mappings of values, by name.

    Examples
    --------
    >>> print(to_toml({"lr": 0.1, "metrics": ("f1",), "option": {"model": {"pooling": "max"}}}))
    lr = 0.1
    metrics = ["f1"]
    <BLANKLINE>
    [option.model]
    pooling = "max"
    <BLANKLINE>
    """
    lines = _lines(table, "")
    return "\n".join(lines).strip("\n") + "\n"


def _lines(table: Mapping[str, Any], prefix: str) -> Iterator[str]:
    inner = {name: value for name, value in table.items() if isinstance(value, Mapping)}
    for name, value in table.items():
        if name not in inner and value is not None:
            yield f"{_toml_key(name)} = {_toml_value(value)}"
    for name, value in inner.items():
        path = f"{prefix}{_toml_key(name)}"
        if any(not isinstance(item, Mapping) for item in value.values()):
            yield f"\n[{path}]"
        yield from _lines(value, f"{path}.")


def _toml_key(name: str) -> str:
    bare = name.isascii() and name.replace("-", "_").replace("_", "a").isalnum()
    return name if bare else _toml_value(name)


def _toml_value(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return f"[{', '.join(map(_toml_value, value))}]"
