"""CIFAR in both of its formats, read from archives and folders made here; pickles stay inert."""

from __future__ import annotations

import io
import pickle
import re
import struct
import tarfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_cnn.data import DataError, Split, cifar10, cifar100, is_local, load
from tinygrad_cnn.data.cifar import CIFAR_SETS
from tinygrad_cnn.data.pickles import read_pickle

NAMES = sorted(CIFAR_SETS)
KINDS = ("binary", "python")
EACH = 4  # images in a file


def text2(text: str) -> bytes:
    return b"U" + bytes([len(text)]) + text.encode()


def python2(batch: dict[str, Any]) -> bytes:
    """Pickle a batch as Python 2 did, opcode by opcode: texts are bytes."""
    parts = [b"\x80\x02}("]
    for key, value in batch.items():
        parts.append(text2(key))
        if isinstance(value, list):
            parts += [b"](", *(b"K" + bytes([label]) for label in value), b"e"]
            continue
        raw = value.tobytes()
        parts += [
            b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85",
            text2("b") + b"\x87R(K\x01",
            struct.pack("<cHcH", b"M", len(value), b"M", value.shape[1]) + b"\x86",
            b"cnumpy\ndtype\n" + text2("u1") + b"K\x00K\x01\x87R(K\x03" + text2("|"),
            b"NNN" + 2 * b"J\xff\xff\xff\xff" + b"K\x00tb\x89",
            b"T" + struct.pack("<I", len(raw)) + raw + b"tb",
        ]
    return b"".join([*parts, b"u."])


def python3(batch: dict[str, Any], protocol: int = 4) -> bytes:
    return pickle.dumps(batch, protocol)


def contents(
    name: str, kind: str, pickled: Callable[[dict[str, Any]], bytes] = python2
) -> dict[str, bytes]:
    """The files of a tiny set; all pixels of image `i` of file `f` are ``16 * f + i``."""
    source = CIFAR_SETS[name]
    made = {}
    files = [file for part in source.files[kind].values() for file in part]
    for number, file in enumerate(files):
        pixels = np.repeat(16 * number + np.arange(EACH, dtype=np.uint8), 3072).reshape(EACH, -1)
        pixels[:, 1024:] += 100  # green and blue
        labels = {
            key: ((np.arange(EACH) + number + position) % 10).tolist()
            for key, position, _ in source.labels.values()
        }
        if kind == "python":
            made[file] = pickled({"batch_label": [1], **labels, "data": pixels})
        else:
            columns = [
                labels[key] for key, _, _ in sorted(source.labels.values(), key=lambda x: x[1])
            ]
            made[file] = np.column_stack([*columns, pixels]).astype(np.uint8).tobytes()
    return made


def write_folder(folder: Path, name: str, kind: str) -> Path:
    inner = folder / CIFAR_SETS[name].folders[kind]
    inner.mkdir(parents=True)
    for file, data in contents(name, kind).items():
        (inner / file).write_bytes(data)
    return inner


def write_archive(
    folder: Path, name: str, kind: str, files: dict[str, bytes] | None = None
) -> Path:
    source = CIFAR_SETS[name]
    path = folder / source.archive.format(kind)
    folder.mkdir(exist_ok=True)
    with tarfile.open(path, "w:gz") as archive:
        for file, data in {"readme.html": b"about", **(files or contents(name, kind))}.items():
            member = tarfile.TarInfo(f"{source.folders[kind]}/{file}")
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return path


def check(split: Split, name: str) -> None:
    batches = 5 if name == "cifar10" else 1
    assert split.train.images.shape == (EACH * batches, 3, 32, 32)
    assert split.test.images.shape == (EACH, 3, 32, 32)
    assert len(split.train.classes) == (10 if name == "cifar10" else 100)
    _, position, _ = next(iter(CIFAR_SETS[name].labels.values()))
    for part, first in ((split.train, 0), (split.test, batches)):
        for i, image in enumerate(part.images):
            number, place = first + i // EACH, i % EACH
            assert (image[0] == 16 * number + place).all()
            assert (image[1:] == 16 * number + place + 100).all()
            assert part.labels[i] == (place + number + position) % 10


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", KINDS)
def test_a_set_is_read_from_an_archive_and_from_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, kind: str
) -> None:
    read = {"cifar10": cifar10, "cifar100": cifar100}[name]
    archive = write_archive(tmp_path / "archives", name, kind)
    folder = write_folder(tmp_path / "folders", name, kind)
    for source in (archive.parent, folder, folder.parent):
        check(read(source), name)
        check(load(source), name)
    check(load(archive), name)
    monkeypatch.setenv("TINYGRAD_CNN_DATA", str(tmp_path))
    assert not is_local(name)
    with pytest.raises(DataError, match=f"nor a folder '{name}'"):
        load(name)
    archive.parent.rename(tmp_path / name)
    assert is_local(name)
    check(load(name), name)


