"""The ranks of an MPI program, and communication between them."""

from __future__ import annotations

import faulthandler
import multiprocessing
import os
import signal
import sys
from contextlib import suppress
from functools import cache
from types import ModuleType, TracebackType
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tinygrad_cnn.core.variable import array_of
from tinygrad_cnn.distributed.faults import ONE_RANK, TIMEOUT, Guard, OneRank
from tinygrad_cnn.engine.threads import set_default_threads
from tinygrad_cnn.support.arguments import positive
from tinygrad_cnn.support.modules import needs_extra

if TYPE_CHECKING:
    from mpi4py.MPI import Intracomm, Op

__all__ = [
    "all_gather",
    "all_reduce",
    "average",
    "barrier",
    "broadcast",
    "communicator",
    "connected",
    "guard",
    "launched",
    "rank",
    "set_timeout",
    "size",
    "watch_start",
]

LAUNCHED = {  # variables that launchers set, and the one that holds the number of ranks
    "PMI_RANK": "PMI_SIZE",  # MPICH, Intel MPI, Slurm with PMI-2
    "OMPI_COMM_WORLD_RANK": "OMPI_COMM_WORLD_SIZE",  # Open MPI
    "MV2_COMM_WORLD_RANK": "MV2_COMM_WORLD_SIZE",  # MVAPICH
    "PMIX_RANK": "",  # Slurm with PMIx
}
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS")
ALGORITHM = {"MPIR_CVAR_IALLREDUCE_INTRA_ALGORITHM": "sched_reduce_scatter_allgather"}
"""MPICH's all-reduce: the sum of each value has the same order, wherever it is in the array."""


def communicator() -> Intracomm | None:
    """Return mpi4py's communicator of all ranks, a duplicate of its own; None without MPI.

    The first call initializes MPI, if the program was started by ``mpiexec`` or another launcher.
    Each rank then computes with one thread, unless a variable such as OMP_NUM_THREADS says
    otherwise; ``with tg.num_threads(n)`` changes it too. The call waits for all ranks, up to 600 s.
    From then on, a rank that ends before the others ends all, also by `sys.exit`.

    Raises
    ------
    ModuleNotFoundError
        If a launcher started the program, but mpi4py is not installed.
    RuntimeError
        If the launcher belongs to another MPI library than mpi4py, so that each process is alone.
        In a worker process of a `DataLoader`, which is not a rank.

    Examples
    --------
    >>> communicator() is None  # not started by mpiexec
    True
    """
    return _connected(os.getpid())[0]


def guard() -> OneRank:
    """Return the guard of this rank, which keeps it from waiting without end."""
    return _connected(os.getpid())[1]


def connected() -> OneRank:
    """Return the guard of this rank if the program has used MPI, else that of one rank."""
    return guard() if _connected.cache_info().currsize else ONE_RANK


def set_timeout(seconds: float) -> None:
    """Set how long a rank waits for the others in a collective; 600 s by default.

    After that, a rank that still computes prints where it is, and all ranks end; also if the others
    have come to the end of the program. Call it on all ranks.

    Raises
    ------
    ValueError
        If `seconds` is not a positive number.

    Examples
    --------
    >>> set_timeout(1800)
    """
    positive("set_timeout", "seconds", seconds)
    guard().timeout = seconds


@cache
def _connected(process: int) -> tuple[Intracomm | None, OneRank]:
    """Initialize MPI once in a process; a fork has another number."""
    expected = launched()
    if expected is None:
        return None, ONE_RANK
    if multiprocessing.parent_process() is not None:
        raise RuntimeError(
            "tinygrad_cnn.distributed: this is a worker process, which is not a rank; call rank() "
            "and size() in the process that mpiexec started"
        )
    for name, value in ALGORITHM.items():
        os.environ.setdefault(name, value)
    MPI = _wait_until_all_ranks_start()
    if expected > 1 and MPI.COMM_WORLD.size == 1:
        raise RuntimeError(
            f"tinygrad_cnn.distributed: the launcher started {expected} processes, but MPI sees 1: "
            f"mpiexec is not that of mpi4py's library ({MPI.Get_library_version().split()[0]}); "
            "start the program with the mpiexec beside its Python"
        )
    set_default_threads(_threads())
    comm = MPI.COMM_WORLD.Dup()
    return comm, Guard(comm) if comm.size > 1 else ONE_RANK


def _threads() -> int:
    """Return the number of threads of a rank, as a variable says, or 1."""
    given = (os.environ.get(name, "").split(",")[0] for name in THREADS)
    return max(int(next((value for value in given if value.isdecimal()), "1")), 1)


def launched() -> int | None:
    """Return the number of ranks that a launcher announced, 0 if unknown, None without one."""
    for name, total in LAUNCHED.items():
        if name in os.environ:
            value = os.environ.get(total, "")
            return int(value) if value.isdecimal() else 0
    return None


