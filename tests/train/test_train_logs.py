"""Columns that callbacks add, and logs: JSON Lines and TensorBoard."""

from __future__ import annotations

import json
import math
import struct
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import tinygrad_cnn as tg
from tinygrad_cnn.train import (
    Callback,
    Epoch,
    F1Score,
    History,
    JSONLines,
    Progress,
    RunFolder,
    TensorBoard,
    TrainingDiverged,
    TrainingRun,
    TrainingSettings,
    fit,
)


def batches(seed: int = 0) -> list[Any]:
    rng = np.random.default_rng(seed)
    return [(rng.normal(size=(8, 4)).astype("f4"), rng.integers(3, size=8)) for _ in range(2)]


def fitted(*callbacks: Callback, epochs: int = 2, lr: float = 0.1, **chosen: Any) -> History:
    model = tg.nn.Linear(4, 3, rng=np.random.default_rng(0))
    optimizer = tg.optim.SGD(model.parameters(), lr=lr)
    return fit(
        model, tg.cross_entropy, optimizer, batches(),
        epochs=epochs, callbacks=callbacks, **chosen,
    )  # fmt: skip


class Adds(Callback):
    """Adds columns with these values after each epoch."""

    def __init__(self, *values: Any, name: Any = "own") -> None:
        self.values, self.name = list(values), name
        self.metrics: Any = {name: values[0]}
        self.told: list[Any] = []

    def start(self, model: Any, columns: Sequence[str], history: History, epochs: int) -> None:
        self.told.append(("start", columns[-1], len(history), epochs))

    def batch(self, progress: Progress) -> None:
        self.metrics = {self.name: self.values[progress.epoch - 1]}

    def exception(self, history: History, error: BaseException) -> None:
        self.told.append((len(history), error))


def test_the_metrics_of_callbacks_are_columns_of_the_history() -> None:
    adds = Adds(np.float32(0.5), 3), Adds(-math.inf, math.nan, name="other")
    history = fitted(*adds, validation=batches(1), metrics={"f1": F1Score()})
    assert history.columns[-4:] == ("f1", "validation_f1", "own", "other")
    assert history.column("own") == [0.5, 3.0]
    assert repr(history.column("other")) == "[-inf, nan]"
    assert adds[0].told == [("start", "other", 0, 2)]


@pytest.mark.parametrize(
    ("adds", "says"),
    [
        ([Adds(0.5, name="loss")], "Adds.metrics: 'loss' is not a new column; there are epoch,"),
        ([Adds(0.5, name="f1")], "'f1' is not a new column"),
        ([Adds(0.5), Adds(0.5)], "'own' is not a new column"),
        ([Adds(0.5, name=3)], "3 is not a new column"),
        ([Adds("high")], r"fit: Adds.metrics\['own'\] is 'high', expected a number"),
        ([Adds(0.5, True)], r"fit: Adds.metrics\['own'\] is True, expected a number"),
    ],
)
def test_a_metric_that_is_no_column_is_refused(adds: list[Adds], says: str) -> None:
    with pytest.raises((ValueError, TypeError), match=says):
        fitted(*adds, metrics={"f1": F1Score()})


def test_a_callback_cannot_change_the_names_of_its_metrics() -> None:
    class Changes(Adds):
        def batch(self, progress: Progress) -> None:
            self.metrics = {"new": 0.5}

    with pytest.raises(ValueError, match="were own at the start, and are new now"):
        fitted(Changes(0.5))


def test_every_callback_hears_of_the_exception_that_is_raised() -> None:
    class Broken(Adds):
        def exception(self, history: History, error: BaseException) -> None:
            super().exception(history, error)
            raise OSError("the disk is full")

    first, second = Broken(0.5, 0.5), Adds(0.5, 0.5, name="other")
    with pytest.raises(TrainingDiverged, match="training diverged") as raised:
        fitted(first, second, lr=3e38)
    assert first.told[1:] == second.told[1:] == [(0, raised.value)]
    assert raised.value.__notes__ == ["Broken.exception raised OSError: the disk is full"]


# --- JSON Lines ----------------------------------------------------------------------------------

finite = st.floats(allow_infinity=False)
rows = st.fixed_dictionaries({"loss": finite, "seconds": finite, "own": st.floats()})
session = st.tuples(st.integers(0, 4), st.lists(rows, max_size=3), st.none() | st.integers(0, 500))


def refuse(constant: str) -> None:
    raise AssertionError(f"{constant} is not JSON")


A_ROW, B_ROW = ({"loss": loss, "seconds": 1.0, "own": -math.inf} for loss in (1.0, 2.0))


