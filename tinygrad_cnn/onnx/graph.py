"""The graph of an ONNX file while it is written, and the table of exporters."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn.capture import Operand, Size
from tinygrad_cnn.core.op import Op
from tinygrad_cnn.onnx.errors import OnnxError

F = TypeVar("F", bound=Callable[..., Any])

__all__ = ["EXPORTERS", "OPSET", "Graph", "Reference", "exporter"]

OPSET = 20
"""The version of the operators in exported files."""

EXPORTERS: dict[str, Callable[..., Any]] = {}
"""How each op is exported, by the op's name: see `exporter`."""


@dataclass(frozen=True, slots=True)
class Reference:
    """A value in the graph: an exporter's arguments and its result.

    Attributes
    ----------
    name : str
    array : ndarray
        Its value for the example: its dtype and number of axes. Where `is_constant`, any input's.
    shape : tuple of (int or Size)
        A `Size` where the length varies with the input: use `Graph.integers`. It refuses arithmetic
        and equals no number.
    is_constant : bool
        Whether it is the same for all inputs.
    """

    name: str
    array: NDArray[Any]
    shape: tuple[Any, ...]
    is_constant: bool = False

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype."""
        return self.array.dtype


NodeInput: TypeAlias = "Reference | NDArray[Any] | float | str | None"


class Graph:
    """The nodes and initializers of an ONNX file while it is written.

    Attributes
    ----------
    nodes : list of NodeProto
    initializers : dict of str to ndarray
    opset : int
    """

    def __init__(self, opset: int = OPSET) -> None:
        self.nodes: list[Any] = []
        self.initializers: dict[str, NDArray[Any]] = {}
        self.opset = opset
        self._base = ""  # the name of the call that is being exported, such as "/features/0/conv2d"
        self._first = 0  # the number of its first node
        self._names: dict[str, int] = {}  # with the last number that followed each
        self._values: dict[Operand, Reference] = {}
        self._constants: dict[tuple[str, tuple[int, ...], bytes], str] = {}
        self._sizes: dict[Any, str] = {}

    # --- for exporters ---------------------------------------------------------------------------

    def node(self, op_type: str, *inputs: NodeInput, outputs: int = 1, **attributes: Any) -> Any:
        """Add a node and return the name of its output, or a tuple of the names of several.

        Parameters
        ----------
        op_type : str
            An operator of the standard, such as "Conv".
        *inputs : Reference, array, number, str or None
            Arrays become initializers; a number becomes one of the dtype of the first Reference or
            array. A text is the name that another node returned. None leaves an optional input out.
        outputs : int
        **attributes
            None stands for the operator's default. A dtype becomes its number.
        """
        from onnx import helper

        dtype = next((v.dtype for v in inputs if isinstance(v, Reference | np.ndarray)), None)
        names = [self._input(value, dtype) for value in inputs]
        while names and not names[-1]:
            names.pop()
        name = self._unique(f"{self._base}/{op_type}")
        results = [name] if outputs == 1 else [self._unique(f"{name}.{i}") for i in range(outputs)]
        given = {key: _attribute(v) for key, v in attributes.items() if v is not None}
        self.nodes.append(helper.make_node(op_type, names, results, name, **given))
        return name if outputs == 1 else tuple(results)

    def integers(self, values: int | Size | Sequence[Any]) -> str:
        """Return an input of int64: a constant, or computed where a size of the input varies.

        Parameters
        ----------
        values : int or Size, or a sequence of them
            A sequence gives a vector, a single value a scalar.
        """
        if not isinstance(values, Sequence | np.ndarray):
            vector = self.integers([values])
            if isinstance(values, Size):
                return str(self.node("Squeeze", vector, np.zeros(1, np.int64)))
            return self._constant(np.array(values, np.int64))
        if not any(isinstance(value, Size) for value in values):
            return self._constant(np.array([int(v) for v in values], np.int64))
        parts = [
            self._size(v) if isinstance(v, Size) else self._constant(np.array([v], np.int64))
            for v in values
        ]
        return parts[0] if len(parts) == 1 else str(self.node("Concat", *parts, axis=0))

    def reshaped(self, x: Reference | str, shape: Sequence[Any]) -> str:
        """Return the name of `x` in another shape, which may have one −1 and `Size`."""
        varying = [i for i, n in enumerate(shape) if isinstance(n, Size)]
        if len(varying) == 1 and -1 not in [n for n in shape if not isinstance(n, Size)]:
            shape = [-1 if isinstance(n, Size) else n for n in shape]  # needs no arithmetic
        elif isinstance(x, Reference):
            kept = {i for i in varying if i < len(x.shape) and x.shape[i] == shape[i]}
            shape = [0 if i in kept else n for i, n in enumerate(shape)]  # 0: the length of x
        return str(self.node("Reshape", x, self.integers(shape)))

    # --- for the export --------------------------------------------------------------------------

    def begin(self, scope: str, name: str) -> None:
        """Start the nodes of one call."""
        parts = [part for part in scope.split(".") if part]
        self._base, self._first = "/" + "/".join([*parts, name]), len(self.nodes)

    def end(self, result: Any) -> Any:
        """Give the node of the call's result the name of the call; return the new name.

        A result that only copies another value is that value.
        """
        for place in range(len(self.nodes) - 1, self._first - 1, -1):
            node = self.nodes[place]
            if list(node.output) == [result]:
                if node.op_type != "Identity":
                    return self.rename(result, self._unique(self._base))
                del self.nodes[place]
                return self.end(node.input[0])
        return result

    def rename(self, old: str, new: str) -> str:
        """Rename a value that a node of the latest call computes, and its node."""
        self.reserve([new])
        _rename(self.nodes[self._first :], old, new)
        for node in self.nodes[self._first :]:
            if node.name == old:
                node.name = new
        return new

    def rename_output(self, old: str, new: str) -> None:
        """Rename a value that any node computes; the node keeps its name."""
        _rename(self.nodes, old, new)

    def reserve(self, names: Sequence[str]) -> None:
        """Keep names for inputs and outputs."""
        for name in names:
            self._names.setdefault(name, 0)

    def __contains__(self, operand: Operand) -> bool:
        return operand in self._values

    def initializer(self, name: str, array: NDArray[Any]) -> str:
        """Add a named array; return its name, which differs if it is taken."""
        name = self._unique(name)
        self.initializers[name] = array
        return name

    def bind(self, operand: Operand, reference: Reference) -> None:
        """Set where the value of a program is found in the graph."""
        self._values[operand] = reference

    def reference(self, operand: Operand) -> Reference:
        """Return where the value of a program is found in the graph."""
        return self._values[operand]

    def _input(self, value: NodeInput, dtype: np.dtype[Any] | None) -> str:
        if value is None:
            return ""
        if isinstance(value, str):
            return value
        if isinstance(value, Reference):
            return value.name
        if isinstance(value, Size):
            raise OnnxError("a size that varies cannot be an input: pass graph.integers(size)")
        if not isinstance(value, np.ndarray | np.generic):
            value = np.array(value, dtype)
        return self._constant(np.asarray(value))

    def _constant(self, array: NDArray[Any]) -> str:
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self._constants:
            self._constants[key] = self.initializer(f"{self._base}/constant", array)
        return self._constants[key]

    def _size(self, size: Size) -> str:
        """Return a vector of one entry: a size that varies."""
        # Not by the numbers in the runs: a slice may cut a length that they do not show.
        expression = (size.factors, size.ratio, size.offset, size.multiple, size.shift)
        if expression in self._sizes:
            return self._sizes[expression]
        name = ""
        for operand, axis in size.factors:
            value = self.reference(operand).name
            of_axis = (value, axis)
            if of_axis not in self._sizes:
                self._sizes[of_axis] = self.node("Shape", value, start=axis, end=axis + 1)
            length = self._sizes[of_axis]
            name = self.node("Mul", name, length) if name else length
        for op_type, number, neutral in (
            ("Mul", size.ratio.numerator, 1),
            ("Add", size.shift, 0),
            ("Div", size.ratio.denominator, 1),  # of numbers that are not negative: rounds down
            ("Mul", size.multiple, 1),
            ("Add", size.offset, 0),
        ):
            if number != neutral:
                name = self.node(op_type, name, np.array([number], np.int64))
        self._sizes[expression] = name
        return name

    def _unique(self, name: str) -> str:
        found, number = name, self._names.get(name, 0)
        while found in self._names:
            number += 1
            found = f"{name}.{number}"
        self._names[name] = number
        self.reserve([found])
        return found


def _rename(nodes: Sequence[Any], old: str, new: str) -> None:
    for node in nodes:
        for names in (node.input, node.output):
            for i, name in enumerate(names):
                if name == old:
                    names[i] = new


def _attribute(value: Any) -> Any:
    """Return an attribute as `onnx.helper` takes it."""
    if isinstance(value, np.dtype) or (isinstance(value, type) and issubclass(value, np.generic)):
        from onnx import helper

        return helper.np_dtype_to_tensor_dtype(np.dtype(value))
    if isinstance(value, bool | np.bool_ | np.integer):
        return int(value)
    if isinstance(value, np.floating):
        return float(value)
    if isinstance(value, list | tuple):
        return [_attribute(part) for part in value]
    return value


def exporter(op: Op[..., Any] | str) -> Callable[[F], F]:
    """Declare how an op is exported.

    The function gets the `Graph` and the op's arguments by name: arrays as `Reference`, a list of
    them for an op on a sequence, options as they are. It adds nodes, and returns the name of the
    result, or a tuple of names of several results.

    Parameters
    ----------
    op : Op or str
        An op, or the name of an op, of a function of `tinygrad_cnn.ops` that is made of ops (which
        is then exported as a whole), or of a comparison or logical operation of NumPy ("less",
        "logical_and"; their arguments are `a` and `b`).

    Notes
    -----
    An option, or a length in a `Reference`'s shape, that varies with the size of the input is a
    `Size`: pass it through `Graph.integers`. Other uses of it raise an error, which the export
    reports with the op and the module.

    Examples
    --------
    >>> import numpy as np
    >>> import tinygrad_cnn as tg
    >>> @tg.op(formula="x³")
    ... def cubic(x):
    ...     return x**3
    >>> @cubic.derivative("x", formula="g·3x²")
    ... def _(g, *, x):
    ...     return g * 3 * x**2
    >>> @tg.onnx.exporter(cubic)
    ... def _(graph, x):
    ...     return graph.node("Pow", x, np.float32(3))
    >>> del tg.OPS["cubic"]
    """

    def declare(function: F) -> F:
        EXPORTERS[op if isinstance(op, str) else op.name] = function
        return function

    return declare
