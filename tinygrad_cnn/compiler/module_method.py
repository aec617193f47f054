"""`Module.compile`: a model whose calls for inference are replayed."""

from __future__ import annotations

import functools
from typing import Any, TypeVar

from tinygrad_cnn.compiler.step import compile
from tinygrad_cnn.core.step_observer import announce_entered
from tinygrad_cnn.nn.module import Module

__all__ = ["compile_module"]

M = TypeVar("M", bound=Module)


def compile_module(self: M) -> M:
    """Capture the calls of this module for inference, and replay them: see `compile`.

    A call inside ``with tg.no_grad():`` is captured once for each shape, dtype and mode, and then
    replayed. Calls that record gradients compute as before: to compile training, compile the whole
    step. The module is the same object as before; copies of it are not compiled.

    Returns
    -------
    Module
        This module.

    Examples
    --------
    >>> import numpy as np
    >>> import tinygrad_cnn as tg
    >>> model = tg.nn.MLP((4, 8, 2), rng=np.random.default_rng(0)).eval().compile()
    >>> with tg.no_grad():
    ...     first, again = (model(np.ones((3, 4), "f4")).numpy() for _ in range(2))
    >>> np.allclose(first, again, atol=1e-6)
    True
    """

    @functools.wraps(self.forward)
    def forward(*args: Any, **kwargs: Any) -> Any:
        announce_entered(self)
        return self.forward(*args, **kwargs)

    forward.__name__ = type(self).__name__
    step = compile(forward)

    def replayed(*args: Any, **kwargs: Any) -> Any:  # a function is no state of the module
        return step(*args, **kwargs)

    self._compiled = replayed
    return self


Module.compile = compile_module
