"""Ops: compute, record the values that derivatives need, and propagate gradients."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from time import perf_counter
from typing import TYPE_CHECKING, Any, Generic, TypeVar, overload

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn.core.compiled import CompiledDeclaration
from tinygrad_cnn.core.declaration import Integers, P, Role
from tinygrad_cnn.core.dtypes import float_dtype
from tinygrad_cnn.core.graph import Node
from tinygrad_cnn.core.hidden import hide, holds_hidden, plain
from tinygrad_cnn.core.observer import ForwardEvent
from tinygrad_cnn.core.promotion import cut_off, in_one_dtype, is_of_one_dtype, rounded
from tinygrad_cnn.core.pullback import WRITES
from tinygrad_cnn.core.recording import Recording, recording
from tinygrad_cnn.core.variable import Variable, holds_gradient
from tinygrad_cnn.engine.arrays import read_only

if TYPE_CHECKING:
    from tinygrad_cnn.core.tensor import Tensor

R = TypeVar("R")

OPS: dict[str, Op[..., Any]] = {}
"""All registered ops by name, including user-defined ones."""

OPTIONAL = "Array | None"  # the annotation of optional arrays without a derivative
FEW = 16  # copy a result that is a view of an array this many times its size


class Op(CompiledDeclaration[P], Generic[P, R]):
    """A differentiable function of arrays, created with the decorator `op`.

    Given arrays, it returns an array; given a Tensor, a Tensor, with a node if a gradient is
    required. Numbers and arrays take the dtype of a Tensor among the arguments, and integers that
    of floating arrays; integers alone take the dtype that the op declares (`op`).

    The attributes are those of `Declaration`.
    """

    def __reduce__(self) -> str:
        return str(vars(self)["__qualname__"])  # pickled by qualified name, like a function

    # --- calling ---------------------------------------------------------------------------------

    @overload  # on arrays, as the forward is annotated
    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R: ...

    @overload  # with a Tensor among the arguments
    def __call__(self, *args: Any, **kwargs: Any) -> Tensor: ...

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Compute the result; with a Tensor argument, return a Tensor and record the call."""
        arguments, operands = self._bind(*args, **kwargs)
        given = arguments
        if self.sequence:
            operands = self._sequence(arguments[0])
        elif is_of_one_dtype(operands):  # the common case in rules
            for i in self._constants:
                if isinstance(arguments[i], Variable):
                    break
            else:
                return self.compute(arguments)
        state = recording.get()
        if state.observers:
            given = arguments  # options are copied in place below
            arguments, operands = plain(arguments), plain(operands)
        arrays, parents, wanted, kind, half = self._unwrapped(operands)
        if self._constants or self.sequence:
            arrays = self._joined(arguments, arrays)
            other = self._unwrap_constants(arguments, arrays, state.on)
            kind = kind or other
        if kind is None:
            y = self.compute(arrays)
            y = rounded(y) if half else y
            return self._of_hidden(state, given, operands, arrays, y) if state.observers else y
        started = perf_counter() if state.observers else 0.0
        shared: dict[str, Any] = {}
        try:
            raw = y = self.compute(arrays, shared)
            if type(y) is not np.ndarray or y.dtype.char != "f" or half:
                y = self._result(y, operands, half)
        except Exception as error:
            if state.observers:
                self._notify(state, given, operands, arrays, None, None, started, error)
            raise
        node = origin = None
        recorded = state.on and wanted != 0
        owned = y.base is None
        for array in arrays:
            if array is y:
                owned = False
        if not owned:
            y, origin = self._placed(y, operands, recorded)
        if recorded:
            plan = self._plans.get(wanted) or self._plan(wanted)
            saved = plan.read(arguments, arrays, y, shared)
            static = tuple([arguments[i] for i in self._static]) if self._static else ()
            node = Node(self, plan, tuple(parents), saved, static, y, state.scope)
        if state.observers:
            self._notify(state, given, operands, arrays, y, node, started, None, raw, shared)
            for observer in state.observers:
                kind = observer.result_class(kind, y)
        result = kind._of(y, node, origin)
        if not state.on:
            result._unrecorded = any(
                isinstance(v, Variable) and (v.requires_grad or v._unrecorded) for v in operands
            )
        return result

    def compute(self, arrays: list[Any], shared: dict[str, Any] | None = None) -> Any:
        """Return the forward's result, and put the intermediates that rules may need in `shared`.

        Errors name the op and the module.
        """
        try:
            if self._is_plain:
                return self.forward(*arrays)  # type: ignore[call-arg]  # as many as it takes
            given = read_only(arrays) if self.guarded else arrays
            values = self._intermediates(given)
            if shared is not None:
                shared.update(values)
            return self.forward(*given, **{name: values[name] for name in self.asked})
        except Exception as error:
            explained = self._explained(error, arrays, recording.get().scope)
        try:
            raise explained from None
        finally:  # break the cycle between the error's traceback and this frame
            del explained

    def _intermediates(self, arrays: list[Any]) -> dict[str, Any]:
        """Return the values of the intermediates that the forward or a rule asks for."""
        for name in self.asked:
            if name not in self.intermediates:
                raise TypeError(
                    f"the forward asks for {name}, but @{self.name}.intermediate declares no such "
                    "function"
                )
            if name in self._of_gradient:
                raise TypeError(
                    f"the forward asks for {name}, which depends on the gradient: only rules can"
                )
        values: dict[str, Any] = {}
        for name, function, read in self.to_compute:
            value = function(*read([], arrays, None, values))
            if type(value) is not np.ndarray:
                if not isinstance(value, np.ndarray | np.generic):
                    came = type(value).__name__
                    raise TypeError(f"the intermediate {name} is {came}, expected an array")
                value = np.asarray(value)
            values[name] = read_only(value) if self.guarded else value
        return {name: values[name] for name in self._to_share}

    def _joined(self, arguments: list[Any], arrays: list[Any]) -> list[Any]:
        """Return the arguments with the operands replaced by their arrays."""
        if self.sequence:
            return [arrays, *arguments[1:]]
        joined = arguments.copy()
        for k, i in enumerate(self._operands):
            joined[i] = arrays[k]
        return joined

    def _notify(
        self,
        state: Recording,
        given: list[Any],
        operands: list[Any],
        arrays: list[Any],
        y: NDArray[Any] | None,
        node: Node | None,
        started: float,
        error: Exception | None = None,
        raw: Any = None,
        shared: dict[str, Any] | None = None,
    ) -> None:
        """Report a call to the observers."""
        seconds = perf_counter() - started
        sources = tuple([v.node or v if isinstance(v, Variable) else None for v in operands])
        named = dict(zip(self.parameters, arrays, strict=True))
        passed = dict(zip(self.parameters, given, strict=True))
        event = ForwardEvent(
            self, named, y, node, sources, state.scope, seconds, error, passed, raw, shared or {}
        )
        for observer in state.observers:
            observer.forward(event)

    def _of_hidden(
        self, state: Recording, given: list[Any], operands: list[Any], arrays: list[Any], raw: Any
    ) -> Any:
        """Return the result of a call on arrays: hidden and reported, if one of them is hidden."""
        if not holds_hidden(given):
            return raw
        y = np.asarray(raw)
        self._notify(state, given, operands, arrays, y, None, perf_counter(), None, raw)
        return hide(y)

    def _unwrap_constants(
        self, arguments: list[Any], arrays: list[Any], recorded: bool
    ) -> type[Tensor] | None:
        """Unwrap the Tensors among non-differentiable arrays; return the class of their results."""
        kind = None
        for i in self._other_arrays:
            value = arguments[i]
            if isinstance(value, Variable):
                kind = value._tensor
                arrays[i] = value._array
                if value.requires_grad and recorded:
                    raise TypeError(
                        f"{self.name} has no derivative with respect to {self.parameters[i]}, "
                        "which requires a gradient; pass its detach()"
                    )
            elif recorded and isinstance(value, (list, tuple)) and holds_gradient(value):
                raise TypeError(cut_off(self.name, self.parameters[i]))
        for i in self._static:
            value = arguments[i]
            if type(value) in _PLAIN:  # fast
                continue
            if isinstance(value, Variable):
                is_array = self.signature.parameters[self.parameters[i]].annotation == OPTIONAL
                if not is_array or (value.requires_grad and recorded):
                    raise TypeError(
                        f"{self.name}: {self.parameters[i]} is a Tensor; it has no derivative, so "
                        "pass its item() or numpy()"
                    )
                value = value._array
            if not isinstance(value, _IMMUTABLE):
                arguments[i] = arrays[i] = _private(value)
        return kind

    def _result(self, y: Any, operands: list[Any], half: bool) -> NDArray[Any]:
        """Return the result as an array, rounded to float16 if `half`.

        float64 from integers or numbers becomes the default dtype.
        """
        if isinstance(y, (tuple, list)):
            came = type(y).__name__
            raise TypeError(f"{self.name}: the forward returned a {came}, expected an array")
        array: NDArray[Any] = np.asarray(y)
        if array.dtype.char == "d" and "dtype" not in self.parameters:
            given = [v for v in operands if isinstance(v, np.ndarray | np.generic | Variable)]
            if not any(value.dtype == array.dtype for value in given):
                array = array.astype(float_dtype.get())
        return rounded(array) if half else array

    def _placed(
        self, y: NDArray[Any], operands: list[Any], recorded: bool
    ) -> tuple[NDArray[Any], Variable | None]:
        """Return `y` and the leaf whose memory it is a view of, if any.

        A view of a plain array is copied, because its owner may change it. So is a small view of a
        large array, because it would keep the array alive.
        """
        for value in operands:
            if isinstance(value, Variable):
                owner = value._owner
                if owner is None and not recorded:  # without a node, or a leaf without its node
                    owner = value if value.node is None else Variable._tensor._of(value._array)
                if owner is not None and np.may_share_memory(y, owner._array):
                    return y, owner
            elif isinstance(value, np.ndarray) and np.may_share_memory(y, value):
                return y.copy(), None
        if isinstance(y.base, np.ndarray) and y.nbytes * FEW <= y.base.nbytes:
            return y.copy(), None
        return y, None

    def _sequence(self, value: Any) -> list[Any]:
        if not isinstance(value, list | tuple):
            came = type(value).__name__
            raise TypeError(
                f"{self.name}: {self.parameters[0]} is {came}, expected a list of arrays"
            )
        return list(value)

    def _unwrapped(
        self, operands: list[Any]
    ) -> tuple[list[Any], list[Node | Variable | None], int, type[Tensor] | None, bool]:
        """Return the operands as arrays of one dtype, their sources, and three facts.

        The source of an operand without gradient is None. The facts: a bit mask of the operands
        that require a gradient (one bit for a whole list), the class of the result if any operand
        is a Tensor, and whether to round the result to float16.
        """
        arrays: list[Any] = []
        parents: list[Node | Variable | None] = []
        kind: type[Tensor] | None = None
        half = False
        wanted, bit, shift = 0, 1, 0 if self.sequence else 1
        for value in operands:
            parent = None
            if isinstance(value, Variable):
                if kind is not value._tensor and (kind is None or issubclass(value._tensor, kind)):
                    kind = value._tensor
                if value.requires_grad:
                    wanted |= bit
                    parent = value.node or value
                value = value._array
            arrays.append(value)
            parents.append(parent)
            bit <<= shift
        if not is_of_one_dtype(arrays):
            arrays, half = in_one_dtype(self, operands, arrays)
        return arrays, parents, wanted, kind, half

    def _explained(self, error: Exception, arrays: list[Any], scope: str) -> Exception:
        """Return `error` with the op, its arguments and the module added to the message."""
        if self.elementwise and isinstance(error, ValueError):
            places = sorted(self._operands + self._other_arrays)
            shapes = {self.parameters[i]: np.shape(arrays[i]) for i in places}
            try:
                np.broadcast_shapes(*shapes.values())
            except ValueError:
                came = " and ".join(f"{name} {shape}" for name, shape in shapes.items())
                error = ValueError(f"{self.name}: shapes do not broadcast: {came}")
        if self.guarded and "read-only" in str(error):
            error = ValueError(f"{self.name}: the forward {WRITES}")
        if isinstance(error, TypeError | ValueError) and not str(error).startswith(self.name):
            static = ", ".join(f"{self.parameters[i]}={arrays[i]!r}" for i in self._static)
            kind = TypeError if isinstance(error, TypeError) else ValueError
            error = kind(f"{self.name}: {error}" + (f" ({static})" if static else ""))
        if scope:
            error.add_note(f"in module {scope}")
        return error


