"""One call of an op: its arguments, and which of them it is differentiated by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from tinygrad_cnn.core.op import Op
from tinygrad_cnn.core.tensor import Tensor
from tinygrad_cnn.engine.arrays import Array

SHOWN = 64
"""The most elements of an array that a message writes out."""


@dataclass(frozen=True, eq=False)
class Call:
    """A call of `op`, differentiated by the parameters `of`.

    A `Call` is a function of its inputs: called with other arrays or Tensors, it calls the op with
    these.
    """

    op: Op[..., Any]
    arguments: Mapping[str, Any]
    of: tuple[str, ...]

    @cached_property
    def inputs(self) -> tuple[Array, ...]:
        """The arguments to differentiate by, as float64 arrays."""
        if self.op.sequence:
            return tuple(np.asarray(part, np.float64) for part in self.arguments[self.of[0]])
        return tuple(np.asarray(self.arguments[name], np.float64) for name in self.of)

    @cached_property
    def labels(self) -> tuple[str, ...]:
        """The name of each of `inputs`."""
        if self.op.sequence:
            return tuple(f"{self.of[0]}[{k}]" for k in range(len(self.inputs)))
        return self.of

    @cached_property
    def constants(self) -> dict[str, Any]:
        """The other arguments."""
        return {name: value for name, value in self.arguments.items() if name not in self.of}

    @property
    def with_defaults(self) -> dict[str, Any]:
        """The arguments, and the defaults of those left out."""
        defaults = {name: p.default for name, p in self.op.signature.parameters.items()}
        return {**defaults, **self.arguments}

    def cost(self, y: Array) -> int:
        """Return the number of multiply-adds of the call, whose result is `y`."""
        return self.op.cost(self.with_defaults, y)

    def arrays(self, inputs: Sequence[Array]) -> dict[str, Array]:
        """Return `inputs` by label, followed by the arrays among the other arguments."""
        others = {k: v for k, v in self.constants.items() if isinstance(v, np.ndarray)}
        return dict(zip(self.labels, inputs, strict=True)) | others

    @property
    def form(self) -> str:
        """The shapes of its arrays, and its other arguments: everything but the array values."""
        return str({name: _form(value) for name, value in self.arguments.items()})

    @property
    def __name__(self) -> str:
        return self.op.name

    def __call__(self, *inputs: Any) -> Any:
        """Call the op with other inputs."""
        return self.op(**self.named(inputs), **self.constants)

    def named(self, inputs: Sequence[Any]) -> dict[str, Any]:
        """Return `inputs` by parameter name."""
        if self.op.sequence:
            return {self.of[0]: list(inputs)}
        return dict(zip(self.of, inputs, strict=True))

    def given(self, inputs: Sequence[Any]) -> Call:
        """Return the same call with other inputs."""
        return Call(self.op, {**self.arguments, **self.named(inputs)}, self.of)

    def split(self) -> tuple[list[Any], dict[str, Any]]:
        """Return the arrays to pass by position and the options to pass by name."""
        given = {
            name: self.arguments[name] for name in self.op.parameters if name in self.arguments
        }
        named = {name: value for name, value in given.items() if name in self.op.static}
        return [value for name, value in given.items() if name not in named], named

    def leaves(self, dtype: DTypeLike = np.float64) -> list[Tensor]:
        """Return the inputs as Tensors that require a gradient."""
        return [Tensor(x, requires_grad=True, dtype=dtype) for x in self.inputs]

    def __str__(self) -> str:
        named = {**dict.fromkeys(self.of), **self.constants}
        named |= {name: self.arguments[name] for name in self.of}
        return f"{self.op.name}({', '.join(f'{k}={spelled(v)}' for k, v in named.items())})"


def _form(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return value.shape, value.dtype.str
    if isinstance(value, list | tuple):
        return [_form(part) for part in value]
    return value


def spelled(value: Any) -> str:
    """Return a value as Python source; only the shape of a large array."""
    if isinstance(value, np.ndarray):
        if value.size > SHOWN:
            return f"<{value.dtype} array of shape {value.shape}>"
        dtype = "" if value.dtype.char in "dl?" else f", np.{value.dtype}"
        if value.size == 0:
            return f"np.zeros({value.shape}, np.{value.dtype})"
        return f"np.array({value.tolist()}{dtype})"
    if isinstance(value, list):
        return f"[{', '.join(map(spelled, value))}]"
    if isinstance(value, tuple):
        return f"({', '.join(map(spelled, value))}{',' if len(value) == 1 else ''})"
    return repr(value)
