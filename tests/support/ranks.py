"""Programs on several MPI ranks, for tests: a launch costs a second, so it runs many checks.

Run by ``mpiexec`` as ``python -m support.ranks MODULE ...``, it calls the functions of modules that
are declared with `on_ranks` for its number of ranks, and rank 0 prints the name of each that
passed on all of them.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import shutil
import subprocess
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import tinygrad_cnn as tg
from support.machine import lacking

Check = Callable[[], None]
TESTS = Path(__file__).resolve().parents[1]
PASSED, SECONDS = "passed: ", 120


def on_ranks(*sizes: int, lengthy: tuple[int, ...] = ()) -> Callable[[Check], Check]:
    """Declare a check, a function to be called on each of so many ranks; on `lengthy` if asked."""

    def declare(check: Check) -> Check:
        further = lengthy if "TINYGRAD_CNN_LENGTHY" in os.environ else ()
        check.sizes = sizes + further  # type: ignore[attr-defined]  # a mark
        return check

    return declare


def checks(*modules: str) -> dict[str, Check]:
    """Return the checks of some modules by name."""
    return {
        name: value
        for module in modules
        for name, value in vars(importlib.import_module(module)).items()
        if hasattr(value, "sizes")
    }


def sizes(*modules: str) -> list[int]:
    """Return the numbers of ranks of the checks of some modules."""
    return sorted({n for check in checks(*modules).values() for n in check.sizes})  # type: ignore[attr-defined]


def mpiexec() -> str:
    """Return the launcher; end the test if MPI is missing."""
    beside = Path(sys.executable).with_name("mpiexec")
    found = str(beside) if beside.is_file() else shutil.which("mpiexec")
    if found is None or importlib.util.find_spec("mpi4py") is None:
        lacking('MPI: pip install "tinygrad_cnn[mpi]"')
    return found


def launch(size: int, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run Python with these arguments on `size` ranks; 0 for no launcher."""
    path = os.pathsep.join([str(TESTS), str(TESTS.parent)])
    return subprocess.run(
        [*([mpiexec(), "-n", str(size)] if size else []), sys.executable, *arguments],
        env={**os.environ, "PYTHONPATH": path, **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )


def assert_passes(size: int, *modules: str) -> None:
    """Fail unless all checks of some modules pass on `size` ranks, in one launch."""
    done = launch(size, "-m", "support.ranks", *modules)
    passed = {x.removeprefix(PASSED) for x in done.stdout.splitlines() if x.startswith(PASSED)}
    wanted = {n for n, check in checks(*modules).items() if size in check.sizes}  # type: ignore[attr-defined]
    assert passed == wanted, done.stdout + done.stderr
    assert done.returncode == 0, done.stderr


def main(*modules: str) -> None:
    """Run the checks of some modules on this rank. The first failure ends all ranks."""
    comm: Any = tg.distributed.communicator()
    for name, check in checks(*modules).items():
        if comm.size not in check.sizes:  # type: ignore[attr-defined]
            continue
        try:
            check()
        except BaseException:
            print(f"rank {comm.rank}, {name}:\n{traceback.format_exc()}", flush=True)
            comm.Abort(1)
        comm.Barrier()
        if comm.rank == 0:
            print(f"{PASSED}{name}", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
