"""Data sets that worker processes can import, and a program to interrupt."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import sys
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn.core.random import default_generator
from tinygrad_cnn.data import DataLoader


class Drawn:
    """Examples that draw from each generator there is."""

    def __init__(self, count: int = 24) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> tuple[NDArray[np.float32], int, dict[str, Any]]:
        draws = [index, default_generator().random(), np.random.random(), random.random()]  # noqa: NPY002
        return np.array(draws, np.float32), index, {"image": np.full((2, 3), index, np.uint8)}


class Faulty(Drawn):
    """Examples; number 13 raises, or ends its process."""

    def __init__(self, error: type[Exception] | None, *arguments: Any) -> None:
        super().__init__()
        self.error = error
        self.arguments = arguments

    def __getitem__(self, index: int) -> Any:
        if index == 13:
            if self.error is None:
                os.kill(os.getpid(), signal.SIGKILL)
            else:
                raise self.error(*self.arguments)
        return super().__getitem__(index)


class Unpicklable(Exception):  # noqa: N818
    def __init__(self, first: int, second: int) -> None:
        super().__init__(f"{first} and {second}")


class Where(Drawn):
    """Examples that are the number of the process that made them."""

    def __getitem__(self, index: int) -> Any:
        return os.getpid()


class Endless(Drawn):
    """Examples that take a while."""

    def __getitem__(self, index: int) -> Any:
        time.sleep(0.05)
        return index


def whole(examples: Sequence[Any]) -> list[Any]:
    """Collate to the examples themselves."""
    return list(examples)


def noisy(images: Any, rng: np.random.Generator) -> Any:
    return images + rng.random(images.shape, np.float32)


def main() -> None:
    """Iterate without end, and print the processes."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background ignores it
    for number, _ in enumerate(DataLoader(Endless(100_000), 2, num_workers=2)):
        if not number:
            print(*(child.pid for child in multiprocessing.active_children()), flush=True)


if __name__ == "__main__":
    sys.exit(main())
