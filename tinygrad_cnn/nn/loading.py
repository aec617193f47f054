"""The checks and conversions of `Module.load_state_dict`."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn.core.tensor import Tensor
from tinygrad_cnn.core.variable import array_of
from tinygrad_cnn.engine.arrays import Shape
from tinygrad_cnn.support.arguments import native

__all__ = ["LoadResult"]


LISTED = 20  # problems in a message


class LoadResult(tuple[list[str], list[str]]):
    """The names that `load_state_dict` did not load: ``missing, unexpected = result``.

    Attributes
    ----------
    missing : list of str
        The names only in the model.
    unexpected : list of str
        The names only in the state dict.
    mismatched : dict of str to (tuple of int, tuple of int)
        The names in both that ``ignore_mismatched=True`` skipped, and the shapes in the state dict
        and in the model.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> weights = tg.nn.Linear(4, 1000).state_dict()
    >>> tg.nn.Linear(4, 10).load_state_dict({"bias": weights["bias"][:10]}, strict=False)
    (['weight'], [])
    >>> weights["bias"] = weights["bias"][:10]
    >>> tg.nn.Linear(4, 10).load_state_dict(weights, ignore_mismatched=True)
    ([], [], mismatched={'weight': ((1000, 4), (10, 4))})
    """

    missing: list[str]
    unexpected: list[str]
    mismatched: dict[str, tuple[Shape, Shape]]

    def __new__(
        cls,
        missing: list[str],
        unexpected: list[str],
        mismatched: dict[str, tuple[Shape, Shape]] | None = None,
    ) -> LoadResult:
        """Return a pair with the skipped shapes as an attribute."""
        self = super().__new__(cls, (missing, unexpected))
        self.missing, self.unexpected, self.mismatched = missing, unexpected, mismatched or {}
        return self

    def __getnewargs__(self) -> Any:
        """Return the arguments that make a copy."""
        return self.missing, self.unexpected, self.mismatched

    def __repr__(self) -> str:
        """Return the pair, with the mismatched names if there are any."""
        pair = super().__repr__()
        return f"{pair[:-1]}, mismatched={self.mismatched})" if self.mismatched else pair


def arrays_of(owner: str, state_dict: Any) -> dict[str, NDArray[Any]]:
    """Return copies of the arrays of a state dict: contiguous, in the machine's byte order."""
    if not isinstance(state_dict, Mapping):
        hint = "; tg.load reads a file" if isinstance(state_dict, str | bytes) else ""
        raise TypeError(
            f"{owner}: state_dict is {type(state_dict).__name__}, expected a dict of arrays{hint}"
        )
    nested = [name for name, value in state_dict.items() if isinstance(value, Mapping)]
    if nested:
        raise TypeError(
            f"{owner}: state_dict has dicts, under {', '.join(map(repr, nested[:5]))}, expected "
            f"arrays; pass one of them: state_dict[{nested[0]!r}]"
        )
    arrays = {}
    for name, value in state_dict.items():
        if not isinstance(name, str):
            raise TypeError(f"{owner}: state_dict has the name {name!r}, expected a str")
        try:
            array = np.array(array_of(value), order="C")
            if array.dtype.name == "bfloat16":  # of a package that adds it to NumPy
                array = array.astype(np.float32)
            if array.dtype.kind not in "fiubc":
                raise TypeError(f"an array of {array.dtype}")
        except (TypeError, ValueError, RuntimeError) as error:
            raise TypeError(
                f"{owner}: {name} is {type(value).__name__}, expected an array of numbers: {error}"
            ) from error
        arrays[name] = native(array)
    return arrays


def renamed(
    arrays: dict[str, NDArray[Any]], rules: Iterable[tuple[str, str, str]]
) -> dict[str, NDArray[Any]]:
    """Return the arrays under today's names: `rules` are (prefix of a module, pattern, new)."""
    for prefix, pattern, new in rules:
        start = f"{prefix}." if prefix else ""
        today = {
            name: start + re.sub(pattern, new, name.removeprefix(start))
            if name.startswith(start) else name for name in arrays
        }  # fmt: skip
        if len(set(today.values())) == len(today):
            arrays = {today[name]: array for name, array in arrays.items()}
    return arrays


def converted(array: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any] | None:
    """Return `array` as `dtype`, or None if that changes more than the last digits of floats."""
    if array.dtype == dtype:
        return array
    if not _similar(array.dtype, dtype):
        return None
    with np.errstate(over="ignore"):
        new = array.astype(dtype)
    if dtype.kind == "f":
        return new if np.array_equal(np.isinf(new), np.isinf(array)) else None
    return new if np.array_equal(new, array) else None


def _similar(old: np.dtype[Any], new: np.dtype[Any]) -> bool:
    """Return whether both are floats or both integers."""
    return old.kind == new.kind == "f" or {old.kind, new.kind} <= {"i", "u"}


def mismatch(name: str, array: NDArray[Any], tensor: Tensor) -> str:
    """Return what is wrong with an array of a state dict."""
    text = (
        f"{name} is {array.dtype} of shape {array.shape}, expected {tensor.dtype} of shape "
        f"{tensor.shape}"
    )
    if array.shape == tensor.shape and _similar(array.dtype, tensor.dtype):
        finite = array[np.isfinite(array)]
        text += f", which cannot hold all its values, from {finite.min()} to {finite.max()}"
    return text


def conversion_note(owner: str, conversions: Counter[tuple[np.dtype[Any], np.dtype[Any]]]) -> str:
    """Return the warning about converted arrays."""
    parts, rounded = [], False
    for (old, new), count in conversions.items():
        rounds = old.kind == "f" and old.itemsize > new.itemsize
        rounded |= rounds
        arrays = "array" if count == 1 else "arrays"
        parts.append(f"{count} {arrays} from {old} to {new}" + (", rounded" if rounds else ""))
    hint = "; a model in float64, by model.double(), takes them as they are" if rounded else ""
    return f"{owner}: converted to the model's dtype: {'; '.join(parts)}{hint}"


def name_hint(names: Iterable[str], given: Iterable[str]) -> str:
    """Return how to make the names of a state dict those of the model, or ""."""
    ours, theirs = set(names), set(given)
    if prefix := _common_prefix(theirs - ours, ours - theirs):
        start = "all names start" if all(n.startswith(prefix) for n in theirs) else "names start"
        only = "" if start.startswith("all") else f" if name.startswith({prefix!r})"
        return (
            f"{start} with {prefix!r}: pass {{name.removeprefix({prefix!r}): array for name, array "
            f"in state_dict.items(){only}}}"
        )
    if prefix := _common_prefix(ours - theirs, theirs - ours):
        return (
            f"the model's names start with {prefix!r}: call "
            f"model.{prefix}load_state_dict(state_dict), or pass {{{prefix!r} + name: array for "
            "name, array in state_dict.items()}"
        )
    return ""


def _common_prefix(names: set[str], without: set[str]) -> str:
    """Return the prefix that makes more than half of `without` out of `names`, or ""."""
    found: Counter[str] = Counter()
    for name in names:
        steps = name.split(".")
        for k in range(1, len(steps)):
            if ".".join(steps[k:]) in without:
                found[".".join(steps[:k]) + "."] += 1
    prefix, count = found.most_common(1)[0] if found else ("", 0)
    return prefix if 2 * count > len(without) else ""


def listed(problems: list[str]) -> str:
    """Return the first problems, and how many there are more."""
    more = len(problems) - LISTED
    return "; ".join([*problems[:LISTED], *([f"and {more} more"] if more > 0 else [])])
