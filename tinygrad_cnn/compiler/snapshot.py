"""The state that a step changes: taken, restored and compared."""

from __future__ import annotations

import functools
import types
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn.compiler.python_state import PythonState
from tinygrad_cnn.core.variable import Variable, array_of

OPAQUE = (
    type, types.ModuleType, types.FunctionType, types.BuiltinFunctionType, types.CodeType, str,
    bytes, int, float, complex, type(None), np.generic, np.dtype, np.ufunc,
)  # fmt: skip


class Snapshot:
    """A copy of the state of objects: Tensors, gradients, arrays, generators and attributes.

    Parameters
    ----------
    roots : dict of str to object
        By name. All that their attributes, lists and dicts lead to belongs to the state.
    state : PythonState, optional
        Variables, lists and generators that functions lead to, which belong to it too.
    """

    def __init__(self, roots: dict[str, Any], state: PythonState | None = None) -> None:
        self._roots, self._state = roots, state or PythonState()
        self._restore_places = self._state.kept()
        self._kept: dict[int, tuple[Any, Any]] = {}
        for _, value in _walk(roots):
            state = _state(value)
            if state is not None:
                self._kept[id(value)] = value, state

    def restore(self) -> None:
        """Bring all objects back into that state."""
        self._restore_places()
        for value, state in self._kept.values():
            _restore(value, state)

    def current(self) -> dict[str, Any]:
        """Return copies of the arrays and numbers of the state as it is now, by their names."""
        found = self._state.values()
        for name, value in _walk(self._roots):
            if isinstance(value, Variable):
                found[name] = value._array.copy()
                grad = array_of(value._grad)
                found[f"{name}.grad"] = None if grad is None else np.array(grad)
            elif isinstance(value, np.ndarray):
                found[name] = value.copy()
            elif isinstance(value, np.random.Generator):
                found[name] = repr(value.bit_generator.state)
            elif isinstance(value, dict):
                for key, part in value.items():
                    if isinstance(part, int | float | complex | str | np.generic):
                        found[f"{name}[{key!r}]"] = part
        return found


def objects_in(roots: dict[str, Any]) -> Iterator[Any]:
    """Yield all objects that these, their attributes, lists and dicts lead to, each once."""
    return (value for _, value in _walk(roots))


def _walk(roots: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield all objects of the state with their names, each once."""
    seen: set[int] = set()
    due = list(reversed(roots.items()))
    while due:
        name, value = due.pop()
        if id(value) in seen or isinstance(value, OPAQUE):
            continue
        seen.add(id(value))
        yield name, value
        due += reversed(list(_parts(name, value)))


def _parts(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Variable | np.ndarray | np.random.Generator):
        return
    if isinstance(value, types.MethodType):
        yield name, value.__self__
    elif isinstance(value, functools.partial):
        yield f"{name}.func", value.func
        yield f"{name}.args", value.args
    elif isinstance(value, dict):
        for key, part in value.items():
            shown = key if isinstance(key, str | int) else len(name)
            yield f"{name}[{shown!r}]", part
            if isinstance(key, Variable):
                yield f"{name} (key)", key
    elif isinstance(value, list | tuple):
        for i, part in enumerate(value):
            yield f"{name}[{i}]", part
    elif isinstance(getattr(value, "__dict__", None), dict):
        for key, part in vars(value).items():
            yield f"{name}.{key}", part
        yield f"{name}.", vars(value)


def _state(value: Any) -> Any:
    """Return a copy of what an object holds itself; None if it cannot change."""
    if isinstance(value, Variable):
        grad = value._grad
        return (
            value._array, value._array.copy(), grad,
            None if grad is None else array_of(grad).copy(), value._changed,
        )  # fmt: skip
    if isinstance(value, np.ndarray):
        return value.copy() if value.flags.writeable and not value.dtype.hasobject else None
    if isinstance(value, np.random.Generator):
        return value.bit_generator.state
    if isinstance(value, dict | list | set):
        return value.copy()
    return None


def _restore(value: Any, state: Any) -> None:
    if isinstance(value, Variable):
        value._array, contents, value._grad, grad, value._changed = state
        _write(value._array, contents)
        if grad is not None:
            _write(array_of(value._grad), grad)
    elif isinstance(value, np.ndarray):
        _write(value, state)
    elif isinstance(value, np.random.Generator):
        value.bit_generator.state = state
    elif isinstance(value, list):
        value[:] = state
    else:
        value.clear()
        value.update(state)


def _write(array: NDArray[Any], contents: NDArray[Any]) -> None:
    if array.flags.writeable:
        array[...] = contents


def difference(a: Any, b: Any) -> str:
    """Return how two values of a state or a result differ; "" if they have the same bits."""
    if isinstance(a, Variable) and isinstance(b, Variable):
        return difference(a._array, b._array)
    if isinstance(a, np.ndarray | np.generic) and isinstance(b, np.ndarray | np.generic):
        if (a.dtype, a.shape) != (b.dtype, b.shape):
            return f"{a.dtype} of shape {a.shape} and {b.dtype} of shape {b.shape}"
        if np.array_equal(_bits(a), _bits(b)):
            return ""
        return f"{a.size} values, of which {_largest(np.asarray(a), np.asarray(b))}"
    if type(a) is not type(b):
        return f"{type(a).__name__} and {type(b).__name__}"
    if isinstance(a, dict):
        if a.keys() != b.keys():
            return f"the keys {sorted(map(str, a.keys() ^ b.keys()))}"
        pairs = [(f"[{key!r}]", a[key], b[key]) for key in a]
    elif isinstance(a, list | tuple):
        if len(a) != len(b):
            return f"the lengths {len(a)} and {len(b)}"
        pairs = [(f"[{i}]", *pair) for i, pair in enumerate(zip(a, b, strict=True))]
    else:
        same = a is b or bool(a == b) or (a != a and b != b)
        return "" if same else f"{a!r} and {b!r}"
    for place, one, other in pairs:
        found = difference(one, other)
        if found:
            return f"{place}: {found}" if not found.startswith("[") else f"{place}{found}"
    return ""


def _bits(array: Any) -> NDArray[np.uint8]:
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8)


def _largest(a: NDArray[Any], b: NDArray[Any]) -> str:
    if a.dtype.kind not in "fiu" or a.shape != b.shape:
        return "some differ"
    with np.errstate(all="ignore"):
        gap = np.abs(a.astype(float) - b.astype(float))
    return f"{np.count_nonzero(gap)} differ, by {np.max(gap, initial=0.0):g} at most"