@given(st.lists(session, min_size=1, max_size=5))
@example([(0, [A_ROW], 1), (1, [A_ROW], None)])  # a line without its end
@example([(0, [A_ROW, A_ROW], None), (1, [B_ROW], 300)])  # the next finds what the first wrote
def test_a_log_has_the_epochs_of_the_run_however_often_it_was_killed(
    tmp_path_factory: pytest.TempPathFactory, sessions: list[Any]
) -> None:
    """Each session goes on after some epoch of the one before, and may lose its last bytes."""
    path = tmp_path_factory.getbasetemp() / "log.jsonl"
    path.unlink(missing_ok=True)
    history = History()
    for done, further, lost in [*sessions, (9, [], None)]:
        history = History(history[:done])
        log = JSONLines(path)
        log.start(tg.nn.Module(), (), history, 9)
        for values in further:
            row = {**dict.fromkeys(Epoch(1, 1.0).as_dict()), **values, "epoch": len(history) + 1}
            history.append(Epoch.from_dict(row))
            log.epoch(history)
        if lost is not None:
            with path.open("r+b") as file:
                file.truncate(max(path.stat().st_size - lost, 0))
            JSONLines.read(path)  # what is left of the last line does not matter
    assert JSONLines.history(path) == history
    lines = path.read_text("utf-8").splitlines()
    events = [json.loads(line, parse_constant=refuse) for line in lines]
    assert events == JSONLines.read(path)
    starts = [event for event in events if event["event"] in ("start", "resume")]
    assert starts[-1].get("epoch", 0) == len(history)


def test_an_existing_log_is_read_once_and_appended_to(tmp_path: Path) -> None:
    log = JSONLines(tmp_path / "log.jsonl")
    history = fitted(log, epochs=1)
    before = log.path.read_bytes()
    fitted(log, history=history, epochs=3)
    assert log.path.read_bytes().startswith(before)
    assert JSONLines.history(log.path) == history
    fitted(log, epochs=1)
    assert len(JSONLines.history(log.path)) == 1
    events = [event["event"] for event in JSONLines.read(log.path)]
    assert " ".join(events) == "start epoch stop resume epoch epoch stop start epoch stop"


def test_numbers_that_json_lacks_are_null_and_texts(tmp_path: Path) -> None:
    log = JSONLines(tmp_path / "log.jsonl")
    history = fitted(log, Adds(-math.inf, math.nan, math.inf), epochs=3)
    found = [event["own"] for event in JSONLines.read(log.path) if event["event"] == "epoch"]
    assert found == ["-Infinity", None, "Infinity"]
    assert JSONLines.history(log.path) == history


def test_every_so_many_batches_have_an_event(tmp_path: Path) -> None:
    logs = [JSONLines(tmp_path / f"{every}", every=every) for every in (1, 2, 3)]
    fitted(*logs, epochs=1)
    found = [[e for e in JSONLines.read(log.path) if e["event"] == "batch"] for log in logs]
    assert [[event["batch"] for event in events] for events in found] == [[1, 2], [2], []]
    assert found[0][1].keys() - {"event", "time"} == set(Progress.__slots__)
    assert found[0][1]["loss"] == JSONLines.history(logs[0].path)[0].loss


DIVERGED = (
    "TrainingDiverged: training diverged: the loss in epoch 1, batch 2, at learning rate 0.1; "
    "try a smaller learning rate, such as 0.01"
)


@pytest.mark.parametrize(
    ("error", "reason", "message"),
    [
        (None, "completed", None),
        (True, "stopped", None),
        (KeyboardInterrupt(), "interrupted", "KeyboardInterrupt"),
        (
            TrainingDiverged("the loss", 1, 2, 0.1),
            "diverged",
            DIVERGED,
        ),
        (ArithmeticError("one\ntwo"), "failed", "ArithmeticError: one"),
    ],
)
def test_a_log_ends_with_the_reason_in_one_line(
    tmp_path: Path, error: Any, reason: str, message: str | None
) -> None:
    class Ends(Callback):
        def epoch(self, history: History) -> bool:
            if isinstance(error, BaseException):
                raise error
            return error is True

    log = JSONLines(tmp_path / "log.jsonl")
    with suppress(KeyboardInterrupt, TrainingDiverged, ArithmeticError):
        fitted(log, Ends(), epochs=2)
    stop = JSONLines.read(log.path)[-1]
    assert (stop["event"], stop["reason"]) == ("stop", reason)
    assert stop["epoch"] == (2 if error is None else 1)
    assert stop.get("message") == message


