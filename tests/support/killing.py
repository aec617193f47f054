"""Kills of a training, at random moments and inside of its writes; each run is resumed to its end.

Run as a program, ``python -m support.killing KILLS SEED`` does so many kills, half of them inside
of writes, and prints a line per run. It ends with status 1 if a run did not end with the bits of
one that was not killed, or left temporary files.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from support.datasets import save
from tinygrad_cnn.data import Dataset
from tinygrad_cnn.support import files
from tinygrad_cnn.train import History, RunFolder, TrainingRun, TrainingSettings

MODEL = '''
from tinygrad_cnn import nn


class Net(nn.Module):
    """Momenta, running statistics and random numbers: all that a checkpoint keeps."""

    def __init__(self, input_shape, classes, rng):
        self.conv = nn.Conv2d(input_shape[0], 2, 3, stride=3, rng=rng)
        self.norm = nn.BatchNorm2d(2)
        self.dropout = nn.Dropout(0.3, rng=rng)
        self.fc = nn.Linear(8, classes, rng=rng)
        self.flatten = nn.Flatten()

    def forward(self, x):
        return self.fc(self.dropout(self.flatten(self.norm(self.conv(x)))))
'''
CHOICES: tuple[dict[str, Any], ...] = (
    {"optimizer": "adamw", "schedule": "onecycle", "checkpoint_every": 2},
    {"optimizer": "nesterov", "schedule": "plateau", "checkpoint_every": 3, "val_split": 0.2},
    {"optimizer": "rmsprop", "schedule": "cosine", "checkpoint_every": "0.001s"},
)
KILLS_PER_RUN = 8
SHOWN = ("epoch", "loss", "accuracy", "validation_loss", "validation_accuracy", "learning_rate")


def kill() -> None:
    """End this process, as a power failure would: nothing is run any more."""
    os.kill(os.getpid(), signal.SIGKILL)


def kill_in_write(count: int, rng: random.Random) -> None:
    """Let this process end in its `count`-th operation on a file: before, within or after it."""
    left = [count]

    def due() -> bool:
        left[0] -= 1
        return left[0] == 0

    def deadly(do: Callable[..., Any], half: Callable[..., Any]) -> Callable[..., Any]:
        def done(*arguments: Any) -> Any:
            if not due():
                return do(*arguments)
            made = rng.choice([lambda *_: None, half, do])(*arguments)
            return made, kill()

        return done

    class Halfway:
        """A file whose write may end after a part of the bytes."""

        def __init__(self, file: BinaryIO) -> None:
            self.file = file

        def write(self, contents: bytes) -> int:
            def part(contents: bytes) -> int:
                written = self.file.write(contents[: rng.randrange(len(contents) + 1)])
                self.file.flush()
                return written

            count: int = deadly(self.file.write, part)(contents)
            return count

        def __getattr__(self, name: str) -> Any:
            return getattr(self.file, name)

        def __enter__(self) -> Halfway:
            return self

        def __exit__(self, *_: object) -> None:
            self.file.close()

    def opened(*arguments: Any) -> Halfway:
        return Halfway(open(*arguments))

    nothing = lambda *_: None  # noqa: E731
    files.open = deadly(opened, opened)  # type: ignore[attr-defined]
    os.replace = deadly(os.replace, nothing)
    os.fsync = deadly(os.fsync, nothing)
    os.unlink = deadly(os.unlink, nothing)  # type: ignore[assignment]


def attempt(work: Callable[[], None], arrange: Callable[[], None], seconds: float | None) -> bool:
    """Do `work` in a process of its own, killed as arranged; return whether it came to its end."""
    process = os.fork()
    if process == 0:
        status = 1
        try:
            arrange()
            work()
            status = 0
        except BaseException as error:
            print(f"{type(error).__name__}: {error}", file=sys.stderr)
        finally:
            sys.stderr.flush()
            os._exit(status)
    if seconds is not None:
        time.sleep(seconds)
        os.kill(process, signal.SIGKILL)
    status = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    if status not in (0, -signal.SIGKILL):
        raise AssertionError(f"the training ended with status {status}")
    return status == 0


def trained(source: str, model: str, chosen: Mapping[str, Any], path: Path) -> None:
    """Begin a run, or resume the one that was begun."""
    settings = TrainingSettings(epochs=4, batch_size=16, seed=3, augment="shift", **chosen)
    folder = RunFolder(path)
    if folder.settings.exists() or folder.checkpoints:
        run = TrainingRun.resumed(folder)
    else:  # killed before its first checkpoint
        run = TrainingRun.new(source, model, settings)
        folder = RunFolder.create("run", out=path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run.train(folder)


def result(path: Path) -> tuple[bytes, list[list[Any]]]:
    """Return what must be the same: the weights and the history, without times."""
    history = History.from_csv(path / "history.csv")
    return (path / "weights.safetensors").read_bytes(), [history.column(name) for name in SHOWN]


def prepared(parent: Path, numbers: np.random.Generator) -> tuple[str, str]:
    """Write a data set and a model to a folder, and return how a run names them."""
    images = numbers.integers(0, 256, (144, 1, 6, 6), dtype=np.uint8)
    labels = np.arange(144) % 3
    parts = (slice(96), slice(96, None))
    save(
        parent / "few.npz", *(Dataset(images[k], labels[k], ("a", "b", "c"), "few") for k in parts)
    )
    (parent / "net.py").write_text(MODEL)
    return str(parent / "few.npz"), f"{parent / 'net.py'}:Net"


def broken_run(
    work: Callable[[Path], None], path: Path, kills: int, seconds: float, rng: random.Random
) -> Iterator[Path]:
    """Do a run that is killed so often; yield its folder whenever it has come to its end.

    If it ends before all kills are done, it begins again.
    """
    killed = 0
    while killed < kills:
        inside = killed % 2 == 0
        arrange = partial(kill_in_write, rng.randrange(1, 60), random.Random(rng.random()))
        delay = None if inside else rng.random() * seconds
        if not attempt(partial(work, path), arrange if inside else lambda: None, delay):
            killed += 1
        else:
            yield path
            shutil.rmtree(path)
    attempt(partial(work, path), lambda: None, None)
    yield path


def main(kills: int, seed: int) -> int:
    """Do so many kills, half of them inside of writes, and return the exit status."""
    rng, wrong = random.Random(seed), 0
    with tempfile.TemporaryDirectory() as name:
        parent = Path(name)
        source, model = prepared(parent, np.random.default_rng(seed))
        for number, done in enumerate(range(0, kills, KILLS_PER_RUN)):
            work = partial(trained, source, model, CHOICES[number % len(CHOICES)])
            whole, path = parent / f"whole-{number}", parent / f"broken-{number}"
            started = time.perf_counter()
            attempt(partial(work, whole), lambda: None, None)
            seconds = time.perf_counter() - started
            count, before = min(KILLS_PER_RUN, kills - done), wrong
            for broken in broken_run(work, path, count, seconds, rng):
                same = result(broken) == result(whole)
                wrong += not same or any(broken.glob(".*.tmp"))
            print(f"run {number}: {count} kills, {'the same' if wrong == before else 'OTHER'} bits")
    print(f"{kills} kills, {wrong} runs that ended otherwise")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), int(sys.argv[2])))
