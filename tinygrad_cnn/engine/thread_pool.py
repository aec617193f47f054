"""A thread pool: persistent threads that help with the independent pieces of one computation.

A `_Job` is a function and the numbers 0 … count − 1 to call it with. The caller puts it on a queue
once per requested helper and starts on the pieces itself; each free thread takes the next piece. A
helper that is late, or busy with another Python thread, costs nothing: the caller waits only for
pieces that have been started.

Starting and joining a job takes 60 to 90 µs: a sleeping thread needs 20 to 60 µs to wake. And a
thread that returns from a NumPy call while another holds the GIL sleeps until it gets the GIL. So a
job should take 200 µs or more, in pieces of few and large calls.
"""

from __future__ import annotations

import os
from _thread import allocate_lock
from collections.abc import Callable
from contextvars import Context, ContextVar, copy_context
from itertools import count as counter
from queue import SimpleQueue
from threading import RLock, Thread

from tinygrad_cnn.engine.blas import on_one_thread

Piece = Callable[[int], None]

_inside: ContextVar[bool] = ContextVar("inside_a_job", default=False)


class _Job:
    """The pieces of a job and the state of its helpers."""

    def __init__(self, piece: Piece, count: int) -> None:
        self.piece = piece
        self.count = count
        self.next: Callable[[], int] = counter().__next__  # atomic: a single C call
        self.lock = allocate_lock()
        self.helpers = 0  # running now
        self.closed = False  # no further helper may start
        self.last_has_left = allocate_lock()
        self.last_has_left.acquire()
        self.error: BaseException | None = None

    def work(self) -> None:
        """Run pieces until none is left or one fails."""
        _inside.set(True)
        try:
            while self.error is None and (i := self.next()) < self.count:
                self.piece(i)
        except BaseException as error:
            self.error = error

    def help(self, context: Context) -> None:
        """Run pieces in a helper thread, in the caller's context (errstate, options)."""
        with self.lock:
            if self.closed:
                return
            self.helpers += 1
        context.run(self.work)
        self._leave()

    def _leave(self) -> None:
        with self.lock:
            self.helpers -= 1
            if self.closed and self.helpers == 0:
                self.last_has_left.release()

    def close(self) -> None:
        """Stop further helpers from starting and wait for the others; may be called again."""
        with self.lock:
            self.closed = True
            alone = self.helpers == 0
        if not alone:
            self.last_has_left.acquire()


def run(piece: Piece, count: int, threads: int) -> None:
    """Call `piece` with 0 … `count` − 1 on up to `threads` threads, including the caller's.

    A nested call of `run` runs its pieces one after the other. The first error stops the job and is
    raised here. BLAS uses one thread meanwhile.
    """
    if _inside.get():
        run_alone(piece, count)
        return
    helpers = min(threads, count) - 1
    if helpers < 1:
        on_one_thread(lambda: run_alone(piece, count))
    else:
        on_one_thread(lambda: _run_together(_Job(piece, count), helpers))


def run_alone(piece: Piece, count: int) -> None:
    """Call `piece` with 0 … `count` − 1, in order."""
    for i in range(count):
        piece(i)


def _run_together(job: _Job, helpers: int) -> None:
    try:
        queue = _queue_of(helpers)
        for _ in range(helpers):
            queue.put((job, copy_context()))
        copy_context().run(job.work)
    except BaseException as error:  # an interrupt: stop the helpers
        job.error = error
    finally:
        try:
            job.close()
        except BaseException:  # an interrupt during the wait
            job.close()
            raise
    if job.error is not None:
        try:
            raise job.error
        finally:
            job.error = None  # break the cycle between the traceback and this frame


_queue: SimpleQueue[tuple[_Job, Context]] = SimpleQueue()
_started: list[Thread] = []
_starting = RLock()  # reentrant: a signal handler may compute


def _queue_of(helpers: int) -> SimpleQueue[tuple[_Job, Context]]:
    """Return the queue after starting at least `helpers` threads."""
    if len(_started) < helpers:
        with _starting:
            while len(_started) < helpers:
                name = f"engine-{len(_started)}"
                thread = Thread(target=_serve, args=(_queue,), name=name, daemon=True)
                thread.start()
                _started.append(thread)
    return _queue


def _serve(queue: SimpleQueue[tuple[_Job, Context]]) -> None:
    while True:
        job, context = queue.get()
        job.help(context)
        del job, context  # free the arrays of a finished job before the next one


def _start_afresh() -> None:
    """Reset the pool after a fork: the child starts its own threads when needed."""
    global _queue, _starting
    _queue, _starting = SimpleQueue(), RLock()
    _started.clear()
    _inside.set(False)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_start_afresh)