DAMAGED = {
    "{": "line 2: Expecting property name",
    "\xff": "line 2: is not a JSON object",
    "[1]": "line 2: is not a JSON object with an event",
    '{"a": 1}': "line 2: is not a JSON object with an event",
    "[" * 99999: "line 2: is nested too deeply",
}


@pytest.mark.parametrize("line", DAMAGED)
def test_a_damaged_line_is_named_and_does_not_keep_a_run_from_going_on(
    tmp_path: Path, line: str
) -> None:
    log = JSONLines(tmp_path / "log.jsonl")
    history = fitted(log, epochs=1)
    lines = log.path.read_bytes().split(b"\n")
    lines[1] = line.encode("latin-1")
    log.path.write_bytes(b"\n".join(lines))
    for read in (JSONLines.read, JSONLines.history):
        with pytest.raises(ValueError, match=r"log\.jsonl: line 2: ") as raised:
            read(log.path)
        assert DAMAGED[line] in str(raised.value) or line == "\xff"
    fitted(log, history=history, epochs=2)
    assert [event[1]["event"] for event in log._events(log.path, strict=False)] == (
        ["start", "stop", "epoch", "resume", "epoch", "stop"]
    )


@pytest.mark.parametrize(
    ("event", "says"),
    [
        ({"event": "epoch", "epoch": 5}, "line 3: 'loss' is missing"),
        (
            {"event": "epoch", "epoch": 5, **dict.fromkeys(Epoch(1, 1.0).as_dict(), 5)},
            "expected epoch 2",
        ),
        ({"event": "epoch", **dict.fromkeys(Epoch(1, 1.0).as_dict(), "x")}, "could not convert"),
        ({"event": "resume", "epoch": 7}, "line 3: it continues after epoch 7; there are 1"),
        ({"event": "resume"}, "line 3: 'epoch' is missing"),
    ],
)
def test_an_epoch_that_is_not_the_next_is_named(tmp_path: Path, event: Any, says: str) -> None:
    log = JSONLines(tmp_path / "log.jsonl")
    fitted(log, epochs=1)
    lines = log.path.read_text().splitlines()[:2]
    log.path.write_text("\n".join([*lines, json.dumps(event), ""]))
    with pytest.raises(ValueError, match=r"log\.jsonl: line 3: ") as raised:
        JSONLines.history(log.path)
    assert says in str(raised.value)


def test_a_log_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no/log"):
        fitted(JSONLines(tmp_path / "no" / "log"))
    with pytest.raises(ValueError, match="JSONLines: 'time' is a column of the history"):
        fitted(JSONLines(tmp_path / "log"), Adds(0.5, name="time"))
    with pytest.raises(ValueError, match="JSONLines: every is 0"):
        JSONLines(tmp_path / "log", every=0)
    if Path("/dev/full").exists():
        with pytest.raises(OSError, match="No space left on device: '/dev/full'"):
            fitted(JSONLines("/dev/full"))


# --- TensorBoard ---------------------------------------------------------------------------------


def crc32c(data: bytes) -> int:
    """Return the checksum of a record, masked, by its definition."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
    crc ^= 0xFFFFFFFF
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF


def shown(folder: Path) -> dict[str, dict[int, float]]:
    """Return the scalars by tag and step that TensorBoard shows of a folder."""
    event_pb2 = pytest.importorskip("tensorboardX.proto.event_pb2", reason="needs the extra")
    scalars: dict[str, dict[int, float]] = {}
    for path in sorted(folder.glob("*tfevents*")):
        data = path.read_bytes()
        while data:
            length, crc = struct.unpack("<QI", data[:12])
            assert crc == crc32c(data[:8])
            record, rest = data[12 : 12 + length], data[12 + length :]
            assert struct.unpack("<I", rest[:4]) == (crc32c(record),)
            data = rest[4:]
            event = event_pb2.Event.FromString(record)
            assert abs(event.wall_time - time.time()) < 3600
            if event.session_log.status == event_pb2.SessionLog.START:
                for steps in scalars.values():
                    for step in [step for step in steps if step >= event.step]:
                        del steps[step]
            for value in event.summary.value:
                assert event.step not in scalars.setdefault(value.tag, {}), "shown twice"
                scalars[value.tag][event.step] = value.simple_value
    return scalars


def test_tensorboard_shows_every_column_and_no_step_twice(tmp_path: Path) -> None:
    """The second session goes on from an earlier epoch: what it repeats replaces the first's."""
    pytest.importorskip("tensorboardX", reason="needs the extra tensorboard")
    history = fitted(
        TensorBoard(tmp_path / "run"), Adds(0.5, math.nan, math.inf),
        epochs=3, validation=batches(1), metrics={"f1": F1Score()},
    )  # fmt: skip
    again = History(history[:1])
    fitted(
        TensorBoard(tmp_path / "run"), Adds(0.0, 0.25, math.inf),
        epochs=3, validation=batches(1), metrics={"f1": F1Score()}, history=again, lr=0.5,
    )  # fmt: skip
    found = shown(tmp_path / "run")
    columns = {tag: column for column in again.columns for tag in [column]}
    for measure in ("loss", "accuracy", "f1"):
        columns[f"{measure}/training"] = columns.pop(measure)
        columns[f"{measure}/validation"] = columns.pop(f"validation_{measure}")
    del columns["epoch"]
    assert found.keys() == columns.keys()
    for tag, column in columns.items():
        values = {row.epoch: np.float32(row.as_dict()[column]) for row in again}
        assert found[tag] == values
    assert found["own"] == {1: 0.5, 2: 0.25, 3: math.inf}


