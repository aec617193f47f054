"""The switches of the engine."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Any

from tinygrad_cnn.engine.context import changed


@dataclass(frozen=True, slots=True)
class Settings:
    """What `engine` sets; the same for all threads of a computation."""

    winograd: bool = True
    memory_limit: int = 1 << 29
    poison: bool = False


_FIRST = Settings()
settings: ContextVar[Settings] = ContextVar("engine", default=_FIRST)


def engine(
    *, winograd: bool | None = None, memory_limit: int | None = None, poison: bool | None = None
) -> changed[Settings]:
    """Compute with other settings inside ``with engine(...):``; what is left out stays as it is.

    Parameters
    ----------
    winograd : bool
        Whether large 3×3 convolutions in float32 may use Winograd's algorithm, which is faster and
        a few times less exact. True at first.
    memory_limit : int
        How many bytes of large arrays may be kept for use again, 0 for none. 512 MiB at first.
    poison : bool
        For debugging: fill uninitialized memory with NaN, to expose reads of values that were never
        written. False at first.

    Raises
    ------
    TypeError, ValueError
        If a setting is of another kind, or negative.

    Examples
    --------
    >>> import numpy as np
    >>> import tinygrad_cnn as tg
    >>> x, w = np.ones((32, 16, 8, 8), "f4"), np.ones((32, 16, 3, 3), "f4")
    >>> with tg.engine(winograd=False):
    ...     exact = tg.conv2d(x, w)
    >>> float(abs(tg.conv2d(x, w) - exact).max()) < 1e-3
    True
    """
    given: dict[str, Any] = {"winograd": winograd, "memory_limit": memory_limit, "poison": poison}
    changes = {name: value for name, value in given.items() if value is not None}
    for name, value in changes.items():
        kind = int if name == "memory_limit" else bool
        if type(value) is not kind:
            raise TypeError(f"engine: {name} is {value!r}, expected {kind.__name__}")
        if value < 0:
            raise ValueError(f"engine: {name} is {value}, expected 0 or more")
    return changed(settings, lambda outside: replace(outside, **changes))
