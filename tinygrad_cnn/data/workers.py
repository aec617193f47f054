"""Worker processes that make batches ahead of the loop that uses them.

Job `k` goes to worker ``k % count``, and results are taken in the order of the jobs; at most
``ahead`` jobs wait at each worker. In a worker, one thread makes batches while another sends them,
so that a batch not yet taken does not hold up the next. Arrays pass through a socket beside the
pickle, straight from and into their memory.

Processes are started by "forkserver" where it exists, else by "spawn". A plain fork would copy a
process in the middle of its threads' work (BLAS, this package's engine, a web server): locks that
they hold stay locked in the copy.
"""

from __future__ import annotations

import multiprocessing
import pickle
import signal
import socket
import struct
import threading
import traceback
import weakref
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import forkserver
from multiprocessing.context import BaseContext
from queue import SimpleQueue
from typing import Any, TypeAlias

import numpy as np

from tinygrad_cnn.data.batches import BatchMaker, Chosen
from tinygrad_cnn.engine.blas import on_one_thread
from tinygrad_cnn.support.processes import SAFE_PATH, environment, leave_safe_path

__all__ = ["Job", "Workers", "process_context"]

Job: TypeAlias = tuple[int, int, Chosen]
"""The arguments of `BatchMaker.make`: epoch, number of the batch, indices."""

_GUARD = (
    "a script must start its work under `if __name__ == '__main__':`, because workers import it"
)


def process_context(method: str | BaseContext | None) -> BaseContext:
    """Return the multiprocessing context of a start method, by default the safest there is."""
    if isinstance(method, BaseContext):
        return method
    known = multiprocessing.get_all_start_methods()
    if method is None:
        method = "forkserver" if "forkserver" in known else "spawn"
    if method not in known:
        raise ValueError(
            f"DataLoader: multiprocessing_context is {method!r}, expected one of "
            f"{', '.join(map(repr, known))}"
        )
    if method == "forkserver":
        # The server imports this package once, not every worker.
        modules = getattr(forkserver._forkserver, "_preload_modules", ["__main__"])
        if __name__ not in modules:
            multiprocessing.set_forkserver_preload([*modules, __name__])
    return multiprocessing.get_context(method)


@dataclass
class _Worker:
    number: int
    process: Any  # each context has a class of its own
    connection: socket.socket


class Workers:
    """Processes that make batches; `close` ends them, and so does freeing the object."""

    def __init__(self, maker: BatchMaker, count: int, context: BaseContext) -> None:
        self._workers: list[_Worker] = []
        self.close = weakref.finalize(self, _end, self._workers)
        try:
            for number in range(count):
                self._workers.append(_start(number, maker, context))
        except BaseException:
            self.close()
            raise

    def batches(self, jobs: Iterable[Job], ahead: int) -> Iterator[Any]:
        """Yield the batch of each job, in order."""
        remaining = iter(jobs)
        waiting: deque[tuple[_Worker, Job]] = deque()

        def submit(worker: _Worker) -> None:
            job = next(remaining, None)
            if job is not None:
                _send_job(worker, job)
                waiting.append((worker, job))

        for _ in range(ahead):
            for worker in self._workers:
                submit(worker)
        while waiting:
            worker, job = waiting.popleft()
            batch = _result(worker, job)
            submit(worker)
            yield batch


def _start(number: int, maker: BatchMaker, context: BaseContext) -> _Worker:
    ours, theirs = socket.socketpair()
    process = context.Process(  # type: ignore[attr-defined]  # of the concrete contexts
        target=_serve, args=(maker, theirs), daemon=True, name=f"DataLoader-{number}"
    )
    try:
        with environment(SAFE_PATH), _without(signal.SIGTERM):
            process.start()
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        ours.close()
        raise TypeError(
            f"DataLoader: cannot be sent to a worker process: {error}; define the classes and "
            "functions of dataset, collate and transform at the top level of a module, use "
            "num_workers=0, or multiprocessing_context='fork' where it exists"
        ) from error
    except (EOFError, OSError) as error:
        ours.close()
        raise RuntimeError(f"DataLoader: no worker process could be started; {_GUARD}") from error
    finally:
        theirs.close()
    return _Worker(number, process, ours)


