"""``export`` writes a run's model in four formats; ``import`` makes a run of a file."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file
from support.datasets import save
from typer.testing import Result

import tinygrad_cnn as tg
from tinygrad_cnn.data import digits, shapes
from tinygrad_cnn.studio import model_files
from tinygrad_cnn.train import RunFolder, load_run

Call = Callable[..., Result]
TEST = digits().test[:50].images
NET = """
import tinygrad_cnn as tg
from tinygrad_cnn import nn

class Net(nn.Module):
    def __init__(self, input_shape, classes, rng):
        self.conv = nn.Conv2d(input_shape[0], 4, 3, rng=rng)
        self.norm = nn.BatchNorm2d(4)
        self.drop = nn.Dropout(0.5)
        self.head = nn.Linear(4, classes, rng=rng)

    def forward(self, x):
        x = tg.relu(self.norm(self.conv(x)))
        return self.head(self.drop(x.mean(axis=(2, 3))))
"""


def assert_same(run: Path | str, other: Path | str, images: np.ndarray = TEST) -> None:
    """Assert that the models of two runs predict the same."""
    expected = load_run(run).probabilities(images)
    np.testing.assert_allclose(load_run(other).probabilities(images), expected, atol=1e-5)


@pytest.fixture(scope="session")
def colored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of a user's own model of colored images, whose best weights are not the last."""
    folder = tmp_path_factory.mktemp("colored")
    (folder / "net.py").write_text(NET)
    split = shapes()
    save(folder / "few.npz", split.train[:200], split.test[:50])
    command = ["train", "--data", "few.npz", "--model", "net.py:Net", "--epochs", "2", "--quiet"]
    command += ["--val-split", "0.2", "--out", "run"]
    python = [sys.executable, "-m", "tinygrad_cnn", *command]
    subprocess.run(python, cwd=folder, check=True, timeout=120, capture_output=True)
    run = RunFolder(folder / "run")
    weights = load_file(run.weights)
    save_file({**weights, "head.bias": weights["head.bias"] + 1}, run.weights)
    return run.path


# --- export --------------------------------------------------------------------------------------


def test_onnx_takes_normalized_images_and_returns_logits(call: Call, run: Path) -> None:
    result = call("export", run)
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("model.onnx  ")
    session = onnxruntime.InferenceSession("model.onnx")
    trained = load_run(run)
    scaled = TEST.astype(np.float32) / 255
    logits = session.run(None, {"images": trained.settings.data.normalize()(scaled)})[0]
    np.testing.assert_allclose(tg.softmax(logits), trained.probabilities(TEST), atol=1e-5)
    found = session.get_modelmeta().custom_metadata_map
    assert found["input"] == "float32 (N, C, H, W): (pixels / 255 - mean) / std, channel by channel"
    assert json.loads(found["classes"]) == list("0123456789")
    assert json.loads(found["mean"]) == list(trained.settings.data.mean)
    assert json.loads(found["input_shape"]) == [1, 28, 28]
    assert found["preparation"] == "mnist"


def test_onnx_with_preprocessing_takes_pixels_and_returns_probabilities(
    call: Call, run: Path
) -> None:
    call("export", run, "--with-preprocessing", "--out", "pixels.onnx")
    session = onnxruntime.InferenceSession("pixels.onnx")
    came = session.run(["probabilities"], {"images": TEST.astype(np.float32)})[0]
    np.testing.assert_allclose(came, load_run(run).probabilities(TEST), atol=1e-5)
    assert "pixels from 0 to 255" in session.get_modelmeta().custom_metadata_map["input"]


