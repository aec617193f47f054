"""Operators of ONNX: a node with its attributes, and the table of importers."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])

__all__ = ["IMPORTERS", "Operator", "importer"]

IMPORTERS: dict[str, Callable[..., Any]] = {}
"""How each operator is computed, by its name: see `importer`."""


@dataclass(frozen=True, slots=True)
class Operator:
    """A node of a graph.

    Attributes
    ----------
    op_type : str
        Such as "Conv"; with its domain, if that is not the standard's: "com.example::Swish".
    name : str
        Of the node; of its first output if it has none.
    opset : int
        The version of its domain that the file states.
    attributes : dict
        As Python values: numbers, text, lists of them, arrays.
    outputs : int
        How many outputs are asked for, up to the last one with a name.
    training : bool
        Whether the model is in train mode.
    """

    op_type: str
    name: str = ""
    opset: int = 20
    attributes: dict[str, Any] = field(default_factory=dict)
    outputs: int = 1
    training: bool = False

    def get(self, name: str, default: Any = None) -> Any:
        """Return an attribute."""
        return self.attributes.get(name, default)

    def __str__(self) -> str:
        return f"{self.op_type} {self.name!r}" if self.name else self.op_type


def importer(op_type: str) -> Callable[[F], F]:
    """Declare how an operator is computed.

    The function gets the `Operator` and its inputs: floating values as Tensors (or as arrays, if
    they are the same for all inputs), integers, bools and text as arrays, None for one that is left
    out. It returns a value, or a tuple of as many as are asked for at least. The running mean and
    variance of a batch normalization are buffers, Tensors that it may change in place in train
    mode.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> @tg.onnx.importer("com.example::Swish")
    ... def _(node, x):
    ...     return x * tg.sigmoid(node.get("beta", 1.0) * x)
    """

    def declare(function: F) -> F:
        IMPORTERS[op_type] = function
        return function

    return declare


def takes(op_type: str) -> tuple[int, float]:
    """Return the least and the largest number of inputs that an importer takes."""
    kinds = [p.kind for p in inspect.signature(IMPORTERS[op_type]).parameters.values()]
    defaults = [p.default for p in inspect.signature(IMPORTERS[op_type]).parameters.values()]
    placed = [
        default
        for kind, default in zip(kinds, defaults, strict=True)
        if kind in (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    ]
    least = sum(default is inspect.Parameter.empty for default in placed) - 1
    most = float("inf") if inspect.Parameter.VAR_POSITIONAL in kinds else len(placed) - 1
    return least, most
