"""Switches: recording, the default dtype and the seed."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_cnn.compat.torch.devices import numpy_dtype
from tinygrad_cnn.compat.torch.tensor import Tensor
from tinygrad_cnn.core import random
from tinygrad_cnn.core.dtypes import float_dtype
from tinygrad_cnn.core.recording import changed_recording, recording
from tinygrad_cnn.engine import threads
from tinygrad_cnn.engine.context import changed


class no_grad:  # PyTorch's name
    """Record nothing: ``with no_grad():``, ``@no_grad()`` or ``@no_grad``."""

    on = False

    def __new__(cls, function: Any = None) -> Any:
        """Return the context, or `function` that runs in it."""
        context = changed_recording(on=cls.on)
        return context if function is None else context(function)


class enable_grad(no_grad):
    """Record again inside `no_grad`."""

    on = True


def inference_mode(mode: Any = True) -> Any:
    """Record nothing, as `no_grad`."""
    if callable(mode):
        return no_grad(mode)
    return no_grad() if mode else changed(recording, lambda outside: outside)


class set_grad_enabled:
    """Record or not from now on; as a context, until its end."""

    def __init__(self, mode: bool) -> None:
        self._outside = recording.get().on
        recording.set(recording.get()._replace(on=bool(mode)))

    def __enter__(self) -> None:
        pass

    def __exit__(self, *error: object) -> None:
        recording.set(recording.get()._replace(on=self._outside))


def is_grad_enabled() -> bool:
    """Return whether ops are recorded."""
    return recording.get().on


def set_default_dtype(d: Any) -> None:
    """Set the dtype of Python's floats and of new parameters."""
    dtype = numpy_dtype(d)
    if dtype.char not in "fd":
        raise TypeError(f"set_default_dtype: got {dtype}, expected torch.float32 or torch.float64")
    float_dtype.set(dtype)


def get_default_dtype() -> np.dtype[Any]:
    """Return the dtype of Python's floats and of new parameters."""
    return float_dtype.get()


_seed = 0


def manual_seed(seed: int) -> None:
    """Seed the default generator. PyTorch draws other numbers from the same seed."""
    global _seed
    _seed = int(seed)
    random.manual_seed(_seed)


def initial_seed() -> int:
    """Return the last seed."""
    return _seed


def is_tensor(obj: Any) -> bool:
    """Return whether `obj` is a Tensor."""
    return isinstance(obj, Tensor)


def set_printoptions(**options: Any) -> None:
    """Set NumPy's options for printing: ``precision``, ``threshold``, ``linewidth``."""
    known = {"precision", "threshold", "linewidth", "edgeitems"}
    np.set_printoptions(**{name: value for name, value in options.items() if name in known})


def seed() -> int:
    """Seed the default generator from the operating system; return the seed."""
    drawn = int(np.random.SeedSequence().generate_state(1)[0])
    manual_seed(drawn)
    return drawn


def get_rng_state() -> Any:
    """Return the state of the default generator."""
    return random.default_generator().bit_generator.state


def set_rng_state(new_state: Any) -> None:
    """Set the state of the default generator."""
    random.default_generator().bit_generator.state = new_state


def use_deterministic_algorithms(mode: bool, *, warn_only: bool = False) -> None:
    """Do nothing: the same call gives the same bits."""


def set_num_threads(n: int) -> None:
    """Compute with at most `n` threads from now on."""
    threads._limit.set(int(n))


def get_num_threads() -> int:
    """Return the largest number of threads."""
    return threads._limit.get() or threads._cores()
