"""ONNX files damaged in many ways: each runs, or is refused; no other file is opened."""

from __future__ import annotations

import traceback
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.machine import lengthy
from support.mutations import MUTATORS
from support.onnx_models import block, save_with_data
from support.onnx_mutations import mutate_onnx
from support.opened import watched
from support.readers import Reader, fuzz

import tinygrad_cnn as tg
from tinygrad_cnn.onnx import OnnxError, OnnxModule

MUTATORS["onnx"] = mutate_onnx


def plain(folder: Path) -> Path:
    path = folder / "net.onnx"
    path.write_bytes(block().SerializeToString())
    return path


def divided(folder: Path) -> Path:
    """Write a model with its weights in a file beside it."""
    (folder.parent / "secret.bin").write_bytes(bytes(10_000))
    save_with_data(block(), folder / "net.onnx")
    return folder / "net.onnx"


def load_and_run(path: Path) -> Any:
    """Load a model, watching the files that are opened; run it and its gradient."""
    with watched() as files:
        loaded = tg.onnx.load(path)
    outside = [file for file in files if not Path(file).is_relative_to(path.parent)]
    assert not [file for file in outside if not file.endswith((".py", ".pyc"))], outside
    try:
        run(loaded)
    except OnnxError as error:
        raise OnnxError(f"{path.name}: {error}") from error
    return loaded


def run(loaded: OnnxModule) -> None:
    inputs = []
    for each in loaded.inputs:
        shape = (3, 2, 4, 4) if each.shape is None else each.shape
        sizes = [size if isinstance(size, int) else 3 for size in shape]
        if np.prod(sizes, dtype=float) > 1e6:
            return
        inputs.append(np.ones(sizes, each.dtype))
    outputs = loaded(*inputs)
    for y in outputs if isinstance(outputs, tuple) else (outputs,):
        if isinstance(y, tg.Tensor) and y.requires_grad and y.size:
            y.sum().backward()
    assert str(loaded)


def is_module(loaded: Any) -> None:
    assert isinstance(loaded, OnnxModule)


FILES = [
    Reader("onnx", "onnx", plain, load_and_run, (OnnxError,), is_module),
    Reader("onnx with data", "onnx", divided, load_and_run, (OnnxError,), is_module),
]
each_file = pytest.mark.parametrize("reader", FILES, ids=[each.name for each in FILES])


def check_onnx(reader: Reader, folder: Path, seeds: Iterable[int]) -> None:
    folder = folder / "inner"
    folder.mkdir()
    wrong = list(fuzz(reader, folder, seeds))
    if wrong:
        seed, error = wrong[0]
        text = "".join(traceback.format_exception(error)[-8:])
        pytest.fail(f"{len(wrong)}, first seed {seed}: {text}")


@each_file
def test_a_damaged_model_runs_or_is_refused_by_name(reader: Reader, tmp_path: Path) -> None:
    check_onnx(reader, tmp_path, range(200))


@lengthy
@each_file
def test_a_model_damaged_in_two_thousand_ways_runs_or_is_refused(
    reader: Reader, tmp_path: Path
) -> None:
    check_onnx(reader, tmp_path, range(200, 2_000))
