"""A guard of the ranks: a failure of one ends all, and none waits without end.

MPI has no notion of failure: a rank that raises, ends early or calls another collective leaves the
others waiting. The guard closes these gaps.

- An exception that nothing catches is printed with its rank, and ends all ranks.
- Before a collective, ranks `exchange` where they are. Where they differ, all raise `RankError`.
- A rank that waits longer than the timeout asks the others where they are. One that computes
  prints its stack, and ends all ranks.

A rank that is killed is left to ``mpiexec``, which then ends the others.
"""

from __future__ import annotations

import atexit
import os
import pickle
import sys
import threading
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from hashlib import blake2b
from struct import unpack
from time import monotonic, sleep
from types import TracebackType
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar, cast

import numpy as np

if TYPE_CHECKING:
    from mpi4py import MPI

T = TypeVar("T")
E = TypeVar("E", bound=BaseException)

__all__ = ["ONE_RANK", "TIMEOUT", "Guard", "OneRank", "RankError", "is_shared", "shared"]

TIMEOUT = 600.0
GRACE = 0.3  # seconds in which a lower rank with the same failure may print it
ANSWER = 10.0  # seconds in which a rank must say why it keeps others waiting
POLL = 1.0
END = "the end of the program"
VALUES = 6  # numbers that one exchange carries
NOTHING = (0.0,) * VALUES


class RankError(RuntimeError):
    """Ranks differ where they must agree; the message names the ranks and where each is.

    Examples
    --------
    >>> raise RankError("ranks are at different points: rank 0: epoch 1, batch 3; rank 1: the end")
    Traceback (most recent call last):
        ...
    tinygrad_cnn.distributed.faults.RankError: ranks are at different points: rank 0: epoch 1, \
batch 3; rank 1: the end
    """


def is_shared(error: BaseException) -> bool:
    """Return whether all ranks raise `error`, so that rank 0 alone should print it."""
    return getattr(error, "_on_all_ranks", False)


def shared(error: E) -> E:
    """Return `error`, marked as one that all ranks raise at this point.

    Examples
    --------
    >>> is_shared(shared(ValueError("the shapes differ")))
    True
    """
    error._on_all_ranks = True  # type: ignore[attr-defined]
    return error


class OneRank:
    """The guard of a program that is one rank: it has nothing to wait for.

    Attributes
    ----------
    rank, size : int
    timeout : float
        How many seconds a rank waits for another.

    Examples
    --------
    >>> ONE_RANK.exchange("epoch 1, batch 3", 0.5, 64.0)
    (0.5, 64.0)
    """

    rank, size = 0, 1

    def __init__(self) -> None:
        self.timeout = TIMEOUT

    def places(self) -> str:
        """Return host and process of each rank, as text; a collective.

        ``mpiexec`` says of a killed process these two only.
        """
        return ""

    def waiting(self, where: str) -> AbstractContextManager[None]:
        """Wrap a call that waits for other ranks, so that it does not wait without end."""
        return nullcontext()

    def exchange(self, where: str, *values: float) -> tuple[float, ...]:
        """Sum a few numbers over all ranks, which must be at the same point; a collective.

        Parameters
        ----------
        where : str
            The point: the call, and what must be equal in it, such as the shapes of its arrays.
        *values : float
            At most 6.

        Returns
        -------
        tuple of float
            The sum of each, the same bits on all ranks.

        Raises
        ------
        RankError
            On all ranks, if `where` differs.
        """
        return values

    def gather(self, where: str, value: Any) -> list[Any]:
        """Return the picklable value of each rank, in their order; a collective."""
        return [value]

    def broadcast(self, where: str, value: Any = None, root: int = 0) -> Any:
        """Return the picklable value of rank `root`; a collective."""
        return value

    def agreement(self, where: str) -> AbstractContextManager[None]:
        """Raise on all ranks what one raises inside: that of the lowest; a collective.

        The block must contain no collective that a failing rank would leave out.
        """
        return nullcontext()

    def on_rank_0(self, where: str, function: Callable[[], T]) -> T:
        """Return on all ranks what `function` returns on rank 0, or raise what it raises there."""
        result: Any = None
        with self.agreement(where):
            if not self.rank:
                result = function()
        result = self.broadcast(where, result)
        return cast(T, result)

    @contextmanager
    def rank_0_first(self, where: str) -> Iterator[None]:
        """Let the other ranks begin the block when rank 0 has ended it; a collective."""
        if self.rank:
            self.exchange(where)
        try:
            yield
        finally:
            if not self.rank:
                self.exchange(where)

    def print_shared(self, message: str) -> None:
        """Print the message of an error that all ranks raise, and that ends this one, once.

        Rank 0 prints it; if the program continues there, another rank does at its end.
        """
        print(message, file=sys.stderr)

    def fail(self, message: str, status: int = 1) -> NoReturn:
        """Print a message with the name of this rank, and end all ranks.

        If several fail at about the same time, mostly one of them prints: the lowest.
        """
        print(message, file=sys.stderr)
        raise SystemExit(status)


