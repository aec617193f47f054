"""`import_run`: runs of files from elsewhere, which may be wrong or hostile."""

from __future__ import annotations

import io
import json
import tracemalloc
import warnings
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from safetensors.numpy import load_file, save_file
from support.datasets import save

import tinygrad_cnn as tg
from tinygrad_cnn import nn
from tinygrad_cnn.data import digits
from tinygrad_cnn.deployment import import_run, write_npz, write_onnx, write_safetensors
from tinygrad_cnn.nn import build, models
from tinygrad_cnn.nn.models.registry import LARGE_MODELS, MODELS
from tinygrad_cnn.train import (
    DataSettings,
    ModelFileError,
    ModelSettings,
    RunError,
    RunFolder,
    RunSettings,
    TrainedModel,
    TrainingRun,
    TrainingSettings,
    load_run,
)

OWN = """
import numpy as np
from tinygrad_cnn import nn

def margin(outputs, labels):
    return float(np.ptp(outputs, axis=1).mean())

class Net(nn.Module):
    def __init__(self, input_shape, classes, rng):
        self.fc = nn.Linear(784, classes, rng=rng)
        self.center, self.steps = np.zeros((1, 784), "f4"), 0

    def forward(self, x):
        return self.fc((x.reshape(len(x), -1) - self.center) ** 2)
"""
IMAGES = digits().test[:20].images
FEW = (digits().train.balanced(2), digits().test.balanced(2))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def settings_of_mnist() -> RunSettings:
    """Settings of a model whose data have other statistics than the digits."""
    data = DataSettings.of(digits(), "digits")
    data = replace(data, source="", name="other", mean=(0.4,), std=(0.2,))
    model = ModelSettings(name="lenet5")
    return RunSettings(data=data, model=model, training=TrainingSettings())


@pytest.fixture(scope="module")
def trained() -> TrainedModel:
    settings = settings_of_mnist()
    model = build("lenet5", input_shape=(1, 28, 28), classes=10, rng=np.random.default_rng(3))
    return TrainedModel(model.eval(), settings)


def own_run(training: TrainingSettings | None = None) -> TrainedModel:
    """Write and load a run of a user's own model with a state of its own."""
    Path("own.py").write_text(OWN)
    run = TrainingRun.new(
        save(Path("few.npz"), *FEW), "own.py:Net", training or TrainingSettings(epochs=1)
    )
    run.model.center += np.linspace(0, 1, 784, dtype="f4")
    run.model.steps = 7
    run.train(RunFolder.create("own", "own"))
    return load_run("own")


def assert_same(came: TrainedModel, expected: TrainedModel) -> None:
    probabilities = came.probabilities(IMAGES)
    np.testing.assert_allclose(probabilities, expected.probabilities(IMAGES), atol=1e-5)


# --- preprocessing -------------------------------------------------------------------------------


@pytest.mark.parametrize("pixels", [False, True])
def test_data_do_not_change_how_an_exported_model_sees_images(
    folder: Path, trained: TrainedModel, pixels: bool
) -> None:
    write_onnx(trained, "m.onnx", pixels=pixels)
    came = load_run(import_run("m.onnx", data="digits").path)
    assert_same(came, trained)
    assert came.settings.data.source == "digits"
    came.settings.data.check_split(came.settings.data.load())


