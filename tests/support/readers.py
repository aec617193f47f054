"""Every function that reads a file: how to make a sound one, and what a damaged one may raise."""

from __future__ import annotations

import os
import resource
import signal
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

import tinygrad_cnn as tg
from support.mutations import mutated
from support.sound_files import (
    benchmark,
    checkpoint,
    cifar_archive,
    cifar_folder,
    config,
    config_file,
    continued_log,
    history_file,
    idx,
    idx_folder,
    image_folder,
    labels_file,
    log_file,
    model_file,
    npz_weights,
    page,
    pickled,
    picture,
    restored,
    results_file,
    settings_file,
    state_file,
    steps,
    tiny,
    to_labels,
    upload,
    uploaded,
    weights,
    whole,
)
from tinygrad_cnn.bench.page import check_page
from tinygrad_cnn.cli.benchmarking import _read as read_benchmark
from tinygrad_cnn.compat import torch
from tinygrad_cnn.data import DataError, Split, load, read_idx
from tinygrad_cnn.data.archive import npz
from tinygrad_cnn.data.pickles import read_pickle
from tinygrad_cnn.data.picture import read_image
from tinygrad_cnn.deployment.npz_files import NpzFile
from tinygrad_cnn.experiments.results import Results
from tinygrad_cnn.studio.model_files import UnusableModelError
from tinygrad_cnn.train import (
    Epoch,
    History,
    JSONLines,
    ModelFileError,
    RunError,
    RunFolder,
    RunSettings,
    TrainingRun,
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


# --- whether a value has the declared type ------------------------------------------------------


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


def are_events(events: Any) -> None:
    assert isinstance(events, list)
    assert all(isinstance(event, dict) for event in events)


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
