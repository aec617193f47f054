"""The global random generators: the default one, and NumPy's and Python's."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from tinygrad_cnn.core.random import default, default_generator, manual_seed
from tinygrad_cnn.engine.context import changed

__all__ = [
    "global_random",
    "python_state",
    "seeded_globally",
    "seeded_states",
    "set_global_random",
    "set_python_state",
]


def python_state(generator: Any) -> dict[str, Any]:
    """Return the state of a `random.Random` or of the module `random`; its numbers as an array."""
    version, numbers, gauss = generator.getstate()
    return {"version": version, "numbers": np.array(numbers, np.uint32), "gauss": gauss}


def set_python_state(generator: Any, state: Mapping[str, Any]) -> None:
    """Set a state from `python_state`."""
    numbers = tuple(state["numbers"].tolist())
    generator.setstate((state["version"], numbers, state["gauss"]))


def global_random() -> dict[str, Any]:
    """Return the states of the default generator, and of NumPy's and Python's global ones."""
    return {
        "default": default_generator().bit_generator.state,
        "numpy": np.random.get_state(legacy=False),  # noqa: NPY002  # models may use it
        "python": python_state(random),
    }


def set_global_random(state: Mapping[str, Any]) -> None:
    """Set these generators to states from `global_random`."""
    default_generator().bit_generator.state = state["default"]
    np.random.set_state(state["numpy"])  # noqa: NPY002  # models may use it
    set_python_state(random, state["python"])


@contextmanager
def seeded_globally(state: dict[str, Any]) -> Iterator[None]:
    """Use `state` for the global generators inside, update it at the end, and restore.

    The default generator is another object inside: `manual_seed` there changes nothing outside.
    """
    outside = global_random()
    with changed(default, lambda _: np.random.default_rng(0)):
        set_global_random(state)
        try:
            yield
        finally:
            state.update(global_random())
            set_global_random(outside)


def seeded_states(seed: np.random.SeedSequence) -> dict[str, Any]:
    """Return the states of the global generators after seeding, as `global_random` does."""
    state = global_random()
    with seeded_globally(state):
        np.random.seed(seed.generate_state(8))  # noqa: NPY002  # models may use it
        random.seed(int(seed.generate_state(9)[-1]))
        manual_seed(int(seed.spawn(1)[0].generate_state(1, np.uint64)[0]))
    return state
