"""A measurement of scaling as plain data, and the processes that take it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import date
from pathlib import Path
from typing import Any, Self

from tinygrad_cnn.bench.machine import Machine, describe
from tinygrad_cnn.bench.process import LIMITS, PACKAGE_ROOT
from tinygrad_cnn.bench.scaling.model import SentBucket
from tinygrad_cnn.bench.timing import BUSY, OtherLoad
from tinygrad_cnn.support.arguments import whole
from tinygrad_cnn.support.files import atomic_write
from tinygrad_cnn.support.processes import SAFE_PATH

__all__ = ["AllReduceRow", "Messages", "ScalingMeasurement", "StepRow", "measure_scaling"]

RANKS, ROUNDS, STEPS = (1, 2, 4), 7, 4
LIMIT = 300.0  # seconds of one start of all ranks


@dataclass(frozen=True, slots=True, kw_only=True)
class StepRow:
    """The training steps of one round: of ranks that send nothing, and of the same ranks together.

    Attributes
    ----------
    network : str
    ranks, batch : int
        The number of ranks, and of images of each.
    round : int
    alone : float
        Seconds of a step of ranks that send nothing: the mean of the ranks' medians.
    update : float
        The seconds of the update in it.
    variation : float
        The standard deviation of forward and backward over the steps of a rank, as a share.
    together : float
        Seconds of a step with summed gradients: this and the next three are medians over all ranks.
    waited : float
        The seconds of a step in which a rank only waited for all-reduces.
    in_flight : float
        The seconds from the start of a step's first all-reduce to the end of the last.
    at_once : float
        Seconds of the same all-reduces one after another, with nothing to compute meanwhile.
    reduced : float
        The bytes that the all-reduces of a step sum.
    """

    network: str
    ranks: int
    batch: int
    round: int
    alone: float
    update: float
    variation: float
    together: float
    waited: float = 0.0
    in_flight: float = 0.0
    at_once: float = 0.0
    reduced: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class AllReduceRow:
    """The median seconds of an all-reduce of this many bytes in one round."""

    ranks: int
    round: int
    size: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Messages:
    """What a rank sends in a step.

    Attributes
    ----------
    buckets : tuple of SentBucket
        The gradients, in the order in which they are sent.
    small : int
        The number of small all-reduces.
    """

    buckets: tuple[SentBucket, ...]
    small: int

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Self:
        """Return the messages of plain data."""
        return cls(tuple(SentBucket(**each) for each in data["buckets"]), data["small"])


@dataclass(slots=True)
class ScalingMeasurement:
    """All rows, and where they come from.

    Attributes
    ----------
    machine : Machine
    mpi, command, date : str
    steps : list of StepRow
    all_reduces : list of AllReduceRow
    messages : dict
        The `Messages` of each network.
    loads : list of float
        The number of cores that other processes used in each round.
    """

    machine: Machine
    mpi: str = ""
    command: str = ""
    date: str = field(default_factory=lambda: date.today().isoformat())
    steps: list[StepRow] = field(default_factory=list)
    all_reduces: list[AllReduceRow] = field(default_factory=list)
    messages: dict[str, Messages] = field(default_factory=dict)
    loads: list[float] = field(default_factory=list)

    @property
    def quiet(self) -> list[int]:
        """The numbers of the rounds in which other processes used few cores; unknown is quiet."""
        return [k for k, load in enumerate(self.loads) if not load > BUSY]

    @property
    def counted(self) -> list[int]:
        """The numbers of the quiet rounds, or of all if none was quiet."""
        return self.quiet or list(range(len(self.loads)))

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Self:
        """Return the measurement of plain data from `to_json`."""
        return cls(
            **{
                **data,
                "machine": Machine(**data["machine"]),
                "steps": [StepRow(**row) for row in data["steps"]],
                "all_reduces": [AllReduceRow(**row) for row in data["all_reduces"]],
                "messages": {
                    name: Messages.from_json(each) for name, each in data["messages"].items()
                },
            }
        )

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> Self:
        """Read a file written by `write`.

        Raises
        ------
        ValueError
            If the file is not one.
        OSError
            If it cannot be read.
        """
        try:
            return cls.from_json(json.loads(Path(path).read_text(encoding="utf-8")))
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise ValueError(f"{path}: is not a measurement of scaling: {error}") from error

    def write(self, path: str | os.PathLike[str]) -> None:
        """Write a JSON file atomically, one row a line."""
        lines = []
        for name, value in self.to_json().items():
            text = json.dumps(value, ensure_ascii=False)
            if isinstance(value, list) and value and isinstance(value[0], dict):
                rows = ",\n".join(json.dumps(row, ensure_ascii=False) for row in value)
                text = f"[\n{rows}\n]"
            lines.append(f"{json.dumps(name)}: {text}")
        with atomic_write(path) as file:
            file.write(("{\n" + ",\n".join(lines) + "\n}\n").encode())


def measure_scaling(
    ranks: Sequence[int] = RANKS,
    rounds: int = ROUNDS,
    steps: int = STEPS,
    on_progress: Callable[[str], None] = lambda what: None,
) -> ScalingMeasurement:
    """Start the ranks with mpiexec in several rounds, and return what they measured.

    In each round all numbers of ranks take their turn, in a changing order, so that a drift of the
    machine's speed affects them equally. Every rank uses one thread.

    Parameters
    ----------
    ranks : sequence of int
        1 and 2, which the model is fitted to, and others.
    rounds, steps : int
        Each round times this many steps of each case, at least 2.
    on_progress : callable
        Called with a description of the next start.

    Raises
    ------
    ValueError
        If an argument is out of range.
    FileNotFoundError
        If there is no mpiexec.
    RuntimeError
        If the ranks fail; the message has the last line of their errors.
    """
    whole("measure_scaling", "rounds", rounds)
    whole("measure_scaling", "steps", steps, 2)
    for count in ranks:
        whole("measure_scaling", "ranks", count)
    if not {1, 2} <= set(ranks):
        raise ValueError(f"measure_scaling: ranks is {tuple(ranks)}, expected 1, 2 and others")
    mpiexec = find_mpiexec()
    found = ScalingMeasurement(describe())
    load = OtherLoad()
    for k in range(rounds):
        load.lap()
        first = k % len(ranks)
        for count in [*ranks[first:], *ranks[:first]]:
            on_progress(f"round {k + 1} of {rounds}, {count} ranks")
            rows = _start(mpiexec, count, {"number": k, "steps": steps})
            found.mpi = rows["mpi"]
            found.steps += [StepRow(**row) for row in rows["steps"]]
            found.all_reduces += [AllReduceRow(**row) for row in rows["all_reduces"]]
            for name, messages in rows["messages"].items():
                found.messages[name] = Messages.from_json(messages)
        found.loads.append(round(load.lap(), 2))
    return found


def find_mpiexec() -> str:
    """Return the path of mpiexec: the one of this environment, or else the first on the path.

    Raises
    ------
    FileNotFoundError
        If there is none; the message says how to install one.
    """
    beside = str(Path(sys.executable).parent)
    path = shutil.which("mpiexec", path=os.pathsep.join([beside, os.environ.get("PATH", "")]))
    if path is None:
        raise FileNotFoundError(
            'there is no mpiexec: pip install "tinygrad_cnn[mpi]" brings one, or install MPI'
        )
    return path


def _start(mpiexec: str, count: int, order: dict[str, Any]) -> dict[str, Any]:
    """Start this many ranks, and return the rows that they measure."""
    own = {"PYTHONPATH": os.pathsep.join([str(PACKAGE_ROOT), os.environ.get("PYTHONPATH", "")])}
    started = subprocess.run(
        [mpiexec, "-n", str(count), sys.executable, "-m", "tinygrad_cnn.bench.scaling.rank",
         json.dumps(order)],
        env={**os.environ, **SAFE_PATH, **own, **dict.fromkeys(LIMITS, "1")},
        stdin=subprocess.DEVNULL, capture_output=True, encoding="utf-8", timeout=LIMIT,
    )  # fmt: skip
    if started.returncode:
        lines = [line.strip() for line in started.stderr.splitlines() if line.strip()]
        raise RuntimeError(f"{count} ranks: {lines[-1] if lines else started.returncode}")
    rows: dict[str, Any] = json.loads(started.stdout)
    return rows
