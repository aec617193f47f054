"""The state of a module: copies, pickles, and the arrays to save and load."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn.core.tensor import Tensor
from tinygrad_cnn.core.variable import array_of
from tinygrad_cnn.support.arguments import native

MAY_BE_MISSING = "num_batches_tracked"  # in states of earlier versions, and of PyTorch's


class Stateful:
    """The part of a `Module` that is copied, saved and loaded."""

    def named_modules(self) -> Iterator[tuple[str, Any]]:
        """Yield the module and its submodules by name."""
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
        self, state_dict: Mapping[str, Any], strict: bool = True
    ) -> tuple[list[str], list[str]]:
        """Copy the arrays of `state_dict` into the parameters and buffers of the same names.

        Parameters
        ----------
        state_dict : mapping of str to ndarray
            As from `state_dict`, or PyTorch's: arrays of the same shapes and dtypes.
        strict : bool
            Whether the names must match exactly; otherwise only common names are loaded.

        Returns
        -------
        missing, unexpected : list of str
            The names only in the model, and the names only in `state_dict`.

        Raises
        ------
        ValueError
            If names, shapes or dtypes differ; the message lists all. Nothing is changed.
        TypeError
            If `state_dict` is not a mapping.
        """
        if not isinstance(state_dict, Mapping):
            raise TypeError(
                f"{type(self).__name__}.load_state_dict: state_dict is "
                f"{type(state_dict).__name__}, expected a dict of arrays"
            )
        arrays = {
            name: native(np.array(array_of(value), order="C")) for name, value in state_dict.items()
        }
        undo: list[Callable[[], None]] = []
        try:
            for prefix, module in self.named_modules():
                if module._unsized:
                    start = f"{prefix}." if prefix else ""
                    own = {name.removeprefix(start): array for name, array in arrays.items()
                           if name.startswith(start)}  # fmt: skip
                    undo.append(module._infer_from(own))
        except BaseException:
            for restore in undo:
                restore()
            raise
        tensors = dict(self._saved_tensors())
        missing = [n for n in tensors if n not in arrays and not n.endswith(MAY_BE_MISSING)]
        unexpected = [name for name in arrays if name not in tensors]
        problems = [
            f"{name} is {array.dtype} of shape {array.shape}, expected {tensor.dtype} of shape "
            f"{tensor.shape}"
            for name, tensor in tensors.items()
            if (array := arrays.get(name)) is not None
            and (array.shape, array.dtype) != (tensor.shape, tensor.dtype)
        ]
        if strict:
            problems = [
                *(f"{name} is missing" for name in missing),
                *(f"{name} is unexpected" for name in unexpected),
                *problems,
            ]
        if problems:
            for restore in undo:
                restore()
            raise ValueError(
                f"{type(self).__name__}.load_state_dict: " + "; ".join(problems) + "; nothing "
                "was loaded"
            )
        for name, tensor in tensors.items():
            if name in arrays:
                replace(tensor, arrays[name])
        return missing, unexpected

    def __getstate__(self) -> dict[str, Any]:
        """Return the state for copy and pickle: no hooks, and results as values without graph."""
        attributes = {name: value for name, value in vars(self).items() if name != "_hooks"}
        return cast(dict[str, Any], _mapped(attributes, _without_graph))

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(_mapped(state, _restored))


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
