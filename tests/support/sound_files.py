"""Sound files of every kind that the package reads, and functions that read some of them."""

from __future__ import annotations

import gzip
import io
import json
import pickle
import tarfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import typer
from PIL import Image

import tinygrad_cnn as tg
from tinygrad_cnn.bench.page import BEGIN, END
from tinygrad_cnn.cli import app
from tinygrad_cnn.cli.errors import _described as described
from tinygrad_cnn.data import DataError, from_one_hot, one_hot
from tinygrad_cnn.data.cifar import CIFAR_SETS
from tinygrad_cnn.data.idx import write_idx
from tinygrad_cnn.experiments.results import Measurement, Results
from tinygrad_cnn.studio.model_files import pack
from tinygrad_cnn.studio.model_files import read as read_model
from tinygrad_cnn.train import (
    Checkpoint,
    Epoch,
    History,
    JSONLines,
    RunFolder,
    TrainingRun,
    TrainingSettings,
)


def tiny(folder: Path) -> Path:
    """Write 12 images of 8×8 in two classes."""
    path = folder / "tiny.npz"
    rng = np.random.default_rng(0)
    images, labels = rng.integers(0, 256, (12, 8, 8), np.uint8), np.arange(12) % 2
    np.savez(path, x_train=images[:8], y_train=labels[:8], x_test=images[8:], y_test=labels[8:])
    return path


def whole(folder: Path) -> Path:
    path = folder / "whole.npz"
    images = np.random.default_rng(0).random((10, 6, 6, 3)).astype("f4")
    np.savez_compressed(path, images=images, labels=np.arange(10)[:, None] % 2)
    return path


def state_file(folder: Path) -> Path:
    model = tg.nn.Linear(3, 2, rng=np.random.default_rng(0))
    optimizer = tg.optim.Adam(model.parameters())
    path = folder / "state.safetensors"
    tg.save(path, model=model, optimizer=optimizer, epoch=3, pair=(1, 2.5), z=1 + 2j,
            keyed={1: "a"}, flags=np.array([True, False]), zs=np.ones(2, np.complex64))  # fmt: skip
    return path


def weights(folder: Path) -> Path:
    run_folder(folder)
    return folder / "run" / "weights.safetensors"


def npz_weights(folder: Path) -> Path:
    path = folder / "w.npz"
    np.savez(path, allow_pickle=False, w=np.ones((2, 3)), metadata=np.array('{"input": "pixels"}'))
    return path


def run_folder(folder: Path) -> RunFolder:
    """Train a tiny run for an epoch."""
    settings = TrainingSettings(epochs=2, batch_size=4, schedule="plateau")
    run = TrainingRun.new(str(tiny(folder)), f"{model_file(folder)}:Net", settings)
    path = RunFolder.create("run", folder / "run")
    run.train(path)
    return path


def checkpoint(folder: Path) -> Path:
    *earlier, last = run_folder(folder).checkpoints
    for path in earlier:  # or it would be used instead
        path.unlink()
    return last


def settings_file(folder: Path) -> Path:
    return run_folder(folder).settings


def history_file(folder: Path) -> Path:
    path = folder / "history.csv"
    rows = (
        Epoch(i + 1, 0.5 / (i + 1), 0.9, 0.25, learning_rate=1e-3, metrics={"top5": 0.1 * i})
        for i in range(4)
    )
    History(list(rows)).to_csv(path)
    return path


def log_file(folder: Path) -> Path:
    path = folder / "log.jsonl"
    log, history = JSONLines(path), History()
    for row in History.from_csv(history_file(folder)):
        log.start(tg.nn.Module(), (), history, 4)
        history.append(row)
        log.epoch(history)
    log.end(history)
    return path


def continued_log(path: Path) -> Any:
    """A damaged log does not keep a run from going on, and gets its epochs."""
    history = History([Epoch(i + 1, 0.5) for i in range(3)])
    log = JSONLines(path)
    log.start(tg.nn.Module(), (), history, 4)
    log.epoch(History([*history, Epoch(4, 0.25)]))
    return history


def config_file(folder: Path) -> Path:
    path = folder / "run.toml"
    path.write_text(
        'data = "digits"\nepochs = 3\nlr = 0.125\nmetrics = ["f1", "top5"]\ngrayscale = true\n'
        'size = "8x8"\n[option.optimizer]\nbetas = [0.5, 0.75]\n[option]\nmodel.hidden = [5]\n'
    )
    return path


@cache
def train_command() -> Any:
    return typer.main.get_command(app).commands["train"]


def config(path: Path) -> dict[str, Any]:
    """Return the options in a settings file, with the command line's message of an error."""
    try:
        return dict(train_command().make_context("train", ["--config", str(path)]).params)
    except Exception as error:
        status, message = described(error)
        assert status == 2, message
        raise ValueError(message) from error


def model_file(folder: Path) -> Path:
    path = folder / "net.py"
    path.write_text(
        "from tinygrad_cnn import nn\n\n\nclass Net(nn.Sequential):\n"
        "    def __init__(self, input_shape, classes, rng):\n"
        "        size = input_shape[1]\n"
        "        drop = nn.Dropout(0.5, rng=rng)\n"
        "        super().__init__(nn.Flatten(), drop, nn.Linear(size * size, classes, rng=rng))\n"
        "        self.calls, self.seen = 0, {'sizes': [size], 'last': (1, rng.random(2))}\n\n"
        "    def forward(self, x):\n"
        "        self.calls += 1\n"
        "        return super().forward(x)\n"
    )
    return path


