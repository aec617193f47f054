"""Operators of ONNX: a node with its attributes, and the table of importers."""

from __future__ import annotations

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


def importer(op_type: str) -> Callable[[F], F]:
    """Declare how an operator is computed.

    The function gets the `Operator` and its inputs: floating values as Tensors (or as arrays, if
    they are the same for all inputs), integers, bools and text as arrays, None for one that is left
    out. It returns a value, or a tuple of as many as are asked for at least.

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
