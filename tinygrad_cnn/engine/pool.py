"""Persistent threads that help the caller with independent pieces of one computation.

A `_Job` is a function and the numbers 0 … count − 1 to call it with. Its caller puts it on a queue
once for each helper it would like, and starts on the pieces itself; whoever is free takes the next
piece. So a helper that comes late, or never because it serves another Python thread, costs nothing:
the caller waits only for pieces that somebody has begun.

To hand a job out and to gather it in again takes 60 to 90 µs: a thread that sleeps begins 20 to 60
after it was woken. And whoever returns from a call of NumPy while another thread holds the GIL
sleeps until he gets it. So a job should take 400 µs or more, in pieces of few and large calls.
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
from tinygrad_cnn.engine.scratch import with_scratch

Piece = Callable[[int], None]

_inside: ContextVar[bool] = ContextVar("inside_a_job", default=False)


class _Job:
    """Pieces of work, and who is at work on them."""

    def __init__(self, piece: Piece, count: int) -> None:
        self.piece = piece
        self.count = count
        self.next: Callable[[], int] = counter().__next__  # atomic: one call into C
        self.lock = allocate_lock()
        self.helpers = 0  # at work now
        self.closed = False  # no helper may begin any more
        self.last_has_left = allocate_lock()
        self.last_has_left.acquire()
        self.error: BaseException | None = None

    def work(self) -> None:
        """Do pieces until none is left, or one has failed."""
        _inside.set(True)
        try:
            with_scratch(self._pieces)
        except BaseException as error:
            self.error = error

    def _pieces(self) -> None:
        while self.error is None and (i := self.next()) < self.count:
            self.piece(i)

    def help(self, context: Context) -> None:
        """Do pieces in a helper's thread, in the caller's context (NumPy's errstate, ours)."""
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
        """Let no further helper begin, and wait for those that have; may be called again."""
        with self.lock:
            self.closed = True
            alone = self.helpers == 0
        if not alone:
            self.last_has_left.acquire()


def run(piece: Piece, count: int, threads: int) -> None:
    """Call `piece` with 0 … `count` − 1, by up to `threads` threads, the caller among them.

    A piece that itself calls `run` does its pieces one after the other. The first error stops the
    job and is raised here. BLAS runs one thread meanwhile.
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
    """Call `piece` with 0 … `count` − 1, one after the other."""

    def pieces() -> None:
        for i in range(count):
            piece(i)

    with_scratch(pieces)


def _run_together(job: _Job, helpers: int) -> None:
    try:
        queue = _queue_of(helpers)
        for _ in range(helpers):
            queue.put((job, copy_context()))
        copy_context().run(job.work)
    except BaseException as error:  # an interrupt: helpers are to stop
        job.error = error
    finally:
        try:
            job.close()
        except BaseException:  # an interrupt while it waits
            job.close()
            raise
    if job.error is not None:
        try:
            raise job.error
        finally:
            job.error = None  # its traceback holds this frame: let neither hold the other


_queue: SimpleQueue[tuple[_Job, Context]] = SimpleQueue()
_started: list[Thread] = []
_starting = RLock()  # a signal handler that computes may come in between


def _queue_of(helpers: int) -> SimpleQueue[tuple[_Job, Context]]:
    """Return the queue, once at least that many helpers wait at it."""
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
        del job, context  # so that the arrays of a job that is done are not kept until the next


def _start_afresh() -> None:
    """After a fork: threads are not copied, so the child starts its own when it needs them."""
    global _queue, _starting
    _queue, _starting = SimpleQueue(), RLock()
    _started.clear()
    _inside.set(False)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_start_afresh)
