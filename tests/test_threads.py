"""BLAS is held at one thread while products run, and gets back what it had."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import numpy as np
import pytest
from threadpoolctl import ThreadpoolController, threadpool_limits

import tinygrad_cnn as tg
from tinygrad_cnn.engine import threads

CONTROLLER = ThreadpoolController()
LARGE = np.ones((128, 128), np.float32)


def blas_threads() -> list[int]:
    return [info["num_threads"] for info in CONTROLLER.info() if info["user_api"] == "blas"]


@pytest.fixture
def seen(monkeypatch):
    """Count the threads that BLAS has whenever NumPy is asked for a product."""
    counts = []
    product = np.matmul

    def matmul(a, b, **options):
        counts.append(blas_threads())
        return product(a, b, **options)

    monkeypatch.setattr(threads.np, "matmul", matmul)
    with threadpool_limits(2, user_api="blas"):
        yield counts


def test_a_large_product_runs_with_one_thread_and_restores_the_rest(seen):
    tg.matmul(LARGE, LARGE)
    assert [set(count) for count in seen] == [{1}]
    assert set(blas_threads()) == {2}


def test_a_failed_product_restores_the_threads(seen):
    with pytest.raises(ValueError, match="matmul: a has shape"):
        tg.matmul(LARGE, np.ones((127, 128), np.float32))
    assert set(blas_threads()) == {2}


def test_products_of_several_python_threads_restore_once_all_are_done(seen):
    barrier = Barrier(2)

    def work(_):
        barrier.wait()
        for _ in range(20):
            tg.matmul(LARGE, LARGE)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(work, range(2)))
    assert len(seen) == 40
    assert set(blas_threads()) == {2}


@pytest.mark.parametrize("n", [0, -1, 1.5, True, "2"])
def test_a_number_of_threads_that_is_none_is_refused(n):
    with pytest.raises(ValueError, match="num_threads: n is"), tg.num_threads(n):
        pass
