"""Results: a CSV file gives back what went in, and median, range and first time are right."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_cnn.experiments import experiment as experiment_module
from tinygrad_cnn.experiments.experiment import Experiment, Record, grid, slug
from tinygrad_cnn.experiments.fingerprint import fingerprint
from tinygrad_cnn.experiments.results import Measurement, Results, Spread
from tinygrad_cnn.support.modules import load_file

LABELS = st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), min_size=1)
NUMBERS = st.floats(width=32)  # nine digits hold them


@given(
    st.lists(
        st.builds(Measurement, LABELS, st.integers(0, 9), st.integers(0, 10**6).map(float),
                  st.integers(0, 99999).map(lambda n: n / 16), LABELS, NUMBERS),
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
        assert one[:3] + one[4:5] == other[:3] + other[4:5]
        assert one.seconds == pytest.approx(other.seconds, rel=1e-5)
        assert np.float32(one.value) == np.float32(other.value) or math.isnan(other.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("step,value\n", "line 1: expected '# '"),
        ("# {}\nstep,value\n", r"line 2: the columns are \['step', 'value'\]"),
        ("# {}\nHEADER\na,b,0,1,2,c\n", "line 3: not enough values"),
        ("# {}\nHEADER\na,b,0,1,2,c,x\n", "line 3: could not convert"),
        ("# {}\nHEADER\na,b,0,1,2,c,1\nd,b,0,1,2,c,1\n", r"rows of \['a', 'd'\]"),
        ("# {}\nHEADER\na,b,0,1,2,c,1\na,b,0,1,3,c,1\n", "c is given twice for step 1"),
    ],
)
def test_a_file_that_is_no_table_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "results.csv"
    columns = "experiment,variant,seed,step,seconds,measure,value"
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
    with pytest.raises(ValueError, match="there is no value"):
        Spread.of([])


def test_curves_of_seeds_that_stop_early_have_nan_and_the_median_of_the_rest() -> None:
    values = {0: [1.0, 2.0, 6.0], 1: [3.0, 4.0], 2: [8.0]}
    rows = [
        Measurement("a", seed, step, 10.0 * step + seed, "loss", value)
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
    assert curve.median_seconds.tolist() == [1.0, 10.5, 20.0]
    assert results.last("a", "loss").tolist() == [6.0, 4.0, 8.0]
    assert results.best("a", "loss").tolist() == [6.0, 4.0, 8.0]
    np.testing.assert_equal(results.first("a", "loss", at_least=4.0), [2.0, 1.0, 0.0])
    np.testing.assert_equal(results.first("a", "loss", at_least=5.0), [2.0, math.nan, 0.0])
    np.testing.assert_equal(
        results.first("a", "loss", at_most=2.0, seconds=True), [0.0, math.nan, math.nan]
    )
    with pytest.raises(KeyError, match="no run of 'a' has 'accuracy'"):
        results.curve("a", "accuracy")


def test_the_clock_stands_still_aside(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(experiment_module, "perf_counter", lambda: now[0])
    record = Record()
    now[0] += 1.0
    with record.aside():
        now[0] += 100.0
        with record.aside():
            now[0] += 100.0
        record(0, loss=2.0)
        assert record.seconds == 1.0
        now[0] += 100.0
    now[0] += 1.0
    record(1, loss=1.0)
    now[0] += 1.0
    assert [row[1] for row in record.rows] == [1.0, 2.0]
    assert record.seconds == 3.0


def test_a_saved_run_goes_on_with_its_rows_seconds_and_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr(experiment_module, "perf_counter", lambda: now[0])
    path = tmp_path / "run.state"
    first = Record("", path)
    assert first.state is None
    now[0] += 5.0
    first(1, loss=0.5)
    first.save({"weights": np.arange(3.0), "step": 1})
    now[0] += 1000.0  # what was done after that is lost, and is not counted
    second = Record("", path)
    assert second.state is not None
    assert second.state["weights"].tolist() == [0.0, 1.0, 2.0]
    now[0] += 2.0
    second(2, loss=0.25)
    assert second.rows == [(1.0, 5.0, "loss", 0.5), (2.0, 7.0, "loss", 0.25)]


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
