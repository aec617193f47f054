"""``tinygrad-cnn sweep``: train with every combination of settings, and compare."""

from __future__ import annotations

import itertools
import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from rich.text import Text

from tinygrad_cnn.cli.config import NO_KEYS, TrainArguments, key_of, nearest
from tinygrad_cnn.cli.display import ACCENT, FAINT, console
from tinygrad_cnn.cli.errors import FILE, INTERRUPTED
from tinygrad_cnn.cli.experimenting import carry_out, report
from tinygrad_cnn.cli.options import FILE_OPTIONS, PARTS
from tinygrad_cnn.data import Split
from tinygrad_cnn.experiments.experiment import Experiment, slug
from tinygrad_cnn.experiments.running import DONE
from tinygrad_cnn.experiments.runs import FinishedRuns
from tinygrad_cnn.experiments.sweep import check_compared, metric_of, runs_to_csv, sweep, table
from tinygrad_cnn.support.text import aligned
from tinygrad_cnn.train import RunFolder, RunSettings
from tinygrad_cnn.train.data_settings import DataSettings
from tinygrad_cnn.train.model_choice import chosen_model

__all__ = ["run_sweep"]

OWN = ("resume", "out", "quiet", "print_config", "distributed", "rank_timeout")  # not for a sweep
FIXED = {"seed", "sync_batch_norm", "compile", *OWN, *NO_KEYS}  # the same for all runs
GIVEN = ("COMMANDLINE", "DEFAULT_MAP")  # in a settings file
MOST_RUNS = 1000
MANY = 20  # combinations, to check which may take seconds
ALL = "all"  # if nothing varies
SEPARATOR = re.compile(r",(?![^\[(]*[\])])")  # a comma outside of brackets


def run_sweep(
    train: Any,
    arguments: Sequence[str],
    vary: Sequence[str],
    seeds: int,
    jobs: int | None,
    out: Path | None,
) -> int:
    """Do the missing runs, print the table, and return the exit status.

    Parameters
    ----------
    train : command
        That of ``tinygrad-cnn train``, which reads `arguments`.
    arguments : sequence of str
        Options of `train` for all runs.
    vary : sequence of str
        ``KEY=VALUE,VALUE,...`` with an option of `train`, or ``PART.NAME`` as for ``--option``.
    seeds, jobs : int or None
        Number of runs of each combination, and number of parallel runs.
    out : Path or None
        The folder of the sweep; by default named after model, data and what varies.

    Returns
    -------
    int
        0; 1 if a run failed; 130 if it was interrupted.
    """
    screen = console()
    choices = dict(_choice(train, text) for text in vary)
    if len(choices) < len(vary):
        raise ValueError(f"sweep: --vary has a KEY twice: {' '.join(vary)}")
    _refuse_twice(train, arguments, choices)
    count = math.prod(map(len, choices.values())) * seeds
    if count > MOST_RUNS:
        raise ValueError(
            f"sweep: {seeds} seeds of all combinations are {count:,} runs, expected "
            f"{MOST_RUNS:,} at most; leave out values or seeds, or sweep over a part of them at a "
            "time, into one folder with --out"
        )
    asked: dict[str, TrainArguments] = {}
    varied: dict[str, dict[str, str]] = {}
    known: set[str] = set()
    for values in itertools.product(*choices.values()):
        chosen = dict(zip(choices, values, strict=True))
        label = ", ".join(f"{key} {value}" for key, value in chosen.items()) or ALL
        with _noted(label):
            each = _asked(train, arguments, chosen)
        if repr(each) not in known:  # 0.001 and 1e-3 are one
            known.add(repr(each))
            asked[label], varied[label] = each, chosen
    if len(asked) > MANY:
        screen.print(f"Checking {len(asked)} combinations.")
    settings = _checked(asked)
    first = next(iter(asked.values()))
    experiment = sweep({label: _variant(each) for label, each in asked.items()}, seeds)
    folder = out or Path(
        "sweeps", slug("-".join([_name(first.model), _name(first.data), *choices]))
    )
    runs = FinishedRuns(folder)
    _refuse_others(runs, experiment, settings)
    missing = runs.missing(experiment)
    wanted = len(runs.of(experiment))
    further = ": unfinished runs resume from their checkpoints"
    outcomes = carry_out(screen, runs, missing, wanted, jobs, folder, further)
    if outcomes is None:
        return INTERRUPTED
    status = report(screen, outcomes)
    if len(runs.missing(experiment)) < wanted:
        failed = Counter(each.run.variant for each in outcomes if each.status != DONE)
        _show(screen, experiment, runs, varied, folder, failed)
    return status


def _refuse_twice(train: Any, arguments: Sequence[str], choices: Mapping[str, Any]) -> None:
    """Raise ValueError if an option of the command line is varied, too, or is not for a sweep."""
    context = train.make_context("train", list(arguments))
    for param in train.params:
        source = context.get_parameter_source(param.name)
        if source is None or source.name not in GIVEN:
            continue
        in_file = source.name == "DEFAULT_MAP"
        if param.name in OWN and not (in_file and context.params[param.name] is False):
            where = f"{context.meta[FILE]}: {key_of(param)}" if in_file else f"--{key_of(param)}"
            raise ValueError(f"sweep: {where} is not an option of a sweep; leave it out")
        given = {key_of(param)}
        if param.name == "options":
            own = len(context.params["options"]) - len(context.meta.get(FILE_OPTIONS, ()))
            last = context.params["options"][-own:] if own else []
            given = {f"{part}.{name}" for part, name, _ in last}
        for key in given & choices.keys():
            if not in_file:
                raise ValueError(f"sweep: {key} is given and varied; leave out one of the two")


