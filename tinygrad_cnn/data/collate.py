"""`collate`: examples become a batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn.core.tensor import Tensor
from tinygrad_cnn.data.errors import DataError

__all__ = ["collate", "like"]


def collate(examples: Sequence[Any]) -> Any:
    """Stack examples along a new first axis; the default of `DataLoader`.

    Tuples, lists and dicts are stacked entry by entry, to any depth, and keep their type.

    Parameters
    ----------
    examples : sequence
        Arrays, Tensors or numbers, or tuples, lists or dicts of these, all alike. Texts, bytes
        and None are allowed too.

    Returns
    -------
    ndarray, list, tuple or dict
        Arrays of shape (len(examples), ...). Python's floats become float32, its integers int64;
        arrays keep their dtype. Texts, bytes and None become a list.

    Raises
    ------
    DataError
        If the examples differ in shape, length, keys or type.
    TypeError
        If they are anything else.

    Examples
    --------
    >>> images, labels = collate([(np.zeros((3, 8, 8)), 1), (np.ones((3, 8, 8)), 0)])
    >>> images.shape, labels
    ((2, 3, 8, 8), array([1, 0]))
    >>> collate([{"x": 1.5, "name": "a"}, {"x": 2.5, "name": "b"}])
    {'x': array([1.5, 2.5], dtype=float32), 'name': ['a', 'b']}
    """
    if not len(examples):
        raise DataError("collate: no examples; expected at least one")
    return _collate(examples, "")


def like(template: Any, parts: Sequence[Any]) -> Any:
    """Return `parts` as a tuple, named tuple or list, as `template` is."""
    if hasattr(template, "_make"):
        return template._make(parts)
    return type(template)(parts)


def _collate(examples: Sequence[Any], where: str) -> Any:
    first = examples[0]
    came: object
    if isinstance(first, str | bytes) or first is None:
        return list(examples)
    if isinstance(first, Mapping):
        keys = list(first)
        for i, example in enumerate(examples):
            if not isinstance(example, Mapping) or example.keys() != first.keys():
                came = list(example) if isinstance(example, Mapping) else type(example)
                raise DataError(f"collate: example {i}{where} has {came}, the first {keys}")
        return {key: _collate([e[key] for e in examples], f"{where}[{key!r}]") for key in keys}
    if isinstance(first, tuple | list):
        for i, example in enumerate(examples):
            if not isinstance(example, tuple | list) or len(example) != len(first):
                came = len(example) if isinstance(example, tuple | list) else type(example)
                raise DataError(
                    f"collate: example {i}{where} has {came} entries, the first {len(first)}"
                )
        columns = zip(*examples, strict=True)
        return like(first, [_collate(column, f"{where}[{i}]") for i, column in enumerate(columns)])
    return _stack(examples, where)


def _stack(examples: Sequence[Any], where: str) -> NDArray[Any]:
    arrays = [_array(example, i, where) for i, example in enumerate(examples)]
    shape = arrays[0].shape
    for i, array in enumerate(arrays):
        if array.shape != shape:
            raise DataError(
                f"collate: example {i}{where} has shape {array.shape}, the first {shape}; expected "
                "equal shapes: resize the images, or pass a function as collate="
            )
    return np.stack(arrays)


def _array(value: Any, i: int, where: str) -> NDArray[Any]:
    if isinstance(value, Tensor):
        return value._array
    if isinstance(value, np.ndarray | np.generic):
        array: NDArray[Any] = np.asarray(value)
        if array.dtype.kind in "biufc":
            return array
    elif isinstance(value, bool | int | float):
        return np.asarray(value, np.float32 if isinstance(value, float) else None)
    kind = f"array of {value.dtype}" if isinstance(value, np.ndarray) else type(value).__name__
    raise TypeError(
        f"collate: example {i}{where} is of type {kind}; expected numbers, arrays, texts, or "
        "tuples, lists or dicts of these; or pass a function as collate="
    )