def test_weights_have_the_names_of_the_model_and_metadata(call: Call, run: Path) -> None:
    for to in ("safetensors", "npz"):
        assert call("export", run, "--to", to).exit_code == 0
    expected = load_run(run).model.state_dict()
    with np.load("weights.npz", allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    metadata = json.loads(str(arrays.pop("metadata")))
    tensors = load_file("model.safetensors")
    for came in (arrays, tensors):
        assert came.keys() == expected.keys()
        assert all(np.array_equal(came[name], array) for name, array in expected.items())
    with safe_open("model.safetensors", "np") as file:
        assert file.metadata().items() >= metadata.items()
    assert metadata["producer"] == f"tinygrad_cnn {tg.__version__}"


def test_the_studio_reads_exported_weights(call: Call, run: Path) -> None:
    call("export", run, "--to", "safetensors")
    uploaded = model_files.read(Path("model.safetensors").read_bytes())
    expected = load_run(run).probabilities(TEST)
    np.testing.assert_array_equal(uploaded.probabilities(TEST), expected)


def test_a_program_predicts_from_pixels(call: Call, run: Path) -> None:
    result = call("export", run, "--to", "py")
    assert [line.split()[0] for line in result.stdout.splitlines()] == ["model.py", "model.npz"]
    np.save("images.npy", TEST)
    command = [sys.executable, "-I", "model.py", "images.npy"]
    printed = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout
    best = load_run(run).probabilities(TEST).argmax(1)
    assert [line.split()[0] for line in printed.splitlines()] == [str(k) for k in best]


@pytest.mark.parametrize("weights", ["best", "last"])
def test_the_chosen_weights_are_exported(call: Call, colored: Path, weights: str) -> None:
    call("export", colored, "--to", "safetensors", "--weights", weights)
    came = load_file("model.safetensors")
    expected = load_run(colored, weights).model.state_dict()
    assert all(np.array_equal(came[name], array) for name, array in expected.items())
    call("export", colored, "--to", "safetensors", "--out", "default.safetensors")
    same = Path("default.safetensors").read_bytes() == Path("model.safetensors").read_bytes()
    assert same == (weights == "best")


def test_the_path_of_the_data_is_not_exported(call: Call, colored: Path) -> None:
    for to in ("onnx", "safetensors", "npz", "py"):
        assert call("export", colored, "--to", to, "--out", f"{to}.{to}").exit_code == 0
    for path in Path().iterdir():
        assert str(colored.parent).encode() not in path.read_bytes()


def test_files_are_only_overwritten_with_force(call: Call, run: Path) -> None:
    Path("model.npz").write_text("mine")
    for to in ("npz", "py"):
        result = call("export", run, "--to", to, "--out", f"model.{to}")
        assert result.exit_code == 2
        assert result.stderr == (
            "error: export: model.npz exists; choose another --out, or --force overwrites\n"
        )
    assert Path("model.npz").read_text() == "mine"
    assert not Path("model.py").exists()
    assert call("export", run, "--to", "py", "--force").exit_code == 0
    assert np.load("model.npz", allow_pickle=False)["fc1.bias"].shape == (120,)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--out", "net.pt"], "export: --out is 'net.pt', expected a file name with .onnx"),
        (["--to", "pt"], "expected one of onnx, safetensors, npz, py"),
        (["--to", "py", "--with-preprocessing"], "a py program has it anyway"),
        (["--to", "npz", "--with-preprocessing"], "npz has only weights"),
        (["--out", "no/where.onnx"], "no/where.onnx: cannot be written"),
    ],
)
def test_a_wrong_option_of_export_is_explained(
    call: Call, run: Path, arguments: list[str], message: str
) -> None:
    result = call("export", run, *arguments)
    assert result.exit_code == 2
    assert message in result.stderr
    assert result.stderr.count("\n") == 1
    assert not list(Path().iterdir())


# --- import --------------------------------------------------------------------------------------


@pytest.mark.parametrize("to", ["onnx", "safetensors", "npz"])
def test_a_run_goes_out_and_in(call: Call, run: Path, to: str) -> None:
    call("export", run, "--to", to, "--out", f"model.{to}")
    result = call("import", f"model.{to}")
    assert result.exit_code == 0, result.output
    assert result.stdout == "runs/model-0\n"
    assert_same(run, "runs/model-0")
    assert load_run("runs/model-0").settings.data == load_run(run).settings.data
    lines = [call("evaluate", path).stdout.splitlines()[0] for path in (run, "runs/model-0")]
    assert lines[0] == lines[1]


