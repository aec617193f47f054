"""Create the embedded digits: ``python -m tinygrad_cnn.data.embed FOLDER``.

Maintainers run this once, on a folder with MNIST's four IDX files.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

from tinygrad_cnn.data.dataset import Split
from tinygrad_cnn.data.idx import write_idx
from tinygrad_cnn.data.idx_sets import DIGITS_FOLDER, FILES, mnist

__all__ = ["choose_digits", "embed"]

TRAIN_PER_CLASS = 1000
TEST_PER_CLASS = 200
SEED = 0


def choose_digits(folder: str | os.PathLike[str]) -> Split:
    """Select the embedded digits from MNIST.

    Parameters
    ----------
    folder : str or path-like
        A folder with MNIST's four IDX files.

    Returns
    -------
    Split
        1,000 of each digit from MNIST's training set and 200 of each from its test set, chosen at
        random with seed 0, in the original order.

    Raises
    ------
    DataError
        If a file is missing or damaged, or a digit has too few examples.

    Examples
    --------
    >>> choose_digits("mnist").train  # reads MNIST  # doctest: +SKIP
    Dataset('mnist': 10000 images of 1x28x28 in 10 classes)
    """
    whole = mnist(folder)
    return Split(
        whole.train.balanced(TRAIN_PER_CLASS, SEED), whole.test.balanced(TEST_PER_CLASS, SEED)
    )


def embed(folder: str | os.PathLike[str], into: str | os.PathLike[str] = DIGITS_FOLDER) -> Path:
    """Write the embedded digits as four gzipped IDX files.

    Parameters
    ----------
    folder : str or path-like
        A folder with MNIST's four IDX files.
    into : str or path-like
        The output folder, by default the package's.

    Returns
    -------
    Path
        The output folder.

    Raises
    ------
    DataError
        If an MNIST file is missing or damaged.

    Examples
    --------
    >>> embed("mnist", into="digits")  # reads MNIST  # doctest: +SKIP
    PosixPath('digits')
    """
    chosen = choose_digits(folder)
    arrays = [
        array
        for part in (chosen.train, chosen.test)
        for array in (part.images[:, 0], part.labels.astype("u1"))
    ]
    into = Path(into)
    for file, array in zip(FILES, arrays, strict=True):
        write_idx(into / file, array)
    return into


def main(arguments: Sequence[str] | None = None) -> None:
    """Command-line entry point."""
    parser = argparse.ArgumentParser(
        prog="python -m tinygrad_cnn.data.embed",
        description="Make the embedded digits from a folder with MNIST's four IDX files.",
    )
    parser.add_argument("folder", type=Path, help="holds MNIST's four IDX files")
    parser.add_argument("--into", type=Path, default=DIGITS_FOLDER, help="default: %(default)s")
    options = parser.parse_args(arguments)
    into = embed(options.folder, options.into)
    for file in FILES:
        print(f"{into / file}: {(into / file).stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
