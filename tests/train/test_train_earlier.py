"""Files of earlier versions, kept in ``earlier``: they are read, and runs resume from them.

The first two and the studio's have settings of format 1, a checkpoint of format 1, and no
checksums; the others have checkpoints of format 2 to 5, and in ``end.safetensors`` the weights that
their version ended the run with, had it not been interrupted; that of format 5 was interrupted
within an epoch, and has settings of format 2. The convolution that AdamW trains has no bias: batch
norm would leave it a gradient of rounding errors, which AdamW divides by their size.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from tinygrad_cnn.data import Split, load
from tinygrad_cnn.train import History, RunFolder, RunSettings, TrainingRun, load_run
from tinygrad_cnn.train.state import read_state

EARLIER = Path(__file__).parent / "earlier"
FIRST = ["adam-cosine", "nesterov-plateau"]
SECOND = ["adamw-onecycle", "momentum-plateau", "rmsprop-step"]
LATER = ["format-3", "format-4", "format-5"]
NAMES = {"epsilon": "eps", "lr_start": "base_lr", "bad_steps": "num_bad_epochs",
         "steps_taken": "last_epoch"}  # fmt: skip


@pytest.fixture
def split() -> Split:
    return load(str(EARLIER / "few.npz"))


def copied(name: str, tmp_path: Path) -> RunFolder:
    return RunFolder(Path(shutil.copytree(EARLIER / name, tmp_path / "run")))


@pytest.fixture(params=FIRST)
def run(request: pytest.FixtureRequest, tmp_path: Path) -> RunFolder:
    """A run that was interrupted in the last of three epochs."""
    return copied(request.param, tmp_path)


@pytest.mark.parametrize("name", [*FIRST, *SECOND, *LATER])
def test_a_run_of_an_earlier_version_is_used(name: str, split: Split, tmp_path: Path) -> None:
    run = copied(name, tmp_path)
    loaded = load_run(run.path)
    assert (loaded.settings.data.training_sha256 is None) == (name in FIRST)
    assert loaded.settings.versions["tinygrad_cnn"] == "0.1.0"
    for name, array in load_file(run.weights).items():  # safetensors' own reader
        np.testing.assert_array_equal(loaded.model.state_dict()[name], array)
    assert loaded.probabilities(split.test.images).shape == (6, 3)
    assert RunSettings.from_json(loaded.settings.to_json(), "settings") == loaded.settings


def test_a_run_of_an_earlier_version_is_resumed(run: RunFolder, split: Split) -> None:
    training_run = TrainingRun.resumed(run, split)
    saved = read_state(run.checkpoints[-1])
    state = training_run.optimizer.state_dict()
    for name, value in saved["optimizer"].items():
        if not name.startswith("beta"):
            np.testing.assert_array_equal(state[NAMES.get(name, name)], value)
    assert state.get("betas", (0.9, 0.999)) == (0.9, 0.999)
    assert state.get("nesterov", True) is True  # as the settings say: the file says nothing
    assert training_run.schedule is not None
    progress = {NAMES.get(name, name): value for name, value in saved["schedule"].items()}
    assert progress.items() <= training_run.schedule.state_dict().items()
    assert training_run.schedule.last_epoch == (6 if "last_epoch" in progress else 2)
    generator = training_run.model.dropout.rng.bit_generator.state
    assert [generator] == saved["generators"]
    assert len(training_run.train(run)) == 3
    assert History.from_csv(run.history) == training_run.history
    assert run.read_settings().data == training_run.settings.data.of_split(split)
    TrainingRun.resumed(run, split)  # what it has written is of this version


@pytest.mark.parametrize("name", [*SECOND, *LATER])
def test_a_resumed_run_of_an_earlier_version_ends_with_the_weights_of_that_version(
    name: str, split: Split, tmp_path: Path
) -> None:
    run = copied(name, tmp_path)
    training_run = TrainingRun.resumed(run, split)
    assert len(training_run.history) == 2
    training_run.train(run)
    for path in (run.path / "end.safetensors", run.weights):
        expected = load_file(path)
        for key, array in training_run.model.state_dict().items():
            if key in expected:
                np.testing.assert_allclose(array, expected[key], rtol=1e-4, atol=1e-6)
    assert expected.keys() == training_run.model.state_dict().keys()


def test_the_data_of_a_run_of_an_earlier_version_are_compared_by_mean_and_deviation(
    run: RunFolder, split: Split, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(EARLIER / "few.npz", "few.npz")
    TrainingRun.resumed(run)
    np.savez(
        "few.npz",
        x_train=split.train.images // 2, y_train=split.train.labels,
        x_test=split.test.images, y_test=split.test.labels,
    )  # fmt: skip
    with pytest.raises(ValueError, match=r"few\.npz has changed since the run: few: mean and"):
        TrainingRun.resumed(run)


def test_a_model_and_a_lesson_of_an_earlier_studio_are_read() -> None:
    pytest.importorskip("sqlalchemy", reason="needs the extra studio")
    from tinygrad_cnn.studio.model_files import unpack
    from tinygrad_cnn.studio.training.mixing import Lesson

    path = EARLIER / "studio" / "model.safetensors"
    settings, weights = unpack(path.read_bytes())
    assert settings.model.options == {"activation": "relu", "hidden": [1]}
    for name, array in load_file(path).items():
        np.testing.assert_array_equal(weights[name], array)
    lesson = Lesson.read(EARLIER / "studio" / "drawings.safetensors")
    assert (lesson.images.sum(), lesson.labels.tolist()) == (17 * 255, [1])
    assert len(lesson.held_labels) == 0
