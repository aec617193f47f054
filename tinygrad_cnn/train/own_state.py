"""State of a model besides parameters and buffers: counters, arrays and random generators.

A resumed run is bit-identical only if this state is saved too. It is collected from the attributes
of modules, including containers, closures and objects of classes in the model's own file.
The global generators are saved by `global_random`.
"""

from __future__ import annotations

import hashlib
import pickle
import random
import warnings
from collections import deque
from collections.abc import Callable, Mapping
from enum import Enum
from functools import partial
from types import BuiltinFunctionType, CellType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn.core.recording import no_grad, qualified
from tinygrad_cnn.core.tensor import Tensor
from tinygrad_cnn.nn import Module
from tinygrad_cnn.train.evaluation import in_mode
from tinygrad_cnn.train.global_random import (
    global_random,
    python_state,
    set_global_random,
    set_python_state,
)
from tinygrad_cnn.train.weight_files import DTYPES

__all__ = ["has_hidden_state", "is_ours", "load_own_state", "of_rank", "own_state", "unsaved",
           "warn_of_unsaved_state"]  # fmt: skip

PLAIN = (type(None), bool, int, float, str)
CONSTANT = (
    type, FunctionType, BuiltinFunctionType, MethodType, ModuleType, Enum, np.ufunc, np.dtype,
    slice, range, bytes, complex, frozenset,
)  # fmt: skip  # recreated by the constructor
OURS = "tinygrad_cnn."


def _bit_generator(state: Mapping[str, Any]) -> np.random.BitGenerator:
    made: np.random.BitGenerator = getattr(np.random, state["bit_generator"])()
    made.state = state
    return made


GENERATORS: dict[str, tuple[type, Callable[[Any], Any], Callable[[Any, Any], None],
                            Callable[[Any], Any]]] = {
    "generator": (
        np.random.Generator,
        lambda g: g.bit_generator.state,
        lambda g, state: setattr(g.bit_generator, "state", state),
        lambda state: np.random.Generator(_bit_generator(state)),
    ),
    "bit generator": (
        np.random.BitGenerator,
        lambda g: g.state,
        lambda g, state: setattr(g, "state", state),
        _bit_generator,
    ),
    "RandomState": (
        np.random.RandomState,
        lambda g: g.get_state(legacy=False),
        lambda g, state: g.set_state(state),
        lambda state: np.random.RandomState(_bit_generator(state)),
    ),
    "Random": (random.Random, python_state, set_python_state, lambda state: random.Random()),
}  # fmt: skip
"""By kind: the type, and functions that get a state, set it, and build from it."""


def own_state(model: Module) -> dict[str, Any]:
    """Return a model's own state by attribute, such as ``"noise.calls"``.

    Returns
    -------
    dict
        Plain values and arrays, accepted by `tinygrad_cnn.train.state.write_state`.

    Examples
    --------
    >>> from tinygrad_cnn import nn
    >>> model, other = (nn.Dropout(rng=np.random.default_rng(0)) for _ in range(2))
    >>> first = model(np.ones(8))
    >>> list(own_state(model))
    ['rng']
    >>> load_own_state(other, own_state(model))
    >>> np.array_equal(other(np.ones(8)), model(np.ones(8)))
    True
    """
    return _Saving(model).state


def is_ours(model: Module) -> bool:
    """Return whether all modules are the package's: then evaluation needs no own state."""
    return all(type(module).__module__.startswith(OURS) for module in model.modules())


def unsaved(model: Module) -> list[str]:
    """Return names and types of attributes that `own_state` cannot save."""
    return _Saving(model).unsaved


def load_own_state(model: Module, state: Mapping[str, Any]) -> None:
    """Load a state from `own_state` into a model that was built in the same way.

    Raises
    ------
    ValueError
        If the model lacks a value to load a state into.
    """
    loading = _Loading()
    modules = dict(model.named_modules())
    for name, saved in state.items():
        prefix, _, attribute = name.rpartition(".")
        if prefix not in modules:
            raise ValueError(f"{name}: the model has no module {prefix!r}")
        attributes = vars(modules[prefix])
        attributes[attribute] = loading(saved, attributes.get(attribute, loading), name)


