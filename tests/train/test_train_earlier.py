"""Files of earlier versions, kept in ``earlier``: they are read, and trainings go on from them.

Those of 0.1.0 have settings of format 1, a checkpoint of format 1, and no checksums.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from tinygrad_cnn.data import Split, load
from tinygrad_cnn.train import Experiment, History, RunFolder, Settings, load_run
from tinygrad_cnn.train.state import read_state

EARLIER = Path(__file__).parent / "earlier"
RUNS = ["adam-cosine", "nesterov-plateau"]


@pytest.fixture
def split() -> Split:
    return load(str(EARLIER / "few.npz"))


@pytest.fixture(params=RUNS)
def run(request: pytest.FixtureRequest, tmp_path: Path) -> RunFolder:
    """A run of 0.1.0 that was interrupted in the last of three epochs."""
    return RunFolder(Path(shutil.copytree(EARLIER / request.param, tmp_path / "run")))


def test_a_run_of_an_earlier_version_is_used(run: RunFolder, split: Split) -> None:
    loaded = load_run(run.path)
    assert loaded.settings.data.training_sha256 is None
    assert loaded.settings.versions["tinygrad_cnn"] == "0.1.0"
    for name, array in load_file(run.weights).items():  # safetensors' own reader
        np.testing.assert_array_equal(loaded.model.state_dict()[name], array)
    assert loaded.probabilities(split.test.images).shape == (6, 3)
    assert Settings.from_json(loaded.settings.to_json(), "settings") == loaded.settings


def test_a_run_of_an_earlier_version_is_gone_on_with(run: RunFolder, split: Split) -> None:
    experiment = Experiment.resumed(run, split)
    saved = read_state(run.checkpoint)
    state = experiment.optimizer.state_dict()
    for name, value in saved["optimizer"].items():
        np.testing.assert_array_equal(state[name], value)
    assert state.get("nesterov", True) is True  # as the settings say: the file says nothing
    assert experiment.schedule is not None
    assert saved["schedule"].items() <= experiment.schedule.state_dict().items()
    generator = experiment.model.dropout.rng.bit_generator.state
    assert [generator] == saved["generators"]
    assert len(experiment.train(run)) == 3
    assert History.from_csv(run.history) == experiment.history
    assert run.read_settings().data == experiment.settings.data.of_split(split)
    Experiment.resumed(run, split)  # what it has written is of this version


def test_the_data_of_a_run_of_an_earlier_version_are_compared_by_mean_and_deviation(
    run: RunFolder, split: Split, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(EARLIER / "few.npz", "few.npz")
    Experiment.resumed(run)
    np.savez(
        "few.npz",
        x_train=split.train.images // 2, y_train=split.train.labels,
        x_test=split.test.images, y_test=split.test.labels,
    )  # fmt: skip
    with pytest.raises(ValueError, match=r"few\.npz has changed since then: few: mean and dev"):
        Experiment.resumed(run)


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
