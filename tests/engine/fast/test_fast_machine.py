"""The machine that runs programs of kernels: order, threads, and kernels that end a run."""

from __future__ import annotations

import os
import signal
import sys
import threading
from typing import Any

import numpy as np
import pytest
from support.machine import in_ci

import tinygrad_cnn as tg
from tinygrad_cnn.engine import threads

if not in_ci():
    pytest.importorskip("numba")

from tinygrad_cnn.engine.fast.elementwise import relu
from tinygrad_cnn.engine.fast.linear import product
from tinygrad_cnn.engine.fast.machine import KernelCall, Tape
from tinygrad_cnn.engine.fast.softmax import checked_labels


def chain(length: int, size: int, step: int) -> tuple[Tape, list[np.ndarray[Any, Any]]]:
    """Return a program that copies an array through others, and the arrays."""
    arrays = [np.full(size, float(i == 0), np.float32) for i in range(length + 1)]
    rows = [
        KernelCall(relu, "f4", (i, i + 1, size, step), -(-size // step), threads.WORTH)
        for i in range(length)
    ]
    tape = Tape(rows, length + 1)
    tape.at[:] = [array.ctypes.data for array in arrays]
    return tape, arrays


@pytest.mark.parametrize("count", [1, 2, 5])
def test_each_row_sees_what_the_rows_before_have_written(count: int) -> None:
    tape, arrays = chain(50, 1000, 64)
    with tg.num_threads(count):
        for value in range(20):
            arrays[0].fill(value)
            tape.run()
            assert (arrays[-1] == value).all()


def test_only_the_first_rows_run_if_asked() -> None:
    tape, arrays = chain(4, 8, 8)
    tape.run(2)
    assert [array[0] for array in arrays] == [1, 1, 1, 0, 0]


@pytest.mark.parametrize("count", [1, 3])
def test_a_kernel_that_ends_the_run_stops_later_rows(count: int) -> None:
    labels, known, shares = np.array([0, 7]), np.zeros(2, np.int64), np.zeros(2, np.float32)
    x, y = np.ones(2, np.float32), np.zeros(2, np.float32)
    operands = (0, 1, 2, 3, 2, 3, -100, 1, 5)
    rows = [
        KernelCall(checked_labels, "f4", operands, 1, threads.WORTH),
        KernelCall(relu, "f4", (4, 5, 2, 1), 2),
    ]
    tape = Tape(rows, 6)
    tape.at[:] = [a.ctypes.data for a in (labels, known, shares, tape.status, x, y)]
    with tg.num_threads(count):
        tape.run()
        assert tape.status[0] == 5
        assert not y.any()
        labels[1], tape.status[0] = 2, 0
        tape.run()
    assert tape.status[0] == 0
    assert y.all()
    assert shares.tolist() == [0.5, 0.5]


def test_products_have_the_same_bits_for_any_number_of_threads() -> None:
    rng = np.random.default_rng(0)
    m, k, n = 301, 77, 130
    a, x = (rng.standard_normal(s, dtype=np.float32) for s in ((m, k), (k, n)))
    y = np.empty((m, n), np.float32)
    row = KernelCall(product, "f4", (0, 1, 1, 2, m, k, n, 16, 0), 19, threads.WORTH, 0, 1 << 20)
    tape = Tape([row], 3)
    tape.at[:] = [array.ctypes.data for array in (a, x, y)]
    found = []
    for count in (1, 2, 4):
        y.fill(np.nan)
        with tg.num_threads(count):
            tape.run()
        found.append(y.copy())
    np.testing.assert_allclose(found[0], a @ x, rtol=1e-4, atol=1e-4)
    assert all(np.array_equal(found[0], other) for other in found[1:])


def test_several_python_threads_run_tapes_of_their_own() -> None:
    wrong = []

    def work(value: int) -> None:
        tape, arrays = chain(20, 500, 32)
        for _ in range(30):
            arrays[0].fill(value)
            tape.run()
            if not (arrays[-1] == value).all():
                wrong.append(value)

    with tg.num_threads(2):
        workers = [threading.Thread(target=work, args=(i,)) for i in range(1, 5)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
    assert not wrong


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.skipif(sys.version_info >= (3, 12), reason="fork warns where threads run")
def test_a_child_process_runs_a_tape_of_its_parent() -> None:
    tape, arrays = chain(20, 500, 32)
    with tg.num_threads(2):
        tape.run()
        child = os.fork()
        if child == 0:
            arrays[0].fill(3.0)
            tape.run()
            os._exit(0 if (arrays[-1] == 3.0).all() else 1)
        _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0


class InterruptedRun(BaseException):
    """What the signal handler of a test raises."""


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs timers")
def test_an_interrupt_comes_after_the_run() -> None:
    tape, arrays = chain(200, 1 << 16, 1 << 12)
    arrays[0].fill(2.0)

    def handle(_: int, __: Any) -> None:
        raise InterruptedRun

    before = signal.signal(signal.SIGALRM, handle)
    try:
        with pytest.raises(InterruptedRun):
            signal.setitimer(signal.ITIMER_REAL, 0.001)
            while True:
                tape.run()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    tape.run()
    assert (arrays[-1] == 2.0).all()
