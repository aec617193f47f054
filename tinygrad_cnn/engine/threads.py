"""How many threads the computation may use."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from threadpoolctl import threadpool_limits


@contextmanager
def num_threads(n: int) -> Iterator[None]:
    """Compute with at most `n` threads inside ``with num_threads(n):``.

    Parameters
    ----------
    n : int
        1 or more.

    Raises
    ------
    ValueError
        If `n` is below 1.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> with tg.num_threads(1):
    ...     y = tg.Tensor([1.0, 2.0]) @ tg.Tensor([3.0, 4.0])
    >>> y.item()
    11.0
    """
    if not isinstance(n, int) or n < 1:
        raise ValueError(f"num_threads: n is {n!r}, expected a whole number from 1 up")
    with threadpool_limits(limits=n, user_api="blas"):
        yield
