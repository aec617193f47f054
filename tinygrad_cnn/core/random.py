"""The default random generator, used wherever ``rng=`` is left out."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any, TypeAlias

import numpy as np

from tinygrad_cnn.core.effects import effect, writes
from tinygrad_cnn.support.arguments import whole

default: ContextVar[np.random.Generator | None] = ContextVar("default_generator", default=None)
"""The default generator of this thread or task; None before its first use."""

Rng: TypeAlias = np.random.Generator | None
"""Source of random numbers; None for the generator that `manual_seed` sets."""


@effect
@writes()
def manual_seed(seed: int) -> np.random.Generator:
    """Make ``default_rng(seed)`` the default generator, which draws where ``rng=`` is left out.

    Initial weights, `Dropout` and the transforms of images draw from it. A `DataLoader` does not:
    its order has its own ``seed=``. Without a seed, numbers differ from run to run.

    Parameters
    ----------
    seed : int
        From 0 up. Layers made after ``manual_seed(0)`` get the same bits as layers that share
        ``rng=numpy.random.default_rng(0)``, up to the first `Dropout`: it seeds a generator of its
        own from the default one.

    Returns
    -------
    numpy.random.Generator
        The default generator. Its ``bit_generator.state`` can be saved and set.

    Raises
    ------
    ValueError
        If `seed` is not an integer >= 0.

    Notes
    -----
    The default generator is a context variable:

    - A thread starts without one. On first use it gets its own, seeded by the operating system;
      call `manual_seed` inside the thread for the same numbers in every run. (Where Python runs
      threads in a copy of their creator's context, they start as tasks do.)
    - An asyncio task, and a function run in ``contextvars.copy_context()``, starts with its
      creator's generator and shares it: which of two tasks draws first depends on their schedule.
      `manual_seed` inside a task changes nothing outside it.
    - A forked process starts with a copy, so all forks draw the same numbers.

    Examples
    --------
    >>> import numpy as np
    >>> import tinygrad_cnn as tg
    >>> rng = tg.manual_seed(0)
    >>> first = tg.nn.Linear(3, 2)
    >>> rng = tg.manual_seed(0)
    >>> np.array_equal(tg.nn.Linear(3, 2).weight, first.weight)
    True
    """
    rng = np.random.default_rng(whole("manual_seed", "seed", seed, 0))
    default.set(rng)
    return rng


def default_generator() -> np.random.Generator:
    """Return the default generator; on first use, one seeded by the operating system."""
    rng = default.get()
    if rng is None:
        rng = np.random.default_rng()
        default.set(rng)
    return rng


def generator(owner: str, rng: Any) -> np.random.Generator:
    """Return `rng`, or the default generator for None; raise TypeError for any other object."""
    if rng is None:
        return default_generator()
    if not isinstance(rng, np.random.Generator):
        raise TypeError(
            f"{owner}: rng is {type(rng).__name__} {rng!r}, expected a numpy.random.Generator, "
            "rng=numpy.random.default_rng(0), or None for the default one (see manual_seed)"
        )
    return rng


def own_generator(owner: str, rng: Any) -> np.random.Generator:
    """Return `rng`, or for None a new generator to keep, seeded by a draw from the default one.

    It is drawn, not spawned: then the state of the default generator's bits decides all that
    follows, and saving them is enough.
    """
    if rng is None:
        return np.random.default_rng(default_generator().integers(2**32, size=4, dtype=np.uint32))
    return generator(owner, rng)
