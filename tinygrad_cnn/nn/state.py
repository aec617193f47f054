"""The state of a module: copies, pickles, and the arrays to save and load."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, cast

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn.core.tensor import Tensor
from tinygrad_cnn.engine.arrays import Shape
from tinygrad_cnn.nn import loading
from tinygrad_cnn.nn.loading import LoadResult

MAY_BE_MISSING = "num_batches_tracked"  # in states of earlier versions, and of PyTorch's


class Stateful:
    """The part of a `Module` that is copied, saved and loaded."""

    _earlier_names: ClassVar[tuple[tuple[str, str], ...]] = ()
    """Patterns of earlier names of parameters, and today's: `load_state_dict` takes both."""

    def named_modules(self) -> Iterator[tuple[str, Any]]:
        """Yield the module and its submodules by name."""
        raise NotImplementedError

    def _members(self) -> Iterator[tuple[str, Any]]:
        """Yield the module's own parameters, buffers and submodules by name."""
        raise NotImplementedError

    def _saved_tensors(self) -> Iterator[tuple[str, Tensor]]:
        """Yield the parameters and buffers that are part of the state dict."""
        raise NotImplementedError

    def state_dict(self) -> dict[str, NDArray[Any]]:
        """Return a copy of the array of every parameter and buffer, by name.

        Layers that wait for their first input have none yet (`SizedLayer`).

        Examples
        --------
        >>> import tinygrad_cnn as tg
        >>> layer = tg.nn.Linear(2, 3)
        >>> {name: array.shape for name, array in layer.state_dict().items()}
        {'weight': (3, 2), 'bias': (3,)}
        """
        return {name: tensor._array.copy() for name, tensor in self._saved_tensors()}

    def load_state_dict(
        self,
        state_dict: Mapping[str, Any],
        strict: bool = True,
        *,
        ignore_mismatched: bool = False,
    ) -> LoadResult:
        """Copy the arrays of `state_dict` into the parameters and buffers of the same names.

        Parameters
        ----------
        state_dict : mapping of str to array
            As from `state_dict`, or PyTorch's, which ``tg.load`` reads from a safetensors file. The
            shapes must be the model's. Floats of another precision are converted, with a warning;
            ``num_batches_tracked`` may be missing.
        strict : bool
            Whether the names must match exactly; otherwise only common names are loaded, of which
            there must be one.
        ignore_mismatched : bool
            Whether to skip arrays of other shapes, such as the last layer of a model for other
            classes.

        Returns
        -------
        LoadResult
            The pair ``missing, unexpected``: the names only in the model, and the names only in
            `state_dict`. Its attribute ``mismatched`` has the skipped shapes by name.

        Raises
        ------
        ValueError
            If names or shapes differ, or a dtype cannot be converted: integers or complex numbers
            for floats, or values that it cannot hold. The message lists them. Nothing is changed.
        TypeError
            If `state_dict` is not a mapping of str to arrays of numbers.

        Warns
        -----
        UserWarning
            If arrays are converted: once, with their number and dtypes. From float16 and bfloat16
            to float32 is exact; from float64, values are rounded.

        Examples
        --------
        >>> import tinygrad_cnn as tg
        >>> pretrained, model = tg.nn.LeNet5(10), tg.nn.LeNet5(3)
        >>> result = model.load_state_dict(pretrained.state_dict(), ignore_mismatched=True)
        >>> result.mismatched
        {'fc3.weight': ((10, 84), (3, 84)), 'fc3.bias': ((10,), (3,))}
        """
        owner = f"{type(self).__name__}.load_state_dict"
        rules = [
            (prefix, *rule)
            for prefix, module in self.named_modules()
            for rule in module._earlier_names
        ]
        arrays = loading.renamed(loading.arrays_of(owner, state_dict), rules)
        undo: list[Callable[[], None]] = []
        try:
            for prefix, module in self.named_modules():
                if module._unsized:
                    start = f"{prefix}." if prefix else ""
                    own = {name.removeprefix(start): array for name, array in arrays.items()
                           if name.startswith(start)}  # fmt: skip
                    undo.append(module._infer_from(own))
            tensors = dict(self._saved_tensors())
            self._join_shared(owner, tensors, arrays)
            result, fitting = _matched(owner, tensors, arrays, strict, ignore_mismatched)
        except BaseException:
            for restore in undo:
                restore()
            raise
        for name, array in fitting.items():
            replace(tensors[name], array)
        return result

    def _join_shared(
        self, owner: str, tensors: dict[str, Tensor], arrays: dict[str, NDArray[Any]]
    ) -> None:
        """Leave in `arrays` one name of each shared parameter: PyTorch's states have all names."""
        first = {id(tensor): name for name, tensor in tensors.items()}
        for name in [name for name in arrays if name not in tensors]:
            if (own := first.get(id(_member(self, name)))) is not None:
                other = arrays.pop(name)
                if not np.array_equal(arrays.setdefault(own, other), other, equal_nan=True):
                    raise ValueError(
                        f"{owner}: {name} and {own} are one parameter of the model, but differ in "
                        "the state dict; nothing was loaded"
                    )

    def __getstate__(self) -> dict[str, Any]:
        """Return the state for copy and pickle: results are values without graph.

        Hooks are left out, and what `compile` has captured.
        """
        left_out = ("_hooks", "_compiled")
        attributes = {name: value for name, value in vars(self).items() if name not in left_out}
        return cast(dict[str, Any], _mapped(attributes, _without_graph))

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(_mapped(state, _restored))