@contextmanager
def _without(signum: int) -> Iterator[None]:
    """Block a signal inside, also for the processes that are started, where there is such a mask.

    A batch system sends SIGTERM to all processes of a job: this one may want to finish its step.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signum])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _end(workers: Sequence[_Worker]) -> None:
    for worker in workers:
        worker.connection.close()
        worker.process.kill()
    for worker in workers:
        worker.process.join()


def _send_job(worker: _Worker, job: Job) -> None:
    with suppress(OSError):  # it has ended: `_result` says so, and before which batch
        _send(worker.connection, job)


def _result(worker: _Worker, job: Job) -> Any:
    try:
        result = _receive(worker.connection)
    except (EOFError, OSError):
        raise _ended(worker, job) from None
    if isinstance(result, _Failure):
        raise result.error(worker.number, job)
    return result


def _ended(worker: _Worker, job: Job) -> RuntimeError:
    worker.process.join(1)
    epoch, batch, _ = job
    code = worker.process.exitcode
    why = (
        f"was killed by signal {-code}, perhaps for want of memory"
        if code is not None and code < 0
        else f"ended with exit code {code}: see its own message; {_GUARD}"
    )
    return RuntimeError(
        f"DataLoader: before batch {batch} of epoch {epoch}, worker {worker.number} {why}"
    )


@dataclass(frozen=True)
class _Failure:
    """An exception in a worker, with its traceback as text."""

    exception: bytes | None
    text: str

    @classmethod
    def of(cls, error: Exception) -> _Failure:
        text = "".join(traceback.format_exception(error))
        try:
            exception = pickle.dumps(error)
            pickle.loads(exception)  # an exception may not be made from its own args
        except Exception:
            exception = None
        return cls(exception, text)

    def error(self, worker: int, job: Job) -> Exception:
        error: Exception = (
            RuntimeError("an exception that cannot be pickled was raised in a worker process")
            if self.exception is None
            else pickle.loads(self.exception)
        )
        epoch, batch, _ = job
        error.add_note(
            f"DataLoader: raised in worker {worker}, batch {batch} of epoch {epoch}:\n\n{self.text}"
        )
        return error


def _serve(maker: BatchMaker, connection: socket.socket) -> None:
    """Make batches until the other end of the connection is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles Ctrl-C
    leave_safe_path()
    on_one_thread(lambda: _work(maker, connection))


def _work(maker: BatchMaker, connection: socket.socket) -> None:
    results: SimpleQueue[Any] = SimpleQueue()
    threading.Thread(target=_send_all, args=(connection, results), daemon=True).start()
    while True:
        try:
            job = _receive(connection)
        except (EOFError, OSError):  # the loop is over, or its process was killed
            return
        try:
            results.put(maker.make(*job))
        except Exception as error:
            results.put(_Failure.of(error))


def _send_all(connection: socket.socket, results: SimpleQueue[Any]) -> None:
    while True:
        result = results.get()
        try:
            _send(connection, result)
        except OSError:  # the other end is closed
            return
        except Exception as error:  # the result cannot be pickled
            _send(connection, _Failure.of(error))


def _send(connection: socket.socket, value: Any) -> None:
    """Send a pickle and the arrays beside it: the number of parts, their sizes, the parts."""
    buffers: list[pickle.PickleBuffer] = []
    contents = pickle.dumps(value, 5, buffer_callback=buffers.append)
    parts = [memoryview(contents), *(buffer.raw() for buffer in buffers)]
    connection.sendall(struct.pack(f"<{len(parts) + 1}Q", len(parts), *(p.nbytes for p in parts)))
    for part in parts:
        connection.sendall(part)


def _receive(connection: socket.socket) -> Any:
    (count,) = struct.unpack("<Q", _exactly(connection, 8))
    sizes = struct.unpack(f"<{count}Q", _exactly(connection, 8 * count))
    contents, *buffers = (_exactly(connection, size) for size in sizes)
    return pickle.loads(contents, buffers=buffers)


def _exactly(connection: socket.socket, size: int) -> memoryview:
    buffer = rest = np.empty(size, np.uint8).data
    while rest:
        received = connection.recv_into(rest)
        if not received:
            raise EOFError
        rest = rest[received:]
    return buffer
