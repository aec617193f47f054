"""Data-parallel training on several ranks, each a process started by ``mpiexec``."""

from __future__ import annotations

import multiprocessing
import signal
import sys
from typing import Any

import numpy as np
import pytest
from support.ranks import assert_passes, launch, mpiexec, sizes

import tinygrad_cnn as tg
from tinygrad_cnn import distributed
from tinygrad_cnn.distributed import ranks

MODULES = ("distributed.equality", "distributed.behavior")

ALONE = """
import sys
import numpy as np
import tinygrad_cnn as tg

model = tg.distributed.DataParallel(tg.distributed.convert_sync_batchnorm(tg.nn.BatchNorm1d(2)))
sampler = tg.distributed.DistributedSampler(np.arange(5), shuffle=False)
x = tg.Tensor(np.arange(10.0, dtype="f4").reshape(5, 2)[sampler.draw(None)])
with model.no_sync():
    (model(x) ** 2).sum().backward()
tg.distributed.average_gradients(model.parameters(), examples=5)
tg.distributed.barrier()
print(tg.distributed.rank(), tg.distributed.size(), "mpi4py" in sys.modules)
"""


@pytest.mark.parametrize("size", sizes(*MODULES))
def test_ranks(size: int) -> None:
    assert_passes(size, *MODULES)


def test_without_a_launcher_a_program_is_one_rank_and_does_not_import_mpi() -> None:
    done = launch(0, "-c", ALONE)
    assert (done.stdout, done.stderr) == ("0 1 False\n", "")


def test_one_rank_refuses_what_several_refuse() -> None:
    parallel = distributed.DataParallel(tg.nn.Flatten())
    with pytest.raises(ValueError, match="module has a DataParallel in it"):
        distributed.DataParallel(tg.nn.Sequential(parallel))
    with pytest.raises(TypeError, match=r"expected a Tensor or array of shape .* got str, list$"):
        parallel("text", [1, 2])


@pytest.mark.parametrize(
    ("value", "op"),
    [("text", "sum"), (None, "sum"), (True, "sum"), (1j, "max"), (np.datetime64("NaT"), "min")],
)
def test_all_reduce_refuses_what_mpi_cannot_reduce(value: Any, op: Any) -> None:
    with pytest.raises(TypeError, match=f"{np.asarray(value).dtype}, of which MPI has no {op}"):
        distributed.all_reduce(value, op)


def test_a_launcher_without_mpi4py_is_an_error_that_names_the_extra(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PMI_RANK", "1")
    monkeypatch.setitem(sys.modules, "mpi4py", None)
    ranks._connected.cache_clear()
    with pytest.raises(ModuleNotFoundError, match=r'pip install "tinygrad_cnn\[mpi\]"'):
        distributed.rank()


def test_the_launcher_of_another_library_is_an_error() -> None:
    """Open MPI's mpiexec sets other variables than MPICH reads: each process is alone."""
    mpiexec()  # skips the test without MPI
    done = launch(0, "-c", ALONE, OMPI_COMM_WORLD_RANK="1", OMPI_COMM_WORLD_SIZE="2")
    assert done.returncode == -signal.SIGTERM
    assert "the launcher started 2 processes, but MPI sees 1" in done.stderr


def test_a_worker_process_is_no_rank(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(multiprocessing, "parent_process", lambda: "a process")
    monkeypatch.setenv("PMI_RANK", "1")
    ranks._connected.cache_clear()
    with pytest.raises(RuntimeError, match="this is a worker process, which is not a rank"):
        distributed.rank()
    assert "mpi4py" not in sys.modules
