"""Engine options: Winograd, poisoned memory and compiled kernels."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass, replace

from tinygrad_cnn.engine.context import changed


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """The values set by `options`, shared by all threads of a computation."""

    winograd: bool = True
    poison: bool = False
    fast: bool = True


_DEFAULT = EngineOptions()
configuration: ContextVar[EngineOptions] = ContextVar("engine", default=_DEFAULT)


def options(
    *, winograd: bool | None = None, poison: bool | None = None, fast: bool | None = None
) -> changed[EngineOptions]:
    """Set engine options inside ``with engine.options(...):``; options left out keep their value.

    Parameters
    ----------
    winograd : bool
        Whether large 3×3 convolutions in float32 may use Winograd's algorithm, which is faster and
        a few times less exact: a NaN or infinity reaches all outputs of its tile, 4×4 at most, and
        all weights of its channel. True by default.
    poison : bool
        For debugging: fill uninitialized memory with NaN to expose uninitialized reads. False by
        default.
    fast : bool
        Whether to use compiled kernels where the extra `fast` is installed. True by default.

    Raises
    ------
    TypeError
        If an option is not a bool.

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
    given = {"winograd": winograd, "poison": poison, "fast": fast}
    changes = {name: value for name, value in given.items() if value is not None}
    for name, value in changes.items():
        if type(value) is not bool:
            raise TypeError(f"engine.options: {name} is {value!r}, expected True or False")
    return changed(configuration, lambda outside: replace(outside, **changes))
