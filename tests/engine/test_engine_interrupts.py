"""What an interrupt, a signal handler, a finalizer or a fork finds, and what they leave behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from support.interrupting import (
    Work,
    broken,
    interrupted_everywhere,
    several_blas_threads,
)

import tinygrad_cnn as tg
from tinygrad_cnn.core import graph
from tinygrad_cnn.engine import blas, thread_pool, threads, windows
from tinygrad_cnn.train.evaluation import in_mode

A = np.ones((60, 60), "f4")  # large enough for BLAS to be held at one thread
LINEAR = tg.nn.Linear(3, 2, rng=np.random.default_rng(0))
MODEL = tg.nn.Sequential(LINEAR, tg.nn.ReLU(), tg.nn.Tanh())


def contexts() -> None:
    again = tg.no_grad()
    with again, tg.enable_grad(), again, tg.detect_nan():
        pass
    with tg.num_threads(2), tg.engine.options(poison=True), tg.default_dtype("float64"):
        pass
    with tg.no_grad(), tg.enable_grad(), tg.scope("a"), tg.observe(tg.Observer()):
        pass


@tg.no_grad()
def decorated() -> None:
    assert not (tg.Tensor(1.0, requires_grad=True) * 2.0).requires_grad


def raising() -> None:
    with pytest.raises(ZeroDivisionError), tg.no_grad(), tg.num_threads(3):
        raise ZeroDivisionError


def backward() -> None:
    LINEAR(tg.Tensor(np.ones((4, 3), "f4"))).sum().backward()


def evaluated() -> None:
    with in_mode(MODEL, False):
        pass


WORK: dict[str, Callable[[], Any]] = {
    "contexts": contexts,
    "a decorated function": decorated,
    "a block that raises": raising,
    "BLAS on one thread": lambda: blas.on_one_thread(lambda: blas.on_one_thread(int)),
    "a product": lambda: threads.matmul(A, A),
    "one thread": lambda: thread_pool.run(lambda i: None, 2, 1),
    "two threads": lambda: thread_pool.run(lambda i: None, 2, 2),
    "a module and a sweep": backward,
    "evaluation": evaluated,
}


@pytest.mark.parametrize("name", WORK)
def test_an_interrupt_leaves_nothing_behind_wherever_it_arrives(name: str) -> None:
    places = 0
    with several_blas_threads():
        for place in interrupted_everywhere(WORK[name]):
            assert broken() == [], place
            assert all(module.training for module in MODEL.modules()), place
            places += 1
        WORK[name]()
    assert places > 5


def test_interrupts_at_random_moments_of_real_work_leave_nothing_behind() -> None:
    """BLAS's threads, recording, settings and locks as before, and the same bits afterwards."""
    done = subprocess.run(
        [sys.executable, "-m", "support.interrupting", "0", "300"],
        capture_output=True, text=True, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_context_manager_serves_again_and_inside_itself() -> None:
    manager, seen = tg.num_threads(3), []
    for _ in range(2):
        with manager, tg.num_threads(2):
            with manager:
                seen.append(threads._limit.get())
            seen.append(threads._limit.get())
        seen.append(threads._limit.get())
    assert seen == [3, 2, None] * 2


def in_child(work: Callable[[], bool]) -> int:
    """Return the exit status of a forked process: 0 if `work` held there, within 30 s."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12: threads and fork
        process = os.fork()
    if process == 0:
        status = 1
        try:
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.alarm(30)
            status = 0 if work() else 1
        finally:
            os._exit(status)
    return os.waitpid(process, 0)[1]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
@pytest.mark.parametrize("place", ["graph", "blas", "threads", "windows", "compile"])
def test_a_child_computes_though_another_thread_held_a_lock(place: str) -> None:
    step = tg.compile(lambda x: tg.relu(x * 2.0))
    lock: Any = {
        "graph": graph._accumulating, "blas": blas._lock, "threads": thread_pool._starting,
        "windows": getattr(vars(windows.WindowAxis)["seen"], "lock", threading.RLock()),
        "compile": step._lock,
    }[place]  # fmt: skip
    work = Work()
    held, done = threading.Event(), threading.Event()

    def new() -> bool:  # of a size that is not known yet
        size = (1, 1, 41, 42 + len(place))
        return bool(tg.conv2d(np.ones(size), np.ones((1, 1, 3, 3)), padding=1).shape == size)

    def works() -> bool:
        return new() and step(tg.Tensor(A)).shape == A.shape and not work.wrong()

    def hold() -> None:
        with lock:
            held.set()
            done.wait()

    holder = threading.Thread(target=hold)
    holder.start()
    held.wait()
    try:
        assert in_child(works) == 0
    finally:
        done.set()
        holder.join()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
def test_children_forked_in_the_middle_of_a_sweep_compute() -> None:
    work = Work()
    expected = work.train()
    ended = threading.Event()

    def keep_busy() -> None:
        while not ended.is_set():
            work.train()

    busy = threading.Thread(target=keep_busy)
    busy.start()
    try:
        for _ in range(10):
            assert in_child(lambda: work.train() == expected) == 0
    finally:
        ended.set()
        busy.join()
