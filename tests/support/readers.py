"""Every function that reads a file: how to make a sound one, and what a damaged one may raise."""

from __future__ import annotations

import gzip
import io
import json
import os
import pickle
import resource
import signal
import tarfile
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import typer
from PIL import Image

import tinygrad_cnn as tg
from support.mutations import mutated
from tinygrad_cnn.bench.page import BEGIN, END, check_page
from tinygrad_cnn.cli import app
from tinygrad_cnn.cli.benchmarking import _read as read_benchmark
from tinygrad_cnn.cli.errors import _described as described
from tinygrad_cnn.compat import torch
from tinygrad_cnn.data import DataError, Split, from_one_hot, load, one_hot, read_idx
from tinygrad_cnn.data.archive import npz
from tinygrad_cnn.data.cifar import CIFAR_SETS
from tinygrad_cnn.data.idx import write_idx
from tinygrad_cnn.data.pickles import read_pickle
from tinygrad_cnn.data.picture import read_image
from tinygrad_cnn.deployment.npz_files import NpzFile
from tinygrad_cnn.experiments.results import Measurement, Results
from tinygrad_cnn.studio.model_files import UnusableModelError, pack
from tinygrad_cnn.studio.model_files import read as read_model
from tinygrad_cnn.train import (
    Checkpoint,
    Epoch,
    History,
    JSONLines,
    ModelFileError,
    RunError,
    RunFolder,
    RunSettings,
    TrainingRun,
    TrainingSettings,
    load_run,
)
from tinygrad_cnn.train.history import COLUMNS
from tinygrad_cnn.train.model_file import ModelFile
from tinygrad_cnn.train.state import read_arrays, read_state, read_weights, unpack_arrays

MEGABYTES = 1024  # that reading a small file may take, of addresses
SECONDS = 10  # of a processor that reading a small file may take: far above what it does


@dataclass(frozen=True)
class Reader:
    """A function that reads a file.

    `make` writes a sound file, perhaps among others, and returns its path; `read` reads it;
    `errors` are those documented; `check` asserts that a value is of the declared types; messages
    contain what `names` returns, by default the name of the file.
    """

    name: str
    kind: str
    make: Callable[[Path], Path]
    read: Callable[[Path], Any]
    errors: tuple[type[Exception], ...]
    check: Callable[[Any], None]
    names: Callable[[Path], str] = lambda path: path.name


class TooSlowError(BaseException):
    """Reading took too long."""


@contextmanager
def bounded() -> Iterator[None]:
    """Limit the memory and the time of what is inside."""

    def stop(*_: object) -> None:
        raise TooSlowError

    pages = int(Path("/proc/self/statm").read_text().split()[0])
    before = resource.getrlimit(resource.RLIMIT_AS)
    most = pages * os.sysconf("SC_PAGE_SIZE") + (MEGABYTES << 20)
    handler = signal.signal(signal.SIGPROF, stop)
    resource.setrlimit(resource.RLIMIT_AS, (most, before[1]))
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        resource.setrlimit(resource.RLIMIT_AS, before)
        signal.signal(signal.SIGPROF, handler)


def fuzz(reader: Reader, folder: Path, seeds: Iterable[int]) -> Iterator[tuple[int, BaseException]]:
    """Read a file damaged in many ways; yield each seed at which that went wrong, and how."""
    path = reader.make(folder)
    sound = path.read_bytes()
    reader.check(reader.read(path))
    for seed in seeds:
        path.write_bytes(mutated(reader.kind, sound, f"{reader.name} {seed}"))
        before = names(folder)
        try:
            with bounded(), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                try:
                    value = reader.read(path)
                except reader.errors as error:
                    message = str(error)
                    assert reader.names(path) in message, f"the file is not named: {message}"
                    assert "Traceback" not in message
                else:
                    reader.check(value)
            assert names(folder) == before, "files were left"
        except (Exception, TooSlowError) as error:
            yield seed, error
    path.write_bytes(sound)


def names(folder: Path) -> list[str]:
    return sorted(str(path) for path in folder.rglob("*"))


# -- what is read, and whether it is what was promised