def own_loop(folder: Path) -> Checkpoint:
    model = tg.nn.Sequential(tg.nn.Dropout(0.5), tg.nn.Linear(3, 2, rng=np.random.default_rng(0)))
    optimizer = tg.optim.Adam(model.parameters())
    schedule = tg.optim.StepLR(optimizer, 2)
    return Checkpoint(model, optimizer, schedule, folder=folder)


def steps(folder: Path) -> Path:
    """Write two checkpoints of an own loop; return the newer."""
    checkpoint = own_loop(folder)
    with checkpoint:
        for _ in range(2):
            checkpoint.step()
            checkpoint.save()
    return max(folder.glob("*.safetensors"))


def restored(path: Path) -> bool:
    checkpoint = own_loop(path.parent)
    with checkpoint:
        return checkpoint.restore()


def uploaded(folder: Path) -> Path:
    path = folder / "model.safetensors"
    made = TrainingRun.new("digits", "mlp", TrainingSettings(), {"hidden": [3]})
    path.write_bytes(pack(made.settings, made.model.state_dict()))
    return path


def upload(path: Path) -> Any:
    return read_model(path.read_bytes())


def results_file(folder: Path) -> Path:
    path = folder / "relu--seed0.csv"
    rows = [Measurement("relu", 0, step, name, 0.5 / step)
            for step in (1.0, 2.0) for name in ("loss", "accuracy")]  # fmt: skip
    Results("activations", rows, {"code": "abc", "machine": "m", "numpy": "2"}).to_csv(path)
    return path


def benchmark(folder: Path) -> Path:
    path = folder / "earlier.json"
    common = {"workload": "mlp-1", "threads": 1, "framework": "tinygrad_cnn", "variant": ""}
    rows = [
        {"kind": "time", **common, "seconds": [1.0, 1.5]},
        {"kind": "time", **common, "framework": "torch", "seconds": [1.0, 1.5]},
        {"kind": "memory", **common, "bytes": 1000},
    ]
    machine = {"processor": "x", "cores": 2, "python": "3"}
    frameworks = [{"name": "torch", "version": "2"}]
    report = {"rows": rows, "machine": machine, "frameworks": frameworks}
    path.write_text(json.dumps(report))
    return path


def page(folder: Path) -> Path:
    path = folder / "page.md"
    path.write_text(f"# Page\n{BEGIN}\nresults\n{END}\nafter\n")
    return path


def idx(name: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        path = folder / name
        write_idx(path, np.arange(24, dtype=np.uint8).reshape(2, 3, 4))
        if not name.endswith(".gz"):
            path.write_bytes(gzip.decompress(path.read_bytes()))
        return path

    return make


def idx_folder(folder: Path) -> Path:
    rng = np.random.default_rng(0)
    for part, n in (("train", 6), ("t10k", 4)):
        write_idx(
            folder / f"{part}-images-idx3-ubyte.gz", rng.integers(0, 256, (n, 5, 5), np.uint8)
        )
        write_idx(folder / f"{part}-labels-idx1-ubyte.gz", (np.arange(n) % 3).astype(np.uint8))
    return folder / "train-labels-idx1-ubyte.gz"


def cifar_batch(protocol: int) -> bytes:
    batch = {b"labels": [3, 1], b"data": np.arange(2 * 3072).reshape(2, -1).astype(np.uint8)}
    return pickle.dumps(batch, protocol)


def cifar(kind: str) -> dict[str, bytes]:
    data = cifar_batch(2) if kind == "python" else bytes(range(9)) * 683 + b"\1" * 2
    parts = CIFAR_SETS["cifar10"].files[kind].values()
    data = data[: 2 * 3073] if kind == "binary" else data
    data = data.ljust(2 * 3073, b"\1") if kind == "binary" else data
    return {file: data for files in parts for file in files}


def cifar_folder(kind: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        files = cifar(kind)
        for file, data in files.items():
            (folder / file).write_bytes(data)
        return folder / next(iter(files))

    return make


def cifar_archive(folder: Path) -> Path:
    path = folder / CIFAR_SETS["cifar10"].archive.format("binary")
    with tarfile.open(path, "w:gz", compresslevel=1) as archive:
        for file, data in cifar("binary").items():
            member = tarfile.TarInfo(f"cifar-10-batches-bin/{file}")
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return path


def pickled(folder: Path) -> Path:
    path = folder / "batch"
    path.write_bytes(cifar_batch(4))
    return path


def picture(name: str, mode: str = "RGB") -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        pixels = np.random.default_rng(0).integers(0, 256, (12, 10, 4), np.uint8)
        Image.fromarray(pixels, "RGBA").convert(mode).save(path)
        return path

    return make


def image_folder(folder: Path) -> Path:
    for name in ("cat/a.png", "cat/b.png", "dog/c.png", "dog/d.png"):
        path = picture(name, "L")(folder)
    return path


def labels_file(folder: Path) -> Path:
    path = folder / "labels"
    path.write_text("[[0, 1, 0], [1, 0, 0]]")
    return path


def to_labels(path: Path) -> Any:
    try:
        values = json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        return np.zeros(1, np.int64)
    try:
        return one_hot(values, 10).argmax(-1), from_one_hot(values)
    except DataError as error:
        raise DataError(f"{path.name}: {error}") from error
