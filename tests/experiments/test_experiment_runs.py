"""Runs: killed at any moment, each is done in the end, and none twice; unlike ones never mix."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from support.machine import lengthy
from support.tiny_experiment import SOURCE, VARIANTS, own

from tinygrad_cnn.experiments import fingerprint
from tinygrad_cnn.experiments.experiment import Experiment
from tinygrad_cnn.experiments.gallery import find
from tinygrad_cnn.experiments.running import DONE, FAILED, LACKING, Outcome, Watcher, perform
from tinygrad_cnn.experiments.runs import ExperimentRun, FinishedRuns, RunsError

EVERY = {(variant, seed) for variant in (1, 2, 3) for seed in range(3)}


def begun(folder: Path) -> Counter[tuple[int, int]]:
    log = folder / "log"
    lines = log.read_text(encoding="utf-8").splitlines() if log.exists() else []
    return Counter((int(line.split()[0]), int(line.split()[1])) for line in lines)


def finished(out: Path) -> set[tuple[int, int]]:
    names = [path.name for path in out.glob("tiny/*.csv")]
    return {(int(name[0]), int(name.split("--seed")[1][0])) for name in names}


def whole(experiment: Experiment, out: Path) -> None:
    """Assert that each run is there, and each of its steps once."""
    results = FinishedRuns(out).results(experiment)
    rows = [(row.variant, row.seed, row.step, row.value) for row in results.rows]
    assert rows == [
        (f"{factor} factor", seed, step, 10 * factor + seed + step)
        for factor, seed, step in itertools.product((1, 2, 3), range(3), (1, 2, 3, 4))
    ]
    assert not list(out.glob("tiny/*.state"))


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="the system has no SIGKILL")
@pytest.mark.parametrize("jobs", [pytest.param(1, marks=lengthy), 2])
def test_killed_at_any_moment_no_run_is_lost_done_again_or_counted_twice(
    tmp_path: Path, jobs: int
) -> None:
    path, out = own(tmp_path), tmp_path / "out"
    program = "from tinygrad_cnn.cli import main; main()"
    command = [sys.executable, "-c", program, "experiment", str(path), "--out", str(out),
               "--jobs", str(jobs)]  # fmt: skip
    kills = 0
    for lines in (1, 2, 4, 3):  # after so many lines it is killed, wherever the others are then
        kept = finished(out)
        started = begun(tmp_path)
        with subprocess.Popen(command, stdout=subprocess.PIPE, encoding="utf-8") as process:
            assert process.stdout is not None
            for _ in itertools.islice(process.stdout, lines):
                pass
            process.kill()
        kills += 1
        assert kills > 2 or finished(out) != EVERY  # it was killed in the middle
        assert all(begun(tmp_path)[run] == started[run] for run in kept)
    last = subprocess.run(command, capture_output=True, encoding="utf-8", check=False)
    assert (last.returncode, last.stderr) == (0, "")
    assert finished(out) == EVERY
    assert begun(tmp_path).keys() == EVERY
    assert sum(begun(tmp_path).values()) <= len(EVERY) + jobs * kills
    whole(find(str(path)), out)


class Hindrance(Watcher):
    """Interrupts at a moment, as Ctrl-C would."""

    def __init__(self, after: int) -> None:
        self.after = after
        self.ends: list[Outcome] = []

    def ended(self, outcome: Outcome) -> None:
        self.ends.append(outcome)
        if len(self.ends) == self.after:
            raise KeyboardInterrupt


def test_an_interruption_keeps_what_is_done_and_leaves_no_process(tmp_path: Path) -> None:
    experiment, runs = find(str(own(tmp_path))), FinishedRuns(tmp_path / "out")
    missing = runs.missing(experiment)
    with pytest.raises(KeyboardInterrupt):
        perform(missing, runs, jobs=2, watcher=Hindrance(after=2))
    rest = runs.missing(experiment)
    assert len(rest) <= 7
    assert [run for run in missing if run in rest] == rest
    outcomes = perform(rest, runs, jobs=2)
    assert {outcome.status for outcome in outcomes} == {DONE}
    assert not runs.missing(experiment)
    whole(experiment, runs.folder)


def test_one_that_fails_is_reported_and_the_others_are_done(tmp_path: Path) -> None:
    variants = """{
        "good": {"factor": 1},
        "bad": {"factor": 2, "trouble": "raises"},
        "dead": {"factor": 3, "trouble": "is killed"},
        "lacking": {"factor": 4, "trouble": "lacks"},
        "also good": {"factor": 5},
    }"""
    experiment, runs = find(str(own(tmp_path, variants))), FinishedRuns(tmp_path / "out")
    outcomes = perform(runs.missing(experiment, seeds=1), runs, jobs=1)
    assert [(each.run.variant, each.status, each.reason) for each in outcomes] == [
        ("good", DONE, ""),
        ("bad", FAILED, "ArithmeticError: no such luck"),
        ("dead", FAILED, "was ended by SIGKILL"),
        ("lacking", LACKING, "Unavailable: there is no such machine"),
        ("also good", DONE, ""),
    ]
    assert 'raise ArithmeticError("no such luck")' in outcomes[1].details
    assert [run.variant for run in runs.missing(experiment, seeds=1)] == ["bad", "dead", "lacking"]


def done(folder: Path, variants: str = VARIANTS) -> tuple[Experiment, FinishedRuns]:
    """Do the runs of one seed."""
    experiment, runs = find(str(own(folder, variants))), FinishedRuns(folder / "out")
    perform(runs.missing(experiment, seeds=1), runs, jobs=1)
    assert not runs.missing(experiment, seeds=1)
    return experiment, runs


def test_runs_of_another_version_or_machine_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    experiment, runs = done(tmp_path)
    here = fingerprint._surroundings()
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr(fingerprint, "_surroundings", lambda: {**here, "tinygrad_cnn": "9.9"})
        with pytest.raises(RunsError, match=r"comes from tinygrad_cnn 0.* not 9\.9; runs are neve"):
            runs.missing(experiment)
        assert len(runs.results(experiment).rows) == 12  # all of one place: they can be shown
    path = runs.path(ExperimentRun(experiment, "2 factor", 0))
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace(here["machine"], "another machine"), encoding="utf-8")
    for ask in (runs.missing, runs.results):
        with pytest.raises(RunsError, match=r"seed0\.csv: comes from machine another machine, not"):
            ask(experiment)


def test_runs_of_other_code_are_refused_and_those_of_another_figure_are_not(
    tmp_path: Path,
) -> None:
    done(tmp_path)
    runs = FinishedRuns(tmp_path / "out")
    drawn = find(str(own(tmp_path, source=SOURCE.replace("plot([1, 2])", "plot([1, 3])"))))
    assert len(runs.missing(drawn)) == 6
    changed = find(str(own(tmp_path, source=SOURCE.replace("10 * factor", "11 * factor"))))
    for ask in (runs.missing, runs.results):
        with pytest.raises(RunsError, match="comes from other code or arguments of the experiment"):
            ask(changed)
    more = find(str(own(tmp_path, "grid(factor=(1, 2, 3, 4))")))
    assert len(runs.missing(more, seeds=1)) == 1
    other = find(str(own(tmp_path, "{'1 factor': {'factor': 7}}")))
    with pytest.raises(RunsError, match="other code"):
        runs.missing(other)


def test_code_that_is_changed_meanwhile_does_no_run(tmp_path: Path) -> None:
    experiment, runs = find(str(own(tmp_path))), FinishedRuns(tmp_path / "out")
    missing = runs.missing(experiment, seeds=1)[:1]
    own(tmp_path, source=SOURCE.replace("10 * factor", "11 * factor"))
    (outcome,) = perform(missing, runs)
    assert outcome.status == FAILED
    assert outcome.reason == (
        "RuntimeError: changed since the command was started: "
        "other code or arguments of the experiment"
    )
    assert runs.missing(experiment, seeds=1)[:1] == missing


def test_a_file_that_is_no_run_is_refused(tmp_path: Path) -> None:
    experiment, runs = done(tmp_path)
    runs.path(ExperimentRun(experiment, "2 factor", 0)).write_text("half a ta", encoding="utf-8")
    with pytest.raises(RunsError, match="remove it to do that run again"):
        runs.missing(experiment)


class Log(Watcher):
    """Writes down which runs were under way when a run began."""

    def __init__(self) -> None:
        self.under_way: list[str] = []
        self.beginnings: list[tuple[str, list[str]]] = []

    def began(self, run: ExperimentRun) -> None:
        self.beginnings.append((run.variant, list(self.under_way)))
        self.under_way.append(run.variant)

    def ended(self, outcome: Outcome) -> None:
        self.under_way.remove(outcome.run.variant)


TIMES_TOO = SOURCE.replace(
    "experiment = Experiment(",
    "def times(record, *, seed):\n    record(1, value=0)\n\n\n"
    "experiment = Experiment(\n    times=times,",
)


@pytest.mark.parametrize(
    ("source", "alone"),
    [(TIMES_TOO, 1), (TIMES_TOO.replace("times=times,", "times=times, alone=True,"), 4)],
)
def test_runs_that_measure_seconds_come_last_and_alone(
    tmp_path: Path, source: str, alone: int
) -> None:
    experiment, runs = find(str(own(tmp_path, source=source))), FinishedRuns(tmp_path / "out")
    perform(runs.missing(experiment, seeds=1), runs, jobs=3, watcher=(log := Log()))
    order = ["1 factor", "2 factor", "3 factor", "times"]
    assert [variant for variant, _ in log.beginnings] == order
    assert [under_way for _, under_way in log.beginnings[4 - alone :]] == [[]] * alone
    assert alone == 4 or log.beginnings[2][1] == order[:2]
    assert not runs.missing(experiment, seeds=1)
    assert runs.results(experiment, seeds=1).variants == tuple(order)


def test_a_further_seed_counts_once_all_variants_have_it(tmp_path: Path) -> None:
    experiment = find(str(own(tmp_path, source=SOURCE.replace("seeds=3,", "seeds=1,"))))
    runs = FinishedRuns(tmp_path / "out")
    two = runs.of(experiment, seeds=2)
    perform(two[:4], runs)
    assert {(row.variant, row.seed) for row in runs.results(experiment).rows} == {
        ("1 factor", 0), ("2 factor", 0), ("3 factor", 0),
    }  # fmt: skip
    perform(two[4:], runs)
    assert runs.results(experiment).seeds == (0, 1)


def test_variants_have_their_own_number_of_seeds(tmp_path: Path) -> None:
    seeds = "seeds={'1 factor': 2, '2 factor': 1, '3 factor': 3},"
    experiment = find(str(own(tmp_path, source=SOURCE.replace("seeds=3,", seeds))))
    runs = [(run.variant[0], run.seed) for run in FinishedRuns(tmp_path).of(experiment)]
    assert runs == [("1", 0), ("2", 0), ("3", 0), ("1", 1), ("3", 1), ("3", 2)]


def test_a_process_of_a_run_computes_with_one_thread(tmp_path: Path) -> None:
    source = SOURCE.replace(
        "before =",
        "from threadpoolctl import threadpool_info\n"
        "    import numpy\n"
        "    record(0, threads=max(found['num_threads'] for found in threadpool_info()))\n"
        "    before =",
    )
    before = dict(os.environ)
    experiment = find(str(own(tmp_path, source=source)))
    runs = FinishedRuns(tmp_path / "out")
    perform(runs.missing(experiment, seeds=1)[:1], runs)
    assert runs.results(experiment).last("1 factor", "threads").tolist() == [1.0]
    assert dict(os.environ) == before