def test_an_imported_onnx_file_is_drawn_derived_exported_and_trained(
    call: Call, run: Path, few_file: str
) -> None:
    call("export", run)
    call("import", "model.onnx", "--out", "in")
    assert sorted(path.name for path in Path("in").iterdir()) == [
        "model.onnx", "settings.json", "weights.safetensors",
    ]  # fmt: skip
    for command in (
        ["draw", "in", "--out", "in.svg"],
        ["derive", "in", "--wrt", "conv1.weight"],
        ["export", "in", "--out", "again.onnx"],
        ["export", "in", "--to", "py"],
        ["draw", "model.onnx", "--out", "file.svg"],
    ):
        assert call(*command).exit_code == 0, command
    call("import", "again.onnx", "--out", "twice")
    assert_same(run, "twice")
    options = ["--data", few_file, "--epochs", "1", "--lr", "1e-9", "--out", "tuned"]
    result = call("train", "--model", "in/model.onnx", *options)
    assert result.exit_code == 0, result.output
    images = digits().test[:20].images
    tuned = load_run("tuned")
    assert tuned.settings.model.file == "model.onnx"
    same = load_run(run).probabilities(images).argmax(1) == tuned.probabilities(images).argmax(1)
    assert same.mean() > 0.8  # the weights of the file, hardly changed


def test_an_onnx_file_of_pixels_and_probabilities_makes_the_same_run(call: Call, run: Path) -> None:
    call("export", run, "--with-preprocessing")
    call("import", "model.onnx")
    assert_same(run, "runs/model-0")
    assert load_run("runs/model-0").settings.data.std == (1 / 255,)


def test_a_model_of_ones_own_is_imported_with_its_file(call: Call, colored: Path) -> None:
    shutil.copy(colored / "model.py", "own.py")
    images = shapes().test[:20].images
    call("export", colored, "--to", "safetensors")
    result = call("import", "model.safetensors")
    assert result.exit_code == 2
    assert "give it by --model path/to/file.py:Net" in result.stderr
    assert call("import", "model.safetensors", "--model", "own.py:Net").exit_code == 0
    assert_same(colored, "runs/model-0", images)
    call("export", colored)
    assert call("import", "model.onnx").exit_code == 0
    assert_same(colored, "runs/model-1", images)


def test_what_a_foreign_file_lacks_is_named_and_given_by_options(call: Call, run: Path) -> None:
    trained = load_run(run)
    save_file(trained.model.state_dict(), "weights.safetensors")
    result = call("import", "weights.safetensors")
    assert "weights.safetensors: has only weights: give the model by --model" in result.stderr
    result = call("import", "weights.safetensors", "--model", "lenet5", "--mean", "0.13")
    assert result.exit_code == 2
    assert result.stderr == (
        "error: weights.safetensors: has no classes, input_shape, std; give --classes, "
        "--input-shape, --std, or all by --data\n"
    )
    Path("names.txt").write_text("\n".join("0123456789") + "\n")
    data = trained.settings.data
    given = ["--classes", "names.txt", "--input-shape", "1x28x28"]
    given += ["--mean", data.mean[0], "--std", data.std[0]]
    assert call("import", "weights.safetensors", "--model", "lenet5", *given).exit_code == 0
    assert_same(run, "runs/weights-0")
    result = call("evaluate", "runs/weights-0")
    assert result.exit_code == 2
    assert "imported without its data; expected a name or path (--data)" in result.stderr
    assert call("evaluate", "runs/weights-0", "--data", "digits").exit_code == 0
    assert (
        call("import", "weights.safetensors", "--model", "lenet5", "--data", "digits").exit_code
        == 0
    )
    assert_same(run, "runs/weights-1")


def test_an_imported_run_cannot_be_resumed(call: Call, run: Path) -> None:
    call("export", run, "--to", "npz", "--out", "model.npz")
    call("import", "model.npz")
    result = call("train", "--resume", "runs/model-0")
    assert result.exit_code == 2
    assert "has settings but no checkpoint" in result.stderr