ONE_RANK = OneRank()


class Guard(OneRank):
    """The guard of one rank of several; creating it is a collective.

    Until the end of the program, it handles exceptions that nothing catches.

    Parameters
    ----------
    communicator : mpi4py.MPI.Comm
        Of at least two ranks. The guard's messages do not meet those of the communicator.

    Attributes
    ----------
    rank, size : int
    timeout : float
    """

    def __init__(self, communicator: MPI.Comm) -> None:
        from mpi4py import MPI

        super().__init__()
        self.rank, self.size = communicator.rank, communicator.size
        self._world, self._comm = MPI.COMM_WORLD, communicator.Dup()
        self._host = MPI.Get_processor_name()
        self._waits: tuple[str, float] | None = None  # where, and since when
        self._printed, self._unprinted = False, ""  # of an error that all ranks raise
        self._count = 0  # of the waits: the same on all ranks that are at the same point
        self._ended = threading.Event()
        # The watch sends messages while another thread may wait in MPI.
        threads = MPI.Query_thread() == MPI.THREAD_MULTIPLE
        self._alarms = communicator.Dup() if threads else None
        self._watch = threading.Thread(target=self._watch_others, daemon=True, name="ranks")
        self._watch.start()
        sys.excepthook = self._uncaught
        atexit.register(self._end)

    def places(self) -> str:  # noqa: D102
        hosts: dict[str, list[int]] = {}
        for host, process in self.gather("places", (self._host, os.getpid())):
            hosts.setdefault(host, []).append(process)
        return "; ".join(
            f"process{'es' * (len(of) > 1)} {_ranges(of)} on {host}" for host, of in hosts.items()
        )

    @contextmanager
    def waiting(self, where: str) -> Iterator[None]:  # noqa: D102
        self._count += 1
        before, self._waits = self._waits, (where, monotonic())
        try:
            yield
        finally:
            self._waits = before

    def exchange(self, where: str, *values: float) -> tuple[float, ...]:  # noqa: D102
        self._count += 1
        before, self._waits = self._waits, (where, monotonic())
        mark = _mark(where)
        request, summed = self._start(mark, values)
        request.Wait()
        self._waits = before
        found = summed.tolist()
        self._compare(where, mark, found)
        return tuple(found[2 : 2 + len(values)])

    def gather(self, where: str, value: Any) -> list[Any]:  # noqa: D102
        self.exchange(where)
        with self.waiting(where):
            return self._comm.allgather(value)

    def broadcast(self, where: str, value: Any = None, root: int = 0) -> Any:  # noqa: D102
        self.exchange(f"{where} from rank {root}")
        with self.waiting(where):
            return self._comm.bcast(value, root)

    @contextmanager
    def agreement(self, where: str) -> Iterator[None]:  # noqa: D102
        error = None
        try:
            yield
        except Exception as raised:
            if is_shared(raised):
                raise
            error = raised
        if not self.exchange(where, error is not None)[0]:
            return
        own = None if error is None else (repr(error), _packed(error), self._host)
        failures = self.gather(f"{where}: failures", own)
        first = next(rank for rank, failure in enumerate(failures) if failure is not None)
        text, packed, host = failures[first]
        if error is None or self.rank != first:
            error = _unpacked(packed)
        if any(failure is None or failure[0] != text for failure in failures):
            error.add_note(f"raised by rank {first} of {self.size} on {host}")
        raise shared(error)

    def print_shared(self, message: str) -> None:  # noqa: D102
        if self.rank:
            self._unprinted = message
        else:
            self._printed = True
            print(message, file=sys.stderr, flush=True)

    def fail(self, message: str, status: int = 1) -> NoReturn:  # noqa: D102
        if self.rank:
            sleep(GRACE * (1 + self.rank / self.size))
        name = f"rank {self.rank} of {self.size} on {self._host}"
        with suppress(OSError, ValueError):  # closed
            sys.stdout.flush()
        with suppress(OSError, ValueError):
            if message:
                print(f"{name}: {message.rstrip()}", file=sys.stderr, flush=True)
        _wait_for_reader()
        self._world.Abort(status)
        os._exit(status)

    def _start(
        self, mark: tuple[int, int], values: tuple[float, ...] = ()
    ) -> tuple[MPI.Request, np.ndarray[Any, Any]]:
        # The same call everywhere: MPI matches collectives by their order alone.
        summed = np.empty(2 + VALUES)
        message = np.array((*mark, *values, *NOTHING[len(values) :]), np.float64)
        return self._comm.Iallreduce(message, summed), summed

    def _compare(self, where: str, mark: tuple[int, int], found: list[float]) -> None:
        # The sum of equal hashes is exact. It can be that of different ones too, for about one
        # rank in 2^60.
        if [each * self.size for each in mark] != found[:2]:
            points: dict[str, list[int]] = {}
            for rank, point in enumerate(self._comm.allgather(where)):
                points.setdefault(point, []).append(rank)
            lines = (
                f"rank{'s' * (len(ranks) > 1)} {_ranges(ranks)}: {point}"
                for point, ranks in points.items()
            )
            raise shared(RankError(f"ranks are at different points: {'; '.join(lines)}"))

    def _uncaught(
        self,
        kind: type[BaseException],
        error: BaseException,
        trace: TracebackType | None,
    ) -> None:
        text = "".join(traceback.format_exception(kind, error, trace))
        if not is_shared(error):
            self.fail(text, 130 if isinstance(error, KeyboardInterrupt) else 1)
        self.print_shared(text.rstrip())  # each rank ends by itself

    def _end(self) -> None:
        """Wait for the other ranks: if one of them has not come to the end, say so."""
        try:
            mark = _mark(END)
            with self.waiting(END):
                request, summed = self._start(mark, (self._printed,))
                while not request.Test():  # for long, perhaps: others may have more to do
                    sleep(0.01)
                printed = summed[2]
                self._compare(END, mark, summed.tolist())
        except RankError as error:
            self.fail(self._unprinted if self.rank else str(error))  # all have raised it
        if self._unprinted and not printed:
            self.fail(self._unprinted)
        self._ended.set()
        self._watch.join()

    def _watch_others(self) -> None:
        """Ask other ranks where they are if this one waits for long; answer if they ask."""
        stagger = min(0.02 * self.rank, POLL)  # if the ranks are many, let the lower ask
        asked = 0
        requests: list[MPI.Request] = []
        while not self._ended.wait(min(POLL, self.timeout / 4)):
            if self._alarms is not None:
                self._answer(self._alarms)
            if (waits := self._waits) is None:
                continue
            where, since = waits
            seconds = monotonic() - since - stagger
            if seconds > self.timeout and asked != self._count and self._alarms is not None:
                asked = self._count
                question = (asked, f"{where} for {self.timeout:g} s")
                others = (rank for rank in range(self.size) if rank != self.rank)
                requests = [self._alarms.isend(question, rank) for rank in others]
            elif seconds > self.timeout + min(ANSWER, self.timeout):
                self.fail(
                    f"has waited {seconds:.0f} s for other ranks in {where}; none says that it "
                    "computes, so a process or host may be stopped, or the network down"
                )
        del requests

    def _answer(self, alarms: MPI.Comm) -> None:
        from mpi4py import MPI

        status = MPI.Status()
        while alarms.Iprobe(status=status):
            count, asks = alarms.recv(source=status.Get_source())
            if self._waits is None and self._count < count:
                frame = sys._current_frames()[threading.main_thread().ident or 0]
                self.fail(
                    f"keeps rank {status.Get_source()} waiting in {asks}; it is here:\n"
                    + "".join(traceback.format_stack(frame))
                )


