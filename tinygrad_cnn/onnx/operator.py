"""Operators of ONNX: a node with its attributes, and the table of importers."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, TypeVar

import numpy as np
from numpy.typing import DTypeLike

from tinygrad_cnn.onnx.errors import OnnxError

F = TypeVar("F", bound=Callable[..., Any])

__all__ = ["IMPORTERS", "Operator", "check_inputs", "importer", "short"]

_SHOWN = 120  # characters of a name in a message

FLOAT, DOUBLE = 1, 11
FLOATS = (FLOAT, 10, DOUBLE, 16)
"""The floating types of a file: also FLOAT16 and BFLOAT16, which become float32."""

_TYPES = ("to", "dtype", "output_datatype")  # attributes that state the type of a result

IMPORTERS: dict[str, Callable[..., Any]] = {}
"""How each operator is computed, by its name: see `importer`."""

_OWN = "tinygrad_cnn.onnx.importers."  # where each operator is declared once


@dataclass(frozen=True, slots=True)
class SizeRule:
    """What decides the shapes of the results of an operator, and how large they get.

    Attributes
    ----------
    sized_by : tuple of int, or None
        The inputs whose values decide shapes; None if it is not stated.
    elements : callable or None
        Returns an upper limit for the elements of the largest array, for the `Operator` and its
        inputs; or a tuple of that and of the number of products of two numbers.
    """

    sized_by: tuple[int, ...] | None = None
    elements: Callable[..., int | tuple[int, int]] | None = None


SIZES: dict[str, SizeRule] = {}
"""Those of operators, by name."""


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

    def astype(self, dtype: DTypeLike) -> Operator:
        """Return the operator with another type where it states a floating one."""
        wanted = np.dtype(dtype)
        changed: dict[str, Any] = {
            name: DOUBLE if wanted.itemsize == 8 else FLOAT
            for name in _TYPES
            if self.attributes.get(name) in FLOATS
        }
        changed |= {
            name: value.astype(wanted)
            for name, value in self.attributes.items()
            if isinstance(value, np.ndarray) and value.dtype.kind == "f"
        }
        return replace(self, attributes=self.attributes | changed) if changed else self

    def __str__(self) -> str:
        op_type = short(self.op_type)[1:-1]
        return f"{op_type} {short(self.name)}" if self.name else op_type


def short(name: str) -> str:
    """Return a name of a file in quotes, without the middle of a very long one."""
    half = _SHOWN // 2
    return repr(name if len(name) <= _SHOWN else f"{name[:half]}...{name[-half:]}")


def importer(
    op_type: str,
    sized_by: Sequence[int] | None = None,
    elements: Callable[..., int | tuple[int, int]] | None = None,
) -> Callable[[F], F]:
    """Declare how an operator is computed.

    The function gets the `Operator` and its inputs: floating values as Tensors (or as arrays, if
    they are the same for all inputs), integers, bools and text as arrays, None for one that is left
    out. It returns a value, or a tuple of as many as are asked for at least. The running mean and
    variance of a batch normalization are buffers, Tensors that it may change in place in train
    mode.

    Parameters
    ----------
    op_type : str
        With the domain, if that is not the standard's.
    sized_by : sequence of int, optional
        The inputs whose values decide the shapes of results, () for none. Loading finds the shapes
        behind an operator of another domain only if this is stated.
    elements : callable, optional
        Called with the `Operator` and its inputs as arrays, it returns an upper limit for the
        elements of a result. Without it, that is the product of the sizes of all inputs: what may
        become too large is not computed at loading.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> @tg.onnx.importer("com.example::Swish", sized_by=())
    ... def _(node, x):
    ...     return x * tg.sigmoid(node.get("beta", 1.0) * x)
    """

    def declare(function: F) -> F:
        modules = _module_of(function), _module_of(IMPORTERS.get(op_type))
        if all(name.startswith(_OWN) for name in modules):
            raise ValueError(f"importer: {op_type} is declared in {' and in '.join(modules)}")
        IMPORTERS[op_type] = function
        if sized_by is not None or elements is not None:
            SIZES[op_type] = SizeRule(None if sized_by is None else tuple(sized_by), elements)
        return function

    return declare


def check_inputs(call: Any) -> None:
    """Raise OnnxError unless a `NodeCall` has as many inputs as its importer takes.

    An input that the importer needs is not left out, either.
    """
    parameters = list(inspect.signature(IMPORTERS[call.operator.op_type]).parameters.values())[1:]
    placed = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    least = sum(p.default is p.empty for p in placed)
    is_open = any(p.kind is p.VAR_POSITIONAL for p in parameters)
    count = len(call.inputs)
    if count < least or (count > len(placed) and not is_open):
        expected = f"{least}" if least == len(placed) else f"{least} to {len(placed)}"
        expected = f"at least {least}" if is_open else expected
        raise OnnxError(f"{call.operator}: has {count} inputs, expected {expected}")
    for i, name in enumerate(call.inputs):
        if not name and (i < least or i >= len(placed)):
            raise OnnxError(f"{call.operator}: its input {i} is left out, but is needed")


def _module_of(function: Callable[..., Any] | None) -> str:
    """Return the name of the Python module that defines a function."""
    plain = function.func if isinstance(function, partial) else function
    return "" if plain is None else getattr(plain, "__module__", "")
