"""Layers with a size that the first input determines."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, ClassVar, cast

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn.core.dtypes import default_dtype, get_default_dtype
from tinygrad_cnn.engine.arrays import Shape
from tinygrad_cnn.nn.module import Module
from tinygrad_cnn.support.arguments import whole


class SizedLayer(Module):
    """Base class of layers with one size that may be None: the first input determines it.

    A subclass names that argument in `inferred`, and in `input_axis` the axis of the input that has
    this size. Its ``__init__`` keeps the argument by `_size`, and ends with `_when_sized`, which
    makes the parameters at once, or at the first call.

    Until then, `parameters` raises; `load_state_dict` takes the size from the arrays. The random
    generator, and the default dtype, are those of the constructor. So a model gets the same bits as
    one with explicit sizes, if its layers run in the order in which they were made, and no layer
    with explicit sizes was made after one without.

    Examples
    --------
    >>> import numpy as np
    >>> import tinygrad_cnn as tg
    >>> class Scale(tg.nn.SizedLayer):
    ...     inferred, input_axis = "features", -1
    ...
    ...     def __init__(self, features=None):
    ...         self.features = self._size(features)
    ...         self._when_sized(["weight"], self._make)
    ...
    ...     def _make(self):
    ...         self.weight = tg.nn.Parameter(np.ones(self.features, "f4"))
    ...
    ...     def forward(self, x):
    ...         return x * self.weight
    >>> layer = Scale()
    >>> layer(tg.Tensor([[1.0, 2.0, 3.0]])).shape, layer.features
    ((1, 3), 3)
    """

    inferred: ClassVar[str]
    input_axis: ClassVar[int]
    sizing: ClassVar[tuple[str, ...]] = ("weight",)  # arrays of a state that tell the size

    def _size(self, value: Any) -> int:
        """Return the size given for `inferred`, checked, or None if it is None."""
        if value is not None:
            value = whole(type(self).__name__, self.inferred, value)
        return cast(int, value)  # None only until the first call

    def _when_sized(self, names: list[str], make: Callable[..., None], *arguments: Any) -> None:
        """Call ``make(*arguments)``, which sets the attributes `names`, once the size is known."""
        if getattr(self, self.inferred) is not None:
            make(*arguments)
            return
        self._unsized = self.inferred
        self._dtype = get_default_dtype()
        self._make_parameters = partial(make, *arguments)
        for name in names:
            vars(self)[name] = Unsized(f"{type(self).__name__}.{name}", self.inferred)

    def _size_in(self, weight: Shape) -> int:
        """Return the size according to the shape of the weights."""
        return weight[0]

    def _infer(self, x: Any) -> Callable[[], None]:
        """Determine the size from the first input; return a function that undoes it."""
        shape = np.shape(x)
        owner, axis = type(self).__name__, self.input_axis
        if not -len(shape) <= axis < len(shape):
            raise ValueError(
                f"{owner}: x has shape {shape}, too few axes to determine {self.inferred}"
            )
        return self._set_size(whole(owner, f"{self.inferred} (of x, {shape})", shape[axis]))

    def _infer_from(self, arrays: Mapping[str, NDArray[Any]]) -> Callable[[], None]:
        """Determine the size from a state dict, if it can; return a function that undoes it."""
        weight = next((arrays[name] for name in self.sizing if name in arrays), None)
        try:
            size = None if weight is None else self._size_in(weight.shape)
        except IndexError:  # too few axes: the caller reports the array
            size = None
        return (lambda: None) if size is None else self._set_size(size)

    def _set_size(self, size: int) -> Callable[[], None]:
        make, dtype, before = self._make_parameters, self._dtype, dict(vars(self))
        generators = [g for g in make.args if isinstance(g, np.random.Generator)]
        states = [g.bit_generator.state for g in generators]

        def undo() -> None:
            vars(self).clear()
            vars(self).update(before)
            for generator, state in zip(generators, states, strict=True):
                generator.bit_generator.state = state

        try:
            del self._unsized, self._dtype, self._make_parameters
            setattr(self, self.inferred, size)
            with default_dtype(dtype):
                make()
        except BaseException:
            undo()
            raise
        return undo


class Unsized:
    """The placeholder of a parameter whose shape is not known yet; its attributes raise."""

    def __init__(self, name: str, inferred: str) -> None:
        self._text = f"{name} has no shape yet: {inferred} is None until the first call"

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # of copy and pickle, which make an object without attributes
            raise AttributeError(name)
        raise AttributeError(f"{self._text}; there is no {name}")

    def __repr__(self) -> str:
        return f"<{self._text}>"
