"""Compiled steps that are called within their own run, as a signal handler or a finalizer may."""

from __future__ import annotations

import os
import signal
import sys
import threading
from types import FrameType
from typing import Any

import numpy as np
import pytest
from support.machine import in_ci

import tinygrad_cnn as tg
from tinygrad_cnn.compiler.program import TapeCall

if not in_ci():
    pytest.importorskip("numba")


@pytest.mark.parametrize("check_every", [None, 1])
@pytest.mark.parametrize("size", [30, 1 << 20])  # also of a size that several threads share
def test_a_call_within_the_run_of_a_step_touches_none_of_its_memory(
    size: int, check_every: int | None
) -> None:
    step = tg.compile(lambda x: tg.relu(tg.relu(x * 2.0) + x) - x, check_every=check_every)
    inner, outer = (tg.Tensor(np.full(size, value, "f4")) for value in (3.0, 1.0))
    expected = [np.full(size, value, "f4") for value in (6.0, 2.0)]
    calls, wrong = 0, []

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal calls
        if not frame.f_code.co_filename.endswith(("tape_run.py", "machine.py", "thread_pool.py")):
            return None
        sys.settrace(None)  # as a signal handler that no other interrupts
        if not np.array_equal(step(inner).numpy(), expected[0]):
            wrong.append(f"{frame.f_code.co_qualname}:{frame.f_lineno} ({event})")
        calls += 1
        sys.settrace(trace)
        return trace

    with tg.engine.options(fast=True), tg.num_threads(2):
        for _ in range(3):
            step(inner)
        assert any(isinstance(each, TapeCall) for each in step.replayed[-1].instructions)
        sys.settrace(trace)
        try:
            result = step(outer).numpy()
        finally:
            sys.settrace(None)
        assert calls > 20
        assert not wrong
        np.testing.assert_array_equal(result, expected[1])
        np.testing.assert_array_equal(step(inner).numpy(), expected[0])


def test_an_error_of_a_run_leaves_the_next_one_its_memory() -> None:
    step = tg.compile(lambda x, labels: tg.cross_entropy(x * 2.0, labels))
    x, labels = tg.Tensor(np.eye(3, dtype="f4")), np.arange(3)
    with tg.engine.options(fast=True):
        for _ in range(3):
            step(x, labels)
        with pytest.raises((ValueError, IndexError)):
            step(x, labels + 7)
        memory = step._latest[-1]._memory
        assert memory is not None
        assert memory.user is None


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Python 3.12: threads and fork
def test_a_child_uses_the_memory_of_a_run_in_another_thread() -> None:
    step = tg.compile(lambda x: tg.relu(x * 2.0))
    x = tg.Tensor(np.ones(30, "f4"))
    with tg.engine.options(fast=True):
        for _ in range(3):
            step(x)
        memory: Any = step._latest[-1]._memory
        begun, ended = threading.Event(), threading.Event()

        def hold() -> None:
            with memory.lock:
                memory.user = threading.get_ident()
                begun.set()
                ended.wait()
                memory.user = None

        holder = threading.Thread(target=hold)
        holder.start()
        begun.wait()
        process = os.fork()
        if process == 0:
            signal.alarm(30)
            step(x)
            os._exit(0 if memory.user is None else 1)
        ended.set()
        holder.join()
        assert os.waitpid(process, 0)[1] == 0
