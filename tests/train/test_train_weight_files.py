"""Files of weights from and for PyTorch; `support/pytorch_files.py` wrote those in `pytorch`."""

from __future__ import annotations

import os
import pickle
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from support.pytorch_files import FOLDER

import tinygrad_cnn as tg
from tinygrad_cnn import nn
from tinygrad_cnn.compat import torch
from tinygrad_cnn.train import RunError

PYTHON = os.environ.get("TINYGRAD_CNN_PYTHON_TORCH")


def test_the_floats_of_pytorch_are_read_to_the_last_bit() -> None:
    with pytest.warns(
        UserWarning, match="dtypes.safetensors: 2 of 7 arrays are bfloat16"
    ) as caught:
        arrays = tg.load(FOLDER / "dtypes.safetensors")
    assert [warning.filename for warning in caught] == [__file__]
    for kind, dtype in (("float16", "f2"), ("bfloat16", "f4"), ("float64", "f8")):
        array, expected = arrays[kind], arrays[f"{kind}.as_float32"]
        assert (array.dtype, expected.dtype) == (dtype, np.float32)
        with np.errstate(over="ignore", invalid="ignore"):
            np.testing.assert_array_equal(array.astype("f4").view("u4"), expected.view("u4"))
    assert (arrays["scalar"].shape, float(arrays["scalar"])) == ((), 2.5)


def test_8_bit_floats_are_refused() -> None:
    message = r"^.*float8\.safetensors: weight is of type F8_E4M3, expected .*tensor\.float\(\)$"
    with pytest.raises(RunError, match=message):
        tg.load(FOLDER / "float8.safetensors")


def network() -> nn.Sequential:
    return nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 3), nn.Linear(3, 3))


def test_a_state_dict_of_pytorch_is_loaded() -> None:
    model = network()
    weights = tg.load(FOLDER / "weights.safetensors")
    assert model.load_state_dict(weights) == ([], [])
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(array, load_file(FOLDER / "weights.safetensors")[name])


# --- pickles --------------------------------------------------------------------------------------


def conversion(path: Path) -> list[str]:
    """Return the lines of the message about a pickle."""
    with pytest.raises(RunError, match=f"{path.name}: is a pickle, .* convert it once") as raised:
        tg.load(path)
    with pytest.raises(RuntimeError, match="was written by PyTorch; convert it once"):
        torch.load(path)
    lines = re.findall(r"^    (.*)$", str(raised.value), re.MULTILINE)
    assert len(lines) == 3
    return lines


@pytest.mark.parametrize("file", ["weights.pt", "old.pth"])
@pytest.mark.parametrize("ending", ["", ".pt", ".pth", ".bin", ".safetensors"])
def test_a_pickle_of_pytorch_is_refused_whatever_it_is_called(
    file: str, ending: str, tmp_path: Path
) -> None:
    path = Path(shutil.copy(FOLDER / file, tmp_path / f"my model{ending}"))
    lines = conversion(path)
    compile("\n".join(lines), "lines", "exec")
    assert f"torch.load({path.name!r}" in lines[1]
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(RunError, match=r"is a pickle|is damaged"):
        tg.load(path)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_pickle_of_any_protocol_is_refused(protocol: int, tmp_path: Path) -> None:
    path = tmp_path / "w.ckpt"
    path.write_bytes(pickle.dumps({"w": 1}, protocol))
    conversion(path)


@pytest.mark.skipif(not PYTHON, reason="set TINYGRAD_CNN_PYTHON_TORCH")
@pytest.mark.parametrize("file", ["weights.pt", "old.pth"])
def test_the_lines_of_the_message_convert_the_file(file: str, tmp_path: Path) -> None:
    path = Path(shutil.copy(FOLDER / file, tmp_path))
    lines = "\n".join(conversion(path))
    subprocess.run([str(PYTHON), "-c", lines], cwd=tmp_path, check=True)
    converted = tg.load(path.with_suffix(".safetensors"))
    assert network().load_state_dict(converted) == ([], [])
    expected = load_file(FOLDER / "weights.safetensors")
    for name, array in converted.items():
        np.testing.assert_array_equal(array, expected[name])


def test_a_safetensors_file_is_read_whatever_it_is_called(tmp_path: Path) -> None:
    """Its first byte is any; 0x80 is also that of a pickle."""
    path, first = tmp_path / "model.pt", set()
    for length in range(0, 256, 8):
        save_file({"w": np.arange(3.0)}, path, metadata={"note": "x" * length})
        first.add(path.read_bytes()[0])
        np.testing.assert_array_equal(tg.load(path)["w"], np.arange(3.0))
        assert torch.load(path)["w"].tolist() == [0, 1, 2]
    assert 0x80 in first


def test_files_of_other_kinds_are_named(tmp_path: Path) -> None:
    np.savez(tmp_path / "w.npz", w=np.zeros(1))
    with pytest.raises(RunError, match=r"w\.npz: is a file of numpy.savez: read it by dict\(numpy"):
        tg.load(tmp_path / "w.npz")
    (tmp_path / "w.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(90))
    with pytest.raises(RunError, match=r"w\.h5: is an HDF5 file, expected a safetensors file"):
        tg.load(tmp_path / "w.h5")


# --- weights alone --------------------------------------------------------------------------------


def test_weights_alone_have_their_own_names_in_the_file(tmp_path: Path) -> None:
    model, path = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2)), tmp_path / "w.safetensors"
    for weights in (model, model.state_dict(), dict(model.named_parameters())):
        tg.save(path, weights)
        found = load_file(path)
        expected = model.state_dict()
        assert found.keys() == (weights if isinstance(weights, dict) else expected).keys()
        for name, array in found.items():
            np.testing.assert_array_equal(array, expected[name])
            assert array.dtype == expected[name].dtype
        assert tg.load(path).keys() == found.keys()


@pytest.mark.parametrize(
    ("weights", "more", "message"),
    [
        (nn.ReLU(), {"epoch": 3}, r"got weights and values by name \(epoch\)"),
        ([1.0], {}, "weights is list, expected a Module or a dict"),
        ({"a": {"b": np.zeros(1)}}, {}, "'a' of dict is dict, expected arrays by name"),
        ({1: np.zeros(1)}, {}, "1 of dict is ndarray, expected arrays by name"),
        ({"a": np.array(["text"])}, {}, "a is an array of <U4, expected one of uint64"),
        (tg.optim.SGD(nn.Linear(1, 1).parameters(), 0.1), {}, r"of SGD is .*save\(path, state="),
    ],
)  # fmt: skip
def test_other_weights_are_refused(
    weights: Any, more: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(TypeError, match=message):
        tg.save(tmp_path / "w", weights, **more)
    assert not (tmp_path / "w").exists()