def test_tensorboard_shows_batches_in_a_folder_of_their_own(tmp_path: Path) -> None:
    pytest.importorskip("tensorboardX", reason="needs the extra tensorboard")
    log = TensorBoard(tmp_path, every=2)
    history = fitted(log, epochs=2)
    fitted(log, epochs=3, history=history)
    found = shown(tmp_path / "batches")
    assert found["batch/loss"] == {
        2 * row.epoch: np.float32(row.loss) for row in history
    }  # two batches an epoch
    log.batch(Progress(4, 2, 2, 1, 1.0, math.nan, 1.0))
    assert 8 in shown(tmp_path / "batches")["batch/loss"]
    assert 8 not in shown(tmp_path / "batches")["batch/accuracy"]
    with pytest.raises(ValueError, match="TensorBoard: every needs a loader with a length"):
        log.batch(Progress(1, 2, None, 1, 1.0, 1.0, 1.0))
    log.end(history)
    with pytest.raises(ValueError, match="TensorBoard: every is 0"):
        TensorBoard(tmp_path, every=0)


def test_a_clock_that_goes_back_overwrites_no_event_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("tensorboardX", reason="needs the extra tensorboard")
    now = time.time()
    history = History()
    for k in range(3):
        monkeypatch.setattr(time, "time", lambda k=k: now - 100 * k)
        fitted(TensorBoard(tmp_path), epochs=k + 1, history=history)
    assert len(list(tmp_path.iterdir())) == 3
    assert list(shown(tmp_path)["loss/training"]) == [1, 2, 3]


def test_without_tensorboardx_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with pytest.raises(ModuleNotFoundError, match=r'pip install "tinygrad_cnn\[tensorboard\]"'):
        TensorBoard("folder")


# --- a run ---------------------------------------------------------------------------------------


def test_a_resumed_run_continues_its_logs(prepared: Any, tmp_path: Path) -> None:
    pytest.importorskip("tensorboardX", reason="needs the extra tensorboard")

    class Stops(Callback):
        def batch(self, progress: Progress) -> None:
            if (progress.epoch, progress.batch) == (2, 3):
                raise KeyboardInterrupt

    folder = RunFolder(tmp_path / "run")
    folder.path.mkdir()
    run = prepared(log=("tensorboard",), log_every=2, checkpoint_every=1)
    with pytest.raises(KeyboardInterrupt):
        run.train(folder, [Stops()])
    history = TrainingRun.resumed(folder).train(folder)
    assert JSONLines.history(folder.log) == history == History.from_csv(folder.history)
    events = [event["event"] for event in JSONLines.read(folder.log)]
    assert [event for event in events if event != "batch"] == (
        ["start", "epoch", "stop", "resume", "epoch", "epoch", "stop"]
    )
    losses = {row.epoch: np.float32(row.loss) for row in history}
    assert shown(folder.path)["loss/training"] == losses
    steps = shown(folder.path / "batches")["batch/loss"]
    assert list(steps) == [2, 4, 6, 8, 10, 12, 14, 16, 18]  # six batches an epoch
    assert steps[18] == losses[3]


def test_a_run_whose_log_needs_a_missing_package_is_not_begun(
    prepared: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with pytest.raises(ModuleNotFoundError, match=r"tinygrad_cnn\[tensorboard\]"):
        prepared(log=("tensorboard",))
    with pytest.raises(ValueError, match=r"train: log\[0\] is 'wandb', expected one of 'tensorb"):
        TrainingSettings(log=("wandb",))
    with pytest.raises(ValueError, match="train: log_every is 0"):
        TrainingSettings(log_every=0)