def of_rank(
    rank: int, own: Mapping[str, Any], globally: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the state of another rank: that of rank 0, but for the random numbers to come.

    Parameters
    ----------
    rank : int
        From 1.
    own, globally : mapping
        `own_state` and `global_random` of rank 0.

    Examples
    --------
    >>> state = global_random()
    >>> _, other = of_rank(1, {}, state)
    >>> other["default"] == state["default"]
    False
    """
    kinds = {"default": "bit generator", "numpy": "RandomState", "python": "Random"}
    return (
        {name: _of_rank(rank, saved) for name, saved in own.items()},
        {name: _reseeded(rank, kinds[name], state) for name, state in globally.items()},
    )


def _of_rank(rank: int, saved: Any) -> Any:
    if isinstance(saved, list):
        return [_of_rank(rank, part) for part in saved]
    if isinstance(saved, dict):  # of one kind
        ((kind, state),) = saved.items()
        if kind in GENERATORS:
            return {kind: _reseeded(rank, kind, state)}
        return {kind: _of_rank(rank, state) if isinstance(state, list) else state}
    return saved


def _reseeded(rank: int, kind: str, state: Mapping[str, Any]) -> dict[str, Any]:
    """Return another state of a generator, drawn by its state and the rank."""
    digest = hashlib.sha256(pickle.dumps((rank, kind, state)))
    seed = int.from_bytes(digest.digest())
    if kind == "Random":
        return python_state(random.Random(seed))
    fresh = getattr(np.random, state["bit_generator"])(np.random.SeedSequence(seed)).state
    return {**state, **fresh, **({"has_gauss": 0, "gauss": 0.0} if kind == "RandomState" else {})}


def has_hidden_state(model: Module, images: NDArray[Any]) -> bool:
    """Return whether outputs depend on state that cannot be saved, such as a global count.

    Runs the model twice from the same state, in train mode, and restores it.
    """
    if is_ours(model):
        return False
    modules = [(module, set(vars(module))) for module in model.modules()]
    tensors, own, outside = model.state_dict(), own_state(model), global_random()

    def restore() -> None:
        for module, names in modules:
            for name in vars(module).keys() - names:
                delattr(module, name)
        model.load_state_dict(tensors)
        load_own_state(model, own)
        set_global_random(outside)

    results = []
    with in_mode(model, training=True), no_grad():
        for _ in range(2):
            try:
                results.append([model(Tensor._of(images))._array.tobytes() for _ in range(2)])
            finally:
                restore()
    return results[0] != results[1]


def warn_of_unsaved_state(model: Module, images: NDArray[Any]) -> None:
    """Warn if a resumed run would not be bit-identical; may run the model: `has_hidden_state`."""
    name, names = type(model).__name__, unsaved(model)
    if names:
        warnings.warn(
            f"{name}: the state of {', '.join(names)} cannot be saved; if training changes it, "
            "a resumed run is not bit-identical",
            stacklevel=3,
        )
    elif has_hidden_state(model, images):
        warnings.warn(
            f"{name}: its outputs depend on a counter or generator outside the modules' "
            "attributes; a resumed run is not bit-identical",
            stacklevel=3,
        )


class _Saving:
    """Converts values to dicts of their kind and state."""

    def __init__(self, model: Module) -> None:
        self.unsaved: list[str] = []
        self.state: dict[str, Any] = {}
        self._seen: dict[int, tuple[str, Any]] = {}  # the value keeps its id unique
        self._left = {id(t) for t in (*model.parameters(), *model.buffers())}
        self._files = {type(m).__module__ for m in model.modules()}
        for prefix, module in model.named_modules():
            ours = type(module).__module__.startswith(OURS)
            for attribute, value in vars(module).items():
                # The package's own layers have only Tensors and generators as state.
                if attribute == "training" or (ours and not _is_generator(value)):
                    continue
                name = qualified(prefix, attribute)
                saved = self(value, name)
                if saved is not None:
                    self.state[name] = saved

    def __call__(self, value: Any, name: str) -> dict[str, Any] | None:
        """Return the saved form of `value`; None if the constructor recreates it."""
        if type(value) in PLAIN:
            return {"plain": value}
        if isinstance(value, Module) or id(value) in self._left:
            return None
        if id(value) in self._seen:
            return {"same": self._seen[id(value)][0]}
        self._seen[id(value)] = name, value
        saved = self._saved(value, name)
        if saved is None:
            self._left.add(id(value))
        return saved

    def _saved(self, value: Any, name: str) -> dict[str, Any] | None:
        for kind, (type_, get, _, _) in GENERATORS.items():
            if isinstance(value, type_):
                return {kind: get(value)}
        for kind, type_, array in (
            ("Tensor", Tensor, getattr(value, "_array", None)),
            ("array", np.ndarray, value),
            ("number", np.generic, value),
        ):
            if isinstance(value, type_):
                return self._array(kind, np.asarray(array), name)
        return self._with_parts(value, name)

    def _array(self, kind: str, array: np.ndarray[Any, Any], name: str) -> dict[str, Any] | None:
        if array.dtype.name in DTYPES:
            return {kind: array.copy()}
        self.unsaved.append(f"{name} ({kind} of {array.dtype})")
        return None

    def _with_parts(self, value: Any, name: str) -> dict[str, Any] | None:
        parts = _parts(value, self._files)
        plain_keys = not isinstance(value, dict) or all(type(key) in PLAIN for key in value)
        if parts is not None and plain_keys:
            kind, items = parts
            saved = [[key, self(item, f"{name}.{key}")] for key, item in items]
            left = saved and all(part is None for _, part in saved)
            return None if left else {kind: saved}
        ours = type(value).__module__.startswith(OURS)
        if not (isinstance(value, CONSTANT) or ours):
            self.unsaved.append(f"{name} ({type(value).__name__})")
        return None


class _Loading:
    """Restores values saved by `_Saving`, in place if they are mutable."""

    def __init__(self) -> None:
        self._loaded: dict[str, Any] = {}

    def __call__(self, saved: Mapping[str, Any] | None, value: Any, name: str) -> Any:
        """Return the replacement of `value`; `value` is this object if there was none."""
        if saved is None:
            if value is self:
                raise ValueError(f"{name}: the model has no such attribute")
            return value
        ((kind, state),) = saved.items()
        if kind == "same":
            return self._loaded[state]
        if kind == "plain":
            return state
        self._loaded[name] = value
        loaded = self._loaded[name] = self._restored(kind, state, value, name)
        return loaded

    def _restored(self, kind: str, state: Any, value: Any, name: str) -> Any:
        if kind in GENERATORS:
            type_, _, put, make = GENERATORS[kind]
            generator = value if isinstance(value, type_) else make(state)
            put(generator, state)
            return generator
        if kind == "array":
            fits = isinstance(value, np.ndarray) and (value.shape, value.dtype) == (
                state.shape, state.dtype
            ) and value.flags.writeable  # fmt: skip
            if not fits:
                return state
            value[...] = state
            return value
        if kind == "number":
            return state[()]
        if kind == "Tensor":
            return Tensor(state)
        return self._with_parts(kind, state, value, name)

    def _with_parts(self, kind: str, state: Any, value: Any, name: str) -> Any:
        parts = None if value is self else _parts(value, {type(value).__module__})
        if parts is None or parts[0] != kind:
            new: dict[str, Callable[[], Any]] = {"dict": dict, "list": list, "set": set}
            if kind not in (*new, "tuple"):
                raise ValueError(f"{name}: the model has no such {kind}")
            value, parts = new.get(kind, tuple)(), (kind, [])
            self._loaded[name] = value
        before = dict(parts[1])
        items = {key: self(part, before.get(key, self), f"{name}.{key}") for key, part in state}
        if kind == "tuple":
            return value._make(items.values()) if hasattr(value, "_make") else tuple(items.values())
        if kind in ("dict", "object"):
            target = value if kind == "dict" else vars(value)
            target.clear()
            target.update(items)
        elif kind == "list":
            value[:] = items.values()
        elif kind in ("set", "deque"):
            value.clear()
            (value.update if kind == "set" else value.extend)(items.values())
        elif kind == "closure":
            cells = dict(zip(value.__code__.co_freevars, value.__closure__, strict=True))
            for key, item in items.items():
                cells[key].cell_contents = item
        return value


def _parts(value: Any, files: set[str]) -> tuple[str, list[tuple[Any, Any]]] | None:
    """Return the kind and the parts of a value; None if it has no known parts."""
    if isinstance(value, dict):
        return "dict", list(value.items())
    for kind, type_ in (("list", list), ("tuple", tuple), ("set", set), ("deque", deque)):
        if isinstance(value, type_):
            return kind, list(enumerate(value))
    if isinstance(value, partial):
        return "partial", list(enumerate((*value.args, *value.keywords.values())))
    if isinstance(value, FunctionType) and value.__closure__:
        cells = zip(value.__code__.co_freevars, value.__closure__, strict=True)
        return "closure", [(k, c.cell_contents) for k, c in cells if c != CellType()]
    if type(value).__module__ in files and hasattr(value, "__dict__"):
        return "object", list(vars(value).items())
    return None


def _is_generator(value: Any) -> bool:
    return isinstance(value, tuple(type_ for type_, *_ in GENERATORS.values()))
