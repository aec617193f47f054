"""The digits, MNIST and Fashion-MNIST: from the package or from a folder."""

from __future__ import annotations

import gzip
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from support.machine import lengthy

from tinygrad_cnn.data import (
    DataError,
    digits,
    fashion_mnist,
    idx_folder,
    mnist,
    read_idx,
    write_idx,
)
from tinygrad_cnn.data.embed import choose_digits, embed, main

DATA = os.environ.get("TINYGRAD_CNN_DATA", "")
needs_data = pytest.mark.skipif(not DATA, reason="TINYGRAD_CNN_DATA names no folder")


def test_importing_the_data_loads_no_optional_package() -> None:
    optional = {"PIL", "pooch", "requests", "scipy", "matplotlib", "hypothesis"}
    program = f"import sys, tinygrad_cnn.data; print(*{optional} & set(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == ""


def test_the_digits_are_balanced_and_look_like_digits() -> None:
    split = digits()
    for part, per_class in ((split.train, 1000), (split.test, 200)):
        assert part.images.shape == (10 * per_class, 1, 28, 28)
        assert np.bincount(part.labels).tolist() == [per_class] * 10
        assert 0.1 < part.images.mean() / 255 < 0.15  # MNIST's mean is 0.13
        assert part.images.max() == 255
    images = split.train.images.reshape(10_000, -1) / 255
    means = np.stack([images[split.train.labels == label].mean(axis=0) for label in range(10)])
    tests = split.test.images.reshape(2000, -1) / 255
    nearest = ((tests[:, None] - means) ** 2).sum(axis=2).argmin(axis=1)
    assert (nearest == split.test.labels).mean() > 0.75  # images and labels belong together


@lengthy
@needs_data
def test_making_the_embedded_digits_again_gives_the_same_arrays(tmp_path: Path) -> None:
    embed(Path(DATA, "mnist"), into=tmp_path)
    again, embedded = idx_folder(tmp_path), digits()
    for one, other in ((again.train, embedded.train), (again.test, embedded.test)):
        np.testing.assert_array_equal(one.images, other.images)
        np.testing.assert_array_equal(one.labels, other.labels)


@needs_data
def test_the_embedded_digits_are_distinct_examples_of_mnist_in_its_order() -> None:
    whole, embedded = mnist(Path(DATA)), digits()
    for part, chosen in ((whole.train, embedded.train), (whole.test, embedded.test)):
        places = {image.tobytes(): place for place, image in enumerate(part.images)}
        indices = [places[image.tobytes()] for image in chosen.images]
        assert indices == sorted(set(indices))
        np.testing.assert_array_equal(part.labels[indices], chosen.labels)


@needs_data
def test_mnist_and_fashion_mnist_come_whole_from_the_folder_of_the_variable() -> None:
    for split, name, first in ((mnist(), "mnist", "5"), (fashion_mnist(), "fashion-mnist", None)):
        assert (len(split.train), len(split.test)) == (60_000, 10_000)
        assert split.train.name == name
        assert np.bincount(split.test.labels).min() > 800
        assert split.train.classes[split.train.labels[0]] == (first or "Ankle boot")


def test_embedding_writes_a_thousand_and_two_hundred_of_each_digit(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for part, count in (("train", 12_000), ("t10k", 2500)):
        labels = (np.arange(count) % 10).astype(np.uint8)
        write_idx(tmp_path / f"{part}-images-idx3-ubyte.gz", labels[:, None, None] + 100)
        write_idx(tmp_path / f"{part}-labels-idx1-ubyte.gz", labels)
    into = tmp_path / "into"
    into.mkdir()
    main([str(tmp_path), "--into", str(into)])
    split = idx_folder(into)
    for chosen, per_class in ((split.train, 1000), (split.test, 200)):
        assert np.bincount(chosen.labels).tolist() == [per_class] * 10
        np.testing.assert_array_equal(chosen.images[:, 0, 0, 0], chosen.labels + 100)
    assert capsys.readouterr().out.count(" bytes\n") == 4


def test_too_few_digits_are_refused_before_anything_is_written(
    idx_files: Path, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match="has 2 examples; balanced needs 1000 of each"):
        embed(idx_files, into=tmp_path / "out")
    assert not (tmp_path / "out").exists()
    with pytest.raises(DataError):
        choose_digits(idx_files)


def test_the_four_files_are_read_as_they_were_written(idx_files: Path) -> None:
    split = idx_folder(idx_files)
    np.testing.assert_array_equal(
        split.train.images[:, 0], read_idx(idx_files / "train-images-idx3-ubyte.gz")
    )
    np.testing.assert_array_equal(split.test.labels, np.arange(10))
    assert split.train.classes == tuple("0123456789")
    assert split.train.name == "set"


def test_the_four_files_may_be_plain(idx_files: Path) -> None:
    expected = idx_folder(idx_files)
    for path in list(idx_files.iterdir()):
        path.with_suffix("").write_bytes(gzip.decompress(path.read_bytes()))
        path.unlink()
    np.testing.assert_array_equal(idx_folder(idx_files).test.images, expected.test.images)


def test_missing_files_are_named(idx_files: Path) -> None:
    (idx_files / "train-labels-idx1-ubyte.gz").unlink()
    (idx_files / "t10k-images-idx3-ubyte.gz").unlink()
    message = "has no train-labels-idx1-ubyte.gz, t10k-images-idx3-ubyte.gz, with or without .gz"
    with pytest.raises(DataError, match=re.escape(f"{idx_files}: {message}")):
        idx_folder(idx_files)


def test_images_and_labels_must_be_what_their_names_say(idx_files: Path) -> None:
    images, labels = (f"train-{kind}-ubyte.gz" for kind in ("images-idx3", "labels-idx1"))
    kept = read_idx(idx_files / images)
    write_idx(idx_files / images, kept.astype(np.float32))
    with pytest.raises(DataError, match=r"holds float32 of shape \(20, 6, 7\); expected uint8"):
        idx_folder(idx_files)
    write_idx(idx_files / images, kept)
    write_idx(idx_files / labels, np.full(20, 200, np.uint8))
    with pytest.raises(DataError, match=r"labels\[0\] is 200; expected an integer from 0 to 9"):
        mnist(idx_files)
    write_idx(idx_files / labels, np.zeros(19, np.uint8))
    with pytest.raises(DataError, match="20 images but 19 labels"):
        mnist(idx_files)


@pytest.mark.usefixtures("no_data_folder")
def test_a_set_is_found_in_the_folder_given_below_it_or_by_the_variable(
    idx_files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    direct = mnist(idx_files)
    below = idx_files.rename(idx_files.with_name("fashion-mnist"))
    assert len(fashion_mnist(below.parent).train) == len(direct.train) == 20
    monkeypatch.setenv("TINYGRAD_CNN_DATA", str(below.parent))
    split = fashion_mnist()
    assert split.train.classes[0] == "T-shirt/top"
    assert split.train.name == "fashion-mnist"
    with pytest.raises(DataError, match="has neither the files of mnist nor a folder 'mnist'"):
        mnist()
