"""Engine options: Winograd, the size of the buffer pool, poisoned memory."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Any

from tinygrad_cnn.engine.context import changed


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """The values set by `options`, shared by all threads of a computation."""

    winograd: bool = True
    memory_limit: int = 1 << 29
    poison: bool = False


_DEFAULT = EngineOptions()
configuration: ContextVar[EngineOptions] = ContextVar("engine", default=_DEFAULT)


def options(
    *, winograd: bool | None = None, memory_limit: int | None = None, poison: bool | None = None
) -> changed[EngineOptions]:
    """Set engine options inside ``with engine.options(...):``; options left out keep their value.

    Parameters
    ----------
    winograd : bool
        Whether large 3×3 convolutions in float32 may use Winograd's algorithm, which is faster and
        a few times less exact. True by default.
    memory_limit : int
        The size of the buffer pool in bytes, 0 for none. 512 MiB by default.
    poison : bool
        For debugging: fill uninitialized memory with NaN to expose uninitialized reads. False by
        default.

    Raises
    ------
    TypeError, ValueError
        If an option has the wrong type, or is negative.

    Examples
    --------
    >>> import numpy as np
    >>> import tinygrad_cnn as tg
    >>> x, w = np.ones((32, 16, 8, 8), "f4"), np.ones((32, 16, 3, 3), "f4")
    >>> with tg.engine.options(winograd=False):
    ...     exact = tg.conv2d(x, w)
    >>> float(abs(tg.conv2d(x, w) - exact).max()) < 1e-3
    True
    """
    given: dict[str, Any] = {"winograd": winograd, "memory_limit": memory_limit, "poison": poison}
    changes = {name: value for name, value in given.items() if value is not None}
    for name, value in changes.items():
        kind = int if name == "memory_limit" else bool
        if type(value) is not kind:
            raise TypeError(f"engine.options: {name} is {value!r}, expected {kind.__name__}")
        if value < 0:
            raise ValueError(f"engine.options: {name} is {value}, expected 0 or more")
    return changed(configuration, lambda outside: replace(outside, **changes))
