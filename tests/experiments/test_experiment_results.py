"""Results: a CSV file gives back what went in, and median, range and first time are right."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_cnn.bench.timing import BUSY, Pace
from tinygrad_cnn.experiments import times
from tinygrad_cnn.experiments.experiment import Experiment, Record, grid, slug
from tinygrad_cnn.experiments.fingerprint import fingerprint
from tinygrad_cnn.experiments.results import Measurement, Results, Spread
from tinygrad_cnn.optim import StepLR
from tinygrad_cnn.support.modules import load_file

LABELS = st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), min_size=1)
NUMBERS = st.floats()


@given(
    st.lists(
        st.builds(Measurement, LABELS, st.integers(0, 9), st.integers(0, 10**6).map(float),
                  LABELS, NUMBERS),
        min_size=1,
        unique_by=lambda row: (row.variant, row.seed, row.step, row.measure),
    )
)  # fmt: skip
def test_a_csv_file_gives_back_what_was_written(
    tmp_path_factory: pytest.TempPathFactory, rows: list[Measurement]
) -> None:
    path = tmp_path_factory.mktemp("csv") / "results.csv"
    written = Results("some", rows, {"numpy": "2.0", "machine": "a, b"})
    written.to_csv(path)
    read = Results.from_csv(path)
    assert read == written
    assert read.provenance == written.provenance
    for one, other in zip(read.rows, rows, strict=True):
        assert one[:-1] == other[:-1]
        np.testing.assert_array_equal(one.value, other.value)  # all digits; NaN is NaN


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("step,value\n", "line 1: expected '# '"),
        ("# {}\nstep,value\n", r"line 2: the columns are \['step', 'value'\]"),
        ("# {}\nHEADER\na,b,0,1,c\n", "line 3: not enough values"),
        ("# {}\nHEADER\na,b,0,1,c,x\n", "line 3: could not convert"),
        ("# {}\nHEADER\na,b,0,1,c,1\nd,b,0,1,c,1\n", r"rows of \['a', 'd'\]"),
        ("# {}\nHEADER\na,b,0,1,c,1\na,b,0,1,c,1\n", "c is given twice for step 1"),
    ],
)
def test_a_file_that_is_no_table_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "results.csv"
    columns = "experiment,variant,seed,step,measure,value"
    path.write_text(text.replace("HEADER", columns), encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        Results.from_csv(path)


@given(st.lists(st.floats(-1e6, 1e6), min_size=1))
def test_spread_is_numpy_s_median_and_range(values: list[float]) -> None:
    spread = Spread.of(values)
    assert spread.median == pytest.approx(np.median(values), rel=1e-12, abs=1e-12)
    assert (spread.low, spread.high) == (min(values), max(values))


def test_what_never_was_counts_as_more_than_all_numbers() -> None:
    assert str(Spread.of([math.nan, math.nan, 1.0])) == "never (1 to never)"
    assert str(Spread.of([math.nan] * 2)) == "never"


def test_a_spread_of_nothing_was_not_measured() -> None:
    assert f"{Spread.of([]):.1%}" == "not measured"


def test_curves_of_seeds_that_stop_early_have_nan_and_the_median_of_the_rest() -> None:
    values = {0: [1.0, 2.0, 6.0], 1: [3.0, 4.0], 2: [8.0]}
    rows = [
        Measurement("a", seed, step, "loss", value)
        for seed, all_values in values.items()
        for step, value in enumerate(all_values)
    ]
    results = Results("some", rows)
    curve = results.curve("a", "loss")
    assert curve.seeds == (0, 1, 2)
    assert np.isnan(curve.values).tolist() == [
        [False] * 3,
        [False, False, True],
        [False, True, True],
    ]
    assert curve.median.tolist() == [3.0, 3.0, 6.0]
    assert (curve.low.tolist(), curve.high.tolist()) == ([1.0, 2.0, 6.0], [8.0, 4.0, 6.0])
    assert results.last("a", "loss").tolist() == [6.0, 4.0, 8.0]
    np.testing.assert_equal(results.first("a", "loss", at_least=4.0), [2.0, 1.0, 0.0])
    np.testing.assert_equal(results.first("a", "loss", at_least=5.0), [2.0, math.nan, 0.0])
    np.testing.assert_equal(results.first("a", "loss", at_most=2.0), [0.0, math.nan, math.nan])
    with pytest.raises(KeyError, match="no run of 'a' has 'accuracy'"):
        results.curve("a", "accuracy")


def test_a_saved_run_is_resumed_with_its_rows_and_state(tmp_path: Path) -> None:
    path = tmp_path / "run.state"
    first = Record("", path)
    assert first.state is None
    first(1, loss=0.5)
    first.save({"weights": np.arange(3.0), "step": 1})
    first(2, loss=9.0)  # not saved, so lost
    second = Record("", path)
    assert second.state is not None
    assert second.state["weights"].tolist() == [0.0, 1.0, 2.0]
    second(2, loss=0.25)
    assert second.rows == [(1.0, "loss", 0.5), (2.0, "loss", 0.25)]


# --- times ---------------------------------------------------------------------------------------


def timed(rounds: list[tuple[float, float, float]], seed: int = 0) -> list[Measurement]:
    """Return the rows of rounds: seconds of a, seconds of b, other load."""
    record = Record()
    for number, (a, b, others) in enumerate(rounds, start=1):
        times.record_round(record, number, {"a": a, "b": b}, others)
    return [Measurement("times", seed, *row) for row in record.rows]


def test_times_are_medians_over_rounds_and_ratios_within_a_round() -> None:
    results = Results("x", timed([(1.0, 2.0, 0.0), (3.0, 12.0, 0.0), (8.0, 24.0, 0.1)]))
    assert times.seconds(results, "a").tolist() == [3.0]
    assert times.ratios(results, "b", "a").tolist() == [3.0]
    assert times.busy_rounds(results) == 0


def test_ratios_are_of_the_rounds_that_both_sides_have() -> None:
    rows = timed([(1.0, 2.0, 0.0), (1.0, 4.0, 0.0), (50.0, 0.0, 0.0)])
    results = Results("x", [row for row in rows if row.value])  # b is slow: two rounds
    assert times.ratios(results, "b", "a").tolist() == times.seconds(results, "b").tolist() == [3.0]
    assert times.ratios(results, "a", "b").tolist() == [0.375]


def test_rounds_on_a_busy_machine_do_not_count() -> None:
    busy = BUSY + 0.01
    rows = timed([(1.0, 2.0, 0.0), (9.0, 1.0, busy), (9.0, 1.0, busy)])
    rows += timed([(9.0, 1.0, busy)], seed=1)
    rows += timed([(3.0, 3.0, 0.0), (3.0, 3.0, math.nan)], seed=2)  # NaN: unknown, so it counts
    results = Results("x", rows)
    assert times.seconds(results, "a").tolist() == [1.0, 3.0]  # seed 1 has no quiet round
    assert times.ratios(results, "b", "a").tolist() == [2.0, 1.0]
    assert times.busy_rounds(results) == 3
    assert times.seconds(Results("x", timed([(3.0, 3.0, math.nan)])), "a").tolist() == [3.0]
    only_busy = Results("x", timed([(9.0, 1.0, busy)]))
    assert str(Spread.of(times.seconds(only_busy, "a"))) == "not measured"


def test_calls_are_timed_in_turns() -> None:
    calls: list[str] = []
    record = Record()
    pace = Pace(rounds=3, turn=0.0, pause=0.0, repeats=0)
    times.record_times(
        record, {"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, pace
    )
    assert "".join(calls[4:]) == "ab" + "ba" + "ab"  # after two calls of each to warm up
    measures = {measure for _, measure, _ in record.rows}
    assert {"seconds of a", "seconds of b"} <= measures <= {
        "seconds of a", "seconds of b", "other load",
    }  # fmt: skip


def test_a_grid_has_each_combination_once() -> None:
    variants = grid(a=("x", "y"), b={"one": 1, "two": 2}, c=(0.5,))
    assert variants["y, one, 0.5 c"] == {"a": "y", "b": 1, "c": 0.5}
    assert len(variants) == 4


def declared(**changes: object) -> Experiment:
    fields = {
        "name": "some",
        "question": "Why?",
        "variants": {"a": {}},
        "run": print,
        "figure": print,
        "finding": str,
    }
    return Experiment(**{**fields, **changes})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "Some one"}, "name is 'Some one'"),
        ({"question": "Because."}, "expected a question"),
        ({"variants": {}}, "variants is empty"),
        ({"variants": {"a b": {}, "A-b": {}}}, "'A-b' is not distinct from 'a b' in file names"),
        ({"seeds": 0}, "seeds is 0"),
        ({"variants": {"times": {}}, "times": print}, "'times' is not distinct from 'times'"),
    ],
)
def test_a_wrong_experiment_is_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        declared(**changes)


@given(LABELS)
def test_a_slug_is_a_plain_file_name(label: str) -> None:
    assert set(slug(label)) <= set("abcdefghijklmnopqrstuvwxyz0123456789.-")
    assert slug(slug(label)) == slug(label)


RUN = '''
SETTINGS = {"rate": 0.1, "layers": [1, 2]}

def helper(x):
    return x + 1

def unused(x):
    return x

def run(record, *, seed, a):
    """Do it."""
    record(helper(seed), value=SETTINGS["rate"])
'''


def fingerprint_of(folder: Path, source: str, **variant: object) -> str:
    path = folder / f"file{len(list(folder.iterdir()))}.py"
    path.write_text(source, encoding="utf-8")
    return fingerprint(load_file(str(path)).run, variant)


@pytest.mark.parametrize(
    ("old", "new", "same"),
    [
        ('"""Do it."""', '"""Do something else."""', True),
        ("    return x + 1", "    # a comment\n    return (x + 1)", True),
        ("    return x\n", "    return 2 * x\n", True),
        ("x + 1", "x + 2", False),
        ('"rate": 0.1', '"rate": 0.2', False),
        ("[1, 2]", "[1, 3]", False),
        ("value=SETTINGS", "other=SETTINGS", False),
    ],
)
def test_a_fingerprint_is_of_the_code_that_decides_a_run(
    tmp_path: Path, old: str, new: str, same: bool
) -> None:
    assert old in RUN
    before = fingerprint_of(tmp_path, RUN, a=1)
    assert before == fingerprint_of(tmp_path, RUN, a=1)
    assert before != fingerprint_of(tmp_path, RUN, a=2)
    assert (before == fingerprint_of(tmp_path, RUN.replace(old, new), a=1)) is same


def test_a_file_of_the_package_may_be_renamed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The code of a run is the same code, wherever in its package a class is defined."""

    def run(record: Any, *, seed: int) -> None:
        StepLR(record)

    before = fingerprint(run, {})
    monkeypatch.setattr(StepLR, "__module__", "tinygrad_cnn.optim.elsewhere")
    assert fingerprint(run, {}) == before
    monkeypatch.setattr(StepLR, "__module__", "tinygrad_cnn.train.elsewhere")
    assert fingerprint(run, {}) != before
