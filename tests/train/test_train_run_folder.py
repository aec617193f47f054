"""Run folders: damaged, wrong and new ones."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.stopping import folder

from tinygrad_cnn.train import (
    RunError,
    RunFolder,
    load_run,
)

DELETED = object()


# --- bad folders -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda run: run.settings.unlink(), "is not a run folder: it has no settings.json"),
        (lambda run: run.settings.write_text("{"), "settings.json: cannot be read: "),
        (lambda run: run.settings.write_text("[]"), "this is not a settings file"),
        (lambda run: run.settings.write_bytes(b"\xff\xfe"), "settings.json: cannot be read: "),
        (lambda run: edit(run, "format", DELETED), "not a settings file: it has no format"),
        (lambda run: edit(run, "extra", 2), "RunSettings: unknown field extra"),
        (lambda run: edit(run, "data", None), "DataSettings: got None, expected source"),
        (lambda run: edit(run, "data/alpha", 1), "DataSettings: unknown field alpha"),
        (lambda run: edit(run, "data/mean", DELETED), "DataSettings: mean is missing"),
        (lambda run: edit(run, "data/test_sha256", "0"), "expected 64 hexadecimal digits"),
        (lambda run: edit(run, "data/std", [0.0]), "std is (0.0,); expected positive numbers"),
        (lambda run: edit(run, "data/mean", [1.0, 2.0]), "expected one value per channel"),
        (
            lambda run: edit(run, "data/preparation", "x"),
            "preparation is 'x', expected one of 'image'",
        ),
        (lambda run: edit(run, "training/epochs", "3"), "epochs is '3', expected int"),
        (lambda run: edit(run, "model/sha256", None), "model: file is 'model.py' and sha256 None"),
        (lambda run: (run.path / "model.py").unlink(), "model.py: there is no such file"),
        (
            lambda run: (run.path / "model.py").write_text("x"),
            "model.py: has changed since the run",
        ),
        (lambda run: run.weights.unlink(), "weights.safetensors: there is no such file"),
        (
            lambda run: run.weights.write_bytes(run.weights.read_bytes()[:-1]),
            "is damaged, truncated or not",
        ),
        (
            lambda run: run.weights.write_bytes(b""),
            "weights.safetensors: is damaged, truncated or not",
        ),
        (lambda run: edit(run, "data/input_shape", [1, 40, 40]), "does not fit the model: "),
        (lambda run: edit(run, "data/classes", ["a", "b"]), "fc.weight is float32 of shape (10, "),
    ],
)
def test_a_bad_run_is_refused_and_the_file_named(
    copy: RunFolder, damage: Callable[[RunFolder], Any], says: str
) -> None:
    damage(copy)
    with pytest.raises(RunError) as raised:
        load_run(copy.path)
    assert says in str(raised.value)
    assert str(copy.path) in str(raised.value)


def test_what_is_no_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="there is no such folder; expected a run folder"):
        load_run(tmp_path / "nowhere")
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match="is a file; expected a run folder, such as"):
        load_run(tmp_path / "file")


def test_a_wrong_folder_is_refused_with_the_runs_in_it(copy: RunFolder, tmp_path: Path) -> None:
    with pytest.raises(RunError, match=rf"is a file; expected a run folder, {copy.path}"):
        load_run(copy.weights)
    studio = tmp_path / "studio"
    for number in range(7):
        folder = studio / "runs" / str(number)
        folder.mkdir(parents=True)
        copied = folder / "settings.json"
        copied.write_bytes(copy.settings.read_bytes())
        os.utime(copied, (number, number))
    for wrong in (studio, studio / "runs"):
        with pytest.raises(RunError) as raised:
            load_run(wrong)
        newest = ", ".join(str(studio / "runs" / str(number)) for number in (6, 5, 4, 3, 2))
        expected = f"{wrong}: is not a run folder: it has no settings.json; it contains {newest}"
        assert str(raised.value) == f"{expected} and 2 more"


def edit(run: RunFolder, place: str, value: Any) -> None:
    """Set the setting at `place`, such as ``"data/source"``; delete it if `value` is DELETED."""
    settings = json.loads(run.settings.read_text())
    *path, last = place.split("/")
    inner = settings
    for step in path:
        inner = inner[step]
    if value is DELETED:
        del inner[last]
    else:
        inner[last] = value
    run.settings.write_text(json.dumps(settings))


def flip(path: Path, share: float) -> None:
    """Flip one bit of a file, at a share of its length."""
    contents = bytearray(path.read_bytes())
    contents[int(share * len(contents))] ^= 16
    path.write_bytes(contents)


@pytest.mark.parametrize("share", [0.5, 0.9, 0.999])
def test_one_flipped_bit_is_noticed(copy: RunFolder, share: float) -> None:
    flip(copy.weights, share)
    with pytest.raises(RunError, match=r"weights\.safetensors: is damaged"):
        load_run(copy.path)


# --- new folders -------------------------------------------------------------------------------


def test_a_gap_in_the_numbers_is_filled(tmp_path: Path) -> None:
    assert [folder(tmp_path).path.name for _ in range(3)] == ["run-0", "run-1", "run-2"]
    (tmp_path / "run-1").rmdir()
    assert folder(tmp_path).path.name == "run-1"


def test_out_may_be_new_or_empty_and_nothing_else(tmp_path: Path) -> None:
    assert RunFolder.create("x", out=tmp_path / "a" / "b").path == tmp_path / "a" / "b"
    assert RunFolder.create("x", out=tmp_path / "a" / "b").path.is_dir()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    with pytest.raises(RunError, match=r"full: is not empty; expected a new folder, or --resume"):
        RunFolder.create("x", out=tmp_path / "full")
    with pytest.raises(RunError, match=r"file: is a file; expected a new folder"):
        RunFolder.create("x", out=tmp_path / "full" / "file")
    with pytest.raises(RunError, match=r"file: is a file, or below one; expected a folder"):
        RunFolder.create("x", parent=tmp_path / "full" / "file")