def _member(module: Stateful, name: str) -> Any:
    """Return the Tensor or module of a name, which may be one of several, or None."""
    for key, value in module._members():
        if key == name:
            return value
        if isinstance(value, Stateful) and name.startswith(f"{key}."):
            return _member(value, name.removeprefix(f"{key}."))
    return None


def _matched(
    owner: str,
    tensors: dict[str, Tensor],
    arrays: dict[str, NDArray[Any]],
    strict: bool,
    ignore_mismatched: bool,
) -> tuple[LoadResult, dict[str, NDArray[Any]]]:
    """Return the result, and the arrays to load in the model's dtypes."""
    missing = [n for n in tensors if n not in arrays and not n.endswith(MAY_BE_MISSING)]
    unexpected = [name for name in arrays if name not in tensors]
    problems: list[str] = []
    if strict:
        problems += [f"{name} is missing" for name in missing]
        problems += [f"{name} is unexpected" for name in unexpected]
    fitting: dict[str, NDArray[Any]] = {}
    mismatched: dict[str, tuple[Shape, Shape]] = {}
    conversions: Counter[tuple[np.dtype[Any], np.dtype[Any]]] = Counter()
    for name, tensor in tensors.items():
        if name not in arrays:
            continue
        array = arrays[name]
        new = loading.converted(array, tensor.dtype) if array.shape == tensor.shape else None
        if new is not None:
            fitting[name] = new
            conversions[array.dtype, new.dtype] += array.dtype != new.dtype
        elif ignore_mismatched and array.shape != tensor.shape:
            mismatched[name] = (array.shape, tensor.shape)
        else:
            problems.append(loading.mismatch(name, array, tensor))
    if not problems and (arrays or missing) and tensors and not fitting:
        fits = (
            f"none of the {len(arrays)} arrays fits the model" if arrays else "state_dict is empty"
        )
        problems.append(fits)
    if problems:
        hint = loading.name_hint(tensors, arrays)
        raise ValueError(
            f"{owner}: {loading.listed(problems)}; nothing was loaded" + (hint and f". {hint}")
        )
    if conversions := +conversions:
        warnings.warn(loading.conversion_note(owner, conversions), stacklevel=3)
    return LoadResult(missing, unexpected, mismatched), fitting


def replace(tensor: Tensor, array: NDArray[Any]) -> None:
    """Replace the value; graphs that saved the old one then detect it."""
    tensor._array = array
    tensor._origin, tensor._unrecorded = None, False  # a registered result becomes a leaf
    tensor._mark_changed()


@dataclass(frozen=True, slots=True)
class _Result:
    """The value of a computed Tensor in the state of a module."""

    kind: type[Tensor]
    array: NDArray[Any]
    name: str | None


def _without_graph(value: Any) -> Any:
    if isinstance(value, Tensor) and not value.is_leaf:
        return _Result(value._tensor, value._array.copy(), value.name)
    return value


def _restored(value: Any) -> Any:
    """Return the Tensor of a `_Result`: computed, as it was, and so no buffer."""
    if not isinstance(value, _Result):
        return value
    tensor = value.kind._of(value.array)
    tensor.name, tensor._unrecorded = value.name, True
    return tensor


def _mapped(value: Any, change: Callable[[Any], Any]) -> Any:
    """Return `value`, or a copy of nested lists, tuples and dicts in which values were changed."""
    if type(value) is dict:
        pairs = {key: _mapped(item, change) for key, item in value.items()}
        return pairs if any(pairs[key] is not item for key, item in value.items()) else value
    if type(value) in (list, tuple):
        items = [_mapped(item, change) for item in value]
        differs = any(new is not item for new, item in zip(items, value, strict=True))
        return type(value)(items) if differs else value
    return change(value)