def is_tree(value: Any) -> None:
    """Assert that a value is made of what `tg.save` takes."""
    if isinstance(value, dict):
        for key, inner in value.items():
            hash(key)
            is_tree(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            is_tree(inner)
    else:
        assert value is None or isinstance(
            value, bool | int | float | complex | str | np.ndarray
        ), type(value)


def is_state(value: Any) -> None:
    assert isinstance(value, dict)
    assert all(isinstance(key, str) for key in value)
    is_tree(value)


def are_arrays(value: Any) -> None:
    assert isinstance(value, dict)
    assert all(isinstance(k, str) and isinstance(v, np.ndarray) for k, v in value.items())


def is_split(split: Any) -> None:
    assert isinstance(split, Split)
    for part in split.parts().values():
        assert part.images.dtype == np.uint8
        assert part.images.ndim == 4
        assert part.labels.dtype == np.int64
        assert part.labels.shape == part.images.shape[:1]
        assert all(isinstance(name, str) for name in part.classes)
        assert ((part.labels >= 0) & (part.labels < len(part.classes))).all()


def is_history(history: Any) -> None:
    assert isinstance(history, History)
    for i, epoch in enumerate(history):
        assert isinstance(epoch, Epoch)
        assert type(epoch.epoch) is int
        columns = [getattr(epoch, name) for name in COLUMNS if name not in ("epoch", "metrics")]
        assert not any(map(np.isinf, columns))
        assert epoch.epoch == i + 1
        numbers = [
            getattr(epoch, f.name) for f in fields(epoch) if f.name not in ("epoch", "metrics")
        ]
        assert all(type(x) is float for x in (*numbers, *epoch.metrics.values()))


def are_settings(settings: Any) -> None:
    assert isinstance(settings, RunSettings)
    data, model, training = settings.data, settings.model, settings.training
    assert all(type(x) is str for x in (data.source, data.name, model.name, *data.classes))
    assert all(type(x) is int for x in (*data.input_shape, training.epochs, training.seed))
    assert all(type(x) is int and x >= 0 for x in (data.training_images, data.test_images))
    assert all(isinstance(x, int | float) and abs(x) < 1e300 for x in (*data.mean, *data.std))
    assert all(isinstance(x, int | float) for x in (training.lr, training.weight_decay))
    assert all(type(x) is str for pair in settings.versions.items() for x in pair)
    text = settings.to_json().encode()
    assert RunSettings.from_json(text, "again") == settings


def are_results(results: Any) -> None:
    assert isinstance(results, Results)
    assert isinstance(results.experiment, str)
    assert isinstance(results.provenance, dict)
    for row in results.rows:
        assert [type(x) for x in row] == [str, int, float, str, float]
    assert results.to_text().encode()
    for variant in results.variants:
        for measure in results.measures:
            if results.has(variant, measure):
                results.curve(variant, measure)


def is_plain_pickle(value: Any) -> None:
    assert isinstance(
        value, bool | int | float | complex | str | bytes | bytearray | list | tuple | dict | set
        | frozenset | np.ndarray | None
    )  # fmt: skip


def is_picture(pixels: Any) -> None:
    assert pixels.dtype == np.uint8
    assert pixels.ndim == 3
    assert pixels.shape[0] in (1, 3)


def is_run(run: Any) -> None:
    are_settings(run.settings)
    is_history(run.history)
    for array in run.model.state_dict().values():
        assert array.dtype.kind in "fiub"
    run.optimizer.state_dict()


# -- sound files


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


def are_events(events: Any) -> None:
    assert isinstance(events, list)
    assert all(isinstance(event, dict) for event in events)


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


def its_folder(path: Path) -> str:
    """Return what messages about a file in a folder that fits no other file name at least."""
    return path.parent.name


RUN = (RunError,)
READERS = [
    Reader("tg.load", "safetensors", state_file, tg.load, (ValueError,), is_state),
    Reader("torch.load", "safetensors", state_file, torch.load, (ValueError, RuntimeError),
           lambda value: None),
    Reader("read_state", "safetensors", state_file, read_state, RUN, is_state),
    Reader("read_arrays", "safetensors", weights, read_arrays, RUN, are_arrays),
    Reader("read_weights", "safetensors", weights, lambda p: read_weights(p)[0], RUN, are_arrays),
    Reader("unpack_arrays", "safetensors", state_file,
           lambda p: unpack_arrays(p.read_bytes(), p.name)[0], RUN, are_arrays),
    Reader("load_run, weights", "safetensors", weights, lambda p: load_run(p.parent).settings, RUN,
           are_settings, its_folder),
    Reader("load_run, settings", "json", settings_file, lambda p: load_run(p.parent).settings, RUN,
           are_settings, its_folder),
    Reader("settings", "json", settings_file,
           lambda p: RunSettings.from_json(p.read_bytes(), str(p)), RUN, are_settings),
    Reader("resumed, settings", "json", settings_file,
           lambda p: TrainingRun.resumed(RunFolder(p.parent)), (RunError, DataError), is_run,
           lambda path: ""),  # it may be that of the data
    Reader("resumed, checkpoint", "safetensors", checkpoint,
           lambda p: TrainingRun.resumed(RunFolder(p.parent)), RUN, is_run),
    Reader("history", "csv", history_file, History.from_csv, RUN, is_history),
    Reader("log", "jsonl", log_file, JSONLines.read, (ValueError,), are_events),
    Reader("log, history", "jsonl", log_file, JSONLines.history, (ValueError,), is_history),
    Reader("log, continued", "text", log_file, continued_log, (), is_history),
    Reader("config", "text", config_file, config, (ValueError,), lambda found: None),
    Reader("restore", "safetensors", steps, restored, RUN, lambda value: None),
    Reader("uploaded model", "safetensors", uploaded, upload, (UnusableModelError,),
           lambda model: are_settings(model.settings), lambda path: ""),  # it has no name
    Reader("model file", "text", model_file,
           lambda p: ModelFile.read(p, "Net").build(input_shape=(1, 8, 8), classes=2),
           (ModelFileError,), lambda model: model.state_dict()),
    Reader("results", "csv", results_file, Results.from_csv, (ValueError,), are_results),
    Reader("benchmark", "json", benchmark, read_benchmark, (ValueError,), lambda found: None),
    Reader("benchmark page", "text", page, check_page, (ValueError,), lambda found: None),
    Reader("npz of weights", "zip", npz_weights,
           lambda p: NpzFile(p).arrays({"w": np.zeros((2, 3))}), RUN, are_arrays),
    Reader("npz", "zip", tiny, npz, (DataError,), is_split),
    Reader("npz, whole", "zip", whole, npz, (DataError,), is_split),
    Reader("load, npz", "zip", tiny, lambda p: load(p), (DataError,), is_split),
    Reader("idx", "idx", idx("a-idx3-ubyte"), read_idx, (DataError,), lambda a: a.dtype.isnative),
    Reader("idx.gz", "idx.gz", idx("a.gz"), read_idx, (DataError,), lambda a: a.dtype.isnative),
    Reader("idx folder", "idx.gz", idx_folder, lambda p: load(p.parent), (DataError,), is_split,
           its_folder),
    Reader("pickle", "pickle", pickled, lambda p: read_pickle(p.read_bytes(), p.name),
           (DataError,), is_plain_pickle),
    Reader("cifar, pickle", "pickle", cifar_folder("python"), lambda p: load(p.parent),
           (DataError,), is_split),
    Reader("cifar, binary", "bytes", cifar_folder("binary"), lambda p: load(p.parent),
           (DataError,), is_split),
    Reader("cifar, archive", "tar.gz", cifar_archive, load, (DataError,), is_split),
    Reader("png", "png", picture("a.png", "RGBA"), read_image, (DataError,), is_picture),
    *(Reader(suffix, "bytes", picture(f"a.{suffix}"), read_image, (DataError,), is_picture)
      for suffix in ("jpg", "webp", "bmp", "gif", "tif", "ppm")),
    Reader("png, as mnist", "png", picture("a.png", "L"),
           lambda p: read_image(p, preparation="mnist"), (DataError,), is_picture),
    Reader("image folder", "png", image_folder, lambda p: load(p.parent.parent), (DataError,),
           is_split),
    Reader("labels", "json", labels_file, to_labels, (DataError,), lambda value: None),
]  # fmt: skip
