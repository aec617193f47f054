"""Threads that help: every piece once, errors, nesting, several callers, fork and spawn."""

from __future__ import annotations

import functools
import multiprocessing
import os
import subprocess
import sys
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.drawing import at_least
from threadpoolctl import ThreadpoolController, threadpool_limits

import tinygrad_cnn as tg
from tinygrad_cnn.engine import thread_pool, threads

BLAS = ThreadpoolController().select(user_api="blas")


def blas_threads() -> set[int]:
    return {library.num_threads for library in BLAS.lib_controllers}


@given(count=st.integers(0, 40), n=st.integers(1, 5))
def test_each_piece_is_done_once(count: int, n: int) -> None:
    done: list[int] = []
    thread_pool.run(done.append, count, n)
    assert sorted(done) == list(range(count))


IMAGES, KERNELS = (32, 8, 24, 24), (16, 8, 3, 3)  # large enough for several threads


def two_threads_meet() -> bool:
    meeting = threading.Barrier(2, timeout=60)  # breaks unless both pieces are under way
    thread_pool.run(lambda i: meeting.wait() and None, 2, 2)
    return True


def test_two_threads_work_at_the_same_time() -> None:
    assert two_threads_meet()


def test_blas_runs_one_thread_inside_and_what_it_had_outside() -> None:
    seen: list[set[int]] = []
    with threadpool_limits(2, user_api="blas"):
        thread_pool.run(lambda i: seen.append(blas_threads()), 4, 2)
        assert blas_threads() == {2}
    assert seen == [{1}] * 4


def test_blas_runs_one_thread_whichever_python_thread_asks() -> None:
    seen: list[set[int]] = []
    work = functools.partial(thread_pool.run, lambda i: seen.append(blas_threads()), 1, 1)
    with threadpool_limits(2, user_api="blas"):
        work()
        other = threading.Thread(target=work)
        other.start()
        other.join()
        assert blas_threads() == {2}
    assert seen == [{1}] * 2


@pytest.mark.parametrize("n", [1, 2])
def test_an_error_is_raised_and_the_rest_restored(n: int) -> None:
    def piece(i: int) -> None:
        if i == 3:
            raise RuntimeError("piece 3")

    with threadpool_limits(2, user_api="blas"):
        with pytest.raises(RuntimeError, match="piece 3"):
            thread_pool.run(piece, 8, n)
        assert blas_threads() == {2}
    test_each_piece_is_done_once()


def test_a_piece_may_itself_have_pieces() -> None:
    done: list[tuple[int, int, str]] = []

    def outer(i: int) -> None:
        name = threading.current_thread().name
        thread_pool.run(lambda j: done.append((i, j, threading.current_thread().name)), 3, 4)
        assert {who for k, _, who in done if k == i} == {name}  # in the thread of the piece

    thread_pool.run(outer, 6, 3)
    assert sorted((i, j) for i, j, _ in done) == [(i, j) for i in range(6) for j in range(3)]


def test_pieces_see_the_callers_errstate() -> None:
    """Without it a helper would warn, and a warning is an error here."""
    zero = np.zeros(3)
    meeting = threading.Barrier(2, timeout=60)  # so that a helper has one of the pieces

    def piece(i: int) -> None:
        meeting.wait()
        np.divide(1.0, zero)

    with np.errstate(divide="ignore"):
        thread_pool.run(piece, 2, 2)


def test_several_python_threads_at_once() -> None:
    def work(seed: int) -> bool:
        rng = np.random.default_rng(seed)
        x, w = rng.standard_normal(IMAGES, "f4"), rng.standard_normal(KERNELS, "f4")
        with tg.num_threads(1):
            alone = tg.conv2d(x, w)
        with tg.num_threads(3):
            return all((tg.conv2d(x, w) == alone).all() for _ in range(20))

    with threadpool_limits(2, user_api="blas"):
        with ThreadPoolExecutor(4) as callers:
            assert all(callers.map(work, range(8)))
        assert blas_threads() == {2}


def test_the_default_is_every_core_the_process_may_use(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    monkeypatch.setattr(thread_pool, "run", lambda piece, count, n: asked.append(n))
    threads.run(lambda i: None, 1, threads.WORTH)
    with tg.num_threads(3):
        threads.run(lambda i: None, 1, threads.WORTH)
        threads.run(lambda i: None, 1, threads.WORTH - 1)  # too little for a second thread
        threads.run(lambda i: None, 1, threads.SMALL)  # and for BLAS's
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    assert asked == [cores, 3, 1]


@at_least(30)
@given(
    rows=st.integers(1, 300), inner=st.integers(1, 40), columns=st.integers(1, 300),
    seed=st.integers(0, 99),
)  # fmt: skip
def test_a_product_in_pieces_is_the_product(rows: int, inner: int, columns: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    a, b = rng.standard_normal((rows, inner)), rng.standard_normal((columns, inner)).T
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(threads, "PIECE", 1 << 10)
        patch.setattr(threads, "SMALL", 1 << 10)
        patch.setattr(threads, "WORTH", 1 << 10)
        results = []
        for n in (1, 3):
            with tg.num_threads(n):
                results.append(threads.matmul(a, b))
    np.testing.assert_allclose(results[0], a @ b, rtol=1e-12, atol=1e-12)
    assert results[0].tobytes() == results[1].tobytes()


def convolved(seed: int) -> bytes:
    rng = np.random.default_rng(seed)
    x, w = rng.standard_normal(IMAGES, "f4"), rng.standard_normal(KERNELS, "f4")
    with tg.num_threads(3):
        return tg.conv2d(x, w).tobytes()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
def test_a_forked_child_starts_threads_of_its_own() -> None:
    expected = convolved(0)  # the parent's threads are running now
    context = multiprocessing.get_context("fork")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12: threads and fork
        with context.Pool(2) as children:
            assert children.map(convolved, [0, 0]) == [expected] * 2
            assert children.apply(two_threads_meet)
    assert convolved(0) == expected


def test_a_fresh_interpreter_gives_the_same_bits() -> None:
    code = (
        "import hashlib, sys, numpy as np, tinygrad_cnn as tg\n"
        "rng = np.random.default_rng(0)\n"
        f"x = rng.standard_normal({IMAGES}, 'f4')\n"
        f"w = rng.standard_normal({KERNELS}, 'f4')\n"
        "with tg.num_threads(int(sys.argv[1])):\n"
        "    print(hashlib.sha256(tg.conv2d(x, w).tobytes()).hexdigest())\n"
    )
    hashes = {
        subprocess.run(
            [sys.executable, "-c", code, n], capture_output=True, text=True, check=True
        ).stdout
        for n in "123"
    }
    assert len(hashes) == 1