@pytest.mark.parametrize("kind", KINDS)
def test_the_groups_of_cifar100_are_its_coarse_labels(tmp_path: Path, kind: str) -> None:
    folder = write_folder(tmp_path, "cifar100", kind)
    split = cifar100(folder, labels="coarse")
    assert split.train.classes[0] == "aquatic_mammals"
    assert len(split.train.classes) == 20
    np.testing.assert_array_equal(split.train.labels + 1, cifar100(folder).train.labels)
    with pytest.raises(ValueError, match="cifar100: labels is 'rough', expected one of 'fine'"):
        cifar100(folder, labels="rough")


@pytest.mark.parametrize("protocol", range(5))
def test_pickles_of_python_3_are_read_too(tmp_path: Path, protocol: int) -> None:
    folder = write_folder(tmp_path, "cifar10", "python")
    for file, data in contents("cifar10", "python", lambda b: python3(b, protocol)).items():
        (folder / file).write_bytes(data)
    check(cifar10(folder), "cifar10")


class Executes:
    def __init__(self, target: Any, *arguments: Any) -> None:
        self.call = target, arguments

    def __reduce__(self) -> Any:
        return self.call


@pytest.mark.parametrize("protocol", range(6))
def test_nothing_in_a_pickle_is_executed_or_imported(tmp_path: Path, protocol: int) -> None:
    trace = tmp_path / "trace"
    for value in (
        Executes(trace.touch),
        Executes(eval, f"open({str(trace)!r}, 'w')"),
        Executes(exec, "import this"),
        np.array([1, None]),
        np.arange(3.0),
    ):
        with pytest.raises(DataError, match="batch: not a pickle of plain data and arrays"):
            read_pickle(pickle.dumps({"data": value}, protocol), "batch")
    assert not trace.exists()


@given(
    st.binary(max_size=60) | st.binary(max_size=40).map(lambda tail: b"\x80\x02}(U\x04data" + tail)
)
def test_a_damaged_pickle_is_a_data_error(garbage: bytes) -> None:
    with suppress(DataError):
        read_pickle(garbage, "batch")


def test_a_pickle_that_asks_for_a_huge_memo_is_refused() -> None:
    with pytest.raises(DataError, match="memo 4294967295"):
        read_pickle(b"\x80\x02Nr\xff\xff\xff\xff.", "batch")


def test_damaged_and_incomplete_sets_are_refused_by_file(tmp_path: Path) -> None:
    good = contents("cifar10", "binary")
    archive = write_archive(tmp_path, "cifar10", "binary")
    whole = archive.read_bytes()
    for data in (b"", b"not an archive", whole[: len(whole) // 2]):
        archive.write_bytes(data)
        with pytest.raises(DataError, match=re.escape(str(archive))):
            cifar10(tmp_path)
    for files, message in (
        ({"data_batch_1.bin": good["data_batch_1.bin"]}, "has no data_batch_2.bin, data_batch_3"),
        (good | {"test_batch.bin": b"\x00" * 100}, "test_batch.bin: has 100 bytes; expected a"),
        (good | {"test_batch.bin": b"\xff" * 3073}, r"labels[0] is 255; expected an integer"),
    ):
        write_archive(tmp_path, "cifar10", "binary", files)
        with pytest.raises(DataError, match=re.escape(message)):
            cifar10(tmp_path)
    pixels = np.zeros((2, 3072), np.uint8)
    for batch, message in (
        ({"data": pixels}, "is not a dictionary with 'data' and 'labels'"),
        ({"data": pixels[:, 1:], "labels": [0, 1]}, "data is uint8 (2, 3071); expected uint8"),
        ({"data": [1, 2], "labels": [0, 1]}, "data is <class 'list'>; expected uint8"),
        ({"data": pixels, "labels": [1]}, "labels is not a list of 2 labels"),
    ):
        bad = contents("cifar10", "python") | {"test_batch": python2(batch)}
        write_archive(tmp_path / "python", "cifar10", "python", bad)
        with pytest.raises(DataError, match=re.escape(message)):
            cifar10(tmp_path / "python")


def test_the_class_names_are_distinct_and_in_order() -> None:
    for name, kind, count in (
        ("cifar10", "labels", 10),
        ("cifar100", "fine", 100),
        ("cifar100", "coarse", 20),
    ):
        classes = CIFAR_SETS[name].labels[kind][2]
        assert len(set(classes)) == count
        assert list(classes) == sorted(classes)
