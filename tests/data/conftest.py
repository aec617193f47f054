"""What the tests of the data share: a small set, and a folder that holds it as MNIST is held."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tinygrad_cnn.data import Dataset, write_idx

FILES = (
    "train-images-idx3-ubyte.gz",
    "train-labels-idx1-ubyte.gz",
    "t10k-images-idx3-ubyte.gz",
    "t10k-labels-idx1-ubyte.gz",
)


@pytest.fixture
def small() -> Dataset:
    """Thirty images in three classes; image `i` is all `i`."""
    images = np.broadcast_to(np.arange(30, dtype=np.uint8)[:, None, None, None], (30, 1, 4, 5))
    labels = np.arange(30, dtype=np.int64) % 3
    return Dataset(images, labels, ("a", "b", "c"), "small")


@pytest.fixture
def idx_files(tmp_path: Path) -> Path:
    """A folder with a tiny set in MNIST's four files: 20 and 10 images, labels 0 to 9."""
    folder = tmp_path / "set"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for count, images, labels in ((20, *FILES[:2]), (10, *FILES[2:])):
        write_idx(folder / images, rng.integers(256, size=(count, 6, 7), dtype=np.uint8))
        write_idx(folder / labels, (np.arange(count) % 10).astype(np.uint8))
    return folder


@pytest.fixture
def no_data_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide a TINYGRAD_CNN_DATA of whoever runs the tests."""
    monkeypatch.delenv("TINYGRAD_CNN_DATA", raising=False)