def op(
    *,
    formula: str = "",
    latex: str = "",
    equation: str = "",
    elementwise: bool = False,
    complex_step: bool | None = None,
    sequence: bool = False,
    integers: Integers = "converted",
    role: Role = "other",
    kind: str = "",
    letter: str = "",
    aliases: Mapping[str, str] | None = None,
    selecting: bool = False,
    dead_at_zero: bool = False,
    saturates_at: tuple[float, float] | None = None,
) -> Callable[[Callable[P, R]], Op[P, R]]:
    """Declare an op: the decorated function is its forward, on arrays.

    Parameters
    ----------
    formula, latex : str
        The forward as mathematics, in the notation of `docs/formulas.md`, which checks read. Words
        are a `Prose`; by default, the formula is the call, such as "gelu(x)".
    equation : str
        The equation number in the text "CNNs From Scratch", such as ``"15"``.
    elementwise : bool
        Whether the arguments broadcast against each other; their gradients are summed back.
    complex_step : bool, optional
        Whether forward and rules accept complex arrays, are analytic, and branch on the real part,
        so that a complex step checks them to the last digit. Defaults to True for the package's own
        ops, whose tests prove it, and to False for others.
    sequence : bool
        Whether the first parameter is a list of arrays; then its rule returns a list.
    integers : {"converted", "widened", "kept"}
        The conversion if all differentiable arguments hold integers or bools: to floats of the
        default dtype; to int64, where sums and products of smaller integers are exact; or none, for
        an op that only moves and compares values.
    role : str
        The part that the op plays in a network: "activation", "affine" (x·w + b), "normalization",
        "product", "addition", "pooling", "reshaping", "regularization", "loss" (of a prediction),
        "loss of logits" or "other". Derivations choose letters by it: an activation's argument is
        a z and its result an α.
    kind : str
        The kind of layer, such as "convolution", by which the studio explains its cells; by
        default the op's name.
    letter : str
        The letter of the result in derivations; by default that of the role, or h.
    aliases : mapping of str to str, optional
        How parameters are written in the formulas, where not by their names: ``{"bias": "b"}``.
    selecting : bool
        Whether every local derivative is 0 or 1, so that its norm is known without computing it.
    dead_at_zero : bool
        Whether results of 0 block the gradient, as those of ReLU; drawings count them.
    saturates_at : (float, float), optional
        Two limits near which the derivative vanishes; drawings count the results close to them.

    Returns
    -------
    callable
        A decorator that returns an `Op` and registers it in `OPS` under the function's name.

    Raises
    ------
    ValueError
        If another module has registered that name, or `integers` or `role` is not one of those.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> @tg.op(formula="x³", elementwise=True)
    ... def cube(x):
    ...     return x * x * x
    >>> @cube.derivative("x", formula="g·3x²")
    ... def _(g, *, x):
    ...     return g * (3 * x * x)
    >>> x = tg.Tensor(2.0, requires_grad=True)
    >>> tg.grad(cube(x), x)[0].item()
    12.0
    >>> del tg.OPS["cube"]
    """
    declared = {**locals()}  # the keywords: the fields of `Declaration`

    def declare(forward: Callable[P, R]) -> Op[P, R]:
        made: Op[P, R]
        made = Op(forward, **declared)
        earlier = OPS.get(made.name)
        if earlier is not None and earlier.__module__ != made.__module__:
            raise ValueError(f"op {made.name} exists already, in {earlier.__module__}")
        OPS[made.name] = made
        return made

    return declare


_PLAIN = frozenset([float, int, bool, str, type(None)])
_IMMUTABLE = (int, float, complex, str, bytes, type(None), np.generic, np.dtype)


def _private(value: Any) -> Any:
    """Return an option of a call, copied if it is mutable."""
    if isinstance(value, list | dict | set | tuple | np.ndarray | bytearray):
        return copy.deepcopy(value)
    return value
