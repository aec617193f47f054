"""The graph of an ONNX file while it is written, and the table of exporters."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn.core.op import Op

F = TypeVar("F", bound=Callable[..., Any])

__all__ = ["EXPORTERS", "OPSET", "Graph", "Reference", "exporter"]

OPSET = 20
"""The version of the operators in exported files."""

EXPORTERS: dict[str, Callable[..., Reference]] = {}
"""How each op is exported, by the op's name: see `exporter`."""


@dataclass(frozen=True, slots=True)
class Reference:
    """A value in the graph: an exporter's arguments and its result.

    Attributes
    ----------
    name : str
    array : ndarray
        Its value for the example: its shape and dtype. Where `is_constant`, any input's.
    is_constant : bool
        Whether it is the same for all inputs.
    """

    name: str
    array: NDArray[Any]
    is_constant: bool = False

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape for the example."""
        return self.array.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype."""
        return self.array.dtype


class Graph:
    """The nodes and initializers of an ONNX file while it is written."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.initializers: dict[str, NDArray[Any]] = {}
        self.scope = ""  # of the call that is being exported

    def node(
        self,
        op_type: str,
        *inputs: Reference | NDArray[Any] | float | str | None,
        outputs: int = 1,
        **attributes: Any,
    ) -> Any:
        """Add a node and return the name of its output, or a tuple of the names of several.

        Parameters
        ----------
        op_type : str
            An operator of the standard, such as "Conv".
        *inputs : Reference, array, number, str or None
            Arrays become initializers; text is the name that another node returned; None leaves an
            optional input out.
        outputs : int
        **attributes
        """
        raise NotImplementedError

    def integers(self, values: Any) -> Any:
        """Return an input of int64: a constant, or computed where a size of the input may vary."""
        raise NotImplementedError


def exporter(op: Op[..., Any] | str) -> Callable[[F], F]:
    """Declare how an op is exported.

    The function gets the `Graph` and the op's arguments by name: arrays as `Reference`, options as
    they are. It adds nodes, and returns the name of the result.

    Examples
    --------
    >>> import numpy as np
    >>> import tinygrad_cnn as tg
    >>> @tg.op(formula="x³")
    ... def cube(x):
    ...     return x**3
    >>> @cube.derivative("x", formula="g·3x²")
    ... def _(g, *, x):
    ...     return g * 3 * x**2
    >>> @tg.onnx.exporter(cube)
    ... def _(graph, x):
    ...     return graph.node("Pow", x, np.float32(3))
    """

    def declare(function: F) -> F:
        EXPORTERS[op if isinstance(op, str) else op.name] = function
        return function

    return declare
