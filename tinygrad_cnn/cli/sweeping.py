"""``tinygrad-cnn sweep``: train with every combination of settings, and compare."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.text import Text

from tinygrad_cnn.bench.machine import cores
from tinygrad_cnn.cli.config import NO_KEYS, TrainArguments, key_of, nearest
from tinygrad_cnn.cli.display import ACCENT, FAINT, console
from tinygrad_cnn.cli.errors import INTERRUPTED
from tinygrad_cnn.cli.experimenting import RunLines, report
from tinygrad_cnn.cli.options import PARTS
from tinygrad_cnn.experiments.experiment import Experiment, slug
from tinygrad_cnn.experiments.running import perform
from tinygrad_cnn.experiments.runs import FinishedRuns
from tinygrad_cnn.experiments.sweep import metric_of, runs_to_csv, sweep, table
from tinygrad_cnn.support.text import aligned
from tinygrad_cnn.train.training_run import chosen_model

__all__ = ["run_sweep"]

OWN = ("resume", "out", "print_config", "distributed", "rank_timeout")  # not for a sweep
FIXED = {"seed", "quiet", *OWN, *NO_KEYS}  # seeds have an option of their own
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
    asked: dict[str, TrainArguments] = {}
    varied: dict[str, dict[str, str]] = {}
    variants: dict[str, dict[str, Any]] = {}
    for values in itertools.product(*choices.values()):
        chosen = dict(zip(choices, values, strict=True))
        label = ", ".join(f"{key} {value}" for key, value in chosen.items()) or "all"
        varied[label] = chosen
        try:
            asked[label] = _asked(train, arguments, chosen)
            variants[label] = _variant(asked[label])
        except ValueError as error:
            error.add_note(f"for {label}")
            raise
    first = next(iter(asked.values()))
    experiment = sweep(variants, seeds)
    folder = out or Path(
        "sweeps", slug("-".join([_name(first.model), _name(first.data), *choices]))
    )
    runs = FinishedRuns(folder)
    missing = runs.missing(experiment)
    wanted = len(runs.of(experiment))
    jobs = min(jobs or cores(), max(len(missing), 1))
    screen.print(
        f"{wanted} runs, {wanted - len(missing)} of them already done; {jobs} in parallel; "
        f"results in {folder}"
    )
    if not first.training.val_split:
        screen.print("Without --val-split, settings are compared by the test images.")
    try:
        with RunLines(screen, missing, jobs) as lines:
            outcomes = perform(missing, runs, jobs=jobs, watcher=lines)
    except KeyboardInterrupt:
        screen.print(
            f"\nInterrupted. {lines.count} of {len(missing)} runs are done; run the same command "
            "to continue: unfinished runs resume from their checkpoints."
        )
        return INTERRUPTED
    status = report(screen, outcomes)
    if len(missing) - lines.count < wanted:
        _show(screen, experiment, runs, varied, folder)
    return status


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
    if len(set(found)) < len(found) or not all(found):
        raise ValueError(f"sweep: --vary is {text!r}, expected different values")
    return key, found


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
    for name in OWN:
        source = context.get_parameter_source(name)
        if source is not None and source.name == "COMMANDLINE":
            raise ValueError(
                f"sweep: --{name.replace('_', '-')} is no option of a sweep; leave it out"
            )
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
    screen: Any, experiment: Experiment, runs: FinishedRuns, varied: Mapping[str, Any], folder: Path
) -> None:
    """Print the table of the finished runs, and write their results and curves."""
    from tinygrad_cnn.experiments.page import draw_figure

    results = runs.results(experiment)
    training = next(iter(experiment.variants.values()))["training"]
    header, *rows = aligned(table(results, metric_of(training)), "<>>>><")
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