def test_data_are_found_from_another_folder(
    folder: Path, trained: TrainedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_npz(trained, "w.npz")
    run = folder / import_run("w.npz", data=save(Path("few.npz"), *FEW)).path
    (folder / "other").mkdir()
    monkeypatch.chdir(folder / "other")
    assert len(load_run(run).settings.data.load().test) == len(FEW[1])


def test_a_mean_that_is_given_comes_first(folder: Path, trained: TrainedModel) -> None:
    write_npz(trained, "w.npz")
    data = load_run(import_run("w.npz", data="digits", mean=[0.3]).path).settings.data
    assert (data.mean, data.std) == ((0.3,), (0.2,))


@pytest.mark.parametrize("pixels", [False, True])
def test_training_a_file_further_begins_where_it_was(
    folder: Path, trained: TrainedModel, pixels: bool
) -> None:
    write_onnx(trained, "m.onnx", pixels=pixels)
    run = TrainingRun.new(save(Path("few.npz"), *FEW), "m.onnx", TrainingSettings())
    assert_same(TrainedModel(run.model.eval(), run.settings), trained)


def test_data_of_another_shape_are_refused(folder: Path, trained: TrainedModel) -> None:
    write_npz(trained, "w.npz")
    with pytest.raises(ValueError, match=r"takes images of shape \(1, 28, 28\), those of shapes"):
        import_run("w.npz", data="shapes")


def test_a_path_in_a_file_is_not_kept(folder: Path, trained: TrainedModel) -> None:
    write_onnx(trained, "m.onnx")
    proto = onnx.load("m.onnx")
    (entry,) = (each for each in proto.metadata_props if each.key == "settings")
    found = json.loads(entry.value)
    found["data"]["source"] = "/etc"
    entry.value = json.dumps(found)
    onnx.save(proto, "m.onnx")
    assert load_run(import_run("m.onnx").path).settings.data.source == ""


def test_an_image_of_a_trillion_pixels_is_refused(folder: Path) -> None:
    with pytest.raises(ValueError, match="expected at most 67,108,864 numbers"):
        replace(settings_of_mnist().data, input_shape=(1, 10**6, 10**6))


# --- weights -------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
def test_a_file_without_arrays_is_no_model(folder: Path, suffix: str) -> None:
    if suffix == ".npz":
        zipfile.ZipFile("w.npz", "w").close()
    else:
        save_file({}, "w.safetensors")
    with pytest.raises(ValueError, match=r"conv1\.weight is missing"):
        import_run(f"w{suffix}", model="lenet5", data="digits")
    assert not Path("runs").exists()


@pytest.mark.parametrize("write", [write_npz, write_safetensors])
def test_a_models_own_state_goes_out_and_in(folder: Path, write: Callable[..., None]) -> None:
    expected = own_run()
    suffix = ".npz" if write is write_npz else ".safetensors"
    write(expected, f"w{suffix}")
    came = load_run(import_run(f"w{suffix}", model="own.py:Net").path)
    assert came.model.steps == 7
    np.testing.assert_array_equal(came.model.center, expected.model.center)
    assert_same(came, expected)


def test_load_gives_only_the_weights_of_an_exported_file(folder: Path) -> None:
    expected = own_run()
    write_safetensors(expected, "w.safetensors")
    assert "/center/array" in load_file("w.safetensors")
    assert expected.model.load_state_dict(tg.load("w.safetensors")) == ([], [])


def test_own_metrics_stay_with_their_file(folder: Path) -> None:
    settings = TrainingSettings(epochs=1, metrics=("own.py:margin", "f1"))
    expected = own_run(settings)
    write_safetensors(expected, "w.safetensors")
    write_onnx(expected, "m.onnx")
    same = load_run(import_run("w.safetensors", model="own.py:Net").path).settings.training
    assert same.metrics == ("model.py:margin", "f1")
    run = import_run("m.onnx")
    training = load_run(run.path).settings.training
    assert training.metrics == ("f1",)
    assert [*training.make_metrics(run.read_model_file(run.read_settings()))] == ["f1"]


def test_weights_of_an_onnx_model_come_back_with_its_file(
    folder: Path, trained: TrainedModel
) -> None:
    write_onnx(trained, "m.onnx", pixels=True)
    run = import_run("m.onnx")
    write_safetensors(load_run(run.path), "w.safetensors")
    with pytest.raises(ValueError, match=r"give it by --model path/to/file\.onnx"):
        import_run("w.safetensors")
    assert_same(load_run(import_run("w.safetensors", model="m.onnx").path), trained)


def test_bfloat16_is_reported_once(folder: Path, trained: TrainedModel) -> None:
    halves = {n: a.view("u4") >> 16 for n, a in trained.model.state_dict().items()}
    header: dict[str, Any] = {}
    data = b""
    for name, array in halves.items():
        stop = len(data) + 2 * array.size
        header[name] = {"dtype": "BF16", "shape": array.shape, "data_offsets": [len(data), stop]}
        data += array.astype("<u2").tobytes()
    text = json.dumps(header).encode()
    Path("w.safetensors").write_bytes(len(text).to_bytes(8, "little") + text + data)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        import_run("w.safetensors", model="lenet5", data="digits")
    assert [str(each.message).split(";")[0] for each in caught] == [
        "w.safetensors: 10 of 10 arrays are bfloat16, which NumPy does not have"
    ]


# --- models by name ------------------------------------------------------------------------------


def test_every_function_of_the_models_can_be_named() -> None:
    functions = {name for name in models.__all__ if name[0].islower()} - {"build"}
    assert functions <= MODELS.keys() | LARGE_MODELS.keys()
    for name in functions & LARGE_MODELS.keys():
        assert LARGE_MODELS[name].factory is getattr(models, name)


def test_weights_of_a_large_model_are_imported(folder: Path) -> None:
    model = models.vgg11(classes=2, in_channels=1, hidden=4, batch_norm=True)
    tg.save("w.safetensors", model)
    given: dict[str, Any] = {"classes": "ab", "input_shape": (1, 32, 32), "mean": [0], "std": [1]}
    options = {"hidden": 4, "batch_norm": True}
    run = import_run("w.safetensors", model="vgg11", options=options, **given)
    images = np.random.default_rng(0).integers(0, 256, (2, 1, 32, 32), np.uint8)
    with tg.no_grad():
        expected = tg.softmax(model.eval()(images / np.float32(255)))
    np.testing.assert_allclose(load_run(run.path).probabilities(images), expected, atol=1e-6)
    given["classes"] = "abc"
    with pytest.raises(ValueError, match="the weights are of 2 classes: name all of them by --cl"):
        import_run("w.safetensors", model="vgg11", options=options, **given)


# --- ONNX files with data files ------------------------------------------------------------------


def with_data_file(trained: TrainedModel, location: str = "weights.bin") -> None:
    """Write m.onnx with its values in another file, as PyTorch's exporter does by default."""
    write_onnx(trained, "m.onnx")
    onnx.save_model(
        onnx.load("m.onnx"), "m.onnx", save_as_external_data=True, location=location,
        size_threshold=0,
    )  # fmt: skip


def test_an_onnx_file_with_a_data_file_is_imported_and_trained(
    folder: Path, trained: TrainedModel
) -> None:
    with_data_file(trained)
    assert Path("m.onnx").stat().st_size < 30_000
    run = import_run("m.onnx")
    further = TrainingRun.new(save(Path("few.npz"), *FEW), "m.onnx", TrainingSettings(epochs=1))
    assert_same(TrainedModel(further.model.eval(), further.settings), trained)
    Path("weights.bin").unlink()
    assert sorted(path.name for path in run.path.iterdir()) == [
        "model.onnx", "settings.json", "weights.safetensors",
    ]  # fmt: skip
    assert_same(load_run(run.path), trained)


def test_data_files_elsewhere_are_not_read(folder: Path, trained: TrainedModel) -> None:
    with_data_file(trained)
    Path("in").mkdir()
    Path("m.onnx").rename("in/m.onnx")
    with pytest.raises(ModelFileError, match=r"in/m\.onnx: initializer .*weights\.bin"):
        import_run("in/m.onnx")
    proto = onnx.load("in/m.onnx", load_external_data=False)
    for tensor in proto.graph.initializer:
        tensor.external_data[0].value = "../weights.bin"
    Path("in/m.onnx").write_bytes(proto.SerializeToString())
    with pytest.raises(ModelFileError, match="expected a path inside the folder of the file"):
        import_run("in/m.onnx")
    assert not Path("runs").exists()


# --- hostile .npz files --------------------------------------------------------------------------


def header(shape: tuple[int, ...], dtype: str = "<f4") -> bytes:
    start = io.BytesIO()
    described = {"descr": dtype, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(start, described)
    return start.getvalue()


def zipped(members: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        for name, contents in members.items():
            archive.writestr(name, contents)
    return file.getvalue()


def array(values: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, values)
    return file.getvalue()


def changed(contents: bytes, central: int, local: int, value: bytes) -> bytes:
    """Return a ZIP file with other fields of its only member."""
    changed = bytearray(contents)
    at = changed.find(b"PK\x01\x02") + central
    changed[at : at + len(value)] = changed[local : local + len(value)] = value
    return bytes(changed)


ONE = zipped({"w.npy": array(np.arange(10.0))})
HOSTILE = {
    "a shape without values": zipped({"conv1.weight.npy": header((10**6, 10**6))}),
    "a negative shape": zipped({"w.npy": header((-1, 3))}),
    "objects": zipped({"w.npy": header((3,), "|O") + b"\x80\x04N."}),
    "text": zipped({"w.npy": array(np.array(["a", "b"]))}),
    "no array": zipped({"w.npy": b"hello"}),
    "another file": zipped({"readme.txt": b"hello"}),
    "an archive inside": zipped({"w.npy": ONE}),
    "an unfinished header": zipped({"w.npy": header((3,))[:60]}),
    "a long header": zipped({"w.npy": b"\x93NUMPY\x02\x00\xff\xff\xff\x7f" + bytes(1 << 20)}),
    "metadata that are nested": zipped({"metadata.npy": array(np.array("[" * 100_000))}),
    "an unknown compression": changed(ONE, 10, 8, b"\x63\x00"),
    "encryption": changed(ONE, 8, 6, b"\x01"),
    "a wrong checksum": ONE.replace(np.float64(9).tobytes(), np.float64(8).tobytes()),
    "a plain array": array(np.arange(3)),
    "settings that are nested": zipped(
        {"metadata.npy": array(np.array(json.dumps({"settings": "[" * 100_000})))}
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_npz_file_is_refused(folder: Path, name: str) -> None:
    Path("w.npz").write_bytes(HOSTILE[name])
    with pytest.raises(RunError, match=r"^w\.npz: (is damaged|cannot be read)"):
        import_run("w.npz", model="lenet5", data="digits")
    assert not Path("runs").exists()


def test_compressed_arrays_much_larger_than_the_model_are_not_read(folder: Path) -> None:
    values = 1 << 24
    many = {f"{k}.npy": header((values,)) + bytes(4 * values) for k in range(2)}
    Path("w.npz").write_bytes(zipped(many, zipfile.ZIP_DEFLATED))
    tracemalloc.start()
    with pytest.raises(RunError, match=r"its arrays have 134,217,728 bytes, those of the model 24"):
        import_run("w.npz", model="lenet5", data="digits")
    assert tracemalloc.get_traced_memory()[1] < 4 * values
    tracemalloc.stop()


def test_compressed_float64_weights_are_read(folder: Path, trained: TrainedModel) -> None:
    wide = {name: a.astype("f8") for name, a in trained.model.state_dict().items()}
    np.savez_compressed("w.npz", allow_pickle=False, **{name: a * 0 for name, a in wide.items()})
    with pytest.warns(UserWarning, match="10 arrays from float64 to float32"):
        came = load_run(import_run("w.npz", model="lenet5", data="digits").path)
    assert not any(a.any() for a in came.model.state_dict().values())


def test_a_parameter_may_be_named_metadata(folder: Path) -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            self.metadata = nn.Parameter(np.zeros(3, "f4"))

    from tinygrad_cnn.deployment.npz_files import NpzFile

    state = Net().state_dict()
    np.savez("w.npz", allow_pickle=False, **state)
    assert NpzFile(Path("w.npz")).arrays(state).keys() == {"metadata"}
