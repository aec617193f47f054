"""Small sets of images, written to files that `tinygrad_cnn.data.load` takes."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tinygrad_cnn.data import Dataset


def save(path: Path, train: Dataset, test: Dataset) -> str:
    """Write a set as an npz file, and return its path."""
    np.savez(
        path,
        x_train=train.images,
        y_train=train.labels,
        x_test=test.images,
        y_test=test.labels,
    )
    return str(path)
