"""Interrupts: one at every place where Python may raise it, or at random moments of real work.

Run as a program, ``python -m support.interrupting SEED COUNT`` sends itself that many signals while
it computes, and prints what was wrong after each.
"""

from __future__ import annotations

import dis
import inspect
import random
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from types import CodeType, FrameType
from typing import Any

import numpy as np

import tinygrad_cnn as tg
from tinygrad_cnn.core.dtypes import float_dtype
from tinygrad_cnn.core.recording import Recording, recording
from tinygrad_cnn.engine import blas, configuration, thread_pool, threads

BLAS_THREADS = 2


@cache
def _places(code: CodeType) -> frozenset[int]:
    """Return the offsets of the instructions before which Python looks for signals.

    It looks after a call, as a part of it: where another handler begins right behind it, an error
    of the next instruction would not be handled alike, and is left out.
    """
    entries = dis.Bytecode(code).exception_entries

    def handler(offset: int) -> list[int]:
        return [entry.target for entry in entries if entry.start <= offset < entry.end]

    found, before = set(), None
    for step in dis.get_instructions(code):
        if step.opname.startswith("JUMP_BACKWARD"):
            found.add(step.offset)
        elif before is not None and before.opname.startswith("CALL"):
            found |= {step.offset} if handler(before.offset) == handler(step.offset) else set()
        before = step
    return frozenset(found)


def interrupted_everywhere(work: Callable[[], Any]) -> Iterator[str]:
    """Run `work` once for each place where an interrupt may arrive, with one there.

    Yields the place: a function begins, the instruction after a call, or a loop jumps back.
    """
    work()  # fill the caches
    place, count = "", 0

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal left, place
        if frame.f_code.co_filename == __file__:
            return None
        frame.f_trace_opcodes = True
        if event == "call" and frame.f_code.co_flags & inspect.CO_GENERATOR:
            return trace  # a generator that is closed does not look
        if event == "call" or (event == "opcode" and frame.f_lasti in _places(frame.f_code)):
            if left == 0:
                place = f"{frame.f_code.co_qualname}:{frame.f_lineno} ({event} {frame.f_lasti})"
                raise KeyboardInterrupt
            left -= 1
        return trace

    while True:
        left = count
        sys.settrace(trace)
        try:
            work()
        except KeyboardInterrupt:
            pass
        else:
            return
        finally:
            sys.settrace(None)
        yield place
        count += 1


def blas_threads() -> list[int]:
    return [ask() for ask, _ in blas._libraries()]


@contextmanager
def several_blas_threads() -> Iterator[None]:
    before = blas_threads()
    for _, tell in blas._libraries():
        tell(BLAS_THREADS)
    try:
        yield
    finally:
        for (_, tell), n in zip(blas._libraries(), before, strict=True):
            tell(n)


def broken() -> list[str]:
    """Return what an interrupt has left behind."""
    free = [blas._lock, thread_pool._starting]
    checks = {
        "BLAS's threads": set(blas_threads()) == {BLAS_THREADS},
        "who holds BLAS": not blas._running and not blas._before,
        "recording": recording.get() == Recording(),
        "the default dtype": float_dtype.get() == np.float32,
        "the engine's settings": configuration.configuration.get() == configuration.EngineOptions(),
        "the number of threads": threads._limit.get() is None,
        "inside a job": not thread_pool._inside.get(),
        "a lock": all(not lock._is_owned() for lock in free),
    }
    return [name for name, is_well in checks.items() if not is_well]


class Work:
    """Real work of every kind, and whether its results are right."""

    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        self.x = rng.standard_normal((32, 16, 14, 14), "f4")
        self.w = rng.standard_normal((32, 16, 3, 3), "f4")
        self.a = rng.standard_normal((300, 300), "f4")
        self.images = rng.standard_normal((16, 1, 28, 28), "f4")
        self.labels = rng.integers(0, 10, 16)
        self.model = tg.nn.LeNet5(rng=rng)
        self.kinds = [self.convolve, self.multiply, self.train, self.look, self.set]
        self.expected = [kind() for kind in self.kinds]

    def convolve(self) -> bytes:
        w = tg.Tensor(self.w, requires_grad=True)
        y = tg.conv2d(self.x, w, padding=1)
        return bytes(tg.grad(y, w, gradient=y.numpy())[0].tobytes())

    def multiply(self) -> bytes:
        return bytes(tg.matmul(self.a, self.a).tobytes())

    def train(self) -> bytes:
        loss = tg.cross_entropy(self.model(self.images), self.labels)
        self.model.zero_grad()
        loss.backward()
        return bytes(next(self.model.parameters()).grad.tobytes())

    def look(self) -> bytes:
        with tg.no_grad(), tg.scope("a"), tg.observe(tg.Observer()):
            return bytes(self.model(self.images).numpy().tobytes())

    def set(self) -> bytes:
        with tg.num_threads(2), tg.engine.options(winograd=False), tg.default_dtype("float64"):
            return bytes(tg.conv2d(self.x, self.w).tobytes())

    def wrong(self) -> list[str]:
        """Return which kinds of work give other results than at first."""
        return [k.__name__ for k, y in zip(self.kinds, self.expected, strict=True) if k() != y]


def main(seed: int, count: int) -> int:
    draw = random.Random(seed)
    work = Work()
    faults = 0

    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGALRM, interrupt)
    with several_blas_threads():
        for k in range(count):
            kind = draw.choice(work.kinds)
            try:
                signal.setitimer(signal.ITIMER_REAL, draw.uniform(2e-5, 3e-3))
                while True:
                    kind()
            except KeyboardInterrupt as error:
                where = traceback.extract_tb(error.__traceback__)[-2:]
            left = broken() + (work.wrong() if k % 25 == 0 or k == count - 1 else [])
            if left:
                faults += 1
                print(f"{kind.__name__}: {', '.join(left)}; interrupted in {where}", flush=True)
                for _, tell in blas._libraries():
                    tell(BLAS_THREADS)
                recording.set(Recording())
    print(f"{faults} of {count} interrupts left something behind", flush=True)
    return min(faults, 1)


if __name__ == "__main__":
    import faulthandler

    faulthandler.dump_traceback_later(120, exit=True)  # a deadlock
    sys.exit(main(*map(int, sys.argv[1:])))