@pytest.mark.parametrize(
    ("name", "contents", "message"),
    [
        ("none.onnx", None, "none.onnx: there is no such file"),
        ("model.pt", b"PK\x03\x04", "expected a file name with one of .onnx, .safetensors, .npz"),
        ("bad.onnx", b"no", "bad.onnx: this is not an ONNX file, or a damaged one"),
        ("bad.safetensors", b"no", "is damaged, truncated or not a safetensors file"),
        ("bad.npz", b"no", "bad.npz: is damaged, or not a .npz file of arrays"),
        ("bad.npz", b"PK\x03\x04", "bad.npz: is damaged, or not a .npz file of arrays"),
    ],
)
def test_a_bad_file_is_explained(
    call: Call, name: str, contents: bytes | None, message: str
) -> None:
    if contents is not None:
        Path(name).write_bytes(contents)
    result = call("import", name)
    assert result.exit_code == 2
    assert message in result.stderr
    assert result.stderr.count("\n") == 1
    assert not Path("runs").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--classes", "a,b"], "does not fit the settings: "),
        (["--input-shape", "1x40x40"], "does not fit the settings: "),
        (["--input-shape", "28"], "'28', expected CxHxW with positive integers"),
        (["--mean", "a"], "'a', expected numbers, separated by commas"),
        (["--mean", "0.1,0.2"], "expected one value per channel"),
        (["--std", "0"], "std"),
        (["--option", "optimizer.betas=1"], "optimizer.betas is of training, expected model.NAME"),
        (["--option", "model.activation=tanh"], "--option is for --model"),
        (["--model", "mlp"], "does not fit the settings: "),
        (["--out", "model.npz"], "model.npz: is a file; expected a new folder"),
    ],
)
def test_a_wrong_option_of_import_is_explained(
    call: Call, run: Path, arguments: list[str], message: str
) -> None:
    call("export", run, "--to", "npz", "--out", "model.npz")
    result = call("import", "model.npz", *arguments)
    assert result.exit_code == 2, result.output
    assert message in result.stderr
    assert result.stderr.count("\n") == 1
    assert not Path("runs").exists()


class Sum(tg.nn.Module):
    """A model of two images."""

    def __init__(self, model: tg.nn.Module) -> None:
        self.model = model

    def forward(self, x: tg.Tensor, y: tg.Tensor) -> tg.Tensor:
        return self.model(x) + self.model(y)


def test_an_onnx_file_that_is_no_classifier_of_batches_is_refused(call: Call, run: Path) -> None:
    model = load_run(run).model
    image = np.zeros((1, 1, 28, 28), np.float32)
    tg.onnx.export(model, image, "fixed.onnx", dynamic={})
    tg.onnx.export(Sum(model), (image, image), "two.onnx")
    tg.onnx.export(model.conv1, image, "maps.onnx")
    for name, message in (
        ("fixed.onnx", "its input x is a batch of 1, expected one of any size"),
        ("two.onnx", "it has 2 inputs, expected 1: images"),
        ("maps.onnx", "expected a Tensor of shape (2, 10): one logit per class"),
    ):
        result = call("import", name, "--data", "digits")
        assert result.exit_code == 2
        assert message in result.stderr
        assert result.stderr.count(name) == 1
    assert not Path("runs").exists()


def test_without_the_package_onnx_the_extra_is_named(
    call: Call, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    call("export", run)
    monkeypatch.setitem(sys.modules, "onnx", None)
    for command in (["export", run, "--out", "b.onnx"], ["import", "model.onnx"]):
        result = call(*command)
        assert result.exit_code == 2
        assert 'is not installed: pip install "tinygrad_cnn[onnx]"' in result.stderr
    assert not Path("b.onnx").exists()


def test_arrays_of_objects_are_not_unpickled(call: Call) -> None:
    np.savez("bad.npz", w=np.array([print], dtype=object))
    result = call("import", "bad.npz", "--model", "lenet5", "--data", "digits")
    assert result.exit_code == 2
    assert "allow_pickle=False" in result.stderr