@contextmanager
def _noted(label: str) -> Iterator[None]:
    """Add a combination to the errors inside."""
    try:
        yield
    except (ValueError, TypeError, ModuleNotFoundError) as error:
        if label != ALL:
            error.add_note(f"for {label}")
        raise


def _checked(asked: Mapping[str, TrainArguments]) -> dict[str, RunSettings]:
    """Return the settings of a run of each combination; raise what `train` would raise."""
    loaded: dict[str, tuple[Split, DataSettings]] = {}
    found = {}
    for label, each in asked.items():
        with _noted(label):
            run = each.new_run(loaded)
            check_compared(run)
        found[label] = run.settings
    return found


def _refuse_others(
    runs: FinishedRuns, experiment: Experiment, settings: Mapping[str, RunSettings]
) -> None:
    """Raise ValueError if the folder has runs of these names with other settings; say which."""
    for run in runs.of(experiment):
        folder = RunFolder(runs.path(run).with_suffix(""))
        if not folder.settings.exists():
            continue
        old, new = folder.read_settings(), settings[run.variant]
        if old.model.sha256 != new.model.sha256 and old.model.name == new.model.name:
            changed = [f"the file of the model {new.model.name} has changed"]
        else:
            then, now = (
                {
                    **asdict(replace(each.training, seed=run.seed)),
                    **{name: getattr(each.data, name) for name in ("source", "size", "grayscale")},
                    "model": each.model.name,
                    "model options": each.model.options,
                }
                for each in (old, new)
            )
            changed = [
                f"{name.replace('_', '-')} was {then[name]!r}, and is {now[name]!r}"
                for name in then
                if then[name] != now[name]
            ]
        if changed:
            raise ValueError(
                f"{folder.path}: has a run with other settings: {'; '.join(changed)}; choose "
                f"another folder with --out, or move {runs.folder} away to train again"
            )


def _choice(train: Any, text: str) -> tuple[str, list[str]]:
    """Return the key and the values of ``KEY=VALUE,...``."""
    key, equals, values = text.partition("=")
    key = key.strip().replace("_", "-") if "." not in key else key.strip()
    keys = [key_of(param) for param in train.params if param.name not in FIXED]
    keys.remove("option")
    if key not in keys and key.partition(".")[0] not in PARTS:
        raise ValueError(f"sweep: --vary is {text!r}, with an unknown KEY; {nearest(key, keys)}")
    if not equals:
        raise ValueError(f"sweep: --vary is {text!r}, expected KEY=VALUE,VALUE,...")
    found = [value.strip() for value in SEPARATOR.split(values)]
    if not all(found):
        raise ValueError(f"sweep: --vary is {text!r}, with an empty value")
    return key, list(dict.fromkeys(found))


def _asked(train: Any, arguments: Sequence[str], chosen: Mapping[str, str]) -> TrainArguments:
    """Return what `train` reads from the arguments and one combination."""
    texts = list(arguments)
    for key, value in chosen.items():
        param = next((each for each in train.params if key_of(each) == key), None)
        if param is None:
            texts += ["--option", f"{key}={value}"]
        elif getattr(param, "is_flag", False):
            flags = {"true": param.opts[:1], "false": param.secondary_opts[:1]}
            if value not in flags:
                raise ValueError(f"sweep: --vary {key} is {value!r}, expected true or false")
            texts += flags[value]
        else:
            texts += [f"--{key}", value]
    context = train.make_context("train", texts)
    given = dict(context.params)
    if given["val_split"] is None:
        given["val_split"] = 0.1
    if given["monitor"] is None and given["val_split"]:
        given["monitor"] = "accuracy"
    return TrainArguments.of(given)


def _variant(asked: TrainArguments) -> dict[str, Any]:
    """Return the arguments of a run; with a digest of the model's own file, if it has one."""
    settings, _ = chosen_model(asked.model, dict(asked.model_options))
    return {
        "data": asked.data,
        "model": asked.model,
        "training": asked.training,
        "options": asked.model_options,
        **asked.reading,
        "digest": settings.sha256 or "",
    }


def _name(text: str) -> str:
    """Return the last part of a path, or of a path and a class."""
    return Path(text.rpartition(":")[2]).stem


def _show(
    screen: Any,
    experiment: Experiment,
    runs: FinishedRuns,
    varied: Mapping[str, Any],
    folder: Path,
    failed: Mapping[str, int],
) -> None:
    """Print the table of the finished runs, and write their results and curves."""
    from tinygrad_cnn.experiments.page import draw_figure

    results = runs.results(experiment)
    training = next(iter(experiment.variants.values()))["training"]
    header, *rows = aligned(table(results, metric_of(training), failed), "<>>>><")
    screen.print(Text(f"\n{header}", FAINT))
    for i, row in enumerate(rows):
        screen.print(Text(row, ACCENT if i == 0 else ""))
    runs_to_csv(results, varied, folder / "runs.csv")
    results.to_csv(folder / "sweep.csv")
    drawn = ""
    try:
        drawn = f", curves in {draw_figure(experiment, folder / 'sweep.csv')}"
    except ModuleNotFoundError as error:
        screen.print(Text(f"\nNo curves: {error}", FAINT))
    screen.print(
        f"\nMean ± standard deviation over seeds. A row per run in {folder / 'runs.csv'}{drawn}"
    )