def _mark(where: str) -> tuple[int, int]:
    """Return a hash of a text, in two numbers of which a float holds the sum over many ranks."""
    first, second = unpack("<II", blake2b(where.encode(), digest_size=8).digest())
    return first, second


def _wait_for_reader() -> None:
    """Wait until ``mpiexec`` has read what was printed: it drops the rest when a rank aborts."""
    with suppress(ImportError, OSError, ValueError):  # not POSIX, no pipe, closed
        from fcntl import ioctl
        from termios import FIONREAD

        end = monotonic() + ANSWER
        while any(ioctl(sys.stderr.fileno(), FIONREAD, bytes(4))) and monotonic() < end:
            sleep(0.01)


def _packed(error: Exception) -> bytes:
    try:
        packed = pickle.dumps(error)
        pickle.loads(packed)  # an exception may not be made from its own args
    except Exception:
        packed = pickle.dumps(RuntimeError(f"{type(error).__name__}: {error}"))
    return packed


def _unpacked(packed: bytes) -> Exception:
    error: Exception = pickle.loads(packed)
    return error


def _ranges(numbers: Iterable[int]) -> str:
    """Return ascending integers as text, such as "0, 2-5"."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and runs[-1][-1] == number - 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return ", ".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else f"{run[0]}" for run in runs)