def _wait_until_all_ranks_start() -> ModuleType:
    """Initialize MPI, which waits for all processes; after the timeout, print this name and end."""
    faulthandler.dump_traceback_later(TIMEOUT, exit=True, file=2)  # MPI_Init keeps Python's lock
    try:
        with needs_extra("mpi", "a program started by mpiexec"):
            from mpi4py import MPI
    finally:
        faulthandler.cancel_dump_traceback_later()
    return MPI


def watch_start() -> None:
    """Let an exception that nothing catches end all ranks, also before MPI is initialized.

    If it merely exits, the others keep waiting for it in MPI_Init, and the launcher for them.
    """
    before = sys.excepthook

    def uncaught(
        kind: type[BaseException], error: BaseException, trace: TracebackType | None
    ) -> None:
        before(kind, error, trace)
        for stream in (sys.stdout, sys.stderr):
            with suppress(AttributeError, OSError, ValueError):  # closed
                stream.flush()
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTERM)  # launchers end all if one is killed

    if (launched() or 1) > 1 and multiprocessing.parent_process() is None:
        sys.excepthook = uncaught  # until the guard has its own


def rank() -> int:
    """Return the number of this process, from 0 to ``size() - 1``; 0 without MPI.

    Examples
    --------
    >>> if rank() == 0:
    ...     print("epoch 1")
    epoch 1
    """
    comm = communicator()
    return 0 if comm is None else comm.rank


def size() -> int:
    """Return the number of ranks; 1 without MPI.

    Examples
    --------
    >>> size()
    1
    """
    comm = communicator()
    return 1 if comm is None else comm.size


def barrier() -> None:
    """Wait until all ranks have called this function.

    Examples
    --------
    >>> barrier()
    """
    guard().exchange("barrier()")


def broadcast(value: Any, root: int = 0) -> Any:
    """Return the value that rank `root` passes, on all ranks.

    Parameters
    ----------
    value : object
        Anything that can be pickled; on other ranks than `root` it is ignored.
    root : int

    Returns
    -------
    object
        On `root`, `value` itself.

    Raises
    ------
    ValueError
        If there is no rank `root`.

    Examples
    --------
    >>> broadcast({"epochs": 20} if rank() == 0 else None)
    {'epochs': 20}
    """
    if not 0 <= root < size():
        raise ValueError(f"broadcast: root is {root!r}, expected 0 to {size() - 1}")
    return guard().broadcast("broadcast()", value, root)


def all_gather(value: Any) -> list[Any]:
    """Return the values of all ranks, by rank, on all ranks.

    Parameters
    ----------
    value : object
        Anything that can be pickled.

    Examples
    --------
    >>> all_gather("rank 0")
    ['rank 0']
    """
    return guard().gather("all_gather()", value)


def all_reduce(value: ArrayLike, op: Literal["sum", "min", "max"] = "sum") -> NDArray[Any]:
    """Return the sum, minimum or maximum over all ranks, on all ranks.

    Parameters
    ----------
    value : array_like or Tensor
        Of one shape and dtype on all ranks.
    op : {"sum", "min", "max"}

    Returns
    -------
    ndarray
        A new array of that shape and dtype, in the native order of bytes.

    Raises
    ------
    ValueError
        If `op` is none of these.
    TypeError
        If the dtype is not one of numbers, or a complex one has no minimum or maximum.
    RankError
        If shapes, dtypes or `op` differ between ranks; on all ranks.

    Examples
    --------
    >>> all_reduce([1.0, 2.0])
    array([1., 2.])
    """
    if op not in ("sum", "min", "max"):
        raise ValueError(f"all_reduce: op is {op!r}, expected 'sum', 'min' or 'max'")
    array = np.array(array_of(value), order="C")
    if array.dtype.kind not in ("iufc" if op == "sum" else "iuf"):
        raise TypeError(
            f"all_reduce: value is {array.dtype}, of which MPI has no {op}; expected numbers (for "
            "booleans, value.astype(int))"
        )
    array = array.astype(array.dtype.newbyteorder("="), copy=False)
    comm = communicator()
    if comm is None:
        return array
    where = f"all_reduce(op={op!r}) of {array.dtype} of shape {array.shape}"
    guard().exchange(where)
    from mpi4py import MPI

    ops: dict[str, Op] = {"sum": MPI.SUM, "min": MPI.MIN, "max": MPI.MAX}
    with guard().waiting(where):
        comm.Allreduce(MPI.IN_PLACE, array, ops[op])
    return array


def average(value: ArrayLike, examples: int) -> NDArray[np.float64]:
    """Return the mean over the examples of all ranks, from the mean of each rank.

    Use it for losses and accuracies.

    Parameters
    ----------
    value : array_like or Tensor
        The mean over this rank's examples, such as a loss; ignored if there are none.
    examples : int
        Their number.

    Returns
    -------
    ndarray of float64
        NaN if no rank has an example.

    Examples
    --------
    >>> float(average(0.25, examples=64))
    0.25
    """
    array = np.asarray(array_of(value), np.float64)
    share = array * examples if examples else np.zeros_like(array)
    totals = all_reduce(np.append(share, float(examples)))
    mean: NDArray[np.float64] = totals[:-1].reshape(array.shape)
    return mean / totals[-1] if totals[-1] else np.full_like(mean, np.nan)
