"""The history, and the CSV file it is written to."""

from __future__ import annotations

import csv
import math
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_cnn.train import Epoch, History, RunError
from tinygrad_cnn.train.history import COLUMNS

floats = st.floats(allow_nan=True, allow_infinity=False, width=64)
own = st.dictionaries(st.sampled_from(["psnr", "validation_psnr"]), st.floats(width=64))


@st.composite
def histories(draw: st.DrawFn) -> History:
    count = draw(st.integers(0, 4))
    return History(
        [
            Epoch(i + 1, *(draw(floats) for _ in COLUMNS[1:]), metrics=draw(own))
            for i in range(count)
        ]
    )


@given(histories())
def test_a_history_comes_back_from_csv_bit_by_bit(
    tmp_path_factory: pytest.TempPathFactory, history: History
) -> None:
    path = tmp_path_factory.mktemp("history") / "history.csv"
    history.to_csv(path)
    again = History.from_csv(path)
    assert again == history
    assert signs(again) == signs(history)


def signs(history: History) -> list[dict[str, float]]:
    """Return the signs by column: equal zeros may differ in theirs."""
    rows = (epoch.as_dict().items() for epoch in history)
    return [{name: math.copysign(1, v) for name, v in row if v is not None} for row in rows]


def test_the_csv_file_is_one_that_others_read(tmp_path: Path) -> None:
    History([Epoch(1, 0.5, 0.25), Epoch(2, 0.125)]).to_csv(tmp_path / "h.csv")
    with open(tmp_path / "h.csv", newline="", encoding="utf-8") as file:
        first, second = csv.DictReader(file)
    assert (first["epoch"], first["loss"], first["accuracy"]) == ("1", "0.5", "0.25")
    assert second["accuracy"] == ""


HEADER = ",".join(COLUMNS) + "\n"


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("", 1, "the columns are []"),
        ("a,b\n1,2\n", 1, "the columns are ['a', 'b']"),
        (HEADER + "1,0.5\n", 2, "shorter"),
        (HEADER + "1,x,1,1,1,1,1,1\n", 2, "'x'"),
        (HEADER + "1,1,1,1,1,1,1,1\n3,1,1,1,1,1,1,1\n", 3, "got epoch 3, expected epoch 2"),
        (HEADER + ",1,1,1,1,1,1,1\n", 2, "NoneType"),
        (HEADER + "1,1,1,1,1,1,1,1,1\n", 2, "longer"),
        (HEADER + "1,1,1,1,1,1,1,1\n2,inf,1,1,1,1,1,1\n", 3, "loss is inf, expected a finite"),
        (HEADER + "1,1,1,1,1,-1e999,1,1\n", 2, "learning_rate is -inf"),
        (HEADER + "inf,1,1,1,1,1,1,1\n", 2, "'inf'"),
    ],
)
def test_a_bad_csv_file_is_named_with_its_line(
    tmp_path: Path, text: str, line: int, says: str
) -> None:
    path = tmp_path / "h.csv"
    path.write_text(text)
    with pytest.raises(RunError, match=r"h\.csv: line") as raised:
        History.from_csv(path)
    assert f"h.csv: line {line}: " in str(raised.value)
    assert says in str(raised.value)


@pytest.mark.parametrize(
    ("column", "value", "says"),
    [
        ("epoch", math.inf, "epoch is inf, expected an integer"),
        ("epoch", math.nan, "epoch is nan, expected an integer"),
        ("loss", 10**400, "loss is 100000000"),
        ("validation_loss", math.inf, "validation_loss is inf, expected a finite number or none"),
    ],
)
def test_a_row_with_an_impossible_number_is_a_value_error(
    column: str, value: float, says: str
) -> None:
    """The reader of a checkpoint turns it into a RunError; an OverflowError would escape."""
    with pytest.raises(ValueError, match=says):
        Epoch.from_dict({**Epoch(1, 0.5).as_dict(), column: value})


def test_a_write_that_fails_leaves_the_old_history(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "h.csv"
    History([Epoch(1, 0.5)]).to_csv(path)
    before = path.read_bytes()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        History([Epoch(1, 0.5), Epoch(2, 0.25)]).to_csv(path)
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["h.csv"]


def test_epochs_are_numbered_from_one() -> None:
    with pytest.raises(ValueError, match="got epoch 2, expected epoch 1"):
        History([Epoch(2, 0.5)])


def test_an_unknown_column_is_refused() -> None:
    with pytest.raises(ValueError, match="there is no column 'los'; expected one of epoch, loss"):
        History().column("los")


def test_repr_says_how_it_went() -> None:
    assert repr(History()) == "History(no epochs)"
    assert repr(History([Epoch(1, 0.5, 0.75)])) == "History(1 epochs, loss 0.5, accuracy 0.75)"
